//! One pass: from what was folded to what is done about it.

use std::collections::BTreeSet;

use crate::desired::HostSpec;
use crate::mesos::v1::scheduler::Subscribe;
use crate::plan::assess::STALE_SECONDS;
use crate::plan::progress::HostProgress;
use crate::plan::reason::Reason;
use crate::store::keys::Key;
use crate::words::{Attempt, Component, Generation, HostName, Time};

use super::desire::Look;
use super::event::{Effect, Level};
use super::host::Host;
use super::records::{
    Author, HISTORY_KEPT, HistoryEntry, RECORDS_VERSION, Rendered, RolloutState, Stage,
    history_number, to_json,
};
use super::slots::{OVERDUE_MS, Settle, settle};
use super::{Controller, Session};

/// Agents are listed so often: until a list brings nothing new, while something moves, and else.
const POLL_NEW_MS: u64 = 2_000;
const POLL_BUSY_MS: u64 = 10_000;
const POLL_IDLE_MS: u64 = 60_000;
/// A task that nothing was heard of for so long is asked after.
const SILENT_MS: u64 = 60_000;
/// Facts that nobody confirms are looked for so often.
const SWEEP_MS: u64 = 30_000;

impl Controller {
    pub(super) fn decide(&mut self, now: Time) {
        if self.leading.is_none() || !self.listed || self.unreadable.is_some() {
            return;
        }
        if self.has_ended() {
            return self.end_framework(now);
        }
        self.accept_documents(now);
        self.hosts.ring(now);
        self.assess(now);
        if self.session == Session::Off {
            self.subscribe();
        }
        if matches!(self.session, Session::Open | Session::Ready) {
            self.poll(now);
            if let Some(call) = self.reconciliation.call(now) {
                self.effects.push(Effect::Call(Box::new(call)));
            }
            self.repeat_kills(now);
        }
        (self.notices.wake, self.etcd.wake) = (None, None);
        if self.ready() {
            self.sweep(now);
            self.serve_controls(now);
            self.assess(now);
            self.judge_slots(now);
            self.halt_or_finish(now);
            self.assess(now);
            self.tend_canaries(now);
            self.tend_members(now);
            self.tend_notices(now);
            self.assess(now);
            self.match_offers(now);
            self.start_guarded(now);
            self.start_live(now);
            self.settle_offers(now);
            self.tear_down(now);
            self.explain_starving(now);
            self.answer_asked_back();
        }
        self.ledger.flush(&mut self.effects);
        // The last call of all: whatever is still to be acknowledged comes first.
        if self.ready() && self.ledger.is_idle() && self.wants_nothing() {
            let call = self.offers.suppress(now);
            self.effects.extend(call.map(|call| Effect::Call(Box::new(call))));
        }
    }

    /// Desired state, slots, subscription, agents and one reconciliation are in.
    fn ready(&self) -> bool {
        self.session == Session::Ready
            && self.framework_saved
            && self.reconciliation.first_round_is_over()
    }

    fn assess(&mut self, now: Time) {
        let own = self.config.own_host.clone();
        self.hosts.reassess(self.desire.generation(), own.as_ref(), now);
    }

    pub(super) fn subscribe(&mut self) {
        let info = self.config.framework_info(self.framework.clone());
        let suppressed_roles =
            if self.offers.suppressed() { self.config.roles.clone() } else { Vec::new() };
        self.session = Session::Opening;
        let subscribe = Subscribe { framework_info: info, suppressed_roles };
        self.effects.push(Effect::Subscribe(Box::new(subscribe)));
    }

    // --- desired state ---------------------------------------------------------------------

    fn accept_documents(&mut self, now: Time) {
        let desired = match self.desire.look(now) {
            Look::Nothing => return,
            Look::Refused(why) => {
                let text = format!("the documents in etcd are not in force: {why}");
                self.note(Level::Warning, None, text);
                return;
            }
            Look::Good(desired) => *desired,
        };
        let first = self.desire.accepted.is_none();
        let generation = self.desire.generation();
        let before: Vec<Option<_>> = self.hosts.all.values().map(|h| h.spec.clone()).collect();
        let (record, _) = self.desire.accept(desired, generation, now);
        self.resolve_all();
        let after = self.hosts.all.values().map(|host| host.spec.as_ref());
        let raised =
            first || before.iter().zip(after).any(|(old, new)| hashes_differ(old.as_ref(), new));
        let generation = if raised { generation.next() } else { generation };
        if let Some(in_force) = &mut self.desire.accepted {
            in_force.generation = generation;
        }
        self.ledger.put(Key::Accepted(generation), to_json(&record));
        if raised {
            let oldest = generation.0.saturating_sub(super::records::ACCEPTED_KEPT);
            if oldest > 0 {
                self.ledger.delete(Key::Accepted(Generation(oldest)));
            }
            self.enter(Stage::Running, now);
            self.history(format!("generation {generation} accepted"), now);
        }
        self.hosts.line_moved = true;
        self.note(Level::Info, None, format!("documents accepted as generation {generation}"));
    }

