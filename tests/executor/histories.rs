//! Our executor's rules and the simulated agent's, in virtual time and with everything between
//! them failing: connections, calls, answers, the agent's process.

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;

use calico_dcos::job::Uptime;
use calico_dcos::mesos::executor::Ending;
use calico_dcos::mesos::executor::session::{
    Effect, Failure, Input, Order, Report, Session, Terms,
};
use calico_dcos::mesos::v1::executor::Request;
use calico_dcos::mesos::v1::scheduler::{
    Accept, Acknowledge, Call, Event, Filters, Operation, Subscribe,
};
use calico_dcos::mesos::v1::{
    Capability, CapabilityType, FrameworkId, FrameworkInfo, Offer, TaskState,
};
use calico_dcos::sim::mesos::{
    AgentAnswer, AgentConfig, AgentRequest, ConnId, MesosConfig, Outgoing, Processes, SimMesos,
    ToBody,
};
use calico_dcos::sim::wire::HostSignal;
use calico_dcos::words::Time;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde_json::json;

const START: Time = Time(1_000_000);
const TASKS: [&str; 3] = ["t1", "t2", "t3"];

/// However it goes, each word arrives once and in order, the agent never gives the executor up,
/// and the process ends when all is said.
#[test]
fn nothing_is_lost_between_executor_and_agent() {
    for seed in 0..400 {
        let mut world = World::new(seed);
        world.launch();
        for _ in 0..150 {
            world.misfortune();
        }
        world.calm();
        world.judge();
    }
}

