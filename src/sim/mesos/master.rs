//! The state of the leading master. What it does with it is in the files beside this one:
//! subscriptions, calls, allocation, launches, tasks, agents.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use super::config::{AgentConfig, Allocatable};
use super::context::{Context, ExecutorKey, Job, TaskKey};
use super::maintenance::{Drain, InverseOffer, Schedule};
use super::resources::Pool;
use super::table::TaskTable;
use super::{AgentIndex, ConnId};
use crate::mesos::v1::scheduler::Event;
use crate::mesos::v1::{
    AllocationInfo, Blob, CapabilityType, ExecutorId, ExecutorInfo, FrameworkId, FrameworkInfo,
    KillPolicy, OfferId, TaskInfo, TaskState, TaskStatus,
};
use crate::words::{AgentId, TaskId, Time};

/// The default of `--max_completed_frameworks`.
const REMEMBERED_FRAMEWORKS: usize = 50;
/// The default of `--max_completed_tasks_per_framework`.
const REMEMBERED_TASKS: usize = 1_000;

#[derive(Debug)]
pub(super) struct Master {
    pub(super) id: String,
    /// Counts the masters that there were.
    pub(super) number: u32,
    pub(super) started: Time,
    pub(super) version: semver::Version,
    pub(super) allocatable: Allocatable,
    pub(super) address: (std::net::Ipv4Addr, u16),
    pub(super) frameworks: BTreeMap<FrameworkId, Framework>,
    /// Those removed for good, the newest last.
    pub(super) removed_frameworks: VecDeque<(Framework, Time)>,
    pub(super) connections: HashMap<ConnId, FrameworkId>,
    /// Streams of operators.
    pub(super) subscribers: BTreeSet<ConnId>,
    /// By the index of the agent; none before its first registration.
    pub(super) agents: Vec<Option<AgentRecord>>,
    pub(super) agent_ids: HashMap<AgentId, AgentIndex>,
    /// IDs that an operator marked gone, and what is there for good.
    pub(super) gone: BTreeSet<AgentId>,
    pub(super) offers: BTreeMap<u64, Offer>,
    /// Machines that will be away, by host name and IP, as the operator's schedule has them.
    pub(super) schedule: Schedule,
    pub(super) inverse_offers: BTreeMap<u64, InverseOffer>,
    pub(super) next_framework: u64,
    pub(super) next_agent: u64,
    pub(super) next_offer: u64,
    /// Agents to look at in the next allocation.
    pub(super) candidates: BTreeSet<AgentIndex>,
    /// When that is, if it is planned.
    pub(super) allocation_at: Option<Time>,
}

/// What the master knows of a framework.
#[derive(Debug)]
pub(super) struct Framework {
    pub(super) info: FrameworkInfo,
    /// The stream that it is subscribed on, and its ID.
    pub(super) stream: Option<(ConnId, String)>,
    /// Counts the subscriptions: a failover timer of an earlier one means nothing.
    pub(super) epoch: u32,
    pub(super) registered: Time,
    pub(super) reregistered: Time,
    pub(super) suppressed: BTreeSet<String>,
    pub(super) filters: BTreeMap<(AgentIndex, String), Vec<Filter>>,
    /// Until when it does not want to be asked again to leave an agent.
    pub(super) inverse_filters: BTreeMap<AgentIndex, Time>,
    pub(super) tasks: TaskTable,
    /// Tasks on agents that are unreachable.
    pub(super) unreachable: BTreeMap<TaskId, TaskRecord>,
    /// Tasks that are over and acknowledged, the newest last.
    pub(super) completed: VecDeque<TaskRecord>,
}

/// Resources that a framework does not want from an agent for some time.
#[derive(Debug)]
pub(super) struct Filter {
    pub(super) until: Time,
    pub(super) refused: Pool,
}

/// What the master knows of a task.
#[derive(Clone, Debug)]
pub(super) struct TaskRecord {
    pub(super) agent: AgentIndex,
    /// None for command tasks, which the master lists without one.
    pub(super) executor: Option<ExecutorId>,
    pub(super) resources: Pool,
    /// The role that they are allocated to.
    pub(super) role: String,
    pub(super) info: Arc<TaskInfo>,
    /// The newest status of the agent's, without data.
    pub(super) status: Option<TaskStatus>,
    /// One for each state that it went through, the master's own words among them.
    pub(super) statuses: Vec<TaskStatus>,
    /// The newest state at the agent; the resources are free when it is terminal.
    pub(super) latest: TaskState,
}

impl TaskRecord {
    /// The state that reconciliation answers with.
    pub(super) fn state(&self) -> TaskState {
        self.status.as_ref().map_or(TaskState::Staging, |status| status.state.clone())
    }

    /// Keeps a status for operators to read: of those with the same state, the newest.
    pub(super) fn note(&mut self, status: &TaskStatus) {
        if self.statuses.last().is_some_and(|last| last.state == status.state) {
            self.statuses.pop();
        }
        self.statuses.push(TaskStatus { data: None, ..status.clone() });
    }

