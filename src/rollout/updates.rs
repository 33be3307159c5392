//! What becomes of tasks: updates, what hosts report in them, and how attempts end.

use crate::job::order::{Ending, FromHost};
use crate::mesos::v1::TaskStatus;
use crate::observed::facts::{Facts, JournalState};
use crate::observed::fleet::{Farewell, Folded};
use crate::observed::tasks::{HostTasks, Seen};
use crate::plan::progress::Unlaunched;
use crate::words::{AgentId, Attempt, HostName, TaskId, TaskKind, Time};

use super::Controller;
use super::event::{Effect, Level};
use super::host::Host;
use super::launch::kill;
use super::ledger::After;
use super::tasks::{Means, acknowledge, means, report};

/// Launches that came to nothing are repeated after this, doubling.
const CALM_MS: u64 = 1_000;
const CALM_LONGEST_MS: u64 = 300_000;
/// Observers of another release are replaced so often: each costs a transfer of our program.
const FOREIGN_EVERY_MS: u64 = 100;
/// So many in a row are told as the reason why the host waits.
const VAIN_TOLD: u32 = 2;

impl Controller {
    pub(super) fn update(&mut self, status: &TaskStatus, now: Time) {
        self.reconciliation.answered(&status.task_id);
        // Only what an agent forwards has one.
        if let (Some(agent), Some(_)) = (&status.agent_id, &status.uuid) {
            self.connected(agent, now);
        }
        let means = means(&status.state);
        let known = self.task_index.get(&status.task_id).cloned();
        if let Some((name, kind)) = known.filter(|_| self.listed) {
            self.known_task(&name, kind, status, means, now);
        } else {
            self.unknown_task(status, means, now);
        }
        if let Some(call) = acknowledge(status, None) {
            self.ledger.after(After::Call(Box::new(call)));
        }
    }

    /// A task that nobody wrote down: it is ended. One that waits to be replaced has ended.
    fn unknown_task(&mut self, status: &TaskStatus, means: Means, now: Time) {
        if self.listed && self.comes_from_later(&status.task_id) {
            self.is_restored(now);
        }
        if matches!(means, Means::Starting | Means::Running) && self.listed {
            if let Some(agent) = &status.agent_id {
                // Nothing is launched there before it has ended: it may be of the same kind.
                if let Some(host) =
                    self.agents.get(agent).and_then(|name| self.hosts.all.get_mut(name))
                {
                    host.unanswered.insert(status.task_id.clone());
                }
                self.effects.push(Effect::Call(Box::new(kill(&status.task_id, agent))));
                // Again until it answers that it has ended.
                self.reconciliation.add(status.task_id.clone(), agent.clone(), now.plus_secs(5));
            }
        } else if !matches!(means, Means::Starting | Means::Running | Means::Nothing) {
            let awaits = |host: &Host| host.unanswered.contains(&status.task_id);
            let waiting = self.hosts.all.iter().find(|(_, host)| awaits(host));
            if let Some(name) = waiting.map(|(name, _)| name.clone())
                && let Some(host) = self.hosts.touch(&name)
            {
                host.unanswered.remove(&status.task_id);
            }
            let host = status.agent_id.as_ref().and_then(|agent| self.agents.get(agent));
            if let Some(host) = host.and_then(|name| self.hosts.all.get_mut(name))
                && means != Means::Lost
            {
                host.tasks.has_ended(&status.task_id);
            }
            self.made_place(&status.task_id, now);
        }
    }

    fn known_task(
        &mut self,
        name: &HostName,
        kind: TaskKind,
        status: &TaskStatus,
        means: Means,
        now: Time,
    ) {
        let Some(host) = self.hosts.touch(name) else { return };
        host.unanswered.remove(&status.task_id);
        if host.tasks.tasks.get(&kind).is_none_or(|task| task.id != status.task_id) {
            return;
        }
        // The master knows that it ended. How, comes with the agent's own update, which is sent
        // until it is acknowledged.
        if means == Means::Ended && status.uuid.is_none() {
            return;
        }
        let elsewhere = host.record.agent.id != host.tasks.tasks[&kind].agent;
        let active = host.record.agent.condition == crate::observed::fleet::Condition::Active;
        match means {
            Means::Nothing => {}
            Means::Starting => set_seen(&mut host.tasks, kind, Seen::Starting),
            Means::Running => {
                set_seen(&mut host.tasks, kind, Seen::Running);
                (host.strikes, host.in_vain) = (0, 0);
                self.launches_again(name, now);
            }
            // The master has forgotten the agent that it ran on, and the host is back as another.
            Means::Lost if elsewhere && active => self.task_ended(name, kind, means, status, now),
            Means::Lost => {
                set_seen(&mut host.tasks, kind, Seen::Lost);
                host.unanswered.insert(status.task_id.clone());
                self.poll_soon();
            }
            Means::HostGone => {
                let agent = host.tasks.tasks[&kind].agent.clone();
                if host.record.fold_gone(&agent, now) == Folded::Changed {
                    self.note(Level::Warning, Some(name), "the master says that it is gone");
                    self.put_record(name);
                }
                self.task_ended(name, kind, means, status, now);
            }
            Means::Ended | Means::Vanished | Means::Invalid => {
                self.task_ended(name, kind, means, status, now);
            }
        }
        self.reported(name, kind, status, means, now);
    }

