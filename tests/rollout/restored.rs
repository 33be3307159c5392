//! etcd restored from a backup: what nobody remembers is asked of the hosts.

use calico_dcos::budget::slot::{Guard, Slot};
use calico_dcos::job::order::FromHost;
use calico_dcos::mesos::v1::TaskState;
use calico_dcos::observed::facts::{JournalFacts, JournalState};
use calico_dcos::observed::fleet::{Part, Share};
use calico_dcos::rollout::event::Event;
use calico_dcos::sim::etcd::EtcdModel;
use calico_dcos::store::keys::{Key, Space};
use calico_dcos::store::txn::{StoreEvent, Txn};
use calico_dcos::words::{Attempt, SpecHash, TaskId, TaskKind};

use super::bench::{Bench, CLUSTER, attempt_of};

const OLD: SpecHash = SpecHash([9; 32]);

/// Three hosts: a3 was changed before the backup, a1 is admitted after it, a2 waits. Then the
/// backup is put back, as the etcd of a new cluster, and another process leads.
struct Restored {
    bench: Bench,
    observers: Vec<(&'static str, TaskId)>,
    /// The attempt of a1 that the backup does not know.
    lost: Attempt,
}

fn restored() -> Restored {
    let mut bench = Bench::new(&["a1", "a2", "a3"]);
    let (task, attempt, hash) = bench.admitted("a3");
    bench.done(&task, "a3", attempt, hash);
    let supervisor = task;
    let observers = bench.running.iter().filter(|(task, _)| *task != supervisor);
    let mut observers: Vec<_> = observers.map(|(task, _)| ("a3", task.clone())).collect();
    observers.extend(["a1", "a2"].map(|host| (host, bench.observe(host))));
    let backup = bench.etcd.clone();
    bench.wait(2_000);
    bench.offer("a1");
    let carrier = bench.launched().pop().expect("a1 is changed");
    let lost = attempt_of(&carrier);
    bench.update(&carrier.task_id, "a1", TaskState::Starting, None);
    bench.is_admitted("a1", lost);
    bench.etcd = elsewhere(backup);
    bench.lead();
    for (host, task) in observers.iter().chain([&("a3", supervisor)]) {
        bench.reconciled(task, host, TaskState::Running);
    }
    Restored { bench, observers, lost }
}

/// The same records in a cluster of another ID.
fn elsewhere(mut backup: EtcdModel) -> EtcdModel {
    let guard = backup.get(&Key::SlotGuard).unwrap().value;
    let guard: Guard = serde_json::from_str(&guard).unwrap();
    let guard = Guard { cluster: "another".to_owned(), ..guard };
    let guard = serde_json::to_string(&guard).unwrap();
    let _ = backup.txn(&Txn::new().put(Key::SlotGuard, guard), None).unwrap();
    backup
}

impl Restored {
    /// The observer of a1 says what is in the journal.
    fn reports(&mut self, state: JournalState) {
        let journal = JournalFacts { attempt: self.lost, run: "r1".into(), state };
        let facts = Box::new(self.bench.facts("a1", Some(OLD), Some(journal)));
        let observer = self.observers.iter().find(|(host, _)| *host == "a1").unwrap().1.clone();
        self.bench.update(&observer, "a1", TaskState::Running, Some(&FromHost::Facts { facts }));
    }

