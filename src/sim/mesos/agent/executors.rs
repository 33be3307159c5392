//! Executors and their tasks: launches, KILL, what executors report, and their end.

use std::collections::BTreeSet;

use super::{Agent, Executor, Process, Stage, Task};
use crate::mesos::v1::executor::{Event, Kill};
use crate::mesos::v1::{
    Blob, ContainerStatus, FrameworkId, IpAddress, KillPolicy, NetworkInfo, StatusReason,
    StatusSource, TaskState, TaskStatus,
};
use crate::sim::mesos::context::{Context, ExecutorKey, Job, Launch, TaskKey, ToMaster};
use crate::sim::mesos::updates::Updates;
use crate::sim::wire::{FromExecutor, ToExecutor};
use crate::words::TaskPhase;

impl Agent {
    pub(super) fn run(&mut self, cx: &mut Context, launch: Launch) {
        self.draining = false;
        let Launch { framework, info, task } = launch;
        let executor = (framework.clone(), Launch::executor_id(&task));
        self.frameworks.insert(framework.clone(), info);
        if !self.executors.contains_key(&executor) {
            let container = self.container(cx);
            let live = task.executor.as_ref().and_then(|info| self.process(cx, &container, info));
            let hand = live.is_none();
            let started = Executor {
                info: task.executor.clone(),
                stage: Stage::Starting,
                waiting: Vec::new(),
                container,
                live,
            };
            self.executors.insert(executor.clone(), started);
            if hand {
                let (agent, process) = (self.index, self.starts);
                let hand = Job::Hand { agent, process, executor: executor.clone() };
                cx.after(cx.timings.first_launch, hand);
            } else {
                self.start_process(cx, &executor);
            }
        }
        if let Some(known) = self.executors.get_mut(&executor) {
            known.waiting.push(task.task_id.clone());
            if known.stage == Stage::Running {
                let (agent, process) = (self.index, self.starts);
                let hand = Job::Hand { agent, process, executor: executor.clone() };
                cx.after(cx.timings.next_launch, hand);
            }
        }
        let key = (framework, task.task_id.clone());
        let latest = TaskState::Staging;
        let (updates, seen) = (Updates::default(), BTreeSet::new());
        self.tasks.insert(key, Task { info: task, executor, latest, updates, seen });
    }

    fn container(&self, cx: &mut Context) -> ContainerStatus {
        let address =
            IpAddress { protocol: Some("IPv4".to_owned()), ip_address: Some(self.ip.clone()) };
        ContainerStatus {
            container_id: Some(serde_json::json!({ "value": cx.uuid().to_string() })),
            network_infos: vec![NetworkInfo { ip_addresses: vec![address], name: None }],
            executor_pid: Some(1_000 + u32::try_from(cx.up_to(30_000)).unwrap_or_default()),
        }
    }

    /// The executor has subscribed: it gets what waits for it.
    pub(in crate::sim::mesos) fn hand(
        &mut self,
        cx: &mut Context,
        process: u32,
        key: &ExecutorKey,
    ) {
        if process != self.starts || self.process == Process::Down {
            return;
        }
        let Some(executor) = self.executors.get_mut(key) else { return };
        executor.stage = Stage::Running;
        if executor.live.is_some() {
            return self.launch_waiting(cx, key);
        }
        for id in std::mem::take(&mut executor.waiting) {
            let Some(task) = self.tasks.get(&(key.0.clone(), id.clone())) else { continue };
            let data = task.info.data.clone().unwrap_or_default().0;
            cx.host(self.index, ToExecutor::Launch { task: id, data });
        }
    }

    pub(super) fn kill(&mut self, cx: &mut Context, key: &TaskKey, policy: Option<KillPolicy>) {
        let Some(task) = self.tasks.get(key) else { return };
        let executor_key = task.executor.clone();
        let Some(executor) = self.executors.get_mut(&executor_key) else { return };
        let before = executor.waiting.len();
        executor.waiting.retain(|id| *id != key.1);
        let is_process = executor.live.is_some();
        if executor.waiting.len() == before {
            if is_process {
                let kill = Kill { task_id: key.1.clone(), kill_policy: policy };
                self.tell(cx, &executor_key, Event::Kill(kill));
            } else {
                cx.host(self.index, ToExecutor::Kill(key.1.clone()));
            }
            return;
        }
        // A process that finds nothing to do is told so when it subscribes.
        let idle = executor.stage == Stage::Starting && executor.waiting.is_empty() && !is_process;
        let text = "Killed before delivery to the executor";
        let reason = StatusReason::TaskKilledDuringLaunch;
        self.own_update(cx, key, TaskState::Killed, reason, text);
        if idle {
            let silent = self.executors.remove(&executor_key).is_none_or(|e| e.info.is_none());
            let exited = ToMaster::Exited { executor: executor_key, status: 0, silent };
            cx.send_to_master(self.index, exited);
        }
    }

    pub(super) fn drain(&mut self, cx: &mut Context) {
        self.draining = true;
        for key in self.tasks.keys().cloned().collect::<Vec<_>>() {
            self.kill(cx, &key, None);
        }
    }

