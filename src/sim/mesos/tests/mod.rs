//! The model against what was recorded and read of Mesos, in tables.

mod agents;
mod faults;
mod maintenance;
mod offers;
mod profiles;
mod subscriptions;
mod tasks;

use std::net::Ipv4Addr;

use super::*;
use crate::mesos::v1::scheduler::*;
use crate::mesos::v1::*;
use crate::words::{TaskId, TaskPhase};

/// A cluster, one scheduler that is connected, and all that came out so far.
struct Bench {
    mesos: SimMesos,
    now: Time,
    id: FrameworkId,
    stream: String,
    conn: ConnId,
    events: Vec<(ConnId, Outgoing)>,
    orders: Vec<(AgentIndex, ToExecutor)>,
}

/// A framework as ours is.
fn ours() -> FrameworkInfo {
    let capabilities = [CapabilityType::MultiRole, CapabilityType::PartitionAware];
    FrameworkInfo {
        user: "root".to_owned(),
        name: "test".to_owned(),
        failover_timeout: 60.0,
        checkpoint: true,
        roles: vec!["*".to_owned(), "slave_public".to_owned()],
        capabilities: capabilities.into_iter().map(Capability::from).collect(),
        ..FrameworkInfo::default()
    }
}

/// One without any capability.
fn plain() -> FrameworkInfo {
    FrameworkInfo { roles: Vec::new(), capabilities: Vec::new(), ..ours() }
}

fn config() -> MesosConfig {
    MesosConfig::new(semver::Version::new(1, 12, 0), 7)
}

fn host(number: u8, role: &str) -> AgentConfig {
    AgentConfig::new(&format!("a{number}"), Ipv4Addr::new(10, 0, 0, number), role)
}

impl Bench {
    /// One agent per role, registered, and a framework that has had its first events.
    fn new(info: FrameworkInfo, roles: &[&str]) -> Self {
        Self::with(config(), info, roles)
    }

    fn with(config: MesosConfig, info: FrameworkInfo, roles: &[&str]) -> Self {
        let now = Time(1_000_000);
        let mut mesos = SimMesos::new(now, config);
        for (number, role) in (1..).zip(roles) {
            mesos.add_agent(now, host(number, role));
        }
        let mut bench = Self {
            mesos,
            now,
            id: FrameworkId(String::new()),
            stream: String::new(),
            conn: ConnId(0),
            events: Vec::new(),
            orders: Vec::new(),
        };
        bench.run(2_000);
        bench.subscribe(1, info, &[]);
        bench
    }

    /// Subscribes on a connection and makes it the current one.
    fn subscribe(&mut self, conn: u64, info: FrameworkInfo, suppressed: &[&str]) -> Vec<Event> {
        self.conn = ConnId(conn);
        let id = info.id.clone();
        let suppressed_roles = suppressed.iter().map(|&role| role.to_owned()).collect();
        let call = Subscribe { framework_info: info, suppressed_roles };
        self.stream = self.mesos.subscribe(self.now, self.conn, id, call).unwrap();
        self.run(10);
        let events = self.events_of(self.conn);
        if let Some(Event::Subscribed(subscribed)) = events.first() {
            self.id = subscribed.framework_id.clone();
        }
        self.events
            .extend(events.iter().cloned().map(|e| (self.conn, Outgoing::Event(Box::new(e)))));
        events
    }

    fn again(&self) -> FrameworkInfo {
        FrameworkInfo { id: Some(self.id.clone()), ..ours() }
    }

    /// Lets that much time pass, deadline by deadline.
    fn run(&mut self, ms: u64) {
        let end = self.now.plus_ms(ms);
        loop {
            let next = self.mesos.next_deadline().filter(|next| *next <= end).unwrap_or(end);
            assert!(next >= self.now, "a deadline in the past that advance() did not settle");
            self.mesos.advance(next);
            self.now = next;
            self.events.extend(self.mesos.drain_events());
            self.orders.extend(self.mesos.drain_to_hosts());
            if next == end && self.mesos.next_deadline().is_none_or(|next| next > end) {
                return;
            }
        }
    }

    fn call(&mut self, call: Call) -> Outcome {
        let outcome = self.mesos.call_as(self.now, &self.id, &self.stream, call);
        self.run(5);
        outcome
    }

    /// Takes out the events of one connection, heartbeats apart.
    fn events_of(&mut self, conn: ConnId) -> Vec<Event> {
        let (theirs, rest) =
            std::mem::take(&mut self.events).into_iter().partition(|e| e.0 == conn);
        self.events = rest;
        let theirs: Vec<(ConnId, Outgoing)> = theirs;
        let event = |out| if let Outgoing::Event(event) = out { Some(*event) } else { None };
        theirs.into_iter().filter_map(|(_, out)| event(out)).collect()
    }

    fn events(&mut self) -> Vec<Event> {
        let events = self.events_of(self.conn);
        events.into_iter().filter(|event| *event != Event::Heartbeat).collect()
    }

