//! A model of Mesos: one leading master and its agents, without I/O and in virtual time.
//!
//! Calls go in with the time at which they are made; events for schedulers and orders for hosts
//! come out of two outboxes. Between two calls [`SimMesos::advance`] lets happen what is due, and
//! [`SimMesos::next_deadline`] says when that is: an idle cluster has nothing due but heartbeats.
//! `simulate` steps it; the server in [`http`] turns real time into the same calls.
//!
//! What it does is what a real master and real agents were recorded to do (`tests/
//! simulated_mesos.rs` compares the words), for the calls that this project makes. Absent, and to
//! be added when something needs them: reservations and volumes, task groups, quota, maintenance
//! and draining, protobuf bodies.

mod accept;
mod agent;
mod allocator;
pub(crate) mod body;
mod calls;
mod config;
mod context;
mod decode;
mod driver;
pub mod http;
mod maintenance;
mod master;
mod operator;
mod profile;
mod queue;
mod registry;
mod resources;
mod subscribe;
mod table;
mod tasks;
#[cfg(test)]
mod tests;
mod updates;

use std::sync::Arc;

use agent::Agent;
pub use agent::{AgentAnswer, AgentRequest, Start, ToBody};
pub use calls::Outcome;
pub use config::{AgentConfig, Authentication, MesosConfig, NetworkFaults, Processes, Timings};
use context::{Context, Job, ToMaster};
use master::{Master, Standing};
pub use operator::OperatorAnswer;

use crate::mesos::v1::operator::GetAgents;
use crate::mesos::v1::scheduler::{Call, Event, Request, Subscribe};
use crate::mesos::v1::{
    CapabilityType, FrameworkId, FrameworkInfo, MasterInfo, TaskState, TaskStatus,
};
use crate::sim::wire::{FromExecutor, HostSignal, ToExecutor};
use crate::words::{AgentId, Time};

/// Which agent: the order in which they were added.
pub type AgentIndex = usize;

/// A connection of a scheduler, named by whoever accepts connections. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId(pub u64);

/// What comes to a scheduler on its stream.
#[derive(Clone, Debug, PartialEq)]
pub enum Outgoing {
    /// An event.
    Event(Box<Event>),
    /// An event for operators.
    Operator(Box<serde_json::Value>),
    /// The end of the stream.
    Close,
}

/// The model.
#[derive(Debug)]
pub struct SimMesos {
    cx: Context,
    master: Master,
    agents: Vec<(Agent, Arc<AgentConfig>)>,
    traffic: Traffic,
    /// No master runs.
    stopped: bool,
    authentication: Option<Authentication>,
}

/// What was asked of the master.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Scheduler calls since the newest SUPPRESS, without it; none while offers are wanted.
    pub since_suppress: Option<u64>,
    /// `GET_AGENTS`.
    pub operator_calls: u64,
}

impl Traffic {
    fn count(&mut self, call: &Call) {
        self.since_suppress = match call {
            Call::Suppress(_) => Some(0),
            Call::Subscribe(call) if call.suppressed_roles.is_empty() => None,
            Call::Revive(_) => None,
            _ => self.since_suppress.map(|calls| calls + 1),
        };
    }
}

impl SimMesos {
    /// A cluster without agents, at that time.
    #[must_use]
    pub fn new(now: Time, config: MesosConfig) -> Self {
        let mut cx = Context::new(now, config.timings, config.seed);
        let master = Master::new(&mut cx, config.version, config.address);
        Self {
            cx,
            master,
            agents: Vec::new(),
            traffic: Traffic::default(),
            stopped: false,
            authentication: None,
        }
    }

    /// Adds an agent and starts it. Returns its index.
    pub fn add_agent(&mut self, now: Time, config: AgentConfig) -> AgentIndex {
        self.advance(now);
        let index = self.agents.len();
        let mut agent = Agent::new(index, &config);
        self.cx.add_agent();
        self.master.agents.push(None);
        agent.start(&mut self.cx);
        self.agents.push((agent, Arc::new(config)));
        index
    }

    /// The process of an agent that is down will start with other flags, on the same machine.
    /// Containers that are not among `alive` have ended meanwhile.
    pub fn configure_agent(
        &mut self,
        now: Time,
        index: AgentIndex,
        config: AgentConfig,
        alive: &[String],
    ) {
        self.advance(now);
        if let Some((agent, known)) = self.agents.get_mut(index) {
            agent.configure(&config);
            agent.processes_left(alive);
            *known = Arc::new(config);
        }
    }

    // --- schedulers ------------------------------------------------------------------------------

