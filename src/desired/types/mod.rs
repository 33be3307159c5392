//! The documents as types: what can be declared, with every default.
//!
//! A component's section is kept as it was written ([`Declared`]), because a pool is laid over
//! the Cluster's *before* defaults are filled in; the result is read as a [`Managed`] type.

mod calico;
mod docker;
mod download;
mod etcd_proxy;
mod mesos_agent;
mod pool;
mod resources;
mod rollout;
mod section;

pub use calico::{CalicoLibnetwork, CalicoNode, EnvValue, Volume};
pub use docker::{Docker, STORE_KEYS};
pub use download::Download;
pub use etcd_proxy::{EtcdProxy, ProxyMode, Tls, Upstream};
pub use mesos_agent::{Cni, CniNetwork, MesosAgent, NetModules, Plugin};
pub use pool::{Cluster, ClusterSpec, OneOf, Pool, PoolRollout, PoolSpec, Selector};
pub use resources::{Cpus, Resources};
pub use rollout::{
    Canary, Day, Drain, DrainMode, Gate, Pace, PermitRate, PrometheusGate, Promote, Rollout, Start,
    Window,
};
pub use section::{Declared, Managed, Override};
