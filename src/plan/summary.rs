//! A plan in numbers.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::words::Component;

use super::gate::{Limits, Totals};
use super::reason::Reason;
use super::{FleetView, HostPlan};

/// What a restart is taken to last before one has been seen, in seconds.
pub const ASSUMED_RESTART_SECONDS: u64 = 30;

/// A plan in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// All hosts.
    pub hosts: usize,
    /// Those that are as they should be.
    pub in_sync: usize,
    /// Those that will change, or are changing.
    pub to_change: usize,
    /// Those of which a precondition does not hold.
    pub blocked: usize,
    /// Those that the master does not reach, or that are gone.
    pub unreachable: usize,
    /// Those that nothing, or nothing recent, is known of.
    pub unknown: usize,
    /// Those that an operator has excluded.
    pub excluded: usize,
    /// Those whose attempts are used up.
    pub failed: usize,
    /// Tasks that will be launched.
    pub tasks: usize,
    /// Hosts that will be disrupted.
    pub disrupted: usize,
    /// Restarts, by the service that restarts.
    pub restarts: BTreeMap<Component, usize>,
    /// Containers that these restarts stop.
    pub containers: u64,
    /// Slots that there are.
    pub slots: usize,
    /// Slots that are held.
    pub slots_held: usize,
    /// Hosts down at which nothing new starts.
    pub max_unavailable: usize,
    /// How often all slots are filled anew.
    pub waves: usize,
    /// How long it will take, from how long hosts held their slots so far.
    pub estimate_seconds: u64,
    /// Hosts by reason.
    pub reasons: BTreeMap<&'static str, usize>,
}

impl Summary {
    pub(super) fn of(
        hosts: &[HostPlan<'_>],
        limits: Limits,
        totals: &Totals,
        fleet: &FleetView<'_>,
    ) -> Self {
        let mut summary = Self {
            hosts: hosts.len(),
            slots: limits.slots,
            slots_held: totals.holders,
            max_unavailable: limits.max_unavailable,
            ..Self::default()
        };
        for host in hosts {
            summary.count(host);
        }
        let ahead = summary.disrupted;
        if limits.slots > 0 {
            summary.waves = ahead.div_ceil(limits.slots);
        }
        let stability = u64::from(fleet.rollout.stability_seconds);
        let hold = fleet.mean_hold_seconds.unwrap_or(ASSUMED_RESTART_SECONDS + stability);
        summary.estimate_seconds = summary.waves as u64 * hold;
        summary
    }

    fn count(&mut self, host: &HostPlan<'_>) {
        let work = &host.assessment.work;
        if let Some(reason) = &host.reason {
            *self.reasons.entry(reason.code()).or_default() += 1;
        }
        let stays = match &host.reason {
            None => &mut self.in_sync,
            Some(Reason::Blocked { .. }) => &mut self.blocked,
            Some(Reason::Unreachable { .. } | Reason::Gone) => &mut self.unreachable,
            Some(Reason::Excluded) => &mut self.excluded,
            Some(Reason::Failed { .. }) => &mut self.failed,
            Some(Reason::Unknown { .. }) => {
                // An observer is launched whatever is known.
                self.tasks += work.launches.len();
                &mut self.unknown
            }
            Some(_) => {
                self.tasks += work.launches.len();
                self.disrupted += usize::from(work.disruptive);
                for service in work.steps.iter().filter_map(|step| step.disruption.service()) {
                    *self.restarts.entry(service).or_default() += 1;
                }
                self.containers += stopped(host);
                &mut self.to_change
            }
        };
        *stays += 1;
    }
}

/// Containers that stop when a host's work is done: those of Docker if it restarts, and those
/// that a restart of the agent costs.
#[must_use]
pub fn stopped(host: &HostPlan<'_>) -> u64 {
    let Some(facts) = host.view.record.facts() else { return 0 };
    let restarts = |service| {
        let steps = &host.assessment.work.steps;
        steps.iter().any(|step| step.disruption.service() == Some(service))
    };
    let docker = facts.docker.as_ref().map_or(0, |docker| docker.containers);
    let mut containers = 0;
    if restarts(Component::Docker) {
        containers += u64::from(docker);
    }
    if restarts(Component::MesosAgent) {
        containers += u64::from(facts.agent_containers);
    }
    containers
}
