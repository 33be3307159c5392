//! Tasks: what their updates mean, and which are killed, adopted or launched again.

use calico_dcos::job::order::FromHost;
use calico_dcos::mesos::v1::scheduler::{Call, Event as MesosEvent};
use calico_dcos::mesos::v1::{OfferId, TaskState};
use calico_dcos::observed::facts::{JournalFacts, JournalState};
use calico_dcos::observed::fleet::Condition;
use calico_dcos::observed::tasks::HostTasks;
use calico_dcos::rollout::event::Event;
use calico_dcos::store::keys::Key;
use calico_dcos::words::{TaskId, TaskKind};

use super::bench::{Bench, CLUSTER, attempt_of, job, listed};

#[test]
fn point_52_nothing_is_answered_while_a_task_of_ours_is_on_its_way_to_the_host() {
    let mut bench = Bench::new(&["a1"]);
    let (task, attempt, _) = bench.changing("a1");
    assert_eq!(bench.ask("a1", attempt, "r1"), [], "the carrier itself is not known to be there");
    bench.update(&task, "a1", TaskState::Starting, None);
    assert_eq!(bench.ask("a1", attempt, "r1").len(), 1);
}

/// Point 40 of `CHECKLIST.md`.
#[test]
fn s68_a_failure_told_twice_is_one_failure_and_statuses_do_not_go_back() {
    let mut bench = Bench::new(&["a1"]);
    let (task, attempt, hash) = bench.admitted("a1");
    bench.undone(&task, "a1", attempt, hash);
    bench.update(&task, "a1", TaskState::Running, None);
    let progress = bench.etcd.get(&Key::RolloutHost("a1".into())).unwrap().value;
    assert!(progress.contains("\"failures\":1"), "{progress}");
    assert_eq!(bench.reason("a1"), "backing-off");
    assert!(bench.slot("a1").is_some(), "a failed attempt keeps its slot");
}

/// Point 41 of `CHECKLIST.md`.
#[test]
fn s69_lost_and_then_running_is_adopted_and_not_launched_again() {
    let mut bench = Bench::new(&["a1"]);
    let (task, attempt, hash) = bench.admitted("a1");
    bench.reconciled(&task, "a1", TaskState::Lost);
    bench.offer("a1");
    bench.wait(30_000);
    assert_eq!(bench.launched(), []);
    bench.reconciled(&task, "a1", TaskState::Running);
    bench.done(&task, "a1", attempt, hash);
    assert_eq!((bench.slot("a1"), bench.reason("a1")), (None, "in sync".into()));
}

/// Point 38 of `CHECKLIST.md`.
#[test]
fn s70_a_task_that_is_not_any_more_is_launched_again_as_a_new_attempt_under_its_slot() {
    use TaskState::{Dropped, Failed, Gone, Killed};
    for (state, admitted) in
        [(Dropped, false), (Failed, false), (Failed, true), (Killed, true), (Gone, true)]
    {
        let mut bench = Bench::new(&["a1", "a2"]);
        bench.observe("a2");
        let (task, first, _) = if admitted { bench.admitted("a1") } else { bench.changing("a1") };
        bench.update(&task, "a1", state.clone(), None);
        assert_eq!(bench.slot("a1").is_some(), admitted, "{state:?}: reserved is given back");
        bench.wait(5_000);
        if admitted {
            assert_eq!(bench.reason("a1"), "waiting-for-offer", "nothing is in progress there");
        }
        bench.offer("a1");
        bench.wait(5_000);
        let again = bench.launched().pop().expect("it is launched again");
        assert_ne!(again.task_id, task, "under a fresh name");
        assert!(attempt_of(&again) > first, "as a new attempt");
        let slot = bench.slot("a1").unwrap();
        assert_eq!(slot.contains("held"), admitted, "{state:?}: held stays held: {slot}");
        assert_eq!((bench.guard().held, bench.slot("a2")), (1, None));
    }
}

/// Point 42 of `CHECKLIST.md`.
#[test]
fn s70_a_task_that_mesos_finds_wrong_has_failed_and_is_not_launched_again() {
    let mut bench = Bench::new(&["a1"]);
    let (task, ..) = bench.changing("a1");
    bench.update(&task, "a1", TaskState::Error, None);
    assert_eq!(bench.reason("a1"), "failed");
    bench.offer("a1");
    bench.wait(300_000);
    assert_eq!(bench.launched(), []);
}

