//! Agents as the master sees them: they break off, become unreachable, or are gone for good, and their
//! tasks with them.

use super::context::{Context, Job, ToAgent};
use super::master::{Master, Standing, TaskRecord};
use super::{AgentIndex, tasks};
use crate::mesos::v1::scheduler::{Event, Failure};
use crate::mesos::v1::{FrameworkId, StatusReason, TaskState};
use crate::words::{TaskId, Time};

/// Why a task is not where it was.
#[derive(Clone)]
struct Loss<'a> {
    /// For `PARTITION_AWARE` frameworks.
    state: TaskState,
    reason: StatusReason,
    text: &'a str,
    /// Since when its agent is away, if it may come back.
    since: Option<Time>,
}

impl Master {
    /// The socket to the agent's process has broken.
    pub(super) fn link_broken(&mut self, cx: &mut Context, index: AgentIndex, contact: u32) {
        let Some(record) = self.agent_mut(index) else { return };
        if record.contact != contact || record.standing != Standing::Connected {
            return;
        }
        record.standing = Standing::Disconnected;
        let contact = cx.contact();
        record.contact = contact;
        cx.after(cx.timings.ping_timeout, Job::PingTimeout { agent: index, contact });
        self.rescind_offers(cx, index);
        self.drop_unchecked(cx, index);
    }

    /// Frameworks that do not checkpoint lose their tasks with the agent's process.
    fn drop_unchecked(&mut self, cx: &mut Context, index: AgentIndex) {
        let Some(record) = self.agent(index) else { return };
        let text = format!("Agent {} disconnected", record.config.hostname);
        let volatile: Vec<_> = self
            .frameworks
            .iter()
            .filter(|(_, framework)| !framework.info.checkpoint)
            .map(|(id, _)| id.clone())
            .collect();
        for id in volatile {
            for (task_id, task) in self.take_tasks(&id, index) {
                let loss = Loss {
                    state: TaskState::Lost,
                    reason: StatusReason::AgentDisconnected,
                    text: &text,
                    since: None,
                };
                self.lose(cx, &id, (task_id, task), loss);
            }
        }
    }

    /// Takes the framework's tasks on the agent out of the table.
    fn take_tasks(&mut self, id: &FrameworkId, index: AgentIndex) -> Vec<(TaskId, TaskRecord)> {
        let Some(framework) = self.frameworks.get_mut(id) else { return Vec::new() };
        framework.tasks.take_agent(index)
    }

    /// The process of a disconnected agent is back: it is not given up for its silence any more.
    /// Returns which contact this is.
    pub(super) fn answers_pings(&mut self, cx: &mut Context, index: AgentIndex) -> Option<u32> {
        let record = self.agent_mut(index)?;
        if record.standing != Standing::Disconnected {
            return None;
        }
        record.contact = cx.contact();
        Some(record.contact)
    }

    pub(super) fn ping_timeout(&mut self, cx: &mut Context, index: AgentIndex, contact: u32) {
        let current = self.agent(index).is_some_and(|record| record.contact == contact);
        if current {
            self.make_unreachable(cx, index);
        }
    }

    /// Agents that did not come back to the new master in time.
    pub(super) fn recovery_timeout(&mut self, cx: &mut Context, master: u32) {
        if master != self.number {
            return;
        }
        for index in 0..self.agents.len() {
            if self.agent(index).is_some_and(|record| record.standing == Standing::Recovered) {
                self.make_unreachable(cx, index);
            }
        }
    }

    fn make_unreachable(&mut self, cx: &mut Context, index: AgentIndex) {
        let since = cx.now;
        let Some(record) = self.agent_mut(index) else { return };
        if matches!(record.standing, Standing::Unreachable(_)) {
            return;
        }
        record.standing = Standing::Unreachable(since);
        record.contact = cx.contact();
        cx.cut(index);
        cx.after(0, Job::GivenUp { agent: index });
        for id in self.frameworks.keys().cloned().collect::<Vec<_>>() {
            for (task_id, task) in self.take_tasks(&id, index) {
                if task.latest.is_terminal() {
                    continue;
                }
                let loss = Loss {
                    state: TaskState::Unreachable,
                    reason: StatusReason::AgentRemoved,
                    text: "health check timed out",
                    since: Some(since),
                };
                self.lose(cx, &id, (task_id, task), loss);
            }
        }
        self.rescind_offers(cx, index);
        self.tell_agent_failure(cx, index);
    }

