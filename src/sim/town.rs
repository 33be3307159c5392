//! A whole cluster: hosts and Mesos as models, what is declared for them, and what they witness.
//! It is stepped in virtual time by a run, and served over HTTP by the demo.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::desired::{Desired, HostIdentity, Resolver};
use crate::plan::gate::Limits;
use crate::store::Change;
use crate::words::{HostName, Time};

use super::cluster::Cluster;
use super::fleet::{Member, fleet};
use super::host::HostModel;
use super::mesos::http::World;
use super::mesos::{MesosConfig, SimMesos};
use super::meter::{Meter, tasks_needed};
use super::report::{HostEnd, Report};
use super::scenario::Scenario;

/// Hosts, Mesos and the measurements.
#[derive(Debug)]
pub struct Town {
    /// Hosts and Mesos.
    pub cluster: Cluster,
    /// The measurements.
    pub meter: Meter,
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
    #[must_use]
    pub fn new(scenario: &Scenario, desired: impl Into<Arc<Desired>>, now: Time) -> Self {
        Self::of(fleet(scenario), desired, now)
    }

    /// These hosts, with that Mesos.
    #[must_use]
    pub fn of(
        (mesos, members): (MesosConfig, Vec<Member>),
        desired: impl Into<Arc<Desired>>,
        now: Time,
    ) -> Self {
        let desired = desired.into();
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
        let needed = town.needed();
        town.meter.need(needed, 0);
        town.limits();
        town
    }

    /// Something else is declared now.
    pub fn declare(&mut self, desired: impl Into<Arc<Desired>>) {
        let outstanding = self.needed();
        self.desired = desired.into();
        self.resolver = Resolver::new(Arc::clone(&self.desired));
        let needed = self.needed();
        self.meter.need(needed, outstanding);
        self.limits();
    }

    /// All hosts, also those that are gone.
    pub fn hosts(&self) -> impl Iterator<Item = &HostName> {
        self.identities.keys()
    }

    /// Changes in etcd, for the measurements.
    pub fn stored(&mut self, changes: &[Change], now: Time) {
        for change in changes {
            self.meter.stored(change, now);
        }
    }

    /// Tasks that all hosts need to become what is declared.
    fn needed(&mut self) -> u64 {
        let names: Vec<HostName> = self.identities.keys().cloned().collect();
        names.iter().map(|name| self.needed_by(name)).sum()
    }

    fn needed_by(&mut self, name: &HostName) -> u64 {
        let Some(identity) = self.identities.get(name) else { return 0 };
        let Some(host) = self.cluster.host(name) else { return 0 };
        let spec = self.resolver.resolve(identity).ok().filter(|_| !self.desired.excludes(name));
        tasks_needed(host, spec.as_deref())
    }

    fn is_as_declared(&mut self, name: &HostName) -> bool {
        let Some(identity) = self.identities.get(name) else { return false };
        let spec = self.resolver.resolve(identity);
        spec.is_ok_and(|spec| self.cluster.host(name).is_some_and(|h| h.is_as_declared(&spec)))
    }

    fn limits(&mut self) {
        let rollout = &self.desired.cluster.spec.rollout;
        let limits = Limits::of(rollout, self.identities.len());
        let pace = rollout.pace_for(limits.slots).map(|rate| (rate.burst, rate.interval_ms));
        self.cluster.set_budget(limits.slots);
        self.meter.set_limits(limits.slots, u64::from(rollout.stability_seconds) * 1000, pace);
    }

    /// What the hosts saw. `reasons` are the controller's, for those that it calls out of sync.
    pub fn report(&mut self, reasons: &BTreeMap<HostName, (String, String)>, now: Time) -> Report {
        let mut report = Report::default();
        self.meter.fill(&mut report, &self.cluster, now);
        report.converged = true;
        let names: Vec<HostName> = self.identities.keys().cloned().collect();
        for name in names {
            let reason = reasons.get(&name).cloned();
            let as_declared = self.is_as_declared(&name);
            let (reason, why) = reason.unzip();
            let left = self.needed_by(&name);
            report.add_host(name, HostEnd { as_declared, reason, why }, left);
        }
        let traffic = self.cluster.mesos.traffic();
        report.mesos_calls_after_convergence = traffic.since_suppress.unwrap_or_default();
        report.operator_calls = traffic.operator_calls;
        report
    }
}
