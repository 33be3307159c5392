//! `release`: gives back the slot of a host, whatever the host does.

use clap::Args;

use super::apply::{confirmed, refuse_unasked};
use super::control::{Desk, me};
use super::format::print;
use super::{Connection, Exit, Failure};
use crate::surface::ask;

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

    /// Do not ask. Needed where there is no terminal
    #[arg(short, long)]
    yes: bool,

    /// Where etcd is
    #[command(flatten)]
    connection: Connection,
}

impl Release {
    pub(super) async fn execute(self) -> Result<Exit, Failure> {
        let desk = Desk::open(&self.connection).await?;
        let asked = ask::release(&desk.state, &self.host, None, &me())?;
        refuse_unasked(self.yes)?;
        if !self.yes && !confirmed(asked.question.as_deref().unwrap_or_default())? {
            print("Nothing was released.\n")?;
            return Ok(Exit::Differs);
        }
        desk.carry_out(&asked).await?;
        print(&format!("{}\n", asked.done))?;
        Ok(Exit::Good)
    }
}
