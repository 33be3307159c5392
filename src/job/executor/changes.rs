//! The way of a change: queued, looked at, admitted, journalled, and ended by its unit.

use super::tasks::{Carrier, Progress, Task};
use super::{Effect, Executor, UNIT_AGAIN_AT_MOST_MS, UNIT_AGAIN_MS, UNIT_OF_ANOTHER_MS};
use crate::job::journal::Journal;
use crate::job::order::{Change, Ending, FromHost, ToHost, WIRE_VERSION};
use crate::job::protocol::{self, OnLaunch};
use crate::job::{Finding, Uptime};
use crate::words::{Attempt, Run};

/// So many starts of a unit in a row that changed nothing are told.
const IN_VAIN_TOLD: u32 = 2;

/// When to start a unit that ended without closing its journal.
#[derive(Clone, Debug, Default)]
pub(super) struct UnitStarts {
    pub again_at: Option<Uptime>,
    in_vain: u32,
    /// What came of the last one.
    why: String,
}

impl UnitStarts {
    fn back_off(&mut self, now: Uptime, why: String) {
        let wait = UNIT_AGAIN_MS.saturating_mul(1 << self.in_vain.min(16));
        self.in_vain += 1;
        self.again_at = Some(now.plus_ms(wait.min(UNIT_AGAIN_AT_MOST_MS)));
        self.why = why;
    }

    /// Why it comes to nothing; none while it may be an accident.
    pub(super) fn stuck(&self) -> Option<String> {
        (self.in_vain >= IN_VAIN_TOLD).then(|| self.why.clone())
    }
}

impl Executor {
    /// Starts the unit of the open journal, under the attempt and run that were admitted.
    pub(super) fn start_unit(&self) -> Option<Effect> {
        let journal = self.journal.as_ref().map(Journal::entry);
        let (attempt, run) = protocol::carry_on(journal.as_ref())?;
        Some(Effect::StartUnit { attempt, run: (*run).clone() })
    }

    /// Takes up the oldest change that waits, one at a time. Those that are not newer than what
    /// is on record are answered from there.
    pub(super) fn next_change(&mut self, effects: &mut Vec<Effect>) {
        self.supersede();
        let current = self.carriers().any(Carrier::is_current);
        loop {
            let queued = |carrier: &&mut Carrier| matches!(carrier.progress, Progress::Queued);
            let journal = self.journal.as_ref();
            let carriers = self.tasks.iter_mut().filter_map(Task::carrier_mut);
            let Some(next) = carriers.filter(queued).min_by_key(|next| next.change.attempt) else {
                return;
            };
            if let Some(answer) = Journal::answer(journal, next.change.attempt) {
                next.progress = Progress::Ended(answer);
                self.survey = true;
                continue;
            }
            let can_start = Journal::on_launch(journal, next.change.attempt) == OnLaunch::Proceed;
            if can_start && !current {
                next.progress = Progress::Inspecting;
                effects.push(Effect::Inspect(next.change.clone()));
            }
            return;
        }
    }

    /// A host has one slot, so of two disruptive attempts only the newer one can hold it: the
    /// older one gives up at once and does not ask for a minute.
    fn supersede(&mut self) {
        let disruptive = self.carriers().filter(|carrier| {
            carrier.change.may_disrupt && !matches!(carrier.progress, Progress::Ended(_))
        });
        let newest = disruptive.map(|carrier| carrier.change.attempt).max();
        for carrier in self.tasks.iter_mut().filter_map(Task::carrier_mut) {
            let Change { may_disrupt, attempt, .. } = carrier.change;
            if may_disrupt && Some(attempt) < newest && carrier.can_be_dropped() {
                carrier.progress = Progress::Ended(Ending::NotAdmitted);
                self.survey = true;
            }
        }
    }

