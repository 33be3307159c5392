//! The status for programs: `status -o json`.

use serde::Serialize;

use super::super::diff::{FindingReport, ReasonReport, SummaryReport};
use super::super::view::View;
use super::Standing;
use super::page::ages;
use crate::budget::slot::SlotState;
use crate::observed::fleet::Condition;
use crate::plan::Plan;
use crate::plan::gate::Phase;
use crate::words::{Attempt, Generation, HostName, Revision, Time};

/// How far the rollout is. Times are milliseconds since the Unix epoch.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StatusReport {
    api_version: &'static str,
    kind: &'static str,
    revision: Revision,
    generation: Generation,
    /// `done`, `inProgress`, `paused`, `halted`, `refused`, `notAccepted`.
    status: &'static str,
    /// Why it has halted.
    halted: Option<String>,
    /// When the rollout began.
    since: Option<Time>,
    leader: Option<String>,
    documents_in_force: bool,
    findings: Vec<FindingReport>,
    warnings: Vec<String>,
    summary: SummaryReport,
    slots: Vec<SlotReport>,
    /// The hosts that are not in sync.
    hosts: Vec<HostReport>,
    oldest_facts: Option<Time>,
    newest_facts: Option<Time>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct SlotReport {
    host: HostName,
    /// `reserved` or `held`.
    state: &'static str,
    attempt: Attempt,
    since: Time,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct HostReport {
    name: HostName,
    /// What the master says of its agent.
    agent: Condition,
    reason: ReasonReport,
}

impl StatusReport {
    pub(super) fn new(view: &View, plan: &Plan<'_>) -> Self {
        let ages = ages(view);
        Self {
            api_version: "calico-dcos/v1",
            kind: "Status",
            revision: view.state.revision,
            generation: view.generation(),
            status: code(Standing::of(view, plan)),
            halted: match view.phase() {
                Phase::Halted { why } => Some(why),
                Phase::Running | Phase::Unapproved => None,
            },
            since: view.state.rollout.as_ref().map(|rollout| rollout.since),
            leader: view.state.leader.as_ref().map(|leader| leader.name.clone()),
            documents_in_force: view.documents_in_force(),
            findings: view.refused.iter().flat_map(|all| &all.0).map(Into::into).collect(),
            warnings: view.warnings(),
            summary: SummaryReport::from(&plan.summary),
            slots: slots(plan),
            hosts: hosts(plan),
            oldest_facts: ages.map(|(oldest, _)| oldest),
            newest_facts: ages.map(|(_, newest)| newest),
        }
    }
}

fn code(standing: Standing) -> &'static str {
    match standing {
        Standing::NotAccepted => "notAccepted",
        Standing::Refused => "refused",
        Standing::InProgress => "inProgress",
        Standing::Paused => "paused",
        Standing::Unapproved => "waitingForApproval",
        Standing::Halted => "halted",
        Standing::Done => "done",
    }
}

fn slots(plan: &Plan<'_>) -> Vec<SlotReport> {
    let slots = plan.hosts.iter().filter_map(|host| Some((host.name, host.view.slot?)));
    slots
        .map(|(host, slot)| SlotReport {
            host: host.clone(),
            state: match slot.state {
                SlotState::Reserved => "reserved",
                SlotState::Held { .. } => "held",
            },
            attempt: slot.attempt,
            since: slot.since,
        })
        .collect()
}

fn hosts(plan: &Plan<'_>) -> Vec<HostReport> {
    let hosts = plan.hosts.iter().filter_map(|host| Some((host, host.reason.as_ref()?)));
    hosts
        .map(|(host, reason)| HostReport {
            name: host.name.clone(),
            agent: host.view.record.agent.condition,
            reason: reason.into(),
        })
        .collect()
}
