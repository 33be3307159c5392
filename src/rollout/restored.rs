//! etcd restored from a backup: what its records say about slots is not true any more. Nothing
//! starts and no host is told yes until every host has reported afresh; then the slots are made
//! anew from the journals.

use std::collections::BTreeMap;

use crate::budget::books::{Books, Untrue, check, rebuild};
use crate::budget::slot::Slot;
use crate::job::executor::ASK_FOR_MS;
use crate::mesos::v1::scheduler::{Call, Reconcile};
use crate::observed::facts::FactOrder;
use crate::observed::fleet::Folded;
use crate::plan::assess::STALE_SECONDS;
use crate::store::keys::Key;
use crate::words::{HostName, Revision, TaskId, TaskKind, Time};

use super::Controller;
use super::event::{Effect, Level};
use super::host::Host;
use super::launch::kill;
use super::ledger::InFlight;
use super::records::to_json;
use super::slots::{BATCH_HOSTS, Batch};

/// How many names a note lists.
const NAMES: usize = 5;

/// Since this process knows that the records are those of a backup.
#[derive(Clone, Copy, Debug)]
pub(super) struct Restored {
    since: Time,
    /// The master was asked for every task, also those that nobody wrote down.
    asked: bool,
}

impl Restored {
    /// Reports from then on are fresh. A host that was told yes before opens its journal until
    /// then, or never.
    fn settled(self) -> Time {
        self.since.plus_ms(ASK_FOR_MS)
    }
}

impl Controller {
    /// Looks at the records of slots side by side, as they are known now.
    pub(super) fn check_books(&mut self, now: Time) {
        let hosts = self.hosts.all.values();
        let journals = hosts.clone().filter_map(|host| host.record.facts()?.journal.as_ref());
        let books = Books {
            guard: self.guard.as_ref().map(|(guard, _)| guard),
            slots: hosts.filter(|host| host.slot.is_some()).count() + self.stray_slots.len(),
            cluster: Some(&self.cluster),
            newest: journals.map(|journal| journal.attempt).max(),
        };
        match check(books) {
            Ok(()) => {
                if self.restored.take().is_some() {
                    self.note(
                        Level::Info,
                        None,
                        "the slots are those that hosts report; work goes on",
                    );
                }
            }
            Err(Untrue::Restored) => self.is_restored(now),
            Err(miscounted @ Untrue::Miscounted { .. }) => {
                self.broken.get_or_insert_with(|| miscounted.to_string());
            }
        }
    }

    /// From now on nothing starts.
    pub(super) fn is_restored(&mut self, now: Time) {
        if self.restored.is_none() {
            self.restored = Some(Restored { since: now, asked: false });
            self.note(Level::Warning, None, Untrue::Restored.to_string());
        }
    }

    /// A host has an attempt on record that was never ordered, as far as etcd knows.
    pub(super) fn knows_more(&self, host: &Host) -> bool {
        let journal = host.record.facts().and_then(|facts| facts.journal.as_ref());
        let ordered = self.guard.as_ref().map(|(guard, _)| guard.attempt);
        journal.is_some_and(|journal| ordered.is_some_and(|ordered| ordered < journal.attempt))
    }

    /// A task that nobody wrote down, of a leader that came after this one as etcd counts: etcd
    /// has counted further before.
    pub(super) fn comes_from_later(&self, task: &TaskId) -> bool {
        let numbers = task.as_str().rsplit('.').next();
        let leader = numbers.and_then(|text| text.split('-').next()?.parse().ok());
        leader.zip(self.leading).is_some_and(|(of_task, ours)| Revision(of_task) > ours)
    }

