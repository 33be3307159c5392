//! A model of etcd for virtual time: revisions, transactions, leases, history and compaction, as
//! far as the product uses them. It is checked against real etcd by random histories
//! (`tests/etcd/model.rs`).
//!
//! Absent: the network, several members, users, sizes. Those are met in the tests of the store.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::store::{
    Change, Compare, Entry, Key, LeaseId, Op, Outcome, Refused, Snapshot, Space, Txn,
};
use crate::words::{Revision, Time};

/// A store with one history. A clone of it, put back later, is a restored backup.
#[derive(Clone, Debug)]
pub struct EtcdModel {
    cluster_id: u64,
    revision: Revision,
    /// Changes up to this one are forgotten.
    compacted: Revision,
    keys: BTreeMap<Key, Stored>,
    /// All changes after `compacted`, in order.
    history: VecDeque<Change>,
    leases: BTreeMap<LeaseId, Lease>,
    last_lease: i64,
}

#[derive(Clone, Debug)]
struct Stored {
    value: String,
    modified: Revision,
    created: Revision,
    lease: Option<LeaseId>,
}

#[derive(Clone, Debug)]
struct Lease {
    ttl_ms: u64,
    expires: Time,
    keys: BTreeSet<Key>,
}

/// The changes that were asked for are forgotten: list anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the changes since that revision are compacted up to revision {0}; list anew")]
pub struct Compacted(pub Revision);

impl EtcdModel {
    /// An empty store, at revision 1 as real ones are.
    #[must_use]
    pub fn new(cluster_id: u64) -> Self {
        Self {
            cluster_id,
            revision: Revision(1),
            compacted: Revision(0),
            keys: BTreeMap::new(),
            history: VecDeque::new(),
            leases: BTreeMap::new(),
            last_lease: 0,
        }
    }

    /// The revision of the last change.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Does all of the transaction or nothing. Puts with `lease: true` end with `lease`.
    pub fn txn(&mut self, txn: &Txn, lease: Option<LeaseId>) -> Result<Outcome, Refused> {
        txn.check()?;
        let leased = txn.ops.iter().any(|op| matches!(op, Op::Put { lease: true, .. }));
        if leased && lease.is_none() {
            return Err(Refused::NoLease);
        }
        if !txn.compares.iter().all(|compare| self.holds(compare)) {
            return Ok(Outcome::Conflict);
        }
        // etcd looks a lease up only when it comes to write.
        if leased && !lease.is_some_and(|id| self.leases.contains_key(&id)) {
            return Err(Refused::NoLease);
        }
        let at = self.revision.next();
        for op in &txn.ops {
            match op {
                Op::Put { key, value, lease: with } => {
                    self.put(at, key, value, lease.filter(|_| *with));
                }
                Op::Delete(key) => self.delete(at, key),
            }
        }
        Ok(Outcome::Committed(self.revision))
    }

    /// It is what it was, and has another cluster ID if one is given. Leases begin anew, and their
    /// IDs are not used again.
    pub fn restore(&mut self, backup: Self, cluster_id: Option<u64>, now: Time) {
        let last_lease = self.last_lease;
        *self = backup;
        self.last_lease = self.last_lease.max(last_lease);
        self.cluster_id = cluster_id.unwrap_or(self.cluster_id);
        for lease in self.leases.values_mut() {
            lease.expires = now.plus_ms(lease.ttl_ms);
        }
    }

    /// All entries of a part of the key space.
    #[must_use]
    pub fn list(&self, space: Space) -> Snapshot {
        let entries = self
            .keys
            .iter()
            .filter(|(key, _)| space.contains(key))
            .map(|(key, stored)| stored.entry(key))
            .collect();
        Snapshot { revision: self.revision, cluster_id: self.cluster_id, entries }
    }

