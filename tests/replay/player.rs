//! Plays a recording against the simulated master, in virtual time: what was sent to the real one
//! at the time at which it was sent, what its operators did to agents and master, and what
//! executors said. What the simulated master answers is compared with what the real one did.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fmt::Write;

use axum::body::Body;
use axum::response::Response as HttpResponse;
use bytes::BytesMut;
use calico_dcos::mesos::recordio::RecordIo;
use calico_dcos::mesos::v1::{StatusReason, StatusSource, TaskStatus};
use calico_dcos::sim::mesos::http::SimServer;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::time::{Duration, Instant, timeout};
use tokio_util::codec::Decoder;

use crate::compare::{Names, compare};
use crate::recording::{self, Entry, Request, Response, What};
use crate::stage::{Play, Stage};

/// How much later than the real master ours may say something: its allocations are not in step.
const PATIENCE: Duration = Duration::from_millis(2_500);

pub(crate) struct Player {
    play: &'static Play,
    server: SimServer<Stage>,
    start: Instant,
    names: Names,
    /// Answers that were not compared yet, by connection, and what was asked.
    answers: HashMap<String, (String, HttpResponse)>,
    streams: HashMap<String, Stream>,
    /// What executors and containers do, and when.
    words: VecDeque<(Duration, TaskStatus)>,
    directed: BTreeSet<&'static str>,
    found: BTreeSet<String>,
}

/// A stream of ours.
struct Stream {
    body: Body,
    buffer: BytesMut,
    decoder: RecordIo,
    /// Events that have come and were not expected yet.
    early: VecDeque<Value>,
    /// Those of them that something came before which should have come after.
    overtaken: Vec<(String, String)>,
    /// Heartbeats of theirs and of ours; only the first one has a place among the other events.
    beats: (u32, u32),
    ended: bool,
}

/// Plays it, and what came before it, and returns its differences.
pub(crate) async fn play(play: &'static Play) -> BTreeSet<String> {
    let (mut entries, mut begin) = (Vec::new(), Duration::ZERO);
    for (name, lasts) in play.before {
        entries.extend(later(recording::read(name), begin));
        begin += Duration::from_secs_f64(*lasts);
    }
    let before = entries.len();
    entries.extend(later(recording::read(play.name), begin));
    let server = Stage::serve(play).await;
    let mut player = Player {
        play,
        server,
        start: Instant::now(),
        names: Names::default(),
        answers: HashMap::new(),
        streams: HashMap::new(),
        words: words(&entries),
        directed: BTreeSet::new(),
        found: BTreeSet::new(),
    };
    for (number, entry) in entries.iter().enumerate() {
        if number == before {
            player.forget();
        }
        player.direct_until(entry.at).await;
        player.wait_until(entry.at).await;
        player.entry(&entry.what).await;
    }
    player.close();
    let all: BTreeSet<_> = play.directions.iter().map(|(note, _)| *note).collect();
    assert_eq!(player.directed, all, "directions without a note");
    player.found
}

/// Entries of a recording that begins so much later.
fn later(entries: Vec<Entry>, by: Duration) -> impl Iterator<Item = Entry> {
    entries.into_iter().map(move |entry| Entry { at: entry.at + by, ..entry })
}

impl Player {
    /// What differed so far belongs to the recordings before.
    fn forget(&mut self) {
        self.found.clear();
        for stream in self.streams.values_mut() {
            stream.early.clear();
            stream.overtaken.clear();
        }
    }

    /// Directions that are not for a note but for a time, as `@14.7`.
    async fn direct_until(&mut self, at: Duration) {
        for (text, act) in self.play.directions {
            let due = text.strip_prefix('@').map(|s| Duration::from_secs_f64(s.parse().unwrap()));
            if due.is_some_and(|due| due <= at) && self.directed.insert(text) {
                self.wait_until(due.unwrap_or_default()).await;
                self.server.with(|stage, now| stage.act(now, act)).await.unwrap();
            }
        }
    }

