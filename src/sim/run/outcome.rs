//! What a run came to, and what can be asked of it meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::desired::Desired;
use crate::rollout::Controller;
use crate::sim::cluster::Cluster;
use crate::sim::etcd::EtcdModel;
use crate::sim::report::Report;
use crate::words::{Revision, Time};

use super::process::Process;
use super::{START, World};

impl World {
    /// What the run came to.
    #[must_use]
    pub fn report(&mut self) -> Report {
        let leader = self.processes.iter().find(|process| process.leads());
        let plan = leader.and_then(|leader| leader.machine.plan(leader.clock(self.now)));
        let leads = plan.is_some();
        let mut reasons: BTreeMap<_, _> =
            self.town.hosts().map(|name| (name.clone(), never_heard_of())).collect();
        for host in plan.into_iter().flat_map(|plan| plan.hosts) {
            match host.reason {
                Some(reason) => {
                    let words = (reason.code().to_owned(), reason.to_string());
                    reasons.insert(host.name.clone(), words);
                }
                None => drop(reasons.remove(host.name)),
            }
        }
        let mut report = self.town.report(&reasons, self.now);
        report.converged &= leads;
        let quiet = self.converged_at.is_some();
        report.mesos_calls_after_convergence = if quiet { self.calls_since_suppress } else { 0 };
        report.operator_calls = self.operator_calls;
        report.etcd_writes_after_convergence = self.suppressed_writes;
        report
    }

    /// Whether every controller's index says what a plan made from nothing says.
    ///
    /// # Errors
    ///
    /// What they differ in.
    pub fn indexes_agree(&self) -> Result<(), String> {
        let mut leaders = self.processes.iter().filter(|process| process.leads());
        leaders.try_for_each(|process| process.machine.index_agrees(process.clock(self.now)))
    }

    /// The controller that leads, and the time; without the world around it.
    #[must_use]
    pub fn into_leader(mut self) -> Option<(Controller, Time)> {
        let at = self.processes.iter().position(Process::leads)?;
        let leader = self.processes.swap_remove(at);
        let now = leader.clock(self.now);
        Some((leader.machine, now))
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Time {
        self.now
    }

    /// Milliseconds since the beginning.
    #[must_use]
    pub fn elapsed_ms(&self) -> u64 {
        self.now.since(START)
    }

    /// What a set of documents says; none if there was no such set, or a bad one.
    #[must_use]
    pub fn declared(&self, documents: &BTreeMap<String, String>) -> Option<&Arc<Desired>> {
        let mut sets = self.declared.iter().rev();
        sets.find_map(|(texts, desired)| (texts == documents).then_some(desired))
    }

    /// How often a controller has decided so far.
    #[must_use]
    pub fn passes(&self) -> u64 {
        self.passes
    }

    /// How often etcd was put back to a backup.
    #[must_use]
    pub fn restores(&self) -> u32 {
        self.restores
    }

    /// Whether somebody leads, and all who do have seen what was written at this revision.
    #[must_use]
    pub fn leaders_know(&self, revision: Revision) -> bool {
        let mut leaders = self.processes.iter().filter(|process| process.leads()).peekable();
        leaders.peek().is_some() && leaders.all(|leader| leader.knows(revision))
    }

    /// Whether all faults and edits are over, and nothing is to be done any more.
    #[must_use]
    pub fn has_converged(&self) -> bool {
        self.converged_at.is_some()
    }

    /// Why the cluster has not converged; none if it has.
    #[must_use]
    pub fn unrest(&self) -> Option<String> {
        if self.has_converged() {
            return None;
        }
        let mut leaders = self.processes.iter().filter(|process| process.leads());
        let waits = leaders.find_map(|leader| leader.machine.unrest(leader.clock(self.now)));
        Some(match (self.ahead, waits) {
            (0, Some(what)) => format!("the leader waits for {what}"),
            (0, None) => "nobody leads".to_owned(),
            (ahead, _) => format!("{ahead} faults and edits are not over"),
        })
    }

    /// The cluster, as it is now.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.town.cluster
    }

    /// etcd, as it is now.
    #[must_use]
    pub fn etcd(&self) -> &EtcdModel {
        &self.etcd
    }
}

/// What a leader says of a host that is not in its plan.
fn never_heard_of() -> (String, String) {
    ("unknown".to_owned(), "the controller has not heard of it".to_owned())
}
