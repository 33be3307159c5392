//! etcd and the network: killed, full, slow, cut, and cut in one direction only.

use std::time::Duration;

use etcd_client::{AlarmAction, AlarmOptions, AlarmType};

use crate::bench::{Bench, Setting};
use crate::link::Mode;

/// Long enough for something to go wrong in the middle of a restart.
fn slowly() -> Setting {
    Setting { restart_seconds: 1.5, ..Setting::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_etcd_that_is_killed_holds_everything_until_it_is_back() {
    let mut bench = Bench::new(slowly()).await;
    let controller = bench.start();
    bench.held().await;
    bench.etcd.kill();
    controller.until_said("the watch of etcd is lost").await;
    let launched = bench.launched().await;
    // By then the restart is over: whoever would go on without etcd has done so.
    controller.until_said("does not lead any more").await;
    assert_eq!(bench.launched().await, launched, "launched, and not written down");
    bench.etcd.restart();
    bench.converged(1).await;
    bench.bounded(3, &[]);
}

/// The alarm stays until an operator has made room and taken it off.
#[tokio::test(flavor = "multi_thread")]
async fn an_etcd_without_space_holds_everything_and_says_so() {
    let quota = &["--quota-backend-bytes", "8000000"];
    let bench = Bench::new(Setting { etcd: quota, ..slowly() }).await;
    let controller = bench.start();
    bench.in_sync(1).await;
    let mut outsider = etcd_client::Client::connect([bench.etcd.endpoint()], None).await.unwrap();
    while outsider.put("elsewhere/junk", vec![b'x'; 500_000], None).await.is_ok() {}
    controller.until_said("no space").await;
    bench.gate.heartbeats(2).await;
    let launched = bench.launched().await;
    bench.gate.heartbeats(6).await;
    assert_eq!(bench.launched().await, launched, "launched, and not written down");
    bench.no_breach().await;

    outsider.delete("elsewhere/junk", None).await.unwrap();
    let status = outsider.status().await.unwrap();
    let header = status.header().unwrap();
    outsider.compact(header.revision(), None).await.unwrap();
    outsider.defragment().await.unwrap();
    let mut here = AlarmOptions::new();
    here.with_member(header.member_id());
    outsider.alarm(AlarmAction::Deactivate, AlarmType::Nospace, Some(here)).await.unwrap();
    bench.converged(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_etcd_that_is_slow_makes_a_rollout_slow_and_nothing_else() {
    let bench = Bench::new(Setting::default()).await;
    let controller = bench.start_linked("slow").await;
    controller.etcd.set(Mode::Slow(Duration::from_millis(150)));
    bench.converged(1).await;
    bench.bounded(1, &[]);
}

/// A leader that is cut off from etcd, while another is not.
async fn cut_off_from_etcd(mode: Mode) {
    let setting = Setting { hosts: 5, rollout: "maxConcurrentRestarts: 2, ", ..slowly() };
    let bench = Bench::new(setting).await;
    let first = bench.start_linked("first").await;
    bench.led_by("first").await;
    let _second = bench.start_linked("second").await;
    bench.held().await;
    first.etcd.set(mode);
    bench.led_by("second").await;
    first.process.until_said("does not lead any more").await;
    bench.in_sync(2).await;
    first.etcd.set(Mode::Whole);
    bench.converged(1).await;
    bench.bounded(3, &[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn s60_a_leader_that_is_cut_off_from_etcd_stands_by_and_another_goes_on() {
    cut_off_from_etcd(Mode::Cut).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s60_a_leader_whom_etcd_hears_and_does_not_answer_stands_by_and_another_goes_on() {
    cut_off_from_etcd(Mode::NoAnswers).await;
}

/// A leader that is cut off from the master: it leads on, and finds its tasks again.
async fn cut_off_from_the_master(mode: Mode) {
    let bench = Bench::new(slowly()).await;
    let first = bench.start_linked("first").await;
    bench.held().await;
    first.master.set(mode);
    first.process.until_said("has been silent for").await;
    let launched = bench.launched().await;
    first.master.set(Mode::Whole);
    bench.led_by("first").await;
    bench.converged(1).await;
    assert!(bench.launched().await > launched);
    bench.bounded(4, &[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_cut_off_from_the_master_goes_on_where_it_was() {
    cut_off_from_the_master(Mode::Cut).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_whom_the_master_hears_and_does_not_answer_goes_on_where_it_was() {
    cut_off_from_the_master(Mode::NoAnswers).await;
}