    fn offers(&mut self) -> Vec<Offer> {
        let of = |event| if let Event::Offers(offers) = event { Some(offers) } else { None };
        self.events().into_iter().filter_map(of).flatten().collect()
    }

    fn updates(&mut self) -> Vec<TaskStatus> {
        let of = |event| if let Event::Update(status) = event { Some(status) } else { None };
        self.events().into_iter().filter_map(of).collect()
    }

    /// States and reasons of the updates that came since.
    fn states(&mut self) -> Vec<(TaskState, Option<StatusReason>)> {
        self.updates().into_iter().map(|status| (status.state, status.reason)).collect()
    }

    fn take_orders(&mut self) -> Vec<ToExecutor> {
        std::mem::take(&mut self.orders).into_iter().map(|(_, order)| order).collect()
    }

    fn decline(&mut self, offers: &[Offer], seconds: f64) {
        let offer_ids = offers.iter().map(|offer| offer.id.clone()).collect();
        let filters = Some(Filters { refuse_seconds: seconds });
        self.call(Call::Decline(Decline { offer_ids, filters }));
    }

    /// Launches a task in the executor `ex` on the next offer.
    fn launch(&mut self, task: &str) -> Offer {
        let offer = self.offers().swap_remove(0);
        let info = task_info(task, &offer);
        self.accept(&offer, vec![info]);
        offer
    }

    fn accept(&mut self, offer: &Offer, tasks: Vec<TaskInfo>) {
        let operations = vec![Operation::Launch(tasks)];
        let filters = Some(Filters { refuse_seconds: 0.0 });
        let accept = Accept { offer_ids: vec![offer.id.clone()], operations, filters };
        assert!(self.call(Call::Accept(accept)).is_accepted());
    }

    /// The executor on the first agent reports.
    fn report(&mut self, task: &str, state: TaskPhase) {
        let task = TaskId::from(task);
        let update = FromExecutor::Update { task, state, message: None, data: Some(vec![1]) };
        self.mesos.from_executor(self.now, 0, update);
        self.run(5);
    }

    fn acknowledge(&mut self, status: &TaskStatus) {
        let ack = Acknowledge::of(status).expect("an update of an agent");
        self.call(Call::Acknowledge(ack));
    }

    /// Reports and acknowledges.
    fn report_all(&mut self, task: &str, phases: &[TaskPhase]) {
        for phase in phases {
            self.report(task, *phase);
            let status = self.updates().pop().expect("the update");
            self.acknowledge(&status);
        }
    }

    fn signal(&mut self, agent: AgentIndex, signal: HostSignal) {
        self.mesos.from_host(self.now, agent, signal);
        self.run(5);
    }

    /// A task that runs and has nothing unacknowledged.
    fn running(task: &str) -> Self {
        let mut bench = Self::new(ours(), &["*"]);
        bench.launch(task);
        bench.run(400);
        bench.report_all(task, &[TaskPhase::Starting, TaskPhase::Running]);
        bench.run(1_000);
        bench.events();
        bench.take_orders();
        bench
    }

    /// Explicit reconciliation of one task.
    fn reconcile(&mut self, task: &str, agent: Option<&str>) -> Vec<(TaskState, Option<String>)> {
        let asked = ReconcileTask { task_id: task.into(), agent_id: agent.map(Into::into) };
        self.call(Call::Reconcile(Reconcile { tasks: vec![asked] }));
        self.updates().into_iter().map(|status| (status.state, status.message)).collect()
    }
}

fn small() -> Vec<Resource> {
    vec![Resource::scalar("cpus", 0.1), Resource::scalar("mem", 32.0)]
}

fn executor(id: &str) -> ExecutorInfo {
    ExecutorInfo {
        kind: Some(ExecutorType::Custom),
        executor_id: id.into(),
        framework_id: None,
        command: Some(CommandInfo::shell("true")),
        resources: small(),
        name: None,
        source: None,
        data: None,
        shutdown_grace_period: None,
        labels: None,
        rest: serde_json::Map::new(),
    }
}

/// Resources in the form in which the offer has them.
fn as_offered(mut resources: Vec<Resource>, offer: &Offer) -> Vec<Resource> {
    for resource in &mut resources {
        resource.role.clone_from(&offer.resources[0].role);
    }
    resources
}

fn task_info(task: &str, offer: &Offer) -> TaskInfo {
    let mut executor = executor("ex");
    executor.resources = as_offered(executor.resources, offer);
    TaskInfo {
        name: task.to_owned(),
        task_id: task.into(),
        agent_id: offer.agent_id.clone(),
        resources: as_offered(small(), offer),
        executor: Some(executor),
        command: None,
        kill_policy: None,
        data: Some(Blob(task.as_bytes().to_vec())),
        labels: None,
        rest: serde_json::Map::new(),
    }
}

fn cpus(offer: &Offer) -> f64 {
    offer.resources.iter().filter(|r| r.name == "cpus").filter_map(Resource::amount).sum()
}