/// It was written down in what a restored store has lost, and its agent was away when all were asked.
#[test]
fn s70_a_task_that_nobody_knows_of_and_that_is_in_the_way_of_launches_is_asked_for() {
    let mut bench = Bench::new(&["a1"]);
    let (mut task, ..) = bench.changing("a1");
    let asks = |call: &Call| matches!(call, Call::Reconcile(ask) if ask.tasks.is_empty());
    for (ends, asked) in [(1, false), (2, true)] {
        bench.calls.clear();
        bench.update(&task, "a1", TaskState::Failed, None);
        bench.wait(5_000);
        assert_eq!(bench.calls.iter().any(asks), asked, "after {ends} launches in vain");
        bench.offer("a1");
        bench.wait(5_000);
        task = bench.launched().pop().expect("it is launched again").task_id;
    }
}

/// Point 41 of `CHECKLIST.md`.
#[test]
fn s70_a_task_that_cannot_be_seen_keeps_its_slot_and_nothing_new_starts() {
    for state in [TaskState::Lost, TaskState::Unreachable] {
        let mut bench = Bench::new(&["a1", "a2"]);
        bench.observe("a2");
        let (task, ..) = bench.changing("a1");
        bench.update(&task, "a1", state, None);
        bench.offer("a1");
        bench.offer("a2");
        bench.wait(300_000);
        assert_eq!(bench.launched(), []);
        assert!(bench.slot("a1").is_some());
        assert_eq!(bench.reason("a2"), "waiting-for-slot");
    }
}

/// Mesos says nothing of a task that it sent to an agent which was not there any more.
#[test]
fn s70_a_launch_that_was_lost_with_an_agent_is_asked_after_though_no_list_was_ever_without_that() {
    let mut bench = Bench::new(&["a1"]);
    let (task, ..) = bench.changing("a1");
    bench.reconciled(&task, "a1", TaskState::Unreachable);
    bench.calls.clear();
    bench.wait(15_000);
    let asks = |call: &Call| match call {
        Call::Reconcile(ask) => ask.tasks.iter().any(|asked| asked.task_id == task),
        _ => false,
    };
    assert!(bench.calls.iter().any(asks), "{:?}", bench.calls);
    bench.reconciled(&task, "a1", TaskState::Gone);
    bench.wait(5_000);
    bench.offer("a1");
    bench.wait(5_000);
    assert_eq!(bench.launched().len(), 1, "{}", bench.text("a1"));
}

#[test]
fn s70_a_host_is_done_with_its_last_task_and_stays_so() {
    let mut bench = Bench::new(&["a1"]);
    let (task, attempt, hash) = bench.admitted("a1");
    assert_eq!(bench.reason("a1"), "in-progress", "its observer runs, and that is not all");
    bench.done(&task, "a1", attempt, hash);
    assert_eq!(bench.reason("a1"), "in sync");
    bench.update(&task, "a1", TaskState::Starting, None);
    assert_eq!(bench.reason("a1"), "in sync");
}

/// Points 45 and 46 of `CHECKLIST.md`.
#[test]
fn s71_a_task_that_nobody_wrote_down_is_killed_until_it_has_ended_and_a_known_one_is_not() {
    let mut bench = Bench::new(&["a1"]);
    let observer = bench.observe("a1");
    let stray = TaskId::from("change.a1.0-1");
    bench.calls.clear();
    bench.reconciled(&stray, "a1", TaskState::Running);
    bench.reconciled(&observer, "a1", TaskState::Running);
    assert_eq!(bench.kills(), std::slice::from_ref(&stray), "once");
    bench.wait(20_000);
    let asks = |call: &Call| matches!(call, Call::Reconcile(ask) if ask.tasks.len() == 1);
    assert!(bench.calls.iter().any(asks), "it is asked after: {:?}", bench.calls);
    bench.calls.clear();
    bench.reconciled(&stray, "a1", TaskState::Running);
    assert_eq!(bench.kills(), std::slice::from_ref(&stray), "and again");
    bench.wait(20_000);
    bench.offer("a1");
    bench.wait(1_000);
    assert_eq!(bench.launched(), [], "nothing is launched there before it has ended");
    for end in [TaskState::Killed, TaskState::Lost] {
        bench.calls.clear();
        bench.reconciled(&stray, "a1", end);
        bench.wait(60_000);
        assert_eq!(bench.kills(), []);
    }
}

