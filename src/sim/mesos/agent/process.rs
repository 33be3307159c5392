//! Executors that are processes: when they are started and killed, and what is said when they
//! end. The processes themselves are run by whoever takes [`ToBody`] from the model.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Agent, Process, Stage};
use crate::mesos::v1::executor::Event;
use crate::mesos::v1::{
    ContainerStatus, ExecutorInfo, FrameworkId, StatusReason, TaskState, Variable,
};
use crate::sim::mesos::ConnId;
use crate::sim::mesos::context::{Context, ExecutorKey, Job, Overdue, ToMaster};
use crate::words::Time;

/// From the model of an agent to what runs its processes and holds its connections.
#[derive(Clone, Debug, PartialEq)]
pub enum ToBody {
    /// Fetch what the executor's command needs, and start it.
    Start(Box<Start>),
    /// End a container with SIGKILL.
    Kill {
        /// Its ID.
        container: String,
    },
    /// The agent's process has started and listens, or it has ended.
    Listen(bool),
    /// Send an event on a stream.
    Event {
        /// The stream.
        conn: ConnId,
        /// The event.
        event: Box<Event>,
    },
    /// End a stream.
    Close {
        /// The stream.
        conn: ConnId,
        /// With the chunk that ends a response; without it if the agent's process is gone.
        orderly: bool,
    },
}

/// An executor to start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Start {
    /// The ID of its container.
    pub container: String,
    /// Its sandbox.
    pub directory: String,
    /// Its description.
    pub executor: ExecutorInfo,
    /// The Unix user.
    pub user: String,
    /// All of its environment.
    pub environment: Vec<(String, String)>,
}

/// An executor that is a process.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) container: String,
    pub(super) token: String,
    pub(super) conn: Option<ConnId>,
    /// It has subscribed with the present process of the agent.
    pub(super) back: bool,
    /// It has reported on a task.
    pub(super) spoke: bool,
    /// It has to end.
    pub(super) ending: Option<Ending>,
}

/// Why an executor has to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    NotRegistered,
    NotReregistered,
    ShutDown,
}

/// What an agent knows beside its executors.
#[derive(Debug, Default)]
pub(super) struct Api {
    /// `IP:PORT`.
    pub(super) endpoint: String,
    pub(super) routes_at: Time,
    pub(super) recovered_at: Time,
    /// Frameworks that are gone, as long as something of them runs.
    pub(super) removed: BTreeSet<FrameworkId>,
    /// Executors that ended while there was no master to tell.
    pub(super) exits: Vec<Exit>,
}

#[derive(Debug)]
pub(super) struct Exit {
    container: String,
    status: i32,
    not_started: Option<String>,
}

impl Agent {
    pub(super) fn is_process(&self, key: &ExecutorKey) -> bool {
        self.executors.get(key).is_some_and(|executor| executor.live.is_some())
    }

    /// An executor that is about to start, if this agent runs it as a process.
    pub(super) fn process(
        &self,
        cx: &mut Context,
        container: &ContainerStatus,
        info: &ExecutorInfo,
    ) -> Option<Live> {
        let (Some(_), Some(_)) = (&self.processes, &info.command) else { return None };
        let id = container.container_id.as_ref()?;
        Some(Live {
            container: id.get("value")?.as_str()?.to_owned(),
            token: cx.uuid().simple().to_string(),
            conn: None,
            back: true,
            spoke: false,
            ending: None,
        })
    }

    pub(super) fn start_process(&mut self, cx: &mut Context, key: &ExecutorKey) {
        let Some(start) = self.start_of(cx, key) else { return };
        let timeout = self.processes.as_ref().map_or(0, |p| p.registration_timeout);
        let (agent, process, why) = (self.index, self.starts, Overdue::Registration);
        let container = start.container.clone();
        cx.after(timeout, Job::Overdue { agent, process, container, why });
        cx.body(self.index, ToBody::Start(Box::new(start)));
    }

