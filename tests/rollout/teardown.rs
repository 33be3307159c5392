//! Taking all of it off: `control/teardown`.

use calico_dcos::job::order::{FromHost, ToHost};
use calico_dcos::mesos::v1::scheduler::{Call, Event as MesosEvent, Message};
use calico_dcos::mesos::v1::{Blob, ExecutorId, TaskState};
use calico_dcos::observed::facts::{ComponentFacts, Health};
use calico_dcos::plan::control::{Control, Teardown};
use calico_dcos::rollout::event::Event;
use calico_dcos::rollout::records::to_json;
use calico_dcos::store::keys::Key;
use calico_dcos::store::txn::Txn;
use calico_dcos::words::{Component, HostName, TaskId, Time};

use super::bench::{Bench, CLUSTER, agent};

/// Every component is off.
fn all_off() -> String {
    let sections = ["etcdProxy", "docker", "mesosAgent", "calicoNode", "calicoLibnetwork"];
    let off = sections.map(|section| format!("  {section}: {{enabled: false}}\n")).concat();
    let head = CLUSTER.split_inclusive('\n').filter(|line| !line.contains("calicoNode"));
    format!("{}{off}", head.collect::<String>())
}

fn key() -> Key {
    Key::Control(Control::Teardown.path())
}

impl Bench {
    fn ask_for_teardown(&mut self, leave_behind: bool) {
        let asked =
            Teardown { version: 1, who: "alice".into(), at: Time(7), leave_behind, ended: None };
        let txn = Txn::new().put(Key::DesiredCluster, all_off()).put(key(), to_json(&asked));
        let _ = self.etcd.txn(&txn, None).unwrap();
        self.pump();
    }

    /// Starts the observer of a host on which nothing of ours runs.
    fn bare(&mut self, host: &str) -> TaskId {
        self.offer(host);
        let observer = self.launched().pop().expect("an observer is launched");
        let facts = Box::new(self.facts(host, None, None));
        self.update(&observer.task_id, host, TaskState::Running, Some(&FromHost::Facts { facts }));
        observer.task_id
    }

    /// A message of a host's executor.
    pub(crate) fn says(&mut self, host: &str, message: &FromHost) {
        self.mesos(MesosEvent::Message(Message {
            agent_id: agent(host),
            executor_id: ExecutorId("e".into()),
            data: Blob(serde_json::to_vec(message).unwrap()),
        }));
    }

    /// The hosts that were told to leave since the last look.
    fn told_to_leave(&mut self) -> Vec<String> {
        let calls = std::mem::take(&mut self.calls).into_iter();
        let told = calls.filter_map(|call| match call {
            Call::Message(message) => serde_json::from_slice(&message.data.0).ok(),
            _ => None,
        });
        told.filter_map(|order| match order {
            ToHost::Leave { host, .. } => Some(host.to_string()),
            _ => None,
        })
        .collect()
    }

    fn left(&mut self, task: &TaskId, host: &str) {
        let left = FromHost::Left { version: 1, host: host.into() };
        self.update(task, host, TaskState::Finished, Some(&left));
    }

    fn teardown(&self) -> Option<Teardown> {
        let entry = self.etcd.get(&key())?;
        Some(serde_json::from_str(&entry.value).unwrap())
    }

    fn has_ended(&self) -> bool {
        self.teardown().is_some_and(|teardown| teardown.ended.is_some())
    }
}

#[test]
fn hosts_without_components_forget_us_and_then_the_framework_ends() {
    let mut bench = Bench::new(&["a1", "a2"]);
    let observers = ["a1", "a2"].map(|host| bench.bare(host));
    bench.ask_for_teardown(false);
    // The documents are not in force yet.
    assert_eq!(bench.told_to_leave(), Vec::<String>::new());
    bench.wait(3_000);
    assert_eq!(bench.told_to_leave(), ["a1", "a2"]);
    assert_eq!(bench.reason("a1"), "in-progress");
    assert!(bench.text("a1").contains("forget us"), "{}", bench.text("a1"));
    // A message may be lost.
    bench.wait(10_000);
    assert_eq!(bench.told_to_leave(), ["a1", "a2"]);
    bench.left(&observers[0], "a1");
    assert_eq!(bench.reason("a1"), "in sync");
    bench.wait(10_000);
    assert_eq!(bench.told_to_leave(), ["a2"]);
    assert!(!bench.has_ended());
    bench.calls.clear();
    bench.left(&observers[1], "a2");
    bench.wait(1_000);
    assert!(bench.has_ended());
    assert!(bench.calls.iter().any(|call| matches!(call, Call::Teardown)), "{:?}", bench.calls);
    bench.event(Event::Disconnected);
    assert!(bench.etcd.get(&Key::FrameworkId).is_some(), "nobody has said that it is removed");
    bench.event(Event::Removed);
    assert!(bench.etcd.get(&Key::FrameworkId).is_none());
    // And that is all.
    let (subscriptions, revision) = (bench.subscriptions.len(), bench.etcd.revision());
    bench.calls.clear();
    bench.wait(600_000);
    assert_eq!(bench.subscriptions.len(), subscriptions);
    assert_eq!((bench.calls.len(), bench.etcd.revision()), (0, revision));
    assert_eq!(bench.machine.next_wake(), None);
}

