//! `approve`: lets the generation in force start, or the others follow its canaries, where the
//! documents want somebody to say so.

use clap::Args;

use super::apply::confirmed;
use super::control::{Desk, me};
use super::diff::text;
use super::format::{fitted, print};
use super::{Connection, Exit, Failure};
use crate::clock;
use crate::surface::ask;
use crate::surface::view::View;
use crate::words::Generation;

const EXAMPLES: &str = "\
Examples:
  calico-dcos approve                   show the diff, ask, approve what waits for it
  calico-dcos approve --generation 42   only if that is the one in force

Where `rollout.start` is `approved`, each new generation waits for it. Repairs of drift go on in a
generation that was approved. Where `rollout.canary` is set, the other hosts follow the canaries
once these are stable and that is approved as well.

Exit codes: 0 done, or done already · 1 not confirmed · 2 nothing waits, or another generation does · 4 environment";

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
        let asked = match ask::approve(&view, self.generation.map(Generation), &me()) {
            Ok(asked) => asked,
            refused => return desk.settle(refused).await,
        };
        print(&fitted(&text(&view, &view.plan(), false)))?;
        let question = asked.question.as_deref().unwrap_or_default();
        if !self.yes && !confirmed(&format!("\n{question}"))? {
            print("Nothing was approved.\n")?;
            return Ok(Exit::Differs);
        }
        desk.carry_out(&asked).await?;
        print(&format!("{}\n", asked.done))?;
        Ok(Exit::Good)
    }
}