#[test]
fn s74_nobody_waits_for_the_answer_of_a_change_that_has_ended_by_its_journal() {
    let mut bench = Bench::new(&["a1"]);
    let off = CLUSTER.replace("{image: \"calico/node:v1\"}", "{enabled: false}");
    bench.write(Some(&off));
    bench.wait(5_000);
    let observer = bench.observe("a1");
    bench.offer("a1");
    let change = bench.launched().pop().expect("it is taken off");
    assert_eq!(job(&change).work.kind(), Some(TaskKind::Change));
    let attempt = attempt_of(&change);
    bench.update(&change.task_id, "a1", TaskState::Starting, None);
    bench.is_admitted("a1", attempt);
    bench.lead();
    let journal = JournalFacts { attempt, run: "r1".into(), state: JournalState::Done };
    let facts = Box::new(bench.facts("a1", None, Some(journal)));
    bench.update(&observer, "a1", TaskState::Running, Some(&FromHost::Facts { facts }));
    assert_eq!((bench.slot("a1"), bench.reason("a1")), (None, "in sync".into()));
    bench.launched();
    bench.write(Some(CLUSTER));
    bench.wait(5_000);
    bench.offer("a1");
    bench.wait(60_000);
    assert_eq!(bench.launched().len(), 1, "though Mesos never said how the change's task ended");
}

/// Point 44 of `CHECKLIST.md`.
#[test]
fn s74_a_host_whose_tasks_have_not_answered_is_asked_again_and_gets_no_launch() {
    let mut bench = Bench::new(&["a1", "a2", "a3"]);
    let observers = ["a1", "a2", "a3"].map(|host| bench.observe(host));
    bench.lead();
    bench.reconciled(&observers[0], "a1", TaskState::Running);
    bench.offer("a2");
    bench.wait(5_000);
    assert_eq!(bench.slot("a2"), None);
    bench.reconciled(&observers[1], "a2", TaskState::Running);
    bench.wait(30_000);
    let asked = bench.calls.iter().filter_map(|call| match call {
        Call::Reconcile(ask) => Some(ask.tasks.len()),
        _ => None,
    });
    let mut asked: Vec<usize> = asked.collect();
    let all = asked.len();
    asked.dedup();
    assert_eq!(asked, [0, 3, 2, 1], "all that the master knows, then those that remain");
    assert!(all < 9, "asked {all} times in 37 s: with growing delay");
    assert!(bench.slot("a2").is_some() && bench.slot("a3").is_none());
    bench.calls.clear();
    bench.reconciled(&observers[2], "a3", TaskState::Running);
    bench.wait(60_000);
    let known = |call: &Call| match call {
        Call::Reconcile(ask) => ask.tasks.iter().any(|task| observers.contains(&task.task_id)),
        _ => false,
    };
    assert!(!bench.calls.iter().any(known), "all have answered");
}

#[test]
fn an_agent_that_is_offered_or_heard_is_back_before_the_next_list_says_so() {
    for by_offer in [true, false] {
        let mut bench = Bench::new(&["a1"]);
        let observer = bench.observe("a1");
        bench.event(Event::Agents(vec![listed("a1", Condition::Disconnected)]));
        assert_eq!(bench.reason("a1"), "unreachable");
        // What the master says by itself of a task says nothing of the agent.
        bench.reconciled(&observer, "a1", TaskState::Running);
        assert_eq!(bench.reason("a1"), "unreachable");
        if by_offer {
            bench.offer("a1");
        } else {
            bench.update(&observer, "a1", TaskState::Running, None);
        }
        assert_ne!(bench.reason("a1"), "unreachable");
    }
}

#[test]
fn point_29_what_an_accept_left_filtered_is_asked_for_when_there_is_work_again() {
    let mut bench = Bench::new(&["a1"]);
    let (task, attempt, hash) = bench.admitted("a1");
    bench.done(&task, "a1", attempt, hash);
    bench.update(&task, "a1", TaskState::Failed, None);
    bench.wait(10_000);
    bench.offer("a1");
    let again = bench.launched().pop().expect("its supervisor is launched again");
    bench.update(&again.task_id, "a1", TaskState::Running, None);
    // Mesos offers nothing of it for an hour now, and this is what the launch asked for.
    bench.write(Some(&CLUSTER.replace("v1\"", "v2\"")));
    bench.wait(10_000);
    assert_eq!(bench.reason("a1"), "waiting-for-offer");
    assert!(bench.calls.iter().any(|call| matches!(call, Call::Revive(_))), "{:?}", bench.calls);
}

