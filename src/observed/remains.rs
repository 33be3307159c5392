//! What the predecessor has left on a host: the Python framework of the same name (0.1 to 0.4,
//! 2016), which takes nothing off again. `doctor` tells of it; `plan` does not look at it.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What was found of it. Only on a host with the notes of its installer. The cluster store that it
/// has set is in [`super::facts::DockerFacts::foreign`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Remains {
    /// Its files that are there, by path.
    #[serde(default)]
    pub files: BTreeSet<String>,
    /// The CNI network that it has written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<OldNetwork>,
    /// Its net-modules are among the agent's settings.
    #[serde(default)]
    pub net_modules: bool,
    /// The calico/node container, if it is not ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<OldNode>,
}

impl Remains {
    /// Something of it is at work still, and not only files lie about.
    #[must_use]
    pub fn are_in_use(&self) -> bool {
        self.network.is_some() || self.net_modules || self.node.is_some()
    }
}

/// A CNI network of its making.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OldNetwork {
    /// The file.
    pub path: String,
    /// What is in it.
    pub document: Map<String, Value>,
}

/// A calico/node container of its making.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OldNode {
    /// The image, as the container was started with it.
    pub image: String,
    /// Those variables that it sets; of `IP` the name alone, as each host has its own.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// It has Docker's socket, as from 0.4 on.
    #[serde(default)]
    pub docker_socket: bool,
}
