//! Whose offers are held, and whose turn comes later.
//!
//! Kept up to date host by host: [`Controller::match_offers`] looks at those that were assessed
//! anew and at those whose offers came or went.

use std::collections::{BTreeMap, BTreeSet};

use crate::budget::slot::SlotState;
use crate::observed::fleet::Condition;
use crate::plan::canary::First;
use crate::plan::gate::Phase;
use crate::plan::order::OrderKey;
use crate::words::{HostName, TaskKind, Time};

use super::Controller;
use super::event::Effect;
use super::host::{Host, put};
use super::launch::untouched;

/// Offers are held for hosts whose turn comes within this.
pub(super) const SOON_SECONDS: u64 = 30;
/// What a restart takes besides stability, before any was seen.
const RESTART_SECONDS: u64 = 10;

/// Hosts that something may be launched on.
#[derive(Clone, Debug, Default)]
pub(super) struct Wants {
    /// Hosts with work that takes no slot, or with a slot already.
    eager: BTreeSet<HostName>,
    /// Those next in line.
    next: BTreeSet<HostName>,
    /// Hosts with work that takes no slot, and with an offer.
    pub ready: BTreeSet<HostName>,
    /// The phase that all this was found in.
    phase: Option<Phase>,
    /// Who went first then.
    first: Option<First>,
}

impl Controller {
    /// Looks at every host that may have come to want an offer, or not to want it any more.
    pub(super) fn match_offers(&mut self, now: Time) {
        let mut moved = std::mem::take(&mut self.hosts.moved);
        moved.append(&mut self.offers.take_moved());
        let phase = self.phase();
        if self.wants.phase.as_ref() != Some(&phase) || self.wants.first != self.first {
            moved.extend(self.hosts.live.iter().chain(&self.hosts.holders).cloned());
            moved.extend(self.wants.eager.iter().cloned());
            self.hosts.line_moved = true;
            self.wants.phase = Some(phase);
            self.wants.first = self.first.clone();
        }
        for name in &moved {
            let eager = self.is_eager(name, now);
            let ready = self.hosts.live.contains(name) && self.offers.has(name);
            put(&mut self.wants.eager, name, eager);
            put(&mut self.wants.ready, name, ready);
            self.offers.want(name, eager || self.wants.next.contains(name));
        }
        self.look_along_the_line(now);
    }

    /// Everything is to be looked at anew.
    pub(super) fn forget_wants(&mut self) {
        self.wants = super::Wants::default();
        self.offers.want_none();
    }

    /// Declines and asks for offers.
    pub(super) fn settle_offers(&mut self, now: Time) {
        let later = self.later(now);
        let calls = self.offers.settle(&later, self.hosts.all.len(), now);
        self.effects.extend(calls.into_iter().map(|call| Effect::Call(Box::new(call))));
    }

    /// Nothing is to be launched anywhere, now or later.
    pub(super) fn wants_nothing(&self) -> bool {
        // Gates are asked whether or not there are offers.
        let waits = self.hosts.line.is_empty()
            || self.next_in_line(1).is_empty()
            || self.gates_are_closed();
        let stopped = self.wants.phase.as_ref().is_some_and(|phase| *phase != Phase::Running);
        // Offers are how agents that nobody listed are noticed. Where they are never listed, offers
        // that are of no use are declined for an hour each.
        self.agents_known
            && !self.sightless
            && self.offers.wants_none()
            && self.hosts.starting.is_empty()
            && (waits || stopped)
            && self.hosts.busy.is_empty()
            && self.launching.is_empty()
    }

    fn is_eager(&self, name: &HostName, now: Time) -> bool {
        let Some(host) = self.hosts.get(name) else { return false };
        if self.hosts.live.contains(name) {
            let observer = host.assessment.work.launches.contains(&TaskKind::Observer);
            let agent = &host.record.agent;
            let open = agent.condition == Condition::Active && agent.closed.is_none();
            if open && !host.excluded && (observer || self.may_move_soon(name, host)) {
                return true;
            }
        }
        self.wants.phase == Some(Phase::Running) && self.is_retried_soon(host, now)
    }

    fn may_move_soon(&self, name: &HostName, host: &Host) -> bool {
        let work = &host.assessment.work;
        // Supervisors of what is in place are not held back by canaries.
        let supervises =
            |kind: &TaskKind| Some(*kind) != work.carrier && untouched(&work.steps, *kind);
        let held_back = !self.goes_first(name) && !work.launches.iter().any(supervises);
        !held_back
            && matches!(host.spec, Some(Ok(_)))
            && host.assessment.lets_live_work_go_on()
            && self.phase() == Phase::Running
    }

