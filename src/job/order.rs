//! What the controller tells a host to do, and what the two say to each other: the wire between
//! `rollout` and the host. Everything carries a version; release N reads N−1.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::desired::ComponentSpec;
use crate::observed::facts::{FactOrder, Facts, JournalFacts, JournalState};
use crate::words::{Attempt, Component, Generation, HostName, Run, TaskKind};

/// The version of [`Job`], [`FromHost`] and [`ToHost`] that this release writes.
pub const WIRE_VERSION: u32 = 1;

/// What one task is to do: `TaskInfo.data` as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    /// [`WIRE_VERSION`] of the controller.
    pub version: u32,
    /// The host it is meant for; any other host refuses it.
    pub host: HostName,
    /// The generation of desired state that it belongs to.
    pub generation: Generation,
    /// What to do.
    pub work: Work,
}

/// What a task does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "is")]
#[expect(clippy::large_enum_variant, reason = "made for one launch and taken apart on arrival")]
pub enum Work {
    /// Report facts on start and whenever they change.
    Observe {
        /// Seconds between two confirmations that the facts still hold.
        confirm_seconds: u32,
    },
    /// Change the host, and end.
    Change(Change),
    /// Hold the component's resources and supervise it; change the host first if that is due.
    Supervise {
        /// The component.
        component: Component,
        /// What it should be. What runs like this already is adopted.
        target: ComponentSpec,
        /// The change that this task carries, if it carries one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        change: Option<Change>,
    },
}

impl Work {
    /// The change that the task carries, if it carries one.
    #[must_use]
    pub fn change(&self) -> Option<&Change> {
        match self {
            Self::Observe { .. } => None,
            Self::Change(change) => Some(change),
            Self::Supervise { change, .. } => change.as_ref(),
        }
    }

    /// The kind of task that does it; none if the component has no supervising task.
    #[must_use]
    pub fn kind(&self) -> Option<TaskKind> {
        match self {
            Self::Observe { .. } => Some(TaskKind::Observer),
            Self::Change(_) => Some(TaskKind::Change),
            Self::Supervise { component, .. } => component.supervisor(),
        }
    }
}

/// All that is to be changed on a host, as one attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// The attempt. One that is not newer than the journal's is answered from the journal.
    pub attempt: Attempt,
    /// Whether the host may stop something that runs. It then asks for admission first; without
    /// it, a host that finds it would have to, changes nothing and says `needs-slot`.
    pub may_disrupt: bool,
    /// Healthy for so long before the journal is closed, on the host's monotonic clock.
    pub stability_seconds: u32,
    /// The steps in the order in which they are taken.
    pub steps: Vec<StepOrder>,
}

/// One component to change, and into what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepOrder {
    /// The component.
    pub component: Component,
    /// What it is to become; [`crate::desired::Spec::Off`] takes it off.
    pub target: ComponentSpec,
}

/// What a host sends: as executor MESSAGE, and as `TaskStatus.data`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "is")]
pub enum FromHost {
    /// May I disrupt? Repeated until answered.
    Ask {
        /// [`WIRE_VERSION`] of the host.
        version: u32,
        /// The host that asks.
        host: HostName,
        /// For which attempt.
        attempt: Attempt,
        /// The process that asks.
        run: Run,
    },
    /// The facts are still those of `order`. Not stored.
    Confirm {
        /// [`WIRE_VERSION`] of the host.
        version: u32,
        /// The host that confirms.
        host: HostName,
        /// The facts that it confirms.
        order: FactOrder,
    },
    /// The facts, in the data of an observer's status update.
    Facts {
        /// What was found.
        facts: Box<Facts>,
    },
    /// How a change ended, in the data of a status update of the task that carried it.
    Ended {
        /// [`WIRE_VERSION`] of the host.
        version: u32,
        /// The attempt that the task carried.
        attempt: Attempt,
        /// How it ended.
        ending: Ending,
        /// The facts right afterwards.
        facts: Box<Facts>,
    },
    /// Nothing of ours is left on the host: in the data of an observer's last status update.
    Left {
        /// [`WIRE_VERSION`] of the host.
        version: u32,
        /// The host.
        host: HostName,
    },
    /// The host cannot be looked at, so that there are no facts. Repeated until there are.
    Blind {
        /// [`WIRE_VERSION`] of the host.
        version: u32,
        /// The host.
        host: HostName,
        /// Why, as a sentence.
        why: String,
    },
    /// What is ours cannot be removed: the answer to [`ToHost::Leave`], which is repeated.
    Stays {
        /// [`WIRE_VERSION`] of the host.
        version: u32,
        /// The host.
        host: HostName,
        /// Why, as a sentence.
        why: String,
    },
}