    pub(super) fn resolve_all(&mut self) {
        let names: Vec<HostName> = self.hosts.all.keys().cloned().collect();
        for name in names {
            self.resolve(&name);
        }
    }

    pub(super) fn resolve(&mut self, name: &HostName) {
        let Some(in_force) = &mut self.desire.accepted else { return };
        let excluded = in_force.desired.excludes(name);
        let Some(host) = self.hosts.touch(name) else { return };
        let spec = in_force.resolver.resolve(&host.record.identity(name));
        let pools = spec.as_ref().map_or(&[][..], |spec| &spec.pools);
        host.excluded = excluded;
        host.leaves = self.controls.teardown.is_some();
        host.paused = self.controls.pause_of(name, pools);
        if host.spec.as_ref() == Some(&spec) {
            return;
        }
        let rendered = spec.as_ref().ok().map(|spec| Rendered::from(&**spec));
        if host.rendered != rendered {
            match &rendered {
                Some(rendered) => {
                    self.ledger.put(Key::Rendered(name.clone()), to_json(rendered));
                }
                None => self.ledger.delete(Key::Rendered(name.clone())),
            }
            host.rendered = rendered;
        }
        host.spec = Some(spec);
    }

    pub(super) fn enter(&mut self, stage: Stage, now: Time) {
        let generation = self.desire.generation();
        let (since, canary) = match self.state.take() {
            Some(known) if known.generation == generation => (known.since, known.canary),
            _ => (now, None),
        };
        let version = RECORDS_VERSION;
        let entered = RolloutState { version, generation, stage, since, canary };
        self.ledger.put(Key::RolloutState, to_json(&entered));
        self.state = Some(entered);
    }

    pub(super) fn history(&mut self, what: String, now: Time) {
        let who = self.config.name.clone();
        let entry = HistoryEntry { version: RECORDS_VERSION, at: now, who, what };
        let newest = self.history.last().copied();
        let number = history_number(now, newest, Author::Controller);
        self.ledger.put(Key::History(number), to_json(&entry));
        self.history.insert(number);
        while self.history.len() > HISTORY_KEPT
            && let Some(oldest) = self.history.pop_first()
        {
            self.ledger.delete(Key::History(oldest));
        }
    }

    // --- agents and facts ------------------------------------------------------------------

    /// Something happened to an agent. Many things may happen to many agents at once: the list
    /// is asked for at most every [`POLL_NEW_MS`].
    pub(super) fn poll_soon(&mut self) {
        let soon = self.last_poll.map_or(Time(0), |last| last.plus_ms(POLL_NEW_MS));
        self.next_poll = Some(self.next_poll.map_or(soon, |next| next.min(soon)));
    }

    fn poll(&mut self, now: Time) {
        if self.next_poll.is_some_and(|at| at > now) {
            return;
        }
        let moving = !self.hosts.busy.is_empty() || self.hosts.totals.down > 0;
        // A list of ten thousand agents is not asked for every ten seconds.
        let small = self.hosts.all.len() <= 200;
        let pause = match self.agents_known {
            false => POLL_NEW_MS,
            true if moving && small => POLL_BUSY_MS,
            true => POLL_IDLE_MS,
        };
        self.last_poll = Some(now);
        self.next_poll = Some(now.plus_ms(pause));
        self.effects.push(Effect::PollAgents);
    }

    /// Looks for silent observers and silent tasks.
    fn sweep(&mut self, now: Time) {
        if self.next_sweep > now {
            return;
        }
        self.next_sweep = now.plus_ms(SWEEP_MS);
        self.name_silent();
        self.name_silent_hosts(now);
        let mut stale = BTreeSet::new();
        let mut silent = Vec::new();
        for (name, host) in &self.hosts.all {
            if now.since(host.heard) / 1000 > STALE_SECONDS {
                stale.insert(name.clone());
            }
            let waits = self.launching.contains_key(name);
            for task in host.tasks.tasks.values().filter(|_| !waits) {
                let unheard = task.seen == crate::observed::tasks::Seen::Nothing;
                if unheard && now.since(task.ordered) >= SILENT_MS {
                    silent.push((task.id.clone(), task.agent.clone()));
                }
            }
        }
        for name in stale {
            self.hosts.touch(&name);
        }
        self.forget_maintenance(now);
        for (task, agent) in silent {
            self.reconciliation.add(task, agent, now);
        }
    }

    fn repeat_kills(&mut self, now: Time) {
        let mut calls = Vec::new();
        for launching in self.launching.values_mut().filter(|launching| launching.again <= now) {
            launching.again = now.plus_secs(5);
            calls.extend(launching.launch.kills());
        }
        self.effects.extend(calls.into_iter().map(|call| Effect::Call(Box::new(call))));
    }

    // --- records of a host -----------------------------------------------------------------

    pub(super) fn put_record(&mut self, name: &HostName) {
        if let Some(host) = self.hosts.get(name) {
            self.ledger.put(Key::Observed(name.clone()), to_json(&host.record));
        }
    }

