//! The store against real etcd: what it does when etcd is well, and when it is not.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "in a test they are assertions")]

mod access;
mod faults;
mod leader;
mod members;
mod model;
#[expect(dead_code, reason = "nothing here runs the demo")]
#[path = "../support/mod.rs"]
mod support;

use std::future::Future;
use std::time::Duration;

use calico_dcos::store::{
    Entry, EtcdOptions, EtcdStore, Key, Outcome, Snapshot, Space, StoreEvent, Txn,
};
use calico_dcos::words::Revision;
use support::{Etcd, PATIENCE};
use tokio::sync::mpsc;

/// Short enough for a test to wait for, long enough for a machine that is busy.
const TIMEOUT: Duration = Duration::from_secs(2);

fn options(etcd: &Etcd) -> EtcdOptions {
    EtcdOptions { endpoints: vec![etcd.endpoint()], timeout: TIMEOUT, ..EtcdOptions::default() }
}

async fn connect(etcd: &Etcd) -> EtcdStore {
    EtcdStore::connect(&options(etcd)).await.expect("etcd answers")
}

/// Somebody else at the same etcd.
async fn outsider(etcd: &Etcd) -> etcd_client::Client {
    etcd_client::Client::connect([etcd.endpoint()], None).await.expect("etcd answers")
}

async fn patiently<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| panic!("waited for {what}"))
}

async fn next<T>(events: &mut mpsc::Receiver<T>) -> T {
    patiently("an event", events.recv()).await.expect("the sender lives")
}

async fn next_listing(events: &mut mpsc::Receiver<StoreEvent>) -> Snapshot {
    loop {
        if let StoreEvent::Listed(snapshot) = next(events).await {
            return snapshot;
        }
    }
}

fn control(name: &str) -> Key {
    Key::Control(name.to_owned())
}

async fn put(store: &EtcdStore, key: Key, value: &str) -> Revision {
    match store.txn(&Txn::new().put(key, value)).await.expect("etcd answers") {
        Outcome::Committed(revision) => revision,
        Outcome::Conflict => panic!("nothing was compared"),
    }
}

#[tokio::test]
async fn what_is_written_is_read_and_listed_as_it_is() {
    let etcd = Etcd::start();
    let store = connect(&etcd).await;
    let mut outsider = outsider(&etcd).await;
    let raw = "not: [JSON, nor\tYAML ü";
    let first = put(&store, Key::SlotGuard, raw).await;
    let second = put(&store, Key::SlotGuard, raw).await;
    put(&store, Key::Slot("a/1".into()), "1").await;
    outsider.put("/calico-dcos/slots/", "not ours", None).await.unwrap();
    outsider.put("/calico-dcos0", "not ours", None).await.unwrap();
    let last = put(&store, Key::Leader, "me").await;

    let guard = Entry {
        key: Key::SlotGuard,
        value: raw.into(),
        mod_revision: second,
        create_revision: first,
    };
    assert_eq!(store.get(&Key::SlotGuard).await.unwrap(), Some(guard.clone()));
    assert_eq!(store.get(&Key::DesiredCluster).await.unwrap(), None);
    let slots = store.list(Space::Slots).await.unwrap();
    assert_eq!(slots.revision, last);
    assert_eq!(slots.cluster_id, store.cluster_id());
    assert_ne!(slots.cluster_id, 0);
    assert_eq!(slots.get(&Key::SlotGuard), Some(&guard));
    assert_eq!(slots.entries.len(), 2);
    assert_eq!(store.list(Space::All).await.unwrap().entries.len(), 3);
    assert_eq!(store.list(Space::Desired).await.unwrap().entries, []);
}

