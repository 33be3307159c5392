//! A controller process and etcd: its transactions and what it watches, in their order, and the
//! leader's lease.

use crate::rollout::event::Event;
use crate::rollout::records::to_json;
use crate::store::LeaderRecord;
use crate::store::keys::{Key, Space};
use crate::store::txn::{LeaseId, Op, Outcome, StoreEvent, Txn};
use crate::words::{Revision, Time};

use super::super::plant::Plant;
use super::super::{ETCD_MS, START, World};
use super::{Act, Ask, Life};

/// A leader's lease.
const LEASE_MS: u64 = 10_000;
/// A transaction that etcd does not answer for so long is given up.
const ETCD_TIMEOUT_MS: u64 = 5_000;

impl World {
    pub(super) fn store_soon(&mut self, at: usize) {
        let process = &mut self.processes[at];
        if !std::mem::replace(&mut process.store_busy, true) {
            let incarnation = process.incarnation;
            self.later(self.now.plus_ms(ETCD_MS), Act::Store(at, incarnation));
        }
    }

    pub(super) fn store_next(&mut self, at: usize, incarnation: u64) {
        if self.processes[at].incarnation != incarnation {
            return;
        }
        let Some(ask) = self.processes[at].asks.pop_front() else {
            self.processes[at].store_busy = false;
            return;
        };
        if let (true, Ask::Txn(id, ..)) = (self.processes[at].astray, &ask) {
            let id = *id;
            self.deliver(at, incarnation, Event::TxnUnknown { id });
            self.later(self.now, Act::Store(at, incarnation));
            return;
        }
        if !self.etcd_up || self.processes[at].etcd_cut_until > self.now {
            let gave_up = match &ask {
                Ask::Txn(id, _, since) => (self.now.since(*since) > ETCD_TIMEOUT_MS).then_some(*id),
                Ask::List => None,
            };
            match gave_up {
                Some(id) => {
                    self.processes[at].astray = true;
                    self.deliver(at, incarnation, Event::TxnUnknown { id });
                }
                None => self.processes[at].asks.push_front(ask),
            }
            self.later(self.now.plus_ms(200), Act::Store(at, incarnation));
            return;
        }
        let event = match ask {
            Ask::Txn(id, txn, _) => match self.etcd.txn(&txn, None) {
                Ok(_) if self.answers_lost_until > self.now => Event::TxnUnknown { id },
                Ok(outcome) => Event::TxnDone { id, outcome },
                Err(refused) => {
                    self.town.meter.happened(format!("etcd refused: {refused}"), self.now);
                    Event::TxnUnknown { id }
                }
            },
            Ask::List => {
                let snapshot = self.etcd.list(Space::All);
                self.processes[at].watched = Some(snapshot.revision);
                Event::Store(StoreEvent::Listed(snapshot))
            }
        };
        self.processes[at].astray = matches!(event, Event::TxnUnknown { .. });
        if matches!(event, Event::TxnDone { .. }) && self.dies_at_write(at) {
            return;
        }
        self.deliver(at, incarnation, event);
        if self.processes[at].asks.is_empty() {
            self.processes[at].store_busy = false;
        } else {
            self.later(self.now.plus_ms(ETCD_MS), Act::Store(at, incarnation));
        }
    }

    pub(super) fn deliver(&mut self, at: usize, incarnation: u64, event: Event) {
        self.act(Act::Deliver(at, incarnation, Box::new(event)));
    }

    pub(in crate::sim::run) fn watch_later(&mut self, at: usize) {
        self.watch_at(at, self.now.plus_ms(ETCD_MS));
    }

    fn watch_at(&mut self, at: usize, due: Time) {
        let process = &mut self.processes[at];
        if process.life != Life::Dead && !std::mem::replace(&mut process.watch_due, true) {
            let incarnation = process.incarnation;
            self.later(due, Act::Watch(at, incarnation));
        }
    }

