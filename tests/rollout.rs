//! The controller's state machine, driven by hand: a model of etcd behind it, and Mesos played by
//! the test. The numbers in the names are those of the acceptance scenarios.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;

use calico_dcos::job::order::{Ending, FromHost, Job, ToHost, WIRE_VERSION, Work};
use calico_dcos::mesos::v1::scheduler::{
    Call, Event as MesosEvent, Message, Operation, Subscribed,
};
use calico_dcos::mesos::v1::{
    Blob, ExecutorId, FrameworkId, Offer, OfferId, Resource, TaskInfo, TaskState, TaskStatus,
};
use calico_dcos::observed::facts::{
    Cgroups, ComponentFacts, FACTS_VERSION, FactOrder, Facts, Health, JournalFacts, JournalState,
    System,
};
use calico_dcos::observed::fleet::{AgentSeen, Condition};
use calico_dcos::rollout::Controller;
use calico_dcos::rollout::config::{Config, Delivery};
use calico_dcos::rollout::event::{Effect, Event};
use calico_dcos::sim::etcd::EtcdModel;
use calico_dcos::store::keys::{Key, Space};
use calico_dcos::store::txn::{Op, StoreEvent, Txn};
use calico_dcos::words::{
    AgentId, Attempt, Component, HostName, Revision, Run, SpecHash, TaskId, TaskKind, Time,
};

const CLUSTER: &str = "apiVersion: calico-dcos/v1\nkind: Cluster\nmetadata: {name: test}\nspec:\n  \
    rollout: {maxConcurrentRestarts: 1, maxUnavailable: 5, stabilitySeconds: 1, attempts: 2}\n  \
    calicoNode: {image: \"calico/node:v1\"}\n";

/// Everything around the machine.
struct Bench {
    machine: Controller,
    etcd: EtcdModel,
    watched: Revision,
    now: Time,
    hosts: Vec<&'static str>,
    calls: Vec<Call>,
    offers: u64,
    sequence: BTreeMap<String, u64>,
    txns_held: Option<Vec<Effect>>,
}

fn config() -> Config {
    Config {
        name: "test".into(),
        framework_name: "calico-dcos".into(),
        principal: None,
        roles: vec!["*".into()],
        own_host: None,
        delivery: Delivery { url: "http://x/calico-dcos".into(), digest: SpecHash([1; 32]) },
    }
}

fn agent(host: &str) -> AgentId {
    AgentId(format!("agent-{host}"))
}

/// A line of the list of agents.
fn listed(host: &str, condition: Condition) -> AgentSeen {
    AgentSeen {
        id: agent(host),
        host: host.into(),
        condition,
        roles: ["*".to_owned()].into(),
        attributes: BTreeMap::new(),
        mesos_version: "1.1.0".into(),
    }
}

