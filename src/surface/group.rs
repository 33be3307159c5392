//! Hosts grouped by equal change and, within it, by equal reason: ten thousand hosts read as a
//! few lines.

use std::collections::BTreeMap;

use super::text::grouped;
use crate::mesos::workload::{Restart, Workload};
use crate::plan::reason::Reason;
use crate::plan::step::{Disruption, Step};
use crate::plan::{HostPlan, Plan};
use crate::words::TaskKind;

/// Hosts that need the same.
#[derive(Debug)]
pub(crate) struct Group<'p, 'a> {
    /// What has to change, in order.
    pub(crate) steps: Vec<VersionedStep<'p>>,
    /// Tasks that each of them takes.
    pub(crate) launches: &'p [TaskKind],
    /// Tasks that each of them loses.
    pub(crate) ends: &'p [TaskKind],
    /// Its hosts by what they wait for; first what is nearest to a start.
    pub(crate) waits: Vec<Wait<'p, 'a>>,
}

/// A step, and the versions that it is between.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct VersionedStep<'p> {
    pub(crate) step: Step,
    pub(crate) from: Option<&'p str>,
    pub(crate) to: Option<String>,
}

impl<'p> VersionedStep<'p> {
    pub(crate) fn new(step: Step, host: &'p HostPlan<'_>) -> Self {
        let facts = host.view.record.facts();
        let from = facts.and_then(|facts| step.from(facts));
        let to = host.view.spec.ok().and_then(|spec| step.to(spec));
        Self { step, from, to }
    }
}

/// Hosts of a group that wait for the same.
#[derive(Debug)]
pub(crate) struct Wait<'p, 'a> {
    /// The reason's word.
    pub(crate) code: &'static str,
    /// The reason as a sentence.
    pub(crate) text: String,
    /// The hosts, in the order of the plan.
    pub(crate) hosts: Vec<&'p HostPlan<'a>>,
}

impl<'p, 'a> Group<'p, 'a> {
    pub(crate) fn len(&self) -> usize {
        self.waits.iter().map(|wait| wait.hosts.len()).sum()
    }

    pub(crate) fn hosts(&self) -> impl Iterator<Item = &'p HostPlan<'a>> {
        self.waits.iter().flat_map(|wait| wait.hosts.iter().copied())
    }

    /// The fewest and the most containers that a step stops on one of its hosts.
    pub(crate) fn containers(&self, disruption: Disruption) -> (u32, u32) {
        let counts = self.hosts().map(|host| containers(host, disruption));
        counts.fold((u32::MAX, 0), |(least, most), count| (least.min(count), most.max(count)))
    }
}

/// Containers that a step stops on a host.
pub(crate) fn containers(host: &HostPlan<'_>, disruption: Disruption) -> u32 {
    let Some(facts) = host.view.record.facts() else { return 0 };
    match disruption {
        Disruption::RestartDocker => facts.docker.as_ref().map_or(0, |docker| docker.containers),
        Disruption::RestartAgent => facts.agent_containers,
        _ => 0,
    }
}

/// How many tasks of each framework a step stops on these hosts, as Mesos says.
pub(crate) fn stopped<'w, 'p, 'a: 'p>(
    workload: &'w Workload,
    hosts: impl Iterator<Item = &'p HostPlan<'a>>,
    disruption: Disruption,
) -> BTreeMap<&'w str, u64> {
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    let restart = match disruption {
        Disruption::RestartDocker => Restart::Docker,
        Disruption::RestartAgent => Restart::Agent,
        _ => return sums,
    };
    for host in hosts {
        for (framework, number) in workload.stopped(&host.view.record.agent.id, restart) {
            *sums.entry(framework).or_default() += u64::from(number);
        }
    }
    sums
}

/// The same for people: `marathon 12, spark 2`. Empty if Mesos does not say.
pub(crate) fn owners<'p, 'a: 'p>(
    workload: &Workload,
    hosts: impl Iterator<Item = &'p HostPlan<'a>>,
    disruption: Disruption,
) -> String {
    let mut sums: Vec<_> = stopped(workload, hosts, disruption).into_iter().collect();
    sums.sort_by_key(|(_, number)| std::cmp::Reverse(*number));
    let sums = sums.into_iter().map(|(name, number)| format!("{name} {}", grouped(number)));
    sums.collect::<Vec<_>>().join(", ")
}

/// All hosts that are not in sync: changes first, those of most hosts first.
pub(crate) fn groups<'p, 'a>(plan: &'p Plan<'a>) -> Vec<Group<'p, 'a>> {
    type Key<'p> = (Vec<VersionedStep<'p>>, &'p [TaskKind], &'p [TaskKind]);
    type Waits<'p, 'a> = BTreeMap<(u8, &'static str, String), Vec<&'p HostPlan<'a>>>;
    let mut groups: BTreeMap<Key<'p>, Waits<'p, 'a>> = BTreeMap::new();
    for host in &plan.hosts {
        let Some(reason) = &host.reason else { continue };
        let work = &host.assessment.work;
        let steps = work.steps.iter().map(|step| VersionedStep::new(*step, host)).collect();
        let key = (steps, &work.launches[..], &work.ends[..]);
        let wait = (rank(reason), reason.code(), reason.to_string());
        groups.entry(key).or_default().entry(wait).or_default().push(host);
    }
    let mut groups: Vec<Group<'p, 'a>> = groups
        .into_iter()
        .map(|((steps, launches, ends), waits)| {
            let wait = |((_, code, text), hosts)| Wait { code, text, hosts };
            Group { steps, launches, ends, waits: waits.into_iter().map(wait).collect() }
        })
        .collect();
    groups.sort_by_key(|group| (group.steps.is_empty(), std::cmp::Reverse(group.len())));
    groups
}

/// How far a host is from a start: under way, about to, waiting, held, out of reach.
pub(crate) fn rank(reason: &Reason) -> u8 {
    match reason {
        Reason::InProgress { .. } => 0,
        Reason::Verifying => 1,
        Reason::BackingOff { .. } => 2,
        Reason::WaitingForOffer { .. } => 3,
        Reason::InsufficientResources { .. } => 4,
        Reason::WaitingForSlot { .. } => 5,
        Reason::WaitingForPace { .. } => 6,
        Reason::TooManyUnavailable { .. } => 7,
        Reason::WaitingForCanary { .. } => 8,
        Reason::WaitingForGate { .. } | Reason::Unannounced { .. } | Reason::Announced { .. } => 9,
        Reason::WaitingForWindow { .. } | Reason::Maintenance(_) => 10,
        Reason::WaitingForApproval | Reason::WaitingForAcceptance => 11,
        Reason::Paused { .. } => 12,
        Reason::Halted { .. } => 13,
        Reason::Failed { .. } => 14,
        Reason::Blocked { .. } => 15,
        Reason::Unknown { .. } => 16,
        Reason::Unreachable { .. } => 17,
        Reason::Gone => 18,
        Reason::Excluded => 19,
    }
}
