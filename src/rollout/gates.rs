//! Gates: questions that must all be answered with yes right before disruptions start.
//!
//! An answer counts for the starts of one transaction. One that is not yes holds every new start
//! until a later one is; attempts of hosts that hold a slot already go on, as what is wrong may
//! well be what they put right.

use crate::words::Time;

use super::Controller;
use super::event::{Effect, Level};
use super::records::to_json;
use crate::store::keys::Key;

/// A yes is good for so long, if nothing starts by it.
const FRESH_MS: u64 = 5_000;
/// After another answer they are asked again so often.
const AGAIN_MS: u64 = 10_000;
/// The shell always answers, sooner than this.
const LOST_MS: u64 = 60_000;

/// What is known of them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Gates {
    /// When they were asked, while no answer is in.
    asked: Option<Time>,
    /// When all of them said yes, while nothing has started by that.
    open: Option<Time>,
    /// When they are to be asked again.
    again: Option<Time>,
}

impl Gates {
    pub(super) fn next_wake(self) -> Option<Time> {
        self.again
    }
}

impl Controller {
    /// Whether disruptions may start as far as gates go. If that is not known they are asked, and
    /// the answer leads to another pass.
    pub(super) fn gates_are_open(&mut self, now: Time) -> bool {
        let Some(rollout) = self.rollout().filter(|rollout| !rollout.gates.is_empty()) else {
            self.gates = Gates::default();
            self.say_gates(None);
            return true;
        };
        if self.gates.open.is_some_and(|at| now.since(at) <= FRESH_MS) {
            return true;
        }
        let waits = self.gates.asked.is_some_and(|at| now.since(at) <= LOST_MS)
            || self.gates.again.is_some_and(|at| at > now);
        if !waits {
            let effect = Effect::AskGates(rollout.gates.clone());
            self.effects.push(effect);
            self.gates = Gates { asked: Some(now), ..Gates::default() };
        }
        false
    }

    /// Whether the last answer was not yes.
    pub(super) fn gates_are_closed(&self) -> bool {
        self.measures.closed_gate.is_some()
    }

    /// Disruptions have started by the answer; those after them need another one.
    pub(super) fn gates_are_used(&mut self) {
        self.gates.open = None;
    }

    pub(super) fn gates_answered(&mut self, answer: Result<(), String>, now: Time) {
        self.gates = match &answer {
            Ok(()) => Gates { open: Some(now), ..Gates::default() },
            Err(_) => Gates { again: Some(now.plus_ms(AGAIN_MS)), ..Gates::default() },
        };
        self.say_gates(answer.err());
    }

    /// Written down, so that every surface gives the same reason.
    fn say_gates(&mut self, closed: Option<String>) {
        if self.measures.closed_gate == closed {
            return;
        }
        match &closed {
            Some(why) => self.note(Level::Warning, None, format!("a gate is closed: {why}")),
            None => self.note(Level::Info, None, "the gates are open"),
        }
        self.measures.closed_gate = closed;
        self.ledger.put(Key::RolloutMeasures, to_json(&self.measures));
        // Offers are held only while something may start.
        self.hosts.line_moved = true;
    }
}
