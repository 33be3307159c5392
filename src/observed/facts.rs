//! What a host says of itself: facts as found on the machine, not as remembered.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::remains::Remains;
use crate::words::{Attempt, Component, Run, SpecHash};

/// The version of [`Facts`] that this release writes.
pub const FACTS_VERSION: u32 = 1;

/// The oldest version that this release reads: that of the release before, or the first there was.
const FACTS_VERSION_READ: u32 = 1;

/// One report of a host's observer. A few KiB at most.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Facts {
    /// [`FACTS_VERSION`] of the release that wrote it.
    pub version: u32,
    /// Which of two reports is the newer one.
    pub order: FactOrder,
    /// `/etc/machine-id`: another one under the same name is another machine.
    pub machine_id: String,
    /// Operating system and processor.
    pub system: System,
    /// The Docker daemon; none if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub docker: Option<DockerFacts>,
    /// The version of the Mesos agent.
    pub mesos_version: String,
    /// What was found of each component. A component that is not named here was not found.
    #[serde(default)]
    pub components: BTreeMap<Component, ComponentFacts>,
    /// The newest attempt that the host's journal knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub journal: Option<JournalFacts>,
    /// Why the open attempt of the journal does not get on; none while it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stuck: Option<String>,
    /// Containers that a restart of the Mesos agent could cost, under the Docker containerizer.
    #[serde(default)]
    pub agent_containers: u32,
    /// Components that cannot be changed on this host, each with the reason as a sentence.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub blocked: BTreeMap<Component, String>,
    /// What the predecessor has left there; none where its installer never was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predecessor: Option<Remains>,
}

impl Facts {
    /// Whether this release knows what they say: they are of it or of the one before.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        (FACTS_VERSION_READ..=FACTS_VERSION).contains(&self.version)
    }
}

/// Orders the facts of one host. An older report never replaces a newer one.
///
/// Boot IDs are random, so between two boots there is no order: a report of another boot is
/// newer, unless it is of a boot that was replaced before (the fleet remembers the one before).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FactOrder {
    /// The kernel's boot ID.
    pub boot_id: String,
    /// How many executors have started on the host before this one; kept on disk. It decides between
    /// two of the same moment.
    pub starts: u64,
    /// Milliseconds of the host's steady clock, and more than those of the report before.
    pub sequence: u64,
}

/// Operating system and processor of a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct System {
    /// `PRETTY_NAME` of os-release.
    pub os: String,
    /// `uname -m`, for example `x86_64`.
    pub architecture: String,
    /// How control groups are mounted; on a hybrid host an agent restart kills executors.
    pub cgroups: Cgroups,
}

/// How control groups are mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Cgroups {
    /// Version 1 only.
    V1,
    /// Version 1 controllers, and version 2 at `unified`.
    Hybrid,
    /// Version 2 only.
    V2,
}

/// The Docker daemon of a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DockerFacts {
    /// For example `20.10.24`.
    pub version: String,
    /// The host is a member of a swarm.
    #[serde(default)]
    pub swarm: bool,
    /// The cluster store in force, whoever set it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_store: Option<String>,
    /// Running containers, which a restart of the daemon stops.
    #[serde(default)]
    pub containers: u32,
    /// What `daemon.json` says of the cluster store by the hand of somebody else. It is left alone;
    /// if it is what is declared, and in force, it is ours from then on.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub foreign: Map<String, Value>,
}

/// What was found of one component.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ComponentFacts {
    /// The hash of the spec that is in force; none if what is there is not of our making. A
    /// configuration written after its service started is not in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<SpecHash>,
    /// The version that runs, as it calls itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What the component itself answered when it was asked.
    pub health: Health,
    /// Something runs that a change of this component would stop.
    #[serde(default)]
    pub running: bool,
    /// The host remembers having put it in force, whatever is left of it: there is something to take
    /// off. Versions before said nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub recorded: bool,
}

/// What a component answered when it was asked. Silence is never health.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", tag = "is")]
pub enum Health {
    /// It answered, and the answer was good.
    Healthy,
    /// It answered that it is not well, or should answer and does not.
    Unhealthy {
        /// What it said, as a sentence.
        why: String,
    },
    /// It has not been asked yet.
    Unknown,
}

/// The host's journal, as far as the controller has to know it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JournalFacts {
    /// The newest attempt that was admitted on this host.
    pub attempt: Attempt,
    /// The executor process that was admitted.
    pub run: Run,
    /// How far it has come.
    pub state: JournalState,
}

/// How an attempt ended, or that it has not.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", tag = "is")]
pub enum JournalState {
    /// Begun, and not ended: whoever finds it carries it on.
    Open,
    /// All it was to change is in force, and was healthy for the whole stability time.
    Done,
    /// It failed; what was there before was put back.
    Undone {
        /// What failed, as a sentence.
        why: String,
    },
}
