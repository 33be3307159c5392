//! The hosts of a plan: a line for each, those that somebody looks for, and one of them in full.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Serialize;

use super::plan::{ApiVersion, HostReport, ReasonReport};
use super::status::SlotReport;
use super::view::View;
use crate::observed::facts::Facts;
use crate::observed::fleet::Condition;
use crate::plan::step::Action;
use crate::plan::{HostPlan, Plan};
use crate::words::{Component, HostName, Revision, TaskId, TaskKind, Time};

/// The word for hosts that need nothing, beside those of the reasons.
pub(crate) const IN_SYNC: &str = "in-sync";

/// Some of the hosts. Times are milliseconds since the Unix epoch.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostsReport {
    api_version: ApiVersion,
    kind: HostsKind,
    /// The etcd revision that everything was read at.
    revision: Revision,
    /// How many hosts are looked for.
    total: usize,
    /// How many of them come before the first one here.
    offset: usize,
    /// The hosts, in the order in which people count.
    hosts: Vec<HostLine>,
}

#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
enum HostsKind {
    Hosts,
}

/// One host in a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HostLine {
    /// The agent's hostname.
    pub(crate) name: HostName,
    /// What the master says of its agent.
    pub(crate) agent: Condition,
    /// Why it does not move now; null exactly if it is in sync.
    pub(crate) reason: Option<ReasonReport>,
    /// The pools that it is in; empty if they do not go together.
    pub(crate) pools: Vec<String>,
    /// How each component stands.
    pub(crate) components: BTreeMap<Component, Standing>,
    /// Its slot, if it holds one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) slot: Option<SlotReport>,
    /// When its facts last changed; absent before it has reported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) facts_at: Option<Time>,
    /// When it last reported or confirmed; absent where this process does not lead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) heard_at: Option<Time>,
}

/// How a component of a host stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Standing {
    /// As declared.
    InSync,
    /// It has to be installed.
    Install,
    /// It has to become another one.
    Change,
    /// It is the right one and not well.
    Repair,
    /// It has to be taken off.
    Remove,
    /// It cannot be changed on this host.
    Blocked,
    /// Nothing is declared of it.
    NotManaged,
    /// Nothing is known of it.
    Unknown,
}

impl Standing {
    /// How a component of a host of the plan stands.
    pub(crate) fn of(component: Component, host: &HostPlan<'_>) -> Self {
        let Ok(spec) = host.view.spec else { return Self::Unknown };
        let Some(facts) = host.view.record.facts() else { return Self::Unknown };
        let steps = &host.assessment.work.steps;
        if let Some(step) = steps.iter().find(|step| step.component == component) {
            return match step.action {
                _ if facts.blocked.contains_key(&component) => Self::Blocked,
                Action::Install => Self::Install,
                Action::Change => Self::Change,
                Action::Repair => Self::Repair,
                Action::Remove => Self::Remove,
            };
        }
        if spec.components.contains_key(&component) { Self::InSync } else { Self::NotManaged }
    }
}

/// What is looked for; nothing in it: all hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// A reason's word, or [`IN_SYNC`].
    pub(crate) reason: Option<String>,
    /// A pool's name.
    pub(crate) pool: Option<String>,
    /// An attribute of the agent and its value: a failure domain.
    pub(crate) attribute: Option<(String, String)>,
    /// A part of the name.
    pub(crate) search: Option<String>,
}

impl Wanted {
    fn takes(&self, host: &HostPlan<'_>) -> bool {
        let is = |wanted: &String, found: &str| wanted == found;
        let pools = host.view.spec.map_or(&[][..], |spec| &spec.pools);
        let attributes = &host.view.record.agent.attributes;
        self.reason.as_ref().is_none_or(|wanted| is(wanted, word(host)))
            && self.pool.as_ref().is_none_or(|wanted| pools.contains(wanted))
            && self
                .attribute
                .as_ref()
                .is_none_or(|(name, value)| attributes.get(name) == Some(value))
            && self.search.as_ref().is_none_or(|part| host.name.as_str().contains(part.as_str()))
    }
}

