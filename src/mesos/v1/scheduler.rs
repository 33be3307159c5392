//! Calls and events of `/api/v1/scheduler` (`scheduler.proto`).
//!
//! On the wire both are an object with a `type` and, under the lower-case name of the type, its
//! body. Here they are enums; the objects exist as [`Envelope`] and inside the decoder of [`Event`].

use serde::ser::SerializeStruct;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::codec::{Blob, id};
use super::common::{ExecutorId, FrameworkInfo, OfferId};
pub use super::event::{Event, EventType, Failure, Subscribed};
pub use super::request::{Envelope, InvalidCall, Request};
use super::resource::Resource;
use super::task::{ExecutorInfo, KillPolicy, TaskInfo, TaskStatus};
use crate::words::{AgentId, TaskId};

open_enum! {
    /// The calls that Mesos knows.
    CallType {
        /// [`Call::Subscribe`].
        Subscribe = "SUBSCRIBE",
        /// [`Call::Teardown`].
        Teardown = "TEARDOWN",
        /// [`Call::Accept`].
        Accept = "ACCEPT",
        /// [`Call::Decline`].
        Decline = "DECLINE",
        /// [`Call::AcceptInverseOffers`].
        AcceptInverseOffers = "ACCEPT_INVERSE_OFFERS",
        /// [`Call::DeclineInverseOffers`].
        DeclineInverseOffers = "DECLINE_INVERSE_OFFERS",
        /// [`Call::Revive`].
        Revive = "REVIVE",
        /// [`Call::Kill`].
        Kill = "KILL",
        /// [`Call::Shutdown`].
        Shutdown = "SHUTDOWN",
        /// [`Call::Acknowledge`].
        Acknowledge = "ACKNOWLEDGE",
        /// [`Call::Reconcile`].
        Reconcile = "RECONCILE",
        /// [`Call::Message`].
        Message = "MESSAGE",
        /// [`Call::Suppress`].
        Suppress = "SUPPRESS",
        /// Not made by us: ignored by Mesos' default allocator.
        Request = "REQUEST",
        /// [`Call::UpdateFramework`].
        UpdateFramework = "UPDATE_FRAMEWORK",
        /// Not made by us.
        AcknowledgeOperationStatus = "ACKNOWLEDGE_OPERATION_STATUS",
        /// Not made by us.
        ReconcileOperations = "RECONCILE_OPERATIONS",
    }
}

/// What a scheduler asks of the master.
#[derive(Clone, Debug, PartialEq)]
pub enum Call {
    /// Opens the event stream.
    Subscribe(Subscribe),
    /// Ends the framework and kills all its tasks.
    Teardown,
    /// Takes offers of one agent and one role.
    Accept(Accept),
    /// Gives offers back.
    Decline(Decline),
    /// Agrees to maintenance.
    AcceptInverseOffers(InverseAnswer),
    /// Objects to maintenance.
    DeclineInverseOffers(InverseAnswer),
    /// Asks for offers again, and drops the filters of earlier declines.
    Revive(Roles),
    /// Asks for no offers.
    Suppress(Roles),
    /// Kills a task.
    Kill(Kill),
    /// Ends an executor.
    Shutdown(Shutdown),
    /// Confirms a status update that has a UUID.
    Acknowledge(Acknowledge),
    /// Asks for the state of tasks.
    Reconcile(Reconcile),
    /// Sends bytes to an executor, without any guarantee.
    Message(Message),
    /// Changes the framework; since Mesos 1.9. Not made by us.
    UpdateFramework(Subscribe),
}

impl Call {
    /// The type on the wire.
    #[must_use]
    pub fn kind(&self) -> CallType {
        match self {
            Self::Subscribe(_) => CallType::Subscribe,
            Self::Teardown => CallType::Teardown,
            Self::Accept(_) => CallType::Accept,
            Self::Decline(_) => CallType::Decline,
            Self::AcceptInverseOffers(_) => CallType::AcceptInverseOffers,
            Self::DeclineInverseOffers(_) => CallType::DeclineInverseOffers,
            Self::Revive(_) => CallType::Revive,
            Self::Suppress(_) => CallType::Suppress,
            Self::Kill(_) => CallType::Kill,
            Self::Shutdown(_) => CallType::Shutdown,
            Self::Acknowledge(_) => CallType::Acknowledge,
            Self::Reconcile(_) => CallType::Reconcile,
            Self::Message(_) => CallType::Message,
            Self::UpdateFramework(_) => CallType::UpdateFramework,
        }
    }
}

/// SUBSCRIBE, and `UPDATE_FRAMEWORK`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Subscribe {
    /// Who we are.
    pub framework_info: FrameworkInfo,
    /// Roles for which no offers are wanted now. It replaces what SUPPRESS said before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub suppressed_roles: Vec<String>,
}

/// For how long the resources that were not used are not to be offered again.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Filters {
    /// Seconds: 5 by default, at most 365 days.
    #[serde(default = "Filters::default_refusal")]
    pub refuse_seconds: f64,
}

impl Filters {
    fn default_refusal() -> f64 {
        5.0
    }
}

/// ACCEPT.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Accept {
    /// The offers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub offer_ids: Vec<OfferId>,
    /// What to do with them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub operations: Vec<Operation>,
    /// For what is not used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filters: Option<Filters>,
}

