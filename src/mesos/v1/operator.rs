//! The calls of `/api/v1` that we make (`master.proto`).

use serde::de::Error as _;
use serde::ser::SerializeStruct;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::codec::id;
use super::common::{Capability, Nanoseconds};
use super::resource::{Attribute, Resource};
use crate::words::AgentId;

open_enum! {
    /// What is asked of the master, and what it answers.
    CallType {
        /// [`Response::GetAgents`].
        GetAgents = "GET_AGENTS",
        /// [`Response::GetVersion`].
        GetVersion = "GET_VERSION",
    }
}

/// `{"type": "GET_AGENTS"}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// What is asked.
    #[serde(rename = "type")]
    pub kind: CallType,
}

/// The master's answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Response {
    /// The agents that are registered.
    GetAgents(GetAgents),
    /// The version of the master.
    GetVersion(VersionInfo),
    /// An answer of a type that this program does not ask for; its type.
    Unknown(String),
}

/// `GET_AGENTS`. An agent that is unreachable is in neither list.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GetAgents {
    /// Registered ones, connected or not.
    #[serde(default)]
    pub agents: Vec<Agent>,
    /// Known from the registry after a change of the master, not back yet.
    #[serde(default)]
    pub recovered_agents: Vec<AgentInfo>,
}

/// What an agent says about itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AgentInfo {
    /// Its host name.
    pub hostname: String,
    /// Its port.
    #[serde(default = "AgentInfo::default_port")]
    pub port: u16,
    /// What it has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<Resource>,
    /// Its attributes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<Attribute>,
    /// Its ID.
    #[serde(with = "id::option", default, skip_serializing_if = "Option::is_none")]
    pub id: Option<AgentId>,
    /// Deprecated, and still written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<bool>,
}

impl AgentInfo {
    fn default_port() -> u16 {
        5051
    }
}

/// An agent as the master sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Agent {
    /// What it says about itself.
    pub agent_info: AgentInfo,
    /// Connected and not deactivated. While an agent restarts it is listed and not active.
    pub active: bool,
    /// Taken out by an operator; since Mesos 1.10.
    #[serde(default)]
    pub deactivated: bool,
    /// The version of Mesos.
    pub version: String,
    /// `slave(1)@ip:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<String>,
    /// When it registered first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registered_time: Option<Nanoseconds>,
    /// When it came back last; a restart is seen by this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reregistered_time: Option<Nanoseconds>,
    /// What it has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub total_resources: Vec<Resource>,
    /// What is in use.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allocated_resources: Vec<Resource>,
    /// What is held in offers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub offered_resources: Vec<Resource>,
    /// What it can do; since Mesos 1.3.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<Capability>,
    /// Being drained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain_info: Option<DrainInfo>,
    /// When draining began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimated_drain_start_time: Option<Nanoseconds>,
}

/// How far draining has come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DrainInfo {
    /// `DRAINING` or `DRAINED`.
    pub state: DrainState,
    /// What was asked for, as given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<serde_json::Value>,
}

open_enum! {
    /// A state of draining.
    DrainState {
        /// Tasks are being killed.
        Draining = "DRAINING",
        /// No task is left.
        Drained = "DRAINED",
    }
}

/// `GET_VERSION`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VersionInfo {
    /// `1.12.0`.
    pub version: String,
}

#[derive(Serialize, Deserialize)]
struct GetVersion<T> {
    version_info: T,
}

#[derive(Deserialize)]
struct Envelope {
    #[serde(rename = "type")]
    kind: CallType,
    #[serde(default)]
    get_agents: Option<GetAgents>,
    #[serde(default)]
    get_version: Option<GetVersion<VersionInfo>>,
}

impl<'de> Deserialize<'de> for Response {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let e = Envelope::deserialize(deserializer)?;
        let response = match e.kind {
            CallType::GetAgents => e.get_agents.map(Self::GetAgents),
            CallType::GetVersion => e.get_version.map(|body| Self::GetVersion(body.version_info)),
            CallType::Unknown(kind) => return Ok(Self::Unknown(kind)),
        };
        response.ok_or_else(|| D::Error::custom("an answer without the body its type asks for"))
    }
}

impl Serialize for Response {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Response", 2)?;
        match self {
            Self::GetAgents(body) => {
                object.serialize_field("type", &CallType::GetAgents)?;
                object.serialize_field("get_agents", body)?;
            }
            Self::GetVersion(version_info) => {
                object.serialize_field("type", &CallType::GetVersion)?;
                object.serialize_field("get_version", &GetVersion { version_info })?;
            }
            Self::Unknown(kind) => object.serialize_field("type", kind)?,
        }
        object.end()
    }
}
