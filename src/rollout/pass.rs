//! One pass: from what was folded to what is done about it.

use std::collections::BTreeSet;

use crate::budget::slot::{Guard, SlotState, collect, conclude, reserve, retarget, withdraw};
use crate::desired::HostSpec;
use crate::mesos::v1::scheduler::{Call, Subscribe};
use crate::observed::fleet::Condition;
use crate::plan::assess::{HostProgress, STALE_SECONDS};
use crate::plan::gate::{Phase, gate, held_back, host_held_back};
use crate::plan::line::Line;
use crate::plan::reason::Reason;
use crate::plan::step::target;
use crate::store::keys::Key;
use crate::store::txn::Txn;
use crate::words::{Attempt, Component, Generation, HostName, TaskId, TaskKind, Time};

use super::desire::Look;
use super::event::{Effect, Level};
use super::launch::{Desk, Launch, Order, change, cut, kill, order, untouched};
use super::ledger::{After, InFlight};
use super::offers::Wants;
use super::records::{
    HISTORY_KEPT, HistoryEntry, RECORDS_VERSION, Rendered, RolloutState, Stage, to_json,
};
use super::slots::{BATCH_HOSTS, Batch, OVERDUE_MS, Settle, settle};
use super::{Controller, Launching, Session};

/// Agents are listed so often: until a list brings nothing new, while something moves, and else.
const POLL_NEW_MS: u64 = 2_000;
const POLL_BUSY_MS: u64 = 10_000;
const POLL_IDLE_MS: u64 = 60_000;
/// A task that nothing was heard of for so long is asked after.
const SILENT_MS: u64 = 60_000;
/// Facts that nobody confirms are looked for so often.
const SWEEP_MS: u64 = 30_000;
/// Offers are held for hosts whose turn comes within this.
const SOON_SECONDS: u64 = 30;
/// A failed host is tried again after this, doubling.
const BACK_OFF_LONGEST_MS: u64 = 300_000;

