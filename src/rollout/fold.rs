//! Events, each put to where it belongs.

use std::collections::BTreeMap;

use crate::budget::slot::{Guard, Slot, admit};
use crate::job::order::{Ending, FromHost};
use crate::mesos::v1::scheduler::Event as MesosEvent;
use crate::mesos::v1::scheduler::Message;
use crate::mesos::v1::{FrameworkId, Offer, TaskStatus};
use crate::observed::facts::{Facts, JournalState};
use crate::observed::fleet::{AgentSeen, Folded, HostRecord};
use crate::observed::tasks::{HostTasks, Seen};
use crate::plan::assess::HostProgress;
use crate::store::keys::Key;
use crate::store::txn::{Change, Entry, Outcome, Snapshot, StoreEvent};
use crate::words::{AgentId, Attempt, Generation, HostName, Revision, Run, TaskId, TaskKind, Time};

use super::desire::document_name;
use super::event::{Effect, Event, Level, TxnId};
use super::host::{Host, Hosts};
use super::launch::kill;
use super::ledger::{After, InFlight};
use super::records::{
    Accepted, FrameworkRecord, RECORDS_VERSION, RolloutState, from_json, to_json,
};
use super::slots::{Admission, Batch, denied};
use super::tasks::{Means, acknowledge, means, report};
use super::{Controller, Session};

/// Launches that came to nothing are repeated after this, doubling.
const CALM_MS: u64 = 1_000;
const CALM_LONGEST_MS: u64 = 60_000;

impl Controller {
    pub(super) fn fold(&mut self, event: Event, now: Time) {
        match event {
            Event::Leading { created } => {
                self.leading = Some(created);
                self.listed = false;
                self.effects.push(Effect::Relist);
            }
            Event::Deposed => self.deposed(),
            Event::Store(StoreEvent::Listed(snapshot)) => self.listed(&snapshot, now),
            Event::Store(StoreEvent::Changed { changes, .. }) => {
                for change in changes {
                    self.stored(&change, now);
                }
            }
            Event::Store(StoreEvent::Lost { .. }) => {}
            Event::TxnDone { id, outcome } => self.answered(id, outcome, now),
            Event::TxnUnknown { id } => {
                // It may have been carried out: only a new listing can tell.
                if self.ledger.answered(id).is_some() {
                    self.relist();
                }
            }
            Event::Mesos(event) => self.mesos(event, now),
            Event::Disconnected => {
                self.session = Session::Off;
                self.offers.reset(self.offers.suppressed());
                self.launching.clear();
            }
            Event::Agents(agents) => self.agents(&agents, now),
        }
    }

    fn deposed(&mut self) {
        if self.leading.take().is_none() {
            return;
        }
        self.listed = false;
        if self.session != Session::Off {
            self.effects.push(Effect::Unsubscribe);
        }
        self.session = Session::Off;
        self.offers.reset(self.offers.suppressed());
        self.launching.clear();
        self.note(Level::Warning, None, "this process does not lead any more; it stands by");
    }

    pub(super) fn relist(&mut self) {
        if self.listed {
            self.listed = false;
            self.effects.push(Effect::Relist);
        }
    }

    // --- the store -------------------------------------------------------------------------

