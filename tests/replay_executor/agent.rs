//! Plays recordings against the simulated master and agent, in virtual time: what schedulers,
//! executors and hosts did to the real ones, when they did it. What comes back is compared with
//! what the real ones answered.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::Ipv4Addr;

use bytes::BytesMut;
use calico_dcos::mesos::recordio::RecordIo;
use calico_dcos::mesos::v1::scheduler::{Call, Request as SchedulerRequest};
use calico_dcos::mesos::v1::{Attribute, FrameworkId, Resource};
use calico_dcos::sim::mesos::{
    AgentAnswer, AgentConfig, AgentRequest, ConnId, MesosConfig, Outcome, Outgoing, Processes,
    SimMesos, Start, ToBody,
};
use calico_dcos::sim::wire::HostSignal;
use calico_dcos::words::Time;
use serde_json::Value;
use tokio_util::codec::Decoder;

use crate::compare::{Names, compare};
use crate::plays::{PLAYS, Play};
use crate::recording::{self, Entry, Request, Response, What};

/// How much later than the real ones ours may say something: allocations are not in step, and
/// back-offs are random.
const PATIENCE: u64 = 2_500;
/// From a SIGKILL until the agent knows of the end, as recorded in e03.
const DEATH: u64 = 80;
/// From a launch until an executor that cannot run has ended.
const BAD_START: u64 = 100;

const START: Time = Time(1_000_000_000);

#[test]
fn our_agent_answers_as_a_real_one() {
    let mut wrong = Vec::new();
    for play in PLAYS {
        let found = Player::new(play).play(&recording::read(play.name));
        wrong.extend(crate::check(play.name, "agent: ", &found).err());
    }
    assert!(wrong.is_empty(), "{}", wrong.concat());
}

struct Player {
    play: &'static Play,
    mesos: SimMesos,
    now: Time,
    names: Names,
    connections: u64,
    /// What was asked on a connection, and our answer, which was not compared yet.
    answers: HashMap<String, (String, Answer)>,
    streams: HashMap<String, Stream>,
    keys: HashMap<ConnId, String>,
    /// Executors that we were told to start, by their ID; and what will end when.
    starts: BTreeMap<String, Start>,
    ends: Vec<(Time, String, i32, bool)>,
    found: BTreeSet<String>,
}

enum Answer {
    None,
    Stream(Option<String>),
    Plain(Outcome),
    Json(Value),
}

/// A stream of ours.
#[derive(Default)]
struct Stream {
    /// Offers come when an allocation happens to be; they have no place among the other events.
    offers: VecDeque<Value>,
    events: VecDeque<Value>,
    /// Whether it has ended, and in order.
    ended: Option<bool>,
    /// The decoder of their stream.
    decoder: RecordIo,
    buffer: BytesMut,
}

impl Stream {
    fn queue(&mut self, kind: &str) -> &mut VecDeque<Value> {
        if is_about_offers(kind) { &mut self.offers } else { &mut self.events }
    }
}

fn is_about_offers(kind: &str) -> bool {
    matches!(kind, "OFFERS" | "RESCIND")
}

fn kind(event: &Value) -> String {
    event["type"].as_str().unwrap_or_default().to_owned()
}

impl Player {
    fn new(play: &'static Play) -> Self {
        let mut config = MesosConfig::new(semver::Version::new(1, 12, 0), 7);
        config.address = (Ipv4Addr::LOCALHOST, 6050);
        config.timings.ping_timeout = 15_000;
        (play.timings)(&mut config.timings);
        let mut mesos = SimMesos::new(START, config);
        let mut processes = Processes::new("/var/lib/mesosx/agent1");
        (processes.until_routes, processes.until_recovered) = (110, 90);
        (play.agent)(&mut processes);
        let agent = AgentConfig {
            hostname: "agent1".to_owned(),
            ip: Ipv4Addr::LOCALHOST,
            port: 6051,
            resources: vec![
                Resource::ranges("ports", &[(31_000, 31_099)]),
                Resource::scalar("cpus", 4.0),
                Resource::scalar("mem", 2_048.0),
                Resource::scalar("disk", 4_096.0),
            ],
            attributes: vec![Attribute::text("rack", "r1")],
            processes: Some(processes),
            flags: BTreeMap::new(),
        };
        mesos.add_agent(START, agent);
        let mut player = Self {
            play,
            mesos,
            now: START,
            names: Names::default(),
            connections: 0,
            answers: HashMap::new(),
            streams: HashMap::new(),
            keys: HashMap::new(),
            starts: BTreeMap::new(),
            ends: Vec::new(),
            found: BTreeSet::new(),
        };
        player.run_to(START.plus_ms(3_000));
        player
    }

