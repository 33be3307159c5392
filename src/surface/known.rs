//! What is in etcd, kept up to date by a watch: each change costs what changed.

use std::collections::BTreeMap;

use super::state::State;
use crate::rollout::records::{HistoryEntry, from_json};
use crate::store::{Change, Entry, Key, StoreEvent};
use crate::words::Time;

/// All that the watch has told, as of the newest listing and the changes after it.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// None before the first listing.
    state: Option<State>,
    /// The accepted sets: when the newest is deleted, the one before it counts.
    sets: BTreeMap<Key, Entry>,
    /// The history, by number.
    history: BTreeMap<u64, HistoryEntry>,
    /// What cannot be read, by key.
    unreadable: BTreeMap<Key, String>,
    /// Why it may be old.
    lost: Option<String>,
}

impl Known {
    /// What is in etcd; none before the first listing. Its time is that of the newest event.
    #[must_use]
    pub fn state(&self) -> Option<&State> {
        self.state.as_ref()
    }

    /// Why it may be old, as a clause; none while the watch stands.
    #[must_use]
    pub fn lost(&self) -> Option<&str> {
        self.lost.as_deref()
    }

    /// Who did what and when, the oldest first. Entries of later releases that cannot be read are left out.
    pub fn history(&self) -> impl DoubleEndedIterator<Item = &HistoryEntry> {
        self.history.values()
    }

    /// Takes in what the watch said at that time.
    pub fn fold(&mut self, event: StoreEvent, now: Time) {
        match event {
            StoreEvent::Listed(snapshot) => {
                *self = Self::default();
                let mut state = State::empty(now, snapshot.revision);
                state.cluster = Some(snapshot.cluster_id.to_string());
                for entry in snapshot.entries {
                    self.set(&mut state, &entry.key, Some(&entry));
                }
                self.state = Some(state);
            }
            StoreEvent::Changed { revision, changes } => {
                // Nothing comes before the first listing.
                let Some(mut state) = self.state.take() else { return };
                (state.at, state.revision) = (now, revision);
                for change in &changes {
                    match change {
                        Change::Put(entry) => self.set(&mut state, &entry.key, Some(entry)),
                        Change::Deleted { key, .. } => self.set(&mut state, key, None),
                    }
                }
                self.state = Some(state);
            }
            StoreEvent::Lost { why } => self.lost = Some(why),
        }
    }

    fn set(&mut self, state: &mut State, key: &Key, entry: Option<&Entry>) {
        self.judge(state, key, entry);
        if let Key::History(number) = key {
            self.history.remove(number);
            let read = |entry: &Entry| from_json(&key.path(), &entry.value).ok();
            self.history.extend(entry.and_then(read).map(|entry| (*number, entry)));
        }
        if matches!(key, Key::Accepted(_)) {
            match entry {
                Some(entry) => drop(self.sets.insert(key.clone(), entry.clone())),
                None => drop(self.sets.remove(key)),
            }
            state.accepted = None;
            for (key, entry) in &self.sets {
                // Whatever is wrong with it has been noted.
                let _ = state.set(key, Some(entry));
            }
        }
    }

    fn judge(&mut self, state: &mut State, key: &Key, entry: Option<&Entry>) {
        let before = match state.set(key, entry) {
            Ok(()) => self.unreadable.remove(key),
            Err(bad) => {
                state.unreadable.insert(bad.clone());
                self.unreadable.insert(key.clone(), bad)
            }
        };
        if before.is_some() {
            state.unreadable = self.unreadable.values().cloned().collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::store::Snapshot;
    use crate::surface::testing::{NOW, accept, fleet};
    use crate::words::{Generation, Revision};

    /// Keys of every kind, each with a value that can be read.
    fn records() -> Vec<(Key, String)> {
        let mut state = fleet(2);
        accept(&mut state);
        let host = state.hosts.values().next().unwrap();
        let set = json(&state.accepted.as_ref().unwrap().set);
        let ask = r#"{"version":1,"who":"alice@desk","at":7}"#.to_owned();
        vec![
            (Key::DesiredCluster, "kind: Cluster".to_owned()),
            (Key::DesiredPool("gpu".to_owned()), "kind: Pool".to_owned()),
            (Key::Accepted(Generation(2)), set.clone()),
            (Key::Accepted(Generation(3)), set),
            (Key::Observed("a1".into()), json(host.observed.as_ref().unwrap())),
            (Key::Tasks("a1".into()), json(&host.tasks)),
            (Key::RolloutState, json(state.rollout.as_ref().unwrap())),
            (Key::Control("retry/a1".to_owned()), ask.clone()),
            (Key::Control("paused/cluster".to_owned()), ask),
            (Key::Leader, r#"{"version":1,"name":"one","started":1}"#.to_owned()),
            (Key::History(7), "{}".to_owned()),
        ]
    }

    fn json<T: serde::Serialize>(value: &T) -> String {
        serde_json::to_string(value).unwrap()
    }

    /// A good value, a bad one, or none.
    fn steps() -> impl Strategy<Value = Vec<(usize, Option<bool>)>> {
        prop::collection::vec((0..records().len(), prop::option::of(any::<bool>())), 0..60)
    }

    proptest! {
        #[test]
        fn what_was_heard_in_parts_is_what_a_listing_says(steps in steps()) {
            let records = records();
            let mut stored: BTreeMap<Key, Entry> = BTreeMap::new();
            let mut known = Known::default();
            let empty = Snapshot { revision: Revision(1), cluster_id: 1, entries: Vec::new() };
            known.fold(StoreEvent::Listed(empty), NOW);
            let mut revision = Revision(1);
            for (at, value) in steps {
                revision = revision.next();
                let (key, good) = &records[at];
                let change = if let Some(is_good) = value {
                    let value = if is_good { good.clone() } else { "{".to_owned() };
                    let (mod_revision, create_revision) = (revision, revision);
                    let entry = Entry { key: key.clone(), value, mod_revision, create_revision };
                    stored.insert(key.clone(), entry.clone());
                    Change::Put(entry)
                } else {
                    stored.remove(key);
                    Change::Deleted { key: key.clone(), revision }
                };
                known.fold(StoreEvent::Changed { revision, changes: vec![change] }, NOW);
                let entries = stored.values().cloned().collect();
                let listed = State::of(&Snapshot { revision, cluster_id: 1, entries }, NOW);
                prop_assert_eq!(known.state(), Some(&listed));
            }
        }
    }

    #[test]
    fn it_is_known_to_be_old_from_the_loss_until_the_next_listing() {
        let mut known = Known::default();
        assert!(known.state().is_none());
        known.fold(StoreEvent::Lost { why: "silence".to_owned() }, NOW);
        assert_eq!((known.state(), known.lost()), (None, Some("silence")));
        let empty = Snapshot { revision: Revision(1), cluster_id: 1, entries: Vec::new() };
        known.fold(StoreEvent::Listed(empty), NOW);
        assert!(known.state().is_some() && known.lost().is_none());
    }
}
