//! What passes between the model of a Mesos agent and the model of the host it runs on: the
//! executor API without HTTP, and what the agent notices of its machine.

use crate::mesos::v1::TaskStatus;
use crate::words::{TaskId, TaskPhase};

/// From the agent to the executor that it started on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToExecutor {
    /// Run a task. The first one of an executor starts its process.
    Launch {
        /// The task.
        task: TaskId,
        /// `TaskInfo.data`.
        data: Vec<u8>,
    },
    /// End a task.
    Kill(TaskId),
    /// A scheduler MESSAGE, unreliable as in Mesos.
    Message(Vec<u8>),
    /// End the process.
    Shutdown,
}

/// From the executor to its agent. The agent keeps updates until the scheduler acknowledges
/// them; while the agent is down, they wait with the executor.
#[derive(Clone, Debug, PartialEq)]
pub enum FromExecutor {
    /// A status update.
    Update {
        /// The task.
        task: TaskId,
        /// Its state.
        state: TaskPhase,
        /// `TaskStatus.message`.
        message: Option<String>,
        /// `TaskStatus.data`.
        data: Option<Vec<u8>>,
    },
    /// A status update with all that an executor may say in one. Who and where is the agent's to
    /// say.
    Status(Box<TaskStatus>),
    /// An executor MESSAGE, unreliable as in Mesos.
    Message(Vec<u8>),
    /// The process has ended. Tasks without a terminal update are lost with it.
    Exited,
}

/// What happens to the agent's process and to its machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostSignal {
    /// The agent's process has ended. Executors live on.
    AgentStopped,
    /// The agent's process is back and recovers.
    AgentStarted,
    /// The machine is off: agent and executor are gone without a word.
    MachineDown,
    /// The machine has started again, its agent with it; no executor runs.
    MachineUp,
    /// The executor's process has started and subscribes.
    ExecutorUp,
}
