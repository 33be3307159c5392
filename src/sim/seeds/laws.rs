//! What must hold in every history. The numbers are those of the acceptance scenarios.

use std::fmt;

use crate::sim::run::World;

/// A law.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Law {
    /// 86.
    Budget,
    /// 86, as far as it can be seen before there is a breach.
    SlotFirst,
    /// 87.
    Settles,
    /// 87, its second half.
    Quiet,
    /// 88.
    StartOnce,
    /// 89.
    Halt,
    /// What `rollout.start: approved` asks for.
    Approved,
    /// 37.
    Canary,
    /// 24.
    Paused,
    /// 50.
    Gates,
    /// 42.
    Windows,
    /// 82.
    Notices,
    /// 90.
    Tasks,
    /// 91.
    Steady,
    /// The index by which a pass decides.
    Index,
}

impl Law {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::Budget,
        Self::SlotFirst,
        Self::Settles,
        Self::Quiet,
        Self::StartOnce,
        Self::Halt,
        Self::Approved,
        Self::Canary,
        Self::Paused,
        Self::Gates,
        Self::Windows,
        Self::Notices,
        Self::Tasks,
        Self::Steady,
        Self::Index,
    ];
}

impl fmt::Display for Law {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Budget => "86: no more hosts are disrupted than the budget admits",
            Self::SlotFirst => "86: a host that is disrupted holds a slot",
            Self::Settles => "87: once faults have stopped, every host gets there or says why not",
            Self::Quiet => "87: and then nothing is written and nothing is called",
            Self::StartOnce => "88: nothing is restarted twice for one change without a failure",
            Self::Halt => "89: nothing new starts while it is halted, paused or excluded",
            Self::Approved => "nothing starts that has to be approved and is not",
            Self::Canary => "37: none but the canaries starts before they are promoted",
            Self::Paused => "24: nothing starts where people have paused it",
            Self::Gates => "50: nothing starts while a gate is closed or does not answer",
            Self::Windows => "42: nothing that disrupts starts outside of the windows",
            Self::Notices => "82: frameworks are told before, and no notice stays behind",
            Self::Tasks => "90: no task is launched while one of its kind runs",
            Self::Steady => "91: the same inputs give the same bytes",
            Self::Index => "the index of a pass says what a plan made from nothing says",
        })
    }
}

/// A law was broken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("BROKEN after {} s: {law}: {what}", at_ms / 1000)]
pub struct Breach {
    /// The law.
    pub law: Law,
    /// When, in milliseconds from the beginning.
    pub at_ms: u64,
    /// What was seen.
    pub what: String,
}

impl Breach {
    pub(super) fn new(law: Law, world: &World, what: impl Into<String>) -> Self {
        Self { law, at_ms: world.elapsed_ms(), what: what.into() }
    }

    /// One that no instant can be given for.
    pub(super) fn at_end(law: Law, what: impl Into<String>) -> Self {
        Self { law, at_ms: 0, what: what.into() }
    }
}
