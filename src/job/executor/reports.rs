//! What the executor says of the host, and how it says that a change has ended.

use super::tasks::{Observer, Owes, Progress, Role, Task, update};
use super::{Effect, Executor};
use crate::job::journal::Journal;
use crate::job::order::{Ending, FromHost, WIRE_VERSION};
use crate::job::{Uptime, protocol};
use crate::observed::facts::{FactOrder, Facts, JournalFacts, JournalState};
use crate::words::{Attempt, TaskKind, TaskPhase};

/// Puts the facts of this host in order, by its own clock: while one release follows another there are
/// two executors on it, and what either has seen last counts.
#[derive(Clone, Debug)]
pub(super) struct Reports {
    next: FactOrder,
    last: Option<Facts>,
}

impl Reports {
    pub(super) fn new(boot_id: &str, starts: u64) -> Self {
        let next = FactOrder { boot_id: boot_id.to_owned(), starts, sequence: 0 };
        Self { next, last: None }
    }

    /// Gives the facts their order, and says whether they differ from the last.
    fn stamp(&mut self, now: Uptime, facts: &mut Facts) -> bool {
        if let Some(last) = &self.last {
            facts.order = last.order.clone();
            if facts == last {
                return false;
            }
        }
        self.next.sequence = self.next.sequence.max(now.0);
        facts.order = self.next.clone();
        self.next.sequence += 1;
        self.last = Some(facts.clone());
        true
    }
}

impl Executor {
    pub(super) fn confirm_when_due(&mut self, now: Uptime) {
        for task in &mut self.tasks {
            let Role::Observer(observer) = &mut task.role else { continue };
            if observer.next <= now {
                observer.next = now.plus_ms(observer.confirm_ms);
                if observer.owes == Owes::Nothing {
                    observer.owes = Owes::Confirmation;
                }
                // Only what has just been looked at is confirmed.
                self.survey = true;
            }
        }
    }

    /// Reports facts that are new, confirms those that are not, and ends the changes that
    /// waited for the facts right afterwards.
    pub(super) fn report(&mut self, now: Uptime, mut facts: Facts, effects: &mut Vec<Effect>) {
        facts.stuck = self.unit.stuck();
        let changed = self.reports.stamp(now, &mut facts);
        for task in &mut self.tasks {
            let Role::Observer(observer) = &mut task.role else { continue };
            effects.extend(match observer.says(changed, now) {
                Owes::Report => {
                    let data = FromHost::Facts { facts: Box::new(facts.clone()) };
                    Some(update(&task.id, TaskPhase::Running, None, Some(data)))
                }
                Owes::Confirmation => Some(Effect::Send(FromHost::Confirm {
                    version: WIRE_VERSION,
                    host: self.identity.host.clone(),
                    order: facts.order.clone(),
                })),
                Owes::Nothing => None,
            });
        }
        if self.is_after_the_end(&facts) {
            self.conclude(&facts, effects);
        } else {
            self.survey |= self.tasks.iter().any(|task| task.ended().is_some());
        }
    }

    /// Says that there are no facts, and why: silence would say nothing. When there are some again, that is
    /// said too, whether or not they are the same.
    pub(super) fn report_blindness(&mut self, why: &str, effects: &mut Vec<Effect>) {
        let (host, version) = (&self.identity.host, WIRE_VERSION);
        for task in &mut self.tasks {
            let Role::Observer(observer) = &mut task.role else { continue };
            let blind = FromHost::Blind { version, host: host.clone(), why: why.to_owned() };
            effects.push(Effect::Send(blind));
            if observer.owes == Owes::Nothing {
                observer.owes = Owes::Confirmation;
            }
        }
    }

    /// Facts that were looked at before the journal was closed are not those of the ending.
    fn is_after_the_end(&self, facts: &Facts) -> bool {
        let known = self.journal.as_ref().map(Journal::entry);
        match &facts.journal {
            Some(read) => protocol::is_later(known.as_ref(), &read.entry()),
            None => known.is_none(),
        }
    }

    fn conclude(&mut self, facts: &Facts, effects: &mut Vec<Effect>) {
        self.tasks.retain_mut(|task| {
            let Some((attempt, ending)) = task.ended() else { return true };
            let state = final_state(task, attempt, ending);
            effects.push(update(
                &task.id,
                state,
                Some(ending.to_string()),
                Some(FromHost::Ended {
                    version: WIRE_VERSION,
                    attempt,
                    ending: ending.clone(),
                    facts: Box::new(facts.clone()),
                }),
            ));
            if state == TaskPhase::Running {
                task.role = Role::Supervisor;
            }
            !state.is_terminal()
        });
    }
}

impl Observer {
    /// What is due now that facts are in.
    fn says(&mut self, changed: bool, now: Uptime) -> Owes {
        let owes = std::mem::replace(&mut self.owes, Owes::Nothing);
        if changed || owes == Owes::Report {
            self.next = now.plus_ms(self.confirm_ms);
            return Owes::Report;
        }
        owes
    }
}

impl Task {
    fn ended(&self) -> Option<(Attempt, &Ending)> {
        let carrier = self.carrier()?;
        match &carrier.progress {
            Progress::Ended(ending) => Some((carrier.change.attempt, ending)),
            _ => None,
        }
    }
}

/// A change that is done ends its one-shot task well; a supervising one goes on from there.
/// Everything else has failed, also an attempt in whose place the host has a newer one on record.
fn final_state(task: &Task, attempt: Attempt, ending: &Ending) -> TaskPhase {
    let done = matches!(
        ending,
        Ending::Journal { journal: JournalFacts { attempt: on_record, state: JournalState::Done, .. } }
            if *on_record == attempt
    );
    let killed = task.carrier().is_some_and(|carrier| carrier.killed);
    match (done, task.kind) {
        (false, _) => TaskPhase::Failed,
        (true, TaskKind::Change) => TaskPhase::Finished,
        (true, _) if killed => TaskPhase::Killed,
        (true, _) => TaskPhase::Running,
    }
}
