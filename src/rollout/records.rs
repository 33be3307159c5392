//! What the controller keeps in etcd, besides slots, facts and tasks, which belong to the rooms
//! of those names. Every value is JSON with a version.

use std::collections::BTreeMap;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::desired::HostSpec;
use crate::plan::canary::Canaries;
use crate::plan::line::Asked;
use crate::plan::members::Members;
use crate::plan::step::label;
use crate::words::{Component, Generation, HostName, Revision, SpecHash, Time};

/// The version of the records here that this release writes.
pub const RECORDS_VERSION: u32 = 1;

/// How many accepted sets and how many entries of the history are kept.
pub const ACCEPTED_KEPT: u64 = 50;
/// See [`ACCEPTED_KEPT`].
pub const HISTORY_KEPT: usize = 1000;

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
    /// The hosts that go first, where the documents want some to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canaries>,
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

/// What estimates and the order of hosts rest on beside documents and facts, so that every surface
/// plans as the leader does: the value of `rollout/measures`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Measures {
    /// [`RECORDS_VERSION`] of the release that wrote it.
    pub version: u32,
    /// The agent that the leader runs on, which moves last; none if it runs on none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_host: Option<HostName>,
    /// How long hosts held their slots.
    pub holds: Holds,
    /// Why disruptions do not start, by the last answer of `rollout.gates`; none if it was yes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_gate: Option<String>,
    /// The members of our etcd; none before anybody has asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members: Option<Members>,
    /// What the leader cannot see or do for now, each as a sentence.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub limits: BTreeMap<Limit, String>,
}

/// What can keep a leader from seeing or doing all that it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Limit {
    /// The master does not let us list its agents.
    AgentsHidden,
    /// The master gives us one role, which does not reach all hosts.
    OneRole,
    /// Hosts have been silent for so long that their facts are too old to act on. Facts are confirmed without a write,
    /// so that only a leader notices.
    HostsSilent,
    /// Mesos' maintenance schedule cannot be edited, which `rollout.drain` needs.
    ScheduleClosed,
}

impl Measures {
    /// The member of our etcd that a host carries.
    #[must_use]
    pub fn member_on(&self, host: &HostName, ip: Option<IpAddr>) -> Option<&str> {
        let own = self.own_host.as_ref() == Some(host);
        Some(self.members.as_ref()?.on(host, ip, own)?.name.as_str())
    }

    /// What else was asked before starts, as it was answered last.
    #[must_use]
    pub fn asked(&self) -> Asked<'_> {
        Asked {
            closed_gate: self.closed_gate.as_deref(),
            closed_schedule: self.limits.get(&Limit::ScheduleClosed).map(String::as_str),
            members: self.members.as_ref(),
            busy_member: None,
        }
    }
}

impl Default for Measures {
    fn default() -> Self {
        Self {
            version: RECORDS_VERSION,
            own_host: None,
            holds: Holds::default(),
            closed_gate: None,
            members: None,
            limits: BTreeMap::new(),
        }
    }
}

/// How long hosts held their slots lately.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Holds {
    /// So many times.
    pub count: u64,
    /// For so long in all, in milliseconds.
    pub total_ms: u64,
}

/// Holds that the mean is of, about: those of last year say little about today's.
const HOLDS_KEPT: u64 = 50;

impl Holds {
    /// One more. Once there are fifty, it takes the place of an average one.
    pub fn add(&mut self, ms: u64) {
        if self.count >= HOLDS_KEPT {
            self.total_ms -= self.total_ms / self.count;
            self.count -= 1;
        }
        self.count += 1;
        self.total_ms = self.total_ms.saturating_add(ms);
    }

    /// The mean, in seconds, rounded up; none before the first.
    #[must_use]
    pub fn mean_seconds(self) -> Option<u64> {
        Some(self.total_ms.checked_div(self.count)?.div_ceil(1000))
    }
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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

/// Who writes an entry of the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Author {
    /// The leader, which knows of no other writer while it writes.
    Controller,
    /// A person, through the tool.
    Person,
}

