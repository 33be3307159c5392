//! The executor: one process per host in which all our tasks of that host run.
//!
//! It takes jobs, asks for admission, opens the journal, has the transient unit started, and
//! reports. It never changes the machine itself. The shell feeds it [`Input`]s with the time of
//! the host's monotonic clock and carries out the [`Effect`]s in order.

mod changes;
mod farewell;
mod reports;
mod tasks;
#[cfg(test)]
mod tests;

use super::journal::Journal;
use super::order::{Change, FromHost, ToHost};
use super::{Finding, Uptime};
use crate::observed::facts::Facts;
use crate::words::{Attempt, HostName, Run, TaskId, TaskKind, TaskPhase};
use changes::UnitStarts;
use reports::Reports;
use tasks::Task;

/// Milliseconds between two questions for admission.
pub const ASK_EVERY_MS: u64 = 1_000;
/// Milliseconds without an answer after which a change is given up, with nothing changed.
pub const ASK_FOR_MS: u64 = 60_000;
/// A unit that ended with its journal open is started again after this, doubled each time.
const UNIT_AGAIN_MS: u64 = 1_000;
/// A journal that somebody else has opened is his to carry on; one that is open for so long is everybody's.
const UNIT_OF_ANOTHER_MS: u64 = 10_000;
/// The longest wait before a unit is started again.
const UNIT_AGAIN_AT_MOST_MS: u64 = 60_000;

/// A process without any task ends after this: one of another version has taken all that it did. It is
/// more than what lies between the end of a task and the launch of its successor.
const IDLE_MS: u64 = 60_000;

/// Who this process is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The host, as the controller names it.
    pub host: HostName,
    /// Drawn afresh by this process.
    pub run: Run,
    /// The kernel's boot ID.
    pub boot_id: String,
    /// How many executors have started on the host before this one, from a counter on its disk.
    pub starts: u64,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one at a time, and it is taken apart at once"
)]
pub enum Input {
    /// Mesos launched a task; `data` is `TaskInfo.data`.
    Launch {
        /// The task.
        task: TaskId,
        /// The job as bytes.
        data: Vec<u8>,
    },
    /// Mesos wants a task ended.
    Kill(TaskId),
    /// The controller said something.
    Message(ToHost),
    /// The answer to [`Effect::Inspect`]: a finding for each step, in order.
    Inspected {
        /// The attempt that was looked at.
        attempt: Attempt,
        /// What was found; each step is looked at as if those before it had been taken.
        findings: Vec<Finding>,
    },
    /// [`Effect::WriteJournal`] is on disk and synced.
    JournalSynced,
    /// [`Effect::WriteJournal`] failed.
    JournalFailed {
        /// Why, as a sentence.
        why: String,
        /// What is on disk now; none if that cannot be read.
        found: Option<Journal>,
    },
    /// The journal as just read from disk. Late readings do no harm.
    JournalSeen(Journal),
    /// The unit has ended, however it did. What it wrote last is to be given as
    /// [`Input::JournalSeen`] first.
    UnitEnded,
    /// The unit could not even be started.
    UnitNotStarted {
        /// Why, as a sentence.
        why: String,
    },
    /// The node was surveyed, by [`Effect::Survey`] or because something changed. The order in it
    /// is filled in here.
    Facts(Facts),
    /// The node cannot be surveyed.
    Blind {
        /// Why, as a sentence.
        why: String,
    },
    /// The answer to [`Effect::Leave`].
    Left(
        /// Or why something of ours is still there, as a sentence.
        Result<(), String>,
    ),
    /// An observer in another executor, which was launched later, reports of this host.
    Superseded,
    /// Time has passed.
    Tick,
    /// Mesos wants the process ended.
    Shutdown,
}

