//! What goes into a [`Session`](super::Session) and comes out of it.

use super::outbox::Report;
use crate::mesos::v1::executor::{Event, Request};
use crate::mesos::v1::{ExecutorId, FrameworkId, TaskInfo};
use crate::words::TaskId;

/// The longest wait between two attempts to subscribe.
const AGAIN_AT_MOST_MS: u64 = 1_000;
/// The shortest: agents restart in about 200 ms.
const AGAIN_AT_LEAST_MS: u64 = 50;
/// What the agent told the process about itself; all times in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Whose executor.
    pub framework_id: FrameworkId,
    /// Which executor.
    pub executor_id: ExecutorId,
    /// Whether it outlives its agent's process.
    pub checkpoint: bool,
    /// How long it waits for an agent that is away, before it ends.
    pub recovery_ms: u64,
    /// How long a restarted agent waits for its executors.
    pub resubscribe_within_ms: u64,
    /// From SHUTDOWN to SIGKILL.
    pub shutdown_grace_ms: u64,
}

impl Terms {
    /// Between two attempts: some ten of them fit into the time that a restarted agent waits.
    pub(super) fn again_ms(&self) -> u64 {
        (self.resubscribe_within_ms / 10).clamp(AGAIN_AT_LEAST_MS, AGAIN_AT_MOST_MS)
    }

    /// For one attempt, from the request to SUBSCRIBED. Half of that time, so that a second one
    /// is in time if the first one hangs.
    pub(super) fn attempt_ms(&self) -> u64 {
        (self.resubscribe_within_ms / 2).clamp(1_000, 5_000)
    }
}

/// How a connection or a call failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No connection, none any more, or no answer in time.
    Broken,
    /// An answer other than success.
    Answer {
        /// The status code.
        status: u16,
        /// The text.
        body: String,
    },
}

impl Failure {
    /// Whether another attempt would get the same answer. An agent that starts answers 404, then
    /// 503; what it has forgotten, and what it does not let in, stays so.
    pub(super) fn is_final(&self) -> bool {
        match self {
            Self::Broken | Self::Answer { status: 404 | 408 | 429, .. } => false,
            Self::Answer { status, .. } => *status < 500 || *status == 501,
        }
    }

    /// Whether a call was refused for what it says, and not because the agent does not know us.
    pub(super) fn is_about_the_call(&self) -> bool {
        matches!(self, Self::Answer { status: 400 | 415, body }
            if !body.ends_with("cannot be found"))
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// An event of the newest stream.
    Heard(Event),
    /// The newest stream has ended, or could not be opened.
    Lost(Failure),
    /// A call was refused, or has no answer. Success needs no word.
    Failed {
        /// As in [`Effect::Call`].
        call: u64,
        /// How.
        failure: Failure,
    },
    /// The program says something of a task.
    Report(Report),
    /// The program has bytes for the scheduler. They are lost while there is no subscription.
    Send(Vec<u8>),
    /// The program wants to end, once all that it said is acknowledged.
    Leave,
    /// Time has passed.
    Tick,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Open a stream with this call, in place of any other; calls not made yet are void.
    Subscribe(Box<Request>),
    /// Post a call, after those before it.
    Call {
        /// Names it in [`Input::Failed`].
        call: u64,
        /// What to post.
        request: Box<Request>,
    },
    /// For the program.
    Order(Order),
    /// A defect of this program or a surprise of the agent's, for the log.
    Warn(String),
    /// End the process.
    Exit(Ending),
}

/// What the program is to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Order {
    /// Nothing: it is connected, for the first time or again.
    Subscribed {
        /// The host name of the agent, as the controller names the host.
        hostname: String,
        /// The Mesos ID of the agent.
        agent_id: Option<String>,
    },
    /// Run a task, and report on it at once.
    Launch(Box<TaskInfo>),
    /// End a task.
    Kill {
        /// Which one.
        task: TaskId,
        /// How long it may take, if somebody has said so; nobody enforces it.
        grace_ms: Option<u64>,
    },
    /// Bytes from the scheduler.
    Message(Vec<u8>),
    /// End all tasks, then [`Input::Leave`].
    Shutdown,
}

/// Why the process ends.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ending {
    /// As asked, and the agent has stored everything.
    #[error("ended; the agent has all that was said")]
    Done,
    /// As asked, but the last words are not acknowledged.
    #[error("ended by the agent's order, before it had acknowledged everything")]
    OutOfGrace,
    /// The agent did not come back in time.
    #[error("the agent has been away for {seconds} s, longer than its recovery timeout")]
    AgentGone {
        /// Seconds.
        seconds: u64,
    },
    /// The agent has ended, and the framework does not want its executors to outlive it.
    #[error("the agent has ended, and the framework does not checkpoint")]
    NotCheckpointed,
    /// The agent does not want this executor, or not any more.
    #[error("the agent refuses this executor ({status}: {body}); its log says why")]
    Refused {
        /// The status code.
        status: u16,
        /// The text.
        body: String,
    },
    /// The agent reported an error.
    #[error("the agent ends the executor: {0}")]
    Told(String),
}
