//! Measures a run from outside: slots as they stand in etcd, tasks as they reach hosts, and the
//! witness of the hosts themselves.

use std::collections::{BTreeMap, BTreeSet};

use crate::budget::slot::Slot;
use crate::desired::{HostSpec, Spec};
use crate::observed::tasks::Supervised;
use crate::sim::cluster::Cluster;
use crate::sim::host::HostModel;
use crate::store::keys::Key;
use crate::store::txn::Change;
use crate::words::{Attempt, Generation, HostName, TaskKind, Time};

use super::report::{Happening, Report};

/// The measurements of a run.
#[derive(Clone, Debug, Default)]
pub struct Meter {
    start: Time,
    rollouts: BTreeMap<Generation, Rollout>,
    /// The generation of each host's slot, while it has one.
    held: BTreeMap<HostName, Generation>,
    of_attempt: BTreeMap<Attempt, Generation>,
    budget: usize,
    stability_ms: u64,
    /// One more slot each so many milliseconds, after the first so many.
    pace: Option<(u32, u64)>,
    minimum: u64,
    timeline: Vec<Happening>,
}

#[derive(Clone, Copy, Debug)]
struct Rollout {
    first: Time,
    last: Time,
}

impl Meter {
    /// Begins to measure.
    #[must_use]
    pub fn new(start: Time) -> Self {
        Self { start, ..Self::default() }
    }

    /// What the ideal is computed with from now on.
    pub fn set_limits(&mut self, budget: usize, stability_ms: u64, pace: Option<(u32, u64)>) {
        self.budget = budget;
        self.stability_ms = stability_ms;
        self.pace = pace;
    }

    /// A change in etcd; those of slots are looked at.
    pub fn stored(&mut self, change: &Change, now: Time) {
        let Key::Slot(host) = change.key() else { return };
        match change {
            Change::Put(entry) => {
                let Ok(slot) = serde_json::from_str::<Slot>(&entry.value) else { return };
                self.of_attempt.insert(slot.attempt, slot.generation);
                let generation = *self.held.entry(host.clone()).or_insert(slot.generation);
                let rollout = Rollout { first: now, last: now };
                self.rollouts.entry(generation).or_insert(rollout);
            }
            Change::Deleted { .. } => {
                let Some(generation) = self.held.remove(host) else { return };
                if let Some(rollout) = self.rollouts.get_mut(&generation) {
                    rollout.last = now;
                }
            }
        }
    }

    /// Something to be told in the report.
    pub fn happened(&mut self, what: impl Into<String>, now: Time) {
        #[expect(clippy::cast_precision_loss, reason = "milliseconds of a run")]
        let at = now.since(self.start) as f64 / 1000.0;
        self.timeline.push(Happening { at, what: what.into() });
    }

    /// What was told so far.
    #[must_use]
    pub fn timeline(&self) -> &[Happening] {
        &self.timeline
    }

    /// More tasks are needed, or fewer.
    pub fn need(&mut self, more: u64, fewer: u64) {
        self.minimum = (self.minimum + more).saturating_sub(fewer);
    }

    /// Fills in what was measured.
    pub fn fill(&self, report: &mut Report, cluster: &Cluster, now: Time) {
        let mut holds: BTreeMap<Generation, Vec<u64>> = BTreeMap::new();
        for host in cluster.hosts() {
            let witness = host.witness();
            report.second_supervisors += u64::from(witness.second_supervisors);
            report.restarted_twice += u64::from(witness.restarted_twice);
            for restart in &witness.restarts {
                let service = report.restarts.entry(restart.component).or_default();
                *service.entry(host.config().name.clone()).or_default() += 1;
            }
            for hold in &witness.holds {
                let Some(generation) = self.of_attempt.get(&hold.attempt) else { continue };
                let length = host.config().restart_ms + self.stability_ms;
                holds.entry(*generation).or_default().push(length);
            }
        }
        let peak = cluster.peak();
        report.version = 1;
        report.total_seconds = seconds(now.since(self.start));
        report.seconds = seconds(self.rollouts.values().map(|r| r.last.since(r.first)).sum());
        report.ideal_seconds = holds.values().map(|lengths| self.ideal(lengths)).sum();
        report.budget = self.budget;
        report.peak_disrupted = peak.peak;
        report.budget_breaches = peak.breaches;
        report.tasks_launched = cluster.launched();
        report.tasks_minimum = self.minimum;
        report.timeline.clone_from(&self.timeline);
    }

    fn ideal(&self, lengths: &[u64]) -> f64 {
        let sum: u64 = lengths.iter().sum();
        let longest = lengths.iter().max().copied().unwrap_or(0);
        let even = sum / (self.budget.max(1) as u64);
        let paced = self.pace.map_or(0, |(burst, interval_ms)| {
            let after = (lengths.len() as u64).saturating_sub(u64::from(burst));
            after * interval_ms + longest
        });
        seconds(even.max(longest).max(paced))
    }
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds of a run")]
fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

/// The fewest tasks that make a host what it should be: an observer, one for all that has no
/// supervisor, and one for each supervised component that changes or has nobody to supervise it
/// as it is. Without a spec, because it is left alone, it is the observer.
#[must_use]
pub fn tasks_needed(host: &HostModel, spec: Option<&HostSpec>) -> u64 {
    let launched = &host.witness().launched;
    let mut kinds = BTreeSet::new();
    if !launched.contains_key(&TaskKind::Observer) {
        kinds.insert(TaskKind::Observer);
    }
    for (component, wanted) in spec.iter().flat_map(|spec| &spec.components) {
        let off = wanted.spec == Spec::Off;
        let differs = host.in_force(*component) != (!off).then_some(wanted.hash);
        match component.supervisor().filter(|_| !off) {
            Some(kind) => {
                let supervised = launched.get(&kind) == Some(&Some(Supervised::from(wanted)));
                if differs || !supervised {
                    kinds.insert(kind);
                }
            }
            None if differs => {
                kinds.insert(TaskKind::Change);
            }
            None => {}
        }
    }
    kinds.len() as u64
}