    /// SUBSCRIBE on a new connection. Returns the stream's ID, also for a framework that is
    /// refused: it gets an ERROR on its stream, which then ends.
    ///
    /// # Errors
    /// What the master answers in place of a stream.
    pub fn subscribe(
        &mut self,
        now: Time,
        conn: ConnId,
        framework_id: Option<FrameworkId>,
        call: Subscribe,
    ) -> Result<String, Outcome> {
        self.advance(now);
        self.ready()?;
        if framework_id != call.framework_info.id {
            return Err(calls::differing_ids());
        }
        self.traffic.count(&Call::Subscribe(call.clone()));
        Ok(self.master.subscribe(&mut self.cx, conn, framework_id, call))
    }

    /// Any other call, with the stream ID that came with it.
    pub fn call(&mut self, now: Time, stream: Option<&str>, request: Request) -> Outcome {
        self.advance(now);
        if let Err(outcome) = self.ready() {
            return outcome;
        }
        if !self.master.knows(&request.call) {
            return calls::no_type();
        }
        self.traffic.count(&request.call);
        self.master.call(&mut self.cx, stream, request)
    }

    /// The same for a call of a framework that is subscribed.
    pub fn call_as(&mut self, now: Time, id: &FrameworkId, stream: &str, call: Call) -> Outcome {
        self.call(now, Some(stream), Request { framework_id: Some(id.clone()), call })
    }

    fn ready(&self) -> Result<(), Outcome> {
        if self.stopped {
            return Err(Outcome::refused(503, "No leader elected"));
        }
        if self.master.is_recovering(&self.cx) {
            return Err(Outcome::refused(503, "Master has not finished recovery"));
        }
        Ok(())
    }

    /// The scheduler has closed its stream, or its connection broke.
    pub fn disconnect(&mut self, now: Time, conn: ConnId) {
        self.advance(now);
        self.master.disconnect(&mut self.cx, conn);
    }

    /// What is to be sent to schedulers, in order.
    pub fn drain_events(&mut self) -> Vec<(ConnId, Outgoing)> {
        std::mem::take(&mut self.cx.to_schedulers)
    }

    // --- hosts -----------------------------------------------------------------------------------

    /// Something comes from a host's executor.
    pub fn from_executor(&mut self, now: Time, agent: AgentIndex, message: FromExecutor) {
        self.advance(now);
        if let Some((agent, _)) = self.agents.get_mut(agent) {
            agent.executor_says(&mut self.cx, message);
        }
    }

    /// Something happens to an agent's process or machine. The master notices the end of a
    /// process at once, the end of a machine only when its pings are not answered.
    pub fn from_host(&mut self, now: Time, index: AgentIndex, signal: HostSignal) {
        self.advance(now);
        let Some((agent, _)) = self.agents.get_mut(index) else { return };
        let was_up = !agent.is_down();
        agent.signal(&mut self.cx, signal);
        let Some(contact) = self.master.agent(index).map(|record| record.contact) else { return };
        let cx = &mut self.cx;
        match signal {
            HostSignal::AgentStopped if was_up => {
                cx.after(cx.timings.latency, Job::LinkBroken { agent: index, contact });
            }
            // Pings are answered from now on, but it has to register too.
            HostSignal::AgentStarted | HostSignal::MachineUp if !was_up => {
                let contact = self.master.answers_pings(index);
                let ms = cx.timings.agent_reregister;
                if let Some(contact) = contact {
                    cx.after(ms, Job::PingTimeout { agent: index, contact });
                }
            }
            HostSignal::MachineDown if was_up => {
                cx.after(cx.timings.ping_timeout, Job::PingTimeout { agent: index, contact });
            }
            _ => {}
        }
    }

    /// What is to be done on hosts, in order.
    pub fn drain_to_hosts(&mut self) -> Vec<(AgentIndex, ToExecutor)> {
        std::mem::take(&mut self.cx.to_hosts)
    }

    /// A request to an agent's own address, on a connection that answers it. A stream that is
    /// opened by it is fed by [`ToBody::Event`].
    pub fn agent_request(
        &mut self,
        now: Time,
        index: AgentIndex,
        conn: ConnId,
        request: &AgentRequest<'_>,
    ) -> AgentAnswer {
        self.advance(now);
        let version = self.master.version.to_string();
        match self.agents.get_mut(index) {
            Some((agent, config)) => agent.request(&mut self.cx, config, &version, conn, request),
            None => AgentAnswer::Refused,
        }
    }

    /// An executor has closed its stream, or its connection broke. The agent sets no timer.
    pub fn agent_disconnect(&mut self, now: Time, index: AgentIndex, conn: ConnId) {
        self.advance(now);
        self.agent(index, |agent, _| agent.hung_up(conn));
    }

    /// The process of a container runs, under that process ID.
    pub fn process_started(&mut self, now: Time, agent: AgentIndex, container: &str, pid: u32) {
        self.advance(now);
        self.agent(agent, |agent, _| agent.process_started(container, pid));
    }

