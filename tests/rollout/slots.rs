//! Slots: from reservation to release, through crashes, other leaders and other hands.

use calico_dcos::job::order::ToHost;
use calico_dcos::mesos::v1::TaskState;
use calico_dcos::mesos::v1::scheduler::{Call, Event as MesosEvent};
use calico_dcos::observed::facts::JournalState;
use calico_dcos::observed::fleet::Condition;
use calico_dcos::rollout::Controller;
use calico_dcos::rollout::event::{Effect, Event};
use calico_dcos::store::keys::{Key, Space};
use calico_dcos::store::txn::{Outcome, StoreEvent, Txn};
use calico_dcos::words::{Attempt, Generation, Revision, SpecHash, TaskId, TaskKind};

use super::bench::{Bench, CLUSTER, attempt_of, config, listed};

/// A record of a later release: what else it says is nobody's guess.
const LATER: &str = r#"{"version":2}"#;

#[test]
fn a_yes_is_sent_only_after_its_commit() {
    let mut bench = Bench::new(&["a1"]);
    let (task, attempt, _) = bench.changing("a1");
    bench.update(&task, "a1", TaskState::Starting, None);
    bench.txns_held = Some(Vec::new());
    assert_eq!(bench.ask("a1", attempt, "r1"), []);
    let held = bench.txns_held.take().unwrap();
    for effect in held {
        bench.carry_out(effect);
    }
    bench.pump();
    assert!(bench.calls.iter().any(|call| matches!(call, Call::Message(_))));
}

#[test]
fn s51_what_is_said_twice_takes_one_slot_and_frees_one() {
    let mut bench = Bench::new(&["a1", "a2"]);
    bench.observe("a2");
    let (task, attempt, hash) = bench.admitted("a1");
    bench.is_admitted("a1", attempt);
    assert_eq!(bench.guard().held, 1);
    bench.done(&task, "a1", attempt, hash);
    bench.wait(2_000);
    bench.offer("a2");
    assert_eq!((bench.slot("a1"), bench.guard().held), (None, 1), "a2 has it now");
    bench.done(&task, "a1", attempt, hash);
    assert_eq!((bench.slot("a1"), bench.guard().held), (None, 1));
    assert!(bench.slot("a2").is_some());
}

#[test]
fn s57_killed_between_slot_and_launch_the_next_leader_gives_the_slot_back() {
    let mut bench = Bench::new(&["a1", "a2"]);
    let (task, ..) = bench.changing("a1");
    bench.lead();
    assert!(bench.slot("a1").is_some());
    assert_eq!(bench.launched(), [], "nothing is launched before the tasks have answered");
    // The launch never arrived: the master has never heard of it.
    bench.reconciled(&task, "a1", TaskState::Dropped);
    assert_eq!(bench.slot("a1"), None, "a reserved slot is given back");
    bench.observe("a2");
    bench.wait(5_000);
    let entries = bench.etcd.list(Space::All).entries;
    assert!(entries.iter().filter(|entry| matches!(entry.key, Key::Slot(_))).count() <= 1);
}

#[test]
fn s58_killed_between_launch_and_status_a_running_task_is_adopted() {
    let mut bench = Bench::new(&["a1"]);
    let (task, attempt, hash) = bench.admitted("a1");
    bench.lead();
    bench.reconciled(&task, "a1", TaskState::Running);
    bench.offer("a1");
    let relaunched = bench.launched();
    assert!(relaunched.iter().all(|task| task.name == "observer"), "{relaunched:?}");
    assert!(bench.slot("a1").is_some());
    bench.done(&task, "a1", attempt, hash);
    assert_eq!(bench.slot("a1"), None);
}

