//! The journal on the host's disk: the one attempt that was last admitted there, and how far it
//! has come. Whoever finds it open carries it on.

use serde::{Deserialize, Serialize};

use super::order::{Change, Ending, StepOrder};
use super::protocol::{self, Entry, NotOpened, OnLaunch, Stage};
use crate::observed::facts::{JournalFacts, JournalState};
use crate::words::{Attempt, Run};

/// The version of [`Journal`] that this release writes.
pub const JOURNAL_VERSION: u32 = 1;

/// The newest attempt that was admitted on a host, with its whole job: it can be finished with
/// nothing but this and the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Journal {
    /// [`JOURNAL_VERSION`] of the release that wrote it.
    pub version: u32,
    /// The executor process that was admitted.
    pub run: Run,
    /// The whole job, its attempt included.
    pub change: Change,
    /// Where it stands.
    pub progress: Progress,
    /// Indices of the steps that were begun, in that order. Each is in here, synced, before the
    /// first thing on the machine is touched for it, so that all it may have changed can be undone.
    #[serde(default)]
    pub begun: Vec<usize>,
}

/// Where an attempt stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "is")]
pub enum Progress {
    /// Taking its steps, or waiting for health to last.
    Forward,
    /// Something failed; what was begun is being put back.
    Back {
        /// What failed, as a sentence.
        why: String,
    },
    /// Closed: in force, and was healthy for the stability time.
    Done,
    /// Closed: failed and put back.
    Undone {
        /// What failed, as a sentence.
        why: String,
    },
}

/// A journal on disk that this release cannot go by.
#[derive(Debug, thiserror::Error)]
pub enum UnreadableJournal {
    /// It is not what any release wrote.
    #[error(
        "the journal is damaged; look at the host, and move the file away once nothing is half done"
    )]
    Damaged(#[source] serde_json::Error),
    /// A newer release wrote it.
    #[error(
        "the journal is of version {0}, this release reads up to {JOURNAL_VERSION}; run the release that wrote it"
    )]
    Newer(u32),
}

impl Journal {
    /// The journal of an attempt that was admitted to `run`, or that needs no admission. To be
    /// synced to disk before anything is started.
    pub fn open(current: Option<&Self>, change: Change, run: Run) -> Result<Self, NotOpened> {
        let current = current.map(Self::entry);
        protocol::open(current.as_ref(), change.attempt, &run)?;
        let (version, progress, begun) = (JOURNAL_VERSION, Progress::Forward, Vec::new());
        Ok(Self { version, run, change, progress, begun })
    }

    /// Reads the file.
    pub fn read(bytes: &[u8]) -> Result<Self, UnreadableJournal> {
        let journal: Self = serde_json::from_slice(bytes).map_err(UnreadableJournal::Damaged)?;
        match journal.version {
            0..=JOURNAL_VERSION => Ok(journal),
            newer => Err(UnreadableJournal::Newer(newer)),
        }
    }

    /// The attempt that it is of.
    pub fn attempt(&self) -> Attempt {
        self.change.attempt
    }

    /// What the protocol looks at.
    pub fn entry(&self) -> Entry<&Run> {
        let stage = match self.progress {
            Progress::Forward | Progress::Back { .. } => Stage::Open,
            Progress::Done => Stage::Done,
            Progress::Undone { .. } => Stage::Undone,
        };
        Entry { attempt: self.attempt(), run: &self.run, stage }
    }

    /// Whether its attempt has not ended.
    pub fn is_open(&self) -> bool {
        self.entry().stage == Stage::Open
    }

    /// What the controller has to know of it.
    pub fn facts(&self) -> JournalFacts {
        let state = match &self.progress {
            Progress::Forward | Progress::Back { .. } => JournalState::Open,
            Progress::Done => JournalState::Done,
            Progress::Undone { why } => JournalState::Undone { why: why.clone() },
        };
        JournalFacts { attempt: self.attempt(), run: self.run.clone(), state }
    }

    /// Whether a unit started for `attempt` and `run` may disrupt; asked under the host's lock.
    pub fn admits(current: Option<&Self>, attempt: Attempt, run: &Run) -> bool {
        let entry = current.map(Self::entry);
        protocol::admits(entry.as_ref(), attempt, &run)
    }

    /// What a launch for `attempt` meets on this host.
    pub fn on_launch(current: Option<&Self>, attempt: Attempt) -> OnLaunch {
        let entry = current.map(Self::entry);
        protocol::on_launch(entry.as_ref(), attempt)
    }

