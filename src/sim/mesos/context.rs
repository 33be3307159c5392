//! What master and agents have in common: time, chance, the network between them, and the
//! outboxes to schedulers and hosts.

use std::iter::repeat;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::config::{NetworkFaults, Timings};
use super::queue::Queue;
use super::{AgentIndex, ConnId, Outgoing, ToBody};
use crate::mesos::v1::scheduler::Event;
use crate::mesos::v1::{
    Blob, ExecutorId, ExecutorInfo, FrameworkId, FrameworkInfo, KillPolicy, TaskInfo, TaskState,
    TaskStatus,
};
use crate::sim::wire::ToExecutor;
use crate::words::{AgentId, TaskId, Time};

/// A framework's executor on some agent.
pub(super) type ExecutorKey = (FrameworkId, ExecutorId);
/// A framework's task.
pub(super) type TaskKey = (FrameworkId, TaskId);

/// What is going to happen.
#[derive(Debug)]
pub(super) enum Job {
    ToAgent {
        agent: AgentIndex,
        link: u32,
        message: ToAgent,
    },
    ToMaster {
        agent: AgentIndex,
        link: u32,
        message: ToMaster,
    },
    /// The master notices that the connection to an agent's process has broken.
    LinkBroken {
        agent: AgentIndex,
        contact: u32,
    },
    /// Nothing was heard of an agent for the whole ping timeout.
    PingTimeout {
        agent: AgentIndex,
        contact: u32,
    },
    /// The master has marked an agent unreachable, and broken the connection.
    GivenUp {
        agent: AgentIndex,
    },
    /// Agents that did not come back to a new master are given up.
    RecoveryTimeout {
        master: u32,
    },
    Allocate {
        at: Time,
    },
    FilterExpired {
        agent: AgentIndex,
    },
    /// An offer of that master has been out for as long as it may.
    OfferTimeout {
        master: u32,
        offer: u64,
    },
    Heartbeat {
        conn: ConnId,
    },
    FrameworkTimeout {
        framework: FrameworkId,
        epoch: u32,
    },
    /// The agent has waited for its executors.
    Recovered {
        agent: AgentIndex,
        process: u32,
    },
    /// The agent's back-off before registering is over.
    Register {
        agent: AgentIndex,
        process: u32,
        link: u32,
    },
    /// What waits for an executor is handed to it.
    Hand {
        agent: AgentIndex,
        process: u32,
        executor: ExecutorKey,
    },
    /// An executor that has not subscribed by now, or not ended, is killed.
    Overdue {
        agent: AgentIndex,
        process: u32,
        container: String,
        why: Overdue,
    },
    /// An update that may still be unacknowledged, unless another one was sent meanwhile.
    Retry {
        agent: AgentIndex,
        process: u32,
        task: TaskKey,
        sends: u32,
        wait: u64,
    },
}

/// What an executor has not done in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overdue {
    /// It has never subscribed.
    Registration,
    /// It was told to end.
    Shutdown,
}

/// From the master to an agent.
#[derive(Clone, Debug)]
pub(super) enum ToAgent {
    Registered {
        id: AgentId,
    },
    /// The answer to a re-registration: what the master thinks runs there and was not reported.
    Reregistered {
        missing: Vec<(TaskKey, bool)>,
    },
    /// The framework has subscribed anew (`UpdateFrameworkMessage`).
    Subscribed(FrameworkId),
    /// The agent was marked gone: its process ends, and everything on it.
    Gone,
    Run(Box<Launch>),
    Kill(TaskKey, Option<KillPolicy>),
    /// Kill all tasks, and say that it is for draining.
    Drain,
    Acknowledge {
        task: TaskKey,
        uuid: Blob,
    },
    Message {
        executor: ExecutorKey,
        data: Blob,
    },
    ShutdownExecutor(ExecutorKey),
    ShutdownFramework(FrameworkId),
}

/// A task on its way to an agent.
#[derive(Clone, Debug)]
pub(super) struct Launch {
    pub(super) framework: FrameworkId,
    pub(super) info: FrameworkInfo,
    pub(super) task: TaskInfo,
}

impl Launch {
    /// The executor: the task's own ID for a command task, whose executor is Mesos' own.
    pub(super) fn executor_id(task: &TaskInfo) -> ExecutorId {
        match &task.executor {
            Some(executor) => executor.executor_id.clone(),
            None => ExecutorId(task.task_id.as_str().to_owned()),
        }
    }
}

/// From an agent to the master.
#[derive(Clone, Debug)]
pub(super) enum ToMaster {
    Register,
    Reregister {
        id: AgentId,
        report: Box<Report>,
    },
    /// `latest` may be ahead of the status, which waits for its turn.
    Update {
        framework: FrameworkId,
        status: Box<TaskStatus>,
        latest: TaskState,
    },
    Message {
        executor: ExecutorKey,
        data: Blob,
    },
    /// An executor of the framework's own has ended, with its raw wait status.
    Exited {
        executor: ExecutorKey,
        status: i32,
        silent: bool,
    },
}

/// What runs on an agent that registers again.
#[derive(Clone, Debug, Default)]
pub(super) struct Report {
    pub(super) frameworks: Vec<FrameworkInfo>,
    pub(super) executors: Vec<(FrameworkId, ExecutorInfo)>,
    pub(super) tasks: Vec<ReportedTask>,
}

