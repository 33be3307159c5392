//! Upgrades of ours: what becomes of the tasks in the executors of another version.

use std::collections::{BTreeMap, BTreeSet};

use calico_dcos::job::order::FromHost;
use calico_dcos::mesos::v1::scheduler::Call;
use calico_dcos::mesos::v1::{ExecutorId, Resource, TaskInfo, TaskState};
use calico_dcos::observed::facts::{FACTS_VERSION, Facts};
use calico_dcos::observed::tasks::HostTasks;
use calico_dcos::store::keys::Key;
use calico_dcos::store::txn::Txn;
use calico_dcos::words::{SpecHash, TaskId, TaskKind};

use super::bench::{Bench, CLUSTER, job};

impl Bench {
    /// A host that is in sync, with its observer and its supervisor.
    fn in_sync() -> (Self, [TaskId; 2]) {
        let mut bench = Self::new(&["a1"]);
        let (task, attempt, hash) = bench.admitted("a1");
        bench.done(&task, "a1", attempt, hash);
        bench.wait(10_000);
        let tasks = bench.tasks();
        (bench, [TaskKind::Observer, TaskKind::CalicoNode].map(|kind| tasks[&kind].clone()))
    }

    fn tasks(&self) -> BTreeMap<TaskKind, TaskId> {
        let record = self.etcd.get(&Key::Tasks("a1".into())).unwrap().value;
        let record: HostTasks = serde_json::from_str(&record).unwrap();
        record.tasks.into_iter().map(|(kind, task)| (kind, task.id)).collect()
    }

    /// Another version of the program leads.
    fn upgrade(&mut self) {
        self.program = SpecHash([self.program.0[0] + 1; 32]);
        self.take_over();
    }

    /// Another process leads, and all tasks answer it.
    fn take_over(&mut self) {
        self.lead();
        for (task, host) in self.running.clone() {
            self.reconciled(&task, &host, TaskState::Running);
        }
        self.calls.clear();
    }

    /// Another image is declared, and the host is offered.
    fn next_image(&mut self) {
        self.write(Some(&CLUSTER.replace("node:v1", "node:v2")));
        self.wait(5_000);
        self.offer("a1");
    }

    /// What Mesos was told to end since the last look, which ends, and what was launched then.
    fn replaced(&mut self) -> (BTreeSet<TaskId>, Vec<TaskInfo>) {
        let killed = |call: &Call| match call {
            Call::Kill(kill) => Some(kill.task_id.clone()),
            _ => None,
        };
        let ended: BTreeSet<TaskId> = self.calls.iter().filter_map(killed).collect();
        let mut launched = self.launched();
        for task in &ended {
            assert_eq!(launched, [], "what is there ends before anything takes its place");
            self.running.retain(|(known, _)| known != task);
            self.update(task, "a1", TaskState::Killed, None);
            launched = self.launched();
        }
        (ended, launched)
    }

    fn reports(&mut self, observer: &TaskId, host: &str, version: u32) {
        let facts = Box::new(Facts { version, ..self.facts(host, None, None) });
        self.update(observer, host, TaskState::Running, Some(&FromHost::Facts { facts }));
    }
}

fn executors(tasks: &[TaskInfo]) -> BTreeSet<ExecutorId> {
    tasks.iter().map(|task| task.executor.clone().unwrap().executor_id).collect()
}

fn kinds(tasks: &[TaskInfo]) -> Vec<TaskKind> {
    tasks.iter().map(|task| job(task).work.kind().unwrap()).collect()
}

#[test]
fn an_upgrade_of_ours_alone_launches_and_ends_nothing() {
    let (mut bench, _) = Bench::in_sync();
    let before = bench.tasks();
    bench.upgrade();
    for _ in 0..10 {
        bench.offer("a1");
        bench.wait(60_000);
        bench.confirm("a1");
        assert_eq!(bench.replaced(), (BTreeSet::new(), vec![]));
        assert_eq!(bench.reason("a1"), "in sync");
    }
    assert_eq!(bench.tasks(), before);
}

#[test]
fn with_the_next_task_of_a_host_all_of_its_tasks_go_to_the_new_executor() {
    let (mut bench, old) = Bench::in_sync();
    bench.upgrade();
    bench.next_image();
    let (ended, launched) = bench.replaced();
    assert_eq!(ended, old.into());
    assert_eq!(kinds(&launched), [TaskKind::CalicoNode, TaskKind::Observer]);
    let programs = executors(&launched);
    assert_eq!(programs.len(), 1, "{programs:?}");
    assert!(programs.first().unwrap().0.ends_with(&bench.program.short()), "{programs:?}");
    // Those of this version are left where they are.
    for task in &launched {
        bench.update(&task.task_id, "a1", TaskState::Running, None);
    }
    bench.take_over();
    bench.offer("a1");
    bench.wait(60_000);
    assert_eq!(bench.replaced(), (BTreeSet::new(), vec![]));
}