struct World {
    seed: u64,
    chance: SmallRng,
    mesos: SimMesos,
    now: Time,
    framework: FrameworkId,
    stream: String,
    offer: Option<Offer>,
    agent_up: bool,
    /// The executor: none before it is started.
    session: Option<Session>,
    conn: Option<ConnId>,
    connections: u64,
    container: String,
    faults: bool,
    launched: Vec<String>,
    /// What was said of each task, and what the scheduler heard for the first time.
    said: BTreeMap<String, Vec<Vec<u8>>>,
    heard: BTreeMap<String, Vec<Vec<u8>>>,
    over: Option<Ending>,
    bad: Vec<String>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut mesos =
            SimMesos::new(START, MesosConfig::new(semver::Version::new(1, 12, 0), seed));
        let mut agent = AgentConfig::new("agent1", Ipv4Addr::LOCALHOST, "*");
        agent.processes = Some(Processes::new("/work"));
        mesos.add_agent(START, agent);
        let mut world = Self {
            seed,
            chance: SmallRng::seed_from_u64(seed),
            mesos,
            now: START,
            framework: FrameworkId(String::new()),
            stream: String::new(),
            offer: None,
            agent_up: true,
            session: None,
            conn: None,
            connections: 1,
            container: String::new(),
            faults: false,
            launched: Vec::new(),
            said: BTreeMap::new(),
            heard: BTreeMap::new(),
            over: None,
            bad: Vec::new(),
        };
        world.pass(3_000);
        let framework_info = FrameworkInfo {
            user: "root".to_owned(),
            name: "n".to_owned(),
            failover_timeout: 60.0,
            checkpoint: true,
            capabilities: vec![Capability::from(CapabilityType::PartitionAware)],
            ..FrameworkInfo::default()
        };
        let call = Subscribe { framework_info, suppressed_roles: Vec::new() };
        world.stream = world.mesos.subscribe(world.now, ConnId(1), None, call).unwrap();
        world.pass(100);
        world
    }

    fn uptime(&self) -> Uptime {
        Uptime(self.now.since(START))
    }

    fn happens(&mut self, percent: u32) -> bool {
        self.faults && self.chance.random_ratio(percent, 100)
    }

    fn launch(&mut self) {
        let offer = self.offer.take().unwrap();
        let resources =
            json!([{"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.1}, "role": "*"}]);
        let tasks = TASKS.map(|task| {
            serde_json::from_value(json!({
                "name": task, "task_id": {"value": task},
                "agent_id": {"value": offer.agent_id.as_str()}, "resources": resources,
                "executor": {"executor_id": {"value": "ex"}, "command": {"value": "./ex"}},
            }))
            .unwrap()
        });
        let accept = Accept {
            offer_ids: vec![offer.id],
            operations: vec![Operation::Launch(tasks.to_vec())],
            filters: Some(Filters { refuse_seconds: 3_600.0 }),
        };
        self.call(Call::Accept(accept));
        self.pass(1_000);
        assert_eq!(self.launched.len(), TASKS.len(), "seed {}", self.seed);
        self.faults = true;
    }

    fn call(&mut self, call: Call) {
        let (framework, stream) = (self.framework.clone(), self.stream.clone());
        self.mesos.call_as(self.now, &framework, &stream, call);
    }

    fn misfortune(&mut self) {
        match self.chance.random_range(0..10) {
            0 | 1 if !self.agent_up => self.signal(HostSignal::AgentStarted),
            0 => self.signal(HostSignal::AgentStopped),
            1 | 2 => self.cut(),
            3..=6 => self.say(TaskState::Running),
            _ => {}
        }
        let ms = self.chance.random_range(1..800);
        self.pass(ms);
    }

    /// Nothing fails any more; the tasks end, and the process with them.
    fn calm(&mut self) {
        self.faults = false;
        if !self.agent_up {
            self.signal(HostSignal::AgentStarted);
        }
        for task in TASKS {
            self.report(task, TaskState::Finished);
        }
        self.put(Input::Leave);
        self.pass(120_000);
    }

    fn judge(&self) {
        let seed = self.seed;
        assert_eq!(self.bad, Vec::<String>::new(), "seed {seed}");
        assert_eq!(self.over, Some(Ending::Done), "seed {seed}");
        assert_eq!(self.heard, self.said, "seed {seed}");
    }

    // --- the agent's side ------------------------------------------------------------------------

    fn signal(&mut self, signal: HostSignal) {
        self.agent_up = signal == HostSignal::AgentStarted;
        self.mesos.from_host(self.now, 0, signal);
        self.collect();
    }

    fn cut(&mut self) {
        if let Some(conn) = self.conn.take() {
            self.mesos.agent_disconnect(self.now, 0, conn);
            self.put(Input::Lost(Failure::Broken));
        }
    }

    fn pass(&mut self, ms: u64) {
        let end = self.now.plus_ms(ms);
        loop {
            let wake = self.session.as_ref().and_then(Session::next_wake);
            let wake = wake.map(|at| START.plus_ms(at.0));
            let next = self.mesos.next_deadline().into_iter().chain(wake).min();
            let next = next.filter(|next| *next <= end);
            self.now = next.unwrap_or(end).max(self.now);
            self.mesos.advance(self.now);
            self.collect();
            if wake.is_some_and(|wake| wake <= self.now) {
                self.put(Input::Tick);
            }
            if next.is_none() {
                return;
            }
        }
    }

    fn collect(&mut self) {
        for (_, outgoing) in self.mesos.drain_events() {
            let Outgoing::Event(event) = outgoing else { continue };
            match *event {
                Event::Subscribed(subscribed) => self.framework = subscribed.framework_id,
                Event::Offers(mut offers) => self.offer = offers.pop(),
                Event::Update(status) => {
                    let uuid = status.uuid.clone().unwrap_or_default().0;
                    let heard = self.heard.entry(status.task_id.0.clone()).or_default();
                    if !heard.contains(&uuid) {
                        heard.push(uuid);
                    }
                    if let Some(acknowledge) = Acknowledge::of(&status) {
                        self.call(Call::Acknowledge(acknowledge));
                    }
                }
                Event::Failure(failure) if self.over.is_none() => {
                    self.bad.push(format!("{failure:?}"));
                }
                _ => {}
            }
        }
        for (_, message) in self.mesos.drain_to_bodies() {
            match message {
                ToBody::Start(start) => {
                    self.container.clone_from(&start.container);
                    let get = |name: &str| {
                        let found = start.environment.iter().find(|(n, _)| n == name);
                        found.map(|(_, value)| value.clone())
                    };
                    let environment = calico_dcos::mesos::executor::Environment::read(get).unwrap();
                    let terms: Terms = environment.terms;
                    let (session, effects) = Session::start(self.uptime(), terms);
                    self.session = Some(session);
                    self.carry_out(effects);
                }
                ToBody::Kill { container } => self.bad.push(format!("{container} is killed")),
                ToBody::Event { conn, event } if self.conn == Some(conn) => {
                    self.put(Input::Heard(*event));
                }
                ToBody::Close { conn, .. } if self.conn == Some(conn) => {
                    self.conn = None;
                    self.put(Input::Lost(Failure::Broken));
                }
                _ => {}
            }
        }
    }

    // --- the executor's side ---------------------------------------------------------------------

    fn say(&mut self, state: TaskState) {
        let task = TASKS[self.chance.random_range(0..TASKS.len())];
        self.report(task, state);
    }

    fn report(&mut self, task: &str, state: TaskState) {
        let uuid = uuid::Builder::from_random_bytes(self.chance.random()).into_uuid();
        self.said.entry(task.to_owned()).or_default().push(uuid.as_bytes().to_vec());
        let (message, data) = (None, None);
        let report = Report { task: task.into(), state, message, data, uuid, timestamp: 1.0 };
        self.put(Input::Report(report));
    }

    fn put(&mut self, input: Input) {
        let now = self.uptime();
        let Some(session) = &mut self.session else { return };
        let effects = session.handle(now, input);
        self.carry_out(effects);
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        let mut inputs = VecDeque::new();
        for effect in effects {
            match effect {
                Effect::Subscribe(request) => {
                    if let Some(old) = self.conn.take() {
                        self.mesos.agent_disconnect(self.now, 0, old);
                    }
                    inputs.extend(self.subscribe(&request).map(Input::Lost));
                }
                Effect::Call { call, request } => {
                    let failure = self.post(&request).1;
                    inputs.extend(failure.map(|failure| Input::Failed { call, failure }));
                }
                Effect::Order(Order::Launch(task)) => self.launched.push(task.task_id.0),
                Effect::Order(Order::Shutdown) => self.bad.push("told to end".to_owned()),
                Effect::Order(_) => {}
                Effect::Warn(what) => self.bad.push(what),
                Effect::Exit(ending) => {
                    self.over = Some(ending);
                    let container = self.container.clone();
                    self.session = None;
                    self.mesos.process_ended(self.now, 0, &container, 0, None);
                }
            }
        }
        for input in inputs {
            self.put(input);
        }
        self.collect();
    }

    fn subscribe(&mut self, request: &Request) -> Option<Failure> {
        let (conn, failure) = self.post(request);
        match failure {
            None => self.conn = Some(conn),
            Some(_) => self.mesos.agent_disconnect(self.now, 0, conn),
        }
        failure
    }

    /// It may be lost on the way, and so may the answer.
    fn post(&mut self, request: &Request) -> (ConnId, Option<Failure>) {
        self.connections += 1;
        let conn = ConnId(self.connections);
        if self.happens(10) {
            return (conn, Some(Failure::Broken));
        }
        let body = serde_json::to_vec(request).unwrap();
        let asked = AgentRequest {
            method: "POST",
            path: "/api/v1/executor",
            content_type: Some("application/json"),
            body: &body,
            ..AgentRequest::default()
        };
        let answer = match self.mesos.agent_request(self.now, 0, conn, &asked) {
            AgentAnswer::Stream => None,
            AgentAnswer::Plain(outcome) if outcome.is_accepted() => None,
            AgentAnswer::Plain(outcome) => {
                Some(Failure::Answer { status: outcome.status, body: outcome.body })
            }
            AgentAnswer::Refused | AgentAnswer::Json(_) => Some(Failure::Broken),
        };
        if answer.is_none() && self.happens(10) {
            return (conn, Some(Failure::Broken));
        }
        (conn, answer)
    }
}
