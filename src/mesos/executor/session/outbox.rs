//! What the agent may not have yet: tasks without an acknowledged update, and updates.

use super::{Terms, describe};
use crate::job::Uptime;
use crate::mesos::v1::executor::Update;
use crate::mesos::v1::{Blob, StatusSource, TaskInfo, TaskState, TaskStatus};
use crate::words::TaskId;

/// From sending an update until it is sent again without an acknowledgement; doubled each time.
/// Agents acknowledge within milliseconds.
const REPEAT_MS: u64 = 10_000;
/// The longest time between two of them.
const REPEAT_AT_MOST_MS: u64 = 600_000;

/// What the program says of a task. Identity and time are given by the caller.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Which task.
    pub task: TaskId,
    /// Its state.
    pub state: TaskState,
    /// For people.
    pub message: Option<String>,
    /// For the scheduler.
    pub data: Option<Vec<u8>>,
    /// Drawn for this report: version 4, as agents refuse other than versions 1 to 5.
    pub uuid: uuid::Uuid,
    /// Seconds since the Unix epoch.
    pub timestamp: f64,
}

#[derive(Clone, Debug)]
struct Task {
    id: TaskId,
    /// Until something of it is acknowledged.
    info: Option<Box<TaskInfo>>,
    /// Its last state has been reported.
    ended: bool,
}

#[derive(Clone, Debug)]
struct Pending {
    status: TaskStatus,
    /// Not said on the present stream if none.
    repeat_at: Option<Uptime>,
    wait_ms: u64,
    call: Option<u64>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Outbox {
    tasks: Vec<Task>,
    pending: Vec<Pending>,
    /// The one that was given out last.
    given: Option<usize>,
}

impl Outbox {
    /// Whether the task is new: one that is delivered twice is taken once.
    pub(super) fn launched(&mut self, info: &TaskInfo) -> bool {
        if self.tasks.iter().any(|task| task.id == info.task_id) {
            return false;
        }
        let (id, info) = (info.task_id.clone(), Some(Box::new(info.clone())));
        self.tasks.push(Task { id, info, ended: false });
        true
    }

    /// Puts a report in line, or says why the agent would never acknowledge it.
    pub(super) fn take(&mut self, terms: &Terms, report: Report) -> Result<(), String> {
        let mut status = TaskStatus::new(report.task, report.state);
        let Some(task) = self.tasks.iter_mut().find(|task| task.id == status.task_id) else {
            return Err(format!("not sent, as the task is not known: {}", describe(&status)));
        };
        if task.ended {
            return Err(format!("not sent, as the task has ended: {}", describe(&status)));
        }
        task.ended = status.state.is_terminal();
        status.message = report.message;
        status.source = Some(StatusSource::Executor);
        status.data = report.data.map(Blob);
        status.executor_id = Some(terms.executor_id.clone());
        status.timestamp = Some(report.timestamp);
        status.uuid = Some(Blob(report.uuid.as_bytes().to_vec()));
        self.pending.push(Pending { status, repeat_at: None, wait_ms: REPEAT_MS, call: None });
        Ok(())
    }

    pub(super) fn acknowledged(&mut self, uuid: &Blob) {
        let found = self.pending.iter().position(|p| p.status.uuid.as_ref() == Some(uuid));
        if let Some(found) = found {
            self.settled(found);
        }
    }

    /// Takes out an update that the agent refuses, so that nobody waits for it.
    pub(super) fn give_up(&mut self, call: u64) -> Option<TaskStatus> {
        let found = self.pending.iter().position(|pending| pending.call == Some(call))?;
        Some(self.settled(found))
    }

    fn settled(&mut self, at: usize) -> TaskStatus {
        let Pending { status, .. } = self.pending.remove(at);
        self.given = None;
        let over = status.state.is_terminal();
        self.tasks.retain_mut(|task| {
            if task.id == status.task_id {
                task.info = None;
            }
            task.id != status.task_id || !over
        });
        status
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    pub(super) fn tasks(&self) -> impl Iterator<Item = &TaskInfo> {
        self.tasks.iter().filter_map(|task| task.info.as_deref())
    }

    pub(super) fn updates(&self) -> impl Iterator<Item = &TaskStatus> {
        self.pending.iter().map(|pending| &pending.status)
    }

    /// All of them, now said with a SUBSCRIBE.
    pub(super) fn all_with_subscribe(&mut self, now: Uptime) -> Vec<Update> {
        for pending in &mut self.pending {
            pending.repeat_at = Some(now.plus_ms(REPEAT_MS));
            pending.wait_ms = REPEAT_MS;
        }
        self.updates().cloned().map(|status| Update { status }).collect()
    }

    /// The oldest that was not said on this stream; now it is.
    pub(super) fn next_unsent(&mut self, now: Uptime) -> Option<Update> {
        let at = self.pending.iter().position(|pending| pending.repeat_at.is_none())?;
        let pending = &mut self.pending[at];
        pending.repeat_at = Some(now.plus_ms(pending.wait_ms));
        self.given = Some(at);
        Some(Update { status: pending.status.clone() })
    }

    /// The oldest, if it is to be said again. Those after it follow in their own time.
    pub(super) fn due(&mut self, now: Uptime) -> Option<Update> {
        let pending = self.pending.first_mut()?;
        if pending.repeat_at? > now {
            return None;
        }
        pending.wait_ms = (pending.wait_ms * 2).min(REPEAT_AT_MOST_MS);
        pending.repeat_at = Some(now.plus_ms(pending.wait_ms));
        self.given = Some(0);
        Some(Update { status: pending.status.clone() })
    }

    /// The call by which the one given out last was said.
    pub(super) fn sent_as(&mut self, call: u64) {
        if let Some(pending) = self.given.take().and_then(|at| self.pending.get_mut(at)) {
            pending.call = Some(call);
        }
    }

    pub(super) fn next_repeat(&self) -> Option<Uptime> {
        self.pending.first()?.repeat_at
    }
}