    /// Everything that is stored, at one revision. What this process knew of the hosts beside
    /// that (what it heard from Mesos) is kept.
    fn listed(&mut self, snapshot: &Snapshot, now: Time) {
        let Some(created) = self.leading else {
            return;
        };
        if snapshot.get(&Key::Leader).is_none_or(|leader| leader.create_revision != created) {
            self.effects.push(Effect::Resign);
            self.deposed();
            return;
        }
        self.ledger.reset(created);
        self.launching.clear();
        self.broken = None;
        self.next_history = 0;
        let mut loaded = Loaded::default();
        for entry in &snapshot.entries {
            if let Err(broken) = loaded.add(entry) {
                self.broken = Some(broken);
            }
        }
        let cluster = snapshot.cluster_id.to_string();
        self.check_guard(&mut loaded, &cluster);
        self.framework = loaded.framework.take();
        self.framework_saved = self.framework.is_some();
        self.next_history = loaded.next_history;
        self.guard = Some(loaded.guard.take().unwrap_or((Guard::new(cluster), Revision(0))));
        self.state = loaded.state.take();
        if let Some((generation, accepted)) = loaded.accepted.take() {
            if self.desire.generation() != generation || self.desire.accepted.is_none() {
                self.desire.restore(generation, &accepted);
            }
        }
        self.desire.replace(std::mem::take(&mut loaded.documents), snapshot.revision, now);
        self.load_hosts(loaded, now);
        self.listed = true;
        if self.session != Session::Off {
            self.reconcile_all(now);
        }
    }

    /// A store that went back in time, or another one: what it says about slots is not true.
    fn check_guard(&mut self, loaded: &mut Loaded, cluster: &str) {
        let Some((guard, _)) = &loaded.guard else { return };
        let newest = loaded
            .hosts
            .values()
            .filter_map(|record| Some(record.reported.as_ref()?.facts.journal.as_ref()?.attempt));
        let ahead = newest.max().is_some_and(|attempt| attempt > guard.attempt);
        if guard.cluster != *cluster || ahead {
            self.broken = Some(
                "store-restored: etcd is not the one that the slots were written to, or went back \
                 to a backup; check that no host is in a restart, then delete `slots/guard`"
                    .to_owned(),
            );
        }
        let held = u32::try_from(loaded.slots.len()).unwrap_or(u32::MAX);
        if guard.held != held {
            self.broken = Some(format!(
                "the guard counts {} slots and there are {held}; somebody wrote to `slots/` by \
                 hand: put `held` of `slots/guard` right",
                guard.held
            ));
        }
    }

    fn load_hosts(&mut self, loaded: Loaded, now: Time) {
        let mut before = std::mem::take(&mut self.hosts).all;
        let mut hosts = Hosts::default();
        self.task_index.clear();
        self.agents.clear();
        for (name, record) in loaded.hosts {
            let mut host = Host::new(record, now);
            if let Some(known) = before.remove(&name) {
                host.heard = known.heard;
                host.tasks = known.tasks;
            }
            let mut tasks = loaded.tasks.get(&name).cloned().unwrap_or_default();
            for (kind, task) in &mut tasks.tasks {
                let known = host.tasks.tasks.get(kind).filter(|known| known.id == task.id);
                task.seen = known.map_or(Seen::Nothing, |known| known.seen);
                self.task_index.insert(task.id.clone(), (name.clone(), *kind));
            }
            host.tasks = tasks;
            host.slot = loaded.slots.get(&name).cloned();
            host.progress = loaded.progress.get(&name).cloned();
            self.agents.insert(host.record.agent.id.clone(), name.clone());
            hosts.insert(name, host);
        }
        self.hosts = hosts;
        self.resolve_all();
    }

    /// A change that the watch tells. Most are our own writes.
    fn stored(&mut self, change: &Change, now: Time) {
        if !self.listed {
            return;
        }
        if document_name(change.key()).is_some() {
            let text = match change {
                Change::Put(entry) => Some(entry.value.as_str()),
                Change::Deleted { .. } => None,
            };
            self.desire.fold(change.key(), text, change.revision(), now);
            return;
        }
        let foreign = match change.key() {
            Key::SlotGuard => {
                self.guard.as_ref().is_some_and(|(_, known)| *known < change.revision())
                    && self.ledger.guarded().is_none()
            }
            Key::Slot(host) => {
                let known = self.hosts.get(host).and_then(|host| host.slot.as_ref());
                let ours = self.ledger.guarded().is_some()
                    || self.ledger.admissions().any(|admission| admission.host == *host);
                let gone = matches!(change, Change::Deleted { .. });
                !ours
                    && if gone {
                        known.is_some_and(|(_, known)| *known < change.revision())
                    } else {
                        known.is_none_or(|(_, known)| *known < change.revision())
                            && self.guard.as_ref().is_some_and(|(_, at)| *at < change.revision())
                    }
            }
            _ => false,
        };
        if foreign {
            self.note(Level::Warning, None, "somebody wrote to `slots/`; everything is read again");
            self.relist();
        }
    }

