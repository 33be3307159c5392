//! A Mesos agent: starts executors through the host, keeps their status updates until they are
//! acknowledged, and comes back after a restart with what it had checkpointed.

mod api;
mod decode;
mod ends;
mod executors;
mod operator;
mod process;
mod requests;
mod statuses;

use std::collections::{BTreeMap, BTreeSet};

use super::AgentIndex;
use super::config::{AgentConfig, Processes};
use super::context::{Context, ExecutorKey, Job, Report, ReportedTask, TaskKey, ToAgent, ToMaster};
use super::updates::Updates;
use crate::mesos::v1::executor::{Event, Message};
use crate::mesos::v1::{
    ContainerStatus, ExecutorInfo, FrameworkId, FrameworkInfo, StatusReason, TaskInfo, TaskState,
};
use crate::sim::wire::{FromExecutor, HostSignal, ToExecutor};
use crate::words::{AgentId, TaskId};
use process::Live;
pub use process::{Start, ToBody};
pub use requests::{AgentAnswer, AgentRequest};

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
    /// It hangs: nothing that reaches it is looked at.
    frozen: bool,
    /// Its tasks are killed for draining.
    draining: bool,
    frameworks: BTreeMap<FrameworkId, FrameworkInfo>,
    executors: BTreeMap<ExecutorKey, Executor>,
    tasks: BTreeMap<TaskKey, Task>,
    /// Updates that the executor could not deliver because the agent was down.
    undelivered: Vec<FromExecutor>,
    /// If executors are processes: how they are run, and what only concerns those.
    processes: Option<Processes>,
    api: process::Api,
}

#[derive(Debug)]
struct Executor {
    /// None for a command task, which Mesos' own executor runs.
    info: Option<ExecutorInfo>,
    stage: Stage,
    /// Tasks that were not handed to it yet.
    waiting: Vec<TaskId>,
    container: ContainerStatus,
    /// If it is a process of its own.
    live: Option<Live>,
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
    /// The UUIDs of updates that came over the executor API: what comes again is known by them.
    seen: BTreeSet<Vec<u8>>,
}

impl Agent {
    pub(super) fn new(index: AgentIndex, config: &AgentConfig) -> Self {
        let (ip, processes) = (config.ip.to_string(), config.processes.clone());
        let endpoint = format!("{ip}:{}", config.port);
        Self {
            index,
            ip,
            id: None,
            process: Process::Down,
            starts: 0,
            gone: false,
            frozen: false,
            draining: false,
            frameworks: BTreeMap::new(),
            executors: BTreeMap::new(),
            tasks: BTreeMap::new(),
            undelivered: Vec::new(),
            processes,
            api: process::Api { endpoint, ..process::Api::default() },
        }
    }

    /// Its operator has set it up otherwise; nobody knows before it has registered again.
    pub(super) fn configure(&mut self, config: &AgentConfig) {
        self.ip = config.ip.to_string();
        self.api.endpoint = format!("{}:{}", config.ip, config.port);
        self.processes.clone_from(&config.processes);
    }

    /// How long it waits for its executors, in milliseconds.
    fn reregistration(&self, cx: &Context) -> u64 {
        let own = self.processes.as_ref().and_then(|processes| processes.reregistration_timeout);
        own.unwrap_or(cx.timings.executor_reregistration)
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
        let ms = if wait { self.reregistration(cx) } else { 0 } + self.boot(cx);
        cx.after(ms, Job::Recovered { agent: self.index, process: self.starts });
        self.drop_waiting(cx);
        for update in std::mem::take(&mut self.undelivered) {
            self.executor_says(cx, update);
        }
    }

    /// The process ends. Executors go on, unless their framework does not checkpoint.
    pub(super) fn stop(&mut self, cx: &mut Context) {
        self.process = Process::Down;
        self.frozen = false;
        cx.cut(self.index);
        self.abandon_processes(cx);
        let lost: Vec<_> = self
            .frameworks
            .iter()
            .filter(|(_, info)| !info.checkpoint)
            .map(|(id, _)| id.clone())
            .collect();
        for framework in lost {
            if self.processes.is_some() {
                self.forget_framework(&framework);
            } else {
                self.shutdown_framework(cx, &framework);
            }
        }
    }

