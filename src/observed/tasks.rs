//! The tasks of a host as the controller wrote them down before it launched them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::desired::{ComponentSpec, Resources};
use crate::words::{AgentId, Attempt, Generation, SpecHash, TaskId, TaskKind, Time};

/// The version of [`HostTasks`] that this release writes.
pub const TASKS_VERSION: u32 = 1;

/// All tasks of a host that were launched, or are about to be, and have not ended: the value of
/// `tasks/HOST`. It is committed before every launch; a task that is not in it is killed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostTasks {
    /// [`TASKS_VERSION`] of the release that wrote it.
    pub version: u32,
    /// At most one of each kind.
    pub tasks: BTreeMap<TaskKind, TaskRecord>,
}

impl Default for HostTasks {
    fn default() -> Self {
        Self { version: TASKS_VERSION, tasks: BTreeMap::new() }
    }
}

/// One task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskRecord {
    /// Its ID.
    pub id: TaskId,
    /// The agent it was launched on.
    pub agent: AgentId,
    /// The generation it was launched for.
    pub generation: Generation,
    /// What it supervises.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supervised: Option<Supervised>,
    /// The change that it carries, until that has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<Attempt>,
    /// The task whose place it takes; it is launched when that one has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<TaskId>,
    /// The digest of the program in whose executor it runs. None where a release wrote the record that
    /// kept no digests: it is another program than ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<SpecHash>,
    /// When it was written down.
    pub ordered: Time,
    /// What Mesos has said of it since this process began to listen.
    #[serde(skip)]
    pub seen: Seen,
}

/// What Mesos has said of a task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Seen {
    /// Nothing, since this process began to listen.
    #[default]
    Nothing,
    /// It is on its way.
    Starting,
    /// It runs.
    Running,
    /// Its agent cannot be asked. It may run and may come back.
    Lost,
}

/// What a supervising task supervises, and with what: another value means another task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Supervised {
    /// The component's spec.
    pub hash: SpecHash,
    /// What the task holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
}

impl From<&ComponentSpec> for Supervised {
    fn from(spec: &ComponentSpec) -> Self {
        Self { hash: spec.hash, resources: spec.resources }
    }
}

impl TaskRecord {
    /// The task whose place this one was to take, as far as this record knows it: of what it
    /// supervises nothing is known, so that it is replaced again.
    #[must_use]
    pub fn predecessor(&self) -> Option<Self> {
        let id = self.replaces.clone()?;
        let unknown =
            Self { supervised: None, attempt: None, replaces: None, program: None, ..self.clone() };
        Some(Self { id, seen: Seen::Nothing, ..unknown })
    }
}

impl HostTasks {
    /// Whoever was to be replaced has ended.
    pub fn has_ended(&mut self, old: &TaskId) {
        for task in self.tasks.values_mut() {
            task.replaces.take_if(|replaced| replaced == old);
        }
    }

    /// The task that carries a change, if one does.
    #[must_use]
    pub fn carrier(&self) -> Option<(TaskKind, &TaskRecord)> {
        self.tasks.iter().find(|(_, task)| task.attempt.is_some()).map(|(kind, task)| (*kind, task))
    }

    /// The kind of a task, by its ID.
    #[must_use]
    pub fn kind_of(&self, id: &TaskId) -> Option<TaskKind> {
        self.tasks.iter().find(|(_, task)| task.id == *id).map(|(kind, _)| *kind)
    }
}