    fn answered(&mut self, id: TxnId, outcome: Outcome, now: Time) {
        let Some(flight) = self.ledger.answered(id) else { return };
        let Outcome::Committed(revision) = outcome else {
            // Somebody else leads, or somebody wrote to slots by hand: the listing tells which.
            self.relist();
            return;
        };
        match flight {
            InFlight::Plain(after) => {
                for after in after {
                    self.carry_out(after, now);
                }
            }
            InFlight::Guarded(batch) => self.batch_committed(*batch, revision, now),
            InFlight::Admission(admission) => {
                self.effects.push(Effect::Call(Box::new(admission.answer())));
                self.admitted(&admission, revision);
            }
        }
    }

    fn carry_out(&mut self, after: After, now: Time) {
        match after {
            After::Call(call) => self.effects.push(Effect::Call(call)),
            After::Launch(launch) => self.launch(*launch, now),
            After::FrameworkSaved => self.framework_saved = true,
        }
    }

    fn admitted(&mut self, admission: &Admission, revision: Revision) {
        if let Some(host) = self.hosts.touch(&admission.host) {
            host.slot = Some((admission.slot.clone(), revision));
        }
        let text = format!("admitted for attempt {}", admission.slot.attempt);
        self.note(Level::Info, Some(&admission.host), text);
    }

    fn batch_committed(&mut self, batch: Batch, revision: Revision, now: Time) {
        self.guard = Some((batch.guard, revision));
        for (name, slot) in batch.slots {
            let Some(host) = self.hosts.touch(&name) else { continue };
            if let (Some((held, _)), None) = (&host.slot, &slot) {
                self.holds.count += 1;
                self.holds.total_ms += now.since(held.since);
            }
            host.slot = slot.map(|slot| (slot, revision));
        }
        for launch in batch.launches {
            self.launch(launch, now);
        }
    }

    // --- Mesos -----------------------------------------------------------------------------

    fn mesos(&mut self, event: MesosEvent, now: Time) {
        if self.leading.is_none() {
            return;
        }
        match event {
            MesosEvent::Subscribed(subscribed) => self.subscribed(subscribed.framework_id, now),
            MesosEvent::Offers(offers) => {
                for offer in offers {
                    self.offered(offer);
                }
            }
            MesosEvent::Rescind(id) => {
                self.offers.remove(&id);
            }
            MesosEvent::Update(status) => self.update(&status, now),
            MesosEvent::Message(message) => self.message(&message, now),
            MesosEvent::Failure(failure) if failure.executor_id.is_none() => {
                self.next_poll = Some(now);
            }
            _ => {}
        }
    }

    fn subscribed(&mut self, id: FrameworkId, now: Time) {
        self.session = Session::Open;
        self.offers.reset(self.offers.suppressed());
        self.launching.clear();
        self.next_poll = Some(now);
        self.agents_known = false;
        if self.framework.as_ref() != Some(&id) || !self.framework_saved {
            let record = FrameworkRecord { version: RECORDS_VERSION, id: id.0.clone() };
            self.ledger.put(Key::FrameworkId, to_json(&record));
            self.ledger.after(After::FrameworkSaved);
            self.framework_saved = false;
        }
        self.framework = Some(id);
        self.reconcile_all(now);
    }

