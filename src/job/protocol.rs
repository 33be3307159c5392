//! The host's half of the slot protocol (`budget` has the controller's): what a journal permits.
//!
//! Free of texts and targets, and open in what names a run, so that the model checker explores
//! these very functions with small numbers in place of random names.

use crate::words::Attempt;

/// How far the attempt in a journal has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// Begun and not ended.
    Open,
    /// In force, and was healthy for the stability time.
    Done,
    /// Failed and put back.
    Undone,
}

/// What the protocol looks at in a journal. `R` names a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Entry<R> {
    /// The attempt that was admitted.
    pub attempt: Attempt,
    /// The process that was admitted.
    pub run: R,
    /// How far it has come.
    pub stage: Stage,
}

/// Why a journal was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum NotOpened {
    /// Another attempt is at work on the host.
    #[error("attempt {0} has not ended on this host; this one can start when it has")]
    StillOpen(Attempt),
    /// The host has this attempt, or a newer one, on record already.
    #[error("the host has attempt {0} on record; only a newer one can start")]
    NotNewer(Attempt),
}

/// What a launch meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OnLaunch {
    /// Nothing stands against it: look, ask, and begin.
    Proceed,
    /// An attempt is at work; decide again when it has ended.
    Wait,
    /// It is not newer than what is on record: it is answered from there and never run again.
    Answer,
}

/// What to do with a launch for `attempt`.
pub fn on_launch<R>(journal: Option<&Entry<R>>, attempt: Attempt) -> OnLaunch {
    match journal {
        Some(entry) if entry.stage == Stage::Open => OnLaunch::Wait,
        Some(entry) if attempt <= entry.attempt => OnLaunch::Answer,
        _ => OnLaunch::Proceed,
    }
}

/// Whether an answer for `yes` is one to the question that was asked for `asked`: the yes to
/// another attempt, or to another process, is not.
pub fn answers<R: PartialEq>(asked: (Attempt, &R), yes: (Attempt, &R)) -> bool {
    asked == yes
}

/// The journal of an attempt that was admitted, to be synced to disk before anything is started.
pub fn open<R>(
    journal: Option<&Entry<R>>,
    attempt: Attempt,
    run: R,
) -> Result<Entry<R>, NotOpened> {
    match journal {
        Some(entry) if entry.stage == Stage::Open => Err(NotOpened::StillOpen(entry.attempt)),
        Some(entry) if attempt <= entry.attempt => Err(NotOpened::NotNewer(entry.attempt)),
        _ => Ok(Entry { attempt, run, stage: Stage::Open }),
    }
}

/// Whether a unit that was started for `attempt` and `run` may disrupt. Asked under the host's
/// lock: a unit that waited for it may find that its attempt is long over.
pub fn admits<R: PartialEq>(journal: Option<&Entry<R>>, attempt: Attempt, run: &R) -> bool {
    journal.is_some_and(|entry| {
        entry.stage == Stage::Open && entry.attempt == attempt && entry.run == *run
    })
}

/// The attempt and run that whoever starts on this host must carry on, without asking again.
pub fn carry_on<R>(journal: Option<&Entry<R>>) -> Option<(Attempt, &R)> {
    let entry = journal.filter(|entry| entry.stage == Stage::Open)?;
    Some((entry.attempt, &entry.run))
}

/// The journal after its attempt ended; none if it had ended before.
pub fn close<R>(entry: Entry<R>, done: bool) -> Option<Entry<R>> {
    let stage = if done { Stage::Done } else { Stage::Undone };
    (entry.stage == Stage::Open).then_some(Entry { stage, ..entry })
}

/// Whether a journal just read from disk is later than the one known. Readings may arrive late;
/// attempts only rise, and a closed journal is never opened again.
pub fn is_later<R>(known: Option<&Entry<R>>, read: &Entry<R>) -> bool {
    known.is_none_or(|known| {
        read.attempt > known.attempt
            || (read.attempt == known.attempt
                && (known.stage == Stage::Open || read.stage == known.stage))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn entry(attempt: u64, run: u8, stage: Stage) -> Entry<u8> {
        Entry { attempt: Attempt(attempt), run, stage }
    }
    const OPEN: Entry<u8> = entry(5, 1, Stage::Open);
    const DONE: Entry<u8> = entry(5, 1, Stage::Done);
    const UNDONE: Entry<u8> = entry(5, 1, Stage::Undone);

    #[test]
    fn a_launch_runs_only_if_it_is_newer_than_a_closed_journal() {
        for (journal, attempt, expected) in [
            (None, 1, OnLaunch::Proceed),
            (Some(DONE), 6, OnLaunch::Proceed),
            (Some(UNDONE), 6, OnLaunch::Proceed),
            (Some(DONE), 5, OnLaunch::Answer),
            (Some(UNDONE), 5, OnLaunch::Answer),
            (Some(UNDONE), 4, OnLaunch::Answer),
            (Some(OPEN), 5, OnLaunch::Wait),
            (Some(OPEN), 6, OnLaunch::Wait),
            (Some(OPEN), 4, OnLaunch::Wait),
        ] {
            assert_eq!(on_launch(journal.as_ref(), Attempt(attempt)), expected, "{journal:?}");
            // What proceeds can be opened, and nothing else can.
            let opened = open(journal.as_ref(), Attempt(attempt), 2);
            assert_eq!(opened.is_ok(), expected == OnLaunch::Proceed, "{journal:?}");
        }
    }

    #[test]
    fn a_unit_is_admitted_only_to_an_open_journal_of_its_own_attempt_and_run() {
        for (journal, attempt, run, expected) in [
            (Some(OPEN), 5, 1, true),
            (Some(OPEN), 5, 2, false),
            (Some(OPEN), 4, 1, false),
            (Some(OPEN), 6, 1, false),
            (Some(DONE), 5, 1, false),
            (Some(UNDONE), 5, 1, false),
            (None, 5, 1, false),
        ] {
            let admitted = admits(journal.as_ref(), Attempt(attempt), &run);
            assert_eq!(admitted, expected, "{journal:?} {attempt} {run}");
        }
    }

    #[test]
    fn only_a_yes_to_this_attempt_and_this_run_is_an_answer() {
        assert!(answers((Attempt(5), &1), (Attempt(5), &1)));
        assert!(!answers((Attempt(5), &1), (Attempt(4), &1)));
        assert!(!answers((Attempt(5), &1), (Attempt(5), &2)));
    }

    #[test]
    fn a_journal_is_closed_once() {
        assert_eq!(close(OPEN, true), Some(DONE));
        assert_eq!(close(OPEN, false), Some(UNDONE));
        assert_eq!(close(DONE, false), None);
        assert_eq!(carry_on(Some(&OPEN)), Some((Attempt(5), &1)));
        assert_eq!(carry_on(Some(&UNDONE)), None);
    }

    #[test]
    fn a_late_reading_never_takes_a_journal_back() {
        assert!(is_later(None, &OPEN));
        assert!(is_later(Some(&OPEN), &DONE));
        assert!(is_later(Some(&DONE), &entry(6, 2, Stage::Open)));
        assert!(!is_later(Some(&DONE), &OPEN));
        assert!(!is_later(Some(&OPEN), &entry(4, 9, Stage::Done)));
    }
}