    fn play(mut self, entries: &[Entry]) -> BTreeSet<String> {
        let start = self.now;
        for entry in entries.iter().filter(|entry| entry.ms() < self.play.until) {
            let at = start.plus_ms(entry.ms());
            self.run_to(at.max(self.now));
            self.entry(entry);
        }
        for (key, stream) in &self.streams {
            for event in &stream.events {
                self.found.insert(format!("{}: only here", to(key, &what(event))));
            }
        }
        self.found
    }

    /// Lets time pass, deadline by deadline.
    fn run_to(&mut self, end: Time) {
        loop {
            let ends = self.ends.iter().map(|(at, ..)| *at);
            let next = self.mesos.next_deadline().into_iter().chain(ends).min();
            let next = next.filter(|next| *next <= end);
            self.now = next.unwrap_or(end).max(self.now);
            self.mesos.advance(self.now);
            let due = |end: &(Time, String, i32, bool)| end.0 <= self.now;
            let (over, later) = std::mem::take(&mut self.ends).into_iter().partition(due);
            self.ends = later;
            let over: Vec<(Time, String, i32, bool)> = over;
            for (_, container, status, not_fetched) in over {
                let why = format!(
                    "Failed to launch container: Failed to fetch all URIs for container \
                     '{container}': exited with status 1"
                );
                let why = not_fetched.then_some(why.as_str());
                self.mesos.process_ended(self.now, 0, &container, status, why);
            }
            self.collect();
            if next.is_none() {
                return;
            }
        }
    }

    fn collect(&mut self) {
        for (conn, outgoing) in self.mesos.drain_events() {
            let Some(stream) = self.keys.get(&conn).and_then(|key| self.streams.get_mut(key))
            else {
                continue;
            };
            match outgoing {
                Outgoing::Close => stream.ended = Some(true),
                Outgoing::Operator(_) => {}
                Outgoing::Event(event) => {
                    let event = serde_json::to_value(event).unwrap();
                    if kind(&event) != "HEARTBEAT" {
                        stream.queue(&kind(&event)).push_back(event);
                    }
                }
            }
        }
        for (_, message) in self.mesos.drain_to_bodies() {
            match message {
                ToBody::Listen(_) => {}
                ToBody::Start(start) => {
                    let id = start.executor.executor_id.0.clone();
                    if let Some((_, status, not_fetched)) =
                        self.play.ended.iter().find(|(executor, ..)| *executor == id)
                    {
                        let at = self.now.plus_ms(BAD_START);
                        self.ends.push((at, start.container.clone(), *status, *not_fetched));
                    }
                    self.starts.insert(id, *start);
                }
                ToBody::Kill { container } => {
                    self.ends.push((self.now.plus_ms(DEATH), container, 9, false));
                }
                ToBody::Event { conn, event } => {
                    let Some(key) = self.keys.get(&conn) else { continue };
                    if let Some(stream) = self.streams.get_mut(key) {
                        stream.events.push_back(serde_json::to_value(event).unwrap());
                    }
                }
                ToBody::Close { conn, orderly } => {
                    let Some(key) = self.keys.get(&conn) else { continue };
                    if let Some(stream) = self.streams.get_mut(key) {
                        stream.ended = Some(orderly);
                    }
                }
            }
        }
    }

