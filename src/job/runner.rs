//! The runner: the transient unit that carries an open journal out and closes it.
//!
//! It runs outside the executor's sandbox and outlives it, an agent restart and, through the boot
//! unit, a power cut. It does one thing at a time: the shell carries out a [`Command`] and comes
//! back with its [`Answer`]. Whatever happens to the process, a new one given the same attempt
//! and run goes on from the journal; all commands are therefore idempotent.

use super::journal::{Journal, Progress};
use super::order::StepOrder;
use super::{Finding, Uptime};
use crate::words::{Attempt, Run};

#[cfg(test)]
mod tests;

/// Milliseconds between two questions about health.
pub const PROBE_EVERY_MS: u64 = 1_000;
/// What is to become healthy has this long; beside that, three times the stability time to
/// allow for lapses.
const PATIENCE_MS: u64 = 300_000;

/// What the shell is to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Wait for the host's lock, keep it until the process ends, and read the journal under it.
    Lock,
    /// Look at a step without touching anything.
    Check(StepOrder),
    /// Make sure that the boot unit, which carries an open journal on, is enabled.
    ArmBootUnit,
    /// Write the journal, and sync file and directory.
    Write(Journal),
    /// Keep what is there as it is, once for this attempt; then make it what the step says.
    Apply(StepOrder),
    /// Ask the service itself whether the step is in force.
    Verify(StepOrder),
    /// At this time, ask all components of the change whether they are well.
    Probe(Uptime),
    /// Put back what was kept for this attempt. Nothing was kept: nothing to do.
    Undo(StepOrder),
    /// End the process.
    Exit(Outcome),
}

/// What came of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To [`Command::Lock`].
    Locked(Option<Journal>),
    /// To [`Command::Check`].
    Found(Finding),
    /// To all others: done, healthy, in force; or why not, as a sentence.
    Did(Result<(), String>),
}

/// How the process ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The journal is not open for this attempt and run: nothing was touched.
    NotAdmitted,
    /// The journal is closed, as done or as undone.
    Closed,
    /// The journal is still open and has to be carried on by another process.
    Interrupted {
        /// What stood in the way, as a sentence.
        why: String,
    },
}

/// The process, for one attempt and run.
#[derive(Clone, Debug)]
pub struct Runner {
    attempt: Attempt,
    run: Run,
    at: At,
}

/// Which answer it waits for.
#[derive(Clone, Debug)]
enum At {
    Lock,
    Check(Journal, usize),
    Arm(Journal, usize),
    Begin(Journal, usize),
    Apply(Journal, usize),
    Verify(Journal, usize),
    Settle {
        journal: Journal,
        since: Uptime,
        well_since: Option<Uptime>,
    },
    TurnBack(Journal),
    /// How many of the begun steps are left to undo, this one included.
    Undo(Journal, usize),
    Recover {
        journal: Journal,
        why: String,
        since: Uptime,
    },
    Close,
    Over,
}

impl Runner {
    /// A fresh process, started for this attempt and run.
    pub fn start(attempt: Attempt, run: Run) -> (Self, Command) {
        (Self { attempt, run, at: At::Lock }, Command::Lock)
    }

    /// Takes the answer to the last command and gives the next one. An answer that does not fit
    /// ends the process with the journal open.
    pub fn handle(&mut self, now: Uptime, answer: Answer) -> Command {
        let (at, command) = match (std::mem::replace(&mut self.at, At::Over), answer) {
            (At::Lock, Answer::Locked(journal)) => self.locked(now, journal),
            (At::Check(journal, step), Answer::Found(found)) => checked(now, journal, step, found),
            (At::Arm(journal, step), Answer::Did(did)) => match did {
                Ok(()) => begin(journal, step),
                Err(why) => turn_back(journal, why),
            },
            (At::Begin(journal, step), Answer::Did(Ok(()))) => apply(journal, step),
            (At::Apply(journal, step), Answer::Did(did)) => applied(journal, step, did),
            (At::Verify(journal, step), Answer::Did(did)) => match did {
                Ok(()) => check(now, journal, step + 1),
                Err(why) => turn_back(journal, why),
            },
            (At::Settle { journal, since, well_since }, Answer::Did(health)) => {
                settle(now, journal, since, well_since, health)
            }
            (At::TurnBack(journal), Answer::Did(Ok(()))) => {
                let left = journal.begun.len();
                undo(now, journal, left)
            }
            (At::Undo(journal, left), Answer::Did(did)) => undone(now, journal, left, did),
            (At::Recover { journal, why, since }, Answer::Did(health)) => {
                recover(now, journal, why, since, health)
            }
            (At::Close, Answer::Did(Ok(()))) => exit(Outcome::Closed),
            (_, Answer::Did(Err(why))) => exit(Outcome::Interrupted { why }),
            (_, answer) => {
                exit(Outcome::Interrupted { why: format!("unexpected answer: {answer:?}") })
            }
        };
        self.at = at;
        command
    }

    /// The check under the lock: whoever waited for it may find the attempt long over.
    fn locked(&self, now: Uptime, journal: Option<Journal>) -> (At, Command) {
        let admitted = Journal::admits(journal.as_ref(), self.attempt, &self.run);
        match journal.filter(|_| admitted) {
            None => exit(Outcome::NotAdmitted),
            Some(journal) if matches!(journal.progress, Progress::Back { .. }) => {
                let left = journal.begun.len();
                undo(now, journal, left)
            }
            Some(journal) => check(now, journal, 0),
        }
    }
}

