//! Several controllers: one leads, the others stand by, and whoever believed to lead does no harm.

use std::process::Command;
use std::time::Duration;

use calico_dcos::store::{Key, Txn};
use rustix::process::Signal;
use tokio::time::Instant;

use crate::bench::{Bench, Controller, LEASE, Setting};
use crate::support::binary::ends;

/// A lease that is longer than any patience: what happens in a test is not that it runs out.
const FOR_EVER: u64 = 600;

impl Bench {
    fn start_named(&self, name: &str, lease: u64) -> Controller {
        self.start_with(name, lease, &self.etcd.endpoint(), self.gate.address)
    }

    /// Two of them, the first of which leads, and the second of which stands by.
    pub(crate) async fn two(&self, lease: u64) -> (Controller, Controller) {
        let first = self.start_named("first", lease);
        self.led_by("first").await;
        let second = self.start_named("second", lease);
        second.until_said("stands for leader").await;
        (first, second)
    }

    fn status(&self) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_calico-dcos"));
        command.args(["status", "--etcd-endpoints", &self.etcd.endpoint()]);
        ends(command).1
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_told_to_stop_hands_over_at_once() {
    let bench = Bench::new(Setting { restart_seconds: 1.0, ..Setting::default() }).await;
    let (first, _second) = bench.two(FOR_EVER).await;
    bench.held().await;
    first.signal(Signal::TERM);
    let (code, said) = first.ends().await;
    assert_eq!(code, Some(0), "{said}");
    bench.led_by("second").await;
    bench.converged(1).await;
    bench.bounded(2, &[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_is_older_than_what_etcd_holds_ends_and_says_so() {
    let bench = Bench::new(Setting::default()).await;
    let of_later = Txn::new().put(Key::SlotGuard, r#"{"version":2}"#);
    let _ = bench.store.txn(&of_later).await.unwrap();
    let (code, said) = bench.start_named("older", FOR_EVER).ends().await;
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("a newer calico-dcos has led here; run that one"), "{said}");
    assert_eq!(
        bench.state().await.leader.map(|it| it.name),
        None,
        "it does not keep others from it"
    );
}

/// The figure is printed; it rests on etcd, which looks for leases that have run out twice a second.
#[tokio::test(flavor = "multi_thread")]
async fn alone_a_leader_that_is_killed_is_followed_within_its_lease_and_a_second() {
    let bench = Bench::new(Setting { restart_seconds: 1.0, ..Setting::default() }).await;
    let (first, _second) = bench.two(LEASE).await;
    bench.held().await;
    let killed = Instant::now();
    drop(first);
    bench.led_by("second").await;
    let took = killed.elapsed();
    println!("a lease of {LEASE} s: the next one leads after {:.1} s", took.as_secs_f64());
    assert!(took <= Duration::from_secs(LEASE + 1), "{took:?}");
    bench.converged(1).await;
    bench.bounded(2, &[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_stood_still_stands_by_when_it_wakes_and_does_no_harm() {
    let setting = Setting {
        hosts: 6,
        rollout: "maxConcurrentRestarts: 2, ",
        restart_seconds: 1.0,
        ..Setting::default()
    };
    let bench = Bench::new(setting).await;
    let (first, second) = bench.two(LEASE).await;
    bench.held().await;
    first.freeze();
    bench.led_by("second").await;
    let mark = bench.in_sync(1).await.revision;
    first.thaw();
    first.until_said("does not lead any more").await;
    let state = bench.converged(1).await;
    assert!(state.revision > mark, "the second went on meanwhile");
    assert!(bench.status().contains("second"), "{}", bench.status());
    // It stands by, and leads again when it is its turn.
    drop(second);
    bench.led_by("first").await;
    bench.declare("calico/node:v2").await;
    bench.converged(2).await;
    bench.bounded(4, &[("ACCEPT", 12), ("ACKNOWLEDGE", 60)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn s60_a_leader_whose_key_somebody_deletes_stands_by_and_does_not_act_beside_the_next_one() {
    let bench = Bench::new(Setting { restart_seconds: 1.0, ..Setting::default() }).await;
    let (first, second) = bench.two(LEASE).await;
    bench.held().await;
    let _ = bench.store.txn(&Txn::new().delete(Key::Leader)).await.unwrap();
    bench.led_by("second").await;
    bench.converged(1).await;
    // Whoever tells it first: etcd, or Mesos that knows the other one.
    let said = first.said();
    let told = ["does not lead any more", "this process stands down"];
    assert!(told.iter().any(|words| said.contains(words)), "{said}");
    drop(second);
}