/// The number of the next entry of the history, after the newest one that is known. Numbers grow
/// with time, 1024 a millisecond, so that nobody has to ask for one; the controller's are even and
/// those of people odd, so that the two never write the same key.
#[must_use]
pub fn history_number(now: Time, newest: Option<u64>, by: Author) -> u64 {
    let after = newest.map_or(0, |newest| newest.saturating_add(1));
    let number = now.0.saturating_mul(1024).max(after);
    let odd = by == Author::Person;
    if (number % 2 == 1) == odd { number } else { number.saturating_add(1) }
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
    #[derive(Deserialize)]
    struct Versioned {
        #[serde(default)]
        version: u32,
    }
    let bad = |source| BadRecord::Unreadable { path: path.to_owned(), source };
    let Versioned { version } = serde_json::from_str(value).map_err(bad)?;
    if version > NEWEST {
        return Err(BadRecord::Newer { path: path.to_owned(), version });
    }
    serde_json::from_str(value).map_err(bad)
}

/// The newest version of any record that this release reads. What a later one says beside what is known here may
/// matter, so nothing of it is believed.
pub const NEWEST: u32 = 1;

/// A record in etcd that is not what this release writes or can read.
#[derive(Debug, thiserror::Error)]
pub enum BadRecord {
    /// It is not in the form that this release writes.
    #[error(
        "the record `{path}` in etcd cannot be read; nothing is started until it is put right or \
         deleted by hand"
    )]
    Unreadable {
        /// The key, relative to the prefix.
        path: String,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// A later release wrote it.
    #[error(
        "the record `{path}` in etcd is of version {version}, and this release reads up to {NEWEST}: \
         a newer calico-dcos has led here; run that one, this one starts nothing"
    )]
    Newer {
        /// The key, relative to the prefix.
        path: String,
        /// The version of the record.
        version: u32,
    },
}

impl BadRecord {
    /// With what is wrong, in one line.
    #[must_use]
    pub fn sentence(&self) -> String {
        match self {
            Self::Unreadable { source, .. } => format!("{self} ({source})"),
            Self::Newer { .. } => self.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_later_release_wrote_is_not_taken_for_ours() {
        let read = |value: &str| from_json::<BTreeMap<String, u32>>("rollout/state", value);
        assert!(read(r#"{"version":1}"#).is_ok() && read("{}").is_ok());
        let newer = read(r#"{"version":2}"#).unwrap_err().sentence();
        assert!(newer.contains("version 2, and this release reads up to 1"), "{newer}");
        let broken = read("{").unwrap_err().sentence();
        assert!(broken.contains("cannot be read") && broken.contains("line 1"), "{broken}");
        let written = [
            RECORDS_VERSION,
            crate::plan::notice::NOTICE_VERSION,
            crate::plan::control::CONTROL_VERSION,
            crate::observed::fleet::RECORD_VERSION,
            crate::observed::tasks::TASKS_VERSION,
            crate::budget::slot::SLOT_VERSION,
        ];
        assert_eq!(written.into_iter().max(), Some(NEWEST), "this release reads what it writes");
    }

    #[test]
    fn the_mean_is_of_the_last_fifty_or_so() {
        let mut holds = Holds::default();
        assert_eq!(holds.mean_seconds(), None);
        holds.add(4_500);
        assert_eq!(holds.mean_seconds(), Some(5));
        for _ in 0..1_000 {
            holds.add(60_000);
        }
        assert_eq!((holds.count, holds.mean_seconds()), (HOLDS_KEPT, Some(60)));
        for _ in 0..500 {
            holds.add(10_000);
        }
        assert_eq!(holds.mean_seconds(), Some(11));
    }

    #[test]
    fn numbers_of_the_history_grow_and_the_two_authors_never_share_one() {
        use Author::{Controller, Person};
        let (mut newest, mut now) = (None, Time(1_767_225_600_000));
        // The clock is also set back, and the two take turns within a millisecond.
        for (ms, by) in
            [(0, Controller), (0, Controller), (0, Person), (5, Person), (0, Controller)]
        {
            now = Time(now.0 + ms);
            let number = history_number(now, newest, by);
            assert!(newest.is_none_or(|before| number > before), "{number} after {newest:?}");
            assert_eq!(number % 2 == 1, by == Person);
            newest = Some(number);
        }
        assert!(history_number(Time(0), newest, Person) > newest.unwrap());
        assert_eq!(history_number(Time(u64::MAX), None, Person), u64::MAX);
    }
}
