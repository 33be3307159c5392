//! A plan for programs: `diff -o json`. The types are the contract (`plan.schema.json` is made
//! from them): fields are added, never renamed or taken away within `calico-dcos/v1`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Serialize;

use super::group::{VersionedStep, containers, stopped};
use super::view::{Basis, View};
use crate::desired::Finding;
use crate::mesos::workload::Workload;
use crate::observed::fleet::Condition;
use crate::plan::reason::Reason;
use crate::plan::step::{Action, Disruption, Step};
use crate::plan::summary::Summary;
use crate::plan::{HostPlan, Plan};
use crate::rollout::records::{Rendered, RenderedComponent};
use crate::words::{Component, Generation, HostName, Revision, SpecHash, TaskKind};

/// What would change, host by host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(title = "Plan of calico-dcos")]
pub struct PlanReport {
    /// The version of this form.
    api_version: ApiVersion,
    /// What this is.
    kind: Kind,
    /// The etcd revision that everything was read at: for `apply --if-revision`.
    revision: Revision,
    /// The generation that is in force; 0 before the first.
    generation: Generation,
    /// Whether accepting these documents would raise the generation.
    raises_generation: bool,
    /// Which documents the plan is for.
    documents: Documents,
    /// Whether the documents in etcd are the ones that are in force.
    documents_in_force: bool,
    /// What is wrong with the documents in etcd, if that keeps them from being in force.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    findings: Vec<FindingReport>,
    /// What the documents say that has no effect, one sentence each.
    warnings: Vec<String>,
    /// The plan in numbers.
    summary: SummaryReport,
    /// What stops on all hosts together, by the name of its framework; absent where Mesos was not
    /// asked or did not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    impact: Option<ImpactReport>,
    /// All hosts, also those that are in sync.
    hosts: Vec<HostReport>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) enum ApiVersion {
    #[serde(rename = "calico-dcos/v1")]
    V1,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
enum Kind {
    Plan,
}

/// Which documents a plan is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
enum Documents {
    /// Those that are in force.
    InForce,
    /// Those in etcd, not in force yet.
    Stored,
    /// Those in etcd with the ones from files in their place.
    Proposed,
}

/// One thing that is wrong with a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FindingReport {
    /// The file, or the key in etcd.
    pub(crate) file: String,
    /// From 1; absent if it concerns no single place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) line: Option<usize>,
    /// From 1, in characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) column: Option<usize>,
    /// The field; empty if it is no field's.
    pub(crate) path: String,
    /// What is wrong.
    pub(crate) message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) help: Option<String>,
}

/// A plan in numbers. Each host is counted once among `inSync` to `failed`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SummaryReport {
    /// All hosts.
    pub(crate) hosts: usize,
    /// Those that are as they should be.
    pub(crate) in_sync: usize,
    /// Those that will change, or are changing.
    pub(crate) to_change: usize,
    /// Those of which a precondition does not hold.
    pub(crate) blocked: usize,
    /// Those that the master does not reach, or that are gone.
    pub(crate) unreachable: usize,
    /// Those that nothing, or nothing recent, is known of.
    pub(crate) unknown: usize,
    /// Those that an operator has excluded.
    pub(crate) excluded: usize,
    /// Those whose attempts are used up.
    pub(crate) failed: usize,
    /// Tasks that will be launched.
    pub(crate) tasks: usize,
    /// Hosts that will be disrupted.
    pub(crate) disrupted: usize,
    /// Restarts, by the component whose service restarts.
    pub(crate) restarts: BTreeMap<Component, usize>,
    /// Containers that these restarts stop.
    pub(crate) containers: u64,
    /// Slots that there are: what `maxConcurrentRestarts` came to.
    pub(crate) slots: usize,
    /// Slots that are held.
    pub(crate) slots_held: usize,
    /// Hosts down at which nothing new starts.
    pub(crate) max_unavailable: usize,
    /// How often all slots are filled anew.
    pub(crate) waves: usize,
    /// How long it will take, in seconds.
    pub(crate) estimate_seconds: u64,
    /// Hosts by the code of their reason.
    pub(crate) reasons: BTreeMap<String, usize>,
}

