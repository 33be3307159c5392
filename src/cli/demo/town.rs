//! The cluster of the demo: hosts and Mesos as models, in real time, and what they witness.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::desired::{Desired, HostIdentity, Resolver};
use crate::plan::gate::Limits;
use crate::sim::cluster::Cluster;
use crate::sim::fleet::fleet;
use crate::sim::host::HostModel;
use crate::sim::mesos::SimMesos;
use crate::sim::mesos::http::World;
use crate::sim::meter::{Meter, tasks_needed};
use crate::sim::report::{HostEnd, Report};
use crate::sim::scenario::Scenario;
use crate::store::Change;
use crate::words::{HostName, Time};

/// Hosts, Mesos and the measurements.
#[derive(Debug)]
pub(super) struct Town {
    pub(super) cluster: Cluster,
    pub(super) meter: Meter,
    resolver: Resolver,
    desired: Arc<Desired>,
    identities: BTreeMap<HostName, HostIdentity>,
}

impl World for Town {
    fn mesos(&mut self) -> &mut SimMesos {
        &mut self.cluster.mesos
    }

    fn advance(&mut self, now: Time) {
        self.cluster.advance(now);
    }

    fn next_deadline(&self) -> Option<Time> {
        self.cluster.next_deadline()
    }
}

impl Town {
    /// The hosts of the scenario, as they are before anything is declared.
    pub(super) fn new(scenario: &Scenario, desired: Desired, now: Time) -> Self {
        let (mesos, members) = fleet(scenario);
        let desired = Arc::new(desired);
        let mut town = Self {
            cluster: Cluster::new(now, mesos),
            meter: Meter::new(now),
            resolver: Resolver::new(Arc::clone(&desired)),
            desired,
            identities: BTreeMap::new(),
        };
        for member in members {
            let mut host = HostModel::new(member.host);
            if member.installed
                && let Ok(spec) = town.resolver.resolve(&member.identity)
            {
                for (component, target) in &spec.components {
                    host.install(*component, target);
                }
            }
            town.cluster.add(now, host, member.agent);
            town.identities.insert(member.identity.name.clone(), member.identity);
        }
        // An observer on each host, whatever is declared.
        let observers = town.identities.len() as u64;
        let needed = town.needed();
        town.meter.need(observers + needed, 0);
        town.limits();
        town
    }

    /// Something else is declared now.
    pub(super) fn declare(&mut self, desired: Desired) {
        let outstanding = self.needed();
        self.desired = Arc::new(desired);
        self.resolver = Resolver::new(Arc::clone(&self.desired));
        let needed = self.needed();
        self.meter.need(needed, outstanding);
        self.limits();
    }

    pub(super) fn stored(&mut self, changes: &[Change], now: Time) {
        for change in changes {
            self.meter.stored(change, now);
        }
    }

    /// Tasks that all hosts need to become what is declared.
    fn needed(&mut self) -> u64 {
        let mut needed = 0;
        for (name, identity) in &self.identities {
            let (Ok(spec), Some(host)) = (self.resolver.resolve(identity), self.cluster.host(name))
            else {
                continue;
            };
            if !self.desired.excludes(name) {
                needed += tasks_needed(host, &spec);
            }
        }
        needed
    }

    fn limits(&mut self) {
        let rollout = &self.desired.cluster.spec.rollout;
        let limits = Limits::of(rollout, self.identities.len());
        let pace = rollout.pace_for(limits.slots).map(|rate| (rate.burst, rate.interval_ms));
        self.cluster.set_budget(limits.slots);
        self.meter.set_limits(limits.slots, u64::from(rollout.stability_seconds) * 1000, pace);
    }

    /// What the hosts saw. `reasons` are the controller's, for those that it calls out of sync.
    pub(super) fn report(
        &mut self,
        reasons: &BTreeMap<HostName, (String, String)>,
        now: Time,
    ) -> Report {
        let mut report = Report::default();
        self.meter.fill(&mut report, &self.cluster, now);
        report.converged = true;
        for (name, identity) in &self.identities {
            let spec = self.resolver.resolve(identity);
            let host = self.cluster.host(name);
            let as_declared = spec.is_ok_and(|spec| host.is_some_and(|h| h.is_as_declared(&spec)));
            let reason = reasons.get(name);
            let rests = reason.is_some_and(|(code, _)| rests(code));
            report.converged &= rests || (as_declared && reason.is_none());
            let end = HostEnd {
                as_declared,
                reason: reason.map(|(code, _)| code.clone()),
                why: reason.map(|(_, why)| why.clone()),
            };
            report.hosts.insert(name.clone(), end);
        }
        let traffic = self.cluster.mesos.traffic();
        report.mesos_calls_after_convergence = traffic.since_suppress.unwrap_or_default();
        report.operator_calls = traffic.operator_calls;
        report
    }
}

/// Whether a host with this reason is not meant to become in sync.
pub(super) fn rests(code: &str) -> bool {
    matches!(code, "blocked" | "excluded" | "gone")
}
