//! `retry`: forgets the failed attempts of hosts, which are tried again.

use clap::Args;

use super::control::{Desk, by_me, find_host, key};
use super::format::print;
use super::{Connection, Exit, Failure};
use crate::plan::control::Control;
use crate::rollout::records::to_json;
use crate::store::Txn;

const EXAMPLES: &str = "\
Examples:
  calico-dcos retry a7        its failed attempts are forgotten, and it is tried again at once
  calico-dcos retry a7 a9     a rollout that halted for them goes on

Exit codes: 0 done · 2 input · 4 environment";

/// Try hosts again whose attempts failed
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Retry {
    /// The hosts
    #[arg(value_name = "HOST", required = true)]
    hosts: Vec<String>,

    /// Where etcd is
    #[command(flatten)]
    connection: Connection,
}

impl Retry {
    pub(super) async fn execute(self) -> Result<Exit, Failure> {
        let desk = Desk::open(&self.connection).await?;
        let generation = desk.state.generation();
        let mut txn = Txn::new();
        for name in &self.hosts {
            let (name, host) = find_host(&desk.state, name)?;
            let progress = host.progress.as_ref();
            if progress.is_none_or(|it| it.generation != generation || it.failures == 0) {
                return Err(Failure::input(format!(
                    "no attempt of host `{name}` has failed in generation {generation}; \
                     `calico-dcos status` says what it waits for"
                )));
            }
            txn = txn.put(key(&Control::Retry(name.clone())), to_json(&by_me()));
        }
        let names = self.hosts.join(", ");
        desk.carry_out(&txn, &format!("retry of {names}")).await?;
        print(&format!("{names}: tried again. `calico-dcos status --watch` shows it.\n"))?;
        Ok(Exit::Good)
    }
}