/// Scenario 54.
#[tokio::test]
async fn a_key_deleted_and_created_anew_refuses_a_write_on_what_was_read() {
    let etcd = Etcd::start();
    let store = connect(&etcd).await;
    let read = put(&store, Key::SlotGuard, "same").await;
    let delete = Txn::new().delete(Key::SlotGuard);
    assert!(matches!(store.txn(&delete).await, Ok(Outcome::Committed(_))));
    put(&store, Key::SlotGuard, "same").await;
    let write = Txn::new().if_at(Key::SlotGuard, read).put(Key::SlotGuard, "mine");
    assert_eq!(store.txn(&write).await.unwrap(), Outcome::Conflict);
    let created = Txn::new().if_created_at(Key::SlotGuard, read).put(Key::SlotGuard, "mine");
    assert_eq!(store.txn(&created).await.unwrap(), Outcome::Conflict);
    assert_eq!(store.get(&Key::SlotGuard).await.unwrap().unwrap().value, "same");
}

#[tokio::test]
async fn a_listing_of_many_pages_is_of_one_revision() {
    const HOSTS: usize = 2_500;
    let etcd = Etcd::start();
    let store = connect(&etcd).await;
    let hosts: Vec<_> = (0..HOSTS).map(|n| Key::Observed(format!("a{n}").into())).collect();
    for some in hosts.chunks(calico_dcos::store::MAX_OPS) {
        let txn = some.iter().fold(Txn::new(), |txn, key| txn.put(key.clone(), "x".repeat(2000)));
        assert!(matches!(store.txn(&txn).await, Ok(Outcome::Committed(_))));
    }
    let snapshot = store.list(Space::Observed).await.unwrap();
    assert_eq!(snapshot.entries.len(), HOSTS);
    assert!(hosts.iter().all(|key| snapshot.get(key).is_some()));

    // One on the first page and one on the last, always written together.
    let (first, last) = (Key::Observed("0".into()), Key::Observed("z".into()));
    let both =
        |n: u32| Txn::new().put(first.clone(), n.to_string()).put(last.clone(), n.to_string());
    assert!(matches!(store.txn(&both(0)).await, Ok(Outcome::Committed(_))));
    let (mut written, mut lists) = (1, 0);
    let lister = store.clone();
    let mut listing = Box::pin(lister.list(Space::Observed));
    while lists < 20 {
        tokio::select! {
            snapshot = &mut listing => {
                let snapshot = snapshot.unwrap();
                let value = |key| snapshot.get(key).map(|entry| entry.value.clone());
                assert_eq!(value(&first), value(&last));
                lists += 1;
                listing = Box::pin(lister.list(Space::Observed));
            }
            outcome = async { store.txn(&both(written)).await } => {
                assert!(matches!(outcome, Ok(Outcome::Committed(_))));
                written += 1;
            }
        }
    }
    assert!(written > lists, "somebody wrote meanwhile");
}

#[tokio::test]
async fn a_watch_lists_and_then_tells_every_change_in_order() {
    let etcd = Etcd::start();
    let store = connect(&etcd).await;
    put(&store, control("before"), "1").await;
    let mut events = store.watch();
    let StoreEvent::Listed(snapshot) = next(&mut events).await else { panic!("no listing") };
    assert!(snapshot.get(&control("before")).is_some());
    let both = Txn::new().put(control("a"), "1").delete(control("before"));
    let Outcome::Committed(at) = store.txn(&both).await.unwrap() else { panic!("conflict") };
    outsider(&etcd).await.put("/calico-dcos/unknown", "", None).await.unwrap();
    let later = put(&store, control("a"), "2").await;

    let (mut told, mut upto) = (Vec::new(), at);
    while upto < later {
        let StoreEvent::Changed { revision, changes } = next(&mut events).await else {
            panic!("no change");
        };
        told.extend(changes.into_iter().map(|change| (change.revision(), change.key().clone())));
        upto = revision;
        assert_eq!(told.last().map(|(last, _)| *last), Some(revision));
    }
    let expected = [(at, control("a")), (at, control("before")), (later, control("a"))];
    assert_eq!(told, expected);
}
