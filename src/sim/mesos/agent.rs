//! A Mesos agent: starts executors through the host, keeps their status updates until they are
//! acknowledged, and comes back after a restart with what it had checkpointed.

use std::collections::BTreeMap;

use super::AgentIndex;
use super::context::{
    Context, ExecutorKey, Job, Launch, Report, ReportedTask, TaskKey, ToAgent, ToMaster,
};
use super::updates::Updates;
use crate::mesos::v1::{
    Blob, ContainerStatus, ExecutorInfo, FrameworkId, FrameworkInfo, IpAddress, NetworkInfo,
    StatusReason, StatusSource, TaskInfo, TaskState, TaskStatus,
};
use crate::sim::wire::{FromExecutor, HostSignal, ToExecutor};
use crate::words::{AgentId, TaskId, TaskPhase};

/// How far the agent's process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Process {
    Down,
    /// It waits for its executors.
    Recovering,
    /// It looks for the master.
    Registering,
    Registered,
}

#[derive(Debug)]
pub(super) struct Agent {
    index: AgentIndex,
    ip: String,
    id: Option<AgentId>,
    process: Process,
    /// Counts the starts of the process: timers of an earlier one mean nothing.
    starts: u32,
    /// Marked gone: it never comes back.
    gone: bool,
    frameworks: BTreeMap<FrameworkId, FrameworkInfo>,
    executors: BTreeMap<ExecutorKey, Executor>,
    tasks: BTreeMap<TaskKey, Task>,
    /// Updates that the executor could not deliver because the agent was down.
    undelivered: Vec<FromExecutor>,
}

#[derive(Debug)]
struct Executor {
    /// None for a command task, which Mesos' own executor runs.
    info: Option<ExecutorInfo>,
    stage: Stage,
    /// Tasks that were not handed to it yet.
    waiting: Vec<TaskId>,
    container: ContainerStatus,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Fetched and started; nothing was handed to it.
    Starting,
    Running,
    /// It ended while the agent was down.
    Dead,
}

#[derive(Debug)]
struct Task {
    info: TaskInfo,
    executor: ExecutorKey,
    latest: TaskState,
    updates: Updates,
}

impl Agent {
    pub(super) fn new(index: AgentIndex, ip: String) -> Self {
        Self {
            index,
            ip,
            id: None,
            process: Process::Down,
            starts: 0,
            gone: false,
            frameworks: BTreeMap::new(),
            executors: BTreeMap::new(),
            tasks: BTreeMap::new(),
            undelivered: Vec::new(),
        }
    }

    /// Forgets everything, the agent ID too, as if the work directory had been removed.
    pub(super) fn forget(&mut self) {
        self.id = None;
        self.frameworks.clear();
        self.executors.clear();
        self.tasks.clear();
        self.undelivered.clear();
    }

    // --- the process and its machine ---------------------------------------------------------

    /// The process starts. With executors to wait for, it recovers first.
    pub(super) fn start(&mut self, cx: &mut Context) {
        if self.process != Process::Down || self.gone {
            return;
        }
        self.starts += 1;
        self.process = Process::Recovering;
        let wait = self.executors.values().any(|executor| executor.stage == Stage::Running);
        let ms = if wait { cx.timings.executor_reregistration } else { 0 };
        cx.after(ms, Job::Recovered { agent: self.index, process: self.starts });
        self.drop_waiting(cx);
        for update in std::mem::take(&mut self.undelivered) {
            self.from_executor(cx, update);
        }
    }

    /// The process ends. Executors go on, unless their framework does not checkpoint.
    pub(super) fn stop(&mut self, cx: &mut Context) {
        self.process = Process::Down;
        cx.cut(self.index);
        let lost: Vec<_> = self
            .frameworks
            .iter()
            .filter(|(_, info)| !info.checkpoint)
            .map(|(id, _)| id.clone())
            .collect();
        for framework in lost {
            self.shutdown_framework(cx, &framework);
        }
    }