    /// Lets time pass until something is there, or it is too late for it.
    fn wait_for(&mut self, key: &str, is: impl Fn(&mut Stream) -> bool) {
        let late = self.now.plus_ms(PATIENCE);
        while self.streams.get_mut(key).is_some_and(|stream| !is(stream)) && self.now < late {
            self.run_to(self.now.plus_ms(1));
        }
    }

    // --- what happened ---------------------------------------------------------------------------

    fn entry(&mut self, entry: &Entry) {
        match &entry.what {
            What::Note(text, lines) => self.note(entry, text, lines),
            What::Request(request) => self.request(entry, request),
            What::Response(theirs) => self.response(&entry.key(&theirs.connection), theirs),
            What::Chunk { connection, bytes } => self.chunk(&entry.key(connection), bytes),
            What::Ended { connection, orderly } => {
                let key = entry.key(connection);
                self.wait_for(&key, |stream| stream.ended.is_some());
                if let Some(stream) = self.streams.get(&key)
                    && stream.ended != Some(*orderly)
                {
                    let ours = stream.ended;
                    self.found.insert(format!("a stream ends, in order: {orderly}, here {ours:?}"));
                }
            }
            What::HungUp { .. } | What::Refused { .. } => {}
            What::Unanswered { connection, .. } => {
                if let Some((asked, answer)) = self.answers.remove(&entry.key(connection))
                    && !matches!(answer, Answer::None)
                {
                    self.found.insert(format!("{asked}: refused, here answered"));
                }
            }
        }
    }

    fn note(&mut self, entry: &Entry, text: &str, lines: &[String]) {
        let signal = |player: &mut Self, signal| {
            player.mesos.from_host(player.now, 0, signal);
            player.collect();
        };
        if let Some(id) = &entry.executor {
            let container = self.starts.get(id).map(|start| start.container.clone());
            if text.starts_with("executor started") {
                self.started(id, lines);
            } else if let (Some(status), Some(container)) =
                (text.strip_prefix("executor exits with status "), container)
            {
                let status: i32 = status.trim().parse().unwrap();
                self.mesos.process_ended(self.now, 0, &container, status << 8, None);
                self.collect();
            }
        } else if text.starts_with("agent: kill") {
            signal(self, HostSignal::AgentStopped);
        } else if text.starts_with("agent: starting") {
            signal(self, HostSignal::AgentStarted);
        } else if text.starts_with("SIGSTOP the agent") {
            self.mesos.freeze_agent(self.now, 0);
        } else if text.starts_with("master killed") {
            self.mesos.master_failover(self.now);
            self.collect();
        } else if text.starts_with("executor closes the stream") {
            for (conn, key) in &self.keys {
                if !key.starts_with(' ') {
                    self.mesos.agent_disconnect(self.now, 0, *conn);
                    self.streams.remove(key);
                }
            }
        }
    }

    /// The environment of a real executor, but for what Python adds.
    fn started(&mut self, id: &str, lines: &[String]) {
        let late = self.now.plus_ms(PATIENCE);
        while !self.starts.contains_key(id) && self.now < late {
            self.run_to(self.now.plus_ms(1));
        }
        let Some(start) = self.starts.get(id).cloned() else {
            self.found.insert(format!("the executor {id} is not started"));
            return;
        };
        let pid = 4_711;
        self.mesos.process_started(self.now, 0, &start.container, pid);
        let directory = lines.iter().find_map(|line| line.strip_prefix("env MESOS_SANDBOX="));
        if let Some((_, container)) = directory.and_then(|path| path.rsplit_once('/')) {
            self.names.pair(container, &start.container);
        }
        let theirs: BTreeMap<&str, String> = lines
            .iter()
            .filter_map(|line| line.strip_prefix("env ")?.split_once('='))
            .filter(|(name, _)| *name != "LC_CTYPE")
            .map(|(name, value)| (name, self.names.translate(value)))
            .collect();
        let ours: BTreeMap<&str, String> =
            start.environment.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
        for name in theirs.keys().chain(ours.keys()) {
            if theirs.get(name) != ours.get(name) {
                let (theirs, ours) = (theirs.get(name), ours.get(name));
                self.found.insert(format!("environment: {name}={theirs:?}, here {ours:?}"));
            }
        }
    }