/// What the shell is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send a status update.
    Update {
        /// The task.
        task: TaskId,
        /// Its state.
        state: TaskPhase,
        /// For people.
        message: Option<String>,
        /// For the controller.
        data: Option<FromHost>,
    },
    /// Send an executor MESSAGE.
    Send(FromHost),
    /// Look at each step of a change without touching anything, and always answer, with
    /// [`Input::Inspected`]: what cannot be looked at is refused.
    Inspect(Change),
    /// Write the journal, sync file and directory, answer with [`Input::JournalSynced`].
    WriteJournal(Journal),
    /// Start the transient unit. If it runs already for this attempt, nothing.
    StartUnit {
        /// The attempt of the open journal.
        attempt: Attempt,
        /// The run of the open journal.
        run: Run,
    },
    /// Look at the whole node, the journal included; answer with [`Input::Facts`].
    Survey,
    /// Remove all that the host remembers of us, unless a component is still in force. Look at nothing
    /// any more, as a look may write; answer with [`Input::Left`].
    Leave,
    /// End the process once all updates are acknowledged.
    Exit,
}

/// One executor process. Everything it knows is lost with it; what must not be lost is in the
/// journal.
#[derive(Clone, Debug)]
pub struct Executor {
    identity: Identity,
    journal: Option<Journal>,
    /// In the order in which they were launched.
    tasks: Vec<Task>,
    reports: Reports,
    unit: UnitStarts,
    /// Somebody waits for fresh facts.
    survey: bool,
    /// Since when there has been nothing to do.
    idle_since: Option<Uptime>,
    /// What is remembered of us is being removed.
    leaving: bool,
}

impl Executor {
    /// A fresh process. An open journal on disk is carried on at once, without asking again. A
    /// journal that cannot be read is not the same as none: do not start on it.
    pub fn start(identity: Identity, journal: Option<Journal>) -> (Self, Vec<Effect>) {
        let reports = Reports::new(&identity.boot_id, identity.starts);
        let unit = UnitStarts::default();
        let (tasks, survey, idle_since, leaving) = (Vec::new(), false, None, false);
        let executor =
            Self { identity, journal, tasks, reports, unit, survey, idle_since, leaving };
        let effects = executor.start_unit().into_iter().collect();
        (executor, effects)
    }

    /// Takes one input.
    pub fn handle(&mut self, now: Uptime, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        match input {
            Input::Launch { task, data } => self.launch(now, task, &data, &mut effects),
            Input::Kill(task) => self.kill(&task, &mut effects),
            Input::Message(message) => self.hear(&message, &mut effects),
            Input::Inspected { attempt, findings } => {
                self.inspected(now, attempt, &findings, &mut effects);
            }
            Input::JournalSynced => self.journal_synced(&mut effects),
            Input::JournalFailed { why, found } => {
                self.journal_failed(now, &why, found, &mut effects);
            }
            Input::JournalSeen(journal) => self.journal_seen(now, journal),
            Input::UnitEnded => self.unit_ended(now, None),
            Input::UnitNotStarted { why } => self.unit_ended(now, Some(why)),
            Input::Facts(facts) => self.report(now, facts, &mut effects),
            Input::Blind { why } => self.report_blindness(&why, &mut effects),
            Input::Left(outcome) => {
                self.left(outcome, &mut effects);
                return effects;
            }
            Input::Superseded => self.end_observers(&mut effects),
            Input::Tick => {}
            Input::Shutdown => {
                self.shut_down(&mut effects);
                return effects;
            }
        }
        self.repeat(now, &mut effects);
        self.next_change(&mut effects);
        if std::mem::take(&mut self.survey) {
            effects.push(Effect::Survey);
        }
        self.leave_if_idle(now, &mut effects);
        effects
    }

    /// While a journal is open somebody has to see its unit to the end.
    fn leave_if_idle(&mut self, now: Uptime, effects: &mut Vec<Effect>) {
        if !self.tasks.is_empty() || self.journal.as_ref().is_some_and(Journal::is_open) {
            self.idle_since = None;
        } else if now.since(*self.idle_since.get_or_insert(now)) >= IDLE_MS {
            self.idle_since = Some(now);
            effects.push(Effect::Exit);
        }
    }

    /// When [`Input::Tick`] is due; none if only something from outside can bring it on.
    pub fn next_wake(&self) -> Option<Uptime> {
        let idle = self.idle_since.map(|since| since.plus_ms(IDLE_MS));
        self.tasks.iter().filter_map(Task::next_wake).chain(self.unit.again_at).chain(idle).min()
    }

    /// The tasks that have not ended, each with its kind.
    pub fn tasks(&self) -> impl Iterator<Item = (&TaskId, TaskKind)> {
        self.tasks.iter().map(|task| (&task.id, task.kind))
    }
}
