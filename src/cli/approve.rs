//! `approve`: lets the generation in force start, or the others follow its canaries, where the
//! documents want somebody to say so.

use clap::Args;

use super::apply::confirmed;
use super::control::{Desk, by_me, key};
use super::diff::text;
use super::format::print;
use super::{Connection, Exit, Failure};
use crate::clock;
use crate::desired::Start;
use crate::plan::canary::CanaryPhase;
use crate::plan::control::{Approval, Ask, Control};
use crate::plan::gate::Phase;
use crate::rollout::records::to_json;
use crate::store::Txn;
use crate::surface::view::View;
use crate::words::HostName;

const EXAMPLES: &str = "\
Examples:
  calico-dcos approve                   show the diff, ask, approve what waits for it
  calico-dcos approve --generation 42   only if that is the one in force

Where `rollout.start` is `approved`, each new generation waits for it. Repairs of drift go on in a
generation that was approved. Where `rollout.canary` is set, the other hosts follow the canaries
once these are stable and that is approved as well.

Exit codes: 0 done · 1 not confirmed · 2 nothing waits, or another generation does · 4 environment";

/// Let the generation in force start, or the others follow its canaries
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
        let waits = what_waits(&view)?;
        print(&text(&view, &view.plan(), false))?;
        let question = match &waits {
            Waits::Start => format!("\nLet generation {generation} start?"),
            Waits::Others => format!("\nLet the others follow in generation {generation}?"),
        };
        if !self.yes && !confirmed(&question)? {
            print("Nothing was approved.\n")?;
            return Ok(Exit::Differs);
        }
        let Ask { version, who, at, .. } = by_me();
        let approval = Approval { version, who, at, generation };
        let (control, what, done) = match waits {
            Waits::Start => (Control::Approved, "approval", "starts"),
            Waits::Others => (Control::Promoted, "promotion", "goes on to all hosts"),
        };
        let txn = Txn::new().put(key(&control), to_json(&approval));
        desk.carry_out(&txn, &format!("{what} of generation {generation}")).await?;
        print(&format!("Generation {generation} {done}.\n"))?;
        Ok(Exit::Good)
    }
}

/// What an approval lets happen.
enum Waits {
    /// The generation starts.
    Start,
    /// The others follow the canaries.
    Others,
}

fn what_waits(view: &View) -> Result<Waits, Failure> {
    match (view.phase(), view.canary()) {
        (Phase::Unapproved, _) => return Ok(Waits::Start),
        (Phase::Halted { why }, _) => return Err(Failure::new(Exit::Halted, why)),
        (Phase::Running, CanaryPhase::Only(_, Some(canaries))) => {
            if canaries.stable.is_some() {
                return Ok(Waits::Others);
            }
            let names: Vec<&str> = canaries.hosts.iter().map(HostName::as_str).collect();
            return Err(Failure::input(format!(
                "the canaries ({}) are not stable yet, so that there is nothing to approve; look at \
                 `calico-dcos status`, or take `rollout.canary` out of the documents",
                names.join(", ")
            )));
        }
        (Phase::Running, CanaryPhase::Only(_, None)) => {
            return Err(Failure::input(
                "the canaries have not been chosen yet, so that there is nothing to approve; look at \
                 `calico-dcos status`",
            ));
        }
        (Phase::Running, CanaryPhase::Over) => {}
    }
    let generation = view.generation();
    Err(Failure::input(if view.state.controls.approves(generation) {
        format!("generation {generation} is approved already")
    } else if view.rollout().start == Start::Automatic {
        "nothing waits for an approval: rollout.start is `automatic`, and no canary waits"
            .to_owned()
    } else {
        "nothing waits for an approval".to_owned()
    }))
}
