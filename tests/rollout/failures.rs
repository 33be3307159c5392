//! Failures: attempts, back-off and halt.

use calico_dcos::job::order::{Ending, FromHost, WIRE_VERSION};
use calico_dcos::mesos::v1::TaskState;
use calico_dcos::mesos::v1::scheduler::Event as MesosEvent;
use calico_dcos::observed::facts::{JournalFacts, JournalState};
use calico_dcos::store::keys::Key;
use calico_dcos::words::{Attempt, SpecHash, TaskId, TaskKind};

use super::bench::{Bench, CLUSTER, attempt_of};

/// A host whose two attempts have failed. Gives the last of them.
fn used_up(bench: &mut Bench, host: &'static str) -> Attempt {
    let (task, first, hash) = bench.admitted(host);
    bench.undone(&task, host, first, hash);
    assert_eq!(bench.reason(host), "backing-off");
    bench.wait(3_000);
    bench.offer(host);
    let again = bench.launched().pop().expect("it is tried again");
    let second = attempt_of(&again);
    assert!(second > first);
    bench.update(&again.task_id, host, TaskState::Starting, None);
    bench.is_admitted(host, second);
    bench.undone(&again.task_id, host, second, hash);
    assert_eq!(bench.reason(host), "failed");
    second
}

/// Point 51 of `CHECKLIST.md`.
#[test]
fn s14_attempts_used_up_halt_the_rollout_and_the_slot_stays_held() {
    let mut bench = Bench::new(&["a1", "a2"]);
    bench.observe("a2");
    used_up(&mut bench, "a1");
    bench.wait(1_000);
    assert_eq!((bench.reason("a1"), bench.reason("a2")), ("failed".into(), "halted".into()));
    bench.offer("a1");
    bench.offer("a2");
    bench.wait(600_000);
    assert_eq!(bench.launched(), [], "a halted rollout never yields a new start");
    assert!(bench.slot("a1").is_some());
    assert_eq!(bench.slot("a2"), None);
}

/// Nobody has failed there, so nobody could be tried again.
#[test]
fn a_halt_for_slots_that_are_overdue_ends_when_one_of_them_is_done() {
    let mut bench = Bench::new(&["a1", "a2"]);
    bench.observe("a2");
    let (task, attempt, hash) = bench.admitted("a1");
    for _ in 0..8 {
        bench.wait(4 * 60_000);
        bench.confirm("a1");
        bench.confirm("a2");
    }
    assert_eq!(bench.reason("a2"), "halted");
    bench.done(&task, "a1", attempt, hash);
    bench.offer("a2");
    bench.wait(2_000);
    assert_eq!(bench.launched().len(), 1, "{}", bench.text("a2"));
}

#[test]
fn a_rollout_that_has_halted_goes_on_when_more_failures_are_allowed() {
    let mut bench = Bench::new(&["a1", "a2"]);
    bench.write(Some(&CLUSTER.replace("Restarts: 1", "Restarts: 2")));
    bench.wait(5_000);
    bench.observe("a2");
    used_up(&mut bench, "a1");
    bench.wait(1_000);
    assert_eq!(bench.reason("a2"), "halted");
    let edit =
        CLUSTER.replace("Restarts: 1", "Restarts: 2").replace("{max", "{maxFailures: 2, max");
    bench.write(Some(&edit));
    bench.wait(5_000);
    bench.offer("a2");
    bench.wait(2_000);
    assert_eq!(bench.launched().len(), 1, "{}", bench.text("a2"));
}

/// A controller that has nothing to do does nothing, however long nobody comes.
#[test]
fn a_host_whose_next_attempt_is_due_in_a_halted_rollout_is_halted_and_nothing_turns_for_it() {
    let mut bench = Bench::new(&["a1", "a2"]);
    bench.write(Some(&CLUSTER.replace("Restarts: 1", "Restarts: 2")));
    bench.wait(5_000);
    let (task, attempt, hash) = bench.admitted("a2");
    bench.undone(&task, "a2", attempt, hash);
    assert_eq!(bench.reason("a2"), "backing-off");
    used_up(&mut bench, "a1");
    bench.wait(60_000);
    assert_eq!((bench.reason("a1"), bench.reason("a2")), ("failed".into(), "halted".into()));
    let turns = (0..60).filter(|_| {
        let before = bench.machine.next_wake();
        bench.wait(1_000);
        before.is_some_and(|at| at <= bench.now)
    });
    assert!(turns.count() < 30, "{:?} at {:?}", bench.machine.next_wake(), bench.now);
}

