//! Who did what and when, as far as it is kept.

use schemars::JsonSchema;
use serde::Serialize;

use super::plan::ApiVersion;
use crate::rollout::records::HistoryEntry;
use crate::words::Revision;

/// The newest entries of the history.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HistoryReport {
    api_version: ApiVersion,
    kind: HistoryKind,
    /// The etcd revision that it was read at.
    revision: Revision,
    /// The oldest first.
    pub(crate) entries: Vec<HistoryEntry>,
}

#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
enum HistoryKind {
    History,
}

impl HistoryReport {
    /// So many of the newest of these.
    pub(crate) fn new(
        revision: Revision,
        entries: impl DoubleEndedIterator<Item = HistoryEntry>,
        last: usize,
    ) -> Self {
        let mut entries: Vec<HistoryEntry> = entries.rev().take(last).collect();
        entries.reverse();
        Self { api_version: ApiVersion::V1, kind: HistoryKind::History, revision, entries }
    }
}