    /// A task is not where it was any more: its framework is told once, and it is kept where it
    /// belongs from now on.
    fn lose(
        &mut self,
        cx: &mut Context,
        id: &FrameworkId,
        (task_id, mut task): (TaskId, TaskRecord),
        loss: Loss<'_>,
    ) {
        let mut status = self.known(cx, id, &task_id, &task, loss.reason, loss.text);
        status.state = self.opt_in(id, loss.state);
        status.container_status = None;
        status.unreachable_time = loss.since.map(tasks::nanoseconds);
        task.note(&status);
        self.publish_update(cx, id, &status, &status.state);
        self.tell(cx, id, Event::Update(status));
        let Some(framework) = self.frameworks.get_mut(id) else { return };
        if loss.since.is_some() {
            framework.unreachable.insert(task_id, task);
            return;
        }
        framework.complete(task.clone());
        if let Some(record) = self.agent_mut(task.agent) {
            record.vacate(&task.role, &task.resources);
        }
    }

    /// FAILURE of a whole agent goes to every framework that is connected.
    fn tell_agent_failure(&self, cx: &mut Context, index: AgentIndex) {
        let agent_id = self.agent(index).map(|record| record.id.clone());
        let failure = Failure { agent_id, executor_id: None, status: None };
        for id in self.frameworks.keys() {
            self.tell(cx, id, Event::Failure(failure.clone()));
        }
    }

    /// `MARK_AGENT_GONE`: the operator's word that it never comes back.
    pub(super) fn mark_gone(&mut self, cx: &mut Context, index: AgentIndex) {
        let loss = Loss {
            state: TaskState::GoneByOperator,
            reason: StatusReason::AgentRemovedByOperator,
            text: "Agent has been marked gone",
            since: None,
        };
        self.lose_tasks(cx, index, &loss);
        let Some(record) = self.agent(index) else { return };
        let (id, connected) = (record.id.clone(), record.standing == Standing::Connected);
        if connected {
            cx.send_to_agent(index, ToAgent::Gone);
        }
        self.drop_record(cx, index);
        self.gone.insert(id);
    }

    /// The agent has unregistered, or registered anew: what was there before is lost, for
    /// `PARTITION_AWARE` frameworks too.
    pub(super) fn remove_agent(&mut self, cx: &mut Context, index: AgentIndex, why: &str) {
        let loss = Loss {
            state: TaskState::Lost,
            reason: StatusReason::AgentRemoved,
            text: why,
            since: None,
        };
        self.lose_tasks(cx, index, &loss);
        let id = self.agent(index).map(|record| record.id.clone());
        self.drop_record(cx, index);
        if let Some(id) = id {
            self.publish(cx, || {
                serde_json::json!({
                    "type": "AGENT_REMOVED",
                    "agent_removed": { "agent_id": { "value": id.as_str() } },
                })
            });
        }
    }

    fn lose_tasks(&mut self, cx: &mut Context, index: AgentIndex, loss: &Loss<'_>) {
        for id in self.frameworks.keys().cloned().collect::<Vec<_>>() {
            let mut taken = self.take_tasks(&id, index);
            if let Some(framework) = self.frameworks.get_mut(&id) {
                taken.extend(framework.unreachable.extract_if(.., |_, task| task.agent == index));
            }
            for (task_id, task) in taken {
                if !task.latest.is_terminal() {
                    self.lose(cx, &id, (task_id, task), loss.clone());
                }
            }
        }
    }

    fn drop_record(&mut self, cx: &mut Context, index: AgentIndex) {
        self.rescind_offers(cx, index);
        self.tell_agent_failure(cx, index);
        for framework in self.frameworks.values_mut() {
            framework.filters.retain(|(agent, _), _| *agent != index);
        }
        if let Some(record) = self.agents.get_mut(index).and_then(Option::take) {
            self.agent_ids.remove(&record.id);
        }
    }
}
