//! Documents written to etcd: all of them or none, and only if nobody wrote since they were
//! looked at.

use std::collections::BTreeMap;

use crate::desired::DocumentName;
use crate::store::{EtcdStore, Key, MAX_OPS, Outcome, Space, StoreError, Txn};
use crate::surface::entry::{OLDEST_DELETED, TRIES, record};
use crate::words::Revision;

use super::run::machine;
use super::{Exit, Failure};
use crate::surface::state::State;
use crate::surface::view::View;

/// Documents in one transaction, beside a record of control, the entry of the history and those that it deletes.
const MOST: usize = MAX_OPS - 2 - OLDEST_DELETED;

/// Why no entry could be written.
const ALL_THE_TIME: &str = "others write all the time";

/// Documents that were not written.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// Somebody wrote since.
    #[error(
        "the documents have changed since revision {at}, and nothing was written: {what}; look at \
         `calico-dcos diff` again"
    )]
    Stale {
        /// The revision that they were looked at.
        at: Revision,
        /// What changed, as a clause.
        what: String,
    },
    /// etcd does not know any more what was there.
    #[error(
        "etcd has compacted revision {0}, so nobody can tell what changed since, and nothing was \
         written; look at `calico-dcos diff` again"
    )]
    Forgotten(Revision),
    /// There is no such revision yet.
    #[error(
        "revision {given} is later than etcd's newest, {newest}; give the one that `calico-dcos diff` shows"
    )]
    Future {
        /// The revision given.
        given: Revision,
        /// The newest one.
        newest: Revision,
    },
    /// One transaction cannot hold them.
    #[error("{0} documents cannot be written in one transaction, {MOST} can; give fewer files")]
    TooMany(usize),
}

impl From<PublishError> for Failure {
    fn from(error: PublishError) -> Self {
        let exit = match error {
            PublishError::Stale { .. } | PublishError::Forgotten(_) => Exit::Stale,
            PublishError::Future { .. } | PublishError::TooMany(_) => Exit::Input,
        };
        Self::new(exit, error)
    }
}

/// The documents of a view that are not in etcd as they are.
#[must_use]
pub(super) fn changed(view: &View) -> Edit {
    let stored = |name: &DocumentName| view.state.documents.get(&name.to_string());
    let differs =
        |name: &DocumentName, text: &str| stored(name).is_none_or(|stored| stored.text != text);
    let documents = view.desired.documents.iter();
    let written = documents
        .filter(|(name, text)| differs(name, text))
        .map(|(name, text)| (name.clone(), text.clone()))
        .collect();
    let stored = view.state.documents.keys().filter_map(|name| name.parse().ok());
    let deleted = stored.filter(|name| !view.desired.documents.contains_key(name)).collect();
    Edit { written, deleted, control: None }
}

/// What is to become of documents: their new texts, and those that are deleted.
#[derive(Debug, Default)]
pub(super) struct Edit {
    /// By name.
    pub written: BTreeMap<DocumentName, String>,
    /// These go.
    pub deleted: Vec<DocumentName>,
    /// What is asked for beside the documents, in the same transaction.
    pub control: Option<(Key, String)>,
}

impl Edit {
    /// Nothing is to be done.
    pub(super) fn is_empty(&self) -> bool {
        self.written.is_empty() && self.deleted.is_empty()
    }

    /// `cluster, pools/gpu (new), pools/old (deleted)`.
    pub(super) fn names(&self, state: &State) -> String {
        let written = self.written.keys().map(|name| {
            let new = !state.documents.contains_key(&name.to_string());
            format!("{name}{}", if new { " (new)" } else { "" })
        });
        let deleted = self.deleted.iter().map(|name| format!("{name} (deleted)"));
        written.chain(deleted).collect::<Vec<_>>().join(", ")
    }
}