/// What the steps of a plan stop, by the name of its framework.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ImpactReport {
    /// Containers that stop with Docker.
    docker: BTreeMap<String, u64>,
    /// Tasks that stop with the Mesos agent.
    mesos_agent: BTreeMap<String, u64>,
}

/// One host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HostReport {
    /// The agent's hostname.
    pub(crate) name: HostName,
    /// What the master says of its agent.
    pub(crate) agent: Condition,
    /// It is as it should be, and nothing is under way.
    pub(crate) in_sync: bool,
    /// Why it does not move now; null exactly if it is in sync.
    pub(crate) reason: Option<ReasonReport>,
    /// What has to change, in the order in which it is done.
    pub(crate) steps: Vec<StepReport>,
    /// The tasks that will be launched.
    pub(crate) tasks: Vec<TaskKind>,
    /// What it is to have, equal to `rendered/HOST` in etcd. A component that is absent is not
    /// managed. Empty if its pools do not go together.
    pub(crate) wanted: BTreeMap<Component, Wanted>,
}

/// Why a host does not move now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct ReasonReport {
    /// A word of the fixed list, such as `waiting-for-slot`.
    pub(crate) code: String,
    /// A sentence.
    pub(crate) text: String,
}

/// One change of one component.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StepReport {
    /// The component.
    pub(crate) component: Component,
    /// What is done.
    pub(crate) action: ActionReport,
    /// The version that is there; absent if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) from: Option<String>,
    /// The version that it becomes; absent when it is taken off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) to: Option<String>,
    /// What stops meanwhile.
    pub(crate) disruption: DisruptionReport,
    /// Containers that stop with it.
    pub(crate) containers: u32,
    /// Tasks that stop with it, by the name of their framework; absent where Mesos was not asked
    /// or did not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tasks: Option<BTreeMap<String, u64>>,
}

/// What is done to a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum ActionReport {
    /// There is none of ours.
    Install,
    /// Another one of ours is there.
    Change,
    /// The right one is there and not well.
    Repair,
    /// It is taken off.
    Remove,
}

/// What stops during a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum DisruptionReport {
    /// Nothing.
    None,
    /// Nothing: Docker reads its file again.
    ReloadDocker,
    /// The proxy, shortly.
    ReplaceProxy,
    /// Docker and its containers.
    RestartDocker,
    /// The Mesos agent.
    RestartAgent,
    /// Routing on the host, shortly.
    ReplaceNode,
    /// New Docker networks on the host, shortly.
    ReplaceLibnetwork,
}

/// What one component is to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Wanted {
    /// The SHA-256 of its spec's canonical JSON.
    pub(crate) hash: SpecHash,
    /// What people call this version; absent when it is off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<String>,
}

/// The schema of what `diff -o json` prints, as it stands in `plan.schema.json`.
#[must_use]
pub fn schema() -> String {
    let generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    let schema = generator.into_root_schema_for::<PlanReport>();
    format!("{:#}\n", schema.to_value())
}

impl PlanReport {
    pub(crate) fn new(view: &View, plan: &Plan<'_>) -> Self {
        let mut wanted: BTreeMap<&HostName, Rendered> = view.rendered().collect();
        let workload = view.workload.as_ref();
        let host = |host| HostReport::new(host, wanted.remove(host.name), workload);
        let findings = view.refused.iter().flat_map(|findings| &findings.0);
        Self {
            api_version: ApiVersion::V1,
            kind: Kind::Plan,
            revision: view.state.revision,
            generation: view.generation(),
            raises_generation: view.raises_generation,
            documents: match view.basis {
                Basis::InForce => Documents::InForce,
                Basis::Stored => Documents::Stored,
                Basis::Proposed => Documents::Proposed,
            },
            documents_in_force: view.documents_in_force(),
            findings: findings.map(FindingReport::from).collect(),
            warnings: view.warnings(),
            summary: SummaryReport::from(&plan.summary),
            impact: workload.map(|workload| ImpactReport::new(workload, plan)),
            hosts: plan.hosts.iter().map(host).collect(),
        }
    }
}

