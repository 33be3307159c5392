//! The machine, a model of etcd behind it, and Mesos played by the test.

use std::collections::BTreeMap;
use std::net::IpAddr;

use calico_dcos::budget::slot::Guard;
use calico_dcos::job::order::Job;
use calico_dcos::mesos::maintenance::Schedule;
use calico_dcos::mesos::v1::scheduler::{
    Call, Event as MesosEvent, Operation, Subscribe, Subscribed,
};
use calico_dcos::mesos::v1::{FrameworkId, Offer, OfferId, Resource, TaskInfo};
use calico_dcos::observed::fleet::{AgentSeen, Condition, Room};
use calico_dcos::plan::members::Member;
use calico_dcos::plan::notice::{Found, ScheduleEdit};
use calico_dcos::rollout::Controller;
use calico_dcos::rollout::config::{Config, Delivery};
use calico_dcos::rollout::event::{Effect, Event};
use calico_dcos::sim::etcd::EtcdModel;
use calico_dcos::store::keys::{Key, Space};
use calico_dcos::store::txn::{Op, StoreEvent, Txn};
use calico_dcos::words::{AgentId, Attempt, HostName, Revision, SpecHash, TaskId, Time};

pub(crate) const CLUSTER: &str = "apiVersion: calico-dcos/v1\nkind: Cluster\nmetadata: {name: test}\nspec:\n  \
    rollout: {maxConcurrentRestarts: 1, maxUnavailable: 5, stabilitySeconds: 1, attempts: 2}\n  \
    calicoNode: {image: \"calico/node:v1\"}\n";

/// Everything around the machine.
pub(crate) struct Bench {
    pub(crate) machine: Controller,
    pub(crate) etcd: EtcdModel,
    pub(crate) watched: Revision,
    /// What the watch would tell does not arrive.
    pub(crate) watch_late: bool,
    pub(crate) now: Time,
    pub(crate) hosts: Vec<&'static str>,
    pub(crate) calls: Vec<Call>,
    pub(crate) offers: u64,
    pub(crate) sequence: BTreeMap<String, u64>,
    pub(crate) txns_held: Option<Vec<Effect>>,
    /// The master does not let us list its agents.
    pub(crate) hidden: bool,
    /// What the master says that agents have.
    pub(crate) rooms: BTreeMap<String, Room>,
    /// The subscriptions asked for.
    pub(crate) subscriptions: Vec<Subscribe>,
    /// What gates say, and how often they were asked.
    pub(crate) gates: Result<(), String>,
    pub(crate) gates_asked: usize,
    /// The members of etcd, and how often they were asked for.
    pub(crate) members: Result<Vec<Member>, String>,
    pub(crate) members_asked: usize,
    /// The windows of the maintenance schedule, and why it cannot be edited.
    pub(crate) schedule: Vec<serde_json::Value>,
    pub(crate) schedule_closed: Option<String>,
    /// The edits of it so far.
    pub(crate) edits: Vec<ScheduleEdit>,
    /// The digest of the program that leads.
    pub(crate) program: SpecHash,
    /// Tasks that said that they run.
    pub(crate) running: Vec<(TaskId, String)>,
    /// Why the process was told to end.
    pub(crate) given_up: Option<String>,
}

pub(crate) fn config() -> Config {
    Config {
        name: "test".into(),
        framework_name: "calico-dcos".into(),
        principal: Some("calico".into()),
        roles: vec!["*".into(), "slave_public".into()],
        own_host: None,
        webui_url: Some("http://calico.example/".into()),
        delivery: Delivery { url: "http://x/calico-dcos".into(), digest: SpecHash([1; 32]) },
    }
}

pub(crate) fn agent(host: &str) -> AgentId {
    AgentId(format!("agent-{host}"))
}

/// Where the agent of `aN` is.
pub(crate) fn address(host: &str) -> IpAddr {
    let number = host.trim_start_matches(|c: char| !c.is_ascii_digit()).parse().unwrap_or(0);
    IpAddr::from([10, 0, 0, number])
}

/// A line of the list of agents.
pub(crate) fn listed(host: &str, condition: Condition) -> AgentSeen {
    AgentSeen {
        id: agent(host),
        host: host.into(),
        condition,
        roles: ["*".to_owned()].into(),
        attributes: BTreeMap::new(),
        mesos_version: "1.1.0".into(),
        ip: Some(address(host)),
        room: None,
    }
}

/// What a task is told to do.
pub(crate) fn job(task: &TaskInfo) -> Job {
    serde_json::from_slice(&task.data.as_ref().unwrap().0).unwrap()
}

/// The attempt that a task carries.
pub(crate) fn attempt_of(task: &TaskInfo) -> Attempt {
    job(task).work.change().unwrap().attempt
}