#[test]
fn s58_killed_between_launch_and_status_an_unreachable_task_keeps_its_slot_until_it_is_seen() {
    let mut bench = Bench::new(&["a1", "a2"]);
    let (task, attempt, _) = bench.admitted("a1");
    bench.lead();
    bench.reconciled(&task, "a1", TaskState::Unreachable);
    bench.observe("a2");
    bench.offer("a2");
    bench.wait(120_000);
    assert!(bench.slot("a1").is_some());
    assert_eq!(bench.slot("a2"), None, "budget 1, and nobody knows what a1 does");
    assert_eq!(bench.reason("a2"), "waiting-for-slot");
    // Its agent is away, and is back: its tasks are asked after, and this one is no more.
    let away = vec![listed("a1", Condition::Disconnected), listed("a2", Condition::Active)];
    bench.event(Event::Agents(away));
    bench.calls.clear();
    bench.wait(60_000);
    let asks = |call: &Call| match call {
        Call::Reconcile(ask) => ask.tasks.iter().any(|asked| asked.task_id == task),
        _ => false,
    };
    assert!(bench.calls.iter().any(asks), "{:?}", bench.calls);
    bench.reconciled(&task, "a1", TaskState::Gone);
    let (observer, _) = bench.running[0].clone();
    bench.reconciled(&observer, "a1", TaskState::Running);
    assert!(bench.slot("a1").unwrap().contains("held"));
    bench.launched();
    bench.wait(5_000);
    bench.offer("a1");
    let again = bench.launched();
    let again = again.iter().find(|task| task.name == TaskKind::CalicoNode.name());
    assert!(attempt_of(again.expect("the same step")) > attempt, "as a new attempt");
    assert!(bench.slot("a1").unwrap().contains("held"));
}

/// Another process leads; the one before goes on where it was, and knows nothing of it.
fn superseded(bench: &mut Bench) -> Controller {
    let old = std::mem::replace(&mut bench.machine, Controller::new(config()));
    bench.lead();
    old
}

/// Point 23 of `CHECKLIST.md`.
#[test]
fn s59_a_leader_that_wakes_up_late_writes_nothing_and_gives_up() {
    let mut bench = Bench::new(&["a1"]);
    let (task, attempt, _) = bench.changing("a1");
    bench.update(&task, "a1", TaskState::Starting, None);
    let mut old = superseded(&mut bench);
    bench.now = bench.now.plus_ms(60_000);
    let message = Bench::asks("a1", attempt, "r1");
    old.handle(Event::Mesos(MesosEvent::Message(message)), bench.now);
    let effects = old.pass(bench.now);
    let [Effect::Txn { id, txn }, Effect::PollAgents] = &effects[..] else { panic!("{effects:?}") };
    let before = bench.etcd.revision();
    let outcome = bench.etcd.txn(txn, None).unwrap();
    assert_eq!((&outcome, bench.etcd.revision()), (&Outcome::Conflict, before));
    old.handle(Event::TxnDone { id: *id, outcome }, bench.now);
    let effects = old.pass(bench.now);
    assert!(matches!(effects[..], [Effect::Relist]), "no answer to the host: {effects:?}");
    let listing = StoreEvent::Listed(bench.etcd.list(Space::All));
    old.handle(Event::Store(listing), bench.now);
    let effects = old.pass(bench.now);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Resign)), "{effects:?}");
    let acts = |effect: &Effect| matches!(effect, Effect::Txn { .. } | Effect::Call(_));
    assert!(!effects.iter().any(acts), "{effects:?}");
}

#[test]
fn s59_a_launch_of_the_old_leader_that_arrives_late_is_not_admitted() {
    let mut bench = Bench::new(&["a1"]);
    let (task, attempt, _) = bench.changing("a1");
    superseded(&mut bench);
    // The master has not heard of it yet, and the slot is given back.
    bench.reconciled(&task, "a1", TaskState::Dropped);
    assert_eq!(bench.slot("a1"), None);
    bench.calls.clear();
    bench.update(&task, "a1", TaskState::Starting, None);
    assert_eq!(bench.kills(), [task], "its record is gone, and so it goes");
    let answers = bench.ask("a1", attempt, "r1");
    let yes = |answer: &ToHost| matches!(answer, ToHost::Admitted { .. });
    assert!(!answers.iter().any(yes), "{answers:?}");
    assert_eq!(bench.slot("a1"), None);
}

#[test]
fn s67_a_host_in_a_restart_that_sends_no_offers_counts_after_a_take_over() {
    let mut bench = Bench::new(&["a1", "a2"]);
    let (task, ..) = bench.admitted("a1");
    bench.observe("a2");
    bench.lead();
    bench.reconciled(&task, "a1", TaskState::Running);
    bench.offer("a2");
    bench.wait(60_000);
    assert_eq!(bench.slot("a2"), None);
}