    // --- requests --------------------------------------------------------------------------------

    fn request(&mut self, entry: &Entry, asked: &Request) {
        let key = entry.key(&asked.connection);
        self.connections += 1;
        let conn = ConnId(self.connections);
        let text = String::from_utf8_lossy(&asked.body);
        let body = self.names.translate(&text);
        let kind = asked.json().map(|call| kind(&call)).filter(|kind| !kind.is_empty());
        let kind = kind.unwrap_or_else(|| format!("{} {}", asked.method, asked.path));
        self.keys.insert(conn, key.clone());
        self.streams.insert(key.clone(), Stream::default());
        let answer = if entry.executor.is_some() {
            self.ask_agent(conn, asked, &body)
        } else {
            self.ask_master(conn, asked, &body)
        };
        if !matches!(answer, Answer::Stream(_)) {
            self.streams.remove(&key);
            self.keys.remove(&conn);
        }
        self.collect();
        self.answers.insert(key, (kind, answer));
    }

    fn ask_agent(&mut self, conn: ConnId, asked: &Request, body: &str) -> Answer {
        let request = AgentRequest {
            method: &asked.method,
            path: &asked.path,
            content_type: asked.header("Content-Type"),
            accept: asked.header("Accept"),
            authorization: None,
            body: body.as_bytes(),
        };
        match self.mesos.agent_request(self.now, 0, conn, &request) {
            AgentAnswer::Refused => Answer::None,
            AgentAnswer::Plain(outcome) => Answer::Plain(outcome),
            AgentAnswer::Json(value) => Answer::Json(value),
            AgentAnswer::Stream => Answer::Stream(None),
        }
    }

    fn ask_master(&mut self, conn: ConnId, asked: &Request, body: &str) -> Answer {
        let Ok(request) = serde_json::from_str::<SchedulerRequest>(body) else {
            return Answer::None;
        };
        if asked.path != "/api/v1/scheduler" {
            return Answer::None;
        }
        let SchedulerRequest { framework_id, call } = request;
        let Call::Subscribe(subscribe) = call else {
            let stream = asked.header("Mesos-Stream-Id").map(|id| self.names.translate(id));
            let request = SchedulerRequest { framework_id, call };
            return Answer::Plain(self.mesos.call(self.now, stream.as_deref(), request));
        };
        let framework_id: Option<FrameworkId> = framework_id;
        match self.mesos.subscribe(self.now, conn, framework_id, subscribe) {
            Ok(stream) => Answer::Stream(Some(stream)),
            Err(outcome) => Answer::Plain(outcome),
        }
    }

    fn response(&mut self, key: &str, theirs: &Response) {
        let Some((asked, answer)) = self.answers.remove(key) else { return };
        let (status, stream) = (theirs.status, theirs.header("Mesos-Stream-Id"));
        let text = self.names.translate(&String::from_utf8_lossy(&theirs.body));
        match answer {
            // A call that only recorders make.
            Answer::None => {}
            Answer::Stream(ours) => {
                if status != 200 {
                    self.found.insert(format!("{asked}: {status} {text}, here a stream"));
                }
                if let (Some(theirs), Some(ours)) = (stream, ours) {
                    self.names.pair(theirs, &ours);
                }
            }
            Answer::Plain(ours) => {
                if (status, text.trim()) != (ours.status, ours.body.trim()) {
                    let here = format!("{} {}", ours.status, ours.body);
                    self.found.insert(format!("{asked}: {status} {text}, here {here}"));
                }
            }
            Answer::Json(ours) => {
                let theirs = serde_json::from_slice(&theirs.body).unwrap_or(Value::Null);
                compare(&mut self.names, &asked, &theirs, &ours, &mut self.found);
            }
        }
    }

