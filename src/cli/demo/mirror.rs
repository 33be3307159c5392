//! What is in etcd, as the other commands see it, kept up to date by the watch.

use std::collections::BTreeMap;

use crate::plan::gate::Phase;
use crate::sim::report::rests;
use crate::store::{Change, Entry, Key, Snapshot, StoreEvent};
use crate::surface::state::State;
use crate::surface::view::{View, ViewError, natural};
use crate::words::{HostName, Revision, Time};

/// A copy of everything under the prefix.
#[derive(Debug, Default)]
pub(super) struct Mirror {
    entries: BTreeMap<Key, Entry>,
    revision: Revision,
    cluster_id: u64,
}

/// The cluster at a glance.
#[derive(Clone, Debug, Default)]
pub(super) struct Glance {
    pub(super) hosts: usize,
    /// Hosts whose facts are known.
    pub(super) known: usize,
    pub(super) in_sync: usize,
    /// Hosts that are not meant to become in sync.
    pub(super) rest: usize,
    pub(super) slots: usize,
    /// Hosts with a slot, in the order in which people count.
    pub(super) holders: Vec<HostName>,
    /// What is declared is in force.
    pub(super) in_force: bool,
    /// Why nothing moves any more.
    pub(super) halted: Option<String>,
    /// Hosts that have failed, how often, and why.
    pub(super) failures: BTreeMap<HostName, (u32, String)>,
    /// Why hosts are not in sync: code and sentence.
    pub(super) reasons: BTreeMap<HostName, (String, String)>,
}

impl Glance {
    /// All hosts are as declared, or are not meant to be.
    pub(super) fn is_in_sync(&self, hosts: usize) -> bool {
        self.in_force && self.hosts == hosts && self.in_sync + self.rest == hosts
    }
}

impl Mirror {
    /// Takes in what the watch said; returns what changed by it.
    pub(super) fn fold(&mut self, event: StoreEvent) -> Vec<Change> {
        match event {
            StoreEvent::Listed(snapshot) => {
                let before = std::mem::take(&mut self.entries);
                (self.revision, self.cluster_id) = (snapshot.revision, snapshot.cluster_id);
                let entries = snapshot.entries.into_iter().map(|entry| (entry.key.clone(), entry));
                self.entries = entries.collect();
                let gone = before.into_keys().filter(|key| !self.entries.contains_key(key));
                let revision = self.revision;
                let gone = gone.map(|key| Change::Deleted { key, revision });
                gone.chain(self.entries.values().cloned().map(Change::Put)).collect()
            }
            StoreEvent::Changed { revision, changes } => {
                self.revision = revision;
                for change in &changes {
                    match change {
                        Change::Put(entry) => {
                            self.entries.insert(entry.key.clone(), entry.clone());
                        }
                        Change::Deleted { key, .. } => {
                            self.entries.remove(key);
                        }
                    }
                }
                changes
            }
            StoreEvent::Lost { .. } => Vec::new(),
        }
    }

    pub(super) fn state(&self, now: Time) -> State {
        let entries = self.entries.values().cloned().collect();
        State::of(&Snapshot { revision: self.revision, cluster_id: self.cluster_id, entries }, now)
    }

    pub(super) fn glance(&self, now: Time) -> Result<Glance, ViewError> {
        let state = self.state(now);
        let mut glance = Glance::default();
        for (name, host) in &state.hosts {
            let Some(observed) = &host.observed else { continue };
            glance.known += usize::from(observed.facts().is_some());
            if host.slot.is_some() {
                glance.holders.push(name.clone());
            }
            if let Some(progress) = host.progress.as_ref().filter(|p| p.failures > 0) {
                glance.failures.insert(name.clone(), (progress.failures, progress.why.clone()));
            }
        }
        glance.holders.sort_by_cached_key(natural);
        let view = View::new(state, Vec::new(), now)?;
        if let Phase::Halted { why } = view.phase() {
            glance.halted = Some(why);
        }
        let plan = view.plan();
        glance.hosts = plan.summary.hosts;
        glance.in_sync = plan.summary.in_sync;
        glance.slots = plan.summary.slots;
        for host in &plan.hosts {
            let Some(reason) = &host.reason else { continue };
            glance.rest += usize::from(rests(reason.code()));
            let reason = (reason.code().to_owned(), reason.to_string());
            glance.reasons.insert(host.name.clone(), reason);
        }
        glance.in_force = view.documents_in_force();
        Ok(glance)
    }
}
