//! A clock that goes back: whatever was put off until a time of the old clock would come late by as
//! much as it went back, and what was asked before would count as fresh for as long.
//!
//! Times that are written down, such as those of retries and windows, stay as they are: they are
//! compared with the clock, whatever it says.

use crate::words::Time;

use super::Controller;
use super::event::Level;
use super::gates::Gates;
use super::members::Etcd;

/// By less it may go back without anybody noticing.
const NOTICED_MS: u64 = 1_000;

impl Controller {
    /// Notices it, by the time of the last pass, and makes due at once what waits for a time.
    pub(super) fn look_at_the_clock(&mut self, now: Time) {
        let last = std::mem::replace(&mut self.last_pass, now);
        if last.since(now) < NOTICED_MS || self.leading.is_none() {
            return;
        }
        let text = format!("the clock has gone back by {} ms", last.since(now));
        self.note(Level::Warning, None, text);
        (self.last_poll, self.next_poll) = (None, None);
        self.next_sweep = Time(0);
        self.next_foreign = Time(0);
        self.desire.hurry(now);
        self.reconciliation.hurry(now);
        self.offers.hurry(now);
        for launching in self.launching.values_mut() {
            launching.again = now;
        }
        for host in self.hosts.all.values_mut() {
            host.calm_until = host.calm_until.min(now);
        }
        // Asked again before anything starts by it.
        (self.gates, self.etcd) = (Gates::default(), Etcd::default());
        self.hosts.touch_all();
        self.hosts.line_moved = true;
        self.dirty = true;
    }
}