    async fn wait_until(&mut self, at: Duration) {
        while self.words.front().is_some_and(|(due, _)| *due <= at) {
            let Some((due, status)) = self.words.pop_front() else { return };
            tokio::time::sleep_until(self.start + due).await;
            self.server.with(move |stage, now| stage.say(now, &status)).await.unwrap();
        }
        tokio::time::sleep_until(self.start + at).await;
    }

    async fn entry(&mut self, what: &What) {
        match what {
            What::Note(note, _) => {
                for (text, act) in self.play.directions {
                    if note.contains(text) {
                        self.directed.insert(text);
                        self.server.with(|stage, now| stage.act(now, act)).await.unwrap();
                    }
                }
            }
            What::Request(request) => self.request(request).await,
            What::Response(response) => self.response(response).await,
            What::Chunk { connection, bytes } => self.chunk(connection, bytes).await,
            What::Ended { connection, .. } => self.ended(connection).await,
            What::HungUp { connection } => {
                self.leftovers(connection);
                self.streams.remove(connection);
            }
            What::Refused { connection } => {
                self.answers.remove(connection);
            }
            What::Unanswered { connection, .. } => {
                if let Some((kind, ours)) = self.answers.remove(connection) {
                    self.found.insert(format!("{kind}: no answer, here {}", ours.status()));
                }
            }
        }
    }

    async fn request(&mut self, asked: &Request) {
        let port = asked.header("Host").and_then(|host| host.rsplit(':').next());
        if port.is_some_and(|port| port.starts_with("505") && port != "5050") {
            self.found.insert("the API of agents: not served".to_owned());
            return;
        }
        let mut request = http::Request::builder().method(asked.method.as_str()).uri(&asked.path);
        for (key, value) in &asked.headers {
            request = request.header(key, self.names.translate(value));
        }
        let text = String::from_utf8(asked.body.clone()).unwrap();
        let request = request.body(Body::from(self.names.translate(&text))).unwrap();
        let kind = serde_json::from_str::<Value>(&text)
            .ok()
            .and_then(|call| call.get("type")?.as_str().map(str::to_owned));
        let kind = kind.unwrap_or_else(|| format!("{} {}", asked.method, asked.path));
        let answer = match self.server.with(Stage::standby_for(port)).await.unwrap() {
            Some(leader) => {
                let version = semver::Version::new(1, 12, 0);
                calico_dcos::sim::mesos::http::standby(&version, leader.as_deref(), &request)
            }
            None => self.server.request(request).await,
        };
        self.answers.insert(asked.connection.clone(), (kind, answer));
    }

    async fn response(&mut self, theirs: &Response) {
        let Some((kind, ours)) = self.answers.remove(&theirs.connection) else {
            return;
        };
        if ours.status() != theirs.status {
            self.found.insert(format!("{kind}: {}, here {}", theirs.status, ours.status()));
            return;
        }
        for name in ["Content-Type", "Location", "Allow", "WWW-Authenticate"] {
            let here = ours.headers().get(name).map(|value| value.to_str().unwrap());
            let there = theirs.header(name).map(|value| self.names.translate(value));
            if there.as_deref() != here {
                self.found.insert(format!("{kind}: {name} {there:?}, here {here:?}"));
            }
        }
        let stream =
            ours.headers().get("Mesos-Stream-Id").map(|id| id.to_str().unwrap().to_owned());
        match (theirs.header("Mesos-Stream-Id"), &stream) {
            (None, None) => {}
            (Some(theirs), Some(ours)) => {
                compare(&mut self.names, &kind, &json!(theirs), &json!(ours), &mut self.found);
            }
            _ => {
                self.found.insert(format!("{kind}: one stream has an ID and the other has none"));
            }
        }
        if theirs.header("Transfer-Encoding").is_some() {
            self.streams.insert(theirs.connection.clone(), Stream::new(ours.into_body()));
            return;
        }
        let ours = ours.into_body().collect().await.unwrap().to_bytes();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let (theirs, ours) = (text(&theirs.body), text(&ours));
        let json = |text: &str| serde_json::from_str(text).unwrap_or_else(|_| json!(text));
        compare(&mut self.names, &kind, &json(&theirs), &json(&ours), &mut self.found);
    }

