//! Agents as the master sees them: they register, break off, become unreachable, come back, or
//! are gone for good.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::config::AgentConfig;
use super::context::{Context, Job, Report, ReportedTask, ToAgent};
use super::master::{AgentRecord, Framework, Held, Master, Standing, TaskRecord};
use super::resources::{Pool, allocated_to};
use super::{AgentIndex, tasks};
use crate::mesos::v1::scheduler::{Event, Failure};
use crate::mesos::v1::{FrameworkId, StatusReason, TaskState, TaskStatus};
use crate::words::{AgentId, TaskId, Time};

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
    /// An agent without an ID: it gets a new one. If one of an earlier life is still known, its
    /// tasks are lost.
    pub(super) fn register(
        &mut self,
        cx: &mut Context,
        index: AgentIndex,
        config: Arc<AgentConfig>,
    ) {
        if self.agent(index).is_some() {
            self.remove_agent(cx, index, "Agent re-registered with a new agent ID");
        }
        let id = AgentId(format!("{}-S{}", self.id, self.next_agent));
        self.next_agent += 1;
        let total = Pool::from_wire(&config.resources);
        let record = AgentRecord {
            id: id.clone(),
            config,
            standing: Standing::Connected,
            contact: 0,
            registered: cx.now,
            reregistered: None,
            free: total.clone(),
            total,
            last_offered: None,
            used: std::collections::BTreeMap::new(),
            executors: std::collections::BTreeMap::new(),
            kills: Vec::new(),
            deactivated: false,
            drain: None,
        };
        if self.agents.len() <= index {
            self.agents.resize_with(index + 1, || None);
        }
        self.agents[index] = Some(record);
        self.agent_ids.insert(id.clone(), index);
        cx.send_to_agent(index, ToAgent::Registered { id });
        self.publish_agent(cx, index);
        self.consider_now(cx, index);
    }

    /// An agent that comes back with its ID.
    pub(super) fn reregister(
        &mut self,
        cx: &mut Context,
        index: AgentIndex,
        config: &Arc<AgentConfig>,
        id: &AgentId,
        report: Report,
    ) {
        if self.gone.contains(id) {
            return cx.send_to_agent(index, ToAgent::Gone);
        }
        let Some(before) = self.agent(index).map(|record| record.standing) else { return };
        // The master may not have noticed that it was away.
        self.rescind_offers(cx, index);
        if let Some(record) = self.agent_mut(index)
            && !Arc::ptr_eq(&record.config, config)
        {
            record.config = Arc::clone(config);
            record.total = Pool::from_wire(&config.resources);
        }
        let missing = self.missing(index, &report);
        self.rebuild(cx, index, report, before);
        if let Standing::Unreachable(_) = before {
            for framework in self.frameworks.values_mut() {
                framework.filters.retain(|(agent, _), _| *agent != index);
            }
        }
        let now = cx.now;
        let Some(record) = self.agent_mut(index) else { return };
        record.standing = Standing::Connected;
        record.contact += 1;
        record.reregistered = Some(now);
        if let Standing::Unreachable(_) | Standing::Recovered = before {
            record.registered = now;
        }
        let kills = std::mem::take(&mut record.kills);
        cx.send_to_agent(index, ToAgent::Reregistered { missing });
        for (task, policy) in kills {
            cx.send_to_agent(index, ToAgent::Kill(task, policy));
        }
        // One that was only disconnected is activated in the allocator, and waits for its turn.
        if before == Standing::Disconnected {
            self.consider(cx, index);
        } else {
            self.consider_now(cx, index);
        }
        if matches!(before, Standing::Unreachable(_) | Standing::Recovered) {
            self.publish_agent(cx, index);
        }
    }

    /// What the master thinks runs on the agent and the agent did not report.
    fn missing(&self, index: AgentIndex, report: &Report) -> Vec<(super::context::TaskKey, bool)> {
        let reported: BTreeSet<(&FrameworkId, &TaskId)> =
            report.tasks.iter().map(|task| (&task.framework, &task.task.task_id)).collect();
        let mut missing = Vec::new();
        for (id, framework) in &self.frameworks {
            let known = framework.tasks.of_agent(index);
            let unreported = known.filter(|task| !reported.contains(&(id, *task)));
            let aware = framework.is_partition_aware();
            missing.extend(unreported.map(|task| ((id.clone(), task.clone()), aware)));
        }
        missing
    }

    /// Puts together from a report what the agent has, and what of it is free.
    fn rebuild(&mut self, cx: &mut Context, index: AgentIndex, report: Report, before: Standing) {
        let Report { frameworks, executors, tasks } = report;
        for info in frameworks {
            let Some(id) = info.id.clone() else { continue };
            if !self.was_removed(&id) {
                let now = cx.now;
                self.frameworks.entry(id).or_insert_with(|| Framework::new(info, now));
            }
        }
        let Some(record) = self.agent_mut(index) else { return };
        record.free = record.total.clone();
        record.used.clear();
        record.executors.clear();
        for (framework, info) in executors {
            let resources = Pool::from_wire(&info.resources);
            let role = allocated_to(&info.resources);
            record.free.subtract(&resources);
            record.occupy(&role, &resources);
            let held = Held { info, resources, role };
            record.executors.insert((framework, held.info.executor_id.clone()), held);
        }
        let reported: BTreeSet<_> =
            tasks.iter().map(|task| (task.framework.clone(), task.task.task_id.clone())).collect();
        for reported in tasks {
            self.restore(cx, index, reported, before);
        }
        // Until the agent says that it does not have them, they hold what they were given.
        let missing: Vec<Pool> = self
            .frameworks
            .iter()
            .flat_map(|(id, framework)| {
                let known = framework.tasks.of_agent(index);
                let kept = known.filter(|task| !reported.contains(&(id.clone(), (*task).clone())));
                kept.filter_map(|task| framework.tasks.get(task))
            })
            .filter(|record| !record.latest.is_terminal())
            .map(|record| record.resources.clone())
            .collect();
        if let Some(record) = self.agent_mut(index) {
            for resources in &missing {
                record.free.subtract(resources);
            }
        }
    }

    /// Enters a reported task. One that was unreachable is announced with its real state.
    fn restore(
        &mut self,
        cx: &mut Context,
        index: AgentIndex,
        reported: ReportedTask,
        before: Standing,
    ) {
        let ReportedTask { framework: id, task, told, latest } = reported;
        let Some(framework) = self.frameworks.get_mut(&id) else {
            return cx.send_to_agent(index, ToAgent::ShutdownFramework(id));
        };
        let was_unreachable = framework.unreachable.remove(&task.task_id).is_some();
        let known = framework.tasks.get(&task.task_id);
        let added = known.is_none();
        let (known, statuses) = known
            .map(|record| (record.status.clone(), record.statuses.clone()))
            .unwrap_or_default();
        let told = told.map(|status| TaskStatus { data: None, ..status });
        let statuses = if statuses.is_empty() { told.iter().cloned().collect() } else { statuses };
        let record = TaskRecord {
            agent: index,
            executor: task.executor.as_ref().map(|executor| executor.executor_id.clone()),
            resources: Pool::from_wire(&task.resources),
            role: allocated_to(&task.resources),
            status: told.or(known),
            statuses,
            latest,
            info: Arc::new(task),
        };
        let task = Arc::clone(&record.info);
        framework.tasks.insert(task.task_id.clone(), record.clone());
        if !record.latest.is_terminal()
            && let Some(agent) = self.agent_mut(index)
        {
            agent.free.subtract(&record.resources);
            agent.occupy(&record.role, &record.resources);
        }
        if added {
            self.publish_task(cx, &id, &record);
        }
        if was_unreachable && matches!(before, Standing::Unreachable(_)) {
            let reason = StatusReason::AgentReregistered;
            // Mesos' own words.
            let text = "Unreachable agent re-reregistered";
            let status = self.known(cx, &id, &task.task_id, &record, reason, text);
            self.tell(cx, &id, Event::Update(status));
        }
    }

    /// The socket to the agent's process has broken.
    pub(super) fn link_broken(&mut self, cx: &mut Context, index: AgentIndex, contact: u32) {
        let Some(record) = self.agent_mut(index) else { return };
        if record.contact != contact || record.standing != Standing::Connected {
            return;
        }
        record.standing = Standing::Disconnected;
        record.contact += 1;
        let contact = record.contact;
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
    pub(super) fn answers_pings(&mut self, index: AgentIndex) -> Option<u32> {
        let record = self.agent_mut(index)?;
        if record.standing != Standing::Disconnected {
            return None;
        }
        record.contact += 1;
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
        record.contact += 1;
        cx.cut(index);
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
