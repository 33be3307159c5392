//! The executor API of an agent: what SUBSCRIBE, UPDATE and MESSAGE do.

use super::{Agent, Process, Stage};
use crate::mesos::v1::executor::{
    Acknowledged, Call, Event, Message, Request, Subscribe, Subscribed,
};
use crate::mesos::v1::operator::AgentInfo;
use crate::mesos::v1::{Blob, Reservation, Resource, StatusReason, TaskState, TaskStatus};
use crate::sim::mesos::calls::Outcome;
use crate::sim::mesos::config::AgentConfig;
use crate::sim::mesos::context::{Context, ExecutorKey, ToMaster};
use crate::sim::mesos::{ConnId, ToBody};

/// What is answered to a call that is in order.
pub(super) enum Taken {
    /// 202.
    Accepted,
    /// 200 and a stream.
    Stream,
}

impl Agent {
    /// Until executors may come back nothing is taken; until the agent has registered again, only
    /// SUBSCRIBE is (recorded in e14 and e21b).
    pub(super) fn executor_call(
        &mut self,
        cx: &mut Context,
        config: &AgentConfig,
        conn: ConnId,
        request: Request,
    ) -> Result<Taken, Outcome> {
        let Request { framework_id, executor_id, call } = request;
        let subscribes = matches!(call, Call::Subscribe(_));
        let recovering = self.process == Process::Recovering && !subscribes;
        if cx.now < self.api.recovered_at || recovering {
            return Err(Outcome::refused(503, "Agent has not finished recovery"));
        }
        if !self.frameworks.contains_key(&framework_id) {
            return Err(Outcome::refused(400, "Framework cannot be found"));
        }
        let key = (framework_id, executor_id);
        let Some(executor) = self.executors.get(&key).filter(|e| e.live.is_some()) else {
            return Err(Outcome::refused(400, "Executor cannot be found"));
        };
        if executor.stage == Stage::Starting && !subscribes {
            return Err(Outcome::refused(403, "Executor is not subscribed"));
        }
        match call {
            Call::Subscribe(call) => {
                self.subscribe(cx, config, &key, conn, call);
                return Ok(Taken::Stream);
            }
            Call::Update(update) => self.take_update(cx, &key, update.status),
            Call::Message(Message { data }) => {
                if self.process == Process::Registered {
                    cx.send_to_master(self.index, ToMaster::Message { executor: key, data });
                }
            }
            Call::Heartbeat => {}
        }
        Ok(Taken::Accepted)
    }

    /// What the executor does not know of was lost on its way to it. One that is left with
    /// nothing to do, and never did anything, is told to end; the others get what waits for them.
    fn subscribe(
        &mut self,
        cx: &mut Context,
        config: &AgentConfig,
        key: &ExecutorKey,
        conn: ConnId,
        call: Subscribe,
    ) {
        let Some(executor) = self.executors.get_mut(key) else { return };
        let Some(live) = &mut executor.live else { return };
        if let Some(old) = live.conn.replace(conn) {
            cx.body(self.index, ToBody::Close { conn: old, orderly: true });
        }
        executor.stage = Stage::Running;
        live.back = true;
        if live.ending.is_some() {
            return self.tell(cx, key, Event::Shutdown);
        }
        let (waiting, spoke) = (executor.waiting.clone(), live.spoke);
        let lost: Vec<_> = self
            .tasks
            .iter()
            .filter(|(id, task)| {
                task.executor == *key
                    && task.latest == TaskState::Staging
                    && !waiting.contains(&id.1)
                    && !call.unacknowledged_tasks.iter().any(|known| known.task_id == id.1)
                    && !call.unacknowledged_updates.iter().any(|u| u.status.task_id == id.1)
            })
            .map(|(id, _)| id.clone())
            .collect();
        for task in lost {
            let state = self.opt_in(&key.0, TaskState::Dropped);
            let reason = StatusReason::AgentRestarted;
            self.own_update(cx, &task, state, reason, "Task launched during agent restart");
        }
        let busy = self.tasks.values().any(|t| t.executor == *key && !t.latest.is_terminal());
        if !busy && !spoke {
            return self.shut_down_process(cx, key);
        }
        if let Some(subscribed) = self.subscribed(config, key) {
            self.tell(cx, key, Event::Subscribed(Box::new(subscribed)));
        }
        for update in call.unacknowledged_updates {
            self.take_update(cx, key, update.status);
        }
        self.launch_waiting(cx, key);
    }

    fn subscribed(&self, config: &AgentConfig, key: &ExecutorKey) -> Option<Subscribed> {
        let executor = self.executors.get(key)?;
        Some(Subscribed {
            executor_info: executor.info.clone()?,
            framework_info: self.frameworks.get(&key.0)?.clone(),
            agent_info: self.agent_info(config),
            container_id: executor.container.container_id.clone(),
        })
    }

    pub(super) fn agent_info(&self, config: &AgentConfig) -> AgentInfo {
        AgentInfo {
            hostname: config.hostname.clone(),
            port: config.port,
            resources: config.resources.iter().map(own_form).collect(),
            attributes: config.attributes.clone(),
            id: self.id.clone(),
            checkpoint: None,
        }
    }

    /// Acknowledged is what is stored: an update of a task that this executor has. Anything else
    /// is passed on all the same, so a scheduler can see RUNNING after FINISHED.
    fn take_update(&mut self, cx: &mut Context, key: &ExecutorKey, mut status: TaskStatus) {
        if self.api.removed.contains(&key.0) {
            return;
        }
        status.agent_id.clone_from(&self.id);
        status.timestamp.get_or_insert(cx.timestamp());
        let task_key = (key.0.clone(), status.task_id.clone());
        let uuid = status.uuid.clone().unwrap_or_default();
        let executor = self.executors.get_mut(key);
        let container = executor.map(|executor| {
            if let Some(live) = &mut executor.live {
                live.spoke = true;
            }
            executor.container.clone()
        });
        match self.tasks.get_mut(&task_key).filter(|task| task.executor == *key) {
            Some(task) => {
                if task.seen.insert(uuid.0.clone()) {
                    status.container_status = container;
                    self.keep(cx, &task_key, status);
                }
                self.acknowledged(cx, key, &task_key.1, uuid);
            }
            None => self.keep_unknown(cx, &task_key, status),
        }
    }

    fn acknowledged(
        &self,
        cx: &mut Context,
        key: &ExecutorKey,
        task: &crate::words::TaskId,
        uuid: Blob,
    ) {
        self.tell(cx, key, Event::Acknowledged(Acknowledged { task_id: task.clone(), uuid }));
    }

    /// The executor's stream is gone; nothing follows from it.
    pub(in crate::sim::mesos) fn hung_up(&mut self, conn: ConnId) {
        for live in self.executors.values_mut().filter_map(|executor| executor.live.as_mut()) {
            if live.conn == Some(conn) {
                live.conn = None;
            }
        }
    }
}

/// A resource as an agent writes its own: reservations as a stack, none for `*`.
fn own_form(resource: &Resource) -> Resource {
    let mut resource = resource.clone();
    if let Some(role) = resource.role.take().filter(|role| role != "*") {
        let kind = Some("STATIC".to_owned());
        let rest = serde_json::Map::new();
        resource.reservations = vec![Reservation { kind, role: Some(role), rest }];
    }
    resource
}