impl Bench {
    fn new(hosts: &[&'static str]) -> Self {
        let mut etcd = EtcdModel::new(7);
        let _ = etcd.txn(&Txn::new().put(Key::DesiredCluster, CLUSTER), None).unwrap();
        let mut bench = Self {
            machine: Controller::new(config()),
            etcd,
            watched: Revision(0),
            now: Time(1_000_000),
            hosts: hosts.to_vec(),
            calls: Vec::new(),
            offers: 0,
            sequence: BTreeMap::new(),
            txns_held: None,
        };
        bench.lead();
        bench
    }

    /// A new process takes over; the old one is not heard of again.
    fn lead(&mut self) {
        let mut txn = Txn::new();
        txn.ops.push(Op::Put { key: Key::Leader, value: "{}".into(), lease: false });
        let _ = self.etcd.txn(&Txn::new().delete(Key::Leader), None).unwrap();
        let _ = self.etcd.txn(&txn, None).unwrap();
        let created = self.etcd.get(&Key::Leader).unwrap().create_revision;
        self.machine = Controller::new(config());
        self.calls.clear();
        self.txns_held = None;
        self.event(Event::Leading { created });
        self.wait(2_100);
    }

    fn event(&mut self, event: Event) {
        self.machine.handle(event, self.now);
        self.pump();
    }

    fn mesos(&mut self, event: MesosEvent) {
        self.event(Event::Mesos(event));
    }

    /// Time passes.
    fn wait(&mut self, ms: u64) {
        let until = self.now.plus_ms(ms);
        while self.now < until {
            let next = self.machine.next_wake().unwrap_or(until);
            self.now = next.max(self.now.plus_ms(1)).min(until);
            self.pump();
        }
    }

    fn pump(&mut self) {
        loop {
            let effects = self.machine.pass(self.now);
            let before = self.etcd.revision();
            if effects.is_empty() && before == self.watched {
                return;
            }
            for effect in effects {
                self.carry_out(effect);
            }
            let revision = self.etcd.revision();
            if revision > self.watched {
                let changes = self.etcd.changes_since(self.watched).unwrap();
                self.watched = revision;
                self.machine
                    .handle(Event::Store(StoreEvent::Changed { revision, changes }), self.now);
            }
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Txn { id, txn } => {
                if let Some(held) = &mut self.txns_held {
                    held.push(Effect::Txn { id, txn });
                    return;
                }
                let outcome = self.etcd.txn(&txn, None).unwrap();
                self.machine.handle(Event::TxnDone { id, outcome }, self.now);
            }
            Effect::Relist => {
                let snapshot = self.etcd.list(Space::All);
                self.watched = snapshot.revision;
                self.machine.handle(Event::Store(StoreEvent::Listed(snapshot)), self.now);
            }
            Effect::Subscribe(_) => {
                let event = MesosEvent::Subscribed(Subscribed {
                    framework_id: FrameworkId("f1".into()),
                    heartbeat_interval_seconds: Some(15.0),
                    master_info: None,
                });
                self.machine.handle(Event::Mesos(event), self.now);
            }
            Effect::PollAgents => {
                let seen = |host: &&str| listed(host, Condition::Active);
                let agents = self.hosts.iter().map(seen).collect();
                self.machine.handle(Event::Agents(agents), self.now);
            }
            Effect::Call(call) => self.calls.push(*call),
            Effect::Unsubscribe | Effect::Resign | Effect::Note(_) => {}
        }
    }

    // --- Mesos -----------------------------------------------------------------------------

    fn offer(&mut self, host: &str) -> OfferId {
        self.offers += 1;
        let id = OfferId(format!("o{}", self.offers));
        let resources = [("cpus", 4.0), ("mem", 4096.0)];
        let offer = Offer {
            id: id.clone(),
            framework_id: FrameworkId("f1".into()),
            agent_id: agent(host),
            hostname: host.into(),
            url: None,
            resources: resources.map(|(name, value)| Resource::scalar(name, value)).to_vec(),
            attributes: vec![],
            executor_ids: vec![],
            unavailability: None,
            allocation_info: None,
        };
        self.mesos(MesosEvent::Offers(vec![offer]));
        id
    }

    /// The tasks launched since the last look.
    fn launched(&mut self) -> Vec<TaskInfo> {
        let calls = std::mem::take(&mut self.calls);
        let accepts = calls.into_iter().filter_map(|call| match call {
            Call::Accept(accept) => Some(accept.operations),
            _ => None,
        });
        let launches = accepts.flatten().filter_map(|operation| match operation {
            Operation::Launch(tasks) => Some(tasks),
            Operation::Other(_) => None,
        });
        launches.flatten().collect()
    }

    fn status(task: &TaskId, host: &str, state: TaskState) -> TaskStatus {
        let mut status = TaskStatus::new(task.clone(), state);
        status.agent_id = Some(agent(host));
        status
    }

    fn update(&mut self, task: &TaskId, host: &str, state: TaskState, data: Option<&FromHost>) {
        let mut status = Self::status(task, host, state);
        status.uuid = Some(Blob(vec![7; 16]));
        status.data = data.map(|data| Blob(serde_json::to_vec(data).unwrap()));
        self.mesos(MesosEvent::Update(status));
    }

    /// The master's answer to a reconciliation.
    fn reconciled(&mut self, task: &TaskId, host: &str, state: TaskState) {
        let status = Self::status(task, host, state);
        self.mesos(MesosEvent::Update(status));
    }

    fn facts(
        &mut self,
        host: &str,
        node: Option<SpecHash>,
        journal: Option<JournalFacts>,
    ) -> Facts {
        let sequence = self.sequence.entry(host.to_owned()).or_default();
        *sequence += 1;
        let found = node.map(|hash| ComponentFacts {
            hash: Some(hash),
            version: None,
            health: Health::Healthy,
            running: true,
        });
        Facts {
            version: FACTS_VERSION,
            order: FactOrder { boot_id: host.into(), starts: 1, sequence: *sequence },
            machine_id: host.into(),
            system: System {
                os: "Debian 12".into(),
                architecture: "x86_64".into(),
                cgroups: Cgroups::V1,
            },
            docker: None,
            mesos_version: "1.1.0".into(),
            components: found.into_iter().map(|f| (Component::CalicoNode, f)).collect(),
            journal,
            agent_containers: 0,
            blocked: BTreeMap::new(),
        }
    }

    /// Starts the observer of a host, which reports an old calico/node that runs.
    fn observe(&mut self, host: &str) -> TaskId {
        self.offer(host);
        let observer = self.launched().pop().expect("an observer is launched");
        let facts = Box::new(self.facts(host, Some(SpecHash([9; 32])), None));
        self.update(&observer.task_id, host, TaskState::Running, Some(&FromHost::Facts { facts }));
        observer.task_id
    }

    fn ask(&mut self, host: &str, attempt: Attempt, run: &str) -> Vec<ToHost> {
        let ask =
            FromHost::Ask { version: WIRE_VERSION, host: host.into(), attempt, run: run.into() };
        self.calls.clear();
        self.mesos(MesosEvent::Message(Message {
            agent_id: agent(host),
            executor_id: ExecutorId("e".into()),
            data: Blob(serde_json::to_vec(&ask).unwrap()),
        }));
        let answers = self.calls.iter().filter_map(|call| match call {
            Call::Message(message) => serde_json::from_slice(&message.data.0).ok(),
            _ => None,
        });
        answers.collect()
    }

    fn slot(&self, host: &str) -> Option<String> {
        self.etcd.get(&Key::Slot(HostName::from(host))).map(|entry| entry.value)
    }

    fn reason(&self, host: &str) -> String {
        let plan = self.machine.plan(self.now).unwrap();
        let found = plan.hosts.iter().find(|planned| planned.name.as_str() == host).unwrap();
        found.reason.as_ref().map_or("in sync", |reason| reason.code()).to_owned()
    }

    /// A host with an observer, and the change of its calico/node launched.
    fn changing(&mut self, host: &str) -> (TaskId, Attempt, SpecHash) {
        self.observe(host);
        self.offer(host);
        let task = self.launched().pop().expect("the change is launched");
        let job: Job = serde_json::from_slice(&task.data.as_ref().unwrap().0).unwrap();
        let Work::Supervise { target, change, .. } = job.work else { panic!("{:?}", job.work) };
        let change = change.unwrap();
        assert!(change.may_disrupt);
        (task.task_id, change.attempt, target.hash)
    }

    fn ended(
        &mut self,
        host: &str,
        attempt: Attempt,
        hash: SpecHash,
        state: JournalState,
    ) -> FromHost {
        let journal = JournalFacts { attempt, run: "r1".into(), state };
        let facts = Box::new(self.facts(host, Some(hash), Some(journal.clone())));
        let ending = Ending::Journal { journal };
        FromHost::Ended { version: WIRE_VERSION, attempt, ending, facts }
    }
}

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
    let done = bench.ended("a1", attempt, hash, JournalState::Done);
    bench.update(&task, "a1", TaskState::Running, Some(&done));
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
fn nothing_is_answered_while_a_task_of_ours_is_on_its_way_to_the_host() {
    let mut bench = Bench::new(&["a1"]);
    let (task, attempt, _) = bench.changing("a1");
    assert_eq!(bench.ask("a1", attempt, "r1"), [], "the carrier itself is not known to be there");
    bench.update(&task, "a1", TaskState::Starting, None);
    assert_eq!(bench.ask("a1", attempt, "r1").len(), 1);
}

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
    assert!(
        bench
            .etcd
            .list(Space::All)
            .entries
            .iter()
            .filter(|e| matches!(e.key, Key::Slot(_)))
            .count()
            <= 1
    );
}

