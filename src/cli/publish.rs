//! Documents written to etcd: all of them or none, and only if nobody wrote since they were
//! looked at.

use std::collections::BTreeMap;

use crate::desired::DocumentName;
use crate::store::{EtcdStore, Key, MAX_OPS, Outcome, Space, StoreError, Txn};
use crate::words::Revision;

use super::state::State;
use super::view::View;
use super::{Exit, Failure};

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
    #[error("{0} documents cannot be written in one transaction, {MAX_OPS} can; give fewer files")]
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
pub(super) fn changed(view: &View) -> BTreeMap<DocumentName, String> {
    let stored = |name: &DocumentName| view.state.documents.get(&name.to_string());
    let differs =
        |name: &DocumentName, text: &str| stored(name).is_none_or(|stored| stored.text != text);
    let documents = view.desired.documents.iter();
    documents
        .filter(|(name, text)| differs(name, text))
        .map(|(name, text)| (name.clone(), text.clone()))
        .collect()
}

/// Writes documents in one transaction, if all documents still are what `state` says.
pub(super) async fn publish(
    store: &EtcdStore,
    state: &State,
    documents: &BTreeMap<DocumentName, String>,
) -> Result<Revision, Failure> {
    if documents.len() > MAX_OPS {
        return Err(PublishError::TooMany(documents.len()).into());
    }
    match store.txn(&transaction(state, documents)).await? {
        Outcome::Committed(revision) => Ok(revision),
        Outcome::Conflict => {
            let now = store.list(Space::Desired).await?;
            let what = difference(&state.revisions(), &State::of(&now, state.at).revisions());
            Err(PublishError::Stale { at: state.revision, what }.into())
        }
    }
}

/// Compares those that are written first, and the others as far as etcd takes compares.
fn transaction(state: &State, documents: &BTreeMap<DocumentName, String>) -> Txn {
    let mut txn = Txn::new();
    for (name, text) in documents {
        let stored = state.documents.get(&name.to_string());
        let at = stored.map_or(Revision(0), |stored| stored.revision);
        txn = txn.if_at(key(name), at).put(key(name), text);
    }
    for (name, stored) in &state.documents {
        let Ok(name) = name.parse::<DocumentName>() else { continue };
        if txn.compares.len() < MAX_OPS && !documents.contains_key(&name) {
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
    use crate::cli::testing::{CLUSTER, NOW, POOL, fleet, put};
    use crate::desired::Source;

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
    fn only_what_differs_is_written_and_everything_is_compared() {
        let mut state = fleet(1);
        put(&mut state, "pools/old", &POOL.replace("gpu", "old"));
        let both = format!("---\n{CLUSTER}---\n# Kept.\n{POOL}");
        let view = View::new(state, vec![Source::file("both.yaml", both)], NOW).unwrap();
        let changed = changed(&view);
        let names: Vec<_> = changed.keys().map(ToString::to_string).collect();
        assert_eq!(names, ["pools/gpu"], "the Cluster is in etcd as it is");
        let text = changed.values().next().unwrap();
        assert!(text.starts_with("# Kept.\n") && text.contains("calico/node:v2.6.11"), "{text}");
        let txn = transaction(&view.state, &changed);
        assert_eq!((txn.compares.len(), txn.ops.len()), (3, 1));
        let none = Txn::new().if_at(Key::DesiredPool("gpu".into()), Revision(0));
        assert_eq!(txn.compares[0], none.compares[0], "a new document must not be there yet");
    }
}