    /// Whether the host holds a slot and its next attempt is due soon.
    fn is_retried_soon(&self, host: &Host, now: Time) -> bool {
        let Some(slot) = host.slot() else { return false };
        let idle = slot.state != SlotState::Reserved && host.tasks.carrier().is_none();
        idle && !host.is_paused()
            && host.progress_in(self.desire.generation()).is_none_or(|progress| {
                !progress.failed && progress.retry_at <= now.plus_secs(SOON_SECONDS)
            })
    }

    /// Twice as many as there are slots are next in line, but for those that cannot start soon.
    fn look_along_the_line(&mut self, now: Time) {
        let reach = self.reach().min(self.hosts.line.len());
        if !std::mem::take(&mut self.hosts.line_moved) && self.wants.next.len() == reach {
            return;
        }
        let next = self.next_in_line(reach).into_iter();
        let next = next.filter(|name| !self.must_wait(name, now)).collect();
        let before = std::mem::replace(&mut self.wants.next, next);
        for name in before.difference(&self.wants.next) {
            self.offers.want(name, self.wants.eager.contains(name));
        }
        for name in self.wants.next.difference(&before) {
            self.offers.want(name, true);
        }
    }

    /// An offer of the host would be held for longer than a start takes.
    fn must_wait(&self, name: &HostName, now: Time) -> bool {
        let etcd = self.hosts.get(name).is_some_and(|host| self.waits_for_etcd(host));
        etcd || self.is_early(name, now).is_some()
    }

    /// How many of the line offers are held for.
    pub(super) fn reach(&self) -> usize {
        let limits = self.limits();
        let full = self.hosts.totals.down >= limits.max_unavailable + limits.slots;
        if full || self.phase() != Phase::Running || self.gates_are_closed() {
            0
        } else {
            2 * limits.slots
        }
    }

    /// Of the hosts whose offers are given back, those whose turn comes later, and in how many
    /// seconds their offers are wanted again.
    fn later(&mut self, now: Time) -> BTreeMap<HostName, u64> {
        let mut later = BTreeMap::new();
        let surplus = self.offers.surplus();
        let reach = self.reach();
        if surplus.is_empty() || reach == 0 {
            return later;
        }
        let stability = self.rollout().map_or(0, |rollout| u64::from(rollout.stability_seconds));
        let hold = self.measures.holds.mean_seconds().unwrap_or(stability + RESTART_SECONDS);
        self.places.refresh(&self.hosts.line, reach);
        for name in surplus {
            // Half of the time that is to be expected: an offer that comes early is declined
            // again, one that comes late may cost a REVIVE, which brings the whole fleet's.
            let seconds = if let Some(host) =
                self.hosts.get(name).filter(|_| self.hosts.busy.contains(name))
            {
                let since = host.slot().map_or(0, |slot| now.since(slot.attempt_since) / 1000);
                hold.saturating_sub(since) / 2
            } else if let Some(place) = self.places.of(name).filter(|_| self.waits_in_line(name)) {
                // `reach` is two waves.
                let seconds = place.saturating_sub(reach) as u64 * hold / reach as u64;
                seconds.max(self.is_early(name, now).unwrap_or(0))
            } else {
                continue;
            };
            later.insert(name.clone(), seconds);
        }
        later
    }

    /// Places are those of a while ago: who has left the line since has none.
    fn waits_in_line(&self, name: &HostName) -> bool {
        self.hosts.get(name).is_some_and(|host| host.place().is_some())
    }
}

/// Where hosts are in the line, to within some places: kept until the line has become shorter or
/// longer by a few, as most hosts leave it at its head.
#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    of_host: BTreeMap<HostName, usize>,
    /// The length of the line when they were counted, and now.
    counted: usize,
    len: usize,
}

impl Places {
    fn refresh(&mut self, line: &BTreeSet<(OrderKey, HostName)>, tolerance: usize) {
        self.len = line.len();
        if self.len.abs_diff(self.counted) > tolerance || self.of_host.is_empty() {
            let places = line.iter().enumerate().map(|(place, (_, name))| (name.clone(), place));
            self.of_host = places.collect();
            self.counted = self.len;
        }
    }

    fn of(&self, name: &HostName) -> Option<usize> {
        let place = self.of_host.get(name)?;
        Some((place + self.len).saturating_sub(self.counted))
    }
}