/// The executor cannot be fetched, or is not the one that it should be: ever rarer launches, and a reason.
#[test]
fn launches_that_come_to_nothing_get_rarer_and_the_host_says_why() {
    let mut bench = Bench::new(&["a1"]);
    let mut task = None;
    let mut pauses = Vec::new();
    for vain in 0..=10 {
        let since = bench.now;
        if let Some(task) = task.take() {
            bench.failed_in_the_fetcher(&task, "a1");
        }
        if vain > 1 {
            let (reason, text) = (bench.reason("a1"), bench.text("a1"));
            let expected = format!("observer does not start: {vain} launches in a row");
            assert!(
                text.contains(&expected) && text.contains("fetch all URIs"),
                "{reason}: {text}"
            );
        }
        while task.is_none() {
            bench.offer("a1");
            task = bench.launched().pop().map(|task| task.task_id);
            bench.wait(1_000);
        }
        pauses.push(bench.now.since(since) / 1_000 - 1);
    }
    assert_eq!(pauses, [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300]);
    // One that runs is the end of it.
    let record = |bench: &Bench| bench.etcd.get(&Key::RolloutHost("a1".into())).unwrap().value;
    assert!(record(&bench).contains("unlaunched"), "{}", record(&bench));
    bench.update(&task.unwrap(), "a1", TaskState::Running, None);
    assert!(!record(&bench).contains("unlaunched"), "{}", record(&bench));
}

/// An executor that dies takes all its tasks along, also those that have not run yet.
#[test]
fn a_process_that_dies_with_all_its_tasks_is_no_row_of_launches_in_vain() {
    let mut bench = Bench::new(&["a1"]);
    let (change, ..) = bench.changing("a1");
    let (observer, _) = bench.running[0].clone();
    for task in [&observer, &change] {
        bench.failed_in_the_fetcher(task, "a1");
    }
    assert!(!bench.text("a1").contains("in a row"), "{}", bench.text("a1"));
    bench.wait(1_100);
    bench.offer("a1");
    let again = bench.launched();
    assert!(!again.is_empty());
    for task in &again {
        bench.failed_in_the_fetcher(&task.task_id, "a1");
    }
    assert!(!bench.text("a1").contains("in a row"), "one in vain: {}", bench.text("a1"));
}

/// What never began is no attempt, and keeps nobody else waiting.
#[test]
fn a_change_whose_launches_come_to_nothing_gives_its_slot_to_others() {
    let mut bench = Bench::new(&["a1", "a2"]);
    bench.observe("a2");
    let (mut task, ..) = bench.changing("a1");
    for vain in 1..4 {
        bench.failed_in_the_fetcher(&task, "a1");
        assert_eq!(bench.slot("a1"), None);
        if vain > 1 {
            assert_eq!(bench.reason("a1"), "backing-off");
            assert!(bench.text("a1").contains(&format!("{vain} launches in a row")));
        }
        if vain < 3 {
            bench.wait(5_000);
            bench.offer("a1");
            task = bench.launched().pop().expect("it is tried again").task_id;
        }
    }
    bench.wait(60_000);
    // Both could start now. The one that has never failed does.
    let offers = ["a1", "a2"].map(|host| bench.make_offer(host));
    bench.mesos(MesosEvent::Offers(offers.to_vec()));
    assert_eq!((bench.slot("a1"), bench.slot("a2").is_some()), (None, true));
}

impl Bench {
    /// A precondition does not hold, and the host says so twice.
    fn refuses(&mut self, task: &TaskId, host: &'static str, attempt: Attempt) {
        self.update(task, host, TaskState::Starting, None);
        let facts = Box::new(self.facts(host, Some(SpecHash::of(b"old")), None));
        let ending = Ending::Refused { why: "the port is taken by dnsmasq".into() };
        let ended = FromHost::Ended { version: WIRE_VERSION, attempt, ending, facts };
        self.update(task, host, TaskState::Failed, Some(&ended));
        self.update(task, host, TaskState::Failed, Some(&ended));
    }
}

