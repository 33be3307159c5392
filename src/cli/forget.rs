//! `forget`: takes a host off the list that is not coming back.

use clap::Args;

use super::control::{Desk, me};
use super::format::print;
use super::{Connection, Exit, Failure};
use crate::surface::ask;

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
        let asked = ask::forget(&desk.state, &self.host, &me())?;
        desk.carry_out(&asked).await?;
        print(&format!("{}\n", asked.done))?;
        Ok(Exit::Good)
    }
}