/// Looks at the step, or waits for lasting health after the last one.
fn check(now: Uptime, journal: Journal, step: usize) -> (At, Command) {
    match journal.step(step).cloned() {
        Some(order) => (At::Check(journal, step), Command::Check(order)),
        None => (At::Settle { journal, since: now, well_since: None }, Command::Probe(now)),
    }
}

fn checked(now: Uptime, journal: Journal, step: usize, found: Finding) -> (At, Command) {
    let Some(order) = journal.step(step) else {
        return check(now, journal, step);
    };
    match found {
        Finding::InForce => check(now, journal, step + 1),
        Finding::Refused { why } => turn_back(journal, why),
        Finding::Ready { disrupts: false } => begin(journal, step),
        Finding::Ready { disrupts: true } if journal.change.may_disrupt => {
            (At::Arm(journal, step), Command::ArmBootUnit)
        }
        Finding::Ready { disrupts: true } => {
            let why =
                format!("{} would have to be stopped, which this change may not", order.component);
            turn_back(journal, why)
        }
    }
}

/// Puts the step down in the journal before anything is touched for it.
fn begin(journal: Journal, step: usize) -> (At, Command) {
    if journal.begun.contains(&step) {
        return apply(journal, step);
    }
    let journal = journal.begin(step);
    (At::Begin(journal.clone(), step), Command::Write(journal))
}

fn apply(journal: Journal, step: usize) -> (At, Command) {
    with_step(journal, step, At::Apply, Command::Apply)
}

fn applied(journal: Journal, step: usize, did: Result<(), String>) -> (At, Command) {
    match did {
        Ok(()) => with_step(journal, step, At::Verify, Command::Verify),
        Err(why) => turn_back(journal, why),
    }
}

/// Waits until all have been well for the whole stability time; a lapse starts it again.
fn settle(
    now: Uptime,
    journal: Journal,
    since: Uptime,
    well_since: Option<Uptime>,
    health: Result<(), String>,
) -> (At, Command) {
    let stability = u64::from(journal.change.stability_seconds) * 1000;
    let patience = PATIENCE_MS.saturating_add(stability.saturating_mul(3));
    let well_since = match health {
        Ok(()) => Some(well_since.unwrap_or(now)),
        Err(why) if now.since(since) >= patience => return turn_back(journal, why),
        Err(_) => None,
    };
    let stable_at = well_since.map(|well_since| well_since.plus_ms(stability));
    if stable_at.is_some_and(|at| at <= now) {
        let journal = journal.close_done();
        return (At::Close, Command::Write(journal));
    }
    let next = now.plus_ms(PROBE_EVERY_MS);
    let next = stable_at.map_or(next, |at| at.min(next));
    (At::Settle { journal, since, well_since }, Command::Probe(next))
}

/// From here on what was begun is put back, whoever carries on.
fn turn_back(journal: Journal, why: String) -> (At, Command) {
    let journal = journal.turn_back(why);
    (At::TurnBack(journal.clone()), Command::Write(journal))
}

/// Undoes in reverse order, then waits for health.
fn undo(now: Uptime, journal: Journal, left: usize) -> (At, Command) {
    let why = match &journal.progress {
        Progress::Back { why } => why.clone(),
        _ => String::new(),
    };
    match left.checked_sub(1).and_then(|last| journal.begun.get(last)).copied() {
        Some(step) => with_step(journal, step, |journal, _| At::Undo(journal, left), Command::Undo),
        None if journal.begun.is_empty() => close_undone(journal, why),
        None => (At::Recover { journal, why, since: now }, Command::Probe(now)),
    }
}

/// A step that cannot be put back does not keep the others from it; the reason says so.
fn undone(
    now: Uptime,
    mut journal: Journal,
    left: usize,
    did: Result<(), String>,
) -> (At, Command) {
    if let (Err(what), Progress::Back { why }) = (did, &mut journal.progress) {
        *why = format!("{why}; and could not be put back: {what}");
    }
    undo(now, journal, left - 1)
}

/// Closes when all are well again, or when that has taken too long.
fn recover(
    now: Uptime,
    journal: Journal,
    why: String,
    since: Uptime,
    health: Result<(), String>,
) -> (At, Command) {
    match health {
        Ok(()) => close_undone(journal, why),
        Err(what) if now.since(since) >= PATIENCE_MS => {
            close_undone(journal, format!("{why}; put back, and still not well: {what}"))
        }
        Err(_) => {
            let next = now.plus_ms(PROBE_EVERY_MS);
            (At::Recover { journal, why, since }, Command::Probe(next))
        }
    }
}

fn close_undone(journal: Journal, why: String) -> (At, Command) {
    (At::Close, Command::Write(journal.close_undone(why)))
}

fn with_step(
    journal: Journal,
    step: usize,
    at: impl Fn(Journal, usize) -> At,
    command: impl Fn(StepOrder) -> Command,
) -> (At, Command) {
    match journal.step(step).cloned() {
        Some(order) => (at(journal, step), command(order)),
        None => exit(Outcome::Interrupted { why: format!("the journal has no step {step}") }),
    }
}

fn exit(outcome: Outcome) -> (At, Command) {
    (At::Over, Command::Exit(outcome))
}