    /// One entry.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<Entry> {
        self.keys.get(key).map(|stored| stored.entry(key))
    }

    /// What changed after this revision, in order: what a watch that begins at `revision` tells
    /// beyond it. Refused when one of the changes is forgotten.
    pub fn changes_since(&self, revision: Revision) -> Result<Vec<Change>, Compacted> {
        if revision < self.compacted {
            return Err(Compacted(self.compacted));
        }
        let first = self.history.partition_point(|change| change.revision() <= revision);
        Ok(self.history.range(first..).cloned().collect())
    }

    /// Forgets the changes up to and including this revision, at most all there are.
    pub fn compact(&mut self, revision: Revision) {
        self.compacted = self.compacted.max(revision.min(self.revision));
        let kept = self.history.partition_point(|change| change.revision() <= self.compacted);
        self.history.drain(..kept);
    }

    /// A lease that expires `ttl_ms` after its last keep-alive.
    pub fn grant_lease(&mut self, ttl_ms: u64, now: Time) -> LeaseId {
        self.last_lease += 1;
        let id = LeaseId(self.last_lease);
        let lease = Lease { ttl_ms, expires: now.plus_ms(ttl_ms), keys: BTreeSet::new() };
        self.leases.insert(id, lease);
        id
    }

    /// Renews a lease and answers its time to live in milliseconds; 0, as etcd does, if it is
    /// gone.
    pub fn keep_alive(&mut self, id: LeaseId, now: Time) -> u64 {
        self.expire(now);
        let Some(lease) = self.leases.get_mut(&id) else { return 0 };
        lease.expires = now.plus_ms(lease.ttl_ms);
        lease.ttl_ms
    }

    /// When the next lease expires if nobody renews it.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Time> {
        self.leases.values().map(|lease| lease.expires).min()
    }

    /// Ends the leases whose time is over, the oldest first, and deletes their keys.
    pub fn expire(&mut self, now: Time) {
        let mut over: Vec<_> = self
            .leases
            .iter()
            .filter(|(_, lease)| lease.expires <= now)
            .map(|(id, lease)| (lease.expires, *id))
            .collect();
        over.sort_unstable();
        for (_, id) in over {
            self.revoke(id);
        }
    }

    /// Ends a lease and deletes its keys, all at one revision. False if there is none.
    pub fn revoke(&mut self, id: LeaseId) -> bool {
        let Some(lease) = self.leases.remove(&id) else { return false };
        let at = self.revision.next();
        // etcd deletes in the order of paths.
        let mut keys: Vec<_> = lease.keys.iter().map(|key| (key.path(), key)).collect();
        keys.sort_unstable();
        for (_, key) in keys {
            self.delete(at, key);
        }
        true
    }

    fn holds(&self, compare: &Compare) -> bool {
        let (key, wanted) = match compare {
            Compare::ModRevision(key, wanted) | Compare::CreateRevision(key, wanted) => {
                (key, *wanted)
            }
        };
        let found = self.keys.get(key).map_or(Revision(0), |stored| match compare {
            Compare::ModRevision(..) => stored.modified,
            Compare::CreateRevision(..) => stored.created,
        });
        found == wanted
    }

    fn put(&mut self, at: Revision, key: &Key, value: &str, lease: Option<LeaseId>) {
        let before = self.keys.get(key);
        let created = before.map_or(at, |stored| stored.created);
        self.detach(key, before.and_then(|stored| stored.lease));
        if let Some(lease) = lease.and_then(|id| self.leases.get_mut(&id)) {
            lease.keys.insert(key.clone());
        }
        let stored = Stored { value: value.to_owned(), modified: at, created, lease };
        self.history.push_back(Change::Put(stored.entry(key)));
        self.keys.insert(key.clone(), stored);
        self.revision = at;
    }

    /// A delete of a key that is not there does not count as a change.
    fn delete(&mut self, at: Revision, key: &Key) {
        if let Some(stored) = self.keys.remove(key) {
            self.detach(key, stored.lease);
            self.history.push_back(Change::Deleted { key: key.clone(), revision: at });
            self.revision = at;
        }
    }

    fn detach(&mut self, key: &Key, lease: Option<LeaseId>) {
        if let Some(lease) = lease.and_then(|id| self.leases.get_mut(&id)) {
            lease.keys.remove(key);
        }
    }
}

