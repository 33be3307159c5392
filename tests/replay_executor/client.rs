//! Our executor client in the place of the recorded executors: it hears what a real agent said,
//! says what they said, and must have unacknowledged what they had; what it makes of it all is
//! what the snapshot says.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt::Write;

use bytes::{Bytes, BytesMut};
use calico_dcos::job::Uptime;
use calico_dcos::mesos::executor::Environment;
use calico_dcos::mesos::executor::session::{Effect, Failure, Input, Order, Report, Session};
use calico_dcos::mesos::recordio::RecordIo;
use calico_dcos::mesos::v1::executor::{Call, Event, Request as Called};
use calico_dcos::mesos::v1::{Blob, TaskStatus};
use serde_json::Value;
use tokio_util::codec::Decoder;

use crate::recording::{self, Entry, Request, What};

/// Whether an executor spoke to its agent.
pub(crate) fn has_executor(name: &str) -> bool {
    let is = |entry: &Entry| entry.executor.is_some() && matches!(entry.what, What::Request(_));
    recording::read(name).iter().any(is)
}

#[test]
fn point_10_a_real_agents_streams_are_read_wherever_they_are_cut() {
    let mut count = 0;
    for name in recording::executors() {
        for stream in streams(&recording::read(&name)) {
            let records = records(&stream);
            let mut rest = stream.as_slice();
            for record in &records {
                let (framed, after) =
                    rest.split_at(record.len().to_string().len() + 1 + record.len());
                for at in 0..framed.len() {
                    let (mut decoder, mut buffer) = (RecordIo::default(), framed[..at].into());
                    assert_eq!(decoder.decode(&mut buffer).unwrap(), None, "{name}: at {at}");
                    buffer.extend_from_slice(&framed[at..]);
                    assert_eq!(decoder.decode(&mut buffer).unwrap().as_ref(), Some(record));
                    assert!(buffer.is_empty());
                }
                rest = after;
                let event: Event = serde_json::from_slice(record).unwrap();
                assert!(!matches!(event, Event::Unknown(_)), "{name}: {event:?}");
            }
            assert!(rest.is_empty(), "{name}");
            count += records.len();
        }
    }
    assert!(count > 300, "only {count} events");
}

/// The streams of executors.
fn streams(entries: &[Entry]) -> Vec<Vec<u8>> {
    let streams = recording::streams(entries).into_iter().filter(|stream| stream.executor);
    streams.map(|stream| stream.bytes).collect()
}

fn records(stream: &[u8]) -> Vec<Bytes> {
    let (mut decoder, mut buffer) = (RecordIo::default(), BytesMut::from(stream));
    let mut records = Vec::new();
    while let Some(record) = decoder.decode(&mut buffer).unwrap() {
        records.push(record);
    }
    assert!(decoder.decode_eof(&mut buffer).unwrap().is_none());
    records
}

#[test]
fn our_executor_comes_to_the_right_conclusions() {
    let mut wrong = Vec::new();
    for name in recording::executors().into_iter().filter(|name| has_executor(name)) {
        let mut conclusions = String::new();
        let mut found = BTreeSet::new();
        let entries = recording::read(&name);
        let executors: BTreeSet<_> = entries.iter().filter_map(|e| e.executor.clone()).collect();
        for id in executors {
            let mut player = Player::new(&id);
            for entry in entries.iter().filter(|entry| entry.executor.as_deref() == Some(&id)) {
                player.entry(entry);
            }
            write!(conclusions, "{id}\n{}", player.conclusions).unwrap();
            found.extend(player.found);
        }
        wrong.extend(crate::check(&name, "executor ", &found).err());
        insta::assert_snapshot!(name, conclusions);
    }
    assert!(wrong.is_empty(), "{}", wrong.concat());
}

struct Player {
    id: String,
    session: Option<Session>,
    /// The calls that a recorded executor made, by connection.
    asked: BTreeMap<String, Value>,
    /// The connection of its newest stream.
    stream: String,
    decoder: RecordIo,
    buffer: BytesMut,
    /// What was reported already.
    reported: HashSet<Option<Blob>>,
    conclusions: String,
    found: BTreeSet<String>,
}