/// How a change ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "is")]
pub enum Ending {
    /// From the journal: done, or undone with the reason.
    Journal {
        /// The closed journal. It may be of a newer attempt than the one asked for.
        journal: JournalFacts,
    },
    /// The answer did not come within a minute, or was no. Nothing was changed.
    NotAdmitted,
    /// It would have had to stop something, and may not. Nothing was changed.
    NeedsSlot {
        /// What would have to stop.
        component: Component,
    },
    /// A precondition does not hold, or the job cannot be read. Nothing was changed.
    Refused {
        /// Which one, as a sentence.
        why: String,
    },
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Journal { journal: JournalFacts { attempt, state, .. } } => match state {
                JournalState::Open => write!(f, "attempt {attempt} is at work"),
                JournalState::Done => write!(f, "attempt {attempt} is done"),
                JournalState::Undone { why } => write!(f, "attempt {attempt} was undone: {why}"),
            },
            Self::NotAdmitted => f.write_str("not admitted; nothing was changed"),
            Self::NeedsSlot { component } => write!(
                f,
                "{component} would have to be stopped, which this change may not; nothing was changed"
            ),
            Self::Refused { why } => write!(f, "refused: {why}; nothing was changed"),
        }
    }
}

/// What the controller sends to a host's executor as scheduler MESSAGE.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "is")]
pub enum ToHost {
    /// Yes: the slot is held by this run. Nothing else is ever a yes.
    Admitted {
        /// [`WIRE_VERSION`] of the controller.
        version: u32,
        /// The attempt that was asked for.
        attempt: Attempt,
        /// The run that asked.
        run: Run,
    },
    /// No, and repeating the question will not help: the attempt holds no slot.
    Denied {
        /// [`WIRE_VERSION`] of the controller.
        version: u32,
        /// The attempt that was asked for.
        attempt: Attempt,
        /// The run that asked.
        run: Run,
    },
    /// All components are taken off: what is remembered of us goes too, and the process ends. Repeated
    /// until the host answers with [`FromHost::Left`].
    Leave {
        /// [`WIRE_VERSION`] of the controller.
        version: u32,
        /// The host it is meant for; any other host passes it over.
        host: HostName,
    },
}

/// What arrived and cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// It is not what any release sends.
    #[error("it is not a message of this framework")]
    Malformed(#[source] serde_json::Error),
    /// Another release sent it.
    #[error(
        "it is of version {found}, this release reads up to {WIRE_VERSION}; upgrade what is older"
    )]
    OtherVersion {
        /// The version that it carries.
        found: u32,
    },
}

/// What is sent between controller and hosts: JSON with a version.
pub trait Letter: Serialize + for<'de> Deserialize<'de> {
    /// The bytes to send.
    fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }

    /// Reads what arrived. The version is looked at first, so that a newer release's shape is
    /// called newer and not malformed.
    fn from_bytes(bytes: &[u8]) -> Result<Self, Unreadable> {
        #[derive(Deserialize)]
        struct Versioned {
            version: Option<u32>,
        }
        let Versioned { version } = serde_json::from_slice(bytes).map_err(Unreadable::Malformed)?;
        match version {
            Some(found) if found > WIRE_VERSION => Err(Unreadable::OtherVersion { found }),
            _ => serde_json::from_slice(bytes).map_err(Unreadable::Malformed),
        }
    }
}

impl Letter for Job {}
impl Letter for FromHost {}
impl Letter for ToHost {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_is_read_back_as_written() {
        let letter = ToHost::Admitted { version: 1, attempt: Attempt(7), run: Run::from("r") };
        let bytes = letter.to_bytes().expect("it is JSON");
        assert_eq!(bytes, br#"{"is":"admitted","version":1,"attempt":7,"run":"r"}"#);
        assert_eq!(ToHost::from_bytes(&bytes).expect("it is ours"), letter);
    }

    #[test]
    fn a_newer_release_is_named_even_when_its_shape_is_unknown() {
        let newer = ToHost::from_bytes(br#"{"is":"promoted","version":2}"#);
        assert!(matches!(newer, Err(Unreadable::OtherVersion { found: 2 })));
        let garbage = ToHost::from_bytes(br#"{"is":"promoted","version":1}"#);
        assert!(matches!(garbage, Err(Unreadable::Malformed(_))));
    }
}