impl Controller {
    pub(super) fn decide(&mut self, now: Time) {
        if self.leading.is_none() || !self.listed {
            return;
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
        if self.ready() {
            self.sweep(now);
            self.judge_slots(now);
            self.halt_or_finish(now);
            self.assess(now);
            self.start_guarded(now);
            self.start_live(now);
            self.settle_offers(now);
        }
        self.ledger.flush(&mut self.effects);
        // The last call of all: whatever is still to be acknowledged comes first.
        if self.ready() && self.ledger.is_idle() {
            let call = self.offers.suppress(&self.wants);
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

    fn subscribe(&mut self) {
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
        let after = self.hosts.all.values().map(|host| &host.spec);
        let raised = first || before.iter().zip(after).any(|(old, new)| hashes_differ(old, new));
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
        host.excluded = excluded;
        if host.spec.as_ref() == Some(&spec) {
            return;
        }
        if let Ok(spec) = &spec {
            self.ledger.put(Key::Rendered(name.clone()), to_json(&Rendered::from(&**spec)));
        }
        host.spec = Some(spec);
    }

    fn enter(&mut self, stage: Stage, now: Time) {
        let generation = self.desire.generation();
        let since = match &self.state {
            Some(state) if state.generation == generation => state.since,
            _ => now,
        };
        let state = RolloutState { version: RECORDS_VERSION, generation, stage, since };
        self.ledger.put(Key::RolloutState, to_json(&state));
        self.state = Some(state);
    }

    fn history(&mut self, what: String, now: Time) {
        let who = self.config.name.clone();
        let entry = HistoryEntry { version: RECORDS_VERSION, at: now, who, what };
        self.ledger.put(Key::History(self.next_history), to_json(&entry));
        if let Some(oldest) = self.next_history.checked_sub(HISTORY_KEPT) {
            self.ledger.delete(Key::History(oldest));
        }
        self.next_history += 1;
    }

    // --- agents and facts ------------------------------------------------------------------

    fn poll(&mut self, now: Time) {
        if self.next_poll.is_some_and(|at| at > now) {
            return;
        }
        let moving = !self.hosts.busy.is_empty() || self.hosts.totals.down > 0;
        // A list of ten thousand agents is not asked for every ten seconds.
        let small = self.hosts.all.len() <= 1_000;
        let pause = match self.agents_known {
            false => POLL_NEW_MS,
            true if moving && small => POLL_BUSY_MS,
            true => POLL_IDLE_MS,
        };
        self.next_poll = Some(now.plus_ms(pause));
        self.effects.push(Effect::PollAgents);
    }

    /// Looks for silent observers and silent tasks.
    fn sweep(&mut self, now: Time) {
        if self.next_sweep > now {
            return;
        }
        self.next_sweep = now.plus_ms(SWEEP_MS);
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

    /// An attempt failed; counted once.
    pub(super) fn failed(
        &mut self,
        name: &HostName,
        attempt: Option<Attempt>,
        why: &str,
        for_good: bool,
        now: Time,
    ) {
        let generation = self.desire.generation();
        let Some(host) = self.hosts.get(name) else { return };
        let counted = host.progress.as_ref().map_or(Attempt(0), |progress| progress.attempt);
        if attempt.is_some_and(|attempt| attempt <= counted) {
            return;
        }
        let of_now = host.slot().is_none_or(|slot| slot.generation == generation);
        let rollout = self.rollout();
        let most = rollout.map_or(1, |rollout| rollout.attempts.get());
        let base = rollout.map_or(30, |rollout| u64::from(rollout.stability_seconds)).max(2) * 1000;
        self.note(Level::Warning, Some(name), format!("attempt failed and was undone: {why}"));
        self.history(format!("{name}: attempt failed: {why}"), now);
        self.progress(name, now, |progress| {
            progress.attempt = attempt.unwrap_or(progress.attempt);
            progress.why = why.to_owned();
            if of_now {
                // A failure for an older generation says nothing about this one.
                progress.failures += 1;
                progress.failed = for_good || progress.failures >= most;
                let pause = base << (progress.failures - 1).min(10);
                progress.retry_at = now.plus_ms(pause.min(BACK_OFF_LONGEST_MS));
            }
        });
        if let Some(at) = self.hosts.get(name).and_then(|h| h.progress.as_ref()).map(|p| p.retry_at)
        {
            self.hosts.wake(name, at);
        }
    }

    /// An attempt has come to its end; the host starts with a clean sheet.
    pub(super) fn succeeded(&mut self, name: &HostName, _attempt: Attempt) {
        let Some(host) = self.hosts.touch(name) else { return };
        if host.progress.take().is_some() {
            self.ledger.delete(Key::RolloutHost(name.clone()));
        }
    }

    // --- slots -----------------------------------------------------------------------------

    /// Counts failures that journals tell of. What is written is decided in `start_guarded`.
    fn judge_slots(&mut self, now: Time) {
        for name in self.hosts.holders.clone() {
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

    /// Halts when too much has failed; says when all is done.
    fn halt_or_finish(&mut self, now: Time) {
        let Some(state) = &self.state else { return };
        let generation = self.desire.generation();
        if matches!(state.stage, Stage::Halted { .. }) {
            return;
        }
        let Some(rollout) = self.rollout() else { return };
        let most = rollout.max_failures.get() as usize;
        let failed = &self.hosts.failed;
        let stuck = self.hosts.holders.iter().filter(|name| {
            let slot = self.hosts.get(name).and_then(|host| host.slot());
            let overdue = slot.is_some_and(|slot| now.since(slot.attempt_since) > OVERDUE_MS);
            overdue || failed.contains(*name)
        });
        let slots = self.limits().slots;
        let all_stuck = slots > 0 && stuck.count() >= slots;
        if failed.len() >= most || all_stuck {
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

    /// Every host is in sync, or says why it never will be by itself.
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
    }

    /// The one guarded transaction: gives slots back, orders retries and new attempts.
    fn start_guarded(&mut self, now: Time) {
        if self.ledger.guarded().is_some() || self.broken.is_some() {
            return;
        }
        let Some((guard, at)) = self.guard.clone() else { return };
        let mut draft = Draft::new(guard);
        self.give_back(&mut draft, now);
        if !matches!(self.phase(), Phase::Halted { .. }) {
            self.retry(&mut draft, now);
            self.start_new(&mut draft, now);
            self.start_live_changes(&mut draft, now);
        }
        if draft.hosts.is_empty() {
            return;
        }
        let mut txn = self.ledger.fenced().if_at(Key::SlotGuard, at);
        txn = txn.put(Key::SlotGuard, to_json(&draft.guard));
        txn.compares.extend(draft.txn.compares);
        txn.ops.extend(draft.txn.ops);
        let batch = Batch { guard: draft.guard, slots: draft.slots, launches: draft.launches };
        let effect = self.ledger.send(txn, InFlight::Guarded(Box::new(batch)));
        // What was put before belongs to hosts of this transaction too: it goes first.
        self.ledger.flush(&mut self.effects);
        self.effects.push(effect);
    }

    fn give_back(&mut self, draft: &mut Draft, now: Time) {
        for name in self.hosts.holders.clone() {
            if draft.is_full() {
                return;
            }
            let Some(host) = self.hosts.get(&name) else { continue };
            let Some((slot, at)) = host.slot.clone() else { continue };
            if self.ledger.admissions().any(|admission| admission.host == name) {
                continue;
            }
            let what = settle(host, &slot, slot.attempt, self.desire.generation(), now);
            let journal = host.record.facts().and_then(|facts| facts.journal.clone());
            let given = match what {
                Settle::Collect => {
                    collect(&mut draft.guard, &slot);
                    true
                }
                Settle::Conclude => journal
                    .is_some_and(|journal| conclude(&mut draft.guard, &slot, &journal).is_ok()),
                Settle::Withdraw => withdraw(&mut draft.guard, &slot).is_ok(),
                Settle::Leave | Settle::Failed(_) | Settle::Retry => false,
            };
            if !given {
                continue;
            }
            if what == Settle::Conclude {
                self.succeeded(&name, slot.attempt);
            }
            draft.txn = std::mem::take(&mut draft.txn)
                .if_at(Key::Slot(name.clone()), at)
                .delete(Key::Slot(name.clone()));
            draft.slots.insert(name.clone(), None);
            draft.hosts.insert(name.clone());
            let how = if what == Settle::Withdraw { "slot withdrawn" } else { "slot given back" };
            self.note(Level::Info, Some(&name), how);
        }
    }

    /// Hosts that hold a slot and whose next attempt is due. Held stays held.
    fn retry(&mut self, draft: &mut Draft, now: Time) {
        for name in self.hosts.holders.clone() {
            if draft.is_full() || draft.hosts.contains(&name) {
                continue;
            }
            let Some(host) = self.hosts.get(&name) else { continue };
            let Some((slot, at)) = host.slot.clone() else { continue };
            let due =
                settle(host, &slot, slot.attempt, self.desire.generation(), now) == Settle::Retry;
            let Some(Ok(spec)) = host.spec.clone().filter(|_| due) else { continue };
            let mut guard = draft.guard.clone();
            let next = retarget(&mut guard, &slot, self.desire.generation(), target(&spec), now);
            let Some(launch) = self.carrier_launch(&name, &spec, next.attempt, true, now) else {
                continue;
            };
            draft.guard = guard;
            draft.txn = std::mem::take(&mut draft.txn)
                .if_at(Key::Slot(name.clone()), at)
                .put(Key::Slot(name.clone()), to_json(&next));
            self.note(Level::Info, Some(&name), format!("tried again as attempt {}", next.attempt));
            draft.slots.insert(name.clone(), Some(next));
            self.take_into(draft, &name, launch);
        }
    }

    /// New disruptions, in the order of the line, as many as the gate admits.
    fn start_new(&mut self, draft: &mut Draft, now: Time) {
        let Some(rollout) = self.rollout().cloned() else { return };
        let limits = self.limits();
        let open = gate(limits, &self.hosts.totals, self.permits(now));
        self.next_permit = match &open.then {
            Reason::WaitingForPace { until } if !self.hosts.line.is_empty() => *until,
            _ => None,
        };
        let mut line = Line::new(&rollout, &self.phase(), open, self.hosts.totals.pools.clone());
        // Hosts without an offer do not hold up those behind them; but nobody looks through the
        // whole fleet for that: offers are held only for those next in line.
        let reach = 4 * limits.slots + 16;
        let candidates: Vec<_> =
            self.hosts.line.iter().take(reach).map(|(_, n)| n.clone()).collect();
        for name in candidates {
            if line.is_closed() || draft.is_full() {
                break;
            }
            let Some(host) = self.hosts.get(&name) else { continue };
            let Some(Ok(spec)) = host.spec.clone() else { continue };
            if !host.can_launch(now) || self.offers.of(&name).next().is_none() {
                continue;
            }
            if line.admit(&spec, true).is_some() {
                continue;
            }
            let mut guard = draft.guard.clone();
            let limit = u32::try_from(limits.slots).unwrap_or(u32::MAX);
            let (generation, target) = (self.desire.generation(), target(&spec));
            let Ok(slot) = reserve(&mut guard, None, &name, limit, generation, target, now) else {
                break;
            };
            let Some(launch) = self.carrier_launch(&name, &spec, slot.attempt, true, now) else {
                continue;
            };
            guard.hosts = u32::try_from(self.hosts.totals.registered).unwrap_or(u32::MAX);
            draft.guard = guard;
            draft.txn = std::mem::take(&mut draft.txn)
                .if_at(Key::Slot(name.clone()), crate::words::Revision(0))
                .put(Key::Slot(name.clone()), to_json(&slot));
            self.note(Level::Info, Some(&name), format!("slot reserved, attempt {}", slot.attempt));
            draft.slots.insert(name.clone(), Some(slot));
            self.take_into(draft, &name, launch);
        }
    }

    /// Changes that disrupt nothing take no slot, but an attempt.
    fn start_live_changes(&mut self, draft: &mut Draft, now: Time) {
        for name in self.offers.hosts().intersection(&self.hosts.live).cloned().collect::<Vec<_>>()
        {
            if draft.is_full() {
                return;
            }
            let Some(host) = self.hosts.get(&name) else { continue };
            let work = &host.assessment.work;
            let live = work.carrier.is_some() && !work.disruptive && self.may_move(&name, now);
            if !live || draft.hosts.contains(&name) || host.slot.is_some() {
                continue;
            }
            let Some(Ok(spec)) = host.spec.clone() else { continue };
            let mut guard = draft.guard.clone();
            let attempt = guard.next_attempt();
            if let Some(launch) = self.carrier_launch(&name, &spec, attempt, false, now) {
                draft.guard = guard;
                self.take_into(draft, &name, launch);
            }
        }
    }

    fn take_into(&mut self, draft: &mut Draft, name: &HostName, launch: Launch) {
        draft.hosts.insert(name.clone());
        if let Some(host) = self.hosts.get(name) {
            let tasks = to_json(&host.tasks);
            draft.txn = std::mem::take(&mut draft.txn).put(Key::Tasks(name.clone()), tasks);
        }
        draft.launches.push(launch);
    }

    // --- launches --------------------------------------------------------------------------

    /// Whether work that takes no slot may be done on a host now.
    fn may_move(&self, name: &HostName, now: Time) -> bool {
        let Some(host) = self.hosts.get(name) else { return false };
        let Some(rollout) = self.rollout() else { return false };
        let Some(Ok(spec)) = &host.spec else { return false };
        let settled = match &host.assessment.held {
            None => true,
            // The supervisors of what is in place need not wait for the slot to be given back.
            Some(Reason::Verifying) => true,
            Some(_) => false,
        };
        settled
            && host.can_launch(now)
            && held_back(rollout, &self.phase()).is_none()
            && host_held_back(spec).is_none()
    }

    /// Launches observers and supervising tasks.
    fn start_live(&mut self, now: Time) {
        for name in self.hosts.ending.clone() {
            if self.may_move(&name, now) {
                self.end_tasks(&name, now);
            }
        }
        for name in self.offers.hosts().intersection(&self.hosts.live).cloned().collect::<Vec<_>>()
        {
            let Some(host) = self.hosts.get(&name) else { continue };
            if !host.can_launch(now) || host.excluded || self.launching.contains_key(&name) {
                continue;
            }
            let may_move = self.may_move(&name, now);
            let work = host.assessment.work.clone();
            let carrier = work.carrier;
            let launches: Vec<TaskKind> = work
                .launches
                .iter()
                .copied()
                .filter(|kind| match kind {
                    TaskKind::Observer => true,
                    TaskKind::Change => false,
                    kind => may_move && Some(*kind) != carrier && untouched(&work.steps, *kind),
                })
                .collect();
            if !launches.is_empty() {
                self.launch_supervisors(&name, &launches, now);
            }
        }
    }

    fn end_tasks(&mut self, name: &HostName, now: Time) {
        let Some(host) = self.hosts.touch(name) else { return };
        let ends = host.assessment.work.ends.clone();
        let tasks = ends.iter().filter_map(|kind| host.tasks.tasks.get(kind));
        let kills: Vec<Call> = tasks.map(|task| kill(&task.id, &task.agent)).collect();
        // Again if nothing comes of it.
        host.calm_until = now.plus_secs(5);
        let again = host.calm_until;
        self.hosts.wake(name, again);
        self.effects.extend(kills.into_iter().map(|call| Effect::Call(Box::new(call))));
    }

    fn launch_supervisors(&mut self, name: &HostName, kinds: &[TaskKind], now: Time) {
        let Some(host) = self.hosts.get(name) else { return };
        let spec = host.spec.clone().and_then(Result::ok);
        let agent = host.record.agent.id.clone();
        let running = host.tasks.clone();
        let mut orders = Vec::new();
        for kind in kinds {
            let id = self.task_id(*kind, name);
            let replaces = running.tasks.get(kind).map(|task| task.id.clone());
            let Some(desk) = self.desk(now) else { return };
            orders.extend(order(desk, *kind, id, &agent, spec.as_deref(), None, replaces));
        }
        if let Some(launch) = self.cut_from_offer(name, &orders, now) {
            self.put_tasks(name);
            self.ledger.after(After::Launch(Box::new(launch)));
        }
    }

    /// The launch of a host's steps, with the task that carries them.
    fn carrier_launch(
        &mut self,
        name: &HostName,
        spec: &HostSpec,
        attempt: Attempt,
        may_disrupt: bool,
        now: Time,
    ) -> Option<Launch> {
        let host = self.hosts.get(name)?;
        let work = host.assessment.work.clone();
        // Without steps the host has only to say that all is well: a slot is given back for it.
        let kind = work.carrier.unwrap_or(TaskKind::Change);
        let agent = host.record.agent.id.clone();
        let replaces = host.tasks.tasks.get(&kind).map(|task| task.id.clone());
        let id = self.task_id(kind, name);
        let desk = self.desk(now)?;
        let change = change(desk, attempt, may_disrupt, &work.steps, spec);
        let order = order(desk, kind, id, &agent, Some(spec), Some(change), replaces)?;
        self.cut_from_offer(name, &[order], now)
    }

    /// Finds an offer for the orders, promises it, and writes the tasks down in memory.
    fn cut_from_offer(&mut self, name: &HostName, orders: &[Order], now: Time) -> Option<Launch> {
        let host = self.hosts.get(name)?;
        let kinds: BTreeSet<TaskKind> = orders.iter().map(|order| order.kind).collect();
        let more = host.assessment.work.launches.iter().any(|kind| !kinds.contains(kind));
        let refuse = if more || !host.assessment.work.steps.is_empty() { 0.0 } else { 3600.0 };
        let desk = self.desk(now)?;
        let mut lacking = None;
        let mut found = None;
        for offer in self.offers.of(name) {
            match cut(desk, name, offer, orders, refuse) {
                Ok(launch) => {
                    found = Some(launch);
                    break;
                }
                Err(what) => lacking = Some(what),
            }
        }
        self.say_lacking(name, if found.is_some() { None } else { lacking }, now);
        let launch = found?;
        self.offers.promise(&launch.offer);
        let host = self.hosts.touch(name)?;
        for order in orders {
            if let Some(old) = host.tasks.tasks.insert(order.kind, order.record.clone()) {
                self.task_index.remove(&old.id);
            }
            self.task_index.insert(order.record.id.clone(), (name.clone(), order.kind));
        }
        Some(launch)
    }

    fn say_lacking(&mut self, name: &HostName, lacking: Option<String>, now: Time) {
        let known = self.hosts.get(name).and_then(|host| host.progress.as_ref());
        if known.and_then(|progress| progress.lacking.as_ref()) != lacking.as_ref() {
            self.progress(name, now, |progress| progress.lacking = lacking);
        }
    }

    /// Carries a committed launch out, or waits for the tasks whose place it takes.
    pub(super) fn launch(&mut self, launch: Launch, now: Time) {
        if !self.offers.is_held(&launch.offer) {
            // Rescinded meanwhile. The task was never sent, and its record says so.
            self.unlaunched(&launch, now);
            return;
        }
        if launch.waits_for.is_empty() {
            self.offers.remove(&launch.offer);
            self.effects.push(Effect::Call(Box::new(launch.accept())));
            return;
        }
        if !self.launching.contains_key(&launch.host) {
            let kills = launch.kills().map(|call| Effect::Call(Box::new(call)));
            self.effects.extend(kills.collect::<Vec<_>>());
        }
        let again = now.plus_secs(5);
        self.launching.insert(launch.host.clone(), Launching { launch, again });
    }

    fn unlaunched(&mut self, launch: &Launch, now: Time) {
        for task in &launch.tasks {
            let Some((name, kind)) = self.task_index.remove(&task.task_id) else { continue };
            if let Some(host) = self.hosts.touch(&name) {
                host.tasks.tasks.remove(&kind);
                self.put_tasks(&name);
            }
        }
        let _ = now;
    }

    fn task_id(&mut self, kind: TaskKind, name: &HostName) -> TaskId {
        self.tasks_made += 1;
        let leader = self.leading.map_or(0, |created| created.0);
        TaskId(format!("{kind}.{name}.{leader}-{}", self.tasks_made))
    }

    fn desk(&self, now: Time) -> Option<Desk<'_>> {
        Some(Desk {
            delivery: &self.config.delivery,
            framework: self.framework.as_ref()?,
            generation: self.desire.generation(),
            stability_seconds: self.rollout().map_or(0, |rollout| rollout.stability_seconds),
            now,
        })
    }

    // --- offers ----------------------------------------------------------------------------

    fn settle_offers(&mut self, now: Time) {
        self.wants = self.wants(now);
        let calls = self.offers.settle(&self.wants, now);
        self.effects.extend(calls.into_iter().map(|call: Call| Effect::Call(Box::new(call))));
    }

    /// Whose offers are held: hosts with work that takes no slot, hosts whose retry is due soon,
    /// and twice as many as there are slots of those next in line.
    fn wants(&self, now: Time) -> Wants {
        let mut wants = Wants::default();
        let halted = matches!(self.phase(), Phase::Halted { .. });
        for name in &self.hosts.live {
            let Some(host) = self.hosts.get(name) else { continue };
            let observer = host.assessment.work.launches.contains(&TaskKind::Observer);
            let active = host.record.agent.condition == Condition::Active && !host.excluded;
            if active && ((observer && !host.excluded) || self.may_move_soon(name)) {
                wants.now.insert(name.clone());
            }
        }
        for name in self.hosts.holders.iter().filter(|_| !halted) {
            let Some(host) = self.hosts.get(name) else { continue };
            let Some(slot) = host.slot() else { continue };
            let held = slot.state != SlotState::Reserved && host.tasks.carrier().is_none();
            let due = host.progress_in(self.desire.generation()).is_none_or(|progress| {
                !progress.failed && progress.retry_at <= now.plus_secs(SOON_SECONDS)
            });
            if held && due {
                wants.now.insert(name.clone());
            }
        }
        if !halted {
            self.next_in_line(&mut wants);
        }
        // Offers are how agents that nobody listed yet are noticed.
        wants.nothing = self.agents_known
            && wants.now.is_empty()
            && self.hosts.starting.is_empty()
            && (self.hosts.line.is_empty() || halted)
            && self.hosts.busy.is_empty()
            && self.launching.is_empty();
        wants
    }

    fn may_move_soon(&self, name: &HostName) -> bool {
        let Some(host) = self.hosts.get(name) else { return false };
        let Some(rollout) = self.rollout() else { return false };
        let Some(Ok(spec)) = &host.spec else { return false };
        matches!(host.assessment.held, None | Some(Reason::Verifying))
            && held_back(rollout, &self.phase()).is_none()
            && host_held_back(spec).is_none()
    }

    fn next_in_line(&self, wants: &mut Wants) {
        let Some(rollout) = self.rollout() else { return };
        if held_back(rollout, &self.phase()).is_some() {
            return;
        }
        let limits = self.limits();
        if limits.slots == 0 || self.hosts.totals.down >= limits.max_unavailable + limits.slots {
            return;
        }
        let first = self.hosts.line.iter().take(2 * limits.slots);
        wants.now.extend(first.map(|(_, name)| name.clone()));
        let stability = u64::from(rollout.stability_seconds);
        let hold = self.holds.mean_seconds().unwrap_or(stability + SOON_SECONDS);
        let mut others = self.offers.hosts();
        others.retain(|name| !wants.now.contains(name));
        for name in others.intersection(&self.hosts.busy) {
            wants.later.insert(name.clone(), 1);
        }
        if others.len() > wants.later.len() {
            for (place, (_, name)) in self.hosts.line.iter().enumerate() {
                if others.contains(name) {
                    wants.later.insert(name.clone(), (place / limits.slots) as u64 * hold);
                }
            }
        }
    }
}

/// A guarded transaction while it is written.
struct Draft {
    guard: Guard,
    txn: Txn,
    slots: std::collections::BTreeMap<HostName, Option<crate::budget::slot::Slot>>,
    launches: Vec<Launch>,
    hosts: BTreeSet<HostName>,
}

impl Draft {
    fn new(guard: Guard) -> Self {
        Self {
            guard,
            txn: Txn::new(),
            slots: std::collections::BTreeMap::new(),
            launches: Vec::new(),
            hosts: BTreeSet::new(),
        }
    }

    fn is_full(&self) -> bool {
        self.hosts.len() >= BATCH_HOSTS
    }
}

type Resolved = Result<std::sync::Arc<HostSpec>, crate::desired::PoolConflict>;

fn hashes_differ(old: &Option<Resolved>, new: &Option<Resolved>) -> bool {
    let hashes = |spec: &Option<Resolved>| -> Option<Vec<(Component, crate::words::SpecHash)>> {
        let spec = spec.as_ref()?.as_ref().ok()?;
        Some(spec.components.iter().map(|(component, c)| (*component, c.hash)).collect())
    };
    match (old, new) {
        (Some(Err(old)), Some(Err(new))) => old != new,
        _ => hashes(old) != hashes(new),
    }
}