    /// What the host put into the status.
    fn reported(
        &mut self,
        name: &HostName,
        kind: TaskKind,
        status: &TaskStatus,
        means: Means,
        now: Time,
    ) {
        let Some(agent) = status.agent_id.clone() else { return };
        match report(status) {
            Some(FromHost::Facts { facts }) => self.facts(name, *facts, &agent, now),
            Some(FromHost::Left { .. }) => self.takes_leave(name, Farewell::Left { at: now }),
            Some(FromHost::Ended { attempt, ending, facts, .. }) => {
                self.facts(name, *facts, &agent, now);
                self.attempt_ended(name, kind, attempt, &ending, now);
            }
            Some(
                FromHost::Ask { .. }
                | FromHost::Confirm { .. }
                | FromHost::Blind { .. }
                | FromHost::Stays { .. },
            )
            | None => {
                if kind == TaskKind::Observer && status.data.is_some() {
                    self.observer_is_foreign(name, now);
                }
                if means == Means::Invalid {
                    let why = status.message.clone().unwrap_or_default();
                    self.failed(name, None, &format!("Mesos refused the task: {why}"), true, now);
                }
            }
        }
    }

    pub(super) fn facts(&mut self, name: &HostName, facts: Facts, agent: &AgentId, now: Time) {
        if !facts.is_readable() {
            return self.observer_is_foreign(name, now);
        }
        let Some(host) = self.hosts.touch(name) else { return };
        match host.record.fold_facts(facts, agent, now) {
            Folded::Changed => {
                (host.heard, host.spoke) = (now, Some(now));
                self.put_record(name);
                if self.hosts.get(name).is_some_and(|host| self.knows_more(host)) {
                    self.is_restored(now);
                }
                self.live_attempt_ended(name, now);
            }
            Folded::Same => (host.heard, host.spoke) = (now, Some(now)),
            Folded::Older => {}
        }
    }

    /// The observer reports what this release does not read, as one of another release does: it is ended, so
    /// that one of this program takes its place. Not everywhere at once: those that are left out for now
    /// say so again with the next confirmation.
    pub(super) fn observer_is_foreign(&mut self, name: &HostName, now: Time) {
        let Some(host) = self.hosts.get(name) else { return };
        let ours = Some(self.config.delivery.digest);
        let observer = host.tasks.tasks.get(&TaskKind::Observer);
        let Some(task) = observer.filter(|task| task.program != ours) else { return };
        if self.next_foreign > now {
            return;
        }
        self.next_foreign = now.plus_ms(FOREIGN_EVERY_MS);
        let call = kill(&task.id, &task.agent);
        self.effects.push(Effect::Call(Box::new(call)));
        let text = "its observer is of a release that this one does not read, and is replaced";
        self.note(Level::Info, Some(name), text);
    }

    /// An attempt without a slot has ended when the journal says so, whatever became of its task;
    /// also when the journal is about a later one, as in what a backup of etcd remembers.
    fn live_attempt_ended(&mut self, name: &HostName, now: Time) {
        let Some(host) = self.hosts.get(name) else { return };
        let journal = host.record.facts().and_then(|facts| facts.journal.clone());
        let carried = host.tasks.carrier().and_then(|(kind, task)| Some((kind, task.attempt?)));
        let (Some(journal), Some((kind, attempt))) = (journal, carried) else { return };
        let closed = journal.attempt == attempt && journal.state != JournalState::Open;
        if closed || journal.attempt > attempt {
            let ending = Ending::Journal { journal };
            self.attempt_ended(name, kind, attempt, &ending, now);
        }
    }

    fn attempt_ended(
        &mut self,
        name: &HostName,
        kind: TaskKind,
        attempt: Attempt,
        ending: &Ending,
        now: Time,
    ) {
        let Some(host) = self.hosts.touch(name) else { return };
        let Some(task) = host.tasks.tasks.get_mut(&kind) else {
            return self.judge(name, attempt, ending, now);
        };
        if task.attempt == Some(attempt) {
            task.attempt = None;
            if kind == TaskKind::Change {
                self.drop_task(name, kind, now);
            } else {
                self.put_tasks(name);
            }
        }
        self.judge(name, attempt, ending, now);
    }

