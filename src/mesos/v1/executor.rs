//! What goes to and comes from `/api/v1/executor` of an agent (`executor.proto`).

use serde::de::Error as _;
use serde::ser::SerializeStruct;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::codec::{Blob, id};
use super::common::{ExecutorId, FrameworkId, FrameworkInfo};
use super::operator::AgentInfo;
use super::task::{ExecutorInfo, KillPolicy, TaskInfo, TaskStatus};
use crate::words::TaskId;

open_enum! {
    /// The calls of an executor.
    CallType {
        /// [`Call::Subscribe`].
        Subscribe = "SUBSCRIBE",
        /// [`Call::Update`].
        Update = "UPDATE",
        /// [`Call::Message`].
        Message = "MESSAGE",
        /// [`Call::Heartbeat`].
        Heartbeat = "HEARTBEAT",
    }
}

/// What an executor asks of its agent.
#[derive(Clone, Debug, PartialEq)]
pub enum Call {
    /// Opens the stream of events, or takes it over from an earlier connection.
    Subscribe(Subscribe),
    /// The state of a task; repeated until the agent has said [`Event::Acknowledged`].
    Update(Box<Update>),
    /// Bytes for the scheduler, unreliable.
    Message(Message),
    /// Nothing; answered 202.
    Heartbeat,
}

/// SUBSCRIBE: what the executor does not know to have reached an earlier process of the agent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Subscribe {
    /// Launched, and no update of it acknowledged. What is missing here the agent takes as
    /// never arrived, and ends.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unacknowledged_tasks: Vec<TaskInfo>,
    /// Not acknowledged, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unacknowledged_updates: Vec<Update>,
}

/// UPDATE.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Update {
    /// Needs `source` (`SOURCE_EXECUTOR`) and `uuid` (RFC 4122, version 1 to 5).
    pub status: TaskStatus,
}

/// MESSAGE, in both directions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The bytes.
    pub data: Blob,
}

/// A call as it is posted.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Whose executor.
    pub framework_id: FrameworkId,
    /// Which executor.
    pub executor_id: ExecutorId,
    /// The call.
    pub call: Call,
}

impl Call {
    /// The type on the wire.
    #[must_use]
    pub fn kind(&self) -> CallType {
        match self {
            Self::Subscribe(_) => CallType::Subscribe,
            Self::Update(_) => CallType::Update,
            Self::Message(_) => CallType::Message,
            Self::Heartbeat => CallType::Heartbeat,
        }
    }
}

impl Serialize for Request {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Call", 4)?;
        object.serialize_field("framework_id", &self.framework_id)?;
        object.serialize_field("executor_id", &self.executor_id)?;
        object.serialize_field("type", &self.call.kind())?;
        match &self.call {
            Call::Subscribe(body) => object.serialize_field("subscribe", body)?,
            Call::Update(body) => object.serialize_field("update", body)?,
            Call::Message(body) => object.serialize_field("message", body)?,
            Call::Heartbeat => {}
        }
        object.end()
    }
}

/// A call as it may arrive: nothing checked yet. [`Request::try_from`] checks it.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "the fields are the proto's, one per call")]
pub struct Envelope {
    pub framework_id: FrameworkId,
    pub executor_id: ExecutorId,
    #[serde(rename = "type", default)]
    pub kind: Option<CallType>,
    #[serde(default)]
    pub subscribe: Option<Subscribe>,
    #[serde(default)]
    pub update: Option<Box<Update>>,
    #[serde(default)]
    pub message: Option<Message>,
}

/// Why an [`Envelope`] is not a call. The texts are those of Mesos' agent, which puts
/// `Failed to validate Executor::Call: ` before them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCall {
    /// A part is missing: `type`, or the body that the type asks for.
    #[error("Expecting '{0}' to be present")]
    Missing(&'static str),
}

impl TryFrom<Envelope> for Request {
    type Error = InvalidCall;