#[test]
fn s58_killed_between_launch_and_status_a_running_task_is_adopted() {
    let mut bench = Bench::new(&["a1"]);
    let (task, attempt, hash) = bench.changing("a1");
    bench.update(&task, "a1", TaskState::Starting, None);
    assert_eq!(bench.ask("a1", attempt, "r1").len(), 1);
    bench.lead();
    bench.reconciled(&task, "a1", TaskState::Running);
    bench.offer("a1");
    let relaunched = bench.launched();
    assert!(relaunched.iter().all(|task| task.name == "observer"), "{relaunched:?}");
    assert!(bench.slot("a1").is_some());
    let done = bench.ended("a1", attempt, hash, JournalState::Done);
    bench.update(&task, "a1", TaskState::Running, Some(&done));
    assert_eq!(bench.slot("a1"), None);
}

#[test]
fn s58_killed_between_launch_and_status_an_unreachable_task_keeps_its_slot() {
    let mut bench = Bench::new(&["a1", "a2"]);
    let (task, attempt, _) = bench.changing("a1");
    bench.update(&task, "a1", TaskState::Starting, None);
    assert_eq!(bench.ask("a1", attempt, "r1").len(), 1);
    bench.lead();
    bench.reconciled(&task, "a1", TaskState::Unreachable);
    bench.observe("a2");
    bench.offer("a2");
    bench.wait(120_000);
    assert!(bench.slot("a1").is_some());
    assert_eq!(bench.slot("a2"), None, "budget 1, and nobody knows what a1 does");
    assert_eq!(bench.reason("a2"), "waiting-for-slot");
}

