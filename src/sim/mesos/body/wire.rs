//! What an agent's process on a machine of its own and the model of that agent say to each other:
//! one TCP connection, one JSON value a line, for as long as the process lives.
//!
//! The process begins with [`Hello`], the model answers with [`ToHost::Welcome`] and goes on with
//! orders; the process tells what becomes of containers. The end of the connection is the end of
//! the process: the model says so to the master, and containers live on. Nothing is answered,
//! nothing is repeated: TCP does that.
//!
//! The agent's HTTP API is not spoken here. While the model listens ([`ToHost::Listen`]) the
//! process passes each connection to its own address on to the one that it was told, byte by byte.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::process::Happened;
use crate::mesos::v1::{Attribute, Resource};
use crate::sim::mesos::Start;

/// The version of this protocol; another one is refused.
pub(crate) const VERSION: u32 = 1;

/// The longest line. A launch carries the data of its task, of which the recordings have 5 MB.
pub(crate) const LONGEST: usize = 64 << 20;

/// From the process to the model.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum FromHost {
    /// First of all.
    Hello(Box<Hello>),
    /// A container has started or ended.
    Happened(Happened),
}

/// A process has started.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Hello {
    /// [`VERSION`].
    pub(crate) version: u32,
    /// The host, by which the model knows it again.
    pub(crate) hostname: String,
    /// Its address.
    pub(crate) ip: Ipv4Addr,
    /// The port of the agent.
    pub(crate) port: u16,
    /// Whether the work directory remembers an earlier registration; without, the agent gets a new ID.
    pub(crate) resumes: bool,
    /// The containers of earlier processes that run.
    pub(crate) alive: Vec<String>,
    /// What it has.
    pub(crate) resources: Vec<Resource>,
    /// Its attributes.
    pub(crate) attributes: Vec<Attribute>,
    /// Its flags, by name.
    pub(crate) flags: BTreeMap<String, String>,
    /// `--work_dir`.
    pub(crate) work_dir: String,
    /// `--executor_registration_timeout`, in milliseconds.
    pub(crate) registration_timeout: Option<u64>,
    /// `--executor_reregistration_timeout`, in milliseconds.
    pub(crate) reregistration_timeout: Option<u64>,
    /// `--executor_shutdown_grace_period`, in milliseconds.
    pub(crate) shutdown_grace: Option<u64>,
}

/// From the model to the process.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum ToHost {
    /// It is known; which version of Mesos it is a process of.
    Welcome { mesos: String },
    /// Pass connections to the agent on to that address; none: nobody listens.
    Listen(Option<SocketAddr>),
    /// Start an executor.
    Start(Box<Start>),
    /// End a container.
    Kill { container: String },
}
