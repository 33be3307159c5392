//! `forget`: takes a host off the list that is not coming back.

use clap::Args;

use super::control::{Desk, by_me, find_host, key};
use super::format::print;
use super::{Connection, Exit, Failure};
use crate::observed::fleet::Condition;
use crate::plan::control::Control;
use crate::rollout::records::to_json;
use crate::store::Txn;

const EXAMPLES: &str = "\
Examples:
  calico-dcos forget a7       a host that is not coming back

It is taken off the list with all that is known of it. If it does come back, it is a new host.

Exit codes: 0 done · 2 it is active, or holds a slot · 4 environment";

/// Take a host off the list that is not coming back
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Forget {
    /// The host
    #[arg(value_name = "HOST")]
    host: String,

    /// Where etcd is
    #[command(flatten)]
    connection: Connection,
}

impl Forget {
    pub(super) async fn execute(self) -> Result<Exit, Failure> {
        let desk = Desk::open(&self.connection).await?;
        let (name, host) = find_host(&desk.state, &self.host)?;
        let active =
            host.observed.as_ref().is_some_and(|it| it.agent.condition == Condition::Active);
        if active {
            return Err(Failure::input(format!(
                "the agent of host `{name}` is active, and would be listed again at once; \
                 rollout.exclude leaves a host alone"
            )));
        }
        if host.slot.is_some() {
            return Err(Failure::input(format!(
                "host `{name}` holds a slot: nobody knows whether it is at work; look at it, and \
                 `calico-dcos release {name}` first"
            )));
        }
        let txn = Txn::new().put(key(&Control::Forget(name.clone())), to_json(&by_me()));
        desk.carry_out(&txn, &format!("forget {name}")).await?;
        print(&format!("{name} is taken off the list.\n"))?;
        Ok(Exit::Good)
    }
}
