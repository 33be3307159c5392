//! How attempts end: well, undone, or refused before anything was changed.

use crate::budget::slot::SlotState;
use crate::store::keys::Key;
use crate::words::{Attempt, HostName, Time};

use super::Controller;
use super::event::Level;
use super::wants::SOON_SECONDS;

/// The longest pause before a host is tried again.
const BACK_OFF_LONGEST_MS: u64 = 300_000;

impl Controller {
    /// The host found a precondition that does not hold, and has changed nothing. That is no failure
    /// and takes no slot; it is asked again later. A host that is in the middle has one to give back.
    pub(super) fn unfit(&mut self, name: &HostName, attempt: Attempt, why: &str, now: Time) {
        let Some(host) = self.hosts.get(name) else { return };
        if host.slot().is_some_and(|slot| slot.state != SlotState::Reserved) {
            return self.failed(name, Some(attempt), why, false, now);
        }
        let counted = host.progress.as_ref().map_or(Attempt(0), |progress| progress.attempt);
        if attempt <= counted {
            return;
        }
        self.note(Level::Warning, Some(name), format!("cannot be changed: {why}"));
        let base = self.back_off_ms();
        let mut at = now;
        self.progress(name, now, |progress| {
            progress.attempt = attempt;
            progress.refused = Some(why.to_owned());
            progress.retry_at = back_off(base, progress.refusals, now);
            progress.refusals += 1;
            at = progress.retry_at;
        });
        self.hosts.wake(name, at);
    }

    /// The first pause after something went wrong.
    fn back_off_ms(&self) -> u64 {
        let stability = self.rollout().map_or(30, |rollout| u64::from(rollout.stability_seconds));
        stability.max(2) * 1000
    }

    /// An attempt failed; counted once.
    pub(super) fn failed(
        &mut self,
        name: &HostName,
        attempt: Option<Attempt>,
        why: &str,
        for_good: bool,
        now: Time,
    ) {
        let generation = self.desire.generation();
        let Some(host) = self.hosts.get(name) else { return };
        let counted = host.progress.as_ref().map_or(Attempt(0), |progress| progress.attempt);
        if attempt.is_some_and(|attempt| attempt <= counted) {
            return;
        }
        let of_now = host.slot().is_none_or(|slot| slot.generation == generation);
        let rollout = self.rollout();
        let most = rollout.map_or(1, |rollout| rollout.attempts.get());
        let base = self.back_off_ms();
        self.note(Level::Warning, Some(name), format!("attempt failed and was undone: {why}"));
        self.history(format!("{name}: attempt failed: {why}"), now);
        self.progress(name, now, |progress| {
            progress.attempt = attempt.unwrap_or(progress.attempt);
            why.clone_into(&mut progress.why);
            if of_now {
                // A failure for an older generation says nothing about this one.
                progress.failures += 1;
                progress.failed = for_good || progress.failures >= most;
                progress.refused = None;
                progress.retry_at = back_off(base, progress.failures - 1, now);
            }
        });
        if let Some(at) = self.hosts.get(name).and_then(|h| h.progress.as_ref()).map(|p| p.retry_at)
        {
            self.hosts.wake(name, at);
            // Its offers are wanted before.
            self.hosts.wake(name, Time(at.0.saturating_sub(SOON_SECONDS * 1000)));
        }
    }

    /// An attempt has come to its end; the host starts with a clean sheet.
    pub(super) fn succeeded(&mut self, name: &HostName, _attempt: Attempt) {
        let Some(host) = self.hosts.touch(name) else { return };
        if host.progress.take().is_some() {
            self.ledger.delete(Key::RolloutHost(name.clone()));
        }
    }
}

/// When to try again after so many times before, each pause twice as long as the last.
fn back_off(base_ms: u64, before: u32, now: Time) -> Time {
    now.plus_ms((base_ms << before.min(10)).min(BACK_OFF_LONGEST_MS))
}
