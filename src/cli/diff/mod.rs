//! `diff`: what would change, what it stops, and why not now.

mod text;

use std::path::PathBuf;

use clap::Args;

use super::format::{Output, fitted, print, structured};
use super::mesos::{Looking, Sight};
use super::{Connection, Exit, Failure, input};
use crate::clock;
use crate::plan::Plan;
use crate::plan::gate::Phase;
use crate::plan::reason::Reason;
use crate::store::Space;
use crate::surface::plan::PlanReport;
use crate::surface::state::State;
use crate::surface::view::{View, ViewError};

pub(super) use text::{colour, text};

const EXAMPLES: &str = "\
Examples:
  calico-dcos diff                               what the cluster lacks of what is declared
  calico-dcos diff -f cluster.yaml               what an edit would do, before it is applied
  calico-dcos diff --hosts                       the same with every host named
  calico-dcos diff --mesos-master http://leader.mesos:5050    also whose containers stop
  calico-dcos diff -o json | jq .summary         for programs (plan.schema.json)
  calico-dcos export -o now.json
  calico-dcos diff --observed now.json -f cluster.yaml    with no connection

Exit codes: 0 no difference · 1 differences · 2 input · 3 halted · 4 environment";

/// Show what would change, what it stops, and why not now
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Diff {
    /// Documents that take the place of those in etcd of the same names; `-` reads standard input
    #[arg(short, long, value_name = "FILE", num_args = 1..)]
    pub file: Vec<PathBuf>,

    /// Look at what `export` wrote instead of at etcd; needs no connection
    #[arg(long, value_name = "FILE")]
    pub observed: Option<PathBuf>,

    /// Name every host
    #[arg(long)]
    pub hosts: bool,

    /// The form of the output
    #[arg(short, long, value_name = "FORM", value_enum, default_value_t)]
    pub output: Output,

    #[command(flatten)]
    /// Where etcd is
    pub connection: Connection,

    #[command(flatten)]
    /// Where Mesos is
    pub mesos: Looking,
}

impl Diff {
    /// Prints the plan.
    pub async fn execute(self) -> Result<Exit, Failure> {
        let proposed = input::documents(&self.file)?;
        let (mut state, sight) = match &self.observed {
            Some(path) => (input::export(path)?, Sight::default()),
            None => (load(&self.connection).await?, self.mesos.look().await?),
        };
        let now = if self.observed.is_some() { state.at } else { clock::now() };
        if let Some(agents) = &sight.agents {
            state.see_agents(agents, now);
        }
        let mut view = View::new(state, proposed, now)?;
        view.workload = sight.workload;
        let plan = view.plan();
        print(&match self.output {
            Output::Text => fitted(&text(&view, &plan, self.hosts)),
            form => structured(&PlanReport::new(&view, &plan), form)?,
        })?;
        Ok(exit(&view, &plan))
    }
}

/// Reads everything from etcd.
pub(super) async fn load(connection: &Connection) -> Result<State, Failure> {
    let store = connection.connect().await?;
    let snapshot = store.list(Space::All).await?;
    Ok(State::of(&snapshot, clock::now()))
}

/// A host that an operator has excluded, or that is gone, is not meant to be in sync.
fn exit(view: &View, plan: &Plan<'_>) -> Exit {
    let differs = |reason: &Reason| !matches!(reason, Reason::Excluded | Reason::Gone);
    if matches!(view.phase(), Phase::Halted { .. }) {
        Exit::Halted
    } else if plan.hosts.iter().filter_map(|host| host.reason.as_ref()).any(differs) {
        Exit::Differs
    } else {
        Exit::Good
    }
}

impl From<ViewError> for Failure {
    fn from(error: ViewError) -> Self {
        Self::input(error)
    }
}

#[cfg(test)]
mod tests;
