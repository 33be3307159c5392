//! The host's side: what it is told, what it answers, and what it does about it. Pure.
//!
//! Two machines share one journal on the host's disk. The [`executor`] talks to Mesos and the
//! controller: it asks for admission and opens the journal. The [`runner`] is the transient unit
//! that carries an open journal out, outlives the executor, and closes it. What the two may do is
//! said once, in [`protocol`], for them and for the model checker.

pub mod executor;
pub mod journal;
pub mod order;
pub mod protocol;
pub mod runner;
#[cfg(test)]
pub(crate) mod samples;

/// Milliseconds on the host's monotonic clock: only differences within one boot mean anything,
/// and a change of the wall clock never shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Uptime(pub u64);

impl Uptime {
    /// Milliseconds from `earlier` to this.
    #[must_use]
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// This many milliseconds later.
    #[must_use]
    pub fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }
}

/// What the host found when it looked at one step: at the whole change before it asks for
/// admission, and at each step again right before it is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// What the step wants is in force and healthy.
    InForce,
    /// The step can be taken.
    Ready {
        /// It would stop something that runs.
        disrupts: bool,
    },
    /// A precondition does not hold.
    Refused {
        /// Which one, as a sentence.
        why: String,
    },
}
