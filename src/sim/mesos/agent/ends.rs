//! Ends of executors that are processes, and of the agent's own: what is said of them, and who comes
//! back.

use super::process::{Ending, Live, ToBody, duration};
use super::{Agent, Process, Stage};
use crate::mesos::v1::{FrameworkId, StatusReason, TaskState};
use crate::sim::mesos::context::{Context, ExecutorKey, ToMaster};

#[derive(Debug)]
pub(super) struct Exit {
    container: String,
    status: i32,
    not_started: Option<String>,
}

impl Agent {
    pub(super) fn key_of(&self, container: &str) -> Option<ExecutorKey> {
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
