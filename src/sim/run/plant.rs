//! Faults planted on purpose, so that it is known which of them the laws of
//! [`crate::sim::seeds::laws`] find.
//!
//! Each sits where the machine of the controller or of a host meets the world, and does what a
//! mistake in it would do there. None is in the machines themselves, and no command asks for one.
//!
//! Two more mistakes, a launch taken for permission and a slot freed on "healthy", are left to the
//! model checker (`tests/slot_model`), which goes through every interleaving: random histories hardly
//! ever meet those in which they do harm.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::budget::slot::Guard;
use crate::rollout::event::{Effect, Event};
use crate::rollout::records::{RolloutState, Stage, to_json};
use crate::store::{Change, Compare, Entry, Key, Op, StoreEvent};

/// A planted fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Plant {
    /// Slots are counted in memory: who takes over knows of none.
    CountsInMemory,
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
    /// A process wakes up later than it asked for, by another time in each run.
    Unsteady,
}

impl Plant {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::CountsInMemory,
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

    /// What is carried out in place of an effect; none if nothing is.
    pub(super) fn does(self, mut effect: Effect) -> Option<Effect> {
        if let Effect::Txn { txn, .. } = &mut effect {
            let frees = |op: &Op| matches!(op, Op::Delete(Key::Slot(_)));
            if self == Self::NeverFrees && txn.ops.iter().any(frees) {
                return None;
            }
            // Who counts in memory has nothing to compare.
            let counted = |compare: &Compare| {
                matches!(compare, Compare::ModRevision(Key::Slot(_) | Key::SlotGuard, _))
            };
            if self == Self::CountsInMemory {
                txn.compares.retain(|compare| !counted(compare));
            }
        }
        Some(effect)
    }

    /// By how many milliseconds a process oversleeps.
    pub(super) fn oversleeps(self) -> u64 {
        static DRAWN: AtomicU64 = AtomicU64::new(0);
        if self == Self::Unsteady { DRAWN.fetch_add(1, Ordering::Relaxed) % 1_000 } else { 0 }
    }
}
