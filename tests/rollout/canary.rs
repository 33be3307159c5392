//! Canaries: `rollout.canary`.

use calico_dcos::job::order::{FromHost, Work};
use calico_dcos::mesos::v1::{TaskInfo, TaskState};
use calico_dcos::plan::control::{Approval, Control};
use calico_dcos::rollout::records::{RolloutState, to_json};
use calico_dcos::store::keys::Key;
use calico_dcos::store::txn::Txn;
use calico_dcos::words::{Generation, HostName, SpecHash, Time};

use super::bench::{Bench, CLUSTER, attempt_of, job};

impl Bench {
    /// The hosts have reported, and the documents ask for canaries.
    fn staged(hosts: &[&'static str], canary: &str) -> Self {
        let mut bench = Self::new(hosts);
        bench.stage(canary);
        for host in hosts {
            bench.observe(host);
        }
        bench
    }

    fn stage(&mut self, canary: &str) {
        let rollout = format!("rollout: {{canary: {canary}, ");
        let text = CLUSTER.replace("rollout: {", &rollout).replace("Restarts: 1", "Restarts: 2");
        self.write(Some(&text));
        self.wait(5_000);
    }

    fn promote(&mut self, generation: Generation) {
        let approval = Approval { version: 1, who: "alice".into(), at: Time(0), generation };
        let key = Key::Control(Control::Promoted.path());
        let _ = self.etcd.txn(&Txn::new().put(key, to_json(&approval)), None).unwrap();
        self.pump();
    }

    /// Mesos offers all that it has. Gives the changes that are launched.
    fn offered(&mut self, hosts: &[&'static str]) -> Vec<TaskInfo> {
        for host in hosts {
            self.confirm(host);
            self.offer(host);
        }
        self.wait(2_000);
        self.launched()
    }

    /// The hosts do what they were told.
    fn all_do(&mut self, tasks: &[TaskInfo]) {
        for task in tasks {
            self.update(&task.task_id, &host_of(task), TaskState::Starting, None);
            self.is_admitted(&host_of(task), attempt_of(task));
        }
        // As one ends the next one begins.
        for task in tasks {
            let (host, attempt) = (host_of(task), attempt_of(task));
            let Work::Supervise { target, .. } = job(task).work else { panic!("{task:?}") };
            self.done(&task.task_id, &host, attempt, target.hash);
        }
    }

    /// Those hosts are launched on, and do what they were told.
    #[track_caller]
    fn moves(&mut self, offered: &[&'static str], moved: &[&str]) {
        let tasks = self.offered(offered);
        assert_eq!(tasks.iter().map(host_of).collect::<Vec<_>>(), moved);
        self.all_do(&tasks);
    }

    fn canaries(&self) -> Vec<String> {
        let record = self.etcd.get(&Key::RolloutState).unwrap();
        let state: RolloutState = serde_json::from_str(&record.value).unwrap();
        let canary = state.canary.unwrap_or_default();
        canary.hosts.iter().map(|host: &HostName| host.to_string()).collect()
    }
}

fn host_of(task: &TaskInfo) -> String {
    task.agent_id.as_str().trim_start_matches("agent-").to_owned()
}

const TEN: [&str; 10] = ["a1", "a2", "a3", "a4", "a5", "a6", "a7", "a8", "a9", "a10"];

#[test]
fn s37_three_of_ten_go_first_two_at_a_time_and_no_more_until_it_is_approved() {
    let mut bench = Bench::staged(&TEN, "{hosts: 30%}");
    bench.wait(1_000);
    assert_eq!(bench.canaries(), ["a1", "a2", "a3"]);
    assert_eq!(bench.reason("a4"), "waiting-for-canary");
    bench.moves(&TEN, &["a1", "a2"]);
    assert!(bench.text("a4").contains("go first: a1, a2, a3"), "{}", bench.text("a4"));
    bench.moves(&TEN, &["a3"]);
    bench.moves(&TEN, &[]);
    let text = bench.text("a4");
    assert!(text.contains("calico-dcos approve"), "{text}");
    let generation = bench.machine.generation();
    bench.promote(Generation(generation.0 + 1));
    bench.moves(&TEN, &[]);
    bench.promote(generation);
    bench.moves(&TEN, &["a4", "a5"]);
    bench.moves(&TEN, &["a6", "a7"]);
}

#[test]
fn s38_canaries_that_are_stable_are_promoted_by_themselves_after_their_time() {
    let hosts = ["a1", "a2", "a3"];
    let mut bench = Bench::staged(&hosts, "{hosts: 1, promote: automatic, bakeSeconds: 600}");
    bench.moves(&hosts, &["a1"]);
    bench.wait(300_000);
    bench.moves(&hosts, &[]);
    assert!(bench.text("a2").contains("the others follow at"), "{}", bench.text("a2"));
    bench.wait(300_000);
    bench.moves(&hosts, &["a2", "a3"]);
}

#[test]
fn canaries_are_the_same_for_the_next_leader_and_one_that_is_excluded_is_replaced() {
    let hosts = ["a1", "a2", "a3"];
    let mut bench = Bench::staged(&hosts, "{hosts: 1}");
    bench.wait(1_000);
    assert_eq!(bench.canaries(), ["a1"]);
    let running = bench.running.clone();
    // A host that would be first in order comes too late.
    bench.hosts.push("a0");
    bench.lead();
    for (task, host) in &running {
        bench.reconciled(task, host, TaskState::Running);
    }
    bench.observe("a0");
    let tasks = bench.offered(&["a0", "a1", "a2", "a3"]);
    assert_eq!(tasks.iter().map(host_of).collect::<Vec<_>>(), ["a1"]);
    bench.update(&tasks[0].task_id, "a1", TaskState::Dropped, None);
    bench.stage("{hosts: 1}, exclude: [a1]");
    assert_eq!(bench.canaries(), ["a0"]);
    assert_eq!(bench.reason("a1"), "excluded");
}

#[test]
fn drift_after_the_rollout_needs_no_canary() {
    let hosts = ["a1", "a2"];
    let mut bench = Bench::staged(&hosts, "{hosts: 1}");
    bench.moves(&hosts, &["a1"]);
    bench.wait(5_000);
    let generation = bench.machine.generation();
    bench.promote(generation);
    bench.moves(&hosts, &["a2"]);
    bench.wait(5_000);
    assert_eq!(bench.reason("a2"), "in sync");
    // Somebody has put the old one back.
    let facts = Box::new(bench.facts("a2", Some(SpecHash([9; 32])), None));
    let observer = bench.running.iter().find(|(_, host)| host == "a2").unwrap().0.clone();
    bench.update(&observer, "a2", TaskState::Running, Some(&FromHost::Facts { facts }));
    bench.offer("a2");
    bench.wait(2_000);
    assert!(bench.slot("a2").is_some(), "a repair is not tried on a canary: {}", bench.text("a2"));
}

#[test]
fn a_new_generation_has_canaries_of_its_own() {
    let hosts = ["a1", "a2"];
    let mut bench = Bench::staged(&hosts, "{hosts: 1}");
    bench.wait(1_000);
    bench.promote(bench.machine.generation());
    assert_ne!(bench.reason("a2"), "waiting-for-canary");
    let text = CLUSTER.replace("rollout: {", "rollout: {canary: {hosts: 1}, ");
    bench.write(Some(&text.replace("node:v1", "node:v2")));
    bench.wait(5_000);
    bench.moves(&hosts, &["a1"]);
    assert_eq!(bench.reason("a2"), "waiting-for-canary");
}