/// A host whose calico/node is in place, under this supervisor, when another image is declared and
/// the supervisor does not end. Gives it, its successor, which is never sent, and the observer.
fn about_to_be_replaced(bench: &mut Bench) -> [TaskId; 3] {
    let (task, attempt, hash) = bench.admitted("a1");
    bench.done(&task, "a1", attempt, hash);
    let mut observer = bench.running.iter().map(|(task, _)| task.clone());
    let observer = observer.find(|id| id.as_str().starts_with("observer")).unwrap();
    bench.write(Some(&CLUSTER.replace("v1\"", "v2\"")));
    bench.wait(5_000);
    bench.offer("a1");
    assert_eq!(bench.kills(), std::slice::from_ref(&task));
    assert!(bench.slot("a1").is_some(), "the successor is written down");
    let record = bench.etcd.get(&Key::Tasks("a1".into())).unwrap().value;
    let record: HostTasks = serde_json::from_str(&record).unwrap();
    let never_sent = record.carrier().unwrap().1.id.clone();
    [task, never_sent, observer]
}

/// What the successor's record says of the one before is not forgotten with it.
#[test]
fn a_supervisor_that_does_not_end_is_waited_for_by_the_next_leader_too() {
    let mut bench = Bench::new(&["a1"]);
    let [old, never_sent, observer] = about_to_be_replaced(&mut bench);
    bench.lead();
    bench.reconciled(&observer, "a1", TaskState::Running);
    bench.reconciled(&never_sent, "a1", TaskState::Gone);
    bench.reconciled(&old, "a1", TaskState::Running);
    for _ in 0..5 {
        bench.offer("a1");
        bench.wait(10_000);
        assert_eq!(bench.launched(), [], "while one of its kind runs");
    }
    bench.update(&old, "a1", TaskState::Killed, None);
    bench.wait(5_000);
    bench.offer("a1");
    bench.wait(5_000);
    assert_eq!(bench.launched().len(), 1);
}

#[test]
fn a_supervisor_that_has_ended_meanwhile_is_not_waited_for_by_the_next_leader() {
    let mut bench = Bench::new(&["a1"]);
    let [old, never_sent, observer] = about_to_be_replaced(&mut bench);
    bench.lead();
    bench.reconciled(&observer, "a1", TaskState::Running);
    bench.update(&old, "a1", TaskState::Killed, None);
    bench.reconciled(&never_sent, "a1", TaskState::Gone);
    bench.wait(5_000);
    bench.offer("a1");
    bench.wait(5_000);
    assert_eq!(bench.launched().len(), 1);
}

#[test]
fn a_supervisor_whose_machine_is_gone_for_good_is_not_waited_for() {
    let mut bench = Bench::new(&["a1"]);
    let [old, _, observer] = about_to_be_replaced(&mut bench);
    bench.hosts.clear();
    bench.reconciled(&observer, "a1", TaskState::GoneByOperator);
    bench.mesos(MesosEvent::Rescind(OfferId(format!("o{}", bench.offers))));
    assert_eq!((bench.slot("a1"), bench.reason("a1")), (None, "gone".into()));
    bench.reconciled(&old, "a1", TaskState::GoneByOperator);
    bench.kills();
    bench.wait(60_000);
    assert_eq!((bench.kills(), bench.launched()), (vec![], vec![]));
    assert!(bench.machine.is_quiet(bench.now), "{:?}", bench.machine.unrest(bench.now));
    assert!(bench.machine.heard().all(|(_, at)| at.is_none()), "nor listened for");
}

#[test]
fn a_leader_that_stood_by_for_long_does_not_hold_its_own_silence_against_hosts() {
    let mut bench = Bench::new(&["a1"]);
    let (task, attempt, hash) = bench.admitted("a1");
    bench.done(&task, "a1", attempt, hash);
    bench.event(Event::Deposed);
    bench.wait(3_600_000);
    bench.lead_again();
    for (task, host) in bench.running.clone() {
        bench.reconciled(&task, &host, TaskState::Running);
    }
    assert_eq!(bench.reason("a1"), "in sync");
    bench.wait(7 * 60_000);
    assert_eq!(bench.reason("a1"), "unknown", "as silent as with any other leader");
}