    /// Goes by what was found before anybody is asked, so that no slot is taken in vain.
    pub(super) fn inspected(
        &mut self,
        now: Uptime,
        attempt: Attempt,
        findings: &[Finding],
        effects: &mut Vec<Effect>,
    ) {
        let inspecting = |carrier: &Carrier| matches!(carrier.progress, Progress::Inspecting);
        let Some(carrier) = self.carrier_where(attempt, inspecting) else {
            return;
        };
        if let Some(obstacle) = obstacle(&carrier.change, findings) {
            carrier.progress = Progress::Ended(obstacle);
            self.survey = true;
        } else if carrier.change.may_disrupt {
            carrier.ask(now);
        } else {
            self.open_journal(attempt, inspecting, effects);
        }
    }

    /// Hears the controller. Only an answer to the question of this attempt and this run counts.
    pub(super) fn hear(&mut self, message: &ToHost, effects: &mut Vec<Effect>) {
        match message {
            ToHost::Admitted { attempt, run, .. } => {
                let asked = self.asks(*attempt, run);
                self.open_journal(*attempt, asked, effects);
            }
            ToHost::Denied { attempt, run, .. } => {
                let asked = self.asks(*attempt, run);
                if let Some(carrier) = self.carrier_where(*attempt, asked) {
                    carrier.progress = Progress::Ended(Ending::NotAdmitted);
                    self.survey = true;
                }
            }
            ToHost::Leave { host, .. } => self.leave(host, effects),
        }
    }

    /// Whether a carrier waits for the answer to this very question.
    fn asks(&self, attempt: Attempt, run: &Run) -> impl Fn(&Carrier) -> bool + use<> {
        let (own, run) = (self.identity.run.clone(), run.clone());
        move |carrier| {
            matches!(carrier.progress, Progress::Asking { .. })
                && protocol::answers((carrier.change.attempt, &own), (attempt, &run))
        }
    }

    fn open_journal(
        &mut self,
        attempt: Attempt,
        which: impl Fn(&Carrier) -> bool,
        effects: &mut Vec<Effect>,
    ) {
        let (current, run) = (self.journal.clone(), self.identity.run.clone());
        let Some(carrier) = self.carrier_where(attempt, which) else {
            return;
        };
        match Journal::open(current.as_ref(), carrier.change.clone(), run) {
            Ok(journal) => {
                effects.push(Effect::WriteJournal(journal.clone()));
                carrier.progress = Progress::Opening(journal);
            }
            Err(not_opened) => {
                carrier.progress = Progress::Ended(Ending::Refused { why: not_opened.to_string() });
                self.survey = true;
            }
        }
    }

    /// Only now, with the journal on disk, is the unit started.
    pub(super) fn journal_synced(&mut self, effects: &mut Vec<Effect>) {
        for carrier in self.tasks.iter_mut().filter_map(Task::carrier_mut) {
            if let Progress::Opening(journal) = &carrier.progress {
                self.journal = Some(journal.clone());
                carrier.progress = Progress::Working;
            }
        }
        self.unit = UnitStarts::default();
        effects.extend(self.start_unit());
    }

    /// Goes on from what is there: the file may be in its place although something failed after that.
    pub(super) fn journal_failed(
        &mut self,
        now: Uptime,
        why: &str,
        found: Option<Journal>,
        effects: &mut Vec<Effect>,
    ) {
        if let Some(found) = found {
            self.journal_seen(now, found);
        }
        let on_disk = self.journal.as_ref().map(Journal::entry);
        let mut is_there = false;
        for carrier in self.tasks.iter_mut().filter_map(Task::carrier_mut) {
            let Progress::Opening(journal) = &carrier.progress else { continue };
            if on_disk == Some(journal.entry()) {
                carrier.progress = Progress::Working;
                is_there = true;
            } else {
                let why = format!("the journal could not be written: {why}");
                carrier.progress = Progress::Ended(Ending::Refused { why });
                self.survey = true;
            }
        }
        if is_there {
            self.unit = UnitStarts::default();
            effects.extend(self.start_unit());
        }
    }

