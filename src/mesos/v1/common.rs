//! Messages that both APIs use (`mesos.proto`).

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::codec::id;
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
    /// What a [`Resource`] or an [`Attribute`] holds.
    ValueType {
        /// A number.
        Scalar = "SCALAR",
        /// Ranges of integers.
        Ranges = "RANGES",
        /// A set of texts.
        Set = "SET",
        /// A text; attributes only.
        Text = "TEXT",
    }
}

open_enum! {
    /// What a framework, a master or an agent can do.
    CapabilityType {
        /// Framework, agent: one framework, several roles.
        MultiRole = "MULTI_ROLE",
        /// Framework: TASK_UNREACHABLE, TASK_DROPPED, TASK_GONE, … instead of TASK_LOST.
        PartitionAware = "PARTITION_AWARE",
        /// Framework: without it no offers at all come from agents that have GPUs.
        GpuResources = "GPU_RESOURCES",
        /// Framework: without it no offers come from agents in other regions.
        RegionAware = "REGION_AWARE",
        /// Framework, agent: reservations as a stack; changes the form of [`Resource`].
        ReservationRefinement = "RESERVATION_REFINEMENT",
        /// Framework: TASK_KILLING is sent.
        TaskKillingState = "TASK_KILLING_STATE",
        /// Agent: roles like `a/b`.
        HierarchicalRole = "HIERARCHICAL_ROLE",
        /// Master, agent: DRAIN_AGENT is there (1.9).
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

/// A number of a [`Resource`] or [`Attribute`]; Mesos counts in thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scalar {
    /// The number.
    pub value: f64,
}

/// Both ends belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// The first.
    pub begin: u64,
    /// The last.
    pub end: u64,
}

/// `{"range": […]}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ranges {
    /// The ranges.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub range: Vec<Range>,
}

/// `{"item": […]}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Set {
    /// The texts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub item: Vec<String>,
}

/// `{"value": "…"}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Text {
    /// The text.
    pub value: String,
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

/// One entry of a resource's stack of reservations; the last is the present owner.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reservation {
    /// `STATIC` or `DYNAMIC`.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// For whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// By whom, labels, and what newer versions add: echoed as given.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// A quantity of something on an agent. In a launch it has to be given back in the form in which
/// it was offered, so fields that this program does not know are kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Resource {
    /// `cpus`, `mem` (MB), `disk` (MB), `ports`, …
    pub name: String,
    /// Which of the following is set.
    #[serde(rename = "type")]
    pub kind: ValueType,
    /// The number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scalar: Option<Scalar>,
    /// The ranges.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ranges: Option<Ranges>,
    /// The set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<Set>,
    /// Without RESERVATION_REFINEMENT: whom it is reserved for, `*` if nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// For which role it is offered or used; MULTI_ROLE frameworks only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allocation_info: Option<AllocationInfo>,
    /// With RESERVATION_REFINEMENT: whom it is reserved for, nobody if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reservations: Vec<Reservation>,
    /// `provider_id`, `reservation`, `disk`, `revocable`, `shared`, and what newer versions add.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

impl Resource {
    /// A number of something, reserved for nobody.
    #[must_use]
    pub fn scalar(name: &str, value: f64) -> Self {
        Self { scalar: Some(Scalar { value }), ..Self::empty(name, ValueType::Scalar) }
    }

    /// Ranges of something, reserved for nobody. Both ends belong to a range.
    #[must_use]
    pub fn ranges(name: &str, ranges: &[(u64, u64)]) -> Self {
        let range = ranges.iter().map(|&(begin, end)| Range { begin, end }).collect();
        Self { ranges: Some(Ranges { range }), ..Self::empty(name, ValueType::Ranges) }
    }

    fn empty(name: &str, kind: ValueType) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            scalar: None,
            ranges: None,
            set: None,
            role: None,
            allocation_info: None,
            reservations: Vec::new(),
            rest: Map::new(),
        }
    }

    /// The number, if it is one.
    #[must_use]
    pub fn amount(&self) -> Option<f64> {
        self.scalar.map(|scalar| scalar.value)
    }

    /// The role that it is reserved for, in either form; `None` if anybody may use it.
    #[must_use]
    pub fn reserved_for(&self) -> Option<&str> {
        match self.reservations.last() {
            Some(owner) => owner.role.as_deref(),
            None => self.role.as_deref().filter(|role| *role != "*"),
        }
    }
}

/// A property of an agent, as its operator gave it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attribute {
    /// Its name.
    pub name: String,
    /// Which of the following is set.
    #[serde(rename = "type")]
    pub kind: ValueType,
    /// The number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scalar: Option<Scalar>,
    /// The ranges.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ranges: Option<Ranges>,
    /// The set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<Set>,
    /// The text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<Text>,
}

impl Attribute {
    /// A text attribute.
    #[must_use]
    pub fn text(name: &str, value: &str) -> Self {
        Self {
            name: name.to_owned(),
            kind: ValueType::Text,
            scalar: None,
            ranges: None,
            set: None,
            text: Some(Text { value: value.to_owned() }),
        }
    }

    /// The value as the agent's `--attributes` flag has it: `r1`, `16`, `[10-20, 30-40]`, `{a, b}`.
    #[must_use]
    pub fn value(&self) -> String {
        if let Some(text) = &self.text {
            return text.value.clone();
        }
        if let Some(scalar) = self.scalar {
            return scalar.value.to_string();
        }
        if let Some(ranges) = &self.ranges {
            let ranges: Vec<_> =
                ranges.range.iter().map(|r| format!("{}-{}", r.begin, r.end)).collect();
            return format!("[{}]", ranges.join(", "));
        }
        self.set.as_ref().map(|set| format!("{{{}}}", set.item.join(", "))).unwrap_or_default()
    }
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
    /// The one role of a framework that is not MULTI_ROLE.
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
    /// The role that it is for; MULTI_ROLE frameworks only.
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
