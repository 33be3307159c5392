//! What really happened on a host, counted by the host's own model and told to nobody but the
//! report: what the controller believes plays no part in it.

use std::collections::BTreeMap;

use crate::observed::tasks::Supervised;
use crate::words::{Attempt, Component, Run, SpecHash, TaskKind, Time};

/// One stop of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restart {
    /// The attempt that it was for.
    pub attempt: Attempt,
    /// The service.
    pub component: Component,
    /// When it stopped.
    pub at: Time,
    /// It was put back after a failure.
    pub undo: bool,
}

/// From the first stop of a service until the journal of that attempt was closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// The attempt.
    pub attempt: Attempt,
    /// The run that was admitted.
    pub run: Run,
    /// When the first service was stopped.
    pub from: Time,
    /// When the journal was closed, after the stability time or after the undo; none if it is
    /// still open.
    pub to: Option<Time>,
}

/// What one host saw.
#[derive(Clone, Debug, Default)]
pub struct Witness {
    /// All stops of services, in the order in which they happened.
    pub restarts: Vec<Restart>,
    /// All times in which the host was disrupted by us, in order; only the last may last.
    pub holds: Vec<Hold>,
    /// Supervising tasks that were launched while one of their kind had not ended: a breach.
    pub second_supervisors: u32,
    /// Stops of a service for a target that it was stopped for before, with no fault and no other
    /// target in between: a breach.
    pub restarted_twice: u32,
    /// The newest task of each kind that was launched here, ended or not, and what it supervises.
    pub launched: BTreeMap<TaskKind, Option<Supervised>>,
    last_target: [Option<SpecHash>; 5],
}

impl Witness {
    /// Whether the host is disrupted by us now.
    pub fn disrupted(&self) -> bool {
        self.holds.last().is_some_and(|hold| hold.to.is_none())
    }

    /// How often a service was stopped.
    pub fn restarts_of(&self, component: Component) -> usize {
        self.restarts.iter().filter(|restart| restart.component == component).count()
    }

    /// Whether the attempt has stopped this service.
    pub(super) fn has_stopped(&self, attempt: Attempt, component: Component) -> bool {
        let stop = |stop: &Restart| stop.attempt == attempt && stop.component == component;
        self.restarts.iter().rev().any(stop)
    }

    /// A service is stopped for an attempt: to become `target`, or to be put back.
    pub(super) fn stopped(
        &mut self,
        now: Time,
        (attempt, run): (Attempt, &Run),
        component: Component,
        target: Option<SpecHash>,
    ) {
        if !self.disrupted() {
            self.holds.push(Hold { attempt, run: run.clone(), from: now, to: None });
        }
        self.restarts.push(Restart { attempt, component, at: now, undo: target.is_none() });
        if let Some(target) = target {
            let last = self.last_target[component as usize].replace(target);
            self.restarted_twice += u32::from(last == Some(target));
        }
    }

    /// A component becomes something else, and nothing stops for it.
    pub(super) fn changed(&mut self, component: Component, target: SpecHash) {
        self.last_target[component as usize] = Some(target);
    }

    /// The journal of the attempt is closed.
    pub(super) fn closed(&mut self, now: Time) {
        if let Some(hold) = self.holds.last_mut().filter(|hold| hold.to.is_none()) {
            hold.to = Some(now);
        }
    }

    /// From here on a stop for the same target has its reason.
    pub(super) fn fault(&mut self) {
        self.last_target = [None; 5];
    }
}