    /// Ends everything, in order, and keeps the ID for the next start.
    pub(super) fn unregister(&mut self, cx: &mut Context) {
        for framework in self.frameworks.keys().cloned().collect::<Vec<_>>() {
            self.shutdown_framework(cx, &framework);
        }
        self.stop(cx);
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

    /// The process hangs, until it is ended.
    pub(super) fn freeze(&mut self) {
        self.frozen = true;
    }

    /// Whether it waits for an acknowledgement, and can say again what for.
    pub(super) fn has_unacknowledged(&self) -> bool {
        let waits = |task: &Task| !task.updates.is_empty();
        self.process == Process::Registered && self.tasks.values().any(waits)
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
        self.kill_those_not_back(cx);
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

    /// The master has given it up while it was on its way to register: it goes on trying.
    pub(super) fn given_up(&mut self, cx: &mut Context) {
        if self.process == Process::Registering {
            let ms = cx.up_to(cx.timings.registration_backoff);
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
        cx.send_to_master(self.index, message);
    }

    fn report(&self) -> Report {
        Report {
            frameworks: self
                .frameworks
                .iter()
                .filter(|(id, _)| !self.api.removed.contains(*id))
                .map(|(_, info)| info.clone())
                .collect(),
            executors: self
                .executors
                .iter()
                .filter(|(key, _)| !self.api.removed.contains(&key.0) && !self.has_ended(key))
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
        if self.frozen || (self.process != expected && !gone) {
            return;
        }
        match message {
            ToAgent::Registered { id } => {
                self.id = Some(id);
                self.process = Process::Registered;
            }
            ToAgent::Reregistered { missing } => self.reregistered(cx, missing),
            ToAgent::Subscribed(framework) => {
                if self.frameworks.contains_key(&framework) {
                    self.resume_updates(cx);
                }
            }
            ToAgent::Gone => {
                self.gone = true;
                self.stop(cx);
                self.kill_all_processes(cx);
                cx.host(self.index, ToExecutor::Shutdown);
                self.forget();
            }
            ToAgent::Run(launch) => self.run(cx, *launch),
            ToAgent::Kill(task, policy) => self.kill(cx, &task, policy),
            ToAgent::Drain => self.drain(cx),
            ToAgent::Acknowledge { task, uuid } => self.acknowledge(cx, &task, &uuid),
            ToAgent::Message { executor, data } => {
                if self.is_process(&executor) {
                    self.tell(cx, &executor, Event::Message(Message { data }));
                } else if self.executors.get(&executor).is_some_and(|e| e.stage == Stage::Running) {
                    cx.host(self.index, ToExecutor::Message(data.0));
                }
            }
            ToAgent::ShutdownExecutor(executor) => {
                if self.is_process(&executor) {
                    self.shut_down_process(cx, &executor);
                } else if self.executors.get(&executor).is_some_and(|e| e.stage == Stage::Running) {
                    cx.host(self.index, ToExecutor::Shutdown);
                }
            }
            ToAgent::ShutdownFramework(framework) => self.shutdown_framework(cx, &framework),
        }
    }

    /// The oldest unacknowledged update of each task goes out again: twice, as recorded.
    fn reregistered(&mut self, cx: &mut Context, missing: Vec<(TaskKey, bool)>) {
        self.process = Process::Registered;
        self.resume_updates(cx);
        self.resume_updates(cx);
        for ((framework, id), partition_aware) in missing {
            let state = if partition_aware { TaskState::Dropped } else { TaskState::Lost };
            let mut status = self.status(cx, &id, state);
            status.reason = Some(StatusReason::Reconciliation);
            status.message = Some("Reconciliation: task unknown to the agent".to_owned());
            let key = (framework, id);
            self.keep_unknown(cx, &key, status);
            self.send_first(cx, &key);
        }
        self.tell_exits(cx);
    }
}