/// An operation of an [`Accept`].
#[derive(Clone, Debug, PartialEq)]
pub enum Operation {
    /// Launches tasks.
    Launch(Vec<TaskInfo>),
    /// Launches tasks together, in Mesos' default executor. Never sent by us.
    LaunchGroup {
        /// The executor, as given.
        executor: Box<ExecutorInfo>,
        /// The tasks.
        tasks: Vec<TaskInfo>,
    },
    /// Sets resources aside for a role. Never sent by us.
    Reserve(Vec<Resource>),
    /// Takes that back. Never sent by us.
    Unreserve(Vec<Resource>),
    /// Any other one; the name of its type. Never sent by us.
    Other(String),
}

#[derive(Deserialize)]
struct OperationEnvelope {
    #[serde(rename = "type", default)]
    kind: Option<String>,
    #[serde(default)]
    launch: Option<LaunchBody>,
    #[serde(default)]
    launch_group: Option<GroupBody>,
    #[serde(default)]
    reserve: Option<ResourcesBody>,
    #[serde(default)]
    unreserve: Option<ResourcesBody>,
}

#[derive(Deserialize)]
struct GroupBody {
    executor: ExecutorInfo,
    task_group: GroupTasks,
}

#[derive(Deserialize)]
struct GroupTasks {
    #[serde(default)]
    tasks: Vec<TaskInfo>,
}

#[derive(Deserialize)]
struct ResourcesBody {
    #[serde(default)]
    resources: Vec<Resource>,
}

#[derive(Deserialize)]
struct LaunchBody {
    #[serde(default)]
    task_infos: Vec<TaskInfo>,
}

impl Serialize for Operation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Launch<'a> {
            #[serde(skip_serializing_if = "<[_]>::is_empty")]
            task_infos: &'a [TaskInfo],
        }
        let mut object = serializer.serialize_struct("Operation", 2)?;
        match self {
            Self::Launch(task_infos) => {
                object.serialize_field("type", "LAUNCH")?;
                object.serialize_field("launch", &Launch { task_infos })?;
            }
            Self::LaunchGroup { executor, tasks } => {
                let group = serde_json::json!({
                    "executor": executor,
                    "task_group": { "tasks": tasks },
                });
                object.serialize_field("type", "LAUNCH_GROUP")?;
                object.serialize_field("launch_group", &group)?;
            }
            Self::Reserve(resources) => {
                object.serialize_field("type", "RESERVE")?;
                object
                    .serialize_field("reserve", &serde_json::json!({ "resources": resources }))?;
            }
            Self::Unreserve(resources) => {
                object.serialize_field("type", "UNRESERVE")?;
                object
                    .serialize_field("unreserve", &serde_json::json!({ "resources": resources }))?;
            }
            Self::Other(kind) => object.serialize_field("type", kind)?,
        }
        object.end()
    }
}

impl<'de> Deserialize<'de> for Operation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let envelope = OperationEnvelope::deserialize(deserializer)?;
        let kind = envelope.kind.unwrap_or_default();
        let operation = match kind.as_str() {
            "LAUNCH" => envelope.launch.map(|launch| Self::Launch(launch.task_infos)),
            "LAUNCH_GROUP" => envelope.launch_group.map(|group| Self::LaunchGroup {
                executor: Box::new(group.executor),
                tasks: group.task_group.tasks,
            }),
            "RESERVE" => envelope.reserve.map(|body| Self::Reserve(body.resources)),
            "UNRESERVE" => envelope.unreserve.map(|body| Self::Unreserve(body.resources)),
            _ => None,
        };
        Ok(operation.unwrap_or(Self::Other(kind)))
    }
}

/// DECLINE.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decline {
    /// The offers; unknown ones are ignored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub offer_ids: Vec<OfferId>,
    /// For how long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filters: Option<Filters>,
}

/// `ACCEPT_INVERSE_OFFERS` and `DECLINE_INVERSE_OFFERS`. Without a filter they come again at once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InverseAnswer {
    /// The inverse offers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inverse_offer_ids: Vec<OfferId>,
    /// For how long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filters: Option<Filters>,
}

/// REVIVE and SUPPRESS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Roles {
    /// The roles; all of them if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
}

/// KILL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kill {
    /// The task.
    #[serde(with = "id")]
    pub task_id: TaskId,
    /// Its agent; a wrong one makes the master ignore the call.
    #[serde(with = "id::option", default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<AgentId>,
    /// Overrides the task's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kill_policy: Option<KillPolicy>,
}

/// SHUTDOWN.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shutdown {
    /// The executor.
    pub executor_id: ExecutorId,
    /// Its agent.
    #[serde(with = "id")]
    pub agent_id: AgentId,
}

/// ACKNOWLEDGE.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledge {
    /// The agent of the update.
    #[serde(with = "id")]
    pub agent_id: AgentId,
    /// Its task.
    #[serde(with = "id")]
    pub task_id: TaskId,
    /// Its UUID.
    pub uuid: Blob,
}

impl Acknowledge {
    /// The acknowledgement that a status asks for: none without a UUID.
    #[must_use]
    pub fn of(status: &TaskStatus) -> Option<Self> {
        Some(Self {
            agent_id: status.agent_id.clone()?,
            task_id: status.task_id.clone(),
            uuid: status.uuid.clone()?,
        })
    }
}

/// RECONCILE.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reconcile {
    /// The tasks asked for; if empty, all that the master knows are told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tasks: Vec<ReconcileTask>,
}

/// A task of a [`Reconcile`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReconcileTask {
    /// The task.
    #[serde(with = "id")]
    pub task_id: TaskId,
    /// Its agent: with it, more cases can be told apart.
    #[serde(with = "id::option", default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<AgentId>,
}

/// MESSAGE, in both directions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The agent.
    #[serde(with = "id")]
    pub agent_id: AgentId,
    /// The executor on it.
    pub executor_id: ExecutorId,
    /// The bytes.
    pub data: Blob,
}
