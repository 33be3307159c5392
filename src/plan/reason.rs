//! Why a host that is not in sync does not move now: one reason from a fixed list, the same on
//! every surface.

use std::fmt;

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use crate::observed::fleet::Away;
use crate::words::{HostName, Time};

use super::canary::Then;

/// The words of all reasons.
pub const CODES: [&str; 20] = [
    "waiting-for-approval",
    "waiting-for-slot",
    "waiting-for-pace",
    "waiting-for-window",
    "waiting-for-gate",
    "waiting-for-canary",
    "waiting-for-offer",
    "insufficient-resources",
    "too-many-unavailable",
    "in-progress",
    "verifying",
    "backing-off",
    "failed",
    "blocked",
    "paused",
    "halted",
    "excluded",
    "unreachable",
    "gone",
    "unknown",
];

/// Those that somebody has to see to.
pub const TROUBLE: [&str; 6] =
    ["blocked", "failed", "halted", "insufficient-resources", "unknown", "unreachable"];

/// The one reason of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The edit has to be approved.
    WaitingForApproval,
    /// It will have to be, once a controller has accepted it.
    WaitingForAcceptance,
    /// All slots are taken, or there are none.
    WaitingForSlot {
        /// How many are taken.
        held: usize,
        /// How many there are.
        limit: usize,
        /// The pool whose own limit it is, if it is not the cluster's.
        pool: Option<String>,
        /// Some of those that hold one, in order; none where those before this host in the line
        /// take the rest.
        first: Vec<HostName>,
    },
    /// Slots may not be taken faster.
    WaitingForPace {
        /// When the next one may be taken.
        until: Option<Time>,
    },
    /// Outside the window.
    WaitingForWindow {
        /// When the next one opens; none if none ever does.
        opens: Option<Time>,
    },
    /// An operator has announced maintenance of its machine: nothing is disrupted there before
    /// that is over. The same word as of [`Reason::WaitingForWindow`].
    Maintenance(Away),
    /// A gate is closed.
    WaitingForGate {
        /// Which one, and what it says.
        why: String,
    },
    /// Its disruption has to be announced to the frameworks first. The same word as of
    /// [`Reason::WaitingForGate`].
    Unannounced {
        /// Why that cannot be done, if it was tried.
        why: Option<String>,
    },
    /// Its disruption is announced, and the frameworks have time until then. The same word.
    Announced {
        /// When it starts.
        starts: Time,
    },
    /// Others go first, and are not promoted.
    WaitingForCanary {
        /// Some of them, in order.
        first: Vec<HostName>,
        /// How many.
        canaries: usize,
        /// What lets this host follow.
        then: Then,
    },
    /// Mesos has not offered the host's resources.
    WaitingForOffer {
        /// Why, if it has not for a while.
        why: Option<String>,
    },
    /// Mesos offers too little.
    InsufficientResources {
        /// What is lacking, for example `cpus 0.2 (0.1 offered)`.
        lacking: String,
    },
    /// Too many hosts are down for any cause.
    TooManyUnavailable {
        /// Some of them, in order.
        first: Vec<HostName>,
        /// How many.
        down: usize,
        /// At how many nothing new starts.
        limit: usize,
    },
    /// A task of ours works on it.
    InProgress {
        /// What it does.
        what: Progress,
    },
    /// Changed; it has to stay healthy for a while.
    Verifying,
    /// The last attempt failed; the next one comes.
    BackingOff {
        /// When.
        until: Time,
        /// What failed.
        why: String,
    },
    /// All its attempts failed.
    Failed {
        /// What failed last.
        why: String,
    },
    /// A precondition does not hold.
    Blocked {
        /// Which one.
        why: String,
    },
    /// An operator has paused it.
    Paused {
        /// A person, or the document that says so.
        by: String,
        /// Since when, if that is known.
        since: Option<Time>,
    },
    /// The rollout has halted.
    Halted {
        /// Why.
        why: String,
    },
    /// An operator has excluded it.
    Excluded,
    /// The master does not reach its agent.
    Unreachable {
        /// What the master says.
        how: &'static str,
        /// Since when.
        since: Time,
    },
    /// The master says that it is gone for good.
    Gone,
    /// There are no facts, or they are too old.
    Unknown {
        /// Which of the two.
        why: String,
    },
}

/// What a host is in the midst of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Its slot is reserved; the host has not asked yet.
    Ordered,
    /// The host has been admitted and changes.
    Changing,
    /// A change that disrupts nothing.
    ChangingLive,
    /// A change that does not get on.
    Stuck {
        /// Why, as the host says.
        why: String,
    },
    /// A supervising task starts.
    Supervising,
    /// All components are taken off, and the host is to forget us (`teardown`).
    Leaving,
}

