//! Messages that both APIs use (`mesos.proto`).

use std::fmt;

use serde::{Deserialize, Serialize};

use super::codec::id;
use super::resource::{Attribute, Resource};
use crate::words::AgentId;

wire_id! {
    /// Given by the master at the first SUBSCRIBE; kept in etcd from then on.
    FrameworkId
}
wire_id! {
    /// One offer; an inverse offer too.
    OfferId
}
wire_id! {
    /// Chosen by the framework, unique per agent.
    ExecutorId
}

open_enum! {
    /// What a framework, a master or an agent can do.
    CapabilityType {
        /// Framework, agent: one framework, several roles.
        MultiRole = "MULTI_ROLE",
        /// Framework: `TASK_UNREACHABLE`, `TASK_DROPPED`, `TASK_GONE`, … instead of `TASK_LOST`.
        PartitionAware = "PARTITION_AWARE",
        /// Framework: without it no offers at all come from agents that have GPUs.
        GpuResources = "GPU_RESOURCES",
        /// Framework: without it no offers come from agents in other regions.
        RegionAware = "REGION_AWARE",
        /// Framework, agent: reservations as a stack; changes the form of [`Resource`].
        ReservationRefinement = "RESERVATION_REFINEMENT",
        /// Framework: `TASK_KILLING` is sent.
        TaskKillingState = "TASK_KILLING_STATE",
        /// Agent: roles like `a/b`.
        HierarchicalRole = "HIERARCHICAL_ROLE",
        /// Master, agent: `DRAIN_AGENT` is there (1.9).
        AgentDraining = "AGENT_DRAINING",
        /// Master: agents may change their configuration.
        AgentUpdate = "AGENT_UPDATE",
        /// Master: quota of the second kind.
        QuotaV2 = "QUOTA_V2",
    }
}

/// `{"type": "MULTI_ROLE"}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capability {
    /// Which one.
    #[serde(rename = "type")]
    pub kind: CapabilityType,
}

impl From<CapabilityType> for Capability {
    fn from(kind: CapabilityType) -> Self {
        Self { kind }
    }
}

/// A duration, or a time since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Nanoseconds {
    /// Nanoseconds.
    pub nanoseconds: i64,
}

impl Nanoseconds {
    /// From whole seconds.
    #[must_use]
    pub fn from_secs(seconds: i64) -> Self {
        Self { nanoseconds: seconds.saturating_mul(1_000_000_000) }
    }
}

/// A label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// Its name.
    pub key: String,
    /// Its value, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// `{"labels": […]}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Labels {
    /// The labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<Label>,
}

/// The role that an offer or a resource is allocated to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllocationInfo {
    /// The role; absent in a form that only very old masters write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
}

/// Where something listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// Its host name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Its IP address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// Its port.
    pub port: u16,
}

/// `{"scheme": "http", "address": {…}, "path": "/slave(1)"}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Url {
    /// `http` or `https`.
    pub scheme: String,
    /// Host and port.
    pub address: Address,
    /// The path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Address { hostname, ip, port } = &self.address;
        let host = hostname.as_deref().or(ip.as_deref()).unwrap_or_default();
        write!(f, "{}://{host}:{port}{}", self.scheme, self.path.as_deref().unwrap_or_default())
    }
}

/// When a machine will be away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unavailability {
    /// From when, since the Unix epoch.
    pub start: Nanoseconds,
    /// How long; for good if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<Nanoseconds>,
}

/// The master that answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MasterInfo {
    /// Drawn at its start: another one means that the master has changed.
    pub id: String,
    /// IPv4 in network order, read as a little-endian number.
    pub ip: u32,
    /// Its port.
    #[serde(default = "MasterInfo::default_port")]
    pub port: u16,
    /// `master@ip:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<String>,
    /// Its host name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// The version of Mesos.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Host name, IP and port again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Address>,
    /// What it can do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<Capability>,
}

impl MasterInfo {
    fn default_port() -> u16 {
        5050
    }
}

/// Who we are. `principal` and `checkpoint` can never be changed for one framework ID.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FrameworkInfo {
    /// The Unix user that tasks run as.
    pub user: String,
    /// The name for people.
    pub name: String,
    /// Absent at the first SUBSCRIBE only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<FrameworkId>,
    /// Seconds after a disconnect in which our tasks are kept.
    #[serde(default)]
    pub failover_timeout: f64,
    /// Tasks survive a restart of the agent.
    #[serde(default)]
    pub checkpoint: bool,
    /// The one role of a framework that is not `MULTI_ROLE`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// The roles of one that is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    /// Where the scheduler runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Whom it authenticates as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
    /// Linked from the master's page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webui_url: Option<String>,
    /// What it can do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<Capability>,
    /// Labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<Labels>,
}

impl FrameworkInfo {
    /// Whether the capability is declared.
    #[must_use]
    pub fn has(&self, capability: &CapabilityType) -> bool {
        self.capabilities.iter().any(|c| c.kind == *capability)
    }
}

/// Resources of one agent, for one role, until answered or rescinded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Offer {
    /// Which offer.
    pub id: OfferId,
    /// To whom.
    pub framework_id: FrameworkId,
    /// Of which agent.
    #[serde(with = "id")]
    pub agent_id: AgentId,
    /// The agent's host name.
    pub hostname: String,
    /// Where the agent listens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<Url>,
    /// What is offered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<Resource>,
    /// The agent's attributes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<Attribute>,
    /// Our executors that run there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub executor_ids: Vec<ExecutorId>,
    /// Planned maintenance of the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unavailability: Option<Unavailability>,
    /// The role that it is for; `MULTI_ROLE` frameworks only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allocation_info: Option<AllocationInfo>,
}

/// The wish to have resources back, before maintenance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InverseOffer {
    /// Which inverse offer.
    pub id: OfferId,
    /// Where the agent listens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<Url>,
    /// To whom.
    pub framework_id: FrameworkId,
    /// Of which agent.
    #[serde(with = "id::option", default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<AgentId>,
    /// When it will be away.
    pub unavailability: Unavailability,
    /// What is wanted back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<Resource>,
}
