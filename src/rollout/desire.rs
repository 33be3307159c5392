//! Desired state as it changes: documents settle, are checked, and are accepted as a set.
//!
//! What does not parse or validate changes nothing: the last accepted set stays in force, also
//! after a restart. A generation is raised only when a host's resolved hashes change.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::desired::{Desired, DocumentName, Resolver, Source, read};
use crate::store::keys::Key;
use crate::words::{Generation, Revision, Time};

use super::records::{ACCEPTED_KEPT, Accepted, RECORDS_VERSION};

/// Edits within this time are one edit, before a valid Cluster says otherwise.
const SETTLE_SECONDS: u32 = 2;

/// The documents in etcd, and the set that is in force.
#[derive(Debug, Default)]
pub(super) struct Desire {
    /// The texts under `desired/`, by document name.
    documents: BTreeMap<String, String>,
    revision: Revision,
    /// Since when they differ from what was looked at last.
    edited: Option<Time>,
    /// What is in force.
    pub accepted: Option<InForce>,
    /// Why the documents are not in force.
    pub refused: Option<String>,
}

/// A set that is in force.
#[derive(Debug)]
pub(super) struct InForce {
    pub generation: Generation,
    pub desired: Arc<Desired>,
    pub resolver: Resolver,
    documents: BTreeMap<String, String>,
}

/// What looking at the documents came to.
#[derive(Debug)]
pub(super) enum Look {
    /// Nothing new, or not settled yet.
    Nothing,
    /// They are not in force, and why.
    Refused(String),
    /// They are good.
    Good(Box<Desired>),
}

impl Desire {
    /// A document was written (or deleted, without text).
    pub(super) fn fold(&mut self, key: &Key, text: Option<&str>, at: Revision, now: Time) {
        let Some(name) = document_name(key) else { return };
        let changed = match text {
            Some(text) => {
                let old = self.documents.insert(name, text.to_owned());
                old.as_deref() != Some(text)
            }
            None => self.documents.remove(&name).is_some(),
        };
        if changed {
            self.revision = at;
            self.edited = Some(now);
        }
    }

    /// All documents at once, after a listing.
    pub(super) fn replace(&mut self, documents: BTreeMap<String, String>, at: Revision, now: Time) {
        // What was accepted and then not written is not in force: it is looked at again.
        let accepted = self.accepted.as_ref().is_some_and(|set| set.documents == documents);
        if self.documents != documents || !accepted {
            self.documents = documents;
            self.revision = at;
            // Nobody is in the midst of an edit that was there before this process.
            self.edited = Some(Time(now.0.saturating_sub(u64::from(SETTLE_SECONDS) * 1000)));
        }
    }

    /// Whether this is the set that is in force.
    pub(super) fn has_in_force(&self, generation: Generation, stored: &Accepted) -> bool {
        let same =
            |set: &InForce| set.generation == generation && set.documents == stored.documents;
        self.accepted.as_ref().is_some_and(same)
    }

    /// The newest accepted set, as it was stored.
    pub(super) fn restore(&mut self, generation: Generation, accepted: &Accepted) {
        match read(&sources(&accepted.documents)) {
            Ok(desired) => self.put_in_force(generation, desired, accepted.documents.clone()),
            Err(findings) => self.refused = Some(findings.to_string()),
        }
    }

    pub(super) fn put_in_force(
        &mut self,
        generation: Generation,
        desired: Desired,
        documents: BTreeMap<String, String>,
    ) {
        let desired = Arc::new(desired);
        let resolver = Resolver::new(Arc::clone(&desired));
        self.accepted = Some(InForce { generation, desired, resolver, documents });
    }

    /// When [`Self::look`] has something to look at.
    pub(super) fn next_look(&self) -> Option<Time> {
        let settle = self.accepted.as_ref().map_or(SETTLE_SECONDS, |in_force| {
            in_force.desired.cluster.spec.rollout.settle_seconds
        });
        Some(self.edited?.plus_secs(settle.into()))
    }

    /// The clock has gone back: an edit is not older than now.
    pub(super) fn hurry(&mut self, now: Time) {
        self.edited = self.edited.map(|edited| edited.min(now));
    }

    /// Looks at documents that have settled.
    pub(super) fn look(&mut self, now: Time) -> Look {
        if self.next_look().is_none_or(|at| at > now) {
            return Look::Nothing;
        }
        self.edited = None;
        if self.accepted.as_ref().is_some_and(|in_force| in_force.documents == self.documents) {
            self.refused = None;
            return Look::Nothing;
        }
        match read(&sources(&self.documents)) {
            Ok(desired) => {
                self.refused = None;
                Look::Good(Box::new(desired))
            }
            Err(findings) => {
                let why = findings.to_string();
                self.refused = Some(why.clone());
                Look::Refused(why)
            }
        }
    }

    /// Accepts what [`Self::look`] found good. Gives the record to be stored, and the key of the
    /// oldest one if that is one too many.
    pub(super) fn accept(
        &mut self,
        desired: Desired,
        generation: Generation,
        now: Time,
    ) -> (Accepted, Option<Key>) {
        let documents = self.documents.clone();
        self.put_in_force(generation, desired, documents.clone());
        let record =
            Accepted { version: RECORDS_VERSION, revision: self.revision, at: now, documents };
        let oldest = generation.0.checked_sub(ACCEPTED_KEPT).filter(|oldest| *oldest > 0);
        (record, oldest.map(|oldest| Key::Accepted(Generation(oldest))))
    }

    /// Somebody deleted the Cluster: everything is held as it is.
    pub(super) fn cluster_deleted(&self) -> bool {
        self.accepted.is_some() && self.edited.is_none() && !self.documents.contains_key("cluster")
    }

    pub(super) fn generation(&self) -> Generation {
        self.accepted.as_ref().map_or(Generation(0), |in_force| in_force.generation)
    }
}

/// A document's name by its key; none for other keys.
pub(super) fn document_name(key: &Key) -> Option<String> {
    match key {
        Key::DesiredCluster => Some("cluster".to_owned()),
        Key::DesiredPool(name) => Some(format!("pools/{name}")),
        _ => None,
    }
}

/// Stored documents as something to read, labelled with their keys.
#[must_use]
pub fn sources(documents: &BTreeMap<String, String>) -> Vec<Source> {
    let source = |(name, text): (&String, &String)| match name.parse::<DocumentName>() {
        Ok(name) => Source::stored(name, text.clone()),
        Err(_) => Source::file(format!("desired/{name}"), text.clone()),
    };
    documents.iter().map(source).collect()
}