    /// The process of a container has ended with that raw wait status, or could not be started,
    /// for the reason given.
    pub fn process_ended(
        &mut self,
        now: Time,
        agent: AgentIndex,
        container: &str,
        status: i32,
        not_started: Option<&str>,
    ) {
        self.advance(now);
        self.agent(agent, |agent, cx| agent.process_ended(cx, container, status, not_started));
    }

    /// What is to be done where agents run executors as processes, in order.
    pub fn drain_to_bodies(&mut self) -> Vec<(AgentIndex, ToBody)> {
        std::mem::take(&mut self.cx.to_bodies)
    }

    // --- time ------------------------------------------------------------------------------------

    /// When something happens next by itself.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        self.cx.queue.next()
    }

    /// Lets happen what is due. Time never goes back.
    pub fn advance(&mut self, now: Time) {
        while let Some((at, job)) = self.cx.queue.pop(now) {
            self.cx.now = self.cx.now.max(at);
            self.happen(job);
        }
        self.cx.now = self.cx.now.max(now);
    }

    fn happen(&mut self, job: Job) {
        let (cx, master) = (&mut self.cx, &mut self.master);
        if self.stopped && matches!(job, Job::Allocate { .. } | Job::PingTimeout { .. }) {
            return;
        }
        match job {
            Job::ToAgent { agent, link, message } => {
                if cx.link(agent) == link
                    && let Some((agent, _)) = self.agents.get_mut(agent)
                {
                    agent.receive(cx, message);
                }
            }
            Job::ToMaster { agent, link, message } => {
                if cx.link(agent) == link {
                    self.master_receives(agent, message);
                }
            }
            Job::LinkBroken { agent, contact } => master.link_broken(cx, agent, contact),
            Job::PingTimeout { agent, contact } => master.ping_timeout(cx, agent, contact),
            Job::RecoveryTimeout { master: number } => master.recovery_timeout(cx, number),
            Job::Allocate { at } => master.allocate(cx, at),
            Job::FilterExpired { agent } => master.consider(cx, agent),
            Job::Heartbeat { conn } => master.heartbeat(cx, conn),
            Job::FrameworkTimeout { framework, epoch } => {
                master.framework_timeout(cx, &framework, epoch);
            }
            Job::Recovered { agent, process } => {
                self.agent(agent, |agent, cx| agent.recovered(cx, process));
            }
            Job::Register { agent, process, link } => {
                self.agent(agent, |agent, cx| agent.register(cx, process, link));
            }
            Job::Hand { agent, process, executor } => {
                self.agent(agent, |agent, cx| agent.hand(cx, process, &executor));
            }
            Job::Overdue { agent, process, container, why } => {
                self.agent(agent, |agent, cx| agent.overdue(cx, process, &container, why));
            }
            Job::Retry { agent, process, task, sends, wait } => {
                self.agent(agent, |agent, cx| agent.retry(cx, process, &task, sends, wait));
            }
        }
    }

    fn agent(&mut self, index: AgentIndex, act: impl FnOnce(&mut Agent, &mut Context)) {
        if let Some((agent, _)) = self.agents.get_mut(index) {
            act(agent, &mut self.cx);
        }
    }

    fn master_receives(&mut self, index: AgentIndex, message: ToMaster) {
        let (cx, master) = (&mut self.cx, &mut self.master);
        let connected = |master: &Master| {
            master.agent(index).is_some_and(|record| record.standing == Standing::Connected)
        };
        match message {
            ToMaster::Register => {
                if let Some((_, config)) = self.agents.get(index) {
                    master.register(cx, index, Arc::clone(config));
                }
            }
            ToMaster::Reregister { id, report } => {
                if let Some((_, config)) = self.agents.get(index) {
                    master.reregister(cx, index, config, &id, *report);
                }
            }
            _ if !connected(master) => {}
            ToMaster::Update { framework, status, latest } => {
                master.update(cx, index, &framework, *status, latest);
            }
            ToMaster::Message { executor, data } => {
                master.executor_message(cx, index, executor, data);
            }
            ToMaster::Exited { executor, status, silent } => {
                master.exited(cx, index, &executor, status, silent);
            }
        }
    }

    // --- operators -------------------------------------------------------------------------------

    /// `GET_AGENTS`.
    ///
    /// # Errors
    /// What a master answers that has just started.
    pub fn get_agents(&mut self, now: Time) -> Result<GetAgents, Outcome> {
        self.advance(now);
        self.ready()?;
        self.traffic.operator_calls += 1;
        Ok(self.master.get_agents())
    }

    /// An operator subscribes to events on a new connection.
    ///
    /// # Errors
    /// What a master answers that has just started.
    pub fn subscribe_operator(&mut self, now: Time, conn: ConnId) -> Result<(), Outcome> {
        self.advance(now);
        self.ready()?;
        self.master.subscribe_operator(&mut self.cx, conn);
        Ok(())
    }

    /// What was asked of the master so far.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// What the master says about itself.
    #[must_use]
    pub fn master_info(&self) -> MasterInfo {
        self.master.info()
    }

    /// When the leading master was started.
    #[must_use]
    pub fn master_started(&self) -> Time {
        self.master.started
    }

    /// The version of master and agents.
    #[must_use]
    pub fn version(&self) -> &semver::Version {
        &self.master.version
    }

    /// The ID that an agent is registered under.
    #[must_use]
    pub fn agent_id(&self, index: AgentIndex) -> Option<&AgentId> {
        self.master.agent(index).map(|record| &record.id)
    }

    /// The address that an agent announces.
    #[must_use]
    pub fn agent_ip(&self, index: AgentIndex) -> Option<std::net::Ipv4Addr> {
        self.agents.get(index).map(|(_, config)| config.ip)
    }

    /// Where the master says that it listens.
    pub fn set_address(&mut self, ip: std::net::Ipv4Addr, port: u16) {
        self.master.address = (ip, port);
    }

    /// From now on whoever asks over HTTP has to say who that is.
    pub fn authenticate(&mut self, how: Authentication) {
        self.authentication = Some(how);
    }

    // --- faults ----------------------------------------------------------------------------------

    /// Another master takes over: all streams end, and agents come back one after the other.
    pub fn master_failover(&mut self, now: Time) {
        self.advance(now);
        self.stopped = false;
        self.master.fail_over(&mut self.cx);
        for (index, (agent, _)) in self.agents.iter_mut().enumerate() {
            self.cx.cut(index);
            agent.master_changed(&mut self.cx);
        }
    }

    /// An agent's process hangs until it is ended: what the master sends it is lost.
    pub fn freeze_agent(&mut self, now: Time, agent: AgentIndex) {
        self.advance(now);
        self.agent(agent, |agent, _| agent.freeze());
    }

    /// The master's process ends, and no other one takes over until [`Self::master_failover`].
    pub fn master_stops(&mut self, now: Time) {
        self.advance(now);
        self.stopped = true;
        let streams = self.master.connections.keys().chain(&self.master.subscribers);
        for conn in streams.copied().collect::<std::collections::BTreeSet<_>>() {
            self.cx.close(conn);
        }
        self.master.connections.clear();
        self.master.subscribers.clear();
        for index in 0..self.agents.len() {
            self.cx.cut(index);
        }
    }

    /// An operator marks the agent gone (`MARK_AGENT_GONE`).
    pub fn agent_gone(&mut self, now: Time, agent: AgentIndex) {
        self.advance(now);
        self.master.mark_gone(&mut self.cx, agent);
    }

    /// A container could not be started, or has ended with its executor: the agent says so, in
    /// these words, if it has the task.
    pub fn container_ends(&mut self, now: Time, index: AgentIndex, status: &TaskStatus) {
        self.advance(now);
        self.agent(index, |agent, cx| agent.container_ends(cx, status));
    }

    /// An agent is told to unregister (SIGUSR1): its tasks end, and its process with them.
    pub fn agent_unregisters(&mut self, now: Time, index: AgentIndex) {
        self.advance(now);
        let Some((agent, config)) = self.agents.get_mut(index) else { return };
        agent.unregister(&mut self.cx);
        let why = format!("Agent {} removed: the agent unregistered", config.hostname);
        self.master.remove_agent(&mut self.cx, index, &why);
    }

    /// The work directory of an agent is removed while its process is down: the next start
    /// registers it under a new ID.
    pub fn agent_forgets(&mut self, now: Time, agent: AgentIndex) {
        self.advance(now);
        self.agent(agent, |agent, _| agent.forget());
    }

    /// From now on the network does this.
    pub fn set_faults(&mut self, now: Time, faults: NetworkFaults) {
        self.advance(now);
        self.cx.faults = faults;
    }
}

fn is_partition_aware(info: &FrameworkInfo) -> bool {
    info.has(&CapabilityType::PartitionAware)
}

/// A state as the framework wants to hear it: without `PARTITION_AWARE`, all that is not known for
/// certain is `TASK_LOST`.
fn opt_in(state: TaskState, partition_aware: bool) -> TaskState {
    match state {
        TaskState::Dropped
        | TaskState::Unreachable
        | TaskState::Gone
        | TaskState::GoneByOperator
        | TaskState::NotKnown
            if !partition_aware =>
        {
            TaskState::Lost
        }
        state => state,
    }
}