impl Bench {
    pub(crate) fn new(hosts: &[&'static str]) -> Self {
        Self::with(hosts, false)
    }

    /// Its master does not let us list its agents.
    pub(crate) fn without_list(hosts: &[&'static str]) -> Self {
        Self::with(hosts, true)
    }

    fn with(hosts: &[&'static str], hidden: bool) -> Self {
        let mut bench = Self { hidden, ..Self::unled(hosts) };
        bench.lead();
        bench
    }

    /// Nobody leads yet.
    pub(crate) fn unled(hosts: &[&'static str]) -> Self {
        let mut etcd = EtcdModel::new(7);
        let _ = etcd.txn(&Txn::new().put(Key::DesiredCluster, CLUSTER), None).unwrap();
        Self {
            machine: Controller::new(config()),
            etcd,
            watched: Revision(0),
            watch_late: false,
            now: Time(1_000_000),
            hosts: hosts.to_vec(),
            calls: Vec::new(),
            offers: 0,
            sequence: BTreeMap::new(),
            txns_held: None,
            hidden: false,
            rooms: BTreeMap::new(),
            subscriptions: Vec::new(),
            gates: Ok(()),
            gates_asked: 0,
            members: Ok(vec![Member { name: "elsewhere".into(), ..Member::default() }]),
            members_asked: 0,
            schedule: Vec::new(),
            schedule_closed: None,
            edits: Vec::new(),
            program: config().delivery.digest,
            running: Vec::new(),
            given_up: None,
        }
    }

    /// A new process takes over; the old one is not heard of again.
    pub(crate) fn lead(&mut self) {
        self.txns_held = None;
        self.stand();
    }

    /// The same, and what it writes may be held.
    pub(crate) fn stand(&mut self) {
        let delivery = Delivery { digest: self.program, ..config().delivery };
        self.machine = Controller::new(Config { delivery, ..config() });
        self.lead_again();
    }

    /// The process that stands by leads.
    pub(crate) fn lead_again(&mut self) {
        let mut txn = Txn::new();
        txn.ops.push(Op::Put { key: Key::Leader, value: "{}".into(), lease: false });
        let _ = self.etcd.txn(&Txn::new().delete(Key::Leader), None).unwrap();
        let _ = self.etcd.txn(&txn, None).unwrap();
        let created = self.etcd.get(&Key::Leader).unwrap().create_revision;
        self.calls.clear();
        self.event(Event::Leading { created });
        self.wait(2_100);
    }

    pub(crate) fn event(&mut self, event: Event) {
        self.machine.handle(event, self.now);
        self.pump();
    }

    pub(crate) fn mesos(&mut self, event: MesosEvent) {
        self.event(Event::Mesos(event));
    }

    /// Time passes.
    pub(crate) fn wait(&mut self, ms: u64) {
        let until = self.now.plus_ms(ms);
        while self.now < until {
            let next = self.machine.next_wake().unwrap_or(until);
            self.now = next.max(self.now.plus_ms(1)).min(until);
            self.pump();
        }
    }

    pub(crate) fn pump(&mut self) {
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
                if self.watch_late {
                    continue;
                }
                self.machine
                    .handle(Event::Store(StoreEvent::Changed { revision, changes }), self.now);
            }
        }
    }

    pub(crate) fn carry_out(&mut self, effect: Effect) {
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
            Effect::Subscribe(subscribe) => {
                self.subscriptions.push(*subscribe);
                self.machine.handle(Event::Mesos(Self::subscribed()), self.now);
            }
            Effect::PollAgents if self.hidden => {
                let why = "not you".to_owned();
                self.machine.handle(Event::AgentsHidden { why }, self.now);
            }
            Effect::PollAgents => {
                let seen = |host: &&str| AgentSeen {
                    room: self.rooms.get(*host).cloned(),
                    ..listed(host, Condition::Active)
                };
                let agents = self.hosts.iter().map(seen).collect();
                self.machine.handle(Event::Agents(agents), self.now);
            }
            Effect::Call(call) => self.calls.push(*call),
            Effect::AskGates(gates) => {
                self.gates_asked += 1;
                assert!(!gates.is_empty());
                let answer = self.gates.clone();
                self.machine.handle(Event::GatesAnswered(answer), self.now);
            }
            Effect::AskMembers => {
                self.members_asked += 1;
                let answer = self.members.clone();
                self.machine.handle(Event::Members(answer), self.now);
            }
            Effect::EditSchedule(edit) => {
                self.edits.push(edit.clone());
                let answer = self.edit_schedule(&edit);
                self.machine.handle(Event::ScheduleEdited(answer), self.now);
            }
            Effect::GiveUp { why } => self.given_up = Some(why),
            Effect::Unsubscribe | Effect::Resign | Effect::Note(_) => {}
        }
    }

    /// One transaction that was held is carried out; those that follow from it are held.
    pub(crate) fn let_through(&mut self, effect: Effect) {
        let held = self.txns_held.take();
        self.carry_out(effect);
        self.txns_held = held;
        self.pump();
    }

    /// As the shell does, by the same functions.
    fn edit_schedule(&mut self, edit: &ScheduleEdit) -> Result<Vec<(HostName, Found)>, String> {
        if let Some(why) = &self.schedule_closed {
            return Err(why.clone());
        }
        let text = serde_json::json!({ "windows": self.schedule }).to_string();
        let before: Schedule = serde_json::from_str(&text).unwrap();
        let Some(after) = before.edited(edit).unwrap() else {
            return Ok(before.after(&before, edit));
        };
        let written = serde_json::to_value(&after).unwrap();
        self.schedule.clone_from(written["windows"].as_array().unwrap());
        Ok(after.after(&before, edit))
    }

    pub(crate) fn subscribed() -> MesosEvent {
        MesosEvent::Subscribed(Subscribed {
            framework_id: FrameworkId("f1".into()),
            heartbeat_interval_seconds: Some(15.0),
            master_info: None,
        })
    }

    // --- Mesos -----------------------------------------------------------------------------

    pub(crate) fn offer(&mut self, host: &str) -> OfferId {
        self.offer_with(host, |_| {})
    }

    /// An offer with something odd about it.
    pub(crate) fn offer_with(&mut self, host: &str, odd: impl FnOnce(&mut Offer)) -> OfferId {
        let mut offer = self.make_offer(host);
        odd(&mut offer);
        let id = offer.id.clone();
        self.mesos(MesosEvent::Offers(vec![offer]));
        id
    }

    /// An offer that has not been made yet.
    pub(crate) fn make_offer(&mut self, host: &str) -> Offer {
        self.offers += 1;
        let id = OfferId(format!("o{}", self.offers));
        let resources = [("cpus", 4.0), ("mem", 4096.0)];
        Offer {
            id,
            framework_id: FrameworkId("f1".into()),
            agent_id: agent(host),
            hostname: host.into(),
            url: None,
            resources: resources.map(|(name, value)| Resource::scalar(name, value)).to_vec(),
            attributes: vec![],
            executor_ids: vec![],
            unavailability: self.unavailability(host),
            allocation_info: None,
        }
    }

    /// The tasks launched since the last look.
    pub(crate) fn launched(&mut self) -> Vec<TaskInfo> {
        let calls = std::mem::take(&mut self.calls);
        let accepts = calls.into_iter().filter_map(|call| match call {
            Call::Accept(accept) => Some(accept.operations),
            _ => None,
        });
        let launches = accepts.flatten().filter_map(|operation| match operation {
            Operation::Launch(tasks) => Some(tasks),
            _ => None,
        });
        launches.flatten().collect()
    }

    /// Somebody writes another Cluster.
    pub(crate) fn write(&mut self, text: Option<&str>) {
        let txn = match text {
            Some(text) => Txn::new().put(Key::DesiredCluster, text),
            None => Txn::new().delete(Key::DesiredCluster),
        };
        let _ = self.etcd.txn(&txn, None).unwrap();
        self.pump();
    }

    pub(crate) fn guard(&self) -> Guard {
        serde_json::from_str(&self.etcd.get(&Key::SlotGuard).unwrap().value).unwrap()
    }

    /// The tasks killed since the last look.
    pub(crate) fn kills(&mut self) -> Vec<TaskId> {
        let calls = std::mem::take(&mut self.calls).into_iter();
        let kills = calls.filter_map(|call| match call {
            Call::Kill(kill) => Some(kill.task_id),
            _ => None,
        });
        kills.collect()
    }

    pub(crate) fn slot(&self, host: &str) -> Option<String> {
        self.etcd.get(&Key::Slot(HostName::from(host))).map(|entry| entry.value)
    }

    pub(crate) fn reason(&self, host: &str) -> String {
        self.reason_and_text(host).0
    }

    /// The sentence of the reason; empty if the host is in sync.
    pub(crate) fn text(&self, host: &str) -> String {
        self.reason_and_text(host).1
    }

    fn reason_and_text(&self, host: &str) -> (String, String) {
        self.machine.index_agrees(self.now).unwrap();
        let plan = self.machine.plan(self.now).unwrap();
        let found = plan.hosts.iter().find(|planned| planned.name.as_str() == host).unwrap();
        let told = found.reason.as_ref().map(|reason| (reason.code().into(), reason.to_string()));
        told.unwrap_or_else(|| ("in sync".into(), String::new()))
    }
}
