//! The canaries of a rollout: chosen, watched and promoted.

use std::collections::BTreeSet;

use crate::plan::canary::{Canaries, CanaryPhase, First, due};
use crate::plan::gate::Phase;
use crate::plan::reason::Reason;
use crate::store::keys::Key;
use crate::words::{HostName, Time};

use super::Controller;
use super::event::Level;
use super::records::{RolloutState, Stage, to_json};

impl Controller {
    /// How far the canaries of the generation in force are.
    pub(super) fn canary_phase(&self) -> CanaryPhase<'_> {
        let Some(rollout) = self.rollout() else { return CanaryPhase::Over };
        let generation = self.desire.generation();
        let state = self.state.as_ref().filter(|state| state.generation == generation);
        let open = state.is_some_and(|state| !matches!(state.stage, Stage::Done { .. }));
        let chosen = state.and_then(|state| state.canary.as_ref());
        CanaryPhase::of(rollout, open, chosen, self.controls.promotes(generation))
    }

    /// Chooses canaries where some are lacking, looks whether they are well, and promotes them when
    /// the documents or an operator say so. What is written here is written before any of them
    /// starts.
    pub(super) fn tend_canaries(&mut self, now: Time) {
        if self.phase() != Phase::Running {
            return;
        }
        let (first, due) = self.first_now(now);
        self.canaries_due = due;
        self.first = first;
    }

    /// Who goes first, and when that may be over by itself.
    fn first_now(&mut self, now: Time) -> (Option<First>, Option<Time>) {
        let Some(canary) = self.rollout().and_then(|rollout| rollout.canary.clone()) else {
            return (None, None);
        };
        let generation = self.desire.generation();
        let running =
            |state: &&RolloutState| state.generation == generation && state.stage == Stage::Running;
        let Some(state) = self.state.as_ref().filter(running) else { return (None, None) };
        let known = state.canary.clone().unwrap_or_default();
        if known.promoted.is_some() {
            return (None, None);
        }
        let count = canary.hosts.of(self.hosts.totals.registered);
        let mut canaries = self.chosen(&known.hosts, count);
        let well = canaries.hosts.len() >= count.max(1) && self.are_well(&canaries.hosts);
        canaries.stable = well.then(|| known.stable.unwrap_or(now));
        let asked = self.controls.promotes(generation);
        let by_itself = canaries
            .stable
            .filter(|_| canary.promote == crate::desired::Promote::Automatic)
            .map(|stable| due(&canary, stable));
        if asked || by_itself.is_some_and(|due| due <= now) {
            canaries.promoted = Some(now);
        }
        let promoted = canaries.promoted.is_some();
        if canaries != known {
            self.write_canaries(&known, canaries, now);
        }
        if promoted {
            return (None, None);
        }
        let registered = self.hosts.totals.registered;
        (self.canary_phase().first(registered, |_| BTreeSet::new()), by_itself)
    }

    /// Those of before without the ones that will never change by themselves, and others in their
    /// place: hosts that work is under way on, then those in line, then those with changes that
    /// take no slot.
    fn chosen(&self, before: &BTreeSet<HostName>, count: usize) -> Canaries {
        let rests = |name: &HostName| {
            self.hosts.get(name).is_none_or(|host| {
                let held = host.assessment.held.as_ref();
                host.slot.is_none()
                    && matches!(
                        held,
                        Some(Reason::Blocked { .. } | Reason::Excluded | Reason::Gone)
                    )
            })
        };
        let mut hosts: BTreeSet<HostName> =
            before.iter().filter(|name| !rests(name)).cloned().collect();
        if hosts.len() < count {
            hosts.extend(self.hosts.holders.iter().cloned());
            let live = self.hosts.live.iter().filter(|name| {
                self.hosts.get(name).is_some_and(|host| {
                    let work = &host.assessment.work;
                    host.assessment.held.is_none() && !work.disruptive && !work.steps.is_empty()
                })
            });
            let in_line = self.hosts.line.iter().map(|(_, name)| name);
            for name in in_line.chain(live) {
                if hosts.len() >= count {
                    break;
                }
                hosts.insert(name.clone());
            }
        }
        Canaries { hosts, ..Canaries::default() }
    }

    /// All of them are in sync, and have given their slots back.
    fn are_well(&self, hosts: &BTreeSet<HostName>) -> bool {
        let unwell = [&self.hosts.restless, &self.hosts.busy, &self.hosts.starting];
        hosts.iter().all(|name| unwell.iter().all(|set| !set.contains(name)))
    }

    fn write_canaries(&mut self, before: &Canaries, canaries: Canaries, now: Time) {
        let generation = self.desire.generation();
        let names: Vec<&str> = canaries.hosts.iter().map(HostName::as_str).collect();
        let names = match names.len() {
            0..=3 => names.join(", "),
            many => format!("{}, … ({many})", names[..3].join(", ")),
        };
        let what = if canaries.promoted.is_some() {
            Some(format!("the others follow the canaries of generation {generation}: {names}"))
        } else if canaries.hosts != before.hosts && !canaries.hosts.is_empty() {
            Some(format!("canaries of generation {generation}: {names}"))
        } else {
            None
        };
        if let Some(what) = what {
            self.note(Level::Info, None, what.clone());
            self.history(what, now);
        }
        if let Some(state) = &mut self.state {
            state.canary = Some(canaries);
            let record = to_json(state);
            self.ledger.put(Key::RolloutState, record);
        }
    }

    /// Whether changes may start on a host as far as canaries go.
    pub(super) fn goes_first(&self, name: &HostName) -> bool {
        self.first.as_ref().is_none_or(|first| first.hosts.contains(name))
    }

    /// The first so many of those in line that may move.
    pub(super) fn next_in_line(&self, count: usize) -> Vec<HostName> {
        let Some(first) = &self.first else {
            return self.hosts.line.iter().take(count).map(|(_, name)| name.clone()).collect();
        };
        let mut places: Vec<_> = first
            .hosts
            .iter()
            .filter_map(|name| Some((self.hosts.get(name)?.place()?, name)))
            .collect();
        places.sort();
        places.into_iter().take(count).map(|(_, name)| name.clone()).collect()
    }
}