/// What a host waits for, in one word.
pub(crate) fn word(host: &HostPlan<'_>) -> &'static str {
    host.reason.as_ref().map_or(IN_SYNC, crate::plan::reason::Reason::code)
}

impl HostLine {
    pub(crate) fn new(view: &View, host: &HostPlan<'_>) -> Self {
        let components = Component::ALL.map(|component| (component, Standing::of(component, host)));
        Self {
            name: host.name.clone(),
            agent: host.view.record.agent.condition,
            reason: host.reason.as_ref().map(ReasonReport::from),
            pools: host.view.spec.map_or_else(|_| Vec::new(), |spec| spec.pools.clone()),
            components: components.into(),
            slot: SlotReport::of(host),
            facts_at: host.view.record.reported.as_ref().map(|report| report.at),
            heard_at: view.heard.get(host.name).copied(),
        }
    }
}

/// So many of the hosts that are looked for, and how many there are.
pub(crate) fn page(
    view: &View,
    plan: &Plan<'_>,
    wanted: &Wanted,
    (offset, limit): (usize, usize),
) -> (usize, Vec<HostLine>) {
    let taken = || plan.hosts.iter().filter(|host| wanted.takes(host));
    let lines = taken().skip(offset).take(limit).map(|host| HostLine::new(view, host));
    (taken().count(), lines.collect())
}

impl HostsReport {
    pub(crate) fn new(
        view: &View,
        plan: &Plan<'_>,
        wanted: &Wanted,
        (offset, limit): (usize, usize),
    ) -> Self {
        let (total, hosts) = page(view, plan, wanted, (offset, limit));
        let (api_version, kind) = (ApiVersion::V1, HostsKind::Hosts);
        Self { api_version, kind, revision: view.state.revision, total, offset, hosts }
    }
}

/// One host in full. Times are milliseconds since the Unix epoch.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OneHostReport {
    api_version: ApiVersion,
    kind: OneHostKind,
    /// The etcd revision that everything was read at.
    pub(crate) revision: Revision,
    /// The line that stands for it in a list.
    pub(crate) host: HostLine,
    /// What has to change on it, and what it is to have.
    pub(crate) plan: HostReport,
    /// What it says of itself; absent before it has reported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) facts: Option<Facts>,
    /// What the master says of its agent.
    pub(crate) agent: AgentReport,
    /// What became of its attempts in this generation; absent before the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) attempts: Option<AttemptsReport>,
    /// Its tasks that have not ended, by what they are.
    pub(crate) tasks: BTreeMap<TaskKind, TaskId>,
}

#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
enum OneHostKind {
    Host,
}

/// What the master says of an agent.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AgentReport {
    /// The ID of its newest registration.
    pub(crate) id: String,
    /// Since when it is in its condition.
    pub(crate) since: Time,
    /// The roles that its resources are reserved for, and `*`.
    pub(crate) roles: BTreeSet<String>,
    /// Its attributes as text.
    pub(crate) attributes: BTreeMap<String, String>,
    /// The version of Mesos that it runs.
    pub(crate) mesos_version: String,
}

/// What became of a host's attempts.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AttemptsReport {
    /// Those that failed.
    pub(crate) failures: u32,
    /// No more are made.
    pub(crate) failed: bool,
    /// What failed last; empty if nothing did.
    pub(crate) why: String,
    /// The next one is not before this.
    pub(crate) retry_at: Time,
}

