//! Status updates on their agent: made, kept, sent and sent again until acknowledged.

use std::collections::BTreeSet;

use super::{Agent, Process, Task};
use crate::mesos::v1::{
    Blob, FrameworkId, StatusReason, StatusSource, TaskInfo, TaskState, TaskStatus,
};
use crate::sim::mesos::context::{Context, Job, Launch, TaskKey, ToMaster};
use crate::sim::mesos::updates::Updates;
use crate::words::TaskId;

impl Agent {
    /// A state as a framework wants to hear it.
    pub(super) fn opt_in(&self, framework: &FrameworkId, state: TaskState) -> TaskState {
        let info = self.frameworks.get(framework);
        crate::sim::mesos::opt_in(state, info.is_some_and(crate::sim::mesos::is_partition_aware))
    }

    pub(super) fn status(&self, cx: &mut Context, task: &TaskId, state: TaskState) -> TaskStatus {
        let mut status = TaskStatus::new(task.clone(), state);
        status.source = Some(StatusSource::Agent);
        status.agent_id.clone_from(&self.id);
        status.timestamp = Some(cx.timestamp());
        status.uuid = Some(Blob(cx.uuid().as_bytes().to_vec()));
        status
    }

    /// Adds executor and container.
    pub(super) fn describe(&self, key: &TaskKey, status: &mut TaskStatus, container: bool) {
        let Some(task) = self.tasks.get(key) else { return };
        status.executor_id = Some(task.executor.1.clone());
        if container && let Some(executor) = self.executors.get(&task.executor) {
            status.container_status = Some(executor.container.clone());
        }
    }

    pub(super) fn own_update(
        &mut self,
        cx: &mut Context,
        key: &TaskKey,
        state: TaskState,
        reason: StatusReason,
        text: &str,
    ) {
        let mut status = self.status(cx, &key.1, state);
        status.reason = Some(reason);
        status.message = Some(text.to_owned());
        self.describe(key, &mut status, false);
        self.keep(cx, key, status);
    }

    /// Puts an update into its task's queue; it goes out at once if it is the only one.
    pub(super) fn keep(&mut self, cx: &mut Context, key: &TaskKey, status: TaskStatus) {
        let Some(task) = self.tasks.get_mut(key) else { return };
        if !task.latest.is_terminal() {
            task.latest = status.state.clone();
        }
        if task.updates.push(status) {
            self.send_first(cx, key);
        }
    }

    /// The oldest unacknowledged update of each task goes out again at once, whosever it is: after
    /// a registration, and when the master tells that a framework has subscribed (`slave.cpp`,
    /// `updateFramework`).
    pub(super) fn resume_updates(&mut self, cx: &mut Context) {
        for key in self.tasks.keys().cloned().collect::<Vec<_>>() {
            self.send_first(cx, &key);
        }
    }

    pub(super) fn send_first(&mut self, cx: &mut Context, key: &TaskKey) {
        self.transmit(cx, key, cx.timings.update_retry);
    }

    fn transmit(&mut self, cx: &mut Context, key: &TaskKey, wait: u64) {
        if self.process != Process::Registered {
            return;
        }
        let Some(task) = self.tasks.get_mut(key) else { return };
        let Some((status, sends)) = task.updates.send() else { return };
        let update = ToMaster::Update {
            framework: key.0.clone(),
            status: Box::new(status),
            latest: task.latest.clone(),
        };
        cx.send_to_master(self.index, update);
        let (agent, process) = (self.index, self.starts);
        cx.after(wait, Job::Retry { agent, process, task: key.clone(), sends, wait });
    }

    pub(in crate::sim::mesos) fn retry(
        &mut self,
        cx: &mut Context,
        process: u32,
        key: &TaskKey,
        sends: u32,
        wait: u64,
    ) {
        let last = self.tasks.get(key).is_some_and(|task| task.updates.sends() == sends);
        if process == self.starts && last {
            let wait = (wait * 2).min(cx.timings.update_retry_limit);
            self.transmit(cx, key, wait);
        }
    }

    /// A wrong or repeated acknowledgement is ignored.
    pub(super) fn acknowledge(&mut self, cx: &mut Context, key: &TaskKey, uuid: &Blob) {
        let Some(task) = self.tasks.get_mut(key) else { return };
        let Some(acknowledged) = task.updates.acknowledge(uuid) else { return };
        if acknowledged.state.is_terminal() && task.updates.is_empty() {
            let executor = task.executor.clone();
            self.tasks.remove(key);
            // Mesos' own executor ends with its task; a framework's stays for the next one.
            if self.executors.get(&executor).is_some_and(|e| e.info.is_none()) {
                self.executors.remove(&executor);
            }
        } else {
            self.send_first(cx, key);
        }
    }

    /// An update for a task that the agent never had: it lives until it is acknowledged.
    pub(super) fn keep_unknown(&mut self, cx: &mut Context, key: &TaskKey, status: TaskStatus) {
        let Some(agent_id) = self.id.clone() else { return };
        let info = TaskInfo {
            name: String::new(),
            task_id: key.1.clone(),
            agent_id,
            resources: Vec::new(),
            executor: None,
            command: None,
            kill_policy: None,
            data: None,
            labels: None,
            rest: serde_json::Map::new(),
        };
        let executor = (key.0.clone(), Launch::executor_id(&info));
        let latest = status.state.clone();
        let (updates, seen) = (Updates::default(), BTreeSet::new());
        let task = Task { info, executor, latest, updates, seen };
        self.tasks.entry(key.clone()).or_insert(task);
        self.keep(cx, key, status);
    }
}
