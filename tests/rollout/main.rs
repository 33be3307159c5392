//! The controller's state machine, driven by hand: a model of etcd behind it, and Mesos played by
//! the test. The numbers in the names are those of the acceptance scenarios.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod bench;
mod canary;
mod clock;
mod control;
mod drain;
mod failures;
mod gates;
mod hosts;
mod maintenance;
mod members;
mod offers;
mod points;
mod restored;
mod sight;
mod slots;
mod tasks;
mod teardown;
mod versions;
mod windows;

use calico_dcos::job::order::{ToHost, WIRE_VERSION};
use calico_dcos::mesos::v1::TaskState;
use calico_dcos::rollout::event::Event;
use calico_dcos::store::keys::{Key, Space};
use calico_dcos::store::txn::{StoreEvent, Txn};
use calico_dcos::words::{Attempt, Run};

use bench::{Bench, CLUSTER};

#[test]
fn a_change_goes_from_slot_to_yes_to_freed_and_nothing_is_left_to_do() {
    let mut bench = Bench::new(&["a1"]);
    let (task, attempt, hash) = bench.changing("a1");
    assert!(bench.slot("a1").unwrap().contains("reserved"));
    bench.update(&task, "a1", TaskState::Starting, None);
    let run = Run::from("r1");
    let yes = ToHost::Admitted { version: WIRE_VERSION, attempt, run };
    assert_eq!(bench.ask("a1", attempt, "r1"), [yes]);
    assert!(bench.slot("a1").unwrap().contains("held"));
    bench.done(&task, "a1", attempt, hash);
    assert_eq!(bench.slot("a1"), None);
    assert_eq!(bench.reason("a1"), "in sync");
    bench.wait(10_000);
    let revision = bench.etcd.revision();
    bench.calls.clear();
    bench.wait(100_000);
    assert_eq!((bench.etcd.revision(), bench.calls.len()), (revision, 0), "no call, no write");
}

#[test]
fn a_question_is_answered_yes_again_to_the_same_run_and_no_to_another() {
    let mut bench = Bench::new(&["a1"]);
    let (task, attempt, _) = bench.changing("a1");
    bench.update(&task, "a1", TaskState::Starting, None);
    let first = bench.ask("a1", attempt, "r1");
    assert_eq!(bench.ask("a1", attempt, "r1"), first);
    assert!(matches!(bench.ask("a1", attempt, "r2")[..], [ToHost::Denied { .. }]));
    assert!(matches!(bench.ask("a1", Attempt(99), "r1")[..], [ToHost::Denied { .. }]));
}

#[test]
fn s23_a_leader_that_finds_everything_as_it_should_be_launches_and_writes_nothing() {
    let mut bench = Bench::new(&["a1"]);
    let (task, attempt, hash) = bench.admitted("a1");
    bench.done(&task, "a1", attempt, hash);
    bench.wait(10_000);
    let tasks: Vec<_> = bench.running.clone();
    for _ in 0..2 {
        bench.lead();
        let led = bench.etcd.get(&Key::Leader).unwrap().mod_revision;
        for (task, host) in &tasks {
            bench.reconciled(task, host, TaskState::Running);
        }
        bench.offer("a1");
        bench.wait(100_000);
        assert_eq!(bench.reason("a1"), "in sync");
        assert_eq!(bench.launched(), []);
        assert_eq!(bench.etcd.revision(), led, "nothing was written after the leader's own key");
    }
}

/// Neither is read by itself: a watch that was late, or a listing in the place of both.
#[test]
fn s63_documents_that_are_deleted_and_made_again_between_two_looks_are_a_change() {
    for listed in [false, true] {
        let mut bench = Bench::new(&["a1"]);
        let rendered = |bench: &Bench| bench.etcd.get(&Key::Rendered("a1".into())).unwrap().value;
        let before = rendered(&bench);
        let again = CLUSTER.replace("node:v1", "node:v2");
        for txn in
            [Txn::new().delete(Key::DesiredCluster), Txn::new().put(Key::DesiredCluster, again)]
        {
            let _ = bench.etcd.txn(&txn, None).unwrap();
        }
        if listed {
            let snapshot = bench.etcd.list(Space::All);
            bench.watched = snapshot.revision;
            bench.event(Event::Store(StoreEvent::Listed(snapshot)));
        }
        bench.wait(5_000);
        assert_eq!(bench.machine.generation().0, 2);
        assert_ne!(rendered(&bench), before);
    }
}

#[test]
fn s25_documents_that_are_bad_empty_or_gone_change_nothing_also_over_a_restart() {
    let unknown = CLUSTER.replace("calicoNode", "calicoNod");
    for text in [Some("kind: nonsense"), Some(unknown.as_str()), Some(""), None] {
        let mut bench = Bench::new(&["a1"]);
        let rendered = bench.etcd.get(&Key::Rendered("a1".into())).unwrap();
        bench.write(text);
        for again in [false, true] {
            if again {
                bench.lead();
            }
            bench.wait(5_000);
            assert_eq!(bench.machine.generation().0, 1);
            assert!(text.is_none() || bench.machine.refused().is_some(), "{text:?} is refused");
            assert_eq!(bench.etcd.get(&Key::Rendered("a1".into())).unwrap(), rendered);
        }
        bench.observe("a1");
        bench.offer("a1");
        let launched = bench.launched();
        // Nobody can tell what is wanted where there is no Cluster: all is held as it is.
        assert_eq!(launched.len(), usize::from(text.is_some()), "{text:?}: {launched:?}");
        assert_eq!(bench.reason("a1") == "halted", text.is_none());
    }
}