    async fn chunk(&mut self, connection: &str, bytes: &[u8]) {
        let Some(newline) = bytes.iter().position(|&byte| byte == b'\n') else { return };
        let theirs: Value = serde_json::from_slice(&bytes[newline + 1..]).unwrap();
        for theirs in single(theirs) {
            self.expect(connection, theirs).await;
        }
    }

    async fn expect(&mut self, connection: &str, theirs: Value) {
        let Some(stream) = self.streams.get_mut(connection) else {
            self.found.insert(format!("{}: no stream", kind(&theirs)));
            return;
        };
        if theirs["type"] == "HEARTBEAT" {
            stream.beats.0 += 1;
            if stream.beats.0 > 1 {
                return;
            }
        }
        let wanted = self.names.translate(&label(&theirs));
        let began = Instant::now();
        let until = began + PATIENCE;
        loop {
            if let Some(at) = stream.early.iter().position(|event| label(event) == wanted) {
                let ours = stream.early.remove(at).unwrap();
                // The offers of one event are in no order.
                let late = stream.early.iter().take(at).map(label);
                let late = late
                    .filter(|late| !(late.starts_with("OFFERS") && wanted.starts_with("OFFERS")));
                stream.overtaken.extend(late.map(|late| (late, wanted.clone())));
                if let Some((_, by)) = stream.overtaken.iter().find(|(late, _)| *late == wanted) {
                    self.found.insert(format!("{}: comes before {}", plain(&wanted), plain(by)));
                }
                // What follows is sent as long after it as it was then.
                self.start += began.elapsed();
                return compare(&mut self.names, kind(&theirs), &theirs, &ours, &mut self.found);
            }
            match timeout(until.saturating_duration_since(Instant::now()), stream.read()).await {
                Ok(true) => {}
                Ok(false) | Err(_) => break,
            }
        }
        self.start += began.elapsed();
        self.found.insert(format!("{}: missing", plain(&wanted)));
    }

    async fn ended(&mut self, connection: &str) {
        if let Some(stream) = self.streams.get_mut(connection) {
            let end = async { while stream.read().await {} };
            if timeout(PATIENCE, end).await.is_err() {
                self.found.insert(format!("stream {connection}: does not end"));
            }
        }
        self.leftovers(connection);
        self.streams.remove(connection);
    }

    /// Events that the real master did not send.
    fn leftovers(&mut self, connection: &str) {
        if let Some(stream) = self.streams.get(connection) {
            let only = |event| format!("{}: only here", plain(&label(event)));
            self.found.extend(stream.early.iter().map(only));
        }
    }

    fn close(&mut self) {
        for connection in self.streams.keys().cloned().collect::<Vec<_>>() {
            self.leftovers(&connection);
        }
    }
}

impl Stream {
    fn new(body: Body) -> Self {
        Self {
            body,
            buffer: BytesMut::new(),
            decoder: RecordIo::default(),
            early: VecDeque::new(),
            overtaken: Vec::new(),
            beats: (0, 0),
            ended: false,
        }
    }

    /// Reads on; false at the end.
    async fn read(&mut self) -> bool {
        if self.ended {
            return false;
        }
        let Some(frame) = self.body.frame().await else {
            self.ended = true;
            return false;
        };
        self.buffer.extend_from_slice(&frame.unwrap().into_data().unwrap());
        while let Some(record) = self.decoder.decode(&mut self.buffer).unwrap() {
            let event: Value = serde_json::from_slice(&record).unwrap();
            self.beats.1 += u32::from(event["type"] == "HEARTBEAT");
            if event["type"] != "HEARTBEAT" || self.beats.1 == 1 {
                self.early.extend(single(event));
            }
        }
        true
    }
}

