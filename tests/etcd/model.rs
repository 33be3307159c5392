//! The model of etcd against etcd: random histories give the same answers, the same listing and
//! the same changes.

use std::cell::Cell;

use calico_dcos::sim::etcd::EtcdModel;
use calico_dcos::store::{
    Change, Compare, Entry, EtcdOptions, EtcdStore, Key, LeaseId, MAX_OPS, Op, Outcome, Refused,
    Space, StoreError, StoreEvent, Txn,
};
use calico_dcos::words::{Revision, Time};
use etcd_client::{Client, TxnOp, WatchOptions};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::sync::mpsc::Receiver;

use crate::support::Etcd;
use crate::{connect, control, next, options, outsider, patiently};

#[derive(Clone, Debug)]
enum Step {
    Txn {
        compares: Vec<(u8, Wanted)>,
        ops: Vec<(u8, Write)>,
        lease: Option<u8>,
    },
    Grant,
    Revoke(u8),
    /// As far back as this.
    Compact(u8),
    /// The changes since so many revisions ago.
    Watch(u8),
}

#[derive(Clone, Copy, Debug)]
enum Wanted {
    Modified { back: u8 },
    Created { back: u8 },
    Absent,
}

#[derive(Clone, Copy, Debug)]
enum Write {
    Put,
    PutLeased,
    Delete,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let wanted = prop_oneof![
        4 => Just(Wanted::Modified { back: 0 }),
        1 => (0..3_u8).prop_map(|back| Wanted::Modified { back }),
        2 => Just(Wanted::Created { back: 0 }),
        1 => (0..3_u8).prop_map(|back| Wanted::Created { back }),
        1 => Just(Wanted::Absent),
    ];
    let write = prop_oneof![
        4 => Just(Write::Put),
        1 => Just(Write::PutLeased),
        2 => Just(Write::Delete),
    ];
    let txn = (vec((0..6_u8, wanted), 0..3), vec((0..6_u8, write), 0..4), any::<Option<u8>>())
        .prop_map(|(compares, ops, lease)| Step::Txn { compares, ops, lease });
    let step = prop_oneof![
        12 => txn,
        2 => Just(Step::Grant),
        1 => any::<u8>().prop_map(Step::Revoke),
        1 => (0..4_u8).prop_map(Step::Compact),
        2 => (0..6_u8).prop_map(Step::Watch),
    ];
    vec(step, 1..25)
}

/// Keys of several kinds, so that the order in which they are kept matters.
fn key(n: u8) -> Key {
    match n {
        0 => Key::Leader,
        1 => Key::SlotGuard,
        2 => Key::Slot("a1".into()),
        3 => Key::DesiredCluster,
        n => Key::Control(n.to_string()),
    }
}

/// Both, side by side. The revisions of the real one are ahead by a constant.
struct Pair {
    model: EtcdModel,
    store: EtcdStore,
    client: Client,
    prefix: String,
    ahead: u64,
    compacted: Revision,
    leases: Vec<(LeaseId, LeaseId)>,
    writes: u32,
}

impl Pair {
    async fn new(etcd: &Etcd, prefix: String) -> Self {
        let options = EtcdOptions { prefix: prefix.clone(), ..options(etcd) };
        let store = EtcdStore::connect(&options).await.unwrap();
        let snapshot = store.list(Space::All).await.unwrap();
        let model = EtcdModel::new(snapshot.cluster_id);
        let ahead = snapshot.revision.0 - model.revision().0;
        let client = outsider(etcd).await;
        let (compacted, leases, writes) = (Revision(0), vec![], 0);
        Self { model, store, client, prefix, ahead, compacted, leases, writes }
    }

    /// A revision of the real one, as the model counts.
    fn counted(&self, real: Revision) -> Revision {
        Revision(real.0.saturating_sub(self.ahead))
    }

