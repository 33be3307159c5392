//! What the controller keeps in etcd, besides slots, facts and tasks, which belong to the rooms
//! of those names. Every value is JSON with a version.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::desired::HostSpec;
use crate::plan::step::label;
use crate::words::{Component, Generation, Revision, SpecHash, Time};

/// The version of the records here that this release writes.
pub const RECORDS_VERSION: u32 = 1;

/// How many accepted sets and how many entries of the history are kept.
pub const ACCEPTED_KEPT: u64 = 50;
/// See [`ACCEPTED_KEPT`].
pub const HISTORY_KEPT: u64 = 1000;

/// A set of documents that is, or was, in force: the value of `accepted/GENERATION`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Accepted {
    /// [`RECORDS_VERSION`] of the release that wrote it.
    pub version: u32,
    /// The revision at which the documents were read.
    pub revision: Revision,
    /// When they were accepted.
    pub at: Time,
    /// Their texts, verbatim, by name (`cluster`, `pools/NAME`).
    pub documents: BTreeMap<String, String>,
}

/// What a host is to have, for people who look with plain etcdctl: the value of `rendered/HOST`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rendered {
    /// [`RECORDS_VERSION`] of the release that wrote it.
    pub version: u32,
    /// By component; one that is absent is not managed.
    pub components: BTreeMap<Component, RenderedComponent>,
}

/// What one component is to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RenderedComponent {
    /// The hash of its spec.
    pub hash: SpecHash,
    /// What people call this version; none when it is off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

impl From<&HostSpec> for Rendered {
    fn from(spec: &HostSpec) -> Self {
        let component = |(component, wanted): (&Component, &crate::desired::ComponentSpec)| {
            (*component, RenderedComponent { hash: wanted.hash, version: label(&wanted.spec) })
        };
        Self {
            version: RECORDS_VERSION,
            components: spec.components.iter().map(component).collect(),
        }
    }
}

/// The work for one generation: the value of `rollout/state`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RolloutState {
    /// [`RECORDS_VERSION`] of the release that wrote it.
    pub version: u32,
    /// The generation.
    pub generation: Generation,
    /// How far it is.
    pub stage: Stage,
    /// When it began.
    pub since: Time,
}

/// How far a rollout is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "is")]
pub enum Stage {
    /// Work goes on.
    Running,
    /// Too much failed: nothing starts until somebody edits.
    Halted {
        /// Why, as a sentence.
        why: String,
    },
    /// Every host was in sync, or says why it cannot be.
    Done {
        /// When.
        at: Time,
    },
}

/// The framework ID that Mesos gave: the value of `framework-id`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FrameworkRecord {
    /// [`RECORDS_VERSION`] of the release that wrote it.
    pub version: u32,
    /// The ID.
    pub id: String,
}

/// Something that was done: the value of `history/NUMBER`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HistoryEntry {
    /// [`RECORDS_VERSION`] of the release that wrote it.
    pub version: u32,
    /// When.
    pub at: Time,
    /// Who: the controller's name, or the person at the tool.
    pub who: String,
    /// What, as a sentence.
    pub what: String,
}

/// A record as it is stored.
///
/// # Panics
///
/// Never for the records here: their keys are texts.
#[must_use]
pub fn to_json<T: Serialize>(record: &T) -> String {
    #[expect(
        clippy::expect_used,
        reason = "our records have text keys and cannot fail to serialise"
    )]
    serde_json::to_string(record).expect("records serialise")
}

/// Reads a stored record.
///
/// # Errors
///
/// The sentence says which key it was and what to do; the record is left as it is.
pub fn from_json<T: DeserializeOwned>(path: &str, value: &str) -> Result<T, BadRecord> {
    serde_json::from_str(value).map_err(|source| BadRecord { path: path.to_owned(), source })
}

/// A record in etcd that is not what this release writes or can read.
#[derive(Debug, thiserror::Error)]
#[error(
    "the record `{path}` in etcd cannot be read; nothing is started until it is put right or \
     deleted by hand"
)]
pub struct BadRecord {
    /// The key, relative to the prefix.
    pub path: String,
    /// What is wrong with it.
    #[source]
    pub source: serde_json::Error,
}