#[test]
fn s67_a_host_in_a_restart_that_sends_no_offers_counts_after_a_take_over() {
    let mut bench = Bench::new(&["a1", "a2"]);
    let (task, attempt, _) = bench.changing("a1");
    bench.update(&task, "a1", TaskState::Starting, None);
    bench.ask("a1", attempt, "r1");
    bench.observe("a2");
    bench.lead();
    bench.reconciled(&task, "a1", TaskState::Running);
    bench.offer("a2");
    bench.wait(60_000);
    assert_eq!(bench.slot("a2"), None);
}

#[test]
fn s68_a_failure_told_twice_is_one_failure_and_statuses_do_not_go_back() {
    let mut bench = Bench::new(&["a1"]);
    let (task, attempt, hash) = bench.changing("a1");
    bench.update(&task, "a1", TaskState::Starting, None);
    bench.ask("a1", attempt, "r1");
    let undone = JournalState::Undone { why: "no route".into() };
    let failed = bench.ended("a1", attempt, hash, undone);
    bench.update(&task, "a1", TaskState::Failed, Some(&failed));
    bench.update(&task, "a1", TaskState::Failed, Some(&failed));
    bench.update(&task, "a1", TaskState::Running, None);
    let progress = bench.etcd.get(&Key::RolloutHost("a1".into())).unwrap().value;
    assert!(progress.contains("\"failures\":1"), "{progress}");
    assert_eq!(bench.reason("a1"), "backing-off");
    assert!(bench.slot("a1").is_some(), "a failed attempt keeps its slot");
}

#[test]
fn s69_lost_and_then_running_is_adopted_and_not_launched_again() {
    let mut bench = Bench::new(&["a1"]);
    let (task, attempt, hash) = bench.changing("a1");
    bench.update(&task, "a1", TaskState::Starting, None);
    bench.ask("a1", attempt, "r1");
    bench.reconciled(&task, "a1", TaskState::Lost);
    bench.offer("a1");
    bench.wait(30_000);
    assert_eq!(bench.launched(), []);
    bench.reconciled(&task, "a1", TaskState::Running);
    let done = bench.ended("a1", attempt, hash, JournalState::Done);
    bench.update(&task, "a1", TaskState::Running, Some(&done));
    assert_eq!((bench.slot("a1"), bench.reason("a1")), (None, "in sync".into()));
}