#[test]
fn s43b_what_the_former_leader_has_begun_is_waited_for_and_then_the_next_one_goes() {
    let mut bench = Bench::new(&["a1", "a2"]);
    let (task, attempt, hash) = bench.admitted("a1");
    bench.observe("a2");
    bench.lead();
    bench.reconciled(&task, "a1", TaskState::Running);
    for (task, host) in bench.running.clone() {
        bench.reconciled(&task, &host, TaskState::Running);
    }
    bench.wait(60_000);
    bench.offer("a2");
    assert_eq!((bench.launched(), bench.slot("a2")), (vec![], None));
    assert_eq!(bench.reason("a2"), "waiting-for-slot");
    bench.done(&task, "a1", attempt, hash);
    bench.wait(2_000);
    bench.offer("a2");
    assert_eq!(bench.launched().len(), 1);
    assert!(bench.slot("a2").is_some());
}

/// The old leader has decided, and nothing of it has arrived yet.
#[test]
fn s60_what_was_decided_before_leadership_was_lost_changes_nothing_after_it() {
    let mut bench = Bench::new(&["a1", "a2"]);
    for host in ["a1", "a2"] {
        bench.observe(host);
    }
    bench.txns_held = Some(Vec::new());
    let offers = ["a1", "a2"].map(|host| bench.make_offer(host));
    bench.mesos(MesosEvent::Offers(offers.to_vec()));
    let decided = bench.txns_held.take().unwrap();
    assert!(!decided.is_empty());
    let mut old = superseded(&mut bench);
    let led = bench.etcd.revision();
    for effect in decided {
        let Effect::Txn { id, txn } = effect else { panic!("{effect:?}") };
        let outcome = bench.etcd.txn(&txn, None).unwrap();
        assert_eq!(outcome, Outcome::Conflict);
        old.handle(Event::TxnDone { id, outcome }, bench.now);
    }
    assert_eq!(bench.etcd.revision(), led, "it writes nothing any more");
    let effects = old.pass(bench.now);
    let calls = |effect: &Effect| matches!(effect, Effect::Txn { .. } | Effect::Call(_));
    assert!(!effects.iter().any(calls), "{effects:?}");
}

/// Changes that the watch has lost are found in the next listing; what is under way is known again.
#[test]
fn s62_a_watch_that_begins_anew_launches_nothing_twice() {
    let mut bench = Bench::new(&["a1", "a2"]);
    let (task, attempt, hash) = bench.admitted("a1");
    bench.observe("a2");
    for _ in 0..3 {
        bench.event(Event::Store(StoreEvent::Lost { why: "compacted".into() }));
        let listing = bench.etcd.list(Space::All);
        bench.event(Event::Store(StoreEvent::Listed(listing)));
        for host in ["a1", "a2"] {
            bench.offer(host);
        }
        bench.wait(5_000);
        assert_eq!((bench.launched(), bench.guard().held), (vec![], 1));
    }
    bench.done(&task, "a1", attempt, hash);
    assert_eq!((bench.slot("a1"), bench.reason("a1")), (None, "in sync".to_owned()));
}

/// Point 28 of `CHECKLIST.md`.
#[test]
fn s73_a_rescinded_offer_is_not_launched_on() {
    let mut bench = Bench::new(&["a1"]);
    bench.observe("a1");
    bench.txns_held = Some(Vec::new());
    let offer = bench.offer("a1");
    bench.mesos(MesosEvent::Rescind(offer));
    for effect in bench.txns_held.take().unwrap() {
        bench.carry_out(effect);
    }
    bench.pump();
    assert_eq!(bench.launched(), []);
    bench.wait(10_000);
    assert_eq!(bench.slot("a1"), None, "and its slot is given back");
}

/// The leader dies when these facts are written and nothing else of what follows from them.
fn dies_after_the_facts(
    bench: &mut Bench,
    (task, attempt, hash): (&TaskId, Attempt, SpecHash),
    state: JournalState,
) {
    bench.txns_held = Some(Vec::new());
    let report = bench.ended("a1", attempt, hash, state);
    bench.update(task, "a1", TaskState::Running, Some(&report));
    let mut held = bench.txns_held.take().unwrap().into_iter();
    let facts = held.find(|effect| {
        matches!(effect, Effect::Txn { txn, .. }
            if txn.ops.iter().any(|op| matches!(op.key(), Key::Observed(_))))
    });
    bench.carry_out(facts.expect("the facts are written"));
    assert!(bench.slot("a1").is_some());
    bench.lead();
    bench.reconciled(task, "a1", TaskState::Running);
    bench.wait(5_000);
}