    pub(super) fn signal(&mut self, cx: &mut Context, signal: HostSignal) {
        match signal {
            HostSignal::AgentStopped => self.stop(cx),
            HostSignal::AgentStarted => self.start(cx),
            HostSignal::MachineDown => {
                self.stop(cx);
                self.executors_died();
            }
            HostSignal::MachineUp => {
                self.executors_died();
                self.start(cx);
            }
            // The executor takes its first task with the launch; nothing waits for this.
            HostSignal::ExecutorUp => {}
        }
    }

    pub(super) fn is_down(&self) -> bool {
        self.process == Process::Down
    }

    fn executors_died(&mut self) {
        self.undelivered.clear();
        for executor in self.executors.values_mut() {
            executor.stage = Stage::Dead;
        }
    }

    /// What was on its way to an executor when the process ended is lost.
    fn drop_waiting(&mut self, cx: &mut Context) {
        let mut dropped = Vec::new();
        for (key, executor) in &mut self.executors {
            dropped.extend(executor.waiting.drain(..).map(|task| (key.0.clone(), task)));
        }
        self.executors.retain(|_, executor| executor.stage != Stage::Starting);
        for task in dropped {
            let state = self.opt_in(&task.0, TaskState::Dropped);
            let reason = StatusReason::AgentRestarted;
            self.own_update(cx, &task, state, reason, "Task launched during agent restart");
        }
    }

    /// The time to wait for executors is over: those that died meanwhile are reported, without
    /// a FAILURE, and the agent looks for its master.
    pub(super) fn recovered(&mut self, cx: &mut Context, process: u32) {
        if process != self.starts || self.process != Process::Recovering {
            return;
        }
        let dead: Vec<_> = self
            .executors
            .iter()
            .filter(|(_, executor)| executor.stage == Stage::Dead)
            .map(|(key, _)| key.clone())
            .collect();
        for key in dead {
            self.executor_ended(cx, &key);
        }
        self.process = Process::Registering;
        let ms = cx.up_to(cx.timings.registration_backoff);
        self.seek_master(cx, ms);
    }

    /// Another master leads: the agent registers with it once it has noticed.
    pub(super) fn master_changed(&mut self, cx: &mut Context) {
        if matches!(self.process, Process::Registering | Process::Registered) {
            self.process = Process::Registering;
            let ms = cx.timings.master_recovery + cx.up_to(cx.timings.detect_master);
            self.seek_master(cx, ms);
        }
    }

    fn seek_master(&mut self, cx: &mut Context, ms: u64) {
        let (process, link) = (self.starts, cx.link(self.index));
        cx.after(ms, Job::Register { agent: self.index, process, link });
    }

    pub(super) fn register(&mut self, cx: &mut Context, process: u32, link: u32) {
        let stale = process != self.starts || link != cx.link(self.index);
        if stale || self.process != Process::Registering {
            return;
        }
        let message = match &self.id {
            None => ToMaster::Register,
            Some(id) => ToMaster::Reregister { id: id.clone(), report: Box::new(self.report()) },
        };
        cx.to_master(self.index, message);
    }

    fn report(&self) -> Report {
        Report {
            frameworks: self.frameworks.values().cloned().collect(),
            executors: self
                .executors
                .iter()
                .filter_map(|(key, executor)| Some((key.0.clone(), executor.info.clone()?)))
                .collect(),
            tasks: self
                .tasks
                .iter()
                .map(|(key, task)| ReportedTask {
                    framework: key.0.clone(),
                    task: task.info.clone(),
                    told: task.updates.told().cloned(),
                    latest: task.latest.clone(),
                })
                .collect(),
        }
    }

    // --- from the master -----------------------------------------------------------------------

