//! Starting work: the one guarded transaction, which moves slots and orders attempts, and the
//! launches of tasks.

use std::collections::{BTreeMap, BTreeSet};

use crate::budget::slot::{Guard, Slot, collect, conclude, reserve, retarget, withdraw};
use crate::plan::control::Control;
use crate::plan::gate::{Phase, gate};
use crate::plan::line::{Asked, Line, Turn};
use crate::plan::reason::Reason;
use crate::plan::step::target;
use crate::store::keys::Key;
use crate::store::txn::Txn;
use crate::words::{HostName, Revision, Time};

use super::Controller;
use super::control::key;
use super::event::Level;
use super::launch::Launch;
use super::ledger::InFlight;
use super::records::to_json;
use super::slots::{BATCH_HOSTS, Batch, Settle, settle};

impl Controller {
    /// The one guarded transaction: gives slots back, orders retries and new attempts.
    pub(super) fn start_guarded(&mut self, now: Time) {
        if self.ledger.guarded().is_some() || self.broken.is_some() {
            return;
        }
        if let Some(restored) = self.restored {
            return self.rebuild_slots(restored, now);
        }
        let Some((guard, at)) = self.guard.clone() else { return };
        let mut draft = Draft::new(guard);
        self.give_back(&mut draft, now);
        if self.phase() == Phase::Running {
            self.retry(&mut draft, now);
            self.start_new(&mut draft, now);
            self.start_live_changes(&mut draft, now);
        }
        self.look_again(&draft, now);
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

    /// Holders that something is due for and that were not served are looked at again.
    fn look_again(&mut self, draft: &Draft, now: Time) {
        let generation = self.desire.generation();
        let mut attention = std::mem::take(&mut self.hosts.attention);
        let released = &self.controls.release;
        attention.retain(|name| {
            let due = self.hosts.get(name).and_then(|host| {
                let slot = host.slot()?;
                let due = settle(host, slot, slot.attempt, generation, now) != Settle::Wait;
                Some(due || released.contains_key(name))
            });
            due == Some(true) && !draft.hosts.contains(name)
        });
        self.hosts.attention = attention;
    }

    fn give_back(&mut self, draft: &mut Draft, now: Time) {
        for name in self.hosts.attention.clone() {
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
            let released = self.is_released(&name);
            let given = match what {
                _ if released => {
                    collect(&mut draft.guard, &slot);
                    true
                }
                Settle::Collect => {
                    collect(&mut draft.guard, &slot);
                    true
                }
                Settle::Conclude => journal
                    .is_some_and(|journal| conclude(&mut draft.guard, &slot, &journal).is_ok()),
                Settle::Withdraw => withdraw(&mut draft.guard, &slot).is_ok(),
                Settle::Wait | Settle::Failed(_) | Settle::Retry => false,
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
            let how = match what {
                _ if released => {
                    let key = key(&Control::Release(name.clone()));
                    draft.txn = std::mem::take(&mut draft.txn).delete(key);
                    "slot released, as an operator asks"
                }
                Settle::Withdraw => "slot withdrawn",
                _ => "slot given back",
            };
            draft.slots.insert(name.clone(), None);
            draft.hosts.insert(name.clone());
            self.note(Level::Info, Some(&name), how);
        }
    }

    /// Hosts that hold a slot and whose next attempt is due. Held stays held.
    fn retry(&mut self, draft: &mut Draft, now: Time) {
        for name in self.hosts.attention.clone() {
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
        if open.open == 0 {
            return;
        }
        let phase = self.phase();
        let pools = self.hosts.totals.pools.clone();
        let members = self.measures.members.clone();
        let busy = self.busy_member().cloned();
        let asked =
            Asked { members: members.as_ref(), busy_member: busy.as_ref(), ..Asked::default() };
        let mut line = Line::new(&rollout, &phase, self.first.clone(), asked, open, pools, now);
        // Offers are not held before closed gates, so that nobody asks for these below.
        if self.gates_are_closed() && !self.gates_are_open(now) {
            return;
        }
        let mut starts = false;
        // Hosts without an offer do not hold up those behind them; but nobody looks through the
        // whole fleet for that: offers are held only for those next in line.
        let reach = 4 * limits.slots + 16;
        for name in self.next_in_line(reach) {
            if line.is_closed() || draft.is_full() {
                break;
            }
            let Some(host) = self.hosts.get(&name) else { continue };
            let Some(Ok(spec)) = host.spec.clone() else { continue };
            if !host.can_launch(now) || self.offers.of(&name).next().is_none() {
                continue;
            }
            let (notice, member) = (host.notice.clone(), host.member.clone());
            let turn = Turn {
                host: &name,
                spec: &spec,
                steps: true,
                disruptive: true,
                notice: notice.as_ref(),
                member: member.as_deref(),
            };
            if line.waits(turn).is_some() || self.notices.is_doubtful(&name) {
                continue;
            }
            if !self.members_let_start(member.is_some(), now) {
                continue;
            }
            if !self.gates_are_open(now) {
                return;
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
            starts = true;
            // Only who starts takes the turn of those behind.
            line.start(turn);
            guard.hosts = u32::try_from(self.hosts.totals.registered).unwrap_or(u32::MAX);
            draft.guard = guard;
            draft.txn = std::mem::take(&mut draft.txn)
                .if_at(Key::Slot(name.clone()), Revision(0))
                .put(Key::Slot(name.clone()), to_json(&slot));
            self.note(Level::Info, Some(&name), format!("slot reserved, attempt {}", slot.attempt));
            draft.slots.insert(name.clone(), Some(slot));
            self.take_into(draft, &name, launch);
        }
        if starts {
            self.gates_are_used();
        }
    }

    /// Changes that disrupt nothing take no slot, but an attempt.
    fn start_live_changes(&mut self, draft: &mut Draft, now: Time) {
        for name in self.wants.ready.clone() {
            if draft.is_full() {
                return;
            }
            let Some(host) = self.hosts.get(&name) else { continue };
            let work = &host.assessment.work;
            let live = work.carrier.is_some() && !work.disruptive && self.may_move(&name, now);
            if !live
                || !self.goes_first(&name)
                || draft.hosts.contains(&name)
                || host.slot.is_some()
            {
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
}

/// A guarded transaction while it is written.
struct Draft {
    guard: Guard,
    txn: Txn,
    slots: BTreeMap<HostName, Option<Slot>>,
    launches: Vec<Launch>,
    hosts: BTreeSet<HostName>,
}

impl Draft {
    pub(super) fn new(guard: Guard) -> Self {
        Self {
            guard,
            txn: Txn::new(),
            slots: BTreeMap::new(),
            launches: Vec::new(),
            hosts: BTreeSet::new(),
        }
    }

    fn is_full(&self) -> bool {
        self.hosts.len() >= BATCH_HOSTS
    }
}
