//! The simulated Mesos over HTTP, against recordings of a real one: the same requests get the
//! same status codes, bodies and events, and what is sent has the same shape.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[expect(dead_code, reason = "other tests use more of it")]
#[path = "recordings/mod.rs"]
mod recording;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};

use calico_dcos::mesos::v1::{Attribute, Range, Ranges, Scalar, ValueType};
use calico_dcos::sim::mesos::http::{ServerError, SimServer, World};
use calico_dcos::sim::mesos::{AgentConfig, MesosConfig, SimMesos};
use calico_dcos::sim::wire::{FromExecutor, ToExecutor};
use calico_dcos::words::{TaskPhase, Time};
use recording::What;
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::{Value, json};

const LOCAL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Mesos, and executors that do at once what they are told.
struct Obedient(SimMesos);

impl World for Obedient {
    fn mesos(&mut self) -> &mut SimMesos {
        &mut self.0
    }

    fn advance(&mut self, now: Time) {
        self.0.advance(now);
        for (agent, order) in self.0.drain_to_hosts() {
            let (task, state) = match order {
                ToExecutor::Launch { task, .. } => (task, TaskPhase::Running),
                ToExecutor::Kill(task) => (task, TaskPhase::Killed),
                ToExecutor::Message(_) | ToExecutor::Shutdown => continue,
            };
            let update =
                FromExecutor::Update { task, state, message: None, data: Some(b"facts".to_vec()) };
            self.0.from_executor(now, agent, update);
        }
    }

    fn next_deadline(&self) -> Option<Time> {
        self.0.next_deadline()
    }
}

async fn serve(agents: u8) -> SimServer<Obedient> {
    let mut config = MesosConfig::new(semver::Version::new(1, 12, 0), 7);
    config.timings.allocation = 20;
    config.timings.registration_backoff = 1;
    config.timings.first_launch = 1;
    config.timings.master_recovery = 0;
    let mut mesos = SimMesos::new(calico_dcos::clock::now(), config);
    for number in 1..=agents {
        let ip = Ipv4Addr::new(10, 0, 0, number);
        let mut agent = AgentConfig::new(&format!("agent{number}"), ip, "*");
        agent.attributes = attributes();
        mesos.add_agent(calico_dcos::clock::now(), agent);
    }
    SimServer::start(LOCAL, Obedient(mesos)).await.unwrap()
}

/// One of each kind that the recorded agent has.
fn attributes() -> Vec<Attribute> {
    let text = Attribute::text("rack", "r1");
    let scalar = Attribute {
        name: "cores".to_owned(),
        kind: ValueType::Scalar,
        scalar: Some(Scalar { value: 16.0 }),
        text: None,
        ..text.clone()
    };
    let ranges = Attribute {
        name: "range".to_owned(),
        kind: ValueType::Ranges,
        ranges: Some(Ranges { range: vec![Range { begin: 10, end: 20 }] }),
        text: None,
        ..text.clone()
    };
    vec![text, scalar, ranges]
}

fn client() -> Client {
    // It may be installed already, by another test of this process.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap()
}

/// A stream and what was read of it ahead.
struct Events {
    response: Response,
    rest: Vec<u8>,
}

impl Events {
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.rest.iter().position(|&byte| byte == b'\n') {
                let length: usize =
                    std::str::from_utf8(&self.rest[..end]).unwrap().parse().unwrap();
                if self.rest.len() > end + length {
                    let record =
                        serde_json::from_slice(&self.rest[end + 1..=end + length]).unwrap();
                    self.rest.drain(..=end + length);
                    return Some(record);
                }
            }
            self.rest.extend_from_slice(&self.response.chunk().await.unwrap()?);
        }
    }

    /// The next event of that type.
    async fn wait(&mut self, kind: &str) -> Value {
        loop {
            let event =
                self.next().await.unwrap_or_else(|| panic!("the stream ends without {kind}"));
            if event["type"] == kind {
                return event;
            }
        }
    }
}

struct Scheduler {
    client: Client,
    url: String,
    stream: String,
    id: Value,
    events: Events,
}

