//! `release`: gives back the slot of a host, whatever the host does.

use clap::Args;

use super::apply::confirmed;
use super::control::{Desk, by_me, find_host, key};
use super::format::{ago, first_names, print};
use super::{Connection, Exit, Failure};
use crate::plan::control::{Ask, Control, Release as ReleaseRecord};
use crate::rollout::records::to_json;
use crate::store::Txn;
use crate::words::HostName;

const EXAMPLES: &str = "\
Examples:
  calico-dcos release a7      asks before it does it

The slot is given back though the host has not reported that it is done. If it is still at work,
more hosts than the budget allows may be disrupted: look at it first. A host whose agent Mesos calls
gone gives its slot back by itself.

Exit codes: 0 done · 1 not confirmed · 2 input · 4 environment";

/// Give back a host's slot, whatever the host does
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Release {
    /// The host
    #[arg(value_name = "HOST")]
    host: String,

    /// Do not ask
    #[arg(short, long)]
    yes: bool,

    /// Where etcd is
    #[command(flatten)]
    connection: Connection,
}

impl Release {
    pub(super) async fn execute(self) -> Result<Exit, Failure> {
        let desk = Desk::open(&self.connection).await?;
        let (name, host) = find_host(&desk.state, &self.host)?;
        let Some(slot) = &host.slot else {
            let held = desk.state.hosts.iter().filter(|(_, host)| host.slot.is_some());
            let held: Vec<&HostName> = held.map(|(name, _)| name).collect();
            let who = match &held[..] {
                [] => "nobody does".to_owned(),
                held => format!("{} of the hosts do: {}", held.len(), first_names(held)),
            };
            return Err(Failure::input(format!("host `{name}` holds no slot; {who}")));
        };
        let question = format!(
            "Host `{name}` has held its slot since {} for attempt {}, and has not said that it is \
             done. If it still works, more hosts than the budget may be disrupted. Release it?",
            ago(slot.since, desk.state.at),
            slot.attempt
        );
        if !self.yes && !confirmed(&question)? {
            print("Nothing was released.\n")?;
            return Ok(Exit::Differs);
        }
        let Ask { version, who, at, .. } = by_me();
        let release = ReleaseRecord { version, who, at, attempt: slot.attempt };
        let txn = Txn::new().put(key(&Control::Release(name.clone())), to_json(&release));
        desk.carry_out(&txn, &format!("release of {name}, attempt {}", slot.attempt)).await?;
        print(&format!("The slot of {name} is given back.\n"))?;
        Ok(Exit::Good)
    }
}