impl Stored {
    fn entry(&self, key: &Key) -> Entry {
        Entry {
            key: key.clone(),
            value: self.value.clone(),
            mod_revision: self.modified,
            create_revision: self.created,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn control(name: &str) -> Key {
        Key::Control(name.to_owned())
    }

    fn committed(revision: u64) -> Outcome {
        Outcome::Committed(Revision(revision))
    }

    #[test]
    fn the_writes_of_one_transaction_share_a_revision() {
        let mut etcd = EtcdModel::new(7);
        let both = Txn::new().put(control("a"), "1").put(control("b"), "1");
        assert_eq!(etcd.txn(&both, None), Ok(committed(2)));
        assert_eq!(etcd.txn(&Txn::new().put(control("a"), "2"), None), Ok(committed(3)));
        let entry = etcd.get(&control("a")).unwrap();
        assert_eq!((entry.mod_revision, entry.create_revision), (Revision(3), Revision(2)));
        assert_eq!(etcd.changes_since(Revision(1)).unwrap().len(), 3);
    }

    #[test]
    fn deleting_nothing_is_no_change() {
        let mut etcd = EtcdModel::new(7);
        assert_eq!(etcd.txn(&Txn::new().delete(control("a")), None), Ok(committed(1)));
        assert_eq!(etcd.changes_since(Revision(0)), Ok(vec![]));
    }

    #[test]
    fn a_key_deleted_and_created_anew_is_not_the_one_that_was_read() {
        let mut etcd = EtcdModel::new(7);
        let create = Txn::new().if_at(control("a"), Revision(0)).put(control("a"), "same");
        assert_eq!(etcd.txn(&create, None), Ok(committed(2)));
        assert_eq!(etcd.txn(&Txn::new().delete(control("a")), None), Ok(committed(3)));
        assert_eq!(etcd.txn(&create, None), Ok(committed(4)));
        let write = Txn::new().if_at(control("a"), Revision(2)).put(control("a"), "mine");
        assert_eq!(etcd.txn(&write, None), Ok(Outcome::Conflict));
        assert_eq!(etcd.get(&control("a")).unwrap().value, "same");
    }

    #[test]
    fn a_lease_that_is_not_renewed_takes_its_keys_along() {
        let mut etcd = EtcdModel::new(7);
        let lease = etcd.grant_lease(1000, Time(0));
        let mut txn = Txn::new();
        txn.ops.push(Op::Put { key: Key::Leader, value: "me".into(), lease: true });
        assert_eq!(etcd.txn(&txn, None), Err(Refused::NoLease));
        assert_eq!(etcd.txn(&txn, Some(lease)), Ok(committed(2)));
        assert_eq!(etcd.keep_alive(lease, Time(900)), 1000);
        assert_eq!(etcd.next_expiry(), Some(Time(1900)));
        etcd.expire(Time(1899));
        assert!(etcd.get(&Key::Leader).is_some());
        etcd.expire(Time(1900));
        assert_eq!(etcd.get(&Key::Leader), None);
        assert_eq!(etcd.revision(), Revision(3));
        assert_eq!(etcd.keep_alive(lease, Time(1900)), 0);
        assert_eq!(etcd.txn(&txn, Some(lease)), Err(Refused::NoLease));
    }

    #[test]
    fn a_key_written_without_the_lease_outlives_it() {
        let mut etcd = EtcdModel::new(7);
        let lease = etcd.grant_lease(1000, Time(0));
        let mut leased = Txn::new();
        leased.ops.push(Op::Put { key: Key::Leader, value: "me".into(), lease: true });
        assert_eq!(etcd.txn(&leased, Some(lease)), Ok(committed(2)));
        assert_eq!(etcd.txn(&Txn::new().put(Key::Leader, "me"), None), Ok(committed(3)));
        assert!(etcd.revoke(lease));
        assert!(!etcd.revoke(lease));
        assert!(etcd.get(&Key::Leader).is_some());
    }

    #[test]
    fn what_is_compacted_is_not_told() {
        let mut etcd = EtcdModel::new(7);
        for value in ["1", "2", "3"] {
            assert!(etcd.txn(&Txn::new().put(control("a"), value), None).is_ok());
        }
        etcd.compact(Revision(3));
        assert_eq!(etcd.changes_since(Revision(2)), Err(Compacted(Revision(3))));
        assert_eq!(etcd.changes_since(Revision(3)).unwrap().len(), 1);
        etcd.compact(Revision(99));
        assert_eq!(etcd.changes_since(Revision(4)), Ok(vec![]));
        assert_eq!(etcd.list(Space::All).entries.len(), 1);
    }
}