/// Changes documents in one transaction, if all documents still are what `state` says, and writes
/// in the same one who did it, with which command.
pub(super) async fn publish(
    store: &EtcdStore,
    state: &State,
    edit: &Edit,
    command: &str,
) -> Result<Revision, Failure> {
    let documents = edit.written.len() + edit.deleted.len();
    if documents > MOST {
        return Err(PublishError::TooMany(documents).into());
    }
    let what = format!("{command}: wrote {}", edit.names(state));
    // Somebody else's entry of the same number is no edit of a document: the next one is free.
    let mut newest = state.history.last().copied();
    for _ in 0..TRIES {
        let txn = transaction(state, edit);
        match record(store, state, txn, (&who(), &what), &mut newest).await? {
            Outcome::Committed(revision) => return Ok(revision),
            Outcome::Conflict => {}
        }
        let now = store.list(Space::Desired).await?;
        let what = difference(&state.revisions(), &State::of(&now, state.at).revisions());
        if !what.is_empty() {
            return Err(PublishError::Stale { at: state.revision, what }.into());
        }
    }
    Err(PublishError::Stale { at: state.revision, what: ALL_THE_TIME.to_owned() }.into())
}

/// The person at the keyboard.
pub(super) fn who() -> String {
    person(|name| std::env::var(name).ok())
}

/// The person at the keyboard, as far as the environment tells: `alice@host`, `alice as root@host`.
fn person(variable: impl Fn(&str) -> Option<String>) -> String {
    let named = |name: &str| variable(name).filter(|value| !value.is_empty());
    let user = named("USER")
        .or_else(|| named("LOGNAME"))
        .unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw()));
    let user = match named("SUDO_USER") {
        Some(before) if before != user => format!("{before} as {user}"),
        _ => user,
    };
    format!("{user}@{}", machine())
}

/// Compares those that are changed first, and the others as far as etcd takes compares.
fn transaction(state: &State, edit: &Edit) -> Txn {
    let at = |name: &DocumentName| {
        let stored = state.documents.get(&name.to_string());
        stored.map_or(Revision(0), |stored| stored.revision)
    };
    let mut txn = Txn::new();
    for (name, text) in &edit.written {
        txn = txn.if_at(key(name), at(name)).put(key(name), text);
    }
    for name in &edit.deleted {
        txn = txn.if_at(key(name), at(name)).delete(key(name));
    }
    if let Some((key, value)) = &edit.control {
        txn = txn.put(key.clone(), value);
    }
    for (name, stored) in &state.documents {
        let Ok(name) = name.parse::<DocumentName>() else { continue };
        let changed = edit.written.contains_key(&name) || edit.deleted.contains(&name);
        if txn.compares.len() < MAX_OPS - 1 && !changed {
            txn = txn.if_at(key(&name), stored.revision);
        }
    }
    txn
}

fn key(name: &DocumentName) -> Key {
    match name {
        DocumentName::Cluster => Key::DesiredCluster,
        DocumentName::Pool(pool) => Key::DesiredPool(pool.to_string()),
    }
}

/// Refuses if a document was written, created or deleted after revision `at`.
pub(super) async fn unchanged_since(
    store: &EtcdStore,
    state: &State,
    at: Revision,
) -> Result<(), Failure> {
    if at > state.revision {
        return Err(PublishError::Future { given: at, newest: state.revision }.into());
    }
    let then = match store.list_at(Space::Desired, at).await {
        Err(StoreError::Compacted) => return Err(PublishError::Forgotten(at).into()),
        then => State::of(&then?, state.at).revisions(),
    };
    let what = difference(&then, &state.revisions());
    if what.is_empty() { Ok(()) } else { Err(PublishError::Stale { at, what }.into()) }
}

type Revisions = BTreeMap<String, Revision>;

impl State {
    fn revisions(&self) -> Revisions {
        self.documents.iter().map(|(name, stored)| (name.clone(), stored.revision)).collect()
    }
}