#[test]
fn a_leader_that_comes_later_ends_what_was_begun_and_starts_nothing() {
    let mut bench = Bench::new(&["a1"]);
    let observer = bench.bare("a1");
    bench.ask_for_teardown(false);
    bench.wait(3_000);
    bench.left(&observer, "a1");
    bench.wait(100);
    assert!(bench.has_ended());
    bench.lead();
    bench.offer("a1");
    bench.wait(60_000);
    let ends = bench.calls.iter().filter(|call| matches!(call, Call::Teardown)).count();
    assert!(ends >= 2, "Mesos is told until it hangs up: {:?}", bench.calls);
    assert!(bench.calls.iter().all(|call| matches!(call, Call::Teardown)), "{:?}", bench.calls);
    bench.event(Event::Disconnected);
    bench.event(Event::Removed);
    bench.lead();
    let before = bench.subscriptions.len();
    bench.wait(60_000);
    assert_eq!(bench.subscriptions.len(), before, "there is no framework to subscribe as");
}

#[test]
fn hosts_that_cannot_be_reached_keep_it_from_ending_until_they_are_left_behind() {
    let mut bench = Bench::new(&["a1", "a2"]);
    let observer = bench.bare("a1");
    bench.bare("a2");
    bench.hosts.retain(|host| *host != "a2");
    bench.wait(70_000);
    assert_eq!(bench.reason("a2"), "unreachable");
    bench.ask_for_teardown(false);
    bench.wait(3_000);
    bench.left(&observer, "a1");
    bench.wait(60_000);
    assert!(!bench.has_ended());
    bench.ask_for_teardown(true);
    bench.wait(1_000);
    assert!(bench.has_ended());
}

#[test]
fn a_host_with_a_component_of_ours_is_not_told_to_leave() {
    let mut bench = Bench::new(&["a1"]);
    // It runs a calico/node.
    bench.observe("a1");
    bench.ask_for_teardown(true);
    bench.wait(30_000);
    assert_eq!(bench.told_to_leave(), Vec::<String>::new());
    assert!(!bench.has_ended());
}

/// Somebody has removed the container by hand: the host still remembers it, and is asked to take it off.
#[test]
fn what_has_drifted_is_taken_off_before_a_host_is_told_to_leave() {
    let mut bench = Bench::new(&["a1"]);
    bench.offer("a1");
    let observer = bench.launched().pop().expect("an observer is launched");
    let mut facts = Box::new(bench.facts("a1", None, None));
    let node = ComponentFacts {
        hash: None,
        version: None,
        health: Health::Unknown,
        running: false,
        recorded: true,
    };
    facts.components.insert(Component::CalicoNode, node);
    let facts = FromHost::Facts { facts };
    bench.update(&observer.task_id, "a1", TaskState::Running, Some(&facts));
    bench.ask_for_teardown(true);
    bench.wait(3_000);
    assert_eq!(bench.told_to_leave(), Vec::<String>::new());
    bench.offer("a1");
    let change = bench.launched().pop().expect("a change is launched");
    assert!(change.task_id.to_string().starts_with("change."), "{}", change.task_id);
    assert!(!bench.has_ended());
}

#[test]
fn one_that_cannot_forget_us_says_why_and_is_asked_again() {
    let mut bench = Bench::new(&["a1"]);
    bench.bare("a1");
    bench.ask_for_teardown(false);
    bench.wait(3_000);
    bench.told_to_leave();
    let why = "docker is still in force".to_owned();
    bench.says("a1", &FromHost::Stays { version: 1, host: HostName::from("a1"), why });
    assert_eq!(bench.reason("a1"), "blocked");
    assert!(bench.text("a1").contains("docker is still in force"), "{}", bench.text("a1"));
    bench.wait(10_000);
    assert_eq!(bench.told_to_leave(), ["a1"]);
}

#[test]
fn a_teardown_that_is_cancelled_has_hosts_observed_again() {
    let mut bench = Bench::new(&["a1"]);
    let observer = bench.bare("a1");
    bench.ask_for_teardown(false);
    bench.wait(3_000);
    bench.left(&observer, "a1");
    bench.offer("a1");
    bench.wait(1_000);
    assert!(bench.launched().is_empty(), "nothing is launched where we have left");
    let _ = bench.etcd.txn(&Txn::new().delete(key()), None).unwrap();
    bench.wait(1_000);
    bench.offer("a1");
    bench.wait(1_000);
    assert_eq!(bench.launched().len(), 1, "its observer");
}