    pub(super) fn uuid(&self) -> Option<&Blob> {
        self.status.as_ref().and_then(|status| status.uuid.as_ref())
    }
}

/// How the master sees an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// From the registry, after a change of the master.
    Recovered,
    Connected,
    Disconnected,
    Unreachable(Time),
}

/// What the master knows of an agent.
#[derive(Debug)]
pub(super) struct AgentRecord {
    pub(super) id: AgentId,
    pub(super) config: Arc<AgentConfig>,
    pub(super) standing: Standing,
    /// The registration or disconnection that is the last: timers of earlier ones mean nothing.
    pub(super) contact: u32,
    pub(super) registered: Time,
    pub(super) reregistered: Option<Time>,
    pub(super) total: Pool,
    /// Neither used nor offered.
    pub(super) free: Pool,
    /// The framework whose turn it was last.
    pub(super) last_offered: Option<FrameworkId>,
    /// In use, by the role that it is allocated to.
    pub(super) used: BTreeMap<String, Pool>,
    /// Executors of the frameworks' own, and what they hold.
    pub(super) executors: BTreeMap<ExecutorKey, Held>,
    /// Tasks to kill when it is back.
    pub(super) kills: Vec<(TaskKey, Option<KillPolicy>)>,
    /// An operator took it out: nothing of it is offered.
    pub(super) deactivated: bool,
    pub(super) drain: Option<Drain>,
}

/// An executor and its resources.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) info: ExecutorInfo,
    pub(super) resources: Pool,
    pub(super) role: String,
}

impl AgentRecord {
    /// Something that was offered, or is free no more, is in use.
    pub(super) fn occupy(&mut self, role: &str, resources: &Pool) {
        if let Some(used) = self.used.get_mut(role) {
            used.add(resources);
        } else {
            self.used.insert(role.to_owned(), resources.clone());
        }
    }

    /// What was in use is free.
    pub(super) fn vacate(&mut self, role: &str, resources: &Pool) {
        if let Some(used) = self.used.get_mut(role) {
            used.subtract(resources);
        }
        self.free.add(resources);
    }

    /// An executor has ended.
    pub(super) fn evict(&mut self, executor: &ExecutorKey) {
        if let Some(Held { resources, role, .. }) = self.executors.remove(executor) {
            self.vacate(&role, &resources);
        }
    }
}

/// An outstanding offer.
#[derive(Clone, Debug)]
pub(super) struct Offer {
    pub(super) framework: FrameworkId,
    pub(super) agent: AgentIndex,
    pub(super) role: String,
    pub(super) resources: Pool,
}

impl Framework {
    pub(super) fn new(info: FrameworkInfo, now: Time) -> Self {
        Self {
            info,
            stream: None,
            epoch: 0,
            registered: now,
            reregistered: now,
            suppressed: BTreeSet::new(),
            filters: BTreeMap::new(),
            inverse_filters: BTreeMap::new(),
            tasks: TaskTable::default(),
            unreachable: BTreeMap::new(),
            completed: VecDeque::new(),
        }
    }

    /// The task is over: it is remembered for operators, and for nothing else.
    pub(super) fn complete(&mut self, task: TaskRecord) {
        if self.completed.len() == REMEMBERED_TASKS {
            self.completed.pop_front();
        }
        self.completed.push_back(task);
    }

    pub(super) fn conn(&self) -> Option<ConnId> {
        self.stream.as_ref().map(|(conn, _)| *conn)
    }

    /// The roles that it gets offers for.
    pub(super) fn roles(&self) -> Vec<String> {
        if self.info.has(&CapabilityType::MultiRole) {
            self.info.roles.clone()
        } else {
            vec![self.info.role.clone().unwrap_or_else(|| super::resources::UNRESERVED.to_owned())]
        }
    }

    pub(super) fn is_partition_aware(&self) -> bool {
        super::is_partition_aware(&self.info)
    }

    /// How the role of an offer is written for it.
    pub(super) fn allocation(&self, role: &str) -> Option<AllocationInfo> {
        let told = self.info.has(&CapabilityType::MultiRole);
        told.then(|| AllocationInfo { role: Some(role.to_owned()) })
    }
}

impl Master {
    pub(super) fn new(
        cx: &mut Context,
        version: semver::Version,
        address: (std::net::Ipv4Addr, u16),
    ) -> Self {
        Self {
            id: cx.uuid().to_string(),
            number: 0,
            started: cx.now,
            version,
            address,
            allocatable: Allocatable::default(),
            frameworks: BTreeMap::new(),
            removed_frameworks: VecDeque::new(),
            connections: HashMap::new(),
            subscribers: BTreeSet::new(),
            agents: Vec::new(),
            agent_ids: HashMap::new(),
            gone: BTreeSet::new(),
            offers: BTreeMap::new(),
            schedule: Schedule::default(),
            inverse_offers: BTreeMap::new(),
            next_framework: 0,
            next_agent: 0,
            next_offer: 0,
            candidates: BTreeSet::new(),
            allocation_at: None,
        }
    }

