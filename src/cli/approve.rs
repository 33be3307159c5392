//! `approve`: lets the generation in force start, where the documents want that.

use clap::Args;

use super::apply::confirmed;
use super::control::{Desk, by_me, key};
use super::diff::text;
use super::format::print;
use super::view::View;
use super::{Connection, Exit, Failure};
use crate::clock;
use crate::plan::control::{Approval, Ask, Control};
use crate::plan::gate::Phase;
use crate::rollout::records::to_json;
use crate::store::Txn;

const EXAMPLES: &str = "\
Examples:
  calico-dcos approve                   show the diff, ask, approve the generation in force
  calico-dcos approve --generation 42   only if that is the one in force

Where `rollout.start` is `approved`, each new generation waits for it. Repairs of drift go on in a
generation that was approved.

Exit codes: 0 done · 1 not confirmed · 2 nothing waits, or another generation does · 4 environment";

/// Let the generation in force start
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Approve {
    /// Refuse if another generation is in force
    #[arg(long, value_name = "GENERATION")]
    generation: Option<u64>,

    /// Do not ask
    #[arg(short, long)]
    yes: bool,

    /// Where etcd is
    #[command(flatten)]
    connection: Connection,
}

impl Approve {
    pub(super) async fn execute(self) -> Result<Exit, Failure> {
        let desk = Desk::open(&self.connection).await?;
        let view = View::new(desk.state.clone(), Vec::new(), clock::now())?;
        let generation = view.generation();
        if let Some(wanted) = self.generation.filter(|wanted| *wanted != generation.0) {
            return Err(Failure::input(format!(
                "generation {wanted} is not in force, {generation} is; look at `calico-dcos diff` again"
            )));
        }
        if !view.documents_in_force() {
            return Err(Failure::input(
                "the documents in etcd are not in force yet, so there is nothing to approve; wait for \
                 the controller to accept them (`calico-dcos status`)",
            ));
        }
        match view.phase() {
            Phase::Unapproved => {}
            Phase::Halted { why } => return Err(Failure::new(Exit::Halted, why)),
            Phase::Running if desk.state.controls.approves(generation) => {
                return Err(Failure::input(format!("generation {generation} is approved already")));
            }
            Phase::Running => {
                return Err(Failure::input(
                    "nothing waits for an approval: rollout.start is `automatic`",
                ));
            }
        }
        print(&text(&view, &view.plan(), false))?;
        if !self.yes && !confirmed(&format!("\nLet generation {generation} start?"))? {
            print("Nothing was approved.\n")?;
            return Ok(Exit::Differs);
        }
        let Ask { version, who, at, .. } = by_me();
        let approval = Approval { version, who, at, generation };
        let txn = Txn::new().put(key(&Control::Approved), to_json(&approval));
        desk.carry_out(&txn, &format!("approval of generation {generation}")).await?;
        print(&format!("Generation {generation} starts.\n"))?;
        Ok(Exit::Good)
    }
}