impl ImpactReport {
    fn new(workload: &Workload, plan: &Plan<'_>) -> Self {
        let of = |disruption: Disruption| {
            let hosts = plan.hosts.iter().filter(|host| {
                host.assessment.work.steps.iter().any(|step| step.disruption == disruption)
            });
            let stopped = stopped(workload, hosts, disruption).into_iter();
            stopped.map(|(name, number)| (name.to_owned(), number)).collect()
        };
        Self { docker: of(Disruption::RestartDocker), mesos_agent: of(Disruption::RestartAgent) }
    }
}

impl HostReport {
    /// Without looking for what others have been made of it.
    pub(crate) fn of(host: &HostPlan<'_>, workload: Option<&Workload>) -> Self {
        Self::new(host, host.view.spec.ok().map(Rendered::from), workload)
    }

    fn new(host: &HostPlan<'_>, wanted: Option<Rendered>, workload: Option<&Workload>) -> Self {
        let work = &host.assessment.work;
        let components = wanted.map(|wanted| wanted.components).unwrap_or_default();
        let wanted = |(component, RenderedComponent { hash, version })| {
            (component, Wanted { hash, version })
        };
        Self {
            name: host.name.clone(),
            agent: host.view.record.agent.condition,
            in_sync: host.reason.is_none(),
            reason: host.reason.as_ref().map(ReasonReport::from),
            steps: work.steps.iter().map(|step| StepReport::new(*step, host, workload)).collect(),
            tasks: work.launches.clone(),
            wanted: components.into_iter().map(wanted).collect(),
        }
    }
}

impl StepReport {
    fn new(step: Step, host: &HostPlan<'_>, workload: Option<&Workload>) -> Self {
        let VersionedStep { step, from, to } = VersionedStep::new(step, host);
        let tasks = workload.map(|workload| {
            let stopped = stopped(workload, std::iter::once(host), step.disruption);
            stopped.into_iter().map(|(name, number)| (name.to_owned(), number)).collect()
        });
        Self {
            component: step.component,
            action: match step.action {
                Action::Install => ActionReport::Install,
                Action::Change => ActionReport::Change,
                Action::Repair => ActionReport::Repair,
                Action::Remove => ActionReport::Remove,
            },
            from: from.map(str::to_owned),
            to,
            disruption: match step.disruption {
                Disruption::None => DisruptionReport::None,
                Disruption::ReloadDocker => DisruptionReport::ReloadDocker,
                Disruption::ReplaceProxy => DisruptionReport::ReplaceProxy,
                Disruption::RestartDocker => DisruptionReport::RestartDocker,
                Disruption::RestartAgent => DisruptionReport::RestartAgent,
                Disruption::ReplaceNode => DisruptionReport::ReplaceNode,
                Disruption::ReplaceLibnetwork => DisruptionReport::ReplaceLibnetwork,
            },
            containers: containers(host, step.disruption),
            tasks,
        }
    }
}

impl From<&Reason> for ReasonReport {
    fn from(reason: &Reason) -> Self {
        Self { code: reason.code().to_owned(), text: reason.to_string() }
    }
}

impl From<&Finding> for FindingReport {
    fn from(finding: &Finding) -> Self {
        Self {
            file: finding.file.clone(),
            line: finding.line,
            column: finding.column,
            path: finding.path.clone(),
            message: finding.message.clone(),
            help: finding.help.clone(),
        }
    }
}

impl From<&Summary> for SummaryReport {
    fn from(summary: &Summary) -> Self {
        let reasons = summary.reasons.iter();
        Self {
            hosts: summary.hosts,
            in_sync: summary.in_sync,
            to_change: summary.to_change,
            blocked: summary.blocked,
            unreachable: summary.unreachable,
            unknown: summary.unknown,
            excluded: summary.excluded,
            failed: summary.failed,
            tasks: summary.tasks,
            disrupted: summary.disrupted,
            restarts: summary.restarts.clone(),
            containers: summary.containers,
            slots: summary.slots,
            slots_held: summary.slots_held,
            max_unavailable: summary.max_unavailable,
            waves: summary.waves,
            estimate_seconds: summary.estimate_seconds,
            reasons: reasons.map(|(code, number)| ((*code).to_owned(), *number)).collect(),
        }
    }
}