    fn chunk(&mut self, key: &str, bytes: &[u8]) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        stream.buffer.extend_from_slice(bytes);
        let mut theirs = Vec::new();
        while let Some(record) = stream.decoder.decode(&mut stream.buffer).unwrap() {
            theirs.push(serde_json::from_slice::<Value>(&record).unwrap());
        }
        for theirs in theirs {
            let kind = kind(&theirs);
            if kind == "HEARTBEAT" {
                continue;
            }
            match kind.as_str() {
                "OFFERS" => {
                    self.offers(key, &theirs);
                    continue;
                }
                "RESCIND" => {
                    self.rescinded(key, &theirs);
                    continue;
                }
                _ => {}
            }
            self.wait_for(key, |stream| !stream.events.is_empty());
            let stream = self.streams.get_mut(key).unwrap();
            let (event, place) = (what(&theirs), to(key, &what(&theirs)));
            // What comes out of turn is looked for, so that one surprise is one difference.
            let queue = &mut stream.events;
            let twin = queue.iter().position(|ours| what(ours) == event);
            match twin.and_then(|at| Some((at, queue.remove(at)?))) {
                Some((at, ours)) => {
                    if at > 0 {
                        self.found.insert(format!("{place}: out of turn"));
                    }
                    let place = to(key, &kind);
                    compare(&mut self.names, &place, &theirs, &ours, &mut self.found);
                }
                None => {
                    self.found.insert(format!("{place}: missing"));
                }
            }
        }
    }
}

/// Offers come when an allocation happens to be, so ours may be others in between.
impl Player {
    /// One that is the same, or else the one that is most like it.
    fn offers(&mut self, key: &str, theirs: &Value) {
        let late = self.now.plus_ms(PATIENCE);
        loop {
            let offers = &mut self.streams.get_mut(key).unwrap().offers;
            let mut least: Option<BTreeSet<String>> = None;
            for at in 0..offers.len() {
                if kind(&offers[at]) != "OFFERS" {
                    continue;
                }
                let (mut names, mut found) = (self.names.clone(), BTreeSet::new());
                compare(&mut names, "OFFERS", theirs, &offers[at], &mut found);
                if found.is_empty() {
                    self.names = names;
                    offers.drain(..=at);
                    return;
                }
                if least.as_ref().is_none_or(|least| found.len() < least.len()) {
                    least = Some(found);
                }
            }
            if self.now >= late {
                let missing = || BTreeSet::from(["OFFERS: missing".to_owned()]);
                self.found.extend(least.unwrap_or_else(missing));
                return;
            }
            self.run_to(self.now.plus_ms(1));
        }
    }

    fn rescinded(&mut self, key: &str, theirs: &Value) {
        let id = theirs.pointer("/rescind/offer_id/value").and_then(Value::as_str).unwrap();
        let Some(ours) = self.names.ours.get(id).cloned() else { return };
        let is = |event: &Value| {
            event.pointer("/rescind/offer_id/value").and_then(Value::as_str) == Some(&ours)
        };
        self.wait_for(key, |stream| stream.offers.iter().any(is));
        let offers = &mut self.streams.get_mut(key).unwrap().offers;
        match offers.iter().position(is) {
            Some(at) => drop(offers.remove(at)),
            None => drop(self.found.insert("RESCIND: missing".to_owned())),
        }
    }
}

/// To whom it comes: executors have names.
fn to(key: &str, what: &str) -> String {
    match key.split_once(' ') {
        Some((executor, _)) => format!("to {executor}: {what}"),
        None => what.to_owned(),
    }
}

/// An event in a few words.
fn what(event: &Value) -> String {
    let kind = kind(event);
    let at = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    match kind.as_str() {
        "UPDATE" => {
            let (task, state) = (at("/update/status/task_id/value"), at("/update/status/state"));
            format!("UPDATE {state} of {task}")
        }
        "ACKNOWLEDGED" => format!("ACKNOWLEDGED of {}", at("/acknowledged/task_id/value")),
        _ => kind,
    }
}
