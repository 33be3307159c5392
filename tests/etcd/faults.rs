//! etcd killed, frozen, compacted, full; and a reader that is too slow.

use std::collections::BTreeMap;

use calico_dcos::store::{Change, EtcdStore, Key, Outcome, Space, StoreError, StoreEvent, Txn};

use crate::support::Etcd;
use crate::{connect, control, next, next_listing, options, outsider, patiently, put};

async fn next_loss(events: &mut tokio::sync::mpsc::Receiver<StoreEvent>) -> String {
    loop {
        if let StoreEvent::Lost { why } = next(events).await {
            return why;
        }
    }
}

#[tokio::test]
async fn a_watch_survives_a_restart_of_etcd() {
    let mut etcd = Etcd::start();
    let store = connect(&etcd).await;
    let mut events = store.watch();
    next_listing(&mut events).await;
    put(&store, control("a"), "1").await;
    etcd.kill();
    let why = next_loss(&mut events).await;
    assert!(why.contains(&etcd.endpoint()), "{why}");
    let lost = store.txn(&Txn::new().put(control("b"), "1")).await;
    assert!(matches!(lost, Err(StoreError::Unreachable { .. })), "{lost:?}");
    etcd.restart();
    let snapshot = next_listing(&mut events).await;
    assert!(snapshot.get(&control("a")).is_some());
    assert!(snapshot.get(&control("b")).is_none());
    let later = put(&store, control("c"), "1").await;
    let StoreEvent::Changed { revision, .. } = next(&mut events).await else {
        panic!("the watch is alive again");
    };
    assert_eq!(revision, later);
}

#[tokio::test]
async fn a_frozen_etcd_is_noticed_by_its_silence() {
    let etcd = Etcd::start();
    let store = connect(&etcd).await;
    let mut events = store.watch();
    next_listing(&mut events).await;
    etcd.freeze();
    let silent = store.get(&Key::Leader).await;
    assert!(matches!(silent, Err(StoreError::Unreachable { source: None, .. })), "{silent:?}");
    // By the silence itself, before the transport notices anything that it would name.
    let why = next_loss(&mut events).await;
    assert!(why.ends_with("is right"), "{why}");
    etcd.thaw();
    next_listing(&mut events).await;
    put(&store, control("a"), "1").await;
    while !matches!(next(&mut events).await, StoreEvent::Changed { .. }) {}
}

/// The reader stands still until etcd has more for it than its buffers hold, and has forgotten
/// the rest.
#[tokio::test]
async fn a_watch_that_fell_behind_a_compaction_lists_anew() {
    let etcd = Etcd::start();
    let store = connect(&etcd).await;
    let mut events = store.watch();
    let mut known = BTreeMap::new();
    fold(&mut known, next(&mut events).await);
    let value = "x".repeat(32 << 10);
    let mut last = put(&store, control("gone"), "").await;
    for n in 0..600 {
        if n == 500 {
            let delete = Txn::new().delete(control("gone"));
            assert!(matches!(store.txn(&delete).await, Ok(Outcome::Committed(_))));
        }
        last = put(&store, control(&(n % 7).to_string()), &value).await;
    }
    let revision = i64::try_from(last.0).unwrap();
    outsider(&etcd).await.compact(revision, None).await.unwrap();
    let truth = store.list(Space::All).await.unwrap();
    let mut reasons = Vec::new();
    loop {
        let event = next(&mut events).await;
        if let StoreEvent::Lost { why } = &event {
            reasons.push(why.clone());
        }
        let listed = matches!(event, StoreEvent::Listed(_));
        fold(&mut known, event);
        if listed {
            break;
        }
    }
    assert!(reasons.iter().any(|why| why.contains("compacted")), "{reasons:?}");
    let truth: BTreeMap<_, _> = truth.entries.into_iter().map(|e| (e.key, e.value)).collect();
    assert!(known == truth, "the listing replaced what was known");
}

fn fold(known: &mut BTreeMap<Key, String>, event: StoreEvent) {
    match event {
        StoreEvent::Listed(snapshot) => {
            *known = snapshot.entries.into_iter().map(|e| (e.key, e.value)).collect();
        }
        StoreEvent::Changed { changes, .. } => {
            for change in changes {
                match change {
                    Change::Put(entry) => known.insert(entry.key, entry.value),
                    Change::Deleted { key, .. } => known.remove(&key),
                };
            }
        }
        StoreEvent::Lost { .. } => {}
    }
}

#[tokio::test]
async fn a_full_etcd_and_a_large_write_are_told_apart() {
    let etcd = Etcd::start_with(&["--quota-backend-bytes", "4000000"]);
    let store = connect(&etcd).await;
    let large = store.txn(&Txn::new().put(control("large"), "x".repeat(2 << 20))).await;
    assert!(matches!(large, Err(StoreError::TooLarge)), "{large:?}");
    let value = "x".repeat(500_000);
    let full = patiently("the quota", async {
        loop {
            if let Err(error) = store.txn(&Txn::new().put(control("a"), &value)).await {
                return error;
            }
        }
    })
    .await;
    assert!(matches!(full, StoreError::NoSpace), "{full:?}");
}

#[tokio::test]
async fn nobody_at_the_address_is_one_clear_error() {
    let mut etcd = Etcd::start();
    let options = options(&etcd);
    etcd.kill();
    let error = patiently("an error", EtcdStore::connect(&options)).await.unwrap_err();
    assert!(matches!(error, StoreError::Unreachable { .. }), "{error:?}");
    assert!(error.to_string().contains(&options.endpoints[0]), "{error}");
}