    #[track_caller]
    fn is_halted(&mut self) {
        for host in ["a1", "a2", "a3"] {
            self.bench.offer(host);
        }
        self.bench.wait(5_000);
        assert_eq!(self.bench.launched(), [], "nothing starts");
        assert_eq!(self.bench.reason("a2"), "halted");
        let asked = self.bench.ask("a1", self.lost, "r2");
        assert_eq!(asked, [], "nobody is told yes, or no for good");
    }
}

/// The watch is late, the cluster ID the same and the backup newer than what the watch has told: only the
/// leader's own writes say that there was more.
#[test]
fn a_leader_finds_its_own_writes_lost_though_the_watch_never_told_of_them() {
    let mut bench = Bench::new(&["a1", "a2"]);
    bench.observe("a2");
    bench.watch_late = true;
    let (task, attempt, _) = bench.changing("a1");
    let backup = bench.etcd.clone();
    bench.update(&task, "a1", TaskState::Starting, None);
    bench.is_admitted("a1", attempt);
    bench.etcd = backup;
    bench.watched = bench.etcd.revision();
    let snapshot = bench.etcd.list(Space::All);
    bench.event(Event::Store(StoreEvent::Listed(snapshot)));
    bench.offer("a2");
    bench.wait(5_000);
    assert_eq!((bench.launched(), bench.reason("a2")), (vec![], "halted".into()));
}

/// With no attempt on any host, only who was there before can tell that etcd went back.
#[test]
fn a_backup_with_a_record_that_cannot_be_read_is_still_known_for_one_when_it_can() {
    let mut bench = Bench::new(&["a1"]);
    bench.observe("a1");
    let (backup, key) = (bench.etcd.clone(), Key::RolloutState);
    for word in 1..9 {
        bench.write(Some(&format!("# {word}\n{CLUSTER}")));
    }
    bench.etcd = backup;
    let good = bench.etcd.get(&key).unwrap().value;
    for value in ["no json", &good] {
        let _ = bench.etcd.txn(&Txn::new().put(key.clone(), value), None).unwrap();
        let snapshot = bench.etcd.list(Space::All);
        bench.watched = snapshot.revision;
        bench.event(Event::Store(StoreEvent::Listed(snapshot)));
        assert_eq!(bench.reason("a1"), "halted");
    }
    assert!(bench.text("a1").contains("store-restored"), "{}", bench.text("a1"));
}

#[test]
fn after_a_restore_nothing_starts_until_every_host_has_reported_and_slots_are_as_journals_say() {
    let mut it = restored();
    it.is_halted();
    it.reports(JournalState::Open);
    it.bench.confirm("a2");
    it.bench.confirm("a3");
    // Somebody may have been told yes just before, and not have opened the journal yet.
    it.is_halted();
    it.bench.wait(60_000);
    it.is_halted();
    it.reports(JournalState::Open);
    it.bench.confirm("a3");
    it.is_halted();
    assert_eq!((it.bench.slot("a1"), it.bench.guard().cluster.as_str()), (None, "another"));

    it.bench.confirm("a2");
    let slot: Slot = serde_json::from_str(&it.bench.slot("a1").unwrap()).unwrap();
    assert_eq!(slot.attempt, it.lost);
    let guard = it.bench.guard();
    assert_eq!((guard.held, guard.attempt, guard.cluster.as_str()), (1, it.lost, "7"));
    assert_eq!(it.bench.reason("a2"), "waiting-for-slot", "budget 1, and a1 is at work");
    it.reports(JournalState::Done);
    it.bench.wait(10_000);
    it.bench.offer("a2");
    let next = it.bench.launched().pop().expect("it goes on");
    assert_eq!(next.name, TaskKind::CalicoNode.name());
    assert!(attempt_of(&next) > it.lost, "no number is used twice");
}

#[test]
fn a_new_leader_waits_for_every_host_again() {
    let mut it = restored();
    it.bench.wait(61_000);
    it.reports(JournalState::Open);
    it.bench.confirm("a3");
    it.bench.lead();
    let observers = it.observers.clone();
    for (host, task) in &observers {
        it.bench.reconciled(task, host, TaskState::Running);
    }
    it.bench.wait(61_000);
    it.bench.confirm("a2");
    it.is_halted();
}

#[test]
fn an_observer_whose_facts_were_lost_with_the_store_is_started_anew() {
    let mut it = restored();
    // It has reported something since the backup, which nobody remembers.
    it.bench.facts("a2", None, None);
    it.bench.confirm("a2");
    assert_eq!(it.bench.kills(), [], "its report may be on its way");
    it.bench.wait(61_000);
    it.bench.calls.clear();
    it.bench.confirm("a2");
    let observer = it.observers.iter().find(|(host, _)| *host == "a2").unwrap().1.clone();
    assert_eq!(it.bench.kills(), std::slice::from_ref(&observer));
    it.bench.update(&observer, "a2", TaskState::Killed, None);
    it.bench.wait(5_000);
    it.bench.offer("a2");
    let again = it.bench.launched().pop().expect("a new observer");
    assert_eq!(again.name, TaskKind::Observer.name());
}

#[test]
fn facts_that_were_lost_with_the_store_before_this_leader_came_are_asked_for_anew() {
    let mut bench = Bench::new(&["a1"]);
    let observer = bench.observe("a1");
    bench.facts("a1", None, None);
    bench.confirm("a1");
    assert_eq!(bench.kills(), [], "its report may be on its way");
    bench.wait(60_000);
    bench.confirm("a1");
    assert_eq!(bench.kills(), [observer]);
}

#[test]
fn what_the_store_cannot_know_is_a_restore_also_under_the_same_cluster_id() {
    for by_journal in [true, false] {
        let mut bench = Bench::new(&["a1", "a2"]);
        let observer = bench.observe("a1");
        bench.observe("a2");
        assert_ne!(bench.reason("a2"), "halted");
        if by_journal {
            let state = JournalState::Done;
            let journal = JournalFacts { attempt: Attempt(99), run: "r".into(), state };
            let facts = Box::new(bench.facts("a1", Some(OLD), Some(journal)));
            bench.update(&observer, "a1", TaskState::Running, Some(&FromHost::Facts { facts }));
        } else {
            let later = TaskId::from("change.a1.9999-1");
            bench.update(&later, "a1", TaskState::Running, None);
            assert_eq!(bench.kills(), [later]);
        }
        assert_eq!(bench.reason("a2"), "halted");
        bench.offer("a2");
        bench.wait(30_000);
        assert_eq!((bench.launched(), bench.slot("a2")), (vec![], None));
    }
}

#[test]
fn a_slot_of_a_host_that_was_taken_off_the_list_by_hand_counts_and_is_its_own_again() {
    let mut bench = Bench::new(&["a1", "a2"]);
    bench.admitted("a1");
    let observed = Key::Observed("a1".into());
    let _ = bench.etcd.txn(&Txn::new().delete(observed), None).unwrap();
    bench.lead();
    bench.wait(1_000);
    assert_ne!(bench.reason("a1"), "halted", "the guard counts one slot, and there is one");
    assert!(bench.slot("a1").is_some());
    bench.observe("a2");
    bench.offer("a2");
    bench.wait(60_000);
    assert_eq!((bench.slot("a2"), bench.reason("a2")), (None, "waiting-for-slot".to_owned()));
}

#[test]
fn a_host_that_asks_under_the_slot_of_a_backup_is_not_answered() {
    for restored in [false, true] {
        let mut bench = Bench::new(&["a1"]);
        let (task, attempt, _) = bench.changing("a1");
        bench.update(&task, "a1", TaskState::Starting, None);
        if restored {
            bench.etcd = elsewhere(bench.etcd.clone());
        }
        bench.lead();
        bench.reconciled(&task, "a1", TaskState::Running);
        for (observer, host) in bench.running.clone() {
            bench.reconciled(&observer, &host, TaskState::Running);
        }
        assert_eq!(bench.ask("a1", attempt, "r1").len(), usize::from(!restored));
        let slot = bench.slot("a1").unwrap();
        assert_eq!(slot.contains("reserved"), restored, "somebody else may be at work: {slot}");
    }
}

#[test]
fn after_a_restore_a_host_that_is_closed_to_us_and_never_reported_is_not_waited_for() {
    let mut bench = Bench::new(&["a1", "p1"]);
    let part = |total: u64| Part { total, used: 0, offered: 0 };
    let share = Share { cpus: part(4_000), mem: part(4_000_000) };
    bench.rooms.insert("p1".to_owned(), [("slave_public".to_owned(), share)].into());
    let (task, attempt, hash) = bench.admitted("a1");
    bench.done(&task, "a1", attempt, hash);
    bench.etcd = elsewhere(bench.etcd.clone());
    bench.lead();
    bench.event(Event::Presented { given_up: vec!["slave_public".to_owned()] });
    for (task, host) in bench.running.clone() {
        bench.reconciled(&task, &host, TaskState::Running);
    }
    bench.wait(61_000);
    assert_eq!(bench.guard().cluster, "another");
    bench.confirm("a1");
    bench.wait(1_000);
    assert_eq!((bench.guard().cluster.as_str(), bench.reason("p1")), ("7", "blocked".into()));
}

#[test]
fn an_attempt_that_only_the_backup_knows_is_over_when_the_journal_is_about_a_later_one() {
    let mut bench = Bench::new(&["a1"]);
    let (task, attempt, hash) = bench.admitted("a1");
    let backup = bench.etcd.clone();
    bench.done(&task, "a1", attempt, hash);
    bench.etcd = elsewhere(backup);
    bench.lead();
    for (task, host) in bench.running.clone() {
        bench.reconciled(&task, &host, TaskState::Running);
    }
    bench.wait(61_000);
    let (next, state) = (Attempt(attempt.0 + 1), JournalState::Done);
    let journal = JournalFacts { attempt: next, run: "r2".into(), state };
    let facts = Box::new(bench.facts("a1", Some(hash), Some(journal)));
    let (observer, _) = bench.running[0].clone();
    bench.update(&observer, "a1", TaskState::Running, Some(&FromHost::Facts { facts }));
    bench.wait(10_000);
    assert_eq!((bench.guard().cluster.as_str(), bench.slot("a1")), ("7", None));
    assert_eq!(bench.reason("a1"), "in sync");
}