    pub(super) fn watch(&mut self, at: usize) {
        self.processes[at].watch_due = false;
        let Some(from) = self.processes[at].watched else {
            // A standby looks for the leader only.
            if self.processes[at].leads.is_none() && self.etcd.get(&Key::Leader).is_none() {
                self.stand(at);
            }
            return;
        };
        if !self.etcd_up
            || self.processes[at].etcd_cut_until > self.now
            || self.watch_late_until > self.now
        {
            self.watch_at(at, self.now.plus_ms(200));
            return;
        }
        let revision = self.etcd.revision();
        let event = match self.etcd.changes_since(from) {
            Ok(changes) if changes.is_empty() => return,
            Ok(changes) => StoreEvent::Changed { revision, changes },
            Err(_) => return self.list(at),
        };
        self.processes[at].watched = Some(revision);
        self.hand(at, Event::Store(event));
    }

    /// Everything is listed again, in the order of the transactions.
    fn list(&mut self, at: usize) {
        self.processes[at].asks.push_back(Ask::List);
        self.store_soon(at);
    }

    /// What was watched is not there any more: all who watch list.
    pub(in crate::sim::run) fn list_anew(&mut self) {
        for at in 0..self.processes.len() {
            let process = &self.processes[at];
            if process.life != Life::Dead && process.watched.is_some() {
                self.list(at);
            }
        }
    }

    /// Whether the leader dies now, after what it wrote and before it hears of it.
    fn dies_at_write(&mut self, at: usize) -> bool {
        let Some((left, for_ms)) = self.crash_at.filter(|_| self.processes[at].leads()) else {
            return false;
        };
        self.crash_at = (left > 1).then_some((left - 1, for_ms));
        if left > 1 {
            return false;
        }
        self.kill(at, for_ms);
        true
    }

    // --- leadership ------------------------------------------------------------------------

    pub(super) fn lease(&mut self, at: usize) {
        let incarnation = self.processes[at].incarnation;
        self.later(self.now.plus_ms(LEASE_MS / 3), Act::Lease(at, incarnation));
        if self.plant == Some(Plant::NeverRests) {
            let _ = self.etcd.txn(&Txn::new().put(Key::History(1), "again"), None);
        }
        self.stand(at);
    }

    /// Keeps the lease, and leads if nobody does.
    fn stand(&mut self, at: usize) {
        if !self.etcd_up || self.processes[at].etcd_cut_until > self.now {
            return;
        }
        if let Some(lease) = self.processes[at].lease {
            let left = self.etcd.keep_alive(lease, self.now);
            if left > 0 {
                if self.processes[at].leads.is_none() {
                    self.campaign(at, lease);
                }
                return;
            }
            self.processes[at].lease = None;
            if self.processes[at].leads.take().is_some() {
                self.processes[at].watched = None;
                self.hand(at, Event::Deposed);
            }
        }
        let lease = self.etcd.grant_lease(LEASE_MS, self.now);
        self.processes[at].lease = Some(lease);
        self.campaign(at, lease);
    }

    fn campaign(&mut self, at: usize, lease: LeaseId) {
        let name = format!("controller-{at}");
        let value = to_json(&LeaderRecord { version: 1, name, started: START, url: None });
        let mut txn = Txn::new().if_at(Key::Leader, Revision(0));
        txn.ops.push(Op::Put { key: Key::Leader, value, lease: true });
        if let Ok(Outcome::Committed(created)) = self.etcd.txn(&txn, Some(lease)) {
            self.processes[at].leads = Some(created);
            self.town.meter.happened(format!("controller-{at} leads"), self.now);
            self.hand(at, Event::Leading { created });
        }
    }

    pub(super) fn resign(&mut self, at: usize) {
        let process = &mut self.processes[at];
        process.leads = None;
        process.watched = None;
        if let Some(lease) = process.lease.take() {
            self.etcd.revoke(lease);
        }
    }
}
