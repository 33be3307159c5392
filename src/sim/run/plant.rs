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
use crate::plan::control::{Approval, CONTROL_VERSION, Control};
use crate::plan::notice::{Found, ScheduleEdit};
use crate::rollout::event::{Effect, Event};
use crate::rollout::records::{RolloutState, Stage, to_json};
use crate::store::{Change, Compare, Entry, Key, Op, StoreEvent};
use crate::words::{HostName, Time};

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
    /// What is accepted counts as approved.
    ApprovesItself,
    /// What is accepted counts as promoted.
    PromotesItself,
    /// Nobody hears of pauses.
    ForgetsPauses,
    /// Every answer of a gate is a yes.
    OpensGates,
    /// The clock is that of another time zone.
    WrongZone,
    /// No notice to the frameworks is ever taken back.
    LeavesNotices,
}

impl Plant {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::CountsInMemory,
        Self::NeverFrees,
        Self::NeverRests,
        Self::StepsTwice,
        Self::ForgetsHalt,
        Self::LaunchesTwice,
        Self::Unsteady,
        Self::ApprovesItself,
        Self::PromotesItself,
        Self::ForgetsPauses,
        Self::OpensGates,
        Self::WrongZone,
        Self::LeavesNotices,
    ];

    /// What a controller is told instead.
    pub(super) fn told(self, event: Event) -> Event {
        let store = match event {
            Event::Store(store) => store,
            Event::GatesAnswered(_) if self == Self::OpensGates => {
                return Event::GatesAnswered(Ok(()));
            }
            other => return other,
        };
        Event::Store(match store {
            StoreEvent::Listed(mut snapshot) => {
                snapshot.entries.retain_mut(|entry| self.lists(entry));
                let given: Vec<_> =
                    snapshot.entries.iter().filter_map(|entry| self.gives(entry)).collect();
                snapshot.entries.extend(given);
                StoreEvent::Listed(snapshot)
            }
            StoreEvent::Changed { revision, mut changes } => {
                changes.retain_mut(|change| match change {
                    Change::Put(entry) => self == Self::CountsInMemory || self.lists(entry),
                    Change::Deleted { .. } => true,
                });
                let puts = changes.iter().filter_map(|change| match change {
                    Change::Put(entry) => self.gives(entry),
                    Change::Deleted { .. } => None,
                });
                let given: Vec<_> = puts.map(Change::Put).collect();
                changes.extend(given);
                StoreEvent::Changed { revision, changes }
            }
            lost @ StoreEvent::Lost { .. } => lost,
        })
    }

    /// What else is there for a controller that is told of an entry.
    fn gives(self, entry: &Entry) -> Option<Entry> {
        let control = match self {
            Self::ApprovesItself => Control::Approved,
            Self::PromotesItself => Control::Promoted,
            _ => return None,
        };
        let Key::Accepted(generation) = entry.key else { return None };
        let (version, who, at) = (CONTROL_VERSION, "nobody".to_owned(), Time(0));
        let value = to_json(&Approval { version, who, at, generation });
        Some(Entry { key: Key::Control(control.path()), value, ..entry.clone() })
    }

    /// Whether an entry is there for a controller, and as what.
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
            (Self::ForgetsPauses, Key::Control(path)) => {
                !matches!(Control::parse(path), Some(Control::Paused(_)))
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

    /// What becomes of an edit of the maintenance schedule, and what is said to have been found
    /// beyond that.
    pub(super) fn edits(self, mut edit: ScheduleEdit) -> (ScheduleEdit, Vec<(HostName, Found)>) {
        let left = match self {
            Self::LeavesNotices => std::mem::take(&mut edit.remove),
            _ => Vec::new(),
        };
        (edit, left.into_iter().map(|(host, _)| (host, Found::Nothing)).collect())
    }

    /// By how many milliseconds a process' clock is ahead from the beginning.
    pub(super) fn is_ahead(self) -> i64 {
        if self == Self::WrongZone { 3 * 3_600_000 } else { 0 }
    }

    /// By how many milliseconds a process oversleeps.
    pub(super) fn oversleeps(self) -> u64 {
        static DRAWN: AtomicU64 = AtomicU64::new(0);
        if self == Self::Unsteady { DRAWN.fetch_add(1, Ordering::Relaxed) % 1_000 } else { 0 }
    }
}