impl Player {
    fn new(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            session: None,
            asked: BTreeMap::new(),
            stream: String::new(),
            decoder: RecordIo::default(),
            buffer: BytesMut::new(),
            reported: HashSet::new(),
            conclusions: String::new(),
            found: BTreeSet::new(),
        }
    }

    fn entry(&mut self, entry: &Entry) {
        let now = Uptime(entry.ms());
        match &entry.what {
            What::Note(text, lines) if text.starts_with("executor started") => {
                let variables: BTreeMap<&str, &str> = lines
                    .iter()
                    .filter_map(|line| line.strip_prefix("env ")?.split_once('='))
                    .collect();
                let get = |name: &str| variables.get(name).map(|&value| value.to_owned());
                let environment = Environment::read(get).unwrap();
                let (session, _) = Session::start(now, environment.terms);
                self.session = Some(session);
            }
            What::Note(text, _) if text.starts_with("executor exits") => {
                self.put(now, Input::Leave);
                let left = self.left();
                writeln!(self.conclusions, "  {text}; not acknowledged: {left}").unwrap();
            }
            What::Request(request) => self.request(now, request),
            What::Response(answer) if answer.status >= 300 => {
                let body = String::from_utf8_lossy(&answer.body).into();
                let failure = Failure::Answer { status: answer.status, body };
                self.failed(now, &answer.connection, failure);
            }
            What::Unanswered { connection, call } => {
                if call.as_deref() == Some("SUBSCRIBE") {
                    self.put(now, Input::Lost(Failure::Broken));
                }
                self.asked.remove(connection);
            }
            What::Chunk { connection, bytes } if *connection == self.stream => {
                self.buffer.extend_from_slice(bytes);
                while let Some(record) = self.decoder.decode(&mut self.buffer).unwrap() {
                    let event = serde_json::from_slice(&record).unwrap();
                    self.put(now, Input::Heard(event));
                }
            }
            What::Ended { connection, .. } if *connection == self.stream => {
                self.put(now, Input::Lost(Failure::Broken));
            }
            _ => {}
        }
    }

    /// What the recorded executor asks ours would have asked too.
    fn request(&mut self, now: Uptime, request: &Request) {
        let Some(body) = request.json() else { return };
        self.asked.insert(request.connection.clone(), body.clone());
        let Ok(called) = serde_json::from_value::<Called>(body) else { return };
        match called.call {
            Call::Subscribe(theirs) => {
                self.stream.clone_from(&request.connection);
                (self.decoder, self.buffer) = (RecordIo::default(), BytesMut::new());
                self.put(now, Input::Tick);
                // Said while nobody listened, so that no request was recorded.
                for update in &theirs.unacknowledged_updates {
                    if !self.reported.contains(&update.status.uuid) {
                        self.report(now, &update.status);
                    }
                }
                let Some(session) = &self.session else { return };
                let ours: Vec<_> = session.unacknowledged_tasks().map(|id| id.0.clone()).collect();
                let theirs_tasks: Vec<_> =
                    theirs.unacknowledged_tasks.iter().map(|task| task.task_id.0.clone()).collect();
                if ours != theirs_tasks {
                    self.found.insert(format!(
                        "{}: SUBSCRIBE with tasks {theirs_tasks:?}, here {ours:?}",
                        self.id
                    ));
                }
                let uuid = |status: &TaskStatus| status.uuid.clone();
                let ours: Vec<_> = session.unacknowledged_updates().map(uuid).collect();
                let theirs: Vec<_> =
                    theirs.unacknowledged_updates.iter().map(|u| uuid(&u.status)).collect();
                if ours != theirs {
                    self.found.insert(format!(
                        "{}: SUBSCRIBE with updates {}, here {}",
                        self.id,
                        theirs.len(),
                        ours.len()
                    ));
                }
            }
            Call::Update(update) => self.report(now, &update.status),
            Call::Message(message) => self.put(now, Input::Send(message.data.0)),
            Call::Heartbeat => {}
        }
    }

    /// Ours says it too, with the same words.
    fn report(&mut self, now: Uptime, status: &TaskStatus) {
        self.reported.insert(status.uuid.clone());
        let (Some(timestamp), Some(uuid)) = (status.timestamp, &status.uuid) else { return };
        let Ok(uuid) = uuid::Uuid::from_slice(&uuid.0) else { return };
        let report = Report {
            task: status.task_id.clone(),
            state: status.state.clone(),
            message: status.message.clone(),
            data: status.data.clone().map(|data| data.0),
            uuid,
            timestamp,
        };
        self.put(now, Input::Report(report));
        let mut says = self.session.iter().flat_map(Session::unacknowledged_updates);
        if !says.any(|ours| ours == status) {
            let what = format!("{} of {}", status.state, status.task_id);
            self.found.insert(format!("{}: not said here: {what}", self.id));
        }
    }

    fn failed(&mut self, now: Uptime, connection: &str, failure: Failure) {
        let Some(asked) = self.asked.remove(connection) else { return };
        let text = format!("{failure:?}");
        if asked["type"] == "SUBSCRIBE" && connection == self.stream {
            writeln!(self.conclusions, "  SUBSCRIBE fails: {text}").unwrap();
            self.put(now, Input::Lost(failure));
        }
    }

    fn put(&mut self, now: Uptime, input: Input) {
        let Some(session) = &mut self.session else { return };
        for effect in session.handle(now, input) {
            match effect {
                Effect::Order(order) => {
                    let text = match order {
                        Order::Subscribed { hostname, .. } => format!("subscribed at {hostname}"),
                        Order::Launch(task) => {
                            let size = task.data.as_ref().map_or(0, |data| data.0.len());
                            format!("launch {} with {size} bytes", task.task_id)
                        }
                        Order::Kill { task, grace_ms } => format!("kill {task}, {grace_ms:?} ms"),
                        Order::Message(data) => format!("message of {} bytes", data.len()),
                        Order::Shutdown => "shut down".to_owned(),
                    };
                    writeln!(self.conclusions, "  {text}").unwrap();
                }
                Effect::Exit(ending) => writeln!(self.conclusions, "  over: {ending}").unwrap(),
                Effect::Warn(what) => writeln!(self.conclusions, "  warning: {what}").unwrap(),
                Effect::Subscribe(_) | Effect::Call { .. } => {}
            }
        }
    }

    fn left(&self) -> String {
        let updates = self.session.iter().flat_map(Session::unacknowledged_updates);
        let updates: Vec<_> = updates.map(|s| format!("{} of {}", s.state, s.task_id)).collect();
        if updates.is_empty() { "nothing".to_owned() } else { updates.join(", ") }
    }
}
