//! Windows: `rollout.windows`.

use calico_dcos::job::order::Work;
use calico_dcos::mesos::v1::TaskState;

use super::bench::{Bench, CLUSTER, attempt_of, job};

#[test]
fn s42_a_window_that_closes_lets_those_in_flight_end_and_starts_no_other() {
    let mut bench = Bench::new(&["a1", "a2"]);
    // It is a quarter past midnight.
    let window = "rollout: {windows: [{start: \"00:20\", end: \"00:25\"}], ";
    bench.write(Some(&CLUSTER.replace("rollout: {", window)));
    bench.wait(5_000);
    bench.observe("a1");
    bench.observe("a2");
    bench.offer("a1");
    bench.wait(60_000);
    assert_eq!((bench.launched(), bench.reason("a1")), (vec![], "waiting-for-window".into()));
    assert!(bench.text("a1").contains("opens at 1970-01-01T00:20:00Z"), "{}", bench.text("a1"));
    bench.wait(3 * 60_000);
    bench.confirm("a1");
    bench.confirm("a2");
    bench.offer("a1");
    bench.wait(2_000);
    let task = bench.launched().pop().expect("the window is open");
    let attempt = attempt_of(&task);
    bench.update(&task.task_id, "a1", TaskState::Starting, None);
    bench.is_admitted("a1", attempt);
    bench.wait(5 * 60_000);
    bench.confirm("a1");
    bench.confirm("a2");
    assert_eq!(bench.reason("a1"), "in-progress", "what has begun goes on");
    let Work::Supervise { target, .. } = job(&task).work else { panic!("{task:?}") };
    bench.done(&task.task_id, "a1", attempt, target.hash);
    assert_eq!((bench.slot("a1"), bench.reason("a1")), (None, "in sync".into()));
    bench.offer("a2");
    bench.wait(10_000);
    assert_eq!((bench.launched(), bench.reason("a2")), (vec![], "waiting-for-window".into()));
}

/// A host on which an attempt has failed, a minute after a quarter past midnight. Its window closes three
/// minutes later, and the next one opens after seven more.
fn failed_once_between_windows() -> Bench {
    let mut bench = Bench::new(&["a1"]);
    let windows = "rollout: {windows: [{start: \"00:10\", end: \"00:18\"}, \
                   {start: \"00:25\", end: \"00:30\"}], ";
    bench.write(Some(&CLUSTER.replace("rollout: {", windows)));
    bench.wait(5_000);
    let (task, attempt, hash) = bench.changing("a1");
    bench.update(&task, "a1", TaskState::Starting, None);
    bench.is_admitted("a1", attempt);
    bench.undone(&task, "a1", attempt, hash);
    bench
}

/// Nothing is offered while its window is open, and nothing but the time happens when that closes.
#[test]
fn s42_a_host_that_was_due_when_its_window_closed_is_tried_when_the_next_one_opens() {
    let mut bench = failed_once_between_windows();
    bench.wait(30_000);
    assert_eq!(bench.reason("a1"), "waiting-for-offer");
    for _ in 0..5 {
        bench.wait(2 * 60_000);
        bench.confirm("a1");
        assert_eq!(bench.launched(), vec![]);
    }
    bench.offer("a1");
    bench.wait(60_000);
    assert_eq!(bench.launched().len(), 1, "{}", bench.text("a1"));
}

/// Its failures are forgotten by then, so that nothing but the window holds it.
#[test]
fn s42_a_host_that_an_operator_has_tried_again_is_tried_when_the_window_opens() {
    let mut bench = failed_once_between_windows();
    bench.wait(3 * 60_000);
    bench.confirm("a1");
    bench.retry("a1");
    assert_eq!(bench.reason("a1"), "waiting-for-window");
    assert!(bench.text("a1").contains("opens at 1970-01-01T00:25:00Z"), "{}", bench.text("a1"));
    bench.wait(4 * 60_000);
    bench.confirm("a1");
    bench.wait(60_000);
    assert_eq!(bench.launched(), vec![]);
    bench.offer("a1");
    bench.wait(60_000);
    assert_eq!(bench.launched().len(), 1, "{}", bench.text("a1"));
}