#[test]
fn a_precondition_that_does_not_hold_blocks_the_host_and_nobody_else() {
    let mut bench = Bench::new(&["a1", "a2"]);
    let (mut task, mut attempt, _) = bench.changing("a1");
    for _ in 0..3 {
        bench.refuses(&task, "a1", attempt);
        assert_eq!(bench.reason("a1"), "blocked");
        assert!(bench.text("a1").contains("dnsmasq"));
        assert_eq!((bench.slot("a1"), bench.guard().held), (None, 0));
        // It is asked again, after a pause that grows.
        bench.offer("a1");
        assert_eq!(bench.launched(), []);
        bench.wait(20_000);
        bench.offer("a1");
        let again = bench.launched().pop().expect("it is asked again");
        assert!(attempt_of(&again) > attempt);
        (task, attempt) = (again.task_id.clone(), attempt_of(&again));
    }
    // Three times in vain is no failure, at `attempts: 2` and `maxFailures: 1`.
    assert_eq!(bench.reason("a1"), "in-progress");
    assert_ne!(bench.reason("a2"), "halted");
    bench.refuses(&task, "a1", attempt);
    // The pause is 16 s by now.
    bench.wait(5_000);
    bench.offer("a1");
    assert_eq!((bench.reason("a1"), bench.launched()), ("blocked".into(), vec![]));
    // Somebody has stopped dnsmasq, and does not wait.
    bench.retry("a1");
    bench.offer("a1");
    assert_eq!(bench.launched().len(), 1, "it is asked again at once: {}", bench.text("a1"));
}

/// The change goes on without the executor, and another attempt for nothing could fail for what has
/// nothing to do with this one.
#[test]
fn after_an_executor_died_its_host_is_heard_before_it_is_tried_again() {
    let mut bench = Bench::new(&["a1"]);
    let (task, attempt, hash) = bench.admitted("a1");
    let (observer, _) = bench.running[0].clone();
    for task in [&observer, &task] {
        bench.update(task, "a1", TaskState::Failed, None);
    }
    bench.wait(5_000);
    bench.offer("a1");
    let again = bench.launched();
    let names: Vec<_> = again.iter().map(|task| task.name.as_str()).collect();
    assert_eq!(names, [TaskKind::Observer.name()]);
    bench.offer("a1");
    assert_eq!(bench.launched(), []);
    let journal = JournalFacts { attempt, run: "r1".into(), state: JournalState::Done };
    let facts = Box::new(bench.facts("a1", Some(hash), Some(journal)));
    let observer = &again[0].task_id;
    bench.update(observer, "a1", TaskState::Running, Some(&FromHost::Facts { facts }));
    assert_eq!(bench.slot("a1"), None);
}

/// What has begun on a host that is excluded meanwhile comes to its end.
#[test]
fn an_excluded_host_with_a_slot_is_tried_again_though_nobody_observes_it() {
    let mut bench = Bench::new(&["a1"]);
    let (task, ..) = bench.admitted("a1");
    let (observer, _) = bench.running[0].clone();
    bench.write(Some(&CLUSTER.replace("rollout: {", "rollout: {exclude: [a1], ")));
    bench.wait(5_000);
    for task in [&observer, &task] {
        bench.update(task, "a1", TaskState::Failed, None);
    }
    bench.wait(5_000);
    bench.offer("a1");
    assert_eq!(bench.launched().len(), 1);
}

#[test]
fn s41_a_new_edit_is_not_blocked_by_the_old_failure() {
    for image in ["v2", "v0"] {
        let mut bench = Bench::new(&["a1"]);
        let last = used_up(&mut bench, "a1");
        bench.write(Some(&CLUSTER.replace("v1\"", &format!("{image}\""))));
        bench.wait(3_000);
        bench.offer("a1");
        let next = bench.launched().pop().expect("the new generation starts at once");
        assert!(attempt_of(&next) > last);
        let slot = bench.slot("a1").unwrap();
        assert!(slot.contains("held"), "held stays held: {slot}");
        assert_eq!(bench.guard().held, 1);
    }
}
