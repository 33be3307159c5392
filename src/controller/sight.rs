//! Which listings and which changes the state machine gets to see, and in which order.
//!
//! A listing replaces all that the machine knows, so one from before a transaction of its own
//! would take back what it has done. Therefore:
//!
//! - it gets only listings that the writer has made, behind all transactions sent before;
//! - nothing is decided from the time that one is wanted until it is there;
//! - one is made whenever the watch stands anew, and none before: then no change can be missing
//!   between a listing and what the watch tells after it;
//! - the watch is not read while one is being made, and what the listing holds is not told again.

use crate::store::{Snapshot, StoreEvent};
use crate::words::Revision;

/// What to make of what the watch said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// It is news.
    News(StoreEvent),
    /// The writer has to list.
    List,
    /// It is known already.
    Old,
}

/// How far the machine has been told.
#[derive(Clone, Debug, Default)]
pub(super) struct Sight {
    /// The revision of the newest listing.
    told: Revision,
    /// The watch stands.
    watching: bool,
    /// A listing is to be made as soon as the watch stands.
    wanted: bool,
    /// Listings that are being made.
    under_way: usize,
}

impl Sight {
    /// A listing is wanted. Says whether the writer is to make it now.
    #[must_use]
    pub(super) fn want(&mut self) -> bool {
        self.wanted = !self.watching;
        self.under_way += usize::from(self.watching);
        self.watching
    }

    /// Whether the watch may be read.
    pub(super) fn is_clear(&self) -> bool {
        self.under_way == 0
    }

    /// Whether the machine may decide.
    pub(super) fn may_decide(&self) -> bool {
        self.is_clear() && !self.wanted
    }

    /// The writer has listed. Its word counts even if the revision went back: then etcd is not
    /// the one that it was.
    pub(super) fn listed(&mut self, snapshot: &Snapshot) {
        self.under_way = self.under_way.saturating_sub(1);
        self.told = snapshot.revision;
    }