    pub(super) fn reconcile_all(&mut self, now: Time) {
        let mut all = Vec::new();
        for host in self.hosts.all.values_mut() {
            host.unanswered = host.tasks.tasks.values().map(|task| task.id.clone()).collect();
            for task in host.tasks.tasks.values() {
                all.push((task.id.clone(), task.agent.clone()));
                if let Some(replaced) = &task.replaces {
                    all.push((replaced.clone(), task.agent.clone()));
                }
            }
        }
        self.reconciliation.start(all.into_iter(), now);
    }

    fn offered(&mut self, offer: Offer) {
        let host = HostName(offer.hostname.clone());
        if self.hosts.get(&host).is_none_or(|known| known.record.agent.id != offer.agent_id) {
            // An agent that is not on the list yet.
            self.next_poll = Some(Time(0));
        }
        self.offers.add(host, offer);
    }

    fn message(&mut self, message: &Message, now: Time) {
        let Ok(from) = serde_json::from_slice::<FromHost>(&message.data.0) else { return };
        match from {
            FromHost::Ask { host, attempt, run, .. } => self.asked(&host, attempt, run, message),
            FromHost::Confirm { host, order, .. } => {
                let current = self.hosts.get(&host).and_then(|host| host.record.facts());
                if current.is_some_and(|facts| facts.order == order) {
                    if let Some(host) = self.hosts.all.get_mut(&host) {
                        host.heard = now;
                    }
                }
            }
            FromHost::Facts { .. } | FromHost::Ended { .. } => {}
        }
    }

    /// A host asks whether it may disrupt. Only a committed record is a yes.
    fn asked(&mut self, name: &HostName, attempt: Attempt, run: Run, message: &Message) {
        let Some(host) = self.hosts.get(name) else { return };
        let ours = |task: &crate::observed::tasks::TaskRecord| task.agent == message.agent_id;
        if !self.listed || !host.tasks.carrier().is_some_and(|(_, task)| ours(task)) {
            return;
        }
        let busy = self.ledger.guarded().is_some_and(|batch| batch.slots.contains_key(name))
            || self.ledger.admissions().any(|admission| admission.host == *name);
        // Never while a task of ours is on its way there: an agent that restarts would lose it.
        let staging = host.tasks.tasks.values().any(|task| task.seen == Seen::Nothing);
        if busy || staging {
            return;
        }
        let (agent, executor) = (message.agent_id.clone(), message.executor_id.clone());
        let admitted = host.slot.as_ref().map(|(slot, at)| (admit(slot, attempt, &run), slot, *at));
        match admitted {
            Some((Ok(next), slot, at)) => {
                let admission =
                    Admission { host: name.clone(), agent, executor, slot: next.clone(), run };
                if next == *slot {
                    // Asked again: the answer was lost.
                    self.effects.push(Effect::Call(Box::new(admission.answer())));
                    return;
                }
                let txn = self
                    .ledger
                    .fenced()
                    .if_at(Key::Slot(name.clone()), at)
                    .put(Key::Slot(name.clone()), to_json(&next));
                let effect = self.ledger.send(txn, InFlight::Admission(Box::new(admission)));
                self.effects.push(effect);
            }
            Some((Err(_), ..)) | None => {
                let call = denied(&agent, &executor, attempt, run);
                self.effects.push(Effect::Call(Box::new(call)));
            }
        }
    }

    // --- task updates ----------------------------------------------------------------------

