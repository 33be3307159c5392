//! What the master knows of tasks: status updates on their way, acknowledgements, KILL and
//! reconciliation.

use super::AgentIndex;
use super::context::{Context, ExecutorKey, ToAgent};
use super::master::{Framework, Master, Standing, TaskRecord};
use crate::mesos::v1::scheduler::{
    Acknowledge, Event, Failure, Kill, Message, Reconcile, ReconcileTask,
};
use crate::mesos::v1::{
    Blob, FrameworkId, Nanoseconds, StatusReason, StatusSource, TaskState, TaskStatus,
};
use crate::words::{AgentId, TaskId, Time};

impl Master {
    /// A status as the master makes it: no UUID, told once.
    pub(super) fn status(
        cx: &Context,
        task: &TaskId,
        state: TaskState,
        reason: StatusReason,
        message: &str,
    ) -> TaskStatus {
        let mut status = TaskStatus::new(task.clone(), state);
        status.source = Some(StatusSource::Master);
        status.reason = Some(reason);
        status.message = Some(message.to_owned());
        status.timestamp = Some(cx.timestamp());
        status
    }

    /// A state as the framework wants to hear it.
    pub(super) fn opt_in(&self, id: &FrameworkId, state: TaskState) -> TaskState {
        super::opt_in(state, self.frameworks.get(id).is_some_and(Framework::is_partition_aware))
    }

    // --- from agents -----------------------------------------------------------------------------

    /// Passes an update on. While the framework is away it is dropped: the agent sends it again.
    pub(super) fn update(
        &mut self,
        cx: &mut Context,
        agent: AgentIndex,
        id: &FrameworkId,
        status: TaskStatus,
        latest: TaskState,
    ) {
        let Some(framework) = self.frameworks.get_mut(id) else { return };
        // Messages of one connection keep their order, whatever is made of them on the way to the
        // scheduler: the master's own record never goes back.
        let late = |task: &&mut TaskRecord| {
            task.latest == TaskState::Running && status.state == TaskState::Starting
        };
        let task = framework.tasks.get_mut(&status.task_id);
        if let Some(task) = task.filter(|task| !late(task)) {
            let ended = latest.is_terminal() && !task.latest.is_terminal();
            let news = task.status.as_ref().is_none_or(|known| {
                (&known.state, known.healthy) != (&status.state, status.healthy)
            });
            if ended {
                task.latest = latest;
                if let Some(record) = self.agents.get_mut(agent).and_then(Option::as_mut) {
                    record.vacate(&task.role, &task.resources);
                }
            } else if !task.latest.is_terminal() {
                task.latest = latest;
            }
            if !task.state().is_terminal() {
                task.status = Some(TaskStatus { data: None, ..status.clone() });
                task.note(&status);
            }
            let latest = task.latest.clone();
            if news {
                self.publish_update(cx, id, &status, &latest);
            }
            if ended {
                self.consider(cx, agent);
            }
        }
        self.tell(cx, id, Event::Update(status));
    }

    pub(super) fn executor_message(
        &mut self,
        cx: &mut Context,
        agent: AgentIndex,
        executor: ExecutorKey,
        data: Blob,
    ) {
        let Some(agent_id) = self.agent(agent).map(|record| record.id.clone()) else { return };
        let (framework, executor_id) = executor;
        self.tell(cx, &framework, Event::Message(Message { agent_id, executor_id, data }));
    }

    /// An executor has ended: what it held is free.
    pub(super) fn exited(
        &mut self,
        cx: &mut Context,
        agent: AgentIndex,
        executor: &ExecutorKey,
        status: i32,
        silent: bool,
    ) {
        let Some(record) = self.agent_mut(agent) else { return };
        record.evict(executor);
        let failure = Failure {
            agent_id: Some(record.id.clone()),
            executor_id: Some(executor.1.clone()),
            status: Some(status),
        };
        self.consider(cx, agent);
        if !silent {
            self.tell(cx, &executor.0, Event::Failure(failure));
        }
    }

    // --- from schedulers -------------------------------------------------------------------------

    pub(super) fn acknowledge(&mut self, cx: &mut Context, id: &FrameworkId, ack: Acknowledge) {
        let Some(agent) = self.connected_agent(&ack.agent_id) else { return };
        if let Some(framework) = self.frameworks.get_mut(id)
            && let Some(task) = framework.tasks.get(&ack.task_id)
            && task.state().is_terminal()
            && task.uuid() == Some(&ack.uuid)
        {
            let task = framework.tasks.remove(&ack.task_id);
            if let Some(task) = task {
                framework.complete(task);
            }
            self.look_at_drain(cx, agent);
        }
        let task = (id.clone(), ack.task_id);
        cx.send_to_agent(agent, ToAgent::Acknowledge { task, uuid: ack.uuid });
    }