    fn real(&self, counted: Revision) -> i64 {
        i64::try_from(counted.0 + self.ahead).unwrap()
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Txn { compares, ops, lease } => self.txn(&compares, &ops, lease).await,
            Step::Grant => {
                let real = self.client.lease_grant(600, None).await.unwrap().id();
                self.leases.push((self.model.grant_lease(600_000, Time(0)), LeaseId(real)));
            }
            Step::Revoke(n) => {
                if let Some((modelled, real)) = self.lease(Some(n)) {
                    let ended = self.client.lease_revoke(real.0).await.is_ok();
                    assert_eq!(self.model.revoke(modelled), ended);
                }
            }
            Step::Compact(back) => {
                let to = Revision(self.model.revision().0.saturating_sub(u64::from(back)));
                // etcd refuses to go back; the model does nothing.
                if to > self.compacted.max(Revision(1)) {
                    self.client.compact(self.real(to), None).await.unwrap();
                    self.model.compact(to);
                    self.compacted = to;
                }
            }
            Step::Watch(back) => self.watch(back).await,
        }
    }

    fn lease(&self, n: Option<u8>) -> Option<(LeaseId, LeaseId)> {
        self.leases.get(usize::from(n?) % self.leases.len().max(1)).copied()
    }

    async fn txn(&mut self, compares: &[(u8, Wanted)], ops: &[(u8, Write)], lease: Option<u8>) {
        let (modelled_lease, real_lease) = self.lease(lease).unzip();
        let compares: Vec<_> = compares.iter().map(|&(n, wanted)| self.wanted(n, wanted)).collect();
        let ops: Vec<_> = ops.iter().map(|&(n, write)| self.write(n, write)).collect();
        let txn = Txn { compares, ops };
        let modelled = self.model.txn(&txn, modelled_lease);
        let real = match self.store.txn_with(&self.shifted(&txn), real_lease).await {
            Ok(Outcome::Committed(revision)) => Ok(Outcome::Committed(self.counted(revision))),
            Ok(Outcome::Conflict) => Ok(Outcome::Conflict),
            Err(StoreError::Refused(refused)) => Err(refused),
            Err(error) => panic!("{error:?}"),
        };
        assert_eq!(modelled, real, "{txn:?}");
    }

    fn wanted(&self, n: u8, wanted: Wanted) -> Compare {
        let found = self.model.get(&key(n));
        let revision = |of: fn(&Entry) -> Revision, back: u8| {
            Revision(found.as_ref().map_or(Revision(0), of).0.saturating_sub(u64::from(back)))
        };
        match wanted {
            Wanted::Modified { back } => {
                Compare::ModRevision(key(n), revision(|entry| entry.mod_revision, back))
            }
            Wanted::Created { back } => {
                Compare::CreateRevision(key(n), revision(|entry| entry.create_revision, back))
            }
            Wanted::Absent => Compare::ModRevision(key(n), Revision(0)),
        }
    }

    fn write(&mut self, n: u8, write: Write) -> Op {
        self.writes += 1;
        let value = self.writes.to_string();
        match write {
            Write::Put => Op::Put { key: key(n), value, lease: false },
            Write::PutLeased => Op::Put { key: key(n), value, lease: true },
            Write::Delete => Op::Delete(key(n)),
        }
    }

    fn shifted(&self, txn: &Txn) -> Txn {
        let shift = |&revision: &Revision| match revision {
            Revision(0) => Revision(0),
            Revision(counted) => Revision(counted + self.ahead),
        };
        let compares = txn.compares.iter().map(|compare| match compare {
            Compare::ModRevision(key, revision) => {
                Compare::ModRevision(key.clone(), shift(revision))
            }
            Compare::CreateRevision(key, revision) => {
                Compare::CreateRevision(key.clone(), shift(revision))
            }
        });
        Txn { compares: compares.collect(), ops: txn.ops.clone() }
    }

    /// Asks etcd itself for the changes after a revision, as the store does.
    async fn watch(&mut self, back: u8) {
        let from = Revision(self.model.revision().0.saturating_sub(u64::from(back)).max(1));
        let modelled = self.model.changes_since(from);
        let end = modelled.as_ref().ok().and_then(|changes| changes.last()).map(Change::revision);
        let options = WatchOptions::new().with_prefix().with_start_revision(self.real(from));
        let path = format!("{}/", self.prefix);
        let mut stream = self.client.watch(path, Some(options)).await.unwrap();
        let (mut told, mut last) = (0, Revision(0));
        while modelled.is_err() || end.is_some_and(|end| last < end) {
            let message = patiently("a watch", stream.message()).await.unwrap().unwrap();
            if message.canceled() {
                assert!(message.compact_revision() > 0 && modelled.is_err(), "{from} {modelled:?}");
                return;
            }
            assert!(modelled.is_ok() || message.created(), "{from} {modelled:?}");
            for event in message.events() {
                let at = u64::try_from(event.kv().unwrap().mod_revision()).unwrap();
                last = self.counted(Revision(at));
                told += usize::from(last > from);
            }
        }
        assert_eq!(told, modelled.unwrap_or_default().len());
    }

    async fn told(&self, events: &mut Receiver<StoreEvent>) -> Vec<Change> {
        match next(events).await {
            StoreEvent::Changed { changes, .. } => {
                changes.into_iter().map(|change| self.counted_change(change)).collect()
            }
            event => panic!("{event:?}"),
        }
    }

    fn counted_entry(&self, mut entry: Entry) -> Entry {
        entry.mod_revision = self.counted(entry.mod_revision);
        entry.create_revision = self.counted(entry.create_revision);
        entry
    }

    fn counted_change(&self, change: Change) -> Change {
        match change {
            Change::Put(entry) => Change::Put(self.counted_entry(entry)),
            Change::Deleted { key, revision } => {
                Change::Deleted { key, revision: self.counted(revision) }
            }
        }
    }
}

