//! What is asked of the store and what it tells, as values: the controller's state machine emits
//! and folds them; real etcd and its model carry them out.

use std::collections::BTreeMap;

use super::keys::Key;
use crate::words::Revision;

/// The most compares, and the most operations, that etcd takes in one transaction (its default
/// `--max-txn-ops`); it counts the two lists separately.
pub const MAX_OPS: usize = 128;

/// etcd's name of a lease; never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LeaseId(pub i64);

/// Writes that happen together, and only if every compare holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Txn {
    /// What must hold.
    pub compares: Vec<Compare>,
    /// What is then done, in this order.
    pub ops: Vec<Op>,
}

impl Txn {
    /// A transaction that compares nothing and does nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Only if the key was last written at this revision; 0: only if there is none.
    #[must_use]
    pub fn if_at(mut self, key: Key, revision: Revision) -> Self {
        self.compares.push(Compare::ModRevision(key, revision));
        self
    }

    /// Only if the key exists since this revision, whatever was written to it since.
    #[must_use]
    pub fn if_created_at(mut self, key: Key, revision: Revision) -> Self {
        self.compares.push(Compare::CreateRevision(key, revision));
        self
    }

    /// Writes a key that no lease ends.
    #[must_use]
    pub fn put(mut self, key: Key, value: impl Into<String>) -> Self {
        self.ops.push(Op::Put { key, value: value.into(), lease: false });
        self
    }

    /// Deletes a key; nothing if there is none.
    #[must_use]
    pub fn delete(mut self, key: Key) -> Self {
        self.ops.push(Op::Delete(key));
        self
    }

    /// Finds what etcd refuses before it looks at any compare.
    pub fn check(&self) -> Result<(), Refused> {
        let most = self.compares.len().max(self.ops.len());
        if most > MAX_OPS {
            return Err(Refused::TooManyOps(most));
        }
        let mut writes = BTreeMap::new();
        for op in &self.ops {
            let put = matches!(op, Op::Put { .. });
            // etcd takes two deletes of one key, but no put beside another write of it.
            if writes.insert(op.key(), put).is_some_and(|earlier| earlier || put) {
                return Err(Refused::DuplicateKey(op.key().clone()));
            }
        }
        Ok(())
    }
}

/// A condition on one key. By revision, never by etcd's `version`: a key that was deleted and
/// created anew has version 1 again, its mod revision never repeats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compare {
    /// The revision of the last write; 0 if the key must be absent.
    ModRevision(Key, Revision),
    /// The revision since which the key exists; 0 if it must be absent. With [`Key::Leader`] it
    /// says "only while this one leads".
    CreateRevision(Key, Revision),
}

/// A write of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Writes the key.
    Put {
        /// The key.
        key: Key,
        /// The value as it is stored.
        value: String,
        /// Whether it ends with the lease that the transaction is sent with.
        lease: bool,
    },
    /// Deletes the key; nothing if there is none.
    Delete(Key),
}

impl Op {
    /// The key that is written.
    #[must_use]
    pub fn key(&self) -> &Key {
        match self {
            Self::Put { key, .. } | Self::Delete(key) => key,
        }
    }
}

/// What became of a transaction that was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Outcome {
    /// Done; the store's revision afterwards (which is the one of the writes, if any changed
    /// anything).
    Committed(Revision),
    /// A compare did not hold; nothing was done.
    Conflict,
}

/// A transaction that etcd does not take: a mistake in the program, or a lease that ran out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// More than [`MAX_OPS`].
    #[error(
        "a transaction with {0} operations is more than the {MAX_OPS} that etcd takes; split it"
    )]
    TooManyOps(usize),
    /// A put beside another write of its key.
    #[error("a transaction writes `{}` twice; keep the last write only", .0.path())]
    DuplicateKey(Key),
    /// A put is to end with a lease that does not exist (any more), or none was given.
    #[error("the lease of the transaction is gone; become leader again")]
    NoLease,
}

/// A key with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Key,
    /// The value as stored. Bytes that are not UTF-8 stand as U+FFFD.
    pub value: String,
    /// The revision of the last write.
    pub mod_revision: Revision,
    /// The revision since which the key exists.
    pub create_revision: Revision,
}

/// A listing at one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The store's revision that it was read at. All changes after it are not in it.
    pub revision: Revision,
    /// etcd's name of the cluster; another one means another store, or a restored backup.
    pub cluster_id: u64,
    /// In the order of [`Key`].
    pub entries: Vec<Entry>,
}

impl Snapshot {
    /// The entry of a key.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<&Entry> {
        let at = self.entries.binary_search_by(|entry| entry.key.cmp(key)).ok()?;
        self.entries.get(at)
    }
}

/// One write as a watch tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Created or written anew.
    Put(Entry),
    /// Deleted, by somebody or because its lease ran out.
    Deleted {
        /// The key.
        key: Key,
        /// The revision of the delete.
        revision: Revision,
    },
}

impl Change {
    /// The key that changed.
    #[must_use]
    pub fn key(&self) -> &Key {
        match self {
            Self::Put(entry) => &entry.key,
            Self::Deleted { key, .. } => key,
        }
    }

    /// The revision at which it did.
    #[must_use]
    pub fn revision(&self) -> Revision {
        match self {
            Self::Put(entry) => entry.mod_revision,
            Self::Deleted { revision, .. } => *revision,
        }
    }
}

/// What a watch of the whole prefix says. It begins with `Listed`; after `Lost` comes `Listed`
/// again, which replaces all that was known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreEvent {
    /// Everything there is.
    Listed(Snapshot),
    /// What changed since, whole transactions in order.
    Changed {
        /// The store's revision up to which everything is told.
        revision: Revision,
        /// The writes, in the order of their revisions.
        changes: Vec<Change>,
    },
    /// The connection broke or fell silent: what is known may be old.
    Lost {
        /// A sentence for people.
        why: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn control(n: usize) -> Key {
        Key::Control(n.to_string())
    }

    #[test]
    fn etcds_limit_counts_compares_and_operations_separately() {
        let mut txn = Txn::new();
        for n in 0..MAX_OPS {
            txn = txn.if_at(control(n), Revision(0)).put(control(n), "");
        }
        assert_eq!(txn.check(), Ok(()));
        assert_eq!(txn.put(control(MAX_OPS), "").check(), Err(Refused::TooManyOps(MAX_OPS + 1)));
    }

    #[test]
    fn a_put_beside_another_write_of_its_key_is_refused() {
        let twice = Err(Refused::DuplicateKey(control(1)));
        assert_eq!(Txn::new().put(control(1), "a").put(control(1), "b").check(), twice);
        assert_eq!(Txn::new().put(control(1), "a").delete(control(1)).check(), twice);
        assert_eq!(Txn::new().delete(control(1)).put(control(1), "a").check(), twice);
        assert_eq!(Txn::new().delete(control(1)).delete(control(1)).check(), Ok(()));
    }

    #[test]
    fn a_snapshot_finds_its_entries() {
        let entry = |key| Entry {
            key,
            value: String::new(),
            mod_revision: Revision(2),
            create_revision: Revision(2),
        };
        let entries = vec![entry(Key::DesiredCluster), entry(Key::Leader)];
        let snapshot = Snapshot { revision: Revision(2), cluster_id: 1, entries };
        assert_eq!(snapshot.get(&Key::Leader).map(|e| &e.key), Some(&Key::Leader));
        assert_eq!(snapshot.get(&Key::SlotGuard), None);
    }
}