    fn judge(&mut self, name: &HostName, attempt: Attempt, ending: &Ending, now: Time) {
        match ending {
            Ending::Journal { journal } if journal.attempt == attempt => {
                if let JournalState::Undone { why } = &journal.state {
                    self.failed(name, Some(attempt), why, false, now);
                } else {
                    self.succeeded(name, attempt);
                }
            }
            Ending::Journal { .. } => {}
            Ending::NotAdmitted => {
                self.calm(name, now);
            }
            Ending::NeedsSlot { component } => {
                let why = format!("{component} would have to stop something: it takes a slot");
                self.note(Level::Info, Some(name), &why);
                self.progress(name, now, |progress| {
                    progress.needs_slot = true;
                    progress.why.clone_from(&why);
                });
            }
            Ending::Refused { why } => self.unfit(name, attempt, why, now),
        }
    }

    /// A task is not any more. Its record goes; what it carried is judged by the journal.
    fn task_ended(
        &mut self,
        name: &HostName,
        kind: TaskKind,
        means: Means,
        status: &TaskStatus,
        now: Time,
    ) {
        let Some(host) = self.hosts.touch(name) else { return };
        let ran = host.tasks.tasks.get(&kind).is_some_and(|task| task.seen == Seen::Running);
        self.drop_task(name, kind, now);
        let expected = means == Means::Ended && report(status).is_some();
        if !expected {
            let text = status.message.clone().unwrap_or_default();
            self.note(Level::Info, Some(name), format!("task {kind} ended: {text}"));
            if self.calm(name, now) && !ran {
                self.launched_in_vain(name, &text, now);
            }
        }
        self.made_place(&status.task_id, now);
    }

    /// The record of a task goes. If the one whose place it was to take may still run, that one is
    /// asked after, and nothing is launched before it answers.
    pub(super) fn drop_task(&mut self, name: &HostName, kind: TaskKind, now: Time) {
        let Some(host) = self.hosts.touch(name) else { return };
        if let Some(task) = host.tasks.tasks.get(&kind) {
            self.task_index.remove(&task.id);
        }
        if let Some((old, agent)) = host.drop_task(kind) {
            self.task_index.insert(old.clone(), (name.clone(), kind));
            self.reconciliation.add(old, agent, now);
        }
        self.put_tasks(name);
    }

    /// A task has ended without ever having run. Said once it is no accident any more.
    fn launched_in_vain(&mut self, name: &HostName, text: &str, now: Time) {
        let Some(host) = self.hosts.touch(name) else { return };
        host.in_vain += 1;
        let (times, again_at) = (host.in_vain, host.calm_until);
        if times < VAIN_TOLD {
            return;
        }
        // What is in its way may be a task that nobody here knows of. Mesos does.
        self.reconciliation.ask_all(now);
        let why = format!(
            "{times} launches in a row came to nothing, the last with \"{}\"; the executor's \
             sandbox on the agent says more",
            text.trim()
        );
        self.progress(name, now, |progress| {
            progress.unlaunched = Some(Unlaunched { times, why, again_at });
        });
    }

    /// A task runs there: launches come to something.
    fn launches_again(&mut self, name: &HostName, now: Time) {
        let known = self.hosts.get(name).and_then(|host| host.progress.as_ref());
        if known.is_some_and(|progress| progress.unlaunched.is_some()) {
            self.progress(name, now, |progress| progress.unlaunched = None);
        }
    }

    /// Nothing is launched there for a while. False if that was so already: nothing was launched
    /// since, so that it is one end of several tasks.
    fn calm(&mut self, name: &HostName, now: Time) -> bool {
        let Some(host) = self.hosts.touch(name) else { return false };
        if host.calm_until > now {
            return false;
        }
        let pause = (CALM_MS << host.strikes.min(9)).min(CALM_LONGEST_MS);
        host.strikes += 1;
        host.calm_until = now.plus_ms(pause);
        let until = host.calm_until;
        self.hosts.wake(name, until);
        true
    }

    /// A launch waited for this task to end.
    fn made_place(&mut self, old: &TaskId, now: Time) {
        let waiting = self
            .launching
            .iter()
            .find(|(_, launching)| launching.launch.waits_for.contains(old))
            .map(|(name, _)| name.clone());
        let Some(name) = waiting else { return };
        if let Some(mut launching) = self.launching.remove(&name) {
            launching.launch.waits_for.remove(old);
            self.launch(launching.launch, now);
        }
    }
}

fn set_seen(tasks: &mut HostTasks, kind: TaskKind, seen: Seen) {
    if let Some(task) = tasks.tasks.get_mut(&kind) {
        // RUNNING is not taken back by a STARTING that comes late.
        if !(task.seen == Seen::Running && seen == Seen::Starting) {
            task.seen = seen;
        }
    }
}