impl OneHostReport {
    /// None if there is no such host.
    pub(crate) fn new(view: &View, plan: &Plan<'_>, name: &HostName) -> Option<Self> {
        let host = plan.hosts.iter().find(|host| host.name == name)?;
        let (record, tasks) = (host.view.record, &host.view.tasks.tasks);
        let agent = record.agent.clone();
        let attempts = host.view.progress.map(|progress| AttemptsReport {
            failures: progress.failures,
            failed: progress.failed,
            why: progress.why.clone(),
            retry_at: progress.retry_at,
        });
        Some(Self {
            api_version: ApiVersion::V1,
            kind: OneHostKind::Host,
            revision: view.state.revision,
            host: HostLine::new(view, host),
            plan: HostReport::of(host, view.workload.as_ref()),
            facts: record.facts().cloned(),
            agent: AgentReport {
                id: agent.id.0,
                since: agent.since,
                roles: agent.roles,
                attributes: agent.attributes,
                mesos_version: agent.mesos_version,
            },
            attempts,
            tasks: tasks.iter().map(|(kind, task)| (*kind, task.id.clone())).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::surface::testing::{NOW, accept, fleet, put, sync};

    /// Forty hosts, the first two in sync; see [`fleet`]; odd ones in rack r1.
    fn view() -> View {
        let mut state = fleet(40);
        put(
            &mut state,
            "pools/odd",
            "apiVersion: calico-dcos/v1\nkind: Pool\nmetadata: {name: odd}\nspec:\n  selector: \
             {attributes: {rack: r1}}\n  calicoNode: {image: \"calico/node:v2.6.11\"}\n",
        );
        for (number, host) in (1..).zip(state.hosts.values_mut()) {
            if number % 2 == 1 {
                let agent = &mut host.observed.as_mut().unwrap().agent;
                agent.attributes.insert("rack".to_owned(), "r1".to_owned());
            }
        }
        accept(&mut state);
        sync(&mut state, "a1");
        sync(&mut state, "a2");
        View::new(state, Vec::new(), NOW).unwrap()
    }

    #[test]
    fn hosts_are_found_by_reason_pool_attribute_and_name() {
        let view = view();
        let plan = view.plan();
        let count = |wanted: Wanted| page(&view, &plan, &wanted, (0, 0)).0;
        let named = |part: &str| Wanted { search: Some(part.to_owned()), ..Wanted::default() };
        let because = |word: &str| Wanted { reason: Some(word.to_owned()), ..Wanted::default() };
        assert_eq!(count(Wanted::default()), 40);
        assert_eq!(count(named("a1")), 11, "a1, and a10 to a19");
        assert_eq!(count(because(IN_SYNC)), 2);
        assert_eq!(count(because("unreachable")), 2);
        assert_eq!(count(Wanted { pool: Some("odd".to_owned()), ..Wanted::default() }), 20);
        let rack = Some(("rack".to_owned(), "r1".to_owned()));
        assert_eq!(count(Wanted { attribute: rack, ..named("a1") }), 6);
        let (_, third) = page(&view, &plan, &Wanted::default(), (2, 1));
        assert_eq!(third[0].name, HostName::from("a3"), "in the order in which people count");
    }

    #[test]
    fn components_stand_as_the_plan_says() {
        let view = view();
        let plan = view.plan();
        let standing = |name: &str, component| {
            let host = plan.hosts.iter().find(|host| host.name.as_str() == name).unwrap();
            Standing::of(component, host)
        };
        assert_eq!(standing("a1", Component::CalicoNode), Standing::InSync);
        assert_eq!(standing("a3", Component::CalicoNode), Standing::Install);
        assert_eq!(standing("a3", Component::CalicoLibnetwork), Standing::NotManaged);
        assert_eq!(standing("a18", Component::Docker), Standing::Blocked);
        assert_eq!(standing("a19", Component::Docker), Standing::Unknown);
    }

    #[test]
    fn one_host_is_told_in_full_and_another_not_at_all() {
        let view = view();
        let plan = view.plan();
        let report = OneHostReport::new(&view, &plan, &"a3".into()).unwrap();
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["host"]["reason"]["code"], "waiting-for-offer", "{json:#}");
        assert_eq!(json["plan"]["steps"].as_array().unwrap().len(), 4);
        assert_eq!(json["facts"]["docker"]["version"], "20.10.24");
        assert!(OneHostReport::new(&view, &plan, &"a99".into()).is_none());
    }
}
