//! Controllers of two releases with one etcd: what the later one has written is not guessed at.

use calico_dcos::budget::slot::Guard;
use calico_dcos::store::{Key, Txn};

use crate::bench::{Bench, Setting};
use crate::gate::Log;
use crate::operator::command;

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_that_finds_records_of_a_later_release_starts_nothing_and_says_which_to_run() {
    let bench = Bench::new(Setting { restart_seconds: 1.0, ..Setting::default() }).await;
    let first = bench.start();
    bench.in_sync(1).await;
    drop(first);
    let ours = bench.store.get(&Key::SlotGuard).await.unwrap().unwrap().value;
    let guard: Guard = serde_json::from_str(&ours).unwrap();
    let theirs = serde_json::to_string(&Guard { version: guard.version + 1, ..guard }).unwrap();
    let _ = bench.store.txn(&Txn::new().put(Key::SlotGuard, theirs)).await.unwrap();

    let subscriptions = |log: &Log| log.count("SUBSCRIBE");
    let subscribed = bench.gate.look(subscriptions);
    let second = bench.start();
    second.until_said("a newer calico-dcos has led here; run that one").await;
    let launched = bench.launched().await;
    let (code, said) = command(&bench, &["status"]);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("slots/guard") && said.contains("of version 2"), "{said}");

    // As if the later release had never led.
    drop(second);
    assert_eq!(bench.gate.look(subscriptions), subscribed, "it has left Mesos alone");
    assert_eq!(bench.launched().await, launched, "launched by what cannot read its records");
    let _ = bench.store.txn(&Txn::new().put(Key::SlotGuard, ours)).await.unwrap();
    let _third = bench.start();
    bench.converged(1).await;
}
