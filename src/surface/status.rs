//! The status for programs: `status -o json`.

use serde::Serialize;

use super::plan::{FindingReport, ReasonReport, SummaryReport};
use super::view::View;
use crate::budget::slot::SlotState;
use crate::observed::fleet::Condition;
use crate::plan::Plan;
use crate::plan::canary::Then;
use crate::plan::gate::Phase;
use crate::plan::reason::Reason;
use crate::words::{Attempt, Generation, HostName, Revision, Time};

/// How far the rollout is. Times are milliseconds since the Unix epoch.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusReport {
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
    pub(crate) fn new(view: &View, plan: &Plan<'_>) -> Self {
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

/// How far it all is, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Good documents in etcd wait to be accepted by a controller.
    NotAccepted,
    /// The documents in etcd are refused; what was accepted before goes on.
    Refused,
    /// Work goes on, or waits.
    InProgress,
    /// All work waits for a pause to end.
    Paused,
    /// All work waits for `approve`.
    Unapproved,
    /// Too much failed.
    Halted,
    /// Every host is in sync, or never will be by itself.
    Done,
}

impl Standing {
    pub(crate) fn of(view: &View, plan: &Plan<'_>) -> Self {
        let rests = |reason: &Reason| {
            matches!(reason, Reason::Blocked { .. } | Reason::Excluded | Reason::Gone)
        };
        let restless = || plan.hosts.iter().filter_map(|host| host.reason.as_ref());
        let paused = |reason: &Reason| matches!(reason, Reason::Paused { .. });
        let unpromoted = |reason: &Reason| {
            matches!(reason, Reason::WaitingForCanary { then: Then::Approve, .. })
        };
        let waiting = || restless().filter(|reason| !rests(reason));
        if matches!(view.phase(), Phase::Halted { .. }) {
            Self::Halted
        } else if view.refused.is_some() {
            Self::Refused
        } else if !view.documents_in_force() {
            Self::NotAccepted
        } else if plan.summary.slots_held == 0 && restless().all(rests) {
            Self::Done
        } else if plan.summary.slots_held == 0 && waiting().all(paused) {
            Self::Paused
        } else if plan.summary.slots_held == 0
            && (view.phase() == Phase::Unapproved || waiting().all(unpromoted))
        {
            Self::Unapproved
        } else {
            Self::InProgress
        }
    }

    /// Its word in texts.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::NotAccepted => "not accepted yet",
            Self::Refused => "refused",
            Self::InProgress => "in progress",
            Self::Paused => "paused",
            Self::Unapproved => "waiting for approval",
            Self::Halted => "halted",
            Self::Done => "done",
        }
    }
}

/// When the oldest and the newest facts came.
pub(crate) fn ages(view: &View) -> Option<(Time, Time)> {
    let reports = view.state.hosts.values().filter_map(|host| host.observed.as_ref());
    let times = reports.filter_map(|record| Some(record.reported.as_ref()?.at));
    times.fold(None, |range, at| match range {
        None => Some((at, at)),
        Some((oldest, newest)) => Some((oldest.min(at), newest.max(at))),
    })
}