async fn run(etcd: &Etcd, prefix: String, steps: Vec<Step>) {
    let mut pair = Pair::new(etcd, prefix).await;
    let mut events = pair.store.watch();
    assert!(matches!(next(&mut events).await, StoreEvent::Listed(_)));
    // A watch that has told something has caught up, and no compaction can hurt it.
    let first = Step::Txn { compares: vec![], ops: vec![(0, Write::Put)], lease: None };
    let (mut expected, mut told) = (Vec::new(), Vec::new());
    for step in std::iter::once(first).chain(steps) {
        let before = pair.model.revision();
        pair.take(step).await;
        // Before a compaction can forget them.
        expected.extend(pair.model.changes_since(before).unwrap());
        if told.is_empty() {
            told = pair.told(&mut events).await;
        }
    }
    for space in Space::EACH {
        let mut real = pair.store.list(space).await.unwrap();
        real.revision = pair.counted(real.revision);
        real.entries = real.entries.into_iter().map(|entry| pair.counted_entry(entry)).collect();
        assert_eq!(pair.model.list(space), real);
    }
    while told.len() < expected.len() {
        told.extend(pair.told(&mut events).await);
    }
    assert_eq!(told, expected);
}

#[test]
fn random_histories_go_the_same_way_in_the_model_and_in_etcd() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let etcd = Etcd::start();
    let cases = Cell::new(0);
    let config = Config { cases: 60, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&steps(), |steps| {
            cases.set(cases.get() + 1);
            runtime.block_on(run(&etcd, format!("/case-{}", cases.get()), steps));
            Ok(())
        })
        .unwrap();
}

/// The store refuses these before they are sent; here etcd is asked.
#[tokio::test]
async fn what_the_store_refuses_etcd_refuses_too() {
    let etcd = Etcd::start();
    let store = connect(&etcd).await;
    let (put, delete) = (TxnOp::put("k", "", None), TxnOp::delete("k", None));
    let many = |n: usize| (0..n).map(|n| TxnOp::put(n.to_string(), "", None)).collect::<Vec<_>>();
    let table = [
        (vec![put.clone(), put.clone()], false),
        (vec![put.clone(), delete.clone()], false),
        (vec![delete.clone(), put.clone()], false),
        (vec![delete.clone(), delete.clone()], true),
        (many(MAX_OPS), true),
        (many(MAX_OPS + 1), false),
    ];
    for (ops, taken) in table {
        let txn = etcd_client::Txn::new().and_then(ops.clone());
        assert_eq!(outsider(&etcd).await.txn(txn).await.is_ok(), taken, "{ops:?}");
    }
    let twice = Txn::new().put(control("a"), "").delete(control("a"));
    assert!(matches!(store.txn(&twice).await, Err(StoreError::Refused(Refused::DuplicateKey(_)))));
}
