//! Writes to etcd: collected during a pass, sent as few transactions, and what may only happen
//! once they are committed.
//!
//! Every transaction compares the leader key, so that a deposed leader writes nothing. Two sorts:
//! plain writes, which nobody else makes; and one *guarded* transaction at a time, which also
//! compares the guard and the slots that it changes.

use std::collections::BTreeMap;

use crate::mesos::v1::scheduler::Call;
use crate::store::keys::Key;
use crate::store::txn::{Op, Txn};
use crate::words::{HostName, Revision};

use super::event::{Effect, TxnId};
use super::launch::Launch;
use super::slots::{Admission, Batch};

/// Operations in one plain transaction; etcd takes 128.
const PLAIN_OPS: usize = 120;

/// What may only happen once a transaction is committed.
#[derive(Clone, Debug)]
pub(super) enum After {
    /// A call, for example an acknowledgement.
    Call(Box<Call>),
    /// A launch.
    Launch(Box<Launch>),
    /// The framework ID is safe.
    FrameworkSaved,
    /// A notice to the frameworks may be given.
    Notice(HostName),
    /// Hosts are off the list.
    Relist,
}

/// A transaction under way.
#[derive(Clone, Debug)]
pub(super) enum InFlight {
    /// Plain writes.
    Plain(Vec<After>),
    /// The guarded one.
    Guarded(Box<Batch>),
    /// The answer to a host that asked.
    Admission(Box<Admission>),
}

/// The writes of this leader.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    leader: Revision,
    ops: BTreeMap<Key, Op>,
    after: Vec<After>,
    last_id: u64,
    in_flight: BTreeMap<TxnId, InFlight>,
}

impl Ledger {
    /// Forgets everything, and writes as the leader since `created` from now on.
    pub(super) fn reset(&mut self, created: Revision) {
        let last_id = self.last_id;
        *self = Self { leader: created, last_id, ..Self::default() };
    }

    pub(super) fn put(&mut self, key: Key, value: String) {
        self.ops.insert(key.clone(), Op::Put { key, value, lease: false });
    }

    pub(super) fn delete(&mut self, key: Key) {
        self.ops.insert(key.clone(), Op::Delete(key));
    }

    /// Once everything put so far is committed.
    pub(super) fn after(&mut self, after: After) {
        self.after.push(after);
    }

    /// A transaction that only this leader can make.
    pub(super) fn fenced(&self) -> Txn {
        Txn::new().if_created_at(Key::Leader, self.leader)
    }

    pub(super) fn send(&mut self, txn: Txn, what: InFlight) -> Effect {
        self.last_id += 1;
        let id = TxnId(self.last_id);
        self.in_flight.insert(id, what);
        Effect::Txn { id, txn }
    }

    pub(super) fn answered(&mut self, id: TxnId) -> Option<InFlight> {
        self.in_flight.remove(&id)
    }

    pub(super) fn is_idle(&self) -> bool {
        self.in_flight.is_empty() && self.ops.is_empty() && self.after.is_empty()
    }

    /// The guarded transaction under way.
    pub(super) fn guarded(&self) -> Option<&Batch> {
        self.in_flight.values().find_map(|flight| match flight {
            InFlight::Guarded(batch) => Some(&**batch),
            _ => None,
        })
    }

    pub(super) fn admissions(&self) -> impl Iterator<Item = &Admission> {
        self.in_flight.values().filter_map(|flight| match flight {
            InFlight::Admission(admission) => Some(&**admission),
            _ => None,
        })
    }

    /// Sends what was put. Transactions are carried out in order, so what is to come after all
    /// of it comes after the last.
    pub(super) fn flush(&mut self, effects: &mut Vec<Effect>) {
        let mut ops = std::mem::take(&mut self.ops).into_values().peekable();
        let after = std::mem::take(&mut self.after);
        let waits = self.in_flight.values().any(|flight| matches!(flight, InFlight::Plain(_)));
        if ops.peek().is_none() && !waits {
            // Nothing to wait for: calls go out at once. Launches always have a write.
            for after in after {
                if let After::Call(call) = after {
                    effects.push(Effect::Call(call));
                }
            }
            return;
        }
        while ops.peek().is_some() {
            let mut txn = self.fenced();
            txn.ops.extend(ops.by_ref().take(PLAIN_OPS));
            effects.push(self.send(txn, InFlight::Plain(Vec::new())));
        }
        let last = self.in_flight.iter_mut().rev().find_map(|(_, flight)| match flight {
            InFlight::Plain(waiting) => Some(waiting),
            _ => None,
        });
        if let Some(waiting) = last {
            waiting.extend(after);
        }
    }
}