#[test]
fn a_change_takes_the_observer_along_and_what_has_nothing_to_supervise_ends() {
    let (mut bench, [observer, supervisor]) = Bench::in_sync();
    bench.upgrade();
    let off = CLUSTER.replace("{image: \"calico/node:v1\"}", "{enabled: false}");
    bench.write(Some(&off));
    bench.wait(5_000);
    assert_eq!(bench.replaced(), ([supervisor].into(), vec![]));
    bench.wait(10_000);
    bench.offer("a1");
    let (ended, launched) = bench.replaced();
    assert_eq!(ended, [observer].into());
    assert_eq!(kinds(&launched), [TaskKind::Change, TaskKind::Observer]);
}

#[test]
fn what_the_offer_has_no_room_for_stays_and_goes_with_a_later_task() {
    let (mut bench, [observer, supervisor]) = Bench::in_sync();
    bench.upgrade();
    bench.write(Some(&CLUSTER.replace("node:v1", "node:v2")));
    bench.wait(5_000);
    // Executor and supervisor; not a megabyte for an observer.
    let resources = [("cpus", 4.0), ("mem", 32.0 + 256.0)];
    let small = resources.map(|(name, value)| Resource::scalar(name, value)).to_vec();
    bench.offer_with("a1", |offer| offer.resources = small);
    let (ended, launched) = bench.replaced();
    assert_eq!(ended, [supervisor].into());
    assert_eq!(kinds(&launched), [TaskKind::CalicoNode], "what has to be done is not held up");
    bench.update(&launched[0].task_id, "a1", TaskState::Failed, None);
    bench.wait(5_000);
    bench.offer("a1");
    let (ended, launched) = bench.replaced();
    assert_eq!((ended, launched.len()), ([observer].into(), 2));
}

/// As the release before wrote it.
#[test]
fn a_record_without_a_digest_is_that_of_another_program() {
    let (mut bench, old) = Bench::in_sync();
    let record = bench.etcd.get(&Key::Tasks("a1".into())).unwrap().value;
    let mut record: serde_json::Value = serde_json::from_str(&record).unwrap();
    for task in record["tasks"].as_object_mut().unwrap().values_mut() {
        assert!(task.as_object_mut().unwrap().remove("program").is_some());
    }
    let txn = Txn::new().put(Key::Tasks("a1".into()), record.to_string());
    let _ = bench.etcd.txn(&txn, None).unwrap();
    bench.take_over();
    bench.next_image();
    let (ended, launched) = bench.replaced();
    assert_eq!((ended, launched.len()), (old.into(), 2));
}

#[test]
fn an_observer_whose_facts_cannot_be_read_is_replaced_at_once_unless_it_is_of_this_program() {
    for version in [FACTS_VERSION - 1, FACTS_VERSION + 1] {
        let (mut bench, [observer, supervisor]) = Bench::in_sync();
        bench.reports(&observer, "a1", version);
        assert_eq!(bench.replaced().0, [].into(), "one of the same would say the same");
        bench.upgrade();
        bench.reports(&observer, "a1", version);
        assert_eq!(bench.replaced().0, [observer].into());
        bench.wait(10_000);
        bench.offer("a1");
        let (ended, launched) = bench.replaced();
        assert_eq!(ended, [supervisor].into());
        assert_eq!(kinds(&launched), [TaskKind::Observer, TaskKind::CalicoNode]);
        bench.reports(&launched[0].task_id, "a1", FACTS_VERSION);
        assert_eq!(bench.replaced().0, [].into());
    }
}

/// By its next confirmation, which each host sends at a time of its own, it is made to report anew.
#[test]
fn facts_on_record_that_are_of_a_release_too_old_are_not_gone_by() {
    let (mut bench, [observer, _]) = Bench::in_sync();
    let record = bench.etcd.get(&Key::Observed("a1".into())).unwrap().value;
    let mut record: serde_json::Value = serde_json::from_str(&record).unwrap();
    record["reported"]["facts"]["version"] = (FACTS_VERSION - 1).into();
    let txn = Txn::new().put(Key::Observed("a1".into()), record.to_string());
    let _ = bench.etcd.txn(&txn, None).unwrap();
    bench.upgrade();
    assert_eq!(bench.reason("a1"), "unknown");
    assert_eq!(bench.replaced().0, [].into());
    bench.confirm("a1");
    assert_eq!(bench.replaced().0, [observer].into());
}

#[test]
fn observers_that_cannot_be_read_are_replaced_one_after_the_other() {
    let hosts = ["a1", "a2", "a3", "a4", "a5"];
    let mut bench = Bench::new(&hosts);
    let paused = CLUSTER.replace("rollout: {", "rollout: {paused: true, ");
    bench.write(Some(&paused));
    bench.wait(5_000);
    let observers = hosts.map(|host| bench.observe(host));
    bench.upgrade();
    for (host, observer) in hosts.iter().zip(&observers) {
        bench.reports(observer, host, FACTS_VERSION + 1);
    }
    assert_eq!(bench.kills(), [observers[0].clone()], "all of them in one instant");
    bench.wait(100);
    bench.reports(&observers[4], "a5", FACTS_VERSION + 1);
    assert_eq!(bench.kills(), [observers[4].clone()]);
}
