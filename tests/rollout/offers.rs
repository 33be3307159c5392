//! Offers that do not come, and those that come unasked.

use calico_dcos::mesos::v1::scheduler::{Call, CallType};
use calico_dcos::mesos::v1::{ExecutorId, Resource, TaskState};
use calico_dcos::observed::fleet::{Part, Room, Share};
use calico_dcos::rollout::event::Event;

use calico_dcos::words::TaskId;

use super::bench::{Bench, config};

impl Bench {
    /// The machine waits, and observers confirm what they said.
    fn wait_minutes(&mut self, minutes: u64) {
        for _ in 0..minutes {
            self.wait(60_000);
            for host in self.hosts.clone() {
                self.confirm(host);
            }
        }
    }

    fn count(&mut self, kind: &CallType) -> usize {
        let calls = std::mem::take(&mut self.calls);
        calls.iter().filter(|call| call.kind() == *kind).count()
    }

    /// All that changes is done, and nothing is left to do.
    fn converge(&mut self, host: &str) {
        let (task, attempt, hash) = self.admitted(host);
        self.done(&task, host, attempt, hash);
        self.wait_minutes(1);
    }
}

/// So many cores and a thousand times as many megabytes, so much of it in use.
fn room(role: &str, total: u64, used: u64) -> Room {
    let part = |unit: u64| Part { total: total * unit, used: used * unit, offered: 0 };
    [(role.to_owned(), Share { cpus: part(1_000), mem: part(1_000_000) })].into()
}

#[test]
fn point_34_a_wanted_host_that_is_not_offered_is_told_with_what_keeps_it_from_us() {
    let mut bench = Bench::new(&["a1"]);
    bench.observe("a1");
    assert_eq!(bench.text("a1"), "Mesos has not offered its resources yet");
    bench.wait_minutes(3);
    let (reason, text) = (bench.reason("a1"), bench.text("a1"));
    assert!(reason == "waiting-for-offer" && text.contains("in vain"), "{reason}: {text}");
    for (room, expected, part) in [
        (room("kafka", 4, 0), "blocked", "reserved for `kafka`, which is not among our roles"),
        (room("*", 0, 0), "insufficient-resources", "(it has 0)"),
        (room("*", 4, 4), "insufficient-resources", "(0 of 4 free, tasks of other frameworks"),
        (room("*", 4, 0), "waiting-for-offer", "in vain"),
    ] {
        bench.rooms.insert("a1".to_owned(), room);
        bench.wait_minutes(4);
        let (reason, text) = (bench.reason("a1"), bench.text("a1"));
        assert!(reason == expected && text.contains(part), "{reason}: {text}");
        let revision = bench.etcd.revision();
        bench.wait_minutes(3);
        assert_eq!(bench.etcd.revision(), revision, "the same is not written again");
    }
    assert!(bench.slot("a1").is_none());
    bench.calls.clear();
    bench.offer("a1");
    assert_eq!(bench.launched().len(), 1);
    assert_eq!(bench.reason("a1"), "in-progress");
}

#[test]
fn point_34_an_observer_that_cannot_be_launched_is_told_with_the_reason() {
    let mut bench = Bench::new(&["a1"]);
    assert_eq!(bench.text("a1"), "its observer has not reported yet");
    bench.rooms.insert("a1".to_owned(), room("*", 8, 8));
    bench.wait_minutes(3);
    assert_eq!(bench.reason("a1"), "unknown");
    let text = bench.text("a1");
    let expected = "its observer cannot be launched: too little is free: cpus 0.11 (0 of 8 free";
    assert!(text.starts_with(expected), "{text}");
}