    pub(super) fn receive(&mut self, cx: &mut Context, message: ToAgent) {
        let answer = matches!(
            message,
            ToAgent::Registered { .. } | ToAgent::Reregistered { .. } | ToAgent::Gone
        );
        // Before the master has answered there is no connection that anything else comes on.
        let expected = if answer { Process::Registering } else { Process::Registered };
        let gone = matches!(message, ToAgent::Gone) && self.process != Process::Down;
        if self.process != expected && !gone {
            return;
        }
        match message {
            ToAgent::Registered { id } => {
                self.id = Some(id);
                self.process = Process::Registered;
            }
            ToAgent::Reregistered { missing } => self.reregistered(cx, missing),
            ToAgent::Gone => {
                self.gone = true;
                self.stop(cx);
                cx.host(self.index, ToExecutor::Shutdown);
                self.forget();
            }
            ToAgent::Run(launch) => self.run(cx, *launch),
            ToAgent::Kill(task) => self.kill(cx, &task),
            ToAgent::Acknowledge { task, uuid } => self.acknowledge(cx, &task, &uuid),
            ToAgent::Message { executor, data } => {
                if self.executors.get(&executor).is_some_and(|e| e.stage == Stage::Running) {
                    cx.host(self.index, ToExecutor::Message(data.0));
                }
            }
            ToAgent::ShutdownExecutor(executor) => {
                if self.executors.get(&executor).is_some_and(|e| e.stage == Stage::Running) {
                    cx.host(self.index, ToExecutor::Shutdown);
                }
            }
            ToAgent::ShutdownFramework(framework) => self.shutdown_framework(cx, &framework),
        }
    }

    /// The oldest unacknowledged update of each task goes out again: twice, as recorded.
    fn reregistered(&mut self, cx: &mut Context, missing: Vec<(TaskKey, bool)>) {
        self.process = Process::Registered;
        for key in self.tasks.keys().cloned().collect::<Vec<_>>() {
            self.send_first(cx, &key);
            self.send_first(cx, &key);
        }
        for ((framework, id), partition_aware) in missing {
            let state = if partition_aware { TaskState::Dropped } else { TaskState::Lost };
            let mut status = self.status(cx, &id, state);
            status.reason = Some(StatusReason::Reconciliation);
            status.message = Some("Reconciliation: task unknown to the agent".to_owned());
            let key = (framework, id);
            self.keep_unknown(cx, key.clone(), status);
            self.send_first(cx, &key);
        }
    }

    /// An update for a task that the agent never had: it lives until it is acknowledged.
    fn keep_unknown(&mut self, cx: &mut Context, key: TaskKey, status: TaskStatus) {
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
        let task = Task { info, executor, latest, updates: Updates::default() };
        self.tasks.entry(key.clone()).or_insert(task);
        self.keep(cx, &key, status);
    }

