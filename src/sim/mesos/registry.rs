//! Agents as the master sees them: they register, and come back.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::AgentIndex;
use super::config::AgentConfig;
use super::context::{Context, Report, ReportedTask, ToAgent};
use super::master::{AgentRecord, Framework, Held, Master, Standing, TaskRecord};
use super::resources::{Pool, allocated_to};
use crate::mesos::v1::scheduler::Event;
use crate::mesos::v1::{FrameworkId, StatusReason, TaskStatus};
use crate::words::{AgentId, TaskId};

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
        self.enlist(cx, index, &id, config);
        cx.send_to_agent(index, ToAgent::Registered { id });
        self.publish_agent(cx, index);
        self.consider_now(cx, index);
    }

    fn enlist(
        &mut self,
        cx: &mut Context,
        index: AgentIndex,
        id: &AgentId,
        config: Arc<AgentConfig>,
    ) {
        let total = Pool::from_wire(&config.resources);
        let record = AgentRecord {
            id: id.clone(),
            config,
            standing: Standing::Connected,
            contact: cx.contact(),
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
        let known = self.agent(index).map(|record| record.standing);
        if known.is_none() {
            // It had unregistered, and has kept its work directory.
            self.enlist(cx, index, id, Arc::clone(config));
        }
        let before = known.unwrap_or(Standing::Recovered);
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
        record.contact = cx.contact();
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
}