#[test]
fn s76_after_a_take_over_what_had_passed_is_done_and_what_had_not_goes_on() {
    for (state, slot, reason) in
        [(JournalState::Done, false, "in sync"), (JournalState::Open, true, "verifying")]
    {
        let mut bench = Bench::new(&["a1"]);
        let (task, attempt, hash) = bench.admitted("a1");
        dies_after_the_facts(&mut bench, (&task, attempt, hash), state);
        assert_eq!(bench.slot("a1").is_some(), slot, "the journal in the facts is the evidence");
        assert_eq!(bench.reason("a1"), reason);
    }
}

#[test]
fn s55_a_record_that_cannot_be_read_starts_nothing_and_is_left_alone() {
    let keys = [
        Key::SlotGuard,
        Key::Slot("a1".into()),
        Key::RolloutState,
        Key::RolloutHost("a1".into()),
        Key::Accepted(Generation(1)),
        Key::Tasks("a1".into()),
        Key::Observed("a1".into()),
        Key::FrameworkId,
    ];
    // Of a later release, and of a hand that slipped.
    for (key, value) in keys.into_iter().flat_map(|key| [(key.clone(), LATER), (key, "no json")]) {
        let mut bench = Bench::new(&["a1"]);
        bench.changing("a1");
        let good = bench.etcd.get(&key).map(|entry| entry.value);
        let write = |bench: &mut Bench, value: Option<&str>| {
            let txn = value.map_or_else(
                || Txn::new().delete(key.clone()),
                |value| Txn::new().put(key.clone(), value),
            );
            let _ = bench.etcd.txn(&txn, None).unwrap();
        };
        write(&mut bench, Some(value));
        bench.subscriptions.clear();
        bench.lead();
        let before = bench.etcd.revision();
        bench.write(Some(&CLUSTER.replace("node:v1", "node:v2")));
        bench.wait(60_000);
        assert_eq!((&bench.calls[..], bench.subscriptions.len()), (&[][..], 0), "{key:?}: {value}");
        assert_eq!(
            bench.etcd.revision(),
            Revision(before.0 + 1),
            "{key:?}: the document, and no more"
        );
        // One of a newer release may be waiting to lead; nothing but a person mends a damaged record.
        let told = bench.given_up.take().is_some_and(|why| why.contains("a newer calico-dcos"));
        assert_eq!(told, value == LATER, "{key:?}: {value}");

        write(&mut bench, good.as_deref());
        bench.wait(5_000);
        assert_eq!(bench.subscriptions.len(), 1, "{key:?}: as it was, it goes on");
    }
}

#[test]
fn s54_a_slot_written_by_another_hand_meanwhile_is_not_overwritten() {
    let mut bench = Bench::new(&["a1"]);
    let (task, attempt, _) = bench.changing("a1");
    bench.update(&task, "a1", TaskState::Starting, None);
    // Deleted and created anew between read and write: same content, another mod revision.
    let slot = bench.slot("a1").unwrap();
    let _ = bench.etcd.txn(&Txn::new().delete(Key::Slot("a1".into())), None).unwrap();
    let _ = bench.etcd.txn(&Txn::new().put(Key::Slot("a1".into()), slot), None).unwrap();
    let answers = bench.ask("a1", attempt, "r1");
    assert_eq!(answers, [], "the compare fails, and nothing is answered");
    assert_eq!(bench.ask("a1", attempt, "r1").len(), 1, "read again, and then admitted");
}

/// Leadership is lost and won again before anything was done about it, and the subscription that was
/// asked for in between comes about.
#[test]
fn a_stream_that_is_not_asked_for_any_more_is_no_subscription() {
    let mut bench = Bench::new(&["a1"]);
    bench.observe("a1");
    bench.subscriptions.clear();
    let created = bench.etcd.get(&Key::Leader).unwrap().create_revision;
    bench.machine.handle(Event::Deposed, bench.now);
    bench.machine.handle(Event::Leading { created }, bench.now);
    bench.mesos(Bench::subscribed());
    assert_eq!(bench.subscriptions.len(), 1);
}