    pub(super) fn put_tasks(&mut self, name: &HostName) {
        let Some(host) = self.hosts.get(name) else { return };
        if host.tasks.tasks.is_empty() {
            self.ledger.delete(Key::Tasks(name.clone()));
        } else {
            self.ledger.put(Key::Tasks(name.clone()), to_json(&host.tasks));
        }
    }

    pub(super) fn progress(
        &mut self,
        name: &HostName,
        now: Time,
        change: impl FnOnce(&mut HostProgress),
    ) {
        let generation = self.desire.generation();
        let Some(host) = self.hosts.touch(name) else { return };
        let current = host.progress.take().filter(|progress| progress.generation == generation);
        let mut progress = current.unwrap_or_else(|| HostProgress::new(generation, now));
        change(&mut progress);
        self.ledger.put(Key::RolloutHost(name.clone()), to_json(&progress));
        host.progress = Some(progress);
    }

    // --- slots -----------------------------------------------------------------------------

    /// Counts failures that journals tell of. What is written is decided in `start_guarded`.
    fn judge_slots(&mut self, now: Time) {
        for name in self.hosts.attention.clone() {
            let Some(host) = self.hosts.get(&name) else { continue };
            let Some(slot) = host.slot() else { continue };
            let attempt = slot.attempt;
            let counted = host.progress.as_ref().map_or(Attempt(0), |progress| progress.attempt);
            if let Settle::Failed(why) = settle(host, slot, counted, self.desire.generation(), now)
            {
                self.failed(&name, Some(attempt), &why, false, now);
            }
        }
    }

    /// Halts when too much has failed, and goes on when that is so no longer; says when all is done.
    fn halt_or_finish(&mut self, now: Time) {
        let Some(state) = &self.state else { return };
        let generation = self.desire.generation();
        // While the records of slots are not true nobody can tell what is done.
        let untrue = self.restored.is_some() || self.broken.is_some();
        if untrue {
            return;
        }
        let halted = matches!(state.stage, Stage::Halted { .. });
        let Some(rollout) = self.rollout() else { return };
        let most = rollout.max_failures.get() as usize;
        let failed = &self.hosts.failed;
        let slots = self.limits().slots;
        let all_stuck = self.hosts.holders.len() >= slots && slots > 0 && self.all_stuck(now);
        let is_due = failed.len() >= most || all_stuck;
        if halted {
            if !is_due {
                self.note(Level::Info, None, "what the rollout had halted for is over; it goes on");
                self.history(format!("generation {generation} goes on"), now);
                self.enter(Stage::Running, now);
            }
        } else if is_due {
            let names: Vec<&str> = failed.iter().take(3).map(HostName::as_str).collect();
            let why = if failed.is_empty() {
                "every slot is held by a host that is overdue".to_owned()
            } else {
                format!("{} failed ({}); maxFailures is {most}", failed.len(), names.join(", "))
            };
            self.note(Level::Warning, None, format!("the rollout has halted: {why}"));
            self.history(format!("generation {generation} halted: {why}"), now);
            self.enter(Stage::Halted { why }, now);
        } else if self.is_done() && state.stage == Stage::Running && state.generation == generation
        {
            self.note(Level::Info, None, format!("generation {generation} is done"));
            self.history(format!("generation {generation} done"), now);
            self.enter(Stage::Done { at: now }, now);
        }
    }

    /// Every host that holds a slot has failed or is overdue.
    fn all_stuck(&self, now: Time) -> bool {
        self.hosts.holders.iter().all(|name| {
            let overdue = |host: &Host| {
                // Maintenance and closed windows take as long as they take, and end by themselves.
                let since = host.slot().map_or(now, |slot| slot.attempt_since);
                !host.is_left_in_peace(now) && now.since(since) > OVERDUE_MS
            };
            self.hosts.failed.contains(name) || self.hosts.get(name).is_some_and(overdue)
        })
    }

    /// Every host is in sync, or says why it never will be by itself, and every task runs.
    fn is_done(&self) -> bool {
        let resting = |name: &HostName| {
            self.hosts.get(name).is_some_and(|host| {
                host.slot.is_none()
                    && matches!(
                        host.assessment.held,
                        Some(Reason::Blocked { .. } | Reason::Excluded | Reason::Gone)
                    )
            })
        };
        !self.hosts.all.is_empty()
            && self.hosts.restless.iter().all(resting)
            && self.hosts.busy.is_empty()
            && self.hosts.starting.is_empty()
    }
}

type Resolved = Result<std::sync::Arc<HostSpec>, crate::desired::PoolConflict>;

fn hashes_differ(old: Option<&Resolved>, new: Option<&Resolved>) -> bool {
    let hashes = |spec: Option<&Resolved>| -> Option<Vec<(Component, crate::words::SpecHash)>> {
        let spec = spec?.as_ref().ok()?;
        Some(spec.components.iter().map(|(component, c)| (*component, c.hash)).collect())
    };
    match (old, new) {
        (Some(Err(old)), Some(Err(new))) => old != new,
        _ => hashes(old) != hashes(new),
    }
}