    /// Takes what is on disk. When its unit has closed the journal, whoever carried it has ended. One that
    /// another process has opened is carried on here should that process be gone.
    pub(super) fn journal_seen(&mut self, now: Uptime, read: Journal) {
        if self.journal.as_ref() == Some(&read) || !Journal::is_later(self.journal.as_ref(), &read)
        {
            return;
        }
        let known = self.journal.as_ref().map(Journal::entry) == Some(read.entry());
        let closed = (!read.is_open()).then(|| Ending::Journal { journal: read.facts() });
        self.journal = Some(read);
        if known {
            // Its unit gets on.
            self.survey |= self.unit.stuck().is_some();
            self.unit.in_vain = 0;
            return;
        }
        self.unit = UnitStarts::default();
        let Some(ending) = closed else {
            self.unit.again_at = Some(now.plus_ms(UNIT_OF_ANOTHER_MS));
            return;
        };
        self.survey = true;
        for carrier in self.tasks.iter_mut().filter_map(Task::carrier_mut) {
            if matches!(carrier.progress, Progress::Working) {
                carrier.progress = Progress::Ended(ending.clone());
            }
        }
    }

    /// A unit that ended with its journal open was cut short, and is started again. Why it was not even
    /// started is known; of all else the host's own log says more.
    pub(super) fn unit_ended(&mut self, now: Uptime, not_started: Option<String>) {
        let Some(open) = self.journal.as_ref().filter(|journal| journal.is_open()) else { return };
        let attempt = open.attempt();
        let why = match not_started {
            Some(why) => format!("its unit does not start: {why}"),
            None => format!(
                "its unit ends before it is done; `journalctl -u calico-dcos-change-{attempt}` there says why"
            ),
        };
        let told = self.unit.stuck();
        self.unit.back_off(now, why);
        self.survey |= self.unit.stuck() != told;
    }

    /// Does again what is due: questions, and starts of a unit that was cut short.
    pub(super) fn repeat(&mut self, now: Uptime, effects: &mut Vec<Effect>) {
        if self.unit.again_at.take_if(|at| *at <= now).is_some() {
            effects.extend(self.start_unit());
        }
        self.confirm_when_due(now);
        let (host, run) = (&self.identity.host, &self.identity.run);
        for carrier in self.tasks.iter_mut().filter_map(Task::carrier_mut) {
            if matches!(carrier.progress, Progress::Asking { until, .. } if until <= now) {
                carrier.progress = Progress::Ended(Ending::NotAdmitted);
                self.survey = true;
            } else if carrier.question_due(now) {
                effects.push(Effect::Send(FromHost::Ask {
                    version: WIRE_VERSION,
                    host: host.clone(),
                    attempt: carrier.change.attempt,
                    run: Run::clone(run),
                }));
            }
        }
    }

    fn carriers(&self) -> impl Iterator<Item = &Carrier> {
        self.tasks.iter().filter_map(Task::carrier)
    }

    fn carrier_where(
        &mut self,
        attempt: Attempt,
        which: impl Fn(&Carrier) -> bool,
    ) -> Option<&mut Carrier> {
        let mut carriers = self.tasks.iter_mut().filter_map(Task::carrier_mut);
        carriers.find(|carrier| carrier.change.attempt == attempt && which(carrier))
    }
}

/// What stands against a change, going by the findings of its steps.
fn obstacle(change: &Change, findings: &[Finding]) -> Option<Ending> {
    let refused = findings.iter().find_map(|finding| match finding {
        Finding::Refused { why } => Some(Ending::Refused { why: why.clone() }),
        _ => None,
    });
    let stops = |finding: &Finding| matches!(finding, Finding::Ready { disrupts: true });
    let needs_slot = || {
        let (step, _) = change.steps.iter().zip(findings).find(|(_, finding)| stops(finding))?;
        (!change.may_disrupt).then_some(Ending::NeedsSlot { component: step.component })
    };
    refused.or_else(needs_slot)
}
