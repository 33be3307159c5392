//! The canary: a few hosts change first, and the others follow once these have proven well.
//!
//! Who they are is written down with the rollout before the first of them starts, so that no crash
//! and no edit of the order makes others of them. It holds back steps, disruptive or not;
//! observers and supervising tasks of what is in place go on.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::desired::{Canary, Promote, Rollout};
use crate::words::{HostName, Time};

use super::reason::Reason;

/// How many names a reason lists.
const NAMES: usize = 3;

/// The canaries of a generation: part of `rollout/state`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Canaries {
    /// Who they are.
    pub hosts: BTreeSet<HostName>,
    /// Since when all of them are in sync, their slots given back; none while they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable: Option<Time>,
    /// Since when the others may follow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promoted: Option<Time>,
}

/// How far the canary phase of a rollout is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CanaryPhase<'a> {
    /// There is none, or it is over: all may move.
    Over,
    /// Only these may; none where they have not been chosen yet.
    Only(&'a Canary, Option<&'a Canaries>),
}

impl<'a> CanaryPhase<'a> {
    /// Of a rollout whose canaries, if they have been chosen, are `chosen`. `open`: it is not done,
    /// as repairs of drift are not tried on a canary; `asked`: an operator has asked for the
    /// promotion.
    #[must_use]
    pub fn of(rollout: &'a Rollout, open: bool, chosen: Option<&'a Canaries>, asked: bool) -> Self {
        let promoted = asked || chosen.is_some_and(|canaries| canaries.promoted.is_some());
        match &rollout.canary {
            Some(canary) if open && !promoted => Self::Only(canary, chosen),
            _ => Self::Over,
        }
    }

    /// Which of the hosts may move, if not all; `choose` names so many, in their order.
    pub fn first(
        &self,
        registered: usize,
        choose: impl FnOnce(usize) -> BTreeSet<HostName>,
    ) -> Option<First> {
        let Self::Only(canary, chosen) = self else { return None };
        let count = canary.hosts.of(registered);
        let mut hosts = chosen.map(|canaries| canaries.hosts.clone()).unwrap_or_default();
        if hosts.len() < count {
            hosts.extend(choose(count - hosts.len()));
        }
        let stable = chosen.and_then(|canaries| canaries.stable);
        let then = match canary.promote {
            Promote::Automatic => stable.map(|stable| Then::At(due(canary, stable))),
            Promote::Manual => stable.map(|_| Then::Approve),
        };
        Some(First { hosts, then: then.unwrap_or(Then::Wait) })
    }
}

/// When canaries that are stable since then are promoted by themselves.
#[must_use]
pub fn due(canary: &Canary, stable: Time) -> Time {
    stable.plus_secs(u64::from(canary.bake_seconds))
}

/// The hosts that may move, and what the others wait for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct First {
    /// They may.
    pub hosts: BTreeSet<HostName>,
    /// What lets the others follow.
    pub then: Then,
}

/// What lets the others follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// First the canaries have to be stable.
    Wait,
    /// They are stable: `calico-dcos approve`.
    Approve,
    /// They are stable, and the others follow at that time.
    At(Time),
}

impl First {
    /// What a host waits for; none if it is one of the first.
    #[must_use]
    pub fn holds(&self, host: &HostName) -> Option<Reason> {
        (!self.hosts.contains(host)).then(|| Reason::WaitingForCanary {
            first: self.hosts.iter().take(NAMES).cloned().collect(),
            canaries: self.hosts.len(),
            then: self.then,
        })
    }
}
