//! What one host is to have: the documents, resolved, and their hashes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::limit::Limit;
use super::types::{
    CalicoLibnetwork, CalicoNode, Docker, EtcdProxy, Managed, MesosAgent, Resources, Window,
};
use crate::words::{Component, SpecHash};

/// What one component of one host is to be. It travels to the host in the job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Spec {
    /// Taken off, and what was there before restored.
    Off,
    /// A proxy to the etcd cluster.
    EtcdProxy(EtcdProxy),
    /// Docker's cluster store.
    Docker(Docker),
    /// CNI or net-modules in the agent.
    MesosAgent(MesosAgent),
    /// The calico/node container.
    CalicoNode(CalicoNode),
    /// The calico/node-libnetwork container.
    CalicoLibnetwork(CalicoLibnetwork),
}

impl Spec {
    /// The SHA-256 of the canonical JSON (RFC 8785) of component and spec, all defaults written
    /// out. Comments, key order and spelled-out defaults change nothing, and a component that is
    /// off has one hash whatever else its section says.
    ///
    /// Our own version must not change it either: the defaults of `calico-dcos/v1` stay, and a
    /// field that a later release adds is left out of the JSON at its default
    /// (`skip_serializing_if`). A test pins a hash of each component.
    pub fn hash(&self, component: Component) -> Result<SpecHash, serde_json::Error> {
        let canonical = serde_jcs::to_vec(&json!({"component": component, "spec": self}))?;
        Ok(SpecHash::of(&canonical))
    }
}

/// What one component of one host is to be, with its hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentSpec {
    /// The hash of `spec`, see [`Spec::hash`].
    pub hash: SpecHash,
    /// What it is to be.
    pub spec: Spec,
    /// What its supervising task holds; none if it has no such task or is off. Not in the hash:
    /// other resources mean another task, not another component.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
}

/// What one host is to have. Hosts that match the same pools share one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostSpec {
    /// The components that are declared; one that is absent is not managed: not touched.
    pub components: BTreeMap<Component, ComponentSpec>,
    /// The pools that the host is in, by name.
    pub pools: Vec<String>,
    /// How changes reach the host.
    pub rollout: HostRollout,
}

/// How changes reach one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostRollout {
    /// Who says that nothing new starts.
    pub paused_by: Option<PausedBy>,
    /// By which attributes it is ordered.
    pub order: Vec<String>,
    /// When disruptive work may start; empty: at any time.
    pub windows: Vec<Window>,
    /// A limit of its pool, beside the Cluster's.
    pub pool_limit: Option<PoolLimit>,
}

/// Who says that nothing new starts on a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PausedBy {
    /// The Cluster.
    Cluster,
    /// The pool of this name.
    Pool(String),
}

/// A pool's own limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolLimit {
    /// The pool whose hosts are counted.
    pub pool: String,
    /// How many of them may be disrupted at a time.
    pub limit: Limit,
}

/// Fills in the defaults of a section as written and reads it as `component`'s type.
pub(super) fn complete(
    component: Component,
    written: &Map<String, Value>,
) -> Result<ComponentSpec, serde_json::Error> {
    match component {
        Component::EtcdProxy => read(written, Spec::EtcdProxy),
        Component::Docker => read(written, Spec::Docker),
        Component::MesosAgent => read(written, Spec::MesosAgent),
        Component::CalicoNode => read(written, Spec::CalicoNode),
        Component::CalicoLibnetwork => read(written, Spec::CalicoLibnetwork),
    }
}

fn read<T: Managed>(
    written: &Map<String, Value>,
    into: fn(T) -> Spec,
) -> Result<ComponentSpec, serde_json::Error> {
    let mut fields = written.clone();
    let enabled: bool = fields.remove("enabled").map_or(Ok(true), serde_json::from_value)?;
    if !enabled {
        return Ok(ComponentSpec {
            hash: Spec::Off.hash(T::COMPONENT)?,
            spec: Spec::Off,
            resources: None,
        });
    }
    let resources = match T::RESOURCES {
        Some(default) => Some(resources(default, fields.remove("resources"))?),
        None => None,
    };
    let spec = into(serde_json::from_value(fields.into())?);
    Ok(ComponentSpec { hash: spec.hash(T::COMPONENT)?, spec, resources })
}

/// `{cpus: 1}` changes the processors only.
fn resources(default: Resources, written: Option<Value>) -> Result<Resources, serde_json::Error> {
    let mut all = serde_json::to_value(default)?;
    if let (Some(Value::Object(written)), Value::Object(all)) = (written, &mut all) {
        all.extend(written);
    }
    serde_json::from_value(all)
}
