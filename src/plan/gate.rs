//! The fleet: how many hosts may start a disruption now, and what holds back the others.

use std::collections::BTreeMap;

use crate::budget::pace::Permits;
use crate::desired::{HostSpec, Limit, Rollout, Start};
use crate::observed::fleet::Condition;
use crate::words::{Generation, HostName};

use super::assess::HostView;
use super::control::Controls;
use super::reason::Reason;

/// What the decision rests on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Hosts that are registered and neither excluded nor gone: what percentages are of.
    pub registered: usize,
    /// Hosts that hold a slot.
    pub holders: usize,
    /// Hosts that are down for any cause: they hold a slot, or are not active at the master.
    /// Each counted once.
    pub down: usize,
    /// The first of those that are down, by name.
    pub first_down: Vec<HostName>,
    /// The first of those that hold a slot, by name.
    pub first_holders: Vec<HostName>,
    /// Slots held in each pool, and its hosts.
    pub pools: BTreeMap<String, PoolTotals>,
}

/// The same for one pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolTotals {
    /// Hosts of the pool that are registered and neither excluded nor gone.
    pub registered: usize,
    /// Those of them that hold a slot.
    pub holders: usize,
}

/// What a host counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Registered, neither excluded nor gone.
    pub registered: bool,
    /// It holds a slot.
    pub holds: bool,
    /// It holds a slot, or is registered and not active.
    pub down: bool,
}

impl Standing {
    /// Of one host.
    #[must_use]
    pub fn of(host: HostView<'_>) -> Self {
        let condition = host.record.agent.condition;
        let registered = condition != Condition::Gone && !host.excluded;
        let holds = host.slot.is_some();
        let down = holds || (registered && condition != Condition::Active);
        Self { registered, holds, down }
    }
}

impl Totals {
    /// Counts one host more.
    pub fn add(&mut self, standing: Standing, pools: &[String]) {
        self.registered += usize::from(standing.registered);
        self.holders += usize::from(standing.holds);
        self.down += usize::from(standing.down);
        for name in pools {
            // Most hosts are in a pool that was seen before: no name is copied for them.
            if !self.pools.contains_key(name) {
                self.pools.insert(name.clone(), PoolTotals::default());
            }
            if let Some(pool) = self.pools.get_mut(name) {
                pool.registered += usize::from(standing.registered);
                pool.holders += usize::from(standing.holds);
            }
        }
    }

    /// Takes one host back that was counted.
    pub fn subtract(&mut self, standing: Standing, pools: &[String]) {
        self.registered -= usize::from(standing.registered);
        self.holders -= usize::from(standing.holds);
        self.down -= usize::from(standing.down);
        for name in pools {
            if let Some(pool) = self.pools.get_mut(name) {
                pool.registered -= usize::from(standing.registered);
                pool.holders -= usize::from(standing.holds);
            }
        }
    }
}

/// The cluster's limits as numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Slots.
    pub slots: usize,
    /// Hosts down at which nothing new starts.
    pub max_unavailable: usize,
}

impl Limits {
    /// For so many registered hosts. `maxUnavailable` is never less than the slots.
    #[must_use]
    pub fn of(rollout: &Rollout, registered: usize) -> Self {
        let slots = rollout.max_concurrent_restarts.of(registered);
        Self { slots, max_unavailable: rollout.max_unavailable.of(registered).max(slots) }
    }
}

/// What the operator or a failure holds back, whatever the budget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Work goes on.
    Running,
    /// The documents want each generation approved, and nobody has approved this one.
    Unapproved,
    /// The same of documents that no controller has accepted yet: there is nothing to approve.
    Unaccepted,
    /// The rollout has halted.
    Halted {
        /// Why.
        why: String,
    },
}

impl Phase {
    /// Of a generation that nothing has stopped.
    #[must_use]
    pub fn open(rollout: &Rollout, generation: Generation, controls: &Controls) -> Self {
        if rollout.start == Start::Approved && !controls.approves(generation) {
            Self::Unapproved
        } else {
            Self::Running
        }
    }
}

/// How many may start now, and why not more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gate {
    /// So many hosts may start a disruption now.
    pub open: usize,
    /// What holds back those after them.
    pub then: Reason,
}

impl Gate {
    fn closed(reason: Reason) -> Self {
        Self { open: 0, then: reason }
    }
}

/// What holds back all work, disruptive or not.
#[must_use]
pub fn held_back(phase: &Phase) -> Option<Reason> {
    match phase {
        Phase::Running => None,
        Phase::Unapproved => Some(Reason::WaitingForApproval),
        Phase::Unaccepted => Some(Reason::WaitingForAcceptance),
        Phase::Halted { why } => Some(Reason::Halted { why: why.clone() }),
    }
}

/// How many disruptive starts the fleet admits now.
#[must_use]
pub fn gate(limits: Limits, totals: &Totals, permits: Permits) -> Gate {
    let held = totals.holders;
    let by_slots = limits.slots.saturating_sub(held);
    let taken = |held, first| {
        let limit = limits.slots;
        Reason::WaitingForSlot { held, limit, pool: None, first }
    };
    if by_slots == 0 {
        return Gate::closed(taken(held, totals.first_holders.clone()));
    }
    let by_down = limits.max_unavailable.saturating_sub(totals.down);
    let by_pace = permits.now as usize;
    let open = by_slots.min(by_down).min(by_pace);
    let then = if open == by_slots {
        taken(held + open, Vec::new())
    } else if open == by_down {
        Reason::TooManyUnavailable {
            first: totals.first_down.clone(),
            down: totals.down,
            limit: limits.max_unavailable,
        }
    } else {
        Reason::WaitingForPace { until: permits.next }
    };
    Gate { open, then }
}

/// Whether a pool's own limit admits one more.
#[must_use]
pub fn pool_full(spec: &HostSpec, pools: &BTreeMap<String, PoolTotals>) -> Option<Reason> {
    let own = spec.rollout.pool_limit.as_ref()?;
    let totals = pools.get(&own.pool).copied().unwrap_or_default();
    let limit = own.limit.of(totals.registered);
    (totals.holders >= limit).then(|| Reason::WaitingForSlot {
        held: totals.holders,
        limit,
        pool: Some(own.pool.clone()),
        first: Vec::new(),
    })
}

/// What a limit comes to, for people: `5% of 40 hosts = 2`.
#[must_use]
pub fn explain(limit: Limit, registered: usize) -> String {
    match limit {
        Limit::Count(count) => count.to_string(),
        Limit::Percent(percent) => {
            format!("{percent} of {registered} hosts = {}", limit.of(registered))
        }
    }
}