    /// The answer to a launch that is not newer than a closed journal.
    pub fn answer(current: Option<&Self>, attempt: Attempt) -> Option<Ending> {
        let journal = current?;
        (Self::on_launch(current, attempt) == OnLaunch::Answer)
            .then(|| Ending::Journal { journal: journal.facts() })
    }

    /// Whether `read` is later than `known`, both read from the same disk.
    pub fn is_later(known: Option<&Self>, read: &Self) -> bool {
        let known = known.map(Self::entry);
        protocol::is_later(known.as_ref(), &read.entry())
    }

    /// The step of this index.
    pub fn step(&self, index: usize) -> Option<&StepOrder> {
        self.change.steps.get(index)
    }

    /// Notes that a step is about to be taken. Again changes nothing.
    #[must_use]
    pub fn begin(mut self, step: usize) -> Self {
        if !self.begun.contains(&step) {
            self.begun.push(step);
        }
        self
    }

    /// Turns back: from now on what was begun is undone, also after a power cut. The first
    /// reason stays.
    #[must_use]
    pub fn turn_back(self, why: String) -> Self {
        match self.progress {
            Progress::Forward => Self { progress: Progress::Back { why }, ..self },
            _ => self,
        }
    }

    /// Closes it as in force and healthy. One that has turned back or ended stays as it is.
    #[must_use]
    pub fn close_done(self) -> Self {
        match self.progress {
            Progress::Forward => Self { progress: Progress::Done, ..self },
            _ => self,
        }
    }

    /// Closes it as put back. One that has ended stays as it is.
    #[must_use]
    pub fn close_undone(self, why: String) -> Self {
        if self.is_open() { Self { progress: Progress::Undone { why }, ..self } } else { self }
    }
}

impl JournalFacts {
    /// What the protocol looks at.
    pub fn entry(&self) -> Entry<&Run> {
        let stage = match self.state {
            JournalState::Open => Stage::Open,
            JournalState::Done => Stage::Done,
            JournalState::Undone { .. } => Stage::Undone,
        };
        Entry { attempt: self.attempt, run: &self.run, stage }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(attempt: u64) -> Change {
        Change {
            attempt: Attempt(attempt),
            may_disrupt: true,
            stability_seconds: 30,
            steps: Vec::new(),
        }
    }

    fn opened(attempt: u64) -> Journal {
        Journal::open(None, change(attempt), Run::from("r1")).expect("nothing is open")
    }

    #[test]
    fn what_is_written_is_read_back() {
        let journal = opened(3).begin(1).begin(0).begin(1).turn_back("it broke".into());
        assert_eq!(journal.begun, [1, 0]);
        let bytes = serde_json::to_vec(&journal).expect("it is JSON");
        assert_eq!(Journal::read(&bytes).expect("it is ours"), journal);
    }

    #[test]
    fn a_damaged_or_newer_journal_is_refused() {
        assert!(matches!(Journal::read(b"{"), Err(UnreadableJournal::Damaged(_))));
        let newer = Journal { version: JOURNAL_VERSION + 1, ..opened(3) };
        let bytes = serde_json::to_vec(&newer).expect("it is JSON");
        assert!(matches!(Journal::read(&bytes), Err(UnreadableJournal::Newer(2))));
    }

    #[test]
    fn a_journal_that_turned_back_is_never_done_and_an_ended_one_stays_ended() {
        let back = opened(3).turn_back("first".into()).turn_back("second".into());
        assert_eq!(back.progress, Progress::Back { why: "first".into() });
        assert_eq!(back.clone().close_done(), back);
        let undone = back.close_undone("first".into());
        assert_eq!(undone.clone().close_done(), undone);
        let done = opened(3).close_done();
        assert_eq!(done.clone().close_undone("late".into()), done);
        assert_eq!(done.clone().turn_back("late".into()), done);
    }

    #[test]
    fn an_attempt_on_record_is_answered_from_there() {
        let done = opened(3).close_done();
        let answer = Some(Ending::Journal { journal: done.facts() });
        assert_eq!(Journal::answer(Some(&done), Attempt(3)), answer);
        assert_eq!(Journal::answer(Some(&done), Attempt(2)), answer);
        assert_eq!(Journal::answer(Some(&done), Attempt(4)), None);
        assert_eq!(Journal::answer(Some(&opened(3)), Attempt(3)), None);
    }
}