/// The updates that executors and containers gave cause for, each at the time of its timestamp.
fn words(entries: &[Entry]) -> VecDeque<(Duration, TaskStatus)> {
    let mut words: Vec<(f64, f64, TaskStatus)> = Vec::new();
    for entry in entries {
        let What::Chunk { bytes, .. } = &entry.what else { continue };
        let Some(newline) = bytes.iter().position(|&byte| byte == b'\n') else { continue };
        let event: Value = serde_json::from_slice(&bytes[newline + 1..]).unwrap();
        let status = event.pointer("/update/status").or(event.pointer("/task_updated/status"));
        let Some(status) = status else { continue };
        let status: TaskStatus = serde_json::from_value(status.clone()).unwrap();
        let own = match status.source {
            Some(StatusSource::Executor) => true,
            // What the agent says of its own accord, the simulated one has to say by itself.
            Some(StatusSource::Agent) => !matches!(
                status.reason,
                Some(StatusReason::Reconciliation | StatusReason::AgentRestarted)
            ),
            _ => false,
        };
        if own && words.iter().all(|(_, _, known)| known.uuid != status.uuid) {
            words.push((status.timestamp.unwrap(), entry.at.as_secs_f64(), status));
        }
    }
    // Nothing was heard before it was said.
    let start = words.iter().map(|(said, heard, _)| said - heard).fold(f64::MIN, f64::max);
    words.sort_by(|a, b| a.0.total_cmp(&b.0));
    words
        .into_iter()
        .map(|(said, _, status)| (Duration::from_secs_f64((said - start - 0.001).max(0.0)), status))
        .collect()
}

/// How offers are put together in events is a matter of when; each one counts for itself.
fn single(event: Value) -> Vec<Value> {
    match event.pointer("/offers/offers").and_then(Value::as_array) {
        Some(offers) => offers
            .iter()
            .map(|offer| json!({"type": "OFFERS", "offers": {"offers": [offer]}}))
            .collect(),
        None => vec![event],
    }
}

fn kind(event: &Value) -> &str {
    event["type"].as_str().unwrap_or_default()
}

/// An event in a few words, by which ours is found.
fn label(event: &Value) -> String {
    let text = |pointer: &str| {
        let value = event.pointer(pointer).and_then(Value::as_str);
        value.map(str::to_owned).unwrap_or_default()
    };
    let parts: &[&str] = match kind(event) {
        "OFFERS" => &["/offers/offers/0/hostname", "/offers/offers/0/allocation_info/role"],
        "INVERSE_OFFERS" => &["/inverse_offers/inverse_offers/0/agent_id/value"],
        "UPDATE" => &["/update/status/task_id/value", "/update/status/state"],
        "RESCIND" => &["/rescind/offer_id/value"],
        "FAILURE" => &["/failure/agent_id/value", "/failure/executor_id/value"],
        "TASK_ADDED" => &["/task_added/task/task_id/value"],
        "TASK_UPDATED" => &["/task_updated/status/task_id/value", "/task_updated/state"],
        "AGENT_ADDED" => &["/agent_added/agent/agent_info/hostname"],
        _ => &[],
    };
    let mut label = kind(event).to_owned();
    for part in parts.iter().map(|part| text(part)).filter(|part| !part.is_empty()) {
        label.push(' ');
        label.push_str(&part);
    }
    if let Some(offered) = event.pointer("/offers/offers/0/resources").and_then(Value::as_array) {
        let cpus = offered.iter().filter(|resource| resource["name"] == "cpus");
        let cpus: f64 = cpus.filter_map(|cpus| cpus["scalar"]["value"].as_f64()).sum();
        write!(label, " {cpus:.1}").unwrap();
    }
    label
}

/// A label without what is drawn anew each time.
fn plain(label: &str) -> String {
    let short = |word: &str| match word.get(36..) {
        Some(rest) if word.as_bytes()[8] == b'-' => rest.trim_start_matches('-').to_owned(),
        _ => word.to_owned(),
    };
    label.split(' ').map(short).collect::<Vec<_>>().join(" ")
}
