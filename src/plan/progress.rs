//! What became of what was tried on one host, in one generation of what is declared.

use crate::words::{Attempt, Generation, Time};

/// What became of a host's attempts: kept in etcd beside the slot, so that a new leader goes on
/// with it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostProgress {
    /// Version of the record.
    pub version: u32,
    /// The generation that it is about; another one starts afresh.
    pub generation: Generation,
    /// The newest attempt that is counted in here.
    pub attempt: Attempt,
    /// Attempts that failed.
    pub failures: u32,
    /// No more attempts.
    pub failed: bool,
    /// The next attempt is not before this.
    pub retry_at: Time,
    /// What failed last.
    pub why: String,
    /// The precondition that the host found not to hold; it has changed nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// How often it has.
    #[serde(default)]
    pub refusals: u32,
    /// The host found that it has to stop something where the plan thought it need not.
    #[serde(default)]
    pub needs_slot: bool,
    /// What Mesos offers too little of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lacking: Option<String>,
    /// Why Mesos has not offered the host for a while, though it is wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unoffered: Option<String>,
    /// Tasks are launched on it and do not start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unlaunched: Option<Unlaunched>,
}

/// Launches in a row that came to nothing: the executor cannot be fetched, is not the one that it should
/// be, or ends at once. No attempt, as the host has not begun with anything.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Unlaunched {
    /// How many.
    pub times: u32,
    /// What Mesos says of the last one, as a sentence.
    pub why: String,
    /// The next one is not before this.
    pub again_at: Time,
}

impl HostProgress {
    /// A clean sheet.
    #[must_use]
    pub fn new(generation: Generation, now: Time) -> Self {
        Self {
            version: 1,
            generation,
            attempt: Attempt(0),
            failures: 0,
            failed: false,
            retry_at: now,
            why: String::new(),
            refused: None,
            refusals: 0,
            needs_slot: false,
            lacking: None,
            unoffered: None,
            unlaunched: None,
        }
    }
}