    /// Another master takes over. Of what the old one knew, only the registry is left: which
    /// agents there are, and which are gone.
    pub(super) fn fail_over(&mut self, cx: &mut Context) {
        let streams = self.connections.keys().chain(&self.subscribers);
        for conn in streams.copied().collect::<BTreeSet<_>>() {
            cx.close(conn);
        }
        let mut next = Self::new(cx, self.version.clone(), self.address);
        next.number = self.number + 1;
        next.allocatable = self.allocatable;
        next.agents = std::mem::take(&mut self.agents);
        next.agent_ids = std::mem::take(&mut self.agent_ids);
        next.gone = std::mem::take(&mut self.gone);
        next.schedule = std::mem::take(&mut self.schedule);
        for record in next.agents.iter_mut().flatten() {
            record.contact = cx.contact();
            record.reregistered = None;
            record.free = Pool::default();
            record.used.clear();
            record.executors.clear();
            record.kills.clear();
            if !matches!(record.standing, Standing::Unreachable(_)) {
                record.standing = Standing::Recovered;
            }
        }
        cx.after(cx.timings.agent_reregister, Job::RecoveryTimeout { master: next.number });
        *self = next;
    }

    pub(super) fn is_recovering(&self, cx: &Context) -> bool {
        self.number > 0 && cx.now.since(self.started) < cx.timings.master_recovery
    }

    pub(super) fn agent(&self, index: AgentIndex) -> Option<&AgentRecord> {
        self.agents.get(index)?.as_ref()
    }

    pub(super) fn agent_mut(&mut self, index: AgentIndex) -> Option<&mut AgentRecord> {
        self.agents.get_mut(index)?.as_mut()
    }

    pub(super) fn offer_id(&self, number: u64) -> OfferId {
        OfferId(format!("{}-O{number}", self.id))
    }

    /// The number of an outstanding offer.
    pub(super) fn offer_number(&self, id: &OfferId) -> Option<u64> {
        let number = self.own_number(id)?;
        self.offers.contains_key(&number).then_some(number)
    }

    /// The number of an offer that this master has made.
    pub(super) fn own_number(&self, id: &OfferId) -> Option<u64> {
        id.as_str().strip_prefix(&self.id)?.strip_prefix("-O")?.parse().ok()
    }

    /// Sends an event, if the framework is connected.
    pub(super) fn tell(&self, cx: &mut Context, framework: &FrameworkId, event: Event) {
        if let Some(conn) = self.frameworks.get(framework).and_then(Framework::conn) {
            cx.event(conn, event);
        }
    }

    /// Takes an offer back into the free resources, without a word.
    pub(super) fn discard_offer(&mut self, cx: &mut Context, number: u64) -> Option<Offer> {
        let offer = self.offers.remove(&number)?;
        if let Some(record) = self.agent_mut(offer.agent) {
            record.free.add(&offer.resources);
        }
        self.consider(cx, offer.agent);
        Some(offer)
    }

    /// The offers of an agent that are outstanding.
    pub(super) fn offers_of(&self, agent: AgentIndex) -> Vec<u64> {
        let of_agent = |(number, offer): (&u64, &Offer)| (offer.agent == agent).then_some(*number);
        self.offers.iter().filter_map(of_agent).collect()
    }

    /// Takes all offers of an agent back, and says so.
    pub(super) fn rescind_offers(&mut self, cx: &mut Context, agent: AgentIndex) {
        for number in self.offers_of(agent) {
            self.rescind(cx, number);
        }
        self.rescind_inverse(cx, agent);
    }

    /// Takes an offer back, and says so.
    pub(super) fn rescind(&mut self, cx: &mut Context, number: u64) {
        let id = self.offer_id(number);
        if let Some(offer) = self.discard_offer(cx, number) {
            self.tell(cx, &offer.framework, Event::Rescind(id));
        }
    }

    pub(super) fn discard_offers_of(&mut self, cx: &mut Context, framework: &FrameworkId) {
        let numbers: Vec<_> = self
            .offers
            .iter()
            .filter(|(_, offer)| offer.framework == *framework)
            .map(|(number, _)| *number)
            .collect();
        for number in numbers {
            self.discard_offer(cx, number);
        }
        self.inverse_offers.retain(|_, offer| offer.framework != *framework);
    }

    pub(super) fn remember_removed(&mut self, framework: Framework, now: Time) {
        if self.removed_frameworks.len() == REMEMBERED_FRAMEWORKS {
            self.removed_frameworks.pop_front();
        }
        self.removed_frameworks.push_back((framework, now));
    }

    pub(super) fn was_removed(&self, id: &FrameworkId) -> bool {
        self.removed_frameworks.iter().any(|(removed, _)| removed.info.id.as_ref() == Some(id))
    }
}