impl Reason {
    /// The reason's word in the fixed list.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::WaitingForApproval | Self::WaitingForAcceptance => "waiting-for-approval",
            Self::WaitingForSlot { .. } => "waiting-for-slot",
            Self::WaitingForPace { .. } => "waiting-for-pace",
            Self::WaitingForWindow { .. } | Self::Maintenance(_) => "waiting-for-window",
            Self::WaitingForGate { .. } | Self::Unannounced { .. } | Self::Announced { .. } => {
                "waiting-for-gate"
            }
            Self::WaitingForCanary { .. } => "waiting-for-canary",
            Self::WaitingForOffer { .. } => "waiting-for-offer",
            Self::InsufficientResources { .. } => "insufficient-resources",
            Self::TooManyUnavailable { .. } => "too-many-unavailable",
            Self::InProgress { .. } => "in-progress",
            Self::Verifying => "verifying",
            Self::BackingOff { .. } => "backing-off",
            Self::Failed { .. } => "failed",
            Self::Blocked { .. } => "blocked",
            Self::Paused { .. } => "paused",
            Self::Halted { .. } => "halted",
            Self::Excluded => "excluded",
            Self::Unreachable { .. } => "unreachable",
            Self::Gone => "gone",
            Self::Unknown { .. } => "unknown",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Maintenance(Away { from, until: Some(until) }) => write!(
                f,
                "maintenance of its machine is announced in Mesos, from {} to {}",
                clock(*from),
                clock(*until)
            ),
            Self::Maintenance(Away { from, until: None }) => write!(
                f,
                "maintenance of its machine is announced in Mesos from {} on, without an end",
                clock(*from)
            ),
            Self::WaitingForApproval => f.write_str(
                "the edit has to be approved (rollout.start is `approved`): `calico-dcos approve`",
            ),
            Self::WaitingForAcceptance => f.write_str(
                "no controller has accepted the edit yet; then it has to be approved (rollout.start is `approved`)",
            ),
            Self::WaitingForSlot { limit: 0, pool, .. } => {
                write!(f, "the budget{} is zero: none start", of_pool(pool.as_deref()))
            }
            Self::WaitingForSlot { held, limit, pool: Some(pool), .. } => {
                write!(f, "{held} of {limit} slots of pool `{pool}` are taken")
            }
            Self::WaitingForSlot { limit, first, .. } if first.is_empty() => match limit {
                1 => f.write_str("the one slot goes to a host before it"),
                limit => write!(f, "the {limit} slots go to hosts before it"),
            },
            Self::WaitingForSlot { held, limit, first, .. } => {
                write!(f, "{held} of {limit} slots are taken: {}", names(first, *held))
            }
            Self::WaitingForPace { .. } => f.write_str("slots are not taken faster than the pace"),
            Self::WaitingForWindow { opens: Some(opens) } => {
                write!(f, "outside of rollout.windows; the next one opens at {}", clock(*opens))
            }
            Self::WaitingForWindow { opens: None } => {
                f.write_str("outside of rollout.windows, and none opens within a week")
            }
            Self::Unannounced { why: None } => {
                f.write_str("the frameworks are told before it starts (rollout.drain)")
            }
            Self::Unannounced { why: Some(why) } => {
                write!(f, "the frameworks cannot be told (rollout.drain): {why}")
            }
            Self::Announced { starts } => {
                write!(f, "the frameworks have been told; it starts at {}", clock(*starts))
            }
            Self::WaitingForCanary { first, canaries, then } => {
                let names = names(first, *canaries);
                match (then, canaries) {
                    (Then::Wait, 1) => write!(f, "the canary goes first: {names}"),
                    (Then::Wait, _) => write!(f, "the canaries go first: {names}"),
                    (Then::Approve, _) => write!(
                        f,
                        "{names} went first and is well: `calico-dcos approve` lets the others follow"
                    ),
                    (Then::At(at), _) => {
                        write!(
                            f,
                            "{names} went first and is well; the others follow at {}",
                            clock(*at)
                        )
                    }
                }
            }
            Self::WaitingForOffer { why: None } => {
                f.write_str("Mesos has not offered its resources yet")
            }
            Self::WaitingForOffer { why: Some(why) } => write!(f, "Mesos does not offer it: {why}"),
            Self::InsufficientResources { lacking } => write!(f, "too little is free: {lacking}"),
            Self::TooManyUnavailable { first, down, limit } => {
                write!(f, "{down} down (limit {limit}): {}", names(first, *down))
            }
            Self::InProgress { what } => what.fmt(f),
            Self::Verifying => f.write_str("changed, must stay healthy for the stability time"),
            Self::BackingOff { why, .. } => write!(f, "is tried again soon after: {why}"),
            Self::Failed { why }
            | Self::Blocked { why }
            | Self::Unknown { why }
            | Self::WaitingForGate { why } => f.write_str(why),
            Self::Paused { by, since: None } => write!(f, "paused by {by}"),
            Self::Paused { by, since: Some(since) } => {
                write!(f, "paused since {} by {by}", clock(*since))
            }
            Self::Halted { why } => write!(f, "the rollout has halted: {why}"),
            Self::Excluded => f.write_str("excluded by rollout.exclude"),
            Self::Unreachable { how, .. } => f.write_str(how),
            Self::Gone => f.write_str("the master says that the agent is gone for good"),
        }
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ordered => "ordered, the host has not begun",
            Self::Changing => "the host changes",
            Self::ChangingLive => "the host changes, nothing is disrupted",
            Self::Stuck { why } => {
                return write!(f, "the host changes, and does not get on: {why}");
            }
            Self::Supervising => "a supervising task starts",
            Self::Leaving => "all components are off, the host is told to forget us",
        })
    }
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut reason = serializer.serialize_struct("Reason", 2)?;
        reason.serialize_field("code", self.code())?;
        reason.serialize_field("text", &self.to_string())?;
        reason.end()
    }
}

/// `a1, a2, …` of so many.
fn names(first: &[HostName], all: usize) -> String {
    let names: Vec<_> = first.iter().map(HostName::as_str).collect();
    format!("{}{}", names.join(", "), if all > first.len() { ", …" } else { "" })
}

/// `2026-11-23T01:02:03Z`.
fn clock(at: Time) -> String {
    let ms = i64::try_from(at.0).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    ms.map_or_else(|| format!("{} ms", at.0), |at| format!("{at:.0}"))
}

fn of_pool(pool: Option<&str>) -> String {
    pool.map(|name| format!(" of pool `{name}`")).unwrap_or_default()
}
