//! Executors that are processes: when they are started and killed. The processes themselves are run by whoever takes [`ToBody`] from the model.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::ends::Exit;
use super::{Agent, Stage};
use crate::mesos::v1::executor::Event;
use crate::mesos::v1::{
    ContainerStatus, ExecutorInfo, FrameworkId, StatusReason, TaskState, Variable,
};
use crate::sim::mesos::ConnId;
use crate::sim::mesos::context::{Context, ExecutorKey, Job, Overdue};
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

    pub(super) fn tidy(&mut self, framework: &FrameworkId) {
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