    /// The watch has said something.
    pub(super) fn watched(&mut self, event: StoreEvent) -> Seen {
        match event {
            StoreEvent::Lost { why } => {
                self.watching = false;
                Seen::News(StoreEvent::Lost { why })
            }
            StoreEvent::Listed(_) => {
                (self.watching, self.wanted) = (true, false);
                self.under_way += 1;
                Seen::List
            }
            StoreEvent::Changed { revision, mut changes } => {
                changes.retain(|change| change.revision() > self.told);
                if changes.is_empty() {
                    Seen::Old
                } else {
                    Seen::News(StoreEvent::Changed { revision, changes })
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, VecDeque};

    use proptest::prelude::*;

    use super::*;
    use crate::store::{Change, Entry, Key};

    /// What happens in etcd and between it and us, in any order.
    #[derive(Clone, Copy, Debug)]
    enum Step {
        Write(u8),
        /// The watch gets hold of what is next for it.
        WatchReads,
        WatchBreaks,
        /// The watch has listed, and has not told yet.
        WatchLists,
        WriterLists,
        MachineReadsWatch,
        MachineReadsWriter,
        MachineAsks,
        /// etcd is put back to a backup of its first half.
        Restore,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            6 => (0..3u8).prop_map(Step::Write),
            4 => Just(Step::WatchReads),
            1 => Just(Step::WatchBreaks),
            3 => Just(Step::WatchLists),
            3 => Just(Step::WriterLists),
            6 => Just(Step::MachineReadsWatch),
            4 => Just(Step::MachineReadsWriter),
            1 => Just(Step::MachineAsks),
            1 => Just(Step::Restore),
        ];
        prop::collection::vec(step, 1..120)
    }

    #[derive(Default)]
    struct World {
        /// The key of each write; its number is the revision.
        writes: Vec<u8>,
        /// Until where the watch has read; none while it is broken.
        cursor: Option<usize>,
        from_watch: VecDeque<StoreEvent>,
        to_writer: usize,
        from_writer: VecDeque<Snapshot>,
        sight: Sight,
        machine: BTreeMap<Key, Revision>,
        restored: bool,
    }

    fn entry(key: u8, revision: usize) -> Entry {
        let at = Revision(revision as u64);
        let key = Key::Control(key.to_string());
        Entry { key, value: String::new(), mod_revision: at, create_revision: at }
    }

    impl World {
        fn snapshot(&self) -> Snapshot {
            let newest: BTreeMap<u8, usize> =
                self.writes.iter().enumerate().map(|(at, key)| (*key, at + 1)).collect();
            let entries = newest.into_iter().map(|(key, at)| entry(key, at)).collect();
            Snapshot { revision: Revision(self.writes.len() as u64), cluster_id: 1, entries }
        }

        fn ask(&mut self) {
            self.to_writer += usize::from(self.sight.want());
        }

        fn breaks(&mut self) {
            if self.cursor.take().is_some() {
                self.from_watch.push_back(StoreEvent::Lost { why: String::new() });
            }
        }

        fn step(&mut self, step: Step) {
            match step {
                Step::Write(key) => self.writes.push(key),
                Step::WatchReads => {
                    let Some(at) = self.cursor.filter(|at| *at < self.writes.len()) else { return };
                    self.cursor = Some(at + 1);
                    let changes = vec![Change::Put(entry(self.writes[at], at + 1))];
                    let revision = Revision(at as u64 + 1);
                    self.from_watch.push_back(StoreEvent::Changed { revision, changes });
                }
                Step::WatchBreaks => self.breaks(),
                Step::WatchLists if self.cursor.is_none() => {
                    self.cursor = Some(self.writes.len());
                    self.from_watch.push_back(StoreEvent::Listed(self.snapshot()));
                }
                Step::WriterLists if self.to_writer > 0 => {
                    self.to_writer -= 1;
                    self.from_writer.push_back(self.snapshot());
                }
                Step::MachineAsks if self.sight.may_decide() => self.ask(),
                Step::MachineReadsWatch if self.sight.is_clear() => {
                    let Some(event) = self.from_watch.pop_front() else { return };
                    match self.sight.watched(event) {
                        Seen::News(StoreEvent::Changed { changes, .. }) => {
                            for change in changes {
                                let known =
                                    self.machine.insert(change.key().clone(), change.revision());
                                assert!(known < Some(change.revision()), "it went back");
                            }
                        }
                        Seen::News(_) | Seen::Old => {}
                        Seen::List => self.to_writer += 1,
                    }
                }
                Step::MachineReadsWriter => {
                    let Some(snapshot) = self.from_writer.pop_front() else { return };
                    self.sight.listed(&snapshot);
                    let told = |entry: &Entry| (entry.key.clone(), entry.mod_revision);
                    let before = std::mem::take(&mut self.machine);
                    self.machine = snapshot.entries.iter().map(told).collect();
                    let back = before.iter().any(|(key, at)| self.machine.get(key) < Some(at));
                    assert!(self.restored || !back, "it went back");
                }
                Step::Restore => {
                    self.writes.truncate(self.writes.len() / 2);
                    self.restored = true;
                    self.breaks();
                }
                Step::WatchLists
                | Step::WriterLists
                | Step::MachineReadsWatch
                | Step::MachineAsks => {}
            }
        }

        fn is_still(&self) -> bool {
            self.cursor == Some(self.writes.len())
                && self.from_watch.is_empty()
                && self.to_writer == 0
                && self.from_writer.is_empty()
        }
    }

    proptest! {
        #[test]
        fn the_machine_ends_with_what_is_stored_and_never_goes_back(steps in steps()) {
            let mut world = World::default();
            world.ask();
            for step in steps {
                world.step(step);
            }
            while !world.is_still() {
                for step in [
                    Step::WatchLists,
                    Step::WatchReads,
                    Step::WriterLists,
                    Step::MachineReadsWriter,
                    Step::MachineReadsWatch,
                ] {
                    world.step(step);
                }
            }
            let stored = world.snapshot().entries;
            let stored: BTreeMap<_, _> =
                stored.into_iter().map(|entry| (entry.key, entry.mod_revision)).collect();
            prop_assert_eq!(world.machine, stored);
        }
    }
}
