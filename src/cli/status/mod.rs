//! `status`: how far the rollout is, who holds slots, and what the others wait for.

mod page;
mod report;
mod watch;

use clap::Args;

use super::diff::load;
use super::format::{Output, print, structured};
use super::view::View;
use super::{Connection, Exit, Failure};
use crate::clock;
use crate::plan::Plan;
use crate::plan::canary::Then;
use crate::plan::gate::Phase;
use crate::plan::reason::Reason;

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
            Output::Text => page::text(&view, &plan),
            form => structured(&report::StatusReport::new(&view, &plan), form)?,
        })?;
        Ok(Standing::of(&view, &plan).exit())
    }
}

/// How far it all is, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Good documents in etcd wait to be accepted by a controller.
    NotAccepted,
    /// The documents in etcd are refused; what was accepted before goes on.
    Refused,
    /// Work goes on, or waits.
    InProgress,
    /// All work waits for a pause to end.
    Paused,
    /// All work waits for `approve`.
    Unapproved,
    /// Too much failed.
    Halted,
    /// Every host is in sync, or never will be by itself.
    Done,
}

impl Standing {
    fn of(view: &View, plan: &Plan<'_>) -> Self {
        let rests = |reason: &Reason| {
            matches!(reason, Reason::Blocked { .. } | Reason::Excluded | Reason::Gone)
        };
        let restless = || plan.hosts.iter().filter_map(|host| host.reason.as_ref());
        let paused = |reason: &Reason| matches!(reason, Reason::Paused { .. });
        let unpromoted = |reason: &Reason| {
            matches!(reason, Reason::WaitingForCanary { then: Then::Approve, .. })
        };
        let waiting = || restless().filter(|reason| !rests(reason));
        if matches!(view.phase(), Phase::Halted { .. }) {
            Self::Halted
        } else if view.refused.is_some() {
            Self::Refused
        } else if !view.documents_in_force() {
            Self::NotAccepted
        } else if plan.summary.slots_held == 0 && restless().all(rests) {
            Self::Done
        } else if plan.summary.slots_held == 0 && waiting().all(paused) {
            Self::Paused
        } else if plan.summary.slots_held == 0
            && (view.phase() == Phase::Unapproved || waiting().all(unpromoted))
        {
            Self::Unapproved
        } else {
            Self::InProgress
        }
    }

    /// Its word in texts.
    fn word(self) -> &'static str {
        match self {
            Self::NotAccepted => "not accepted yet",
            Self::Refused => "refused",
            Self::InProgress => "in progress",
            Self::Paused => "paused",
            Self::Unapproved => "waiting for approval",
            Self::Halted => "halted",
            Self::Done => "done",
        }
    }

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