    fn update(&mut self, status: &TaskStatus, now: Time) {
        self.reconciliation.answered(&status.task_id);
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
        if matches!(means, Means::Starting | Means::Running) && self.listed {
            if let Some(agent) = &status.agent_id {
                self.effects.push(Effect::Call(Box::new(kill(&status.task_id, agent))));
                // Again until it answers that it has ended.
                self.reconciliation.add(status.task_id.clone(), agent.clone(), now.plus_secs(5));
            }
        } else if matches!(means, Means::Ended | Means::Vanished | Means::Invalid | Means::Lost) {
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
        if !host.tasks.tasks.get(&kind).is_some_and(|task| task.id == status.task_id) {
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
                host.strikes = 0;
            }
            // The master has forgotten the agent that it ran on, and the host is back as another.
            Means::Lost if elsewhere && active => self.task_ended(name, kind, means, status, now),
            Means::Lost => {
                set_seen(&mut host.tasks, kind, Seen::Lost);
                host.unanswered.insert(status.task_id.clone());
                self.next_poll = Some(now);
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
            Some(FromHost::Ended { attempt, ending, facts, .. }) => {
                self.facts(name, *facts, &agent, now);
                self.attempt_ended(name, kind, attempt, &ending, now);
            }
            Some(FromHost::Ask { .. } | FromHost::Confirm { .. }) | None => {
                if means == Means::Invalid {
                    let why = status.message.clone().unwrap_or_default();
                    self.failed(name, None, &format!("Mesos refused the task: {why}"), true, now);
                }
            }
        }
    }

    fn facts(&mut self, name: &HostName, facts: Facts, agent: &AgentId, now: Time) {
        let Some(host) = self.hosts.touch(name) else { return };
        match host.record.fold_facts(facts, agent, now) {
            Folded::Changed => {
                host.heard = now;
                self.put_record(name);
                self.live_attempt_ended(name, now);
            }
            Folded::Same => host.heard = now,
            Folded::Older => {}
        }
    }

    /// An attempt without a slot has ended when the journal says so, whatever became of its task.
    fn live_attempt_ended(&mut self, name: &HostName, now: Time) {
        let Some(host) = self.hosts.get(name) else { return };
        let journal = host.record.facts().and_then(|facts| facts.journal.clone());
        let carried = host.tasks.carrier().and_then(|(kind, task)| Some((kind, task.attempt?)));
        let (Some(journal), Some((kind, attempt))) = (journal, carried) else { return };
        if journal.attempt == attempt && journal.state != JournalState::Open {
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
                let id = task.id.clone();
                host.tasks.tasks.remove(&kind);
                self.task_index.remove(&id);
            }
            self.put_tasks(name);
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
            Ending::NotAdmitted => self.calm(name, now),
            Ending::NeedsSlot { component } => {
                let why = format!("{component} would have to stop something: it takes a slot");
                self.note(Level::Info, Some(name), &why);
                self.progress(name, now, |progress| {
                    progress.needs_slot = true;
                    progress.why.clone_from(&why);
                });
            }
            Ending::Refused { why } => self.failed(name, Some(attempt), why, false, now),
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
        host.tasks.tasks.remove(&kind);
        self.task_index.remove(&status.task_id);
        self.put_tasks(name);
        let expected = means == Means::Ended && report(status).is_some();
        if !expected {
            self.calm(name, now);
            let text = status.message.clone().unwrap_or_default();
            self.note(Level::Info, Some(name), format!("task {kind} ended: {text}"));
        }
        self.made_place(&status.task_id, now);
    }

    /// Nothing is launched there for a while.
    fn calm(&mut self, name: &HostName, now: Time) {
        let Some(host) = self.hosts.touch(name) else { return };
        let pause = (CALM_MS << host.strikes.min(6)).min(CALM_LONGEST_MS);
        host.strikes += 1;
        host.calm_until = now.plus_ms(pause);
        let until = host.calm_until;
        self.hosts.wake(name, until);
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

    // --- agents ----------------------------------------------------------------------------

    fn agents(&mut self, seen: &[AgentSeen], now: Time) {
        if self.leading.is_none() || !self.listed || self.session == Session::Off {
            return;
        }
        let mut by_host: BTreeMap<&HostName, Vec<&AgentSeen>> = BTreeMap::new();
        for agent in seen {
            by_host.entry(&agent.host).or_default().push(agent);
        }
        let mut changed = Vec::new();
        let known = self.hosts.all.len();
        for (name, lines) in &by_host {
            if !self.hosts.all.contains_key(*name) {
                if let Some(line) = lines.first() {
                    let record = HostRecord::new(line, now);
                    self.hosts.insert((*name).clone(), Host::new(record, now));
                    changed.push((*name).clone());
                }
            }
        }
        self.agents_known = known > 0 && self.hosts.all.len() == known;
        for (name, host) in &mut self.hosts.all {
            let lines = by_host.get(name).map_or(&[][..], Vec::as_slice);
            if host.record.fold_listed(lines, now) == Folded::Changed {
                changed.push(name.clone());
            }
        }
        let first = self.session == Session::Open;
        self.session = Session::Ready;
        for name in changed {
            self.agent_changed(&name, now);
        }
        if first {
            self.hosts.touch_all();
        }
    }

    fn agent_changed(&mut self, name: &HostName, now: Time) {
        self.resolve(name);
        self.put_record(name);
        let Some(host) = self.hosts.touch(name) else { return };
        let agent = host.record.agent.id.clone();
        let active = host.record.agent.condition == crate::observed::fleet::Condition::Active;
        let lost: Vec<_> = host
            .tasks
            .tasks
            .values()
            .filter(|task| active && (task.seen == Seen::Lost || task.agent != agent))
            .map(|task| (task.id.clone(), task.agent.clone()))
            .collect();
        for (task, on) in lost {
            self.reconciliation.add(task, on, now);
        }
        self.agents.insert(agent, name.clone());
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

/// What a listing says, sorted by what it is.
#[derive(Debug, Default)]
struct Loaded {
    documents: BTreeMap<String, String>,
    accepted: Option<(Generation, Accepted)>,
    hosts: BTreeMap<HostName, HostRecord>,
    tasks: BTreeMap<HostName, HostTasks>,
    slots: BTreeMap<HostName, (Slot, Revision)>,
    guard: Option<(Guard, Revision)>,
    progress: BTreeMap<HostName, HostProgress>,
    state: Option<RolloutState>,
    framework: Option<FrameworkId>,
    next_history: u64,
}

impl Loaded {
    /// Errs with a sentence if the record cannot be read.
    fn add(&mut self, entry: &Entry) -> Result<(), String> {
        if let Some(name) = document_name(&entry.key) {
            self.documents.insert(name, entry.value.clone());
            return Ok(());
        }
        let path = entry.key.path();
        let at = entry.mod_revision;
        let value = &entry.value;
        let sentence = |bad: super::records::BadRecord| format!("{bad} ({})", bad.source);
        match &entry.key {
            Key::Accepted(generation) => {
                let accepted = from_json(&path, value).map_err(sentence)?;
                if self.accepted.as_ref().is_none_or(|(newest, _)| newest < generation) {
                    self.accepted = Some((*generation, accepted));
                }
            }
            Key::Observed(host) => {
                self.hosts.insert(host.clone(), from_json(&path, value).map_err(sentence)?);
            }
            Key::Tasks(host) => {
                self.tasks.insert(host.clone(), from_json(&path, value).map_err(sentence)?);
            }
            Key::Slot(host) => {
                let slot = from_json(&path, value).map_err(sentence)?;
                self.slots.insert(host.clone(), (slot, at));
            }
            Key::SlotGuard => self.guard = Some((from_json(&path, value).map_err(sentence)?, at)),
            Key::RolloutHost(host) => {
                self.progress.insert(host.clone(), from_json(&path, value).map_err(sentence)?);
            }
            Key::RolloutState => self.state = Some(from_json(&path, value).map_err(sentence)?),
            Key::FrameworkId => {
                let record: FrameworkRecord = from_json(&path, value).map_err(sentence)?;
                self.framework = Some(FrameworkId(record.id));
            }
            Key::History(number) => self.next_history = self.next_history.max(number + 1),
            _ => {}
        }
        Ok(())
    }
}
