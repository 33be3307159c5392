//! `retry`: forgets the failed attempts of hosts, which are tried again.

use clap::Args;

use super::control::{Desk, me};
use super::format::print;
use super::{Connection, Exit, Failure};
use crate::surface::ask;

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
        let asked = ask::retry(&desk.state, &self.hosts, &me())?;
        desk.carry_out(&asked).await?;
        print(&format!("{}\n", asked.done))?;
        Ok(Exit::Good)
    }
}