#[test]
fn point_32_suppress_is_repeated_when_offers_show_that_it_was_lost() {
    let mut bench = Bench::new(&["a1"]);
    bench.converge("a1");
    assert!(bench.count(&CallType::Suppress) > 0);
    // The master has not heard of it.
    for _ in 0..3 {
        bench.offer("a1");
        let kinds: Vec<_> = bench.calls.iter().map(Call::kind).collect();
        assert_eq!(kinds, [CallType::Decline, CallType::Suppress]);
        bench.calls.clear();
        // One that was on its way shows nothing.
        bench.offer("a1");
        assert_eq!(bench.count(&CallType::Suppress), 0);
        bench.wait(6_000);
    }
    // A new subscription says it by itself, and a master that takes no notice is told.
    bench.subscriptions.clear();
    bench.event(Event::Disconnected);
    bench.wait(3_000);
    assert_eq!(bench.subscriptions.len(), 1);
    assert_eq!(bench.subscriptions[0].suppressed_roles, ["*", "slave_public"]);
    bench.wait_minutes(1);
    bench.calls.clear();
    bench.offer("a1");
    assert_eq!(bench.count(&CallType::Suppress), 1);
}

#[test]
fn point_32_revive_is_repeated_while_a_wanted_host_is_not_offered_and_not_too_often() {
    let mut bench = Bench::new(&["a1"]);
    bench.observe("a1");
    bench.calls.clear();
    bench.wait_minutes(10);
    let revived = bench.count(&CallType::Revive);
    assert!((5..=11).contains(&revived), "{revived} times in ten minutes");
    // A subscription forgets nothing of what is wanted.
    bench.event(Event::Disconnected);
    bench.wait_minutes(3);
    assert!(bench.subscriptions.last().is_some_and(|last| last.suppressed_roles.is_empty()));
    assert!((1..=3).contains(&bench.count(&CallType::Revive)));
}

#[test]
fn what_is_offered_of_a_host_that_has_left_the_line_is_declined_for_an_hour() {
    let hosts = ["a1", "a2", "a3", "a4", "a5"];
    let mut bench = Bench::new(&hosts);
    for host in hosts {
        bench.observe(host);
    }
    for host in ["a1", "a2"] {
        let (task, attempt, hash) = bench.ordered(host);
        // While the slot is taken, whose turn comes later has its place counted.
        bench.offer("a4");
        bench.update(&task, host, TaskState::Starting, None);
        bench.is_admitted(host, attempt);
        bench.done(&task, host, attempt, hash);
        bench.wait(1_000);
    }
    assert_eq!(bench.reason("a2"), "in sync");
    bench.calls.clear();
    bench.offer("a2");
    let declined = bench.calls.iter().filter_map(|call| match call {
        Call::Decline(decline) => Some(decline.filters.as_ref()?.refuse_seconds),
        _ => None,
    });
    assert_eq!(declined.collect::<Vec<_>>(), [3600.0]);
}

/// Mesos leaves an offer as it is when the executor ends that it names.
#[test]
fn an_offer_from_before_the_executor_ended_has_no_room_for_another_one() {
    let mut bench = Bench::new(&["a1"]);
    let (supervisor, attempt, hash) = bench.admitted("a1");
    bench.done(&supervisor, "a1", attempt, hash);
    let mut tasks: Vec<TaskId> = bench.running.iter().map(|(task, _)| task.clone()).collect();
    let mut room = 0.0;
    for tight in [false, true] {
        for task in &tasks {
            bench.update(task, "a1", TaskState::Failed, None);
        }
        bench.wait(10_000);
        bench.launched();
        bench.offer_with("a1", |offer| {
            let digest = config().delivery.digest;
            offer.executor_ids = vec![ExecutorId(format!("calico-dcos.a1.{}", digest.short()))];
            if tight {
                offer.resources =
                    vec![Resource::scalar("cpus", 4.0), Resource::scalar("mem", room)];
            }
        });
        bench.wait(10_000);
        let launched = bench.launched();
        let mem =
            |of: &Resource| of.scalar.as_ref().filter(|_| of.name == "mem").map(|it| it.value);
        room = launched.iter().flat_map(|task| &task.resources).filter_map(mem).sum();
        tasks = launched.into_iter().map(|task| task.task_id).collect();
        assert_eq!(tasks.len(), if tight { 0 } else { 2 }, "{}", bench.text("a1"));
        for task in &tasks {
            bench.update(task, "a1", TaskState::Running, None);
        }
    }
}