    fn try_from(envelope: Envelope) -> Result<Self, InvalidCall> {
        let need = InvalidCall::Missing;
        let call = match envelope.kind {
            Some(CallType::Subscribe) => {
                Call::Subscribe(envelope.subscribe.ok_or(need("subscribe"))?)
            }
            Some(CallType::Update) => Call::Update(envelope.update.ok_or(need("update"))?),
            Some(CallType::Message) => Call::Message(envelope.message.ok_or(need("message"))?),
            Some(CallType::Heartbeat) => Call::Heartbeat,
            // Mesos drops an enum name that it does not know: the field is then as good as absent.
            None | Some(CallType::Unknown(_)) => return Err(need("type")),
        };
        let Envelope { framework_id, executor_id, .. } = envelope;
        Ok(Self { framework_id, executor_id, call })
    }
}

impl<'de> Deserialize<'de> for Request {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Envelope::deserialize(deserializer)?.try_into().map_err(D::Error::custom)
    }
}

open_enum! {
    /// The events that this program knows.
    EventType {
        /// [`Event::Subscribed`].
        Subscribed = "SUBSCRIBED",
        /// [`Event::Launch`].
        Launch = "LAUNCH",
        /// [`Event::Kill`].
        Kill = "KILL",
        /// [`Event::Acknowledged`].
        Acknowledged = "ACKNOWLEDGED",
        /// [`Event::Message`].
        Message = "MESSAGE",
        /// [`Event::Error`].
        Error = "ERROR",
        /// [`Event::Shutdown`].
        Shutdown = "SHUTDOWN",
        /// [`Event::Heartbeat`].
        Heartbeat = "HEARTBEAT",
    }
}

/// What an agent tells an executor.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The first one, unless the executor is to end at once.
    Subscribed(Box<Subscribed>),
    /// Run a task.
    Launch(Box<TaskInfo>),
    /// End a task. The agent enforces nothing.
    Kill(Kill),
    /// The agent has stored the update; it says nothing of the scheduler.
    Acknowledged(Acknowledged),
    /// Bytes from the scheduler.
    Message(Message),
    /// Something went wrong; the executor had better end.
    Error(String),
    /// End the process, within `MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD`.
    Shutdown,
    /// A sign of life; every half hour, since Mesos 1.10.
    Heartbeat,
    /// An event of a type that this program does not know; its type.
    Unknown(String),
}

/// SUBSCRIBED: the executor, and where it runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Subscribed {
    /// Its own description.
    pub executor_info: ExecutorInfo,
    /// Its framework.
    pub framework_info: FrameworkInfo,
    /// Its agent, with the ID.
    pub agent_info: AgentInfo,
    /// Its container; since Mesos 1.2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_id: Option<Value>,
}

/// KILL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kill {
    /// The task.
    #[serde(with = "id")]
    pub task_id: TaskId,
    /// As the scheduler's KILL gave it; the task's own is not repeated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kill_policy: Option<KillPolicy>,
}

/// ACKNOWLEDGED.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledged {
    /// The task of the update.
    #[serde(with = "id")]
    pub task_id: TaskId,
    /// The update's UUID.
    pub uuid: Blob,
}

#[derive(Serialize, Deserialize)]
struct Launch<T> {
    task: T,
}

#[derive(Serialize, Deserialize)]
struct Failed<T> {
    message: T,
}

#[derive(Deserialize)]
struct EventEnvelope {
    #[serde(rename = "type")]
    kind: EventType,
    #[serde(default)]
    subscribed: Option<Box<Subscribed>>,
    #[serde(default)]
    launch: Option<Launch<Box<TaskInfo>>>,
    #[serde(default)]
    kill: Option<Kill>,
    #[serde(default)]
    acknowledged: Option<Acknowledged>,
    #[serde(default)]
    message: Option<Message>,
    #[serde(default)]
    error: Option<Failed<String>>,
}

impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let e = EventEnvelope::deserialize(deserializer)?;
        let event = match e.kind {
            EventType::Subscribed => e.subscribed.map(Self::Subscribed),
            EventType::Launch => e.launch.map(|body| Self::Launch(body.task)),
            EventType::Kill => e.kill.map(Self::Kill),
            EventType::Acknowledged => e.acknowledged.map(Self::Acknowledged),
            EventType::Message => e.message.map(Self::Message),
            EventType::Error => e.error.map(|body| Self::Error(body.message)),
            EventType::Shutdown => Some(Self::Shutdown),
            EventType::Heartbeat => Some(Self::Heartbeat),
            EventType::Unknown(kind) => return Ok(Self::Unknown(kind)),
        };
        event.ok_or_else(|| D::Error::custom("an event without the body that its type asks for"))
    }
}

impl Event {
    /// The type on the wire.
    #[must_use]
    pub fn kind(&self) -> EventType {
        match self {
            Self::Subscribed(_) => EventType::Subscribed,
            Self::Launch(_) => EventType::Launch,
            Self::Kill(_) => EventType::Kill,
            Self::Acknowledged(_) => EventType::Acknowledged,
            Self::Message(_) => EventType::Message,
            Self::Error(_) => EventType::Error,
            Self::Shutdown => EventType::Shutdown,
            Self::Heartbeat => EventType::Heartbeat,
            Self::Unknown(kind) => EventType::Unknown(kind.clone()),
        }
    }
}

impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Event", 2)?;
        object.serialize_field("type", &self.kind())?;
        match self {
            Self::Subscribed(body) => object.serialize_field("subscribed", body)?,
            Self::Launch(task) => object.serialize_field("launch", &Launch { task })?,
            Self::Kill(body) => object.serialize_field("kill", body)?,
            Self::Acknowledged(body) => object.serialize_field("acknowledged", body)?,
            Self::Message(body) => object.serialize_field("message", body)?,
            Self::Error(message) => object.serialize_field("error", &Failed { message })?,
            Self::Shutdown | Self::Heartbeat | Self::Unknown(_) => {}
        }
        object.end()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use tokio_util::codec::Decoder;

    use super::*;
    use crate::mesos::recording::{self, What};
    use crate::mesos::recordio::RecordIo;

    const PATH: &str = "/api/v1/executor";

    #[test]
    fn events_are_written_back_as_the_agent_wrote_them() {
        let mut seen = 0;
        for (file, entries) in recording::all() {
            for stream in recording::streams(&entries).iter().filter(|it| it.path == PATH) {
                let mut decoder = RecordIo::default();
                let mut buffer = stream.bytes.as_slice().into();
                while let Some(record) = decoder.decode(&mut buffer).unwrap() {
                    let text = std::str::from_utf8(&record).unwrap();
                    let event: Event = serde_json::from_str(text)
                        .unwrap_or_else(|error| panic!("{file}: {error}: {text}"));
                    assert!(!matches!(event, Event::Unknown(_)), "{file}: {text}");
                    let written: Value = serde_json::to_value(&event).unwrap();
                    assert_eq!(written, serde_json::from_str::<Value>(text).unwrap(), "{file}");
                    seen += 1;
                }
            }
        }
        assert!(seen > 300, "only {seen} events");
    }

    #[test]
    fn calls_that_an_agent_took_are_read_and_written_back() {
        let mut seen = 0;
        for (file, entries) in recording::all() {
            for (at, entry) in entries.iter().enumerate() {
                let What::Request(asked) = &entry.what else { continue };
                let key = entry.key(&asked.connection);
                let answer = entries[at..].iter().find_map(|entry| match &entry.what {
                    What::Response(answer) if entry.key(&answer.connection) == key => {
                        Some(answer.status)
                    }
                    _ => None,
                });
                // One call of e02 has a body that a real agent forgives.
                let read = match serde_json::from_slice::<Request>(&asked.body) {
                    Ok(read) if answer.is_some_and(|status| status < 300) => read,
                    _ => continue,
                };
                if asked.path != PATH || file == "e02_wrong_calls" {
                    continue;
                }
                let original = asked.json().unwrap();
                assert_eq!(serde_json::to_value(&read).unwrap(), original, "{file}");
                seen += 1;
            }
        }
        assert!(seen > 150, "only {seen} calls");
    }
}
