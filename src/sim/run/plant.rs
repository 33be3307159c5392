//! Faults planted on purpose, so that it is known which of them the laws of
//! [`crate::sim::seeds::laws`] find.
//!
//! Each sits where the machine of the controller or of a host meets the world, and does what a
//! mistake in it would do there. None is in the machines themselves, and no command asks for one.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::budget::slot::Guard;
use crate::rollout::event::{Effect, Event};
use crate::rollout::records::{RolloutState, Stage, to_json};
use crate::store::{Change, Entry, Key, Op, StoreEvent};

/// A planted fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Plant {
    /// Slots are counted in memory: who takes over knows of none.
    CountsInMemory,
    /// A slot is given back as soon as what is wanted is in force, the journal still open.
    FreesOnHealthy,
    /// A launch is permission enough: the executor does not ask.
    DoesNotAsk,
    /// A slot is never given back.
    NeverFrees,
    /// Something is written now and then, for ever.
    NeverRests,
    /// A step is carried out a second time.
    StepsTwice,
    /// That the rollout halted is not known to who takes over.
    ForgetsHalt,
    /// A launch reaches the host twice, as two tasks.
    LaunchesTwice,
    /// The clock of a process differs from run to run.
    Unsteady,
}

impl Plant {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::CountsInMemory,
        Self::FreesOnHealthy,
        Self::DoesNotAsk,
        Self::NeverFrees,
        Self::NeverRests,
        Self::StepsTwice,
        Self::ForgetsHalt,
        Self::LaunchesTwice,
        Self::Unsteady,
    ];

    /// What a controller is told instead.
    pub(super) fn told(self, event: Event) -> Event {
        let Event::Store(store) = event else { return event };
        Event::Store(match store {
            StoreEvent::Listed(mut snapshot) => {
                snapshot.entries.retain_mut(|entry| self.lists(entry));
                StoreEvent::Listed(snapshot)
            }
            StoreEvent::Changed { revision, mut changes } => {
                changes.retain_mut(|change| match change {
                    Change::Put(entry) => self != Self::ForgetsHalt || self.lists(entry),
                    Change::Deleted { .. } => true,
                });
                StoreEvent::Changed { revision, changes }
            }
            lost @ StoreEvent::Lost { .. } => lost,
        })
    }

    /// Whether an entry is there for a controller that lists, and as what.
    fn lists(self, entry: &mut Entry) -> bool {
        match (self, &entry.key) {
            (Self::CountsInMemory, Key::Slot(_)) | (Self::ForgetsHalt, Key::RolloutHost(_)) => {
                false
            }
            (Self::CountsInMemory, Key::SlotGuard) => {
                if let Ok(guard) = serde_json::from_str::<Guard>(&entry.value) {
                    entry.value = to_json(&Guard { held: 0, ..guard });
                }
                true
            }
            (Self::ForgetsHalt, Key::RolloutState) => {
                let state = serde_json::from_str::<RolloutState>(&entry.value);
                !state.is_ok_and(|state| matches!(state.stage, Stage::Halted { .. }))
            }
            _ => true,
        }
    }

    /// Whether an effect is carried out.
    pub(super) fn lets(self, effect: &Effect) -> bool {
        let frees = |op: &Op| matches!(op, Op::Delete(Key::Slot(_)));
        !matches!((self, effect), (Self::NeverFrees, Effect::Txn { txn, .. }) if txn.ops.iter().any(frees))
    }

    /// By how many milliseconds a clock is off, where the same is meant to happen again.
    pub(super) fn off_by(self) -> i64 {
        static DRAWN: AtomicU64 = AtomicU64::new(0);
        if self == Self::Unsteady {
            i64::try_from(DRAWN.fetch_add(1, Ordering::Relaxed) % 1_000).unwrap_or(0)
        } else {
            0
        }
    }
}
