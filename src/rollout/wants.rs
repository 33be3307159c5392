//! Whose offers are held, and whose turn comes later.

use crate::budget::slot::SlotState;
use std::collections::BTreeSet;

use crate::mesos::v1::scheduler::Call;
use crate::observed::fleet::Condition;
use crate::plan::gate::{Phase, held_back, host_held_back};
use crate::plan::reason::Reason;
use crate::words::{HostName, TaskKind, Time};

use super::Controller;
use super::event::Effect;
use super::offers::Wants;

/// Offers are held for hosts whose turn comes within this.
const SOON_SECONDS: u64 = 30;

impl Controller {
    /// Holds, declines and asks for offers, if anything has changed that this depends on.
    pub(super) fn settle_offers(&mut self, now: Time) {
        let due = self.hosts.moved
            || self.offers.changed
            || self.offers_wake.is_some_and(|wake| wake <= now);
        if !due {
            return;
        }
        self.wants = self.wants(now);
        self.hosts.moved = false;
        self.hosts.line_moved = false;
        let calls = self.offers.settle(&self.wants, now);
        self.offers_wake = self.offers.next_wake(&self.wants);
        self.effects.extend(calls.into_iter().map(|call: Call| Effect::Call(Box::new(call))));
    }

    /// Whose offers are held: hosts with work that takes no slot, hosts whose retry is due soon,
    /// and twice as many as there are slots of those next in line.
    fn wants(&mut self, now: Time) -> Wants {
        let line = std::mem::take(&mut self.wants.line);
        let mut wants = Wants::default();
        let halted = matches!(self.phase(), Phase::Halted { .. });
        for name in &self.hosts.live {
            let Some(host) = self.hosts.get(name) else { continue };
            let observer = host.assessment.work.launches.contains(&TaskKind::Observer);
            let active = host.record.agent.condition == Condition::Active && !host.excluded;
            if active && ((observer && !host.excluded) || self.may_move_soon(name)) {
                wants.now.insert(name.clone());
            }
        }
        for name in self.hosts.holders.iter().filter(|_| !halted) {
            let Some(host) = self.hosts.get(name) else { continue };
            let Some(slot) = host.slot() else { continue };
            let held = slot.state != SlotState::Reserved && host.tasks.carrier().is_none();
            let due = host.progress_in(self.desire.generation()).is_none_or(|progress| {
                !progress.failed && progress.retry_at <= now.plus_secs(SOON_SECONDS)
            });
            if held && due {
                wants.now.insert(name.clone());
            }
        }
        if !halted {
            self.next_in_line(&mut wants, line);
        }
        // Offers are how agents that nobody listed yet are noticed.
        wants.nothing = self.agents_known
            && wants.is_empty()
            && self.hosts.starting.is_empty()
            && (self.hosts.line.is_empty() || halted)
            && self.hosts.busy.is_empty()
            && self.launching.is_empty();
        wants
    }

    fn may_move_soon(&self, name: &HostName) -> bool {
        let Some(host) = self.hosts.get(name) else { return false };
        let Some(rollout) = self.rollout() else { return false };
        let Some(Ok(spec)) = &host.spec else { return false };
        matches!(host.assessment.held, None | Some(Reason::Verifying))
            && held_back(rollout, &self.phase()).is_none()
            && host_held_back(spec).is_none()
    }

    /// `line` are those that were next when it was looked at last.
    fn next_in_line(&self, wants: &mut Wants, line: BTreeSet<HostName>) {
        let Some(rollout) = self.rollout() else { return };
        if held_back(rollout, &self.phase()).is_some() {
            return;
        }
        let limits = self.limits();
        if limits.slots == 0 || self.hosts.totals.down >= limits.max_unavailable + limits.slots {
            return;
        }
        let reach = (2 * limits.slots).min(self.hosts.line.len());
        wants.line = if self.hosts.line_moved || line.len() != reach {
            self.hosts.line.iter().take(reach).map(|(_, name)| name.clone()).collect()
        } else {
            line
        };
        let stability = u64::from(rollout.stability_seconds);
        let hold = self.holds.mean_seconds().unwrap_or(stability + SOON_SECONDS);
        let mut others = self.offers.hosts();
        others.retain(|name| !wants.has(name));
        for name in others.intersection(&self.hosts.busy) {
            wants.later.insert(name.clone(), 0);
        }
        if others.len() > wants.later.len() {
            for (place, (_, name)) in self.hosts.line.iter().enumerate() {
                if others.contains(name) {
                    // Wanted again a wave before it is next in line.
                    let waves = (place / limits.slots).saturating_sub(3) as u64;
                    wants.later.insert(name.clone(), waves * hold);
                }
            }
        }
    }
}
