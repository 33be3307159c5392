//! The status updates of one task on its agent: one is out at a time, in order, until
//! acknowledged.

use std::collections::VecDeque;

use crate::mesos::v1::{Blob, TaskStatus};

#[derive(Debug, Default)]
pub(super) struct Updates {
    /// The first is the one that is out.
    pending: VecDeque<TaskStatus>,
    /// The newest one that was sent.
    told: Option<TaskStatus>,
    /// How often anything was sent.
    sends: u32,
}

impl Updates {
    /// Whether it is the only one, and so may go out.
    pub(super) fn push(&mut self, status: TaskStatus) -> bool {
        self.pending.push_back(status);
        self.pending.len() == 1
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// The one to send, and how many it makes.
    pub(super) fn send(&mut self) -> Option<(TaskStatus, u32)> {
        let status = self.pending.front()?.clone();
        self.told = Some(status.clone());
        self.sends += 1;
        Some((status, self.sends))
    }

    /// How often anything was sent.
    pub(super) fn sends(&self) -> u32 {
        self.sends
    }

    /// The newest one that was sent.
    pub(super) fn told(&self) -> Option<&TaskStatus> {
        self.told.as_ref()
    }

    /// Takes away the one that is out, if that is its UUID.
    pub(super) fn acknowledge(&mut self, uuid: &Blob) -> Option<TaskStatus> {
        let first = self.pending.front()?;
        if first.uuid.as_ref() == Some(uuid) { self.pending.pop_front() } else { None }
    }
}
