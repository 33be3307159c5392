//! Events, each put to where it belongs.

use crate::budget::slot::admit;
use crate::job::order::FromHost;
use crate::mesos::v1::FrameworkId;
use crate::mesos::v1::scheduler::Event as MesosEvent;
use crate::mesos::v1::scheduler::Message;
use crate::observed::fleet::{Farewell, Folded};
use crate::observed::tasks::Seen;
use crate::store::keys::Key;
use crate::store::txn::StoreEvent;
use crate::words::{Attempt, HostName, Run, Time};

use super::event::{Effect, Event, Level};
use super::host::Hosts;
use super::ledger::{After, InFlight};
use super::members::Etcd;
use super::notices::Notices;
use super::records::{FrameworkRecord, RECORDS_VERSION, to_json};
use super::slots::{Admission, denied};
use super::{Controller, Session};

impl Controller {
    /// Gives whether a pass has to look at it.
    pub(super) fn fold(&mut self, event: Event, now: Time) -> bool {
        match event {
            Event::Mesos(MesosEvent::Heartbeat) => return false,
            // A stream that is not asked for any more, and has not ended yet.
            Event::Mesos(_) if self.session == Session::Off => return false,
            Event::Mesos(MesosEvent::Message(message)) if self.leading.is_some() => {
                return self.message(&message, now);
            }
            Event::Leading { created } => {
                self.leading = Some(created);
                self.listed = false;
                // While it stood by it heard nothing: what it knows of hosts is as good as of none.
                self.hosts = Hosts::default();
                self.effects.push(Effect::Relist);
            }
            Event::Deposed => self.deposed(),
            Event::Store(StoreEvent::Listed(snapshot)) => self.listed(&snapshot, now),
            Event::Store(StoreEvent::Changed { changes, revision }) => {
                self.newest = self.newest.max(revision);
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
            Event::GatesAnswered(answer) => self.gates_answered(answer, now),
            Event::Members(answer) => self.members_answered(answer, now),
            Event::ScheduleEdited(answer) => self.schedule_edited(answer, now),
            Event::Disconnected => {
                self.session = Session::Off;
                self.offers.reset(self.offers.suppressed());
                self.asked_back.clear();
                self.launching.clear();
            }
            Event::Removed => self.removed(),
            Event::Agents(agents) => self.agents(&agents, now),
            Event::AgentsHidden { why } => self.agents_hidden(&why, now),
            Event::Presented { given_up } => self.given_up = given_up,
        }
        true
    }

    pub(super) fn deposed(&mut self) {
        if self.leading.take().is_none() {
            return;
        }
        self.listed = false;
        self.hang_up();
        self.launching.clear();
        self.notices = Notices::default();
        self.etcd = Etcd::default();
        self.note(Level::Warning, None, "this process does not lead any more; it stands by");
    }

    pub(super) fn hang_up(&mut self) {
        if self.session != Session::Off {
            self.effects.push(Effect::Unsubscribe);
        }
        self.session = Session::Off;
        self.offers.reset(self.offers.suppressed());
    }

    pub(super) fn relist(&mut self) {
        if self.listed {
            self.listed = false;
            self.effects.push(Effect::Relist);
        }
    }

    fn mesos(&mut self, event: MesosEvent, now: Time) {
        if self.leading.is_none() {
            return;
        }
        match event {
            MesosEvent::Subscribed(subscribed) => self.subscribed(subscribed.framework_id, now),
            MesosEvent::Offers(offers) => {
                for offer in offers {
                    self.connected(&offer.agent_id, now);
                    self.announced(&offer.agent_id, offer.unavailability, now);
                    self.offered(offer, now);
                }
            }
            MesosEvent::InverseOffers(offers) => {
                for offer in offers {
                    self.asked_back(offer, now);
                }
            }
            MesosEvent::RescindInverseOffer(id) => drop(self.asked_back.remove(&id)),
            MesosEvent::Rescind(id) => {
                self.offers.remove(&id);
            }
            MesosEvent::Update(status) => self.update(&status, now),
            MesosEvent::Failure(failure) if failure.executor_id.is_none() => {
                self.poll_soon();
                self.agent_failed(failure.agent_id.as_ref(), now);
            }
            _ => {}
        }
    }

    fn subscribed(&mut self, id: FrameworkId, now: Time) {
        self.session = Session::Open;
        self.offers.reset(self.offers.suppressed());
        self.launching.clear();
        self.last_poll = None;
        self.poll_soon();
        self.agents_known = false;
        self.keep_framework(id);
        self.reconcile_all(now);
    }

    /// Writes down who we are, unless that is done.
    pub(super) fn keep_framework(&mut self, id: FrameworkId) {
        if self.framework.as_ref() != Some(&id) || !self.framework_saved {
            let record = FrameworkRecord { version: RECORDS_VERSION, id: id.0.clone() };
            self.ledger.put(Key::FrameworkId, to_json(&record));
            self.ledger.after(After::FrameworkSaved);
            self.framework_saved = false;
        }
        self.framework = Some(id);
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

    /// A confirmation changes nothing but when the host was heard last, and that it is silent no more.
    fn message(&mut self, message: &Message, now: Time) -> bool {
        match serde_json::from_slice::<FromHost>(&message.data.0) {
            Ok(FromHost::Ask { host, attempt, run, .. }) => {
                self.asked(&host, attempt, run, message, now);
                true
            }
            Ok(FromHost::Confirm { host, order, .. }) => self.confirmed(&host, &order, now),
            Ok(FromHost::Blind { host, why, .. }) => self.blind(&host, why),
            Ok(FromHost::Stays { host, why, .. }) => {
                self.takes_leave(&host, Farewell::Stays { why });
                true
            }
            Ok(FromHost::Facts { .. } | FromHost::Ended { .. } | FromHost::Left { .. })
            | Err(_) => false,
        }
    }

    /// A host cannot be looked at.
    fn blind(&mut self, name: &HostName, why: String) -> bool {
        let Some(host) = self.hosts.touch(name) else { return false };
        let text = format!("cannot be looked at: {why}");
        if host.record.fold_blind(Some(why)) == Folded::Same {
            return false;
        }
        self.put_record(name);
        self.note(Level::Warning, Some(name), text);
        true
    }

    /// A host asks whether it may disrupt. Only a committed record is a yes.
    fn asked(&mut self, name: &HostName, attempt: Attempt, run: Run, message: &Message, now: Time) {
        let Some(host) = self.hosts.get(name) else { return };
        let ours = |task: &crate::observed::tasks::TaskRecord| task.agent == message.agent_id;
        // Nobody knows who is at work where the records are those of a backup, or cannot be read.
        if self.restored.is_some() || self.broken.is_some() || self.unreadable.is_some() {
            return;
        }
        if !self.listed || !host.tasks.carrier().is_some_and(|(_, task)| ours(task)) {
            return;
        }
        let busy = self.ledger.guarded().is_some_and(|batch| batch.slots.contains_key(name))
            || self.ledger.admissions().any(|admission| admission.host == *name);
        // Never while a task of ours is on its way there: an agent that restarts would lose it.
        let staging = host.tasks.tasks.values().any(|task| task.seen == Seen::Nothing);
        let in_peace = host.is_left_in_peace(now);
        if busy || staging {
            return;
        }
        let (agent, executor) = (message.agent_id.clone(), message.executor_id.clone());
        let admitted = host.slot.as_ref().map(|(slot, at)| (admit(slot, attempt, &run), slot, *at));
        match admitted {
            // Maintenance was announced since, or a window has closed: nothing begins there, and what has begun goes on.
            Some((Ok(next), slot, at)) if next == *slot || !in_peace => {
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
            Some(_) | None => {
                let call = denied(&agent, &executor, attempt, run);
                self.effects.push(Effect::Call(Box::new(call)));
            }
        }
    }
}
