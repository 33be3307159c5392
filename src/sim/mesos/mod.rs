//! A model of Mesos: one leading master and its agents, without I/O and in virtual time.
//!
//! Calls go in with the time at which they are made; events for schedulers and orders for hosts
//! come out of two outboxes. Between two calls [`SimMesos::advance`] lets happen what is due, and
//! [`SimMesos::next_deadline`] says when that is: an idle cluster has nothing due but heartbeats.
//! `simulate` steps it; the server in [`http`] turns real time into the same calls.
//!
//! What it does is what a real master and real agents were recorded to do (`tests/
//! simulated_mesos.rs` compares the words), for the calls that this project makes. Absent, and to
//! be added when something needs them: dynamic reservations and volumes, task groups, quota, shares
//! of roles, protobuf bodies.

mod accept;
mod agent;
mod allocator;
mod answers;
pub(crate) mod body;
mod calls;
mod config;
mod context;
mod decode;
mod driver;
mod due;
pub mod http;
mod loss;
mod maintenance;
mod master;
mod operator;
mod outside;
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
pub use config::{
    AgentConfig, Allocatable, Authentication, MesosConfig, NetworkFaults, Processes, Timings,
};
use context::{Context, Job};
use master::Master;
pub use operator::OperatorAnswer;

use crate::mesos::v1::operator::GetAgents;
use crate::mesos::v1::scheduler::{Call, Event, Request, Subscribe};
use crate::mesos::v1::{CapabilityType, FrameworkId, FrameworkInfo, TaskState};
use crate::sim::wire::{FromExecutor, HostSignal, ToExecutor};
use crate::words::Time;

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
    /// Offers with smaller numbers were made before the newest SUPPRESS came.
    suppressed_at_offer: u64,
    /// No master runs.
    stopped: bool,
    authentication: Option<Authentication>,
}

/// What was asked of the master.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Scheduler calls since the newest SUPPRESS, without it and without answers to inverse offers
    /// and to offers that were on their way then; none while offers are wanted.
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
            Call::AcceptInverseOffers(_) | Call::DeclineInverseOffers(_) => self.since_suppress,
            _ => self.since_suppress.map(|calls| calls + 1),
        };
    }
}

impl SimMesos {
    /// A cluster without agents, at that time.
    #[must_use]
    pub fn new(now: Time, config: MesosConfig) -> Self {
        let mut cx = Context::new(now, config.timings, config.seed);
        let mut master = Master::new(&mut cx, config.version, config.address);
        master.allocatable = config.allocatable;
        Self {
            cx,
            master,
            agents: Vec::new(),
            traffic: Traffic::default(),
            suppressed_at_offer: 0,
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
        if matches!(request.call, Call::Suppress(_)) {
            self.suppressed_at_offer = self.master.next_offer;
        }
        if !self.is_owed(&request.call) {
            self.traffic.count(&request.call);
        }
        self.master.call(&mut self.cx, stream, request)
    }

    /// Whether a call gives back nothing but offers that were made before the newest SUPPRESS came:
    /// they were on their way, and Mesos waits for an answer to each.
    #[must_use]
    pub fn is_owed(&self, call: &Call) -> bool {
        let before = |id| self.master.own_number(id).is_some_and(|n| n < self.suppressed_at_offer);
        matches!(call, Call::Decline(decline) if decline.offer_ids.iter().all(before))
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
                let contact = self.master.answers_pings(cx, index);
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
