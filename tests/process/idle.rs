//! How long a slot stands idle between two hosts.

use std::collections::VecDeque;

use calico_dcos::words::Time;
use jiff::Timestamp;

use crate::bench::{Bench, Setting};

const HOSTS: u32 = 120;

/// When a line of the log was written.
fn at(line: &str) -> Time {
    let stamp: Timestamp = line.split_whitespace().next().unwrap().parse().unwrap();
    Time(u64::try_from(stamp.as_millisecond()).unwrap())
}

/// From the moment that a slot is free in etcd to the one that it is reserved there for the next host, on
/// an offer that was held for that. A restart takes longer than Mesos' shortest filter, as all real ones do.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: 120 hosts in real time, three at a time"]
async fn long_alone_a_slot_that_is_free_is_taken_at_once() {
    let setting = Setting {
        hosts: HOSTS,
        restart_seconds: 1.0,
        rollout: "maxConcurrentRestarts: 3, ",
        ..Setting::default()
    };
    let bench = Bench::new(setting).await;
    let controller = bench.start();
    bench.converged(1).await;
    let said = controller.said();
    let (mut free, mut idle, mut begun) = (VecDeque::new(), Vec::new(), None);
    for line in said.lines() {
        if line.contains("slot given back") {
            free.push_back(at(line));
        } else if line.contains("slot reserved") {
            let (now, since) = (at(line), free.pop_front());
            let begun = *begun.get_or_insert(now);
            // Before that it does not know how long a restart takes, and guesses ten seconds: some
            // offers come back too late.
            idle.extend(since.filter(|_| now.since(begun) > 10_000).map(|free| now.since(free)));
        }
    }
    assert!(idle.len() > HOSTS as usize / 2, "{}", idle.len());
    idle.sort_unstable();
    let at = |share: usize| idle[idle.len() * share / 100];
    let (median, p99) = (at(50), at(99));
    println!("{} times a slot stood idle: {median} ms (median), {p99} ms (p99)", idle.len());
    // What the 99th percentile is, is for a machine that does nothing else.
    assert!(median <= 50, "{idle:?}");
}