    pub(super) fn shutdown_framework(&mut self, cx: &mut Context, framework: &FrameworkId) {
        if self.processes.is_some() {
            return self.remove_framework(cx, framework);
        }
        let runs = self
            .executors
            .iter()
            .any(|(key, executor)| key.0 == *framework && executor.stage == Stage::Running);
        if runs {
            cx.host(self.index, ToExecutor::Shutdown);
        }
        self.frameworks.remove(framework);
        self.executors.retain(|key, _| key.0 != *framework);
        self.tasks.retain(|key, _| key.0 != *framework);
    }

    pub(in crate::sim::mesos) fn executor_says(&mut self, cx: &mut Context, message: FromExecutor) {
        if self.process == Process::Down {
            match message {
                update @ (FromExecutor::Update { .. } | FromExecutor::Status(_)) => {
                    self.undelivered.push(update);
                }
                FromExecutor::Message(_) => {}
                FromExecutor::Exited => self.executors_died(),
            }
            return;
        }
        match message {
            FromExecutor::Update { task, state, message, data } => {
                let mut said = TaskStatus::new(task, state_of(state));
                said.message = message;
                said.data = data.map(Blob);
                self.executor_reports(cx, said);
            }
            FromExecutor::Status(said) => self.executor_reports(cx, *said),
            FromExecutor::Message(data) => {
                let running = self.executors.iter().find(|(_, e)| e.stage == Stage::Running);
                if let (Some((key, _)), Process::Registered) = (running, self.process) {
                    let message = ToMaster::Message { executor: key.clone(), data: Blob(data) };
                    cx.send_to_master(self.index, message);
                }
            }
            FromExecutor::Exited => self.exited(cx),
        }
    }

    pub(in crate::sim::mesos) fn container_ends(&mut self, cx: &mut Context, said: &TaskStatus) {
        let found = self.tasks.iter().find(|(key, _)| key.1 == said.task_id);
        let Some((key, _)) = found else { return };
        let key = key.clone();
        let mut status = TaskStatus {
            reason: said.reason.clone(),
            message: said.message.clone(),
            ..self.status(cx, &said.task_id, said.state.clone())
        };
        self.describe(&key, &mut status, said.container_status.is_some());
        self.keep(cx, &key, status);
    }

    fn executor_reports(&mut self, cx: &mut Context, said: TaskStatus) {
        let found = self.tasks.iter().find(|(key, _)| key.1 == said.task_id);
        let Some((key, _)) = found else { return };
        let key = key.clone();
        let mut status = TaskStatus {
            source: Some(StatusSource::Executor),
            container_status: None,
            ..self.status(cx, &said.task_id, said.state.clone())
        };
        status.message = said.message;
        let drained = self.draining && said.state == TaskState::Killed;
        status.reason = if drained { Some(StatusReason::AgentDraining) } else { said.reason };
        status.data = said.data;
        status.healthy = said.healthy;
        status.labels = said.labels;
        self.describe(&key, &mut status, true);
        self.keep(cx, &key, status);
    }

    /// The host runs one process: with it all executors end that had started. FAILURE comes
    /// before the updates.
    fn exited(&mut self, cx: &mut Context) {
        if self.process == Process::Recovering {
            return self.executors_died();
        }
        let ended: Vec<_> = self
            .executors
            .iter()
            .filter(|(_, executor)| executor.stage == Stage::Running)
            .map(|(key, executor)| (key.clone(), executor.info.is_none()))
            .collect();
        for (key, silent) in ended {
            let orderly =
                self.tasks.values().all(|task| task.executor != key || task.latest.is_terminal());
            let status = if orderly { 0 } else { 256 };
            if self.process == Process::Registered {
                let exited = ToMaster::Exited { executor: key.clone(), status, silent };
                cx.send_to_master(self.index, exited);
            }
            self.executor_ended(cx, &key);
        }
    }

    /// Its tasks without a terminal update have failed.
    pub(super) fn executor_ended(&mut self, cx: &mut Context, executor: &ExecutorKey) {
        let reason = StatusReason::ExecutorTerminated;
        self.executor_ended_as(cx, executor, &TaskState::Failed, &reason, "Executor terminated");
    }

    pub(super) fn executor_ended_as(
        &mut self,
        cx: &mut Context,
        executor: &ExecutorKey,
        state: &TaskState,
        reason: &StatusReason,
        text: &str,
    ) {
        self.executors.remove(executor);
        let unfinished: Vec<_> = self
            .tasks
            .iter()
            .filter(|(_, task)| task.executor == *executor && !task.latest.is_terminal())
            .map(|(key, _)| key.clone())
            .collect();
        for key in unfinished {
            self.own_update(cx, &key, state.clone(), reason.clone(), text);
        }
    }
}

fn state_of(phase: TaskPhase) -> TaskState {
    match phase {
        TaskPhase::Starting => TaskState::Starting,
        TaskPhase::Running => TaskState::Running,
        TaskPhase::Finished => TaskState::Finished,
        TaskPhase::Failed => TaskState::Failed,
        TaskPhase::Killed => TaskState::Killed,
    }
}
