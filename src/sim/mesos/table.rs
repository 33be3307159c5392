//! A framework's tasks, found by their ID and by their agent: agents come back by the thousand,
//! and each brings a list to be compared.

use std::collections::{BTreeMap, BTreeSet};

use super::AgentIndex;
use super::master::TaskRecord;
use crate::words::TaskId;

/// The tasks of one framework.
#[derive(Debug, Default)]
pub(super) struct TaskTable {
    by_id: BTreeMap<TaskId, TaskRecord>,
    by_agent: BTreeMap<AgentIndex, BTreeSet<TaskId>>,
}

impl TaskTable {
    /// Enters a task, in place of one with its ID.
    pub(super) fn insert(&mut self, id: TaskId, record: TaskRecord) {
        let agent = record.agent;
        if let Some(before) = self.by_id.insert(id.clone(), record) {
            self.unlink(before.agent, &id);
        }
        self.by_agent.entry(agent).or_default().insert(id);
    }

    pub(super) fn remove(&mut self, id: &TaskId) -> Option<TaskRecord> {
        let record = self.by_id.remove(id)?;
        self.unlink(record.agent, id);
        Some(record)
    }

    pub(super) fn get(&self, id: &TaskId) -> Option<&TaskRecord> {
        self.by_id.get(id)
    }

    /// The task, to be changed in all but its agent.
    pub(super) fn get_mut(&mut self, id: &TaskId) -> Option<&mut TaskRecord> {
        self.by_id.get_mut(id)
    }

    /// All tasks, by their IDs.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&TaskId, &TaskRecord)> {
        self.by_id.iter()
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &TaskRecord> {
        self.by_id.values()
    }

    /// The tasks of one agent.
    pub(super) fn of_agent(&self, agent: AgentIndex) -> impl Iterator<Item = &TaskId> {
        self.by_agent.get(&agent).into_iter().flatten()
    }

    /// Takes the tasks of one agent out.
    pub(super) fn take_agent(&mut self, agent: AgentIndex) -> Vec<(TaskId, TaskRecord)> {
        let ids = self.by_agent.remove(&agent).unwrap_or_default();
        ids.into_iter()
            .filter_map(|id| {
                let record = self.by_id.remove(&id)?;
                Some((id, record))
            })
            .collect()
    }

    /// The tasks themselves, by their IDs.
    pub(super) fn into_all(self) -> BTreeMap<TaskId, TaskRecord> {
        self.by_id
    }

    fn unlink(&mut self, agent: AgentIndex, id: &TaskId) {
        if let Some(ids) = self.by_agent.get_mut(&agent) {
            ids.remove(id);
            if ids.is_empty() {
                self.by_agent.remove(&agent);
            }
        }
    }
}