    /// The environment is that of recording e01, and nothing of the agent's own.
    fn start_of(&self, cx: &Context, key: &ExecutorKey) -> Option<Start> {
        let processes = self.processes.as_ref()?;
        let executor = self.executors.get(key)?;
        let (live, info) = (executor.live.as_ref()?, executor.info.as_ref()?);
        let framework = self.frameworks.get(&key.0)?;
        let (agent, endpoint) = (self.id.as_ref()?, &self.api.endpoint);
        let directory = format!(
            "{}/slaves/{agent}/frameworks/{}/executors/{}/runs/{}",
            processes.work_dir, key.0, key.1, live.container
        );
        let mut environment: Vec<(&str, String)> = vec![
            ("LIBPROCESS_IP", self.ip.clone()),
            ("LIBPROCESS_PORT", "0".to_owned()),
            ("MESOS_AGENT_ENDPOINT", endpoint.clone()),
            ("MESOS_CHECKPOINT", u8::from(framework.checkpoint).to_string()),
            ("MESOS_DIRECTORY", directory.clone()),
            ("MESOS_EXECUTOR_ID", key.1.to_string()),
            ("MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD", duration(self.grace(key))),
            ("MESOS_FRAMEWORK_ID", key.0.to_string()),
            ("MESOS_HTTP_COMMAND_EXECUTOR", "0".to_owned()),
            ("MESOS_SANDBOX", directory.clone()),
            ("MESOS_SLAVE_ID", agent.to_string()),
            ("MESOS_SLAVE_PID", format!("slave(1)@{endpoint}")),
            ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()),
        ];
        if framework.checkpoint {
            environment.extend([
                ("MESOS_RECOVERY_TIMEOUT", duration(processes.recovery_timeout)),
                ("MESOS_SUBSCRIPTION_BACKOFF_MAX", duration(self.reregistration(cx))),
            ]);
        }
        if processes.authenticate {
            environment.push(("MESOS_EXECUTOR_AUTHENTICATION_TOKEN", live.token.clone()));
        }
        let mut environment: Vec<_> =
            environment.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let command = info.command.as_ref()?;
        for Variable { name, value, .. } in
            command.environment.iter().flat_map(|given| &given.variables)
        {
            environment.retain(|(known, _)| known != name);
            environment.push((name.clone(), value.clone().unwrap_or_default()));
        }
        environment.sort();
        Some(Start {
            container: live.container.clone(),
            directory,
            executor: info.clone(),
            user: command.user.clone().unwrap_or_else(|| framework.user.clone()),
            environment,
        })
    }

    fn grace(&self, key: &ExecutorKey) -> u64 {
        let asked = self.executors.get(key).and_then(|executor| executor.info.as_ref());
        let asked = asked.and_then(|info| info.shutdown_grace_period);
        let asked = asked.and_then(|grace| u64::try_from(grace.nanoseconds / 1_000_000).ok());
        asked.or(self.processes.as_ref().map(|p| p.shutdown_grace)).unwrap_or_default()
    }

    /// Sends an event, if the executor is there to hear it.
    pub(super) fn tell(&self, cx: &mut Context, key: &ExecutorKey, event: Event) {
        let live = self.executors.get(key).and_then(|executor| executor.live.as_ref());
        if let Some(conn) = live.and_then(|live| live.conn) {
            cx.body(self.index, ToBody::Event { conn, event: Box::new(event) });
        }
    }

    /// What waits for an executor is sent to it. Without a stream it is lost: nothing says so
    /// until the executor subscribes again.
    pub(super) fn launch_waiting(&mut self, cx: &mut Context, key: &ExecutorKey) {
        let Some(executor) = self.executors.get_mut(key) else { return };
        let over = executor.live.as_ref().is_some_and(|live| live.ending.is_some());
        for id in std::mem::take(&mut executor.waiting) {
            let task = (key.0.clone(), id);
            if over {
                let state = self.opt_in(&key.0, TaskState::Dropped);
                let reason = StatusReason::ExecutorTerminated;
                self.own_update(cx, &task, state, reason, "Executor terminating");
            } else if let Some(task) = self.tasks.get(&task) {
                self.tell(cx, key, Event::Launch(Box::new(task.info.clone())));
            }
        }
    }

    // --- ends ------------------------------------------------------------------------------------

    pub(super) fn shut_down_process(&mut self, cx: &mut Context, key: &ExecutorKey) {
        let grace = self.grace(key);
        let Some(live) = self.executors.get_mut(key).and_then(|e| e.live.as_mut()) else { return };
        live.ending.get_or_insert(Ending::ShutDown);
        let container = live.container.clone();
        let (agent, process, why) = (self.index, self.starts, Overdue::Shutdown);
        cx.after(grace, Job::Overdue { agent, process, container, why });
        self.tell(cx, key, Event::Shutdown);
    }

    pub(in crate::sim::mesos) fn overdue(
        &mut self,
        cx: &mut Context,
        process: u32,
        container: &str,
        why: Overdue,
    ) {
        let Some(key) = self.key_of(container) else { return };
        let Some(executor) = self.executors.get_mut(&key) else { return };
        let late = why == Overdue::Shutdown || executor.stage == Stage::Starting;
        if process != self.starts || !late {
            return;
        }
        if let Some(live) = &mut executor.live {
            live.ending.get_or_insert(Ending::NotRegistered);
        }
        cx.body(self.index, ToBody::Kill { container: container.to_owned() });
    }

    /// TEARDOWN: executors are told to end, and forgotten when they have.
    pub(super) fn remove_framework(&mut self, cx: &mut Context, framework: &FrameworkId) {
        self.api.removed.insert(framework.clone());
        let theirs: Vec<_> =
            self.executors.keys().filter(|key| key.0 == *framework).cloned().collect();
        for key in &theirs {
            if self.is_process(key) {
                self.shut_down_process(cx, key);
            } else {
                self.executors.remove(key);
            }
        }
        self.tidy(framework);
    }

    /// As the end of an agent's process leaves a framework that does not checkpoint: its
    /// executors run on, and nobody knows them.
    pub(super) fn forget_framework(&mut self, framework: &FrameworkId) {
        self.executors.retain(|key, _| key.0 != *framework);
        self.api.removed.insert(framework.clone());
        self.tidy(framework);
    }

    fn tidy(&mut self, framework: &FrameworkId) {
        let gone = self.api.removed.contains(framework)
            && !self.executors.keys().any(|key| key.0 == *framework);
        if gone {
            self.api.removed.remove(framework);
            self.frameworks.remove(framework);
            self.tasks.retain(|key, _| key.0 != *framework);
        }
    }

    pub(super) fn kill_all_processes(&self, cx: &mut Context) {
        for container in self.executors.values().filter_map(|e| Some(&e.live.as_ref()?.container)) {
            cx.body(self.index, ToBody::Kill { container: container.clone() });
        }
    }

    fn key_of(&self, container: &str) -> Option<ExecutorKey> {
        let is = |live: &Live| live.container == container;
        let found = self.executors.iter().find(|(_, e)| e.live.as_ref().is_some_and(is));
        found.map(|(key, _)| key.clone())
    }

    pub(in crate::sim::mesos) fn process_started(&mut self, container: &str, pid: u32) {
        let Some(key) = self.key_of(container) else { return };
        if let Some(executor) = self.executors.get_mut(&key) {
            executor.container.executor_pid = Some(pid);
        }
    }

    /// While the agent was down, all containers but these ended.
    pub(in crate::sim::mesos) fn processes_left(&mut self, alive: &[String]) {
        for executor in self.executors.values_mut() {
            if executor.live.as_ref().is_some_and(|live| !alive.contains(&live.container)) {
                executor.stage = Stage::Dead;
            }
        }
    }

    /// An end while the agent is down is found by its next process, without a FAILURE; one while
    /// it has no master is told when it has one.
    pub(in crate::sim::mesos) fn process_ended(
        &mut self,
        cx: &mut Context,
        container: &str,
        status: i32,
        not_started: Option<&str>,
    ) {
        let Some(key) = self.key_of(container) else { return };
        if self.process == Process::Down {
            if let Some(executor) = self.executors.get_mut(&key) {
                executor.stage = Stage::Dead;
            }
            return;
        }
        let not_started = not_started.map(str::to_owned);
        let exit = Exit { container: container.to_owned(), status, not_started };
        self.api.exits.push(exit);
        if self.process == Process::Registered {
            self.tell_exits(cx);
        }
    }

    /// It has ended, and the master was not told yet.
    pub(super) fn has_ended(&self, key: &ExecutorKey) -> bool {
        let live = self.executors.get(key).and_then(|executor| executor.live.as_ref());
        live.is_some_and(|live| self.api.exits.iter().any(|exit| exit.container == live.container))
    }

    /// FAILURE comes before the updates.
    pub(super) fn tell_exits(&mut self, cx: &mut Context) {
        for Exit { container, status, not_started } in std::mem::take(&mut self.api.exits) {
            let Some(key) = self.key_of(&container) else { continue };
            let live = self.executors.get(&key).and_then(|executor| executor.live.as_ref());
            let ending = live.and_then(|live| live.ending);
            if let Some(conn) = live.and_then(|live| live.conn) {
                cx.body(self.index, ToBody::Close { conn, orderly: true });
            }
            if self.api.removed.contains(&key.0) {
                self.executors.remove(&key);
                self.tidy(&key.0);
                continue;
            }
            let exited = ToMaster::Exited { executor: key.clone(), status, silent: false };
            cx.send_to_master(self.index, exited);
            let (state, reason, text) = self.last_words(cx, &key.0, ending, not_started);
            self.executor_ended_as(cx, &key, &state, &reason, &text);
        }
    }

    /// What is said of tasks that an executor leaves behind.
    fn last_words(
        &self,
        cx: &Context,
        framework: &FrameworkId,
        ending: Option<Ending>,
        not_started: Option<String>,
    ) -> (TaskState, StatusReason, String) {
        let failed = TaskState::Failed;
        match (not_started, ending) {
            (Some(why), _) => (failed, StatusReason::ContainerLaunchFailed, why),
            (None, Some(Ending::NotRegistered)) => {
                let after = self.processes.as_ref().map_or(0, |p| p.registration_timeout);
                let text = format!("Executor did not register within {}", duration(after));
                (failed, StatusReason::ExecutorRegistrationTimeout, text)
            }
            (None, Some(Ending::NotReregistered)) => {
                let after = duration(self.reregistration(cx));
                let text = format!("Executor did not reregister within {after}");
                let state = self.opt_in(framework, TaskState::Gone);
                (state, StatusReason::ExecutorReregistrationTimeout, text)
            }
            (None, Some(Ending::ShutDown) | None) => {
                (failed, StatusReason::ExecutorTerminated, "Executor terminated".to_owned())
            }
        }
    }

    // --- restarts of the agent -------------------------------------------------------------------

    /// Streams break off without a word when the agent's process ends.
    pub(super) fn abandon_processes(&mut self, cx: &mut Context) {
        if self.processes.is_none() {
            return;
        }
        cx.body(self.index, ToBody::Listen(false));
        for executor in self.executors.values_mut() {
            if let Some(conn) = executor.live.as_mut().and_then(|live| live.conn.take()) {
                cx.body(self.index, ToBody::Close { conn, orderly: false });
            }
        }
        for Exit { container, .. } in std::mem::take(&mut self.api.exits) {
            if let Some(executor) =
                self.key_of(&container).and_then(|key| self.executors.get_mut(&key))
            {
                executor.stage = Stage::Dead;
            }
        }
    }

    /// The agent's process starts. Executors that had not subscribed are killed, the others get
    /// the time to. Returns the milliseconds until it takes them back.
    pub(super) fn boot(&mut self, cx: &mut Context) -> u64 {
        let Some(processes) = &self.processes else { return 0 };
        self.api.routes_at = cx.now.plus_ms(processes.until_routes);
        let ms = processes.until_routes + processes.until_recovered;
        self.api.recovered_at = cx.now.plus_ms(ms);
        cx.body(self.index, ToBody::Listen(true));
        for executor in self.executors.values_mut() {
            let Some(live) = &mut executor.live else { continue };
            live.back = false;
            if executor.stage == Stage::Starting {
                cx.body(self.index, ToBody::Kill { container: live.container.clone() });
            }
        }
        ms
    }

    /// The time to come back is over.
    pub(super) fn kill_those_not_back(&mut self, cx: &mut Context) {
        for executor in self.executors.values_mut() {
            let Some(live) = &mut executor.live else { continue };
            if !live.back && executor.stage == Stage::Running {
                live.ending.get_or_insert(Ending::NotReregistered);
                cx.body(self.index, ToBody::Kill { container: live.container.clone() });
            }
        }
    }
}

/// As stout writes it: in the largest unit in which it is a whole number.
pub(super) fn duration(ms: u64) -> String {
    let units = [
        (604_800_000, "weeks"),
        (86_400_000, "days"),
        (3_600_000, "hrs"),
        (60_000, "mins"),
        (1_000, "secs"),
    ];
    let fits = units.into_iter().find(|(unit, _)| ms >= *unit && ms.is_multiple_of(*unit));
    let (unit, name) = fits.unwrap_or((1, "ms"));
    format!("{}{name}", ms / unit)
}