    fn run(&mut self, cx: &mut Context, launch: Launch) {
        let Launch { framework, info, task } = launch;
        let executor = (framework.clone(), Launch::executor_id(&task));
        self.frameworks.insert(framework.clone(), info);
        if !self.executors.contains_key(&executor) {
            let container = self.container(cx);
            let started = Executor {
                info: task.executor.clone(),
                stage: Stage::Starting,
                waiting: Vec::new(),
                container,
            };
            self.executors.insert(executor.clone(), started);
            let (agent, process) = (self.index, self.starts);
            let hand = Job::Hand { agent, process, executor: executor.clone() };
            cx.after(cx.timings.first_launch, hand);
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
        self.tasks.insert(key, Task { info: task, executor, latest, updates: Updates::default() });
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
    pub(super) fn hand(&mut self, cx: &mut Context, process: u32, key: &ExecutorKey) {
        if process != self.starts || self.process == Process::Down {
            return;
        }
        let Some(executor) = self.executors.get_mut(key) else { return };
        executor.stage = Stage::Running;
        for id in std::mem::take(&mut executor.waiting) {
            let Some(task) = self.tasks.get(&(key.0.clone(), id.clone())) else { continue };
            let data = task.info.data.clone().unwrap_or_default().0;
            cx.host(self.index, ToExecutor::Launch { task: id, data });
        }
    }

    fn kill(&mut self, cx: &mut Context, key: &TaskKey) {
        let Some(task) = self.tasks.get(key) else { return };
        let executor_key = task.executor.clone();
        let Some(executor) = self.executors.get_mut(&executor_key) else { return };
        let before = executor.waiting.len();
        executor.waiting.retain(|id| *id != key.1);
        if executor.waiting.len() == before {
            cx.host(self.index, ToExecutor::Kill(key.1.clone()));
            return;
        }
        let idle = executor.stage == Stage::Starting && executor.waiting.is_empty();
        let text = "Killed before delivery to the executor";
        let reason = StatusReason::TaskKilledDuringLaunch;
        self.own_update(cx, key, TaskState::Killed, reason, text);
        if idle {
            let silent = self.executors.remove(&executor_key).is_none_or(|e| e.info.is_none());
            let exited = ToMaster::Exited { executor: executor_key, status: 0, silent };
            cx.to_master(self.index, exited);
        }
    }

    fn shutdown_framework(&mut self, cx: &mut Context, framework: &FrameworkId) {
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

    // --- from the executor -----------------------------------------------------------------------

    pub(super) fn from_executor(&mut self, cx: &mut Context, message: FromExecutor) {
        if self.process == Process::Down {
            match message {
                update @ FromExecutor::Update { .. } => self.undelivered.push(update),
                FromExecutor::Message(_) => {}
                FromExecutor::Exited => self.executors_died(),
            }
            return;
        }
        match message {
            FromExecutor::Update { task, state, message, data } => {
                let found = self.tasks.iter().find(|(key, _)| key.1 == task);
                let Some((key, _)) = found else { return };
                let key = key.clone();
                let mut status = self.status(cx, &task, state_of(state));
                status.source = Some(StatusSource::Executor);
                status.message = message;
                status.data = data.map(Blob);
                self.describe(&key, &mut status, true);
                self.keep(cx, &key, status);
            }
            FromExecutor::Message(data) => {
                let running = self.executors.iter().find(|(_, e)| e.stage == Stage::Running);
                if let (Some((key, _)), Process::Registered) = (running, self.process) {
                    let message = ToMaster::Message { executor: key.clone(), data: Blob(data) };
                    cx.to_master(self.index, message);
                }
            }
            FromExecutor::Exited => self.exited(cx),
        }
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
                cx.to_master(self.index, exited);
            }
            self.executor_ended(cx, &key);
        }
    }

    /// Its tasks without a terminal update have failed.
    fn executor_ended(&mut self, cx: &mut Context, executor: &ExecutorKey) {
        self.executors.remove(executor);
        let unfinished: Vec<_> = self
            .tasks
            .iter()
            .filter(|(_, task)| task.executor == *executor && !task.latest.is_terminal())
            .map(|(key, _)| key.clone())
            .collect();
        for key in unfinished {
            let reason = StatusReason::ExecutorTerminated;
            self.own_update(cx, &key, TaskState::Failed, reason, "Executor terminated");
        }
    }

    // --- status updates --------------------------------------------------------------------------

    /// A state as a framework wants to hear it.
    fn opt_in(&self, framework: &FrameworkId, state: TaskState) -> TaskState {
        let info = self.frameworks.get(framework);
        super::opt_in(state, info.is_some_and(super::is_partition_aware))
    }

    fn status(&self, cx: &mut Context, task: &TaskId, state: TaskState) -> TaskStatus {
        let mut status = TaskStatus::new(task.clone(), state);
        status.source = Some(StatusSource::Agent);
        status.agent_id.clone_from(&self.id);
        status.timestamp = Some(cx.timestamp());
        status.uuid = Some(Blob(cx.uuid().as_bytes().to_vec()));
        status
    }

    /// Adds executor and container.
    fn describe(&self, key: &TaskKey, status: &mut TaskStatus, container: bool) {
        let Some(task) = self.tasks.get(key) else { return };
        status.executor_id = Some(task.executor.1.clone());
        if container && let Some(executor) = self.executors.get(&task.executor) {
            status.container_status = Some(executor.container.clone());
        }
    }

    fn own_update(
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
    fn keep(&mut self, cx: &mut Context, key: &TaskKey, status: TaskStatus) {
        let Some(task) = self.tasks.get_mut(key) else { return };
        if !task.latest.is_terminal() {
            task.latest = status.state.clone();
        }
        if task.updates.push(status) {
            self.send_first(cx, key);
        }
    }

    fn send_first(&mut self, cx: &mut Context, key: &TaskKey) {
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
        cx.to_master(self.index, update);
        let (agent, process) = (self.index, self.starts);
        cx.after(wait, Job::Retry { agent, process, task: key.clone(), sends, wait });
    }

    pub(super) fn retry(
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
    fn acknowledge(&mut self, cx: &mut Context, key: &TaskKey, uuid: &Blob) {
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
