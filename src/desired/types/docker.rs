//! The `docker` section.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Managed, Resources};
use crate::desired::text::{Advertise, ClusterStore, Known};
use crate::words::Component;

/// The cluster store of the Docker daemon, in which networks of all hosts are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Docker {
    /// The store. It needs etcd's v2 API.
    pub cluster_store: ClusterStore,
    /// The daemon's own address. With it, Docker 1.11 to 20.10 takes a first store by reload,
    /// without a restart. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_advertise: Option<Advertise>,
    /// Docker's `cluster-store-opts`, such as `kv.cacertfile`. Default: none.
    pub cluster_store_opts: BTreeMap<String, String>,
}

impl Default for Docker {
    fn default() -> Self {
        Self {
            cluster_store: ClusterStore::known("etcd://127.0.0.1:2379"),
            cluster_advertise: None,
            cluster_store_opts: BTreeMap::new(),
        }
    }
}

/// The keys of `daemon.json` that are about the cluster store.
pub const STORE_KEYS: [&str; 3] = ["cluster-store", "cluster-advertise", "cluster-store-opts"];

impl Docker {
    /// What `daemon.json` is to say of the cluster store, by [`STORE_KEYS`].
    pub fn keys(&self) -> Map<String, Value> {
        let [store, advertise, options] = STORE_KEYS;
        let mut keys = Map::new();
        keys.insert(store.to_owned(), self.cluster_store.as_str().into());
        if let Some(address) = &self.cluster_advertise {
            keys.insert(advertise.to_owned(), address.as_str().into());
        }
        if !self.cluster_store_opts.is_empty() {
            keys.insert(options.to_owned(), json!(self.cluster_store_opts));
        }
        keys
    }
}

impl Managed for Docker {
    const COMPONENT: Component = Component::Docker;
    const REQUIRED: &'static [&'static str] = &[];
    const RESOURCES: Option<Resources> = None;
}