/// A task in a [`Report`].
#[derive(Clone, Debug)]
pub(super) struct ReportedTask {
    pub(super) framework: FrameworkId,
    pub(super) task: TaskInfo,
    /// The newest status that was sent; none before the first.
    pub(super) told: Option<TaskStatus>,
    /// The newest state there is.
    pub(super) latest: TaskState,
}

/// Time, chance, the network and the outboxes.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) now: Time,
    pub(super) timings: Timings,
    pub(super) queue: Queue<Job>,
    pub(super) faults: NetworkFaults,
    pub(super) to_schedulers: Vec<(ConnId, Outgoing)>,
    pub(super) to_hosts: Vec<(AgentIndex, ToExecutor)>,
    pub(super) to_bodies: Vec<(AgentIndex, ToBody)>,
    /// One number for each connection that there was between an agent and a master; what is on
    /// its way when it breaks is lost.
    links: Vec<u32>,
    contacts: u32,
    identifiers: SmallRng,
    /// Apart from the identifiers, so that these do not depend on the faults.
    chance: SmallRng,
}

impl Context {
    pub(super) fn new(now: Time, timings: Timings, seed: u64) -> Self {
        Self {
            now,
            timings,
            queue: Queue::new(),
            faults: NetworkFaults::default(),
            to_schedulers: Vec::new(),
            to_hosts: Vec::new(),
            to_bodies: Vec::new(),
            links: Vec::new(),
            contacts: 0,
            identifiers: SmallRng::seed_from_u64(seed),
            chance: SmallRng::seed_from_u64(seed ^ 0x6661_756c_7473),
        }
    }

    pub(super) fn after(&mut self, ms: u64, job: Job) {
        self.queue.push(self.now.plus_ms(ms), job);
    }

    pub(super) fn event(&mut self, conn: ConnId, event: Event) {
        self.to_schedulers.push((conn, Outgoing::Event(Box::new(event))));
    }

    pub(super) fn operator_event(&mut self, conn: ConnId, event: serde_json::Value) {
        self.to_schedulers.push((conn, Outgoing::Operator(Box::new(event))));
    }

    pub(super) fn close(&mut self, conn: ConnId) {
        self.to_schedulers.push((conn, Outgoing::Close));
    }

    pub(super) fn host(&mut self, agent: AgentIndex, message: ToExecutor) {
        self.to_hosts.push((agent, message));
    }

    pub(super) fn body(&mut self, agent: AgentIndex, message: ToBody) {
        self.to_bodies.push((agent, message));
    }

    /// A random UUID, version 4.
    pub(super) fn uuid(&mut self) -> uuid::Uuid {
        uuid::Builder::from_random_bytes(self.identifiers.random()).into_uuid()
    }

    /// At most that many milliseconds.
    pub(super) fn up_to(&mut self, ms: u64) -> u64 {
        self.identifiers.random_range(0..=ms)
    }

    /// Seconds since the Unix epoch, as statuses carry them.
    #[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 fit in 53 bits")]
    pub(super) fn timestamp(&self) -> f64 {
        self.now.0 as f64 / 1_000.0
    }

    pub(super) fn add_agent(&mut self) {
        self.links.push(0);
    }

    /// A number for a registration or disconnection of an agent that no other has: timers that are
    /// meant for another one mean nothing.
    pub(super) fn contact(&mut self) -> u32 {
        self.contacts += 1;
        self.contacts
    }

    /// The connection between the agent and the master at present.
    pub(super) fn link(&self, agent: AgentIndex) -> u32 {
        self.links.get(agent).copied().unwrap_or_default()
    }

    /// Breaks that connection.
    pub(super) fn cut(&mut self, agent: AgentIndex) {
        if let Some(link) = self.links.get_mut(agent) {
            *link += 1;
        }
    }

    pub(super) fn send_to_agent(&mut self, agent: AgentIndex, message: ToAgent) {
        let unreliable = matches!(
            message,
            ToAgent::Kill(..) | ToAgent::Acknowledge { .. } | ToAgent::Message { .. }
        );
        let link = self.link(agent);
        for (ms, message) in self.journeys(unreliable).into_iter().zip(repeat(message)) {
            self.after(ms, Job::ToAgent { agent, link, message });
        }
    }

    pub(super) fn send_to_master(&mut self, agent: AgentIndex, message: ToMaster) {
        let unreliable = matches!(message, ToMaster::Update { .. } | ToMaster::Message { .. });
        let link = self.link(agent);
        for (ms, message) in self.journeys(unreliable).into_iter().zip(repeat(message)) {
            self.after(ms, Job::ToMaster { agent, link, message });
        }
    }

    /// How long each copy of a message takes that arrives.
    fn journeys(&mut self, unreliable: bool) -> Vec<u64> {
        let NetworkFaults { lose, duplicate, delay, delay_limit } = self.faults;
        let direct = self.timings.latency;
        if !unreliable || self.faults == NetworkFaults::default() {
            return vec![direct];
        }
        let mut copies = Vec::new();
        if !self.happens(lose) {
            copies.push(direct);
        }
        if self.happens(duplicate) {
            copies.push(direct);
        }
        for ms in &mut copies {
            if self.happens(delay) {
                *ms += self.chance.random_range(0..=delay_limit);
            }
        }
        copies
    }

    fn happens(&mut self, probability: f64) -> bool {
        self.chance.random_bool(probability.clamp(0.0, 1.0))
    }
}
