//! What a run came to: what the model of the hosts saw, not what the controller believed.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::words::{Component, HostName};

/// The report of a run, in virtual time or by the wall clock.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The form of this report: 1.
    pub version: u32,
    /// Each host is in sync, blocked, excluded or gone.
    pub converged: bool,
    /// Per rollout, from the first slot reserved to the last slot freed, summed; in seconds.
    pub seconds: f64,
    /// From the beginning to the end of the run.
    pub total_seconds: f64,
    /// What `seconds` would be at best: per rollout, over each time a host held a slot (its
    /// restart time and the stability time), the larger of sum ÷ budget and the longest; summed.
    pub ideal_seconds: f64,
    /// How many hosts could be disrupted at the same time.
    pub budget: usize,
    /// How many were, at most.
    pub peak_disrupted: usize,
    /// How often a host was disrupted while the budget was used up.
    pub budget_breaches: u64,
    /// Supervising tasks that were started while one of their kind ran.
    pub second_supervisors: u64,
    /// Services that were restarted twice for one change without a fault in between.
    pub restarted_twice: u64,
    /// Restarts, by service and then by host.
    pub restarts: BTreeMap<Component, BTreeMap<HostName, u32>>,
    /// Tasks that reached hosts.
    pub tasks_launched: u64,
    /// Tasks that were needed by the hosts that are neither blocked nor gone at the end.
    pub tasks_minimum: u64,
    /// Scheduler calls after the last SUPPRESS; answers to inverse and to crossing offers apart.
    pub mesos_calls_after_convergence: u64,
    /// Calls of the operator API in the whole run.
    pub operator_calls: u64,
    /// Transactions that changed etcd after convergence, the lease apart.
    pub etcd_writes_after_convergence: u64,
    /// Each host's end.
    pub hosts: BTreeMap<HostName, HostEnd>,
    /// What happened, in order.
    pub timeline: Vec<Happening>,
}

/// Whether a host with this reason is not meant to become in sync.
#[must_use]
pub fn rests(code: &str) -> bool {
    matches!(code, "blocked" | "excluded" | "gone")
}

impl Report {
    /// Adds how a host ended. `left` is the number of tasks that it would still need: nobody can
    /// launch those on a host that is not meant to become in sync, so they were not needed.
    pub fn add_host(&mut self, name: HostName, end: HostEnd, left: u64) {
        let rests = end.reason.as_deref().is_some_and(rests);
        self.converged &= rests || (end.as_declared && end.reason.is_none());
        if rests {
            self.tasks_minimum = self.tasks_minimum.saturating_sub(left);
        }
        self.hosts.insert(name, end);
    }
}

/// How a host ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostEnd {
    /// What is declared is in force, as the host's model sees it.
    pub as_declared: bool,
    /// Why the controller says that it is not in sync; none if it says that it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The same as a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Happening {
    /// Seconds from the beginning.
    pub at: f64,
    /// A sentence.
    pub what: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_blocked_host_still_lacks_was_not_needed() {
        let mut report = Report { converged: true, tasks_minimum: 9, ..Report::default() };
        let blocked = HostEnd { reason: Some("blocked".to_owned()), ..HostEnd::default() };
        report.add_host("a1".into(), blocked, 3);
        assert_eq!((report.converged, report.tasks_minimum), (true, 6));
        let waits = HostEnd { reason: Some("paused".to_owned()), ..HostEnd::default() };
        report.add_host("a2".into(), waits, 3);
        assert_eq!((report.converged, report.tasks_minimum), (false, 6));
    }

    /// `UPDATE_SCHEMA=1 cargo test report_schema` writes it anew.
    #[test]
    fn the_report_schema_at_the_root_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/report.schema.json");
        let schema = serde_json::to_string_pretty(&schemars::schema_for!(Report)).unwrap() + "\n";
        if std::env::var_os("UPDATE_SCHEMA").is_some() {
            std::fs::write(path, &schema).unwrap();
        }
        let stored = std::fs::read_to_string(path).unwrap_or_default();
        assert!(stored == schema, "run `UPDATE_SCHEMA=1 cargo test report_schema`");
    }
}
