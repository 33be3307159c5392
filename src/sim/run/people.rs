//! People in a run: what they ask for beside the documents, by the same functions as every surface
//! asks, and what the gates say that they have put up.

use std::fmt;

use super::process::Act;
use super::{START, World};
use crate::desired::{Desired, Promote, Start};
use crate::plan::control::Scope;
use crate::rollout::event::Event;
use crate::rollout::records::{Author, HistoryEntry, RECORDS_VERSION, history_number};
use crate::sim::scenario::Span;
use crate::store::{Key, Space};
use crate::surface::ask::{self, Asked, Person, Refused, ScopeName};
use crate::surface::entry::recorded;
use crate::surface::state::State;
use crate::surface::view::View;
use crate::words::{HostName, Revision, Time};

/// A gate that does not answer is a no after this, as the shell has it.
const PATIENCE_MS: u64 = 5_000;
/// A controller knows what a gate says by now after this: a closed one is asked each ten seconds.
const NOTICED_MS: u64 = 20_000;

/// What people do in a run.
#[derive(Clone, Debug, Default)]
pub struct People {
    /// What they ask for, and when.
    pub requests: Vec<(Span, Request)>,
    /// Somebody looks so often whether something waits for an approval, and approves it.
    pub approves: Option<Span>,
    /// From when on all gates say something else, in order; they are open before.
    pub gates: Vec<(Span, Says)>,
}

/// What somebody asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Nothing new starts there.
    Pause(Scope),
    /// It goes on there.
    Resume(Scope),
    /// A host's failed attempts are forgotten.
    Retry(HostName),
    /// A host is taken off the list.
    Forget(HostName),
}

/// What a gate says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Says {
    /// It is open.
    Yes,
    /// It is closed.
    No,
    /// It does not answer.
    Nothing,
}

impl People {
    /// What the gates say so many milliseconds after the beginning.
    #[must_use]
    pub fn gates_say(&self, at_ms: u64) -> Says {
        let before = self.gates.iter().rev().find(|(from, _)| from.ms <= at_ms);
        before.map_or(Says::Yes, |(_, says)| *says)
    }

    /// Whether the gates were not open at any time between these two.
    #[must_use]
    pub fn kept_closed(&self, from_ms: u64, to_ms: u64) -> bool {
        let within = |at: u64| (from_ms..=to_ms).contains(&at);
        let opened = |(at, says): &(Span, Says)| within(at.ms) && *says == Says::Yes;
        self.gates_say(from_ms) != Says::Yes && !self.gates.iter().any(opened)
    }

    /// When the last of it happens, in milliseconds from the beginning.
    #[must_use]
    pub fn last_ms(&self) -> u64 {
        let requests = self.requests.iter().map(|(at, _)| at.ms);
        requests.chain(self.gates.iter().map(|(at, _)| at.ms)).max().unwrap_or(0)
    }
}

impl World {
    pub(super) fn invite(&mut self, people: People) {
        for (at, (when, _)) in people.requests.iter().enumerate() {
            self.ahead += 1;
            self.later(START.plus_ms(when.ms), Act::Request(at));
        }
        for (when, _) in &people.gates {
            self.ahead += 1;
            self.later(START.plus_ms(when.ms + NOTICED_MS), Act::FaultOver);
        }
        if let Some(every) = people.approves {
            self.later(START.plus_ms(every.ms), Act::LookIn);
        }
        self.people = people;
    }

    pub(super) fn request(&mut self, at: usize) {
        self.ahead -= 1;
        let Some((_, request)) = self.people.requests.get(at).cloned() else { return };
        let (state, by) = (self.as_seen(), self.person());
        let asked = match request.clone() {
            Request::Pause(scope) => ask::pause(&state, &named(scope), None, &by),
            Request::Resume(scope) => ask::resume(&state, &named(scope)),
            Request::Retry(host) => ask::retry(&state, &[host.0], &by),
            Request::Forget(host) => ask::forget(&state, host.as_str(), &by),
        };
        self.write_down(asked, &state, &request.to_string());
    }

