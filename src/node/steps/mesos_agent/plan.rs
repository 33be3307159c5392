//! What a way of networking puts on a host: files, and what the agent's variables are to say.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::flags::Ask;
use super::net_modules::Theirs;
use crate::desired::Download;
use crate::node::files::Staging;
use crate::node::host::{Host, HostError};
use crate::node::state::Record;
use crate::words::SpecHash;

/// All of it.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// In the order in which they are written, so that an agent that starts in the middle finds
    /// everything that is named.
    pub parts: Vec<Part>,
    /// What the agent is to run with.
    pub asks: Vec<Ask>,
    /// The modules of others, that stay beside ours.
    pub theirs: Option<Theirs>,
}

/// One file.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub path: String,
    pub content: Content,
    /// Permissions, if it is new.
    pub mode: u32,
    pub staging: Staging,
    pub read: Read,
    /// It is taken away when it is not wanted any more. What others may use by then stays.
    pub goes: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Content {
    Text(String),
    From(Download),
}

/// When the agent takes notice of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read {
    Live,
    AtStart,
}

impl Part {
    /// The SHA-256 that it is to have, without fetching it; none if nobody can say.
    pub(super) fn digest(&self, host: &Host) -> Result<Option<String>, HostError> {
        Ok(match &self.content {
            Content::Text(text) => Some(digest(text.as_bytes())),
            Content::From(Download::Url { sha256, .. }) => Some(sha256.as_str().to_owned()),
            Content::From(Download::Path(path)) => {
                host.digest(path.as_str())?.map(|digest| digest.to_string())
            }
        })
    }

    /// Whether it lies there as it is to be.
    pub(super) fn is_there(&self, host: &Host) -> Result<bool, HostError> {
        let found = host.digest(&self.path)?.map(|digest| digest.to_string());
        Ok(found.is_some() && found == self.digest(host)?)
    }

    /// Its bytes, fetched if need be.
    pub(super) async fn bytes(&self, host: &Host) -> Result<Vec<u8>, HostError> {
        match &self.content {
            Content::Text(text) => Ok(text.clone().into_bytes()),
            Content::From(from) => Ok(host.downloads.bytes(from).await?),
        }
    }
}

/// What the record says beside the target.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Notes {
    pub files: Vec<Written>,
    /// What of the agent's variables is ours.
    pub settings: Vec<Ask>,
    /// The start of the process under which something was written that only another one reads, in
    /// microseconds of the monotonic clock.
    pub restart_from: Option<u64>,
    pub theirs: Option<Theirs>,
    /// What was ours before, until all of it is off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaces: Option<Box<Self>>,
}

/// A file of ours.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Written {
    pub path: String,
    pub digest: String,
    pub goes: bool,
    pub at_start: bool,
}

impl Notes {
    /// All that is ours, also what is about to be taken off.
    pub(super) fn of(record: Option<&Record>) -> Self {
        let notes = record.map(|record| record.notes.clone());
        let mut notes: Self =
            notes.and_then(|notes| serde_json::from_value(notes).ok()).unwrap_or_default();
        let Some(before) = notes.replaces.take() else { return notes };
        let files = before.files.into_iter().filter(|old| notes.written(&old.path).is_none());
        let files: Vec<_> = files.collect();
        notes.files.extend(files);
        for ask in before.settings {
            match notes.settings.iter_mut().find(|own| own.variable == ask.variable) {
                Some(own) => own.add(&ask),
                None => notes.settings.push(ask),
            }
        }
        notes
    }

    pub(super) fn to_value(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }

    pub(super) fn written(&self, path: &str) -> Option<&Written> {
        self.files.iter().find(|written| written.path == path)
    }

    /// Files of ours that a plan has no more.
    pub(super) fn left_over<'a>(
        &'a self,
        parts: &'a [Part],
    ) -> impl Iterator<Item = &'a Written> + 'a {
        let wanted = |path: &str| parts.iter().any(|part| part.path == path);
        self.files.iter().filter(move |written| written.goes && !wanted(&written.path))
    }
}

/// What was there before us.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Before {
    /// The file of the environment.
    pub environment: Option<String>,
    /// The text of each file that is ours now; none: there was none.
    pub files: BTreeMap<String, Option<String>>,
}

impl Before {
    pub(super) fn of(record: Option<&Record>) -> Option<Self> {
        serde_json::from_value(record?.before.clone()).ok()
    }

    pub(super) fn to_value(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}

pub(super) fn digest(bytes: &[u8]) -> String {
    SpecHash::of(bytes).to_string()
}
