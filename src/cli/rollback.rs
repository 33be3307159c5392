//! `rollback`: the documents of an earlier generation, written again.

use clap::Args;

use super::apply::show_and_write;
use super::{Connection, Exit, Failure};
use crate::clock;
use crate::rollout::records::{Accepted, from_json};
use crate::store::{Key, Space};
use crate::surface::state::State;
use crate::surface::view::View;
use crate::words::Generation;

const EXAMPLES: &str = "\
Examples:
  calico-dcos history              names the generations
  calico-dcos rollback 41          show the diff, ask, write the documents of generation 41
  calico-dcos rollback 41 --yes

It is an edit like any other: a new generation, within the budget, with all documents in one
transaction; pools that generation did not have are deleted. The last 50 generations are kept.

Exit codes: 0 written, or nothing to write · 1 not confirmed · 2 input · 4 environment · 5 stale";

/// Write the documents of an earlier generation again
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Rollback {
    /// The generation
    #[arg(value_name = "GENERATION")]
    generation: u64,

    /// Do not ask
    #[arg(short, long)]
    yes: bool,

    /// Where etcd is
    #[command(flatten)]
    connection: Connection,
}

impl Rollback {
    pub(super) async fn execute(self) -> Result<Exit, Failure> {
        let store = self.connection.connect().await?;
        let listed = store.list(Space::All).await?;
        let wanted = Key::Accepted(Generation(self.generation));
        let Some(entry) = listed.get(&wanted) else {
            let kept = listed.entries.iter().filter_map(|entry| match entry.key {
                Key::Accepted(Generation(number)) => Some(number),
                _ => None,
            });
            return Err(Failure::input(not_kept(self.generation, kept)));
        };
        let accepted: Accepted = from_json(&wanted.path(), &entry.value)
            .map_err(|bad| Failure::environment(bad.sentence()))?;
        let state = State::of(&listed, clock::now());
        let view = View::of_set(state, &accepted.documents, clock::now())?;
        show_and_write(&store, &view, self.yes, &format!("rollback {}", self.generation)).await
    }
}

/// `generation 3 is not kept; 41 to 90 are`.
fn not_kept(generation: u64, kept: impl Iterator<Item = u64>) -> String {
    let (first, last) =
        kept.fold((u64::MAX, 0), |(first, last), number| (first.min(number), last.max(number)));
    match last {
        0 => format!("generation {generation} is not kept: nothing was accepted yet"),
        _ if first == last => format!("generation {generation} is not kept; only {last} is"),
        _ => format!("generation {generation} is not kept; {first} to {last} are"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_that_is_not_kept_is_answered_with_those_that_are() {
        assert_eq!(not_kept(3, 41..=90), "generation 3 is not kept; 41 to 90 are");
        assert_eq!(not_kept(3, 4..=4), "generation 3 is not kept; only 4 is");
        assert!(not_kept(3, 0..0).contains("nothing was accepted yet"));
    }
}
