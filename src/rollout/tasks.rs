//! What Mesos says of tasks, as what it means for us.

use crate::job::order::FromHost;
use crate::mesos::v1::scheduler::{Acknowledge, Call};
use crate::mesos::v1::{TaskState, TaskStatus};
use crate::words::AgentId;

/// What a status means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Means {
    /// It is on its way.
    Starting,
    /// It runs.
    Running,
    /// It has ended by itself, or by our order.
    Ended,
    /// It never ran, or is certainly not any more; nothing is known of how it ended.
    Vanished,
    /// Its description is wrong: the same again would fail again.
    Invalid,
    /// Its agent cannot be asked: it may run, and may come back.
    Lost,
    /// The operator says that the machine is gone for good.
    HostGone,
    /// Nothing that we know.
    Nothing,
}

/// What a status means. An answer of the master to a reconciliation says "unknown" for tasks of
/// agents that it does not know (any more).
pub(super) fn means(state: &TaskState) -> Means {
    match state {
        TaskState::Staging | TaskState::Starting => Means::Starting,
        TaskState::Running | TaskState::Killing => Means::Running,
        TaskState::Finished | TaskState::Failed | TaskState::Killed => Means::Ended,
        TaskState::Error => Means::Invalid,
        TaskState::Dropped | TaskState::Gone => Means::Vanished,
        TaskState::GoneByOperator => Means::HostGone,
        TaskState::Lost | TaskState::Unreachable | TaskState::NotKnown => Means::Lost,
        TaskState::Unknown(_) => Means::Nothing,
    }
}

/// The acknowledgement of a status; only those with a UUID are acknowledged.
pub(super) fn acknowledge(status: &TaskStatus, agent: Option<&AgentId>) -> Option<Call> {
    Some(Call::Acknowledge(Acknowledge {
        agent_id: status.agent_id.as_ref().or(agent)?.clone(),
        task_id: status.task_id.clone(),
        uuid: status.uuid.clone()?,
    }))
}

/// What the host put into a status; none if it is not ours or not readable.
pub(super) fn report(status: &TaskStatus) -> Option<FromHost> {
    serde_json::from_slice(&status.data.as_ref()?.0).ok()
}
