//! What should be: the documents, read, checked, resolved for each host, and hashed.
//!
//! [`read()`] takes texts and gives a [`Desired`] or *all* that is wrong with them; a [`Resolver`]
//! takes a host and gives its [`HostSpec`]. Nothing here reads a file, a clock or etcd.

mod check;
mod edit;
mod explain;
mod finding;
mod limit;
mod path;
mod read;
mod resolve;
mod rules;
mod schema;
mod sheet;
mod spec;
#[cfg(test)]
mod tests;
mod text;
mod types;
mod yaml;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

pub use check::did_you_mean;
pub use edit::{EditError, set_path, value_at};
pub use explain::{Allowed, Field, NoField, explain, fields};
pub use finding::{Finding, Findings, render_warnings};
pub use limit::{Limit, Percent};
pub use read::{MAX_BYTES, Source, read, replace};
pub use resolve::{HostIdentity, PoolConflict, Resolver};
pub use schema::schema;
pub use spec::{ComponentSpec, HostRollout, HostSpec, PausedBy, PoolLimit, Spec};
pub use text::{
    AbsolutePath, Advertise, Authority, BadText, ClockTime, ClusterStore, DnsName, EnvName,
    EtcdEndpoint, HttpUrl, Image, Listen, Name, PluginName, Route, Sha256, TimeZoneName,
};
pub use types::{
    CalicoLibnetwork, CalicoNode, Canary, Cluster, ClusterSpec, Cni, CniNetwork, Cpus, Day,
    Declared, Docker, Download, Drain, DrainMode, EnvValue, EtcdProxy, Gate, Managed, MesosAgent,
    NetModules, OneOf, Override, Pace, PermitRate, Plugin, Pool, PoolRollout, PoolSpec,
    PrometheusGate, Promote, ProxyMode, Resources, Rollout, STORE_KEYS, Selector, Start, Tls,
    Upstream, Volume, Window,
};

use crate::words::HostName;

/// What a document is called: its key in etcd, below `desired/`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(into = "String")]
pub enum DocumentName {
    /// The one Cluster: `cluster`.
    Cluster,
    /// A Pool: `pools/NAME`.
    Pool(Name),
}

impl From<DocumentName> for String {
    fn from(name: DocumentName) -> Self {
        name.to_string()
    }
}

impl fmt::Display for DocumentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cluster => f.write_str("cluster"),
            Self::Pool(name) => write!(f, "pools/{name}"),
        }
    }
}

impl std::str::FromStr for DocumentName {
    type Err = BadText;

    fn from_str(text: &str) -> Result<Self, BadText> {
        match text.strip_prefix("pools/") {
            Some(name) => name.parse().map(Self::Pool),
            None if text == "cluster" => Ok(Self::Cluster),
            None => Err(BadText { allowed: "`cluster` or `pools/NAME`" }),
        }
    }
}

/// The desired state: checked documents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desired {
    /// The Cluster.
    pub cluster: Cluster,
    /// The Pools, by name.
    pub pools: Vec<Pool>,
    /// Every document as it was written, comments and all.
    pub documents: BTreeMap<DocumentName, String>,
    /// What is no error, but has no effect or perhaps not the one that was meant.
    pub remarks: Vec<Finding>,
    excluded: BTreeSet<HostName>,
}

impl Desired {
    fn new(
        cluster: Cluster,
        pools: Vec<Pool>,
        documents: BTreeMap<DocumentName, String>,
        remarks: Vec<Finding>,
    ) -> Self {
        let excluded = cluster.spec.rollout.exclude.iter().cloned().collect();
        Self { cluster, pools, documents, remarks, excluded }
    }
}
