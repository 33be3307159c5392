//! The status for programs: `status -o json`.

use schemars::JsonSchema;
use serde::Serialize;

use super::plan::{FindingReport, ReasonReport, SummaryReport};
use super::view::View;
use crate::budget::slot::SlotState;
use crate::observed::fleet::Condition;
use crate::plan::canary::Then;
use crate::plan::control::{Pause, Scope};
use crate::plan::gate::Phase;
use crate::plan::reason::Reason;
use crate::plan::{HostPlan, Plan};
use crate::words::{Attempt, Generation, HostName, Revision, Time};

/// How far the rollout is. Times are milliseconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatusReport {
    pub(crate) api_version: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) revision: Revision,
    pub(crate) generation: Generation,
    /// `done`, `inProgress`, `paused`, `waitingForApproval`, `halted`, `refused`, `notAccepted`.
    pub(crate) status: &'static str,
    /// Why it has halted.
    pub(crate) halted: Option<String>,
    /// When the rollout began.
    pub(crate) since: Option<Time>,
    /// The name of the process that leads; null if none does.
    pub(crate) leader: Option<String>,
    /// Where its page and API are; absent if nobody has said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) leader_url: Option<String>,
    pub(crate) documents_in_force: bool,
    pub(crate) findings: Vec<FindingReport>,
    pub(crate) warnings: Vec<String>,
    /// What people have paused, also where nothing waits for it.
    pub(crate) pauses: Vec<PauseReport>,
    pub(crate) summary: SummaryReport,
    /// Who holds slots.
    pub(crate) slots: Vec<SlotReport>,
    /// The hosts that are not in sync.
    pub(crate) hosts: Vec<WaitingHost>,
    /// When the facts of the quietest host last changed; null before any came.
    pub(crate) oldest_facts: Option<Time>,
    /// When any facts last changed.
    pub(crate) newest_facts: Option<Time>,
}

/// A pause that somebody has asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PauseReport {
    /// The pool; absent if it is of a host or of the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pool: Option<String>,
    /// The host; absent if it is of a pool or of the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) host: Option<HostName>,
    pub(crate) who: String,
    pub(crate) at: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) why: Option<String>,
}

impl From<Pause> for PauseReport {
    fn from(Pause { scope, ask }: Pause) -> Self {
        let (pool, host) = match scope {
            Scope::Cluster => (None, None),
            Scope::Pool(pool) => (Some(pool), None),
            Scope::Host(host) => (None, Some(host)),
        };
        Self { pool, host, who: ask.who, at: ask.at, why: ask.why }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SlotReport {
    pub(crate) host: HostName,
    /// `reserved` or `held`.
    pub(crate) state: &'static str,
    pub(crate) attempt: Attempt,
    pub(crate) since: Time,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WaitingHost {
    pub(crate) name: HostName,
    /// What the master says of its agent.
    pub(crate) agent: Condition,
    pub(crate) reason: ReasonReport,
}

impl StatusReport {
    pub(crate) fn new(view: &View, plan: &Plan<'_>) -> Self {
        let ages = ages(view);
        Self {
            api_version: "calico-dcos/v1",
            kind: "Status",
            revision: view.state.revision,
            generation: view.generation(),
            status: RolloutStatus::of(view, plan).code(),
            halted: match view.phase() {
                Phase::Halted { why } => Some(why),
                Phase::Running | Phase::Unapproved | Phase::Unaccepted => None,
            },
            since: view.state.rollout.as_ref().map(|rollout| rollout.since),
            leader_url: view.state.leader.as_ref().and_then(|leader| leader.url.clone()),
            leader: view.state.leader.as_ref().map(|leader| leader.name.clone()),
            documents_in_force: view.documents_in_force(),
            findings: view.refused.iter().flat_map(|all| &all.0).map(Into::into).collect(),
            warnings: view.warnings(),
            pauses: view.state.controls.pauses().map(PauseReport::from).collect(),
            summary: SummaryReport::from(&plan.summary),
            slots: plan.hosts.iter().filter_map(SlotReport::of).collect(),
            hosts: hosts(plan),
            oldest_facts: ages.map(|(oldest, _)| oldest),
            newest_facts: ages.map(|(_, newest)| newest),
        }
    }
}

impl SlotReport {
    /// None if the host holds none.
    pub(crate) fn of(host: &HostPlan<'_>) -> Option<Self> {
        let slot = host.view.slot?;
        Some(Self {
            host: host.name.clone(),
            state: match slot.state {
                SlotState::Reserved => "reserved",
                SlotState::Held { .. } => "held",
            },
            attempt: slot.attempt,
            since: slot.since,
        })
    }
}

fn hosts(plan: &Plan<'_>) -> Vec<WaitingHost> {
    let hosts = plan.hosts.iter().filter_map(|host| Some((host, host.reason.as_ref()?)));
    hosts
        .map(|(host, reason)| WaitingHost {
            name: host.name.clone(),
            agent: host.view.record.agent.condition,
            reason: reason.into(),
        })
        .collect()
}

/// How far it all is, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RolloutStatus {
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

impl RolloutStatus {
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
        } else if plan.hosts.is_empty() && view.phase() != Phase::Unapproved {
            // Right after a first start no host is known yet: that is no end to be waited for.
            Self::InProgress
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

    /// All of them.
    pub(crate) const EACH: [Self; 7] = [
        Self::NotAccepted,
        Self::Refused,
        Self::InProgress,
        Self::Paused,
        Self::Unapproved,
        Self::Halted,
        Self::Done,
    ];

    /// Its word for programs.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::NotAccepted => "notAccepted",
            Self::Refused => "refused",
            Self::InProgress => "inProgress",
            Self::Paused => "paused",
            Self::Unapproved => "waitingForApproval",
            Self::Halted => "halted",
            Self::Done => "done",
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