impl Scheduler {
    async fn subscribe(address: SocketAddr, info: Value) -> Self {
        let (client, url) = (client(), format!("http://{address}/api/v1/scheduler"));
        let mut call = json!({"type": "SUBSCRIBE", "subscribe": {"framework_info": info}});
        if let Some(id) = info.get("id") {
            call["framework_id"] = id.clone();
        }
        let response = posted(client.post(&url), &call).send().await.unwrap();
        assert_eq!(response.status(), 200);
        let stream = response.headers()["Mesos-Stream-Id"].to_str().unwrap().to_owned();
        let mut events = Events { response, rest: Vec::new() };
        let subscribed = events.wait("SUBSCRIBED").await;
        let id = subscribed["subscribed"]["framework_id"].clone();
        Self { client, url, stream, id, events }
    }

    async fn call(&self, kind: &str, body: Value) -> (u16, String) {
        let mut call = json!({"type": kind, "framework_id": self.id});
        call[kind.to_lowercase()] = body;
        let request = posted(self.client.post(&self.url), &call);
        answer(request.header("Mesos-Stream-Id", &self.stream)).await
    }
}

fn posted(request: RequestBuilder, body: &Value) -> RequestBuilder {
    request.header("Content-Type", "application/json").body(body.to_string())
}

async fn answer(request: RequestBuilder) -> (u16, String) {
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

/// All paths of keys in it, with arrays left out: what a reader of it sees as its shape.
fn shape(value: &Value) -> BTreeSet<String> {
    fn walk(value: &Value, path: &str, paths: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => {
                for (key, field) in fields {
                    walk(field, &format!("{path}.{key}"), paths);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| walk(item, path, paths)),
            _ => {
                paths.insert(path.to_owned());
            }
        }
    }
    let mut paths = BTreeSet::new();
    walk(value, "", &mut paths);
    paths
}

// --- recordings ----------------------------------------------------------------------------------

/// The event in a chunk, which is one record.
fn event(chunk: &[u8]) -> Value {
    let json = chunk.iter().position(|byte| *byte == b'\n').unwrap();
    serde_json::from_slice(&chunk[json..]).unwrap()
}

/// The first event of a type in a recording.
fn recorded(name: &str, kind: &str) -> Value {
    let entries = recording::read(name).into_iter();
    let mut events = entries.filter_map(|entry| match entry.what {
        What::Chunk { bytes, .. } if entry.executor.is_none() => Some(event(&bytes)),
        _ => None,
    });
    events.find(|event| event["type"] == kind).unwrap()
}

/// Sends what was sent to a real master and expects what that one answered.
struct Replay {
    client: Client,
    url: String,
    /// What stood in the recording, and what stands for it here.
    names: Vec<(String, String)>,
    waiting: HashMap<String, Response>,
    streams: HashMap<String, Events>,
    compared: usize,
}

impl Replay {
    fn ours(&self, text: &str) -> String {
        self.names.iter().fold(text.to_owned(), |text, (theirs, ours)| text.replace(theirs, ours))
    }

    async fn request(&mut self, asked: recording::Request) {
        let method: Method = asked.method.parse().unwrap();
        let mut request = self.client.request(method, format!("{}{}", self.url, asked.path));
        for (key, value) in &asked.headers {
            if !matches!(key.as_str(), "Host" | "Content-Length" | "Connection") {
                request = request.header(key, self.ours(value));
            }
        }
        let body = self.ours(&String::from_utf8(asked.body).unwrap());
        let response = request.body(body).send().await.unwrap();
        self.waiting.insert(asked.connection, response);
    }

    async fn response(&mut self, theirs: recording::Response) {
        let Some(response) = self.waiting.remove(&theirs.connection) else { return };
        assert_eq!(response.status(), theirs.status, "on {}", theirs.connection);
        self.compared += 1;
        if let Some(stream) = theirs.header("Mesos-Stream-Id") {
            let ours = response.headers()["Mesos-Stream-Id"].to_str().unwrap().to_owned();
            self.names.push((stream.to_owned(), ours));
            self.streams.insert(theirs.connection, Events { response, rest: Vec::new() });
            return;
        }
        let body = self.ours(&String::from_utf8(theirs.body).unwrap());
        assert_eq!(response.text().await.unwrap(), body, "on {}", theirs.connection);
    }

    async fn event(&mut self, connection: &str, theirs: Value) {
        // There are no agents here, and nobody waits for the second heartbeat.
        let Some(events) = self.streams.get_mut(connection) else { return };
        if theirs["type"] == "OFFERS" {
            self.streams.remove(connection);
            return;
        }
        let ours = events.next().await.unwrap();
        assert_eq!(ours["type"], theirs["type"], "on {connection}");
        match ours["type"].as_str() {
            Some("ERROR") => assert_eq!(ours, theirs),
            Some("HEARTBEAT") => {
                // Keeps the stream open, unread.
                let events = self.streams.remove(connection);
                self.streams.extend(events.map(|events| (format!("{connection} at rest"), events)));
            }
            _ => assert_eq!(shape(&ours), shape(&theirs)),
        }
        self.compared += 1;
    }
}

#[tokio::test]
async fn wrong_calls_are_answered_as_a_real_master_answered_them() {
    let server = serve(0).await;
    let master = server.with(|world, _| world.0.master_info().id).await.unwrap();
    let mut replay = Replay {
        client: client(),
        url: format!("http://{}", server.address()),
        names: vec![("b45355ea-8298-4e2a-b5f9-ef2bce449476".to_owned(), master)],
        waiting: HashMap::new(),
        streams: HashMap::new(),
        compared: 0,
    };
    for entry in recording::read("07a_bad_calls") {
        match entry.what {
            What::Request(asked) => {
                let body = String::from_utf8_lossy(&asked.body);
                if body.contains("\"DECLINE\"") {
                    // From here on it is about launches, which need the agents of the recording.
                    break;
                }
                // Not modelled: the call that makes a real master abort.
                if !body.contains("\"UNKNOWN\"") {
                    replay.request(asked).await;
                }
            }
            What::Response(theirs) => replay.response(theirs).await,
            What::Chunk { connection, bytes } if !bytes.is_empty() => {
                replay.event(&connection, event(&bytes)).await;
            }
            _ => {}
        }
    }
    assert!(replay.compared > 70, "only {} answers and events", replay.compared);
}

// --- a task from offer to end --------------------------------------------------------------------

fn launch(task: &str, offer: &Value) -> Value {
    let small = json!([
        {"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.1}},
        {"name": "mem", "type": "SCALAR", "scalar": {"value": 32}},
    ]);
    let executor =
        json!({"executor_id": {"value": "ex"}, "command": {"value": "true"}, "resources": small});
    let info = json!({
        "name": task, "task_id": {"value": task}, "agent_id": offer["agent_id"],
        "executor": executor, "resources": small, "data": "am9i",
    });
    json!({
        "offer_ids": [offer["id"]],
        "operations": [{"type": "LAUNCH", "launch": {"task_infos": [info]}}],
    })
}

fn plain() -> Value {
    json!({"user": "root", "name": "x", "checkpoint": true, "failover_timeout": 60})
}

#[tokio::test]
async fn a_task_runs_over_http_and_what_is_said_has_the_recorded_shape() {
    let server = serve(1).await;
    let mut scheduler = Scheduler::subscribe(server.address(), plain()).await;
    assert_eq!(scheduler.events.next().await.unwrap(), json!({"type": "HEARTBEAT"}));
    let offers = scheduler.events.wait("OFFERS").await;
    assert_eq!(shape(&offers), shape(&recorded("01_subscribe", "OFFERS")));

    let accepted = scheduler.call("ACCEPT", launch("t", &offers["offers"]["offers"][0])).await;
    assert_eq!(accepted, (202, String::new()));
    let update = scheduler.events.wait("UPDATE").await;
    let mut expected = shape(&recorded("e01_exchange", "UPDATE"));
    // The first one that was recorded is TASK_STARTING, without data.
    expected.insert(".update.status.data".to_owned());
    assert_eq!(shape(&update), expected);
    let status = &update["update"]["status"];
    assert_eq!((&status["state"], &status["data"]), (&json!("TASK_RUNNING"), &json!("ZmFjdHM=")));

    let ack = json!({
        "agent_id": status["agent_id"], "task_id": status["task_id"], "uuid": status["uuid"],
    });
    assert_eq!(scheduler.call("ACKNOWLEDGE", ack).await.0, 202);
    assert_eq!(scheduler.call("KILL", json!({"task_id": {"value": "t"}})).await.0, 202);
    let killed = scheduler.events.wait("UPDATE").await;
    assert_eq!(killed["update"]["status"]["state"], "TASK_KILLED");

    assert_eq!(scheduler.call("TEARDOWN", Value::Null).await.0, 202);
    while scheduler.events.next().await.is_some() {}
}

#[tokio::test]
async fn a_second_subscription_ousts_the_first() {
    let server = serve(0).await;
    let mut first = Scheduler::subscribe(server.address(), plain()).await;
    let mut info = plain();
    info["id"] = first.id.clone();
    let second = Scheduler::subscribe(server.address(), info).await;
    assert_eq!(second.id, first.id);
    let error = first.events.wait("ERROR").await;
    assert_eq!(error, json!({"type": "ERROR", "error": {"message": "Framework failed over"}}));
    assert_eq!(first.events.next().await, None);
    assert_eq!(first.call("RECONCILE", json!({})).await.0, 400);
    assert_eq!(second.call("RECONCILE", json!({})).await.0, 202);
}

#[tokio::test]
async fn a_scheduler_that_hangs_up_is_no_longer_subscribed() {
    let server = serve(0).await;
    let Scheduler { client, url, stream, id, events } =
        Scheduler::subscribe(server.address(), plain()).await;
    drop(events);
    let call = json!({"type": "RECONCILE", "framework_id": id, "reconcile": {}});
    let mut answers = VecDeque::new();
    // The master learns of it when the connection's end arrives.
    while answers.len() < 10_000 && answers.back().is_none_or(|(status, _)| *status == 202) {
        let request = posted(client.post(&url), &call).header("Mesos-Stream-Id", &stream);
        answers.push_back(answer(request).await);
    }
    assert_eq!(answers.pop_back(), Some((403, "Framework is not subscribed".to_owned())));
}

#[tokio::test]
async fn a_new_master_ends_the_streams() {
    let server = serve(1).await;
    let mut scheduler = Scheduler::subscribe(server.address(), plain()).await;
    server.with(|world, now| world.0.master_failover(now)).await.unwrap();
    while scheduler.events.next().await.is_some() {}
    let (status, body) = scheduler.call("RECONCILE", json!({})).await;
    assert_eq!((status, body.as_str()), (400, "Framework cannot be found"));
}

#[tokio::test]
async fn operators_are_told_what_they_ask() {
    let server = serve(2).await;
    // The agents are registered once they are offered.
    let mut scheduler = Scheduler::subscribe(server.address(), plain()).await;
    let mut offered = 0;
    while offered < 2 {
        let offers = scheduler.events.wait("OFFERS").await;
        offered += offers["offers"]["offers"].as_array().unwrap().len();
    }
    let url = |path: &str| format!("http://{}{path}", server.address());
    let ask = async |path: &str, kind: &str| {
        let (status, body) = answer(posted(client().post(url(path)), &json!({"type": kind}))).await;
        assert_eq!(status, 200, "{body}");
        serde_json::from_str::<Value>(&body).unwrap()
    };
    let agents = ask("/api/v1", "GET_AGENTS").await;
    let agent = &agents["get_agents"]["agents"][1];
    assert_eq!(agent["agent_info"]["hostname"], "agent2");
    assert_eq!(agent["active"], true);
    assert_eq!(agent["pid"], "slave(1)@10.0.0.2:5051");
    assert!(agent["registered_time"]["nanoseconds"].is_u64());
    assert_eq!(ask("/master/api/v1", "GET_HEALTH").await["get_health"]["healthy"], true);
    let version = ask("/api/v1/operator", "GET_VERSION").await;
    assert_eq!(version["get_version"]["version_info"]["version"], "1.12.0");
    let master = ask("/api/v1/", "GET_MASTER").await["get_master"]["master_info"].clone();
    assert_eq!(master["port"], server.address().port());

    let (status, body) = answer(client().get(url("/version"))).await;
    assert_eq!(
        (status, serde_json::from_str(&body).ok()),
        (200, Some(json!({"version": "1.12.0"})))
    );
    assert_eq!(answer(client().get(url("/master/health"))).await, (200, String::new()));
    let redirect = client().get(url("/redirect")).send().await.unwrap();
    assert_eq!(redirect.status(), 307);
    assert_eq!(redirect.headers()["Location"], format!("//{}", server.address()).as_str());
}

#[tokio::test]
async fn a_port_in_use_is_said_in_one_sentence() {
    let server = serve(0).await;
    let world = server.with(|_, now| {
        let config = MesosConfig::new(semver::Version::new(1, 1, 0), 1);
        Obedient(SimMesos::new(now, config))
    });
    let world = world.await.unwrap();
    let Err(error) = SimServer::start(server.address(), world).await else { panic!("it started") };
    assert!(matches!(error, ServerError::InUse { .. }));
    let text = format!(
        "{} is in use; stop the program that listens there, or give another address",
        server.address()
    );
    assert_eq!(error.to_string(), text);
    assert!(server.stop().await.is_some(), "the world is given back");
}