    /// An observer says that its facts hold. Gives whether a pass has to look at it.
    pub(super) fn confirmed(&mut self, name: &HostName, order: &FactOrder, now: Time) -> bool {
        let Some(host) = self.hosts.all.get_mut(name) else { return false };
        if host.record.reported.as_ref().is_some_and(|known| !known.facts.is_readable()) {
            self.observer_is_foreign(name, now);
            return true;
        }
        if host.record.facts().is_some_and(|facts| facts.order == *order) {
            let was_silent = now.since(host.heard) / 1000 > STALE_SECONDS;
            host.heard = now;
            host.spoke = Some(now);
            host.strange = None;
            let was_blind = host.record.fold_blind(None) == Folded::Changed;
            if was_silent || was_blind {
                self.hosts.touch(name);
            }
            if was_blind {
                self.put_record(name);
            }
            return was_silent || was_blind || self.restored.is_some();
        }
        let strange = host.strange.take().filter(|(of, _)| of == order);
        let (_, since) = host.strange.insert(strange.unwrap_or_else(|| (order.clone(), now)));
        // The facts that it confirms are not under way any more: they are lost with the store, also
        // where this process was not there to see that, and a new observer reports anew.
        let lost = match self.restored {
            Some(restored) => now >= restored.settled(),
            None => now.since(*since) >= ASK_FOR_MS,
        };
        if lost && let Some(task) = host.tasks.tasks.get(&TaskKind::Observer) {
            let call = kill(&task.id, &task.agent);
            self.effects.push(Effect::Call(Box::new(call)));
        }
        false
    }

    /// Makes the slots anew, as soon as every host has reported.
    pub(super) fn rebuild_slots(&mut self, restored: Restored, now: Time) {
        if !restored.asked {
            self.ask_for_all();
            self.restored = Some(Restored { asked: true, ..restored });
        }
        if self.silent(restored).next().is_some() || self.hosts.all.is_empty() {
            return;
        }
        // Agents may have come back since, to another master too.
        self.ask_for_all();
        let Some((guard, at)) = self.guard.clone() else { return };
        let held = self.hosts.all.iter().filter_map(|(name, host)| Some((name, host.slot()?)));
        let strays = self.stray_slots.iter().map(|(name, (slot, _))| (name, slot));
        let slots: BTreeMap<HostName, Slot> =
            held.chain(strays).map(|(name, slot)| (name.clone(), slot.clone())).collect();
        let journals = self
            .hosts
            .all
            .iter()
            .filter_map(|(name, host)| Some((name, host.record.facts()?.journal.as_ref()?)));
        let rebuilt = rebuild(&guard, &slots, journals, &self.cluster, BATCH_HOSTS, now);
        let mut txn = self.ledger.fenced().if_at(Key::SlotGuard, at);
        txn = txn.put(Key::SlotGuard, to_json(&rebuilt.guard));
        for (name, slot) in &rebuilt.slots {
            let known = self.hosts.get(name).and_then(|host| host.slot.as_ref());
            txn = txn.if_at(Key::Slot(name.clone()), known.map_or(Revision(0), |(_, at)| *at));
            txn = match slot {
                Some(slot) => txn.put(Key::Slot(name.clone()), to_json(slot)),
                None => txn.delete(Key::Slot(name.clone())),
            };
        }
        let batch = Batch { guard: rebuilt.guard, slots: rebuilt.slots, launches: Vec::new() };
        let effect = self.ledger.send(txn, InFlight::Guarded(Box::new(batch)));
        self.effects.push(effect);
    }

    /// Without tasks Mesos is asked for all of them: those that the backup does not know are ended.
    fn ask_for_all(&mut self) {
        let all = Call::Reconcile(Reconcile { tasks: Vec::new() });
        self.effects.push(Effect::Call(Box::new(all)));
    }

    /// Says now and then who is waited for.
    pub(super) fn name_silent(&mut self) {
        let Some(restored) = self.restored else { return };
        let silent: Vec<&str> = self.silent(restored).map(HostName::as_str).collect();
        if silent.is_empty() {
            return;
        }
        let more = if silent.len() > NAMES { ", …" } else { "" };
        let names = silent.iter().take(NAMES).copied().collect::<Vec<_>>().join(", ");
        let text = format!("store-restored: waits for {} to report: {names}{more}", silent.len());
        self.note(Level::Warning, None, text);
    }

    /// Hosts that have not reported afresh and still could.
    fn silent(&self, restored: Restored) -> impl Iterator<Item = &HostName> {
        let fresh = move |host: &Host| host.spoke.is_some_and(|at| at >= restored.settled());
        let hosts = self.hosts.all.iter();
        hosts.filter(move |(_, host)| !host.is_mute() && !fresh(host)).map(|(name, _)| name)
    }
}