    /// A task that is not known is answered as by explicit reconciliation; one of another agent
    /// than the call says is left alone; one of an agent that is away is killed when that is back.
    pub(super) fn kill(&mut self, cx: &mut Context, id: &FrameworkId, kill: Kill) {
        let known = self.frameworks.get(id).and_then(|f| f.tasks.get(&kill.task_id));
        let Some(agent) = known.map(|task| task.agent) else {
            let Kill { task_id, agent_id, .. } = kill;
            return self.reconcile_one(cx, id, &ReconcileTask { task_id, agent_id });
        };
        let Some(record) = self.agent_mut(agent) else { return };
        if kill.agent_id.is_some_and(|named| named != record.id) {
            return;
        }
        let task = (id.clone(), kill.task_id);
        if record.standing == Standing::Connected {
            cx.send_to_agent(agent, ToAgent::Kill(task, kill.kill_policy));
        } else {
            record.kills.push((task, kill.kill_policy));
        }
    }

    pub(super) fn reconcile(&mut self, cx: &mut Context, id: &FrameworkId, call: &Reconcile) {
        if !call.tasks.is_empty() {
            for task in &call.tasks {
                self.reconcile_one(cx, id, task);
            }
            return;
        }
        let Some(framework) = self.frameworks.get(id) else { return };
        let reason = StatusReason::Reconciliation;
        let answers: Vec<_> = framework
            .tasks
            .iter()
            .map(|(task_id, task)| {
                self.known(
                    cx,
                    id,
                    task_id,
                    task,
                    reason.clone(),
                    "Reconciliation: Latest task state",
                )
            })
            .collect();
        for status in answers {
            self.tell(cx, id, Event::Update(status));
        }
    }

    /// The state of a known task, in the master's words.
    pub(super) fn known(
        &self,
        cx: &Context,
        id: &FrameworkId,
        task_id: &TaskId,
        task: &TaskRecord,
        reason: StatusReason,
        message: &str,
    ) -> TaskStatus {
        let state = self.opt_in(id, task.state());
        let mut status = Self::status(cx, task_id, state, reason, message);
        status.agent_id = self.agent(task.agent).map(|record| record.id.clone());
        status.executor_id.clone_from(&task.executor);
        status.container_status = task.status.as_ref().and_then(|s| s.container_status.clone());
        status
    }

    fn reconcile_one(&self, cx: &mut Context, id: &FrameworkId, asked: &ReconcileTask) {
        if let Some(status) = self.answer(cx, id, asked) {
            self.tell(cx, id, Event::Update(status));
        }
    }

    /// The answer to explicit reconciliation of one task; none while an agent that may have it
    /// has not come back to a new master (`src/master/master.cpp`, `reconcile`).
    fn answer(&self, cx: &Context, id: &FrameworkId, asked: &ReconcileTask) -> Option<TaskStatus> {
        let framework = self.frameworks.get(id)?;
        let reason = StatusReason::Reconciliation;
        if let Some(task) = framework.tasks.get(&asked.task_id) {
            let text = "Reconciliation: Latest task state";
            return Some(self.known(cx, id, &asked.task_id, task, reason, text));
        }
        let lost = framework.unreachable.get(&asked.task_id);
        let record = match (lost, &asked.agent_id) {
            (Some(task), _) => self.agent(task.agent),
            (None, Some(agent)) => self.agent_ids.get(agent).and_then(|index| self.agent(*index)),
            (None, None) => None,
        };
        let gone = asked.agent_id.as_ref().is_some_and(|agent| self.gone.contains(agent));
        let (state, message) = match record.map(|record| record.standing) {
            _ if gone => (TaskState::GoneByOperator, "Reconciliation: Task is gone"),
            Some(Standing::Recovered) => return None,
            Some(Standing::Unreachable(_)) => {
                (TaskState::Unreachable, "Reconciliation: Task is unreachable")
            }
            Some(Standing::Connected | Standing::Disconnected) => {
                (TaskState::Gone, "Reconciliation: Task is unknown to the agent")
            }
            None if asked.agent_id.is_none() && self.has_recovered_agents() => return None,
            None => (TaskState::NotKnown, "Reconciliation: Task is unknown"),
        };
        let mut status = Self::status(cx, &asked.task_id, self.opt_in(id, state), reason, message);
        status.agent_id = asked.agent_id.clone().or_else(|| record.map(|record| record.id.clone()));
        if let (Some(Standing::Unreachable(since)), false) = (record.map(|r| r.standing), gone) {
            status.unreachable_time = Some(nanoseconds(since));
        }
        Some(status)
    }

    fn has_recovered_agents(&self) -> bool {
        self.agents.iter().flatten().any(|record| record.standing == Standing::Recovered)
    }

    /// The agent of that ID, if messages reach it.
    pub(super) fn connected_agent(&self, id: &AgentId) -> Option<AgentIndex> {
        let index = *self.agent_ids.get(id)?;
        let record = self.agent(index)?;
        (record.id == *id && record.standing == Standing::Connected).then_some(index)
    }
}

/// A time as Mesos writes it.
pub(super) fn nanoseconds(time: Time) -> Nanoseconds {
    let ms = i64::try_from(time.0).unwrap_or(i64::MAX);
    Nanoseconds { nanoseconds: ms.saturating_mul(1_000_000) }
}