/// What was written, created or deleted: `cluster was written at revision 7`.
fn difference(then: &Revisions, now: &Revisions) -> String {
    let mut clauses = Vec::new();
    for (name, revision) in now {
        match then.get(name) {
            Some(before) if before == revision => {}
            Some(_) => clauses.push(format!("`{name}` was written at revision {revision}")),
            None => clauses.push(format!("`{name}` was created at revision {revision}")),
        }
    }
    for name in then.keys().filter(|name| !now.contains_key(*name)) {
        clauses.push(format!("`{name}` was deleted"));
    }
    clauses.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desired::Source;
    use crate::rollout::records::{HISTORY_KEPT, HistoryEntry, RECORDS_VERSION};
    use crate::store::{Compare, Op};
    use crate::surface::entry::recorded;
    use crate::surface::testing::{CLUSTER, NOW, POOL, fleet, put};

    #[test]
    fn what_changed_is_named() {
        let at = |documents: &[(&str, u64)]| -> Revisions {
            documents.iter().map(|(name, at)| ((*name).to_owned(), Revision(*at))).collect()
        };
        let then = at(&[("cluster", 3), ("pools/a", 4), ("pools/b", 5)]);
        let now = at(&[("cluster", 3), ("pools/b", 9), ("pools/c", 8)]);
        assert_eq!(difference(&then, &then), "");
        assert_eq!(
            difference(&then, &now),
            "`pools/b` was written at revision 9, `pools/c` was created at revision 8, `pools/a` \
             was deleted"
        );
    }

    #[test]
    fn an_edit_is_recorded_with_who_and_what_and_the_history_stays_bounded() {
        let mut state = fleet(1);
        state.history = (0..HISTORY_KEPT as u64 + 3).map(|n| n * 2).collect();
        let written = BTreeMap::from([
            (DocumentName::Cluster, CLUSTER.to_owned()),
            ("pools/gpu".parse().unwrap(), POOL.to_owned()),
        ]);
        let deleted = vec!["pools/old".parse().unwrap()];
        let edit = Edit { written, deleted, control: None };
        let what = edit.names(&state);
        assert_eq!(what, "cluster, pools/gpu (new), pools/old (deleted)");
        let entry = HistoryEntry { version: RECORDS_VERSION, at: NOW, who: who(), what };
        let txn = recorded(transaction(&state, &edit), &state, 99_999, &entry);
        let gone: Vec<_> = txn.ops.iter().filter(|op| matches!(op, Op::Delete(_))).collect();
        assert_eq!(gone.len(), 5, "the pool; one that makes place; and three that are too many");
        assert!(txn.compares.contains(&Compare::ModRevision(Key::History(99_999), Revision(0))));
        txn.check().unwrap();
    }

    #[test]
    fn the_person_is_named_also_behind_sudo() {
        for (variables, expected) in [
            (&[("USER", "alice")][..], "alice@"),
            (&[("LOGNAME", "bob"), ("USER", "")], "bob@"),
            (&[("USER", "root"), ("SUDO_USER", "alice")], "alice as root@"),
            (&[("USER", "root"), ("SUDO_USER", "root")], "root@"),
            (&[], "uid "),
        ] {
            let variable = |name: &str| {
                let found = variables.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| (*value).to_owned())
            };
            let who = person(variable);
            assert!(who.starts_with(expected) && who.len() > expected.len(), "{who}");
        }
    }

    #[test]
    fn only_what_differs_is_written_and_everything_is_compared() {
        let mut state = fleet(1);
        put(&mut state, "pools/old", &POOL.replace("gpu", "old"));
        let both = format!("---\n{CLUSTER}---\n# Kept.\n{POOL}");
        let view = View::new(state, vec![Source::file("both.yaml", both)], NOW).unwrap();
        let changed = changed(&view);
        assert_eq!(
            changed.names(&view.state),
            "pools/gpu (new)",
            "the Cluster is in etcd as it is"
        );
        let text = changed.written.values().next().unwrap();
        assert!(text.starts_with("# Kept.\n") && text.contains("calico/node:v2.6.11"), "{text}");
        let txn = transaction(&view.state, &changed);
        assert_eq!((txn.compares.len(), txn.ops.len()), (3, 1));
        let none = Txn::new().if_at(Key::DesiredPool("gpu".into()), Revision(0));
        assert_eq!(txn.compares[0], none.compares[0], "a new document must not be there yet");
    }
}