    /// Whoever approves looks whether something waits for that, if anything has changed.
    pub(super) fn look_in(&mut self) {
        let Some(every) = self.people.approves else { return };
        self.later(self.now.plus_ms(every.ms), Act::LookIn);
        // Most documents leave nothing to be approved: nobody has to plan for that.
        if !self.declared.iter().any(|(_, desired)| asks_for_people(desired)) {
            return;
        }
        let newest = self.newest_decision();
        if std::mem::replace(&mut self.approver_saw, newest) == newest {
            return;
        }
        let Ok(view) = View::new(self.as_seen(), Vec::new(), self.now) else { return };
        let asked = ask::approve(&view, None, &self.person());
        // The canaries may wait for the same person, and a halt or an edit that is not in force may end
        // without a new decision.
        if matches!(asked, Ok(_) | Err(Refused::Halted(_))) || !view.documents_in_force() {
            self.look_again();
        }
        self.write_down(asked, &view.state, "an approval");
    }

    /// Revisions say nothing any more about what has been looked at.
    pub(super) fn look_again(&mut self) {
        self.approver_saw = Revision(0);
    }

    fn write_down(&mut self, asked: Result<Asked, Refused>, state: &State, what: &str) {
        match asked {
            Ok(Asked { txn, what, .. }) => {
                self.town.meter.happened(format!("asked for: {what}"), self.now);
                let Person { who, at } = self.person();
                let number = history_number(at, state.history.last().copied(), Author::Person);
                let entry = HistoryEntry { version: RECORDS_VERSION, at, who, what };
                let _ = self.etcd.txn(&recorded(txn, state, number, &entry), None);
                // What comes of it is yet to be seen.
                self.converged_at = None;
            }
            Err(why) => self.town.meter.happened(format!("{what} refused: {why}"), self.now),
        }
    }

    /// When gates that are asked now answer, and what.
    pub(super) fn ask_gates(&mut self, at: usize, incarnation: u64, soon: Time) {
        let no = |why: &str| Err(format!("the gate {why}"));
        let (due, answer) = match self.people.gates_say(self.elapsed_ms()) {
            Says::Yes => (soon, Ok(())),
            Says::No => (soon, no("answered 503 and not 200")),
            Says::Nothing => (self.now.plus_ms(PATIENCE_MS), no("does not answer")),
        };
        let answered = Box::new(Event::GatesAnswered(answer));
        self.later(due, Act::Deliver(at, incarnation, answered));
    }

    fn person(&self) -> Person {
        Person { who: "operator".to_owned(), at: self.now }
    }

    fn as_seen(&self) -> State {
        State::of(&self.etcd.list(Space::All), self.now)
    }

    /// When the rollout, its slots or what is in force were written last.
    fn newest_decision(&self) -> Revision {
        let accepted = self.etcd.list(Space::Accepted).entries;
        let others = [Key::RolloutState, Key::SlotGuard];
        let others = others.iter().filter_map(|key| self.etcd.get(key));
        let entries = accepted.into_iter().chain(others);
        entries.map(|entry| entry.mod_revision).max().unwrap_or_default()
    }
}

/// Whether something may wait for an approval.
fn asks_for_people(desired: &Desired) -> bool {
    let rollout = &desired.cluster.spec.rollout;
    let canary = rollout.canary.as_ref();
    rollout.start == Start::Approved || canary.is_some_and(|it| it.promote == Promote::Manual)
}

fn named(scope: Scope) -> ScopeName {
    match scope {
        Scope::Cluster => ScopeName::Cluster,
        Scope::Pool(name) => ScopeName::Pool(name),
        Scope::Host(host) => ScopeName::Host(host.0),
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pause(scope) => write!(f, "pause of {scope}"),
            Self::Resume(scope) => write!(f, "resume of {scope}"),
            Self::Retry(host) => write!(f, "retry of {host}"),
            Self::Forget(host) => write!(f, "forget {host}"),
        }
    }
}

impl fmt::Display for People {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, request) in &self.requests {
            writeln!(f, "at {} ms: {request}", at.ms)?;
        }
        for (at, says) in &self.gates {
            writeln!(f, "at {} ms: gates say {says:?}", at.ms)?;
        }
        match self.approves {
            Some(every) => writeln!(f, "somebody approves, and looks each {} ms", every.ms),
            None => Ok(()),
        }
    }
}
