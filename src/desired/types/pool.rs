//! The two kinds of document.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    CalicoLibnetwork, CalicoNode, Declared, Docker, EtcdProxy, MesosAgent, Override, Rollout,
    Window,
};
use crate::desired::limit::Limit;
use crate::desired::resolve::HostIdentity;
use crate::desired::text::Name;
use crate::words::{Component, HostName};

/// What all hosts are to have, and how changes move through them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Cluster {
    /// The version of the form of this document.
    pub api_version: ApiVersion,
    /// `Cluster`.
    pub kind: ClusterKind,
    /// Its name.
    pub metadata: Metadata,
    /// What is declared.
    #[serde(default)]
    pub spec: ClusterSpec,
}

/// What all hosts are to have. A component whose section is absent is not managed: not touched.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ClusterSpec {
    /// How a change moves through the cluster.
    pub rollout: Rollout,
    /// A proxy to the etcd cluster on each host.
    pub etcd_proxy: Option<Declared<EtcdProxy>>,
    /// The cluster store of the Docker daemon.
    pub docker: Option<Declared<Docker>>,
    /// CNI or net-modules in the Mesos agent.
    pub mesos_agent: Option<Declared<MesosAgent>>,
    /// The calico/node container.
    pub calico_node: Option<Declared<CalicoNode>>,
    /// The calico/node-libnetwork container of old Calico.
    pub calico_libnetwork: Option<Declared<CalicoLibnetwork>>,
}

/// What some hosts are to have differently.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pool {
    /// The version of the form of this document.
    pub api_version: ApiVersion,
    /// `Pool`.
    pub kind: PoolKind,
    /// Its name.
    pub metadata: Metadata,
    /// What is declared.
    pub spec: PoolSpec,
}

/// Which hosts, and what is different on them: each field given here replaces the Cluster's,
/// all others stay. Two pools must not set one field of one host.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PoolSpec {
    /// Which hosts.
    pub selector: Selector,
    /// What differs in the rollout.
    #[serde(default)]
    pub rollout: PoolRollout,
    /// What differs in the etcd proxy.
    #[serde(default)]
    pub etcd_proxy: Option<Override<EtcdProxy>>,
    /// What differs in Docker's cluster store.
    #[serde(default)]
    pub docker: Option<Override<Docker>>,
    /// What differs in the Mesos agent.
    #[serde(default)]
    pub mesos_agent: Option<Override<MesosAgent>>,
    /// What differs in calico/node.
    #[serde(default)]
    pub calico_node: Option<Override<CalicoNode>>,
    /// What differs in calico/node-libnetwork.
    #[serde(default)]
    pub calico_libnetwork: Option<Override<CalicoLibnetwork>>,
}

macro_rules! sections {
    ($spec:ty) => {
        impl $spec {
            /// The section of a component as written, if there is one.
            pub fn section(&self, component: Component) -> Option<&Map<String, Value>> {
                match component {
                    Component::EtcdProxy => self.etcd_proxy.as_ref().map(|s| s.written()),
                    Component::Docker => self.docker.as_ref().map(|s| s.written()),
                    Component::MesosAgent => self.mesos_agent.as_ref().map(|s| s.written()),
                    Component::CalicoNode => self.calico_node.as_ref().map(|s| s.written()),
                    Component::CalicoLibnetwork => {
                        self.calico_libnetwork.as_ref().map(|s| s.written())
                    }
                }
            }
        }
    };
}

sections!(ClusterSpec);
sections!(PoolSpec);

/// The version of the form of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ApiVersion {
    /// The first.
    #[serde(rename = "calico-dcos/v1")]
    V1,
}

/// The kind of a Cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ClusterKind {
    /// What all hosts are to have.
    Cluster,
}

/// The kind of a Pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PoolKind {
    /// What some hosts are to have differently.
    Pool,
}

/// What a document is called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Metadata {
    /// The name; among pools each has its own.
    pub name: Name,
}

/// Which hosts a pool has: those that match all of what is given, each by one of its values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(extend("minProperties" = 1))]
pub struct Selector {
    /// Attributes of the agent, each with the value or values that match: `{rack: [r1, r2]}`.
    pub attributes: BTreeMap<String, OneOf>,
    /// Roles that the agent has resources reserved for; `*` is every agent's.
    #[schemars(inner(length(min = 1)), length(min = 1))]
    pub roles: BTreeSet<String>,
    /// Names of hosts.
    #[schemars(length(min = 1))]
    pub names: BTreeSet<HostName>,
}

impl Selector {
    /// Whether the host is one of the pool's. A selector that says nothing selects nothing.
    pub fn matches(&self, host: &HostIdentity) -> bool {
        let says = !(self.attributes.is_empty() && self.roles.is_empty() && self.names.is_empty());
        says && (self.names.is_empty() || self.names.contains(&host.name))
            && (self.roles.is_empty() || self.roles.iter().any(|role| host.roles.contains(role)))
            && self.attributes.iter().all(|(name, values)| {
                host.attributes.get(name).is_some_and(|value| values.0.contains(value))
            })
    }
}

/// The values of an attribute that match: a text, or a list of them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Value")]
pub struct OneOf(pub BTreeSet<String>);

impl TryFrom<Value> for OneOf {
    type Error = serde_json::Error;

    fn try_from(value: Value) -> Result<Self, serde_json::Error> {
        match value {
            Value::String(one) => Ok(Self(BTreeSet::from([one]))),
            many => serde_json::from_value(many).map(Self),
        }
    }
}

impl JsonSchema for OneOf {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "OneOf".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "a text, or a list of texts",
            "oneOf": [
                {"type": "string"},
                {"type": "array", "items": {"type": "string"}, "minItems": 1},
            ],
        })
    }
}

/// What of the rollout may differ for the hosts of a pool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PoolRollout {
    /// Whether nothing new starts in this pool. false does not lift the Cluster's pause.
    pub paused: Option<bool>,
    /// When disruptive work may start, instead of the Cluster's windows.
    pub windows: Option<Vec<Window>>,
    /// By which attributes the hosts of this pool are ordered, instead of the Cluster's.
    pub order: Option<Vec<String>>,
    /// How many hosts of this pool may be disrupted at a time, within the Cluster's limit.
    pub max_concurrent_restarts: Option<Limit>,
}