#[test]
fn s70_a_task_that_never_ran_is_tried_again_and_one_that_is_wrong_is_not() {
    let mut bench = Bench::new(&["a1"]);
    let (task, first, _) = bench.changing("a1");
    bench.update(&task, "a1", TaskState::Dropped, None);
    bench.wait(5_000);
    bench.offer("a1");
    bench.wait(5_000);
    let again = bench.launched().pop().expect("it is launched again");
    assert_ne!(again.task_id, task, "under a fresh name");
    let job: Job = serde_json::from_slice(&again.data.as_ref().unwrap().0).unwrap();
    assert!(job.work.change().unwrap().attempt > first, "as a new attempt");
    bench.update(&again.task_id, "a1", TaskState::Error, None);
    assert_eq!(bench.reason("a1"), "failed");
    bench.offer("a1");
    bench.wait(300_000);
    assert_eq!(bench.launched(), []);
}

#[test]
fn s71_a_task_that_nobody_wrote_down_is_killed_and_a_known_one_is_not() {
    let mut bench = Bench::new(&["a1"]);
    let observer = bench.observe("a1");
    bench.calls.clear();
    bench.reconciled(&"change.a1.0-1".into(), "a1", TaskState::Running);
    bench.reconciled(&observer, "a1", TaskState::Running);
    let kills: Vec<TaskId> = bench
        .calls
        .iter()
        .filter_map(|call| match call {
            Call::Kill(kill) => Some(kill.task_id.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(kills, [TaskId::from("change.a1.0-1")]);
    bench.calls.clear();
    bench.reconciled(&"change.a1.0-1".into(), "a1", TaskState::Lost);
    bench.wait(60_000);
    assert!(!bench.calls.iter().any(|call| matches!(call, Call::Kill(_))), "no kill after LOST");
}

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

#[test]
fn s76_after_a_take_over_what_had_passed_is_done_and_what_had_not_goes_on() {
    let mut bench = Bench::new(&["a1", "a2"]);
    let (task, attempt, hash) = bench.changing("a1");
    bench.update(&task, "a1", TaskState::Starting, None);
    bench.ask("a1", attempt, "r1");
    // The report is acknowledged, and the leader dies before it gave the slot back.
    bench.txns_held = Some(Vec::new());
    let done = bench.ended("a1", attempt, hash, JournalState::Done);
    bench.update(&task, "a1", TaskState::Running, Some(&done));
    let held = bench.txns_held.take().unwrap();
    let facts_only = held.into_iter().find(|effect| {
        matches!(effect, Effect::Txn { txn, .. } if txn.ops.iter().any(|op| matches!(op.key(), Key::Observed(_))))
    });
    bench.carry_out(facts_only.expect("the facts are written"));
    assert!(bench.slot("a1").is_some());
    bench.lead();
    bench.reconciled(&task, "a1", TaskState::Running);
    bench.wait(5_000);
    assert_eq!(bench.slot("a1"), None, "the journal in the facts is evidence enough");
}

#[test]
fn s55_a_record_that_cannot_be_read_starts_nothing_and_is_left_alone() {
    let mut bench = Bench::new(&["a1"]);
    bench.observe("a1");
    let _ = bench.etcd.txn(&Txn::new().put(Key::SlotGuard, "no json"), None).unwrap();
    bench.lead();
    bench.offer("a1");
    bench.wait(60_000);
    assert!(bench.launched().iter().all(|task| task.name == TaskKind::Observer.name()));
    assert_eq!(bench.etcd.get(&Key::SlotGuard).unwrap().value, "no json");
    assert_eq!(bench.reason("a1"), "halted");
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

#[test]
fn s14_attempts_used_up_halt_the_rollout_and_the_slot_stays_held() {
    let mut bench = Bench::new(&["a1", "a2"]);
    let (mut task, mut attempt, hash) = bench.changing("a1");
    bench.observe("a2");
    for left in [1, 0] {
        bench.update(&task, "a1", TaskState::Starting, None);
        assert_eq!(bench.ask("a1", attempt, "r1").len(), 1);
        let undone = JournalState::Undone { why: "no route".into() };
        let failed = bench.ended("a1", attempt, hash, undone);
        bench.update(&task, "a1", TaskState::Failed, Some(&failed));
        if left > 0 {
            bench.wait(3_000);
            bench.offer("a1");
            let next = bench.launched().pop().expect("it is tried again");
            let job: Job = serde_json::from_slice(&next.data.as_ref().unwrap().0).unwrap();
            (task, attempt) = (next.task_id, job.work.change().unwrap().attempt);
        }
    }
    bench.wait(1_000);
    assert_eq!((bench.reason("a1"), bench.reason("a2")), ("failed".into(), "halted".into()));
    bench.offer("a1");
    bench.offer("a2");
    bench.wait(600_000);
    assert_eq!(bench.launched(), [], "a halted rollout never yields a new start");
    assert!(bench.slot("a1").is_some());
}

#[test]
fn s41_a_new_edit_is_not_blocked_by_the_old_failure() {
    let mut bench = Bench::new(&["a1"]);
    let (mut task, mut attempt, hash) = bench.changing("a1");
    for left in [1, 0] {
        bench.update(&task, "a1", TaskState::Starting, None);
        bench.ask("a1", attempt, "r1");
        let undone = JournalState::Undone { why: "no route".into() };
        let failed = bench.ended("a1", attempt, hash, undone);
        bench.update(&task, "a1", TaskState::Failed, Some(&failed));
        if left > 0 {
            bench.wait(3_000);
            bench.offer("a1");
            let next = bench.launched().pop().unwrap();
            let job: Job = serde_json::from_slice(&next.data.as_ref().unwrap().0).unwrap();
            (task, attempt) = (next.task_id, job.work.change().unwrap().attempt);
        }
    }
    assert_eq!(bench.reason("a1"), "failed");
    let edited = CLUSTER.replace("v1\"", "v2\"");
    let _ = bench.etcd.txn(&Txn::new().put(Key::DesiredCluster, edited), None).unwrap();
    bench.pump();
    bench.wait(3_000);
    bench.offer("a1");
    let next = bench.launched().pop().expect("the new generation starts at once");
    let job: Job = serde_json::from_slice(&next.data.as_ref().unwrap().0).unwrap();
    assert!(job.work.change().unwrap().attempt > attempt);
    let slot = bench.slot("a1").unwrap();
    assert!(slot.contains("held"), "held stays held: {slot}");
}

#[test]
fn an_invalid_document_changes_nothing_also_over_a_restart() {
    let mut bench = Bench::new(&["a1"]);
    let _ = bench.etcd.txn(&Txn::new().put(Key::DesiredCluster, "kind: nonsense"), None).unwrap();
    bench.pump();
    bench.wait(5_000);
    assert_eq!(bench.machine.generation().0, 1);
    assert!(bench.machine.refused().is_some());
    bench.lead();
    assert_eq!(bench.machine.generation().0, 1);
    bench.observe("a1");
    bench.offer("a1");
    assert_eq!(bench.launched().len(), 1, "work goes on for what was accepted last");
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
fn what_an_accept_left_filtered_is_asked_for_when_there_is_work_again() {
    let mut bench = Bench::new(&["a1"]);
    let (task, attempt, hash) = bench.changing("a1");
    bench.update(&task, "a1", TaskState::Starting, None);
    bench.ask("a1", attempt, "r1");
    let done = bench.ended("a1", attempt, hash, JournalState::Done);
    bench.update(&task, "a1", TaskState::Running, Some(&done));
    bench.update(&task, "a1", TaskState::Failed, None);
    bench.wait(10_000);
    bench.offer("a1");
    let again = bench.launched().pop().expect("its supervisor is launched again");
    bench.update(&again.task_id, "a1", TaskState::Running, None);
    // Mesos offers nothing of it for an hour now, and this is what the launch asked for.
    let edited = CLUSTER.replace("v1\"", "v2\"");
    let _ = bench.etcd.txn(&Txn::new().put(Key::DesiredCluster, edited), None).unwrap();
    bench.pump();
    bench.wait(10_000);
    assert_eq!(bench.reason("a1"), "waiting-for-offer");
    assert!(bench.calls.iter().any(|call| matches!(call, Call::Revive(_))), "{:?}", bench.calls);
}
