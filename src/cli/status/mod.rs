//! `status`: how far the rollout is, who holds slots, and what the others wait for.

mod page;
mod watch;

use clap::Args;

use super::diff::load;
use super::format::{Output, fitted, print, structured};
use super::{Connection, Exit, Failure};
use crate::clock;
use crate::surface::status::{RolloutStatus, StatusReport};
use crate::surface::view::View;

const EXAMPLES: &str = "\
Examples:
  calico-dcos status
  calico-dcos status --watch               redrawn on every change, until Ctrl-C
  calico-dcos status --watch --until-done  ends when the rollout is done or has halted
  calico-dcos status -o json | jq .summary.inSync

Exit codes: 0 done, in sync · 1 in progress, paused, refused documents · 2 no documents · 3 halted
· 4 environment";

/// Show the rollout, its slots, and what hosts wait for
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Status {
    /// Go on showing it whenever it changes; without a terminal, one line for each change
    #[arg(short, long)]
    pub watch: bool,

    /// With --watch: end when the rollout is done or has halted
    #[arg(long, requires = "watch")]
    pub until_done: bool,

    /// The form of the output
    #[arg(short, long, value_name = "FORM", value_enum, default_value_t, conflicts_with = "watch")]
    pub output: Output,

    /// Where etcd is
    #[command(flatten)]
    pub connection: Connection,
}

impl Status {
    /// Shows it, once or until it is over.
    pub async fn execute(self) -> Result<Exit, Failure> {
        if self.watch {
            return watch::watch(&self.connection, self.until_done).await;
        }
        let state = load(&self.connection).await?;
        let view = View::new(state, Vec::new(), clock::now())?;
        let plan = view.plan();
        print(&match self.output {
            Output::Text => fitted(&page::text(&view, &plan)),
            form => structured(&StatusReport::new(&view, &plan), form)?,
        })?;
        Ok(RolloutStatus::of(&view, &plan).exit())
    }
}

impl RolloutStatus {
    fn exit(self) -> Exit {
        match self {
            Self::Done => Exit::Good,
            Self::Halted => Exit::Halted,
            Self::NotAccepted
            | Self::Refused
            | Self::InProgress
            | Self::Paused
            | Self::Unapproved => Exit::Differs,
        }
    }
}

#[cfg(test)]
mod tests;
