//! What a host remembers of us, below `/var/lib/calico-dcos`: the journal, the lock, what was
//! there before an attempt, what was last put in force, and a copy of our program.
//!
//! Every file carries a version, is replaced as a whole and synced. A file that cannot be read is
//! an error and never taken as none: what is not known to be closed is not begun anew.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::files::{Attributes, FileError, Found, Root, Staging};
use crate::desired::ComponentSpec;
use crate::job::journal::{Journal, UnreadableJournal};
use crate::words::{Attempt, Component, SpecHash, TaskId};

/// Everything of ours that survives a reboot.
pub const FOLDER: &str = "/var/lib/calico-dcos";
const VERSION: u32 = 1;
/// In the folder of what was kept: why it could not be put back.
const NOT_PUT_BACK: &str = "not-put-back";
/// So many of those stay.
const MOST_NOT_PUT_BACK: usize = 8;

/// What went wrong with the state.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are said by the texts")]
pub enum StateError {
    /// A file cannot be read or written.
    #[error("the state of this host cannot be kept")]
    File(#[from] FileError),
    /// The journal cannot be gone by.
    #[error("the journal in {FOLDER} cannot be gone by")]
    Journal(#[from] UnreadableJournal),
    /// Another file cannot be gone by.
    #[error("{file} is damaged; look at what it is about, and move it away")]
    Damaged { file: String, source: serde_json::Error },
    /// Another file is of a newer release.
    #[error("{file} is of version {found}, this release reads up to {VERSION}; run the newer one")]
    Newer { file: String, found: u32 },
    /// A component is still as we have made it.
    #[error("{0} is still in force; take it off first (`enabled: false`)")]
    InForce(Component),
    /// A change has not ended.
    #[error("attempt {0} is still at work")]
    AtWork(Attempt),
    /// The lock cannot be had.
    #[error("the lock of this host cannot be taken; is {FOLDER} on a local file system?")]
    Lock(#[source] io::Error),
}

/// Who reports of this host.
#[derive(Serialize, Deserialize)]
struct Claim {
    version: u32,
    /// The start of its executor, by which the release before judges.
    starts: u64,
    /// The task. None where the release before wrote it.
    #[serde(default)]
    observer: Option<TaskId>,
}

/// What was last put in force of a component. It proves nothing by itself: an observer compares
/// what it finds with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Version of the record.
    pub version: u32,
    /// The attempt that put it in force.
    pub attempt: Attempt,
    /// What was put in force.
    pub target: ComponentSpec,
    /// What the step needs to know later, in a form of its own.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub notes: Value,
    /// What was there before the first change of ours, for the day the component is taken off.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub before: Value,
}

impl Record {
    /// What `attempt` puts in force. What was there `before` is that of the record `known`, if there is one.
    pub fn new(
        attempt: Attempt,
        target: &ComponentSpec,
        known: Option<&Self>,
        before: Value,
    ) -> Self {
        let before = known.map_or(before, |known| known.before.clone());
        Self { version: VERSION, attempt, target: target.clone(), notes: Value::Null, before }
    }
}

/// What was there before an attempt touched a component.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Each file that may be touched, as it was; none: there was none.
    pub files: Vec<(String, Option<Found>)>,
    /// What the step needs to know to put it back, in a form of its own.
    pub notes: Value,
    /// The record.
    pub record: Option<Record>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    version: u32,
    files: Vec<(String, Option<Attributes>)>,
    notes: Value,
    record: Option<Record>,
}

/// Held until it is dropped, or the process ends.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "it is the open file that holds the lock")] OwnedFd);

/// The state of one host.
#[derive(Clone, Debug)]
pub struct State {
    root: Arc<Root>,
}

impl State {
    /// The state below a root.
    pub fn new(root: Arc<Root>) -> Self {
        Self { root }
    }

    /// The journal; none if no attempt was ever admitted here.
    pub fn journal(&self) -> Result<Option<Journal>, StateError> {
        let found = self.root.read(&path("journal.json"))?;
        Ok(found.map(|found| Journal::read(&found.bytes)).transpose()?)
    }

    /// Writes the journal, synced when this returns.
    pub fn write_journal(&self, journal: &Journal) -> Result<(), StateError> {
        self.write("journal.json", journal)
    }

    /// Waits for the lock of who changes the host. It blocks: call it where that is allowed.
    pub fn lock(&self) -> Result<Lock, StateError> {
        self.lock_of("lock")
    }

    /// Takes the reports of this host for an observer that was just launched, in the executor before which so
    /// many have started. Two may run for a while, when Mesos takes one for lost that is not.
    pub fn take_reports(&self, observer: &TaskId, starts: u64) -> Result<(), StateError> {
        let _lock = self.lock_of("observer.lock")?;
        let claim = Claim { version: VERSION, starts, observer: Some(observer.clone()) };
        self.write("observer.json", &claim)
    }

    /// Whether nobody has taken the reports of this host since this observer did.
    pub fn has_reports(&self, observer: &TaskId) -> Result<bool, StateError> {
        let _lock = self.lock_of("observer.lock")?;
        let claim = self.read::<Claim>("observer.json")?;
        Ok(claim.is_some_and(|claim| claim.observer.as_ref() == Some(observer)))
    }

    /// Counts a start of an executor, and gives how many there were before it.
    pub fn count_start(&self) -> Result<u64, StateError> {
        #[derive(Default, Serialize, Deserialize)]
        struct Starts {
            version: u32,
            starts: u64,
        }
        let starts = self.read::<Starts>("starts.json")?.unwrap_or_default().starts;
        self.write("starts.json", &Starts { version: VERSION, starts: starts + 1 })?;
        Ok(starts)
    }

    /// What was last put in force of a component.
    pub fn record(&self, component: Component) -> Result<Option<Record>, StateError> {
        self.read(&record_file(component))
    }

    /// Whether the record says this hash.
    pub fn recorded(&self, component: Component) -> Result<Option<SpecHash>, StateError> {
        Ok(self.record(component)?.map(|record| record.target.hash))
    }

    /// Writes or removes a record.
    pub fn set_record(
        &self,
        component: Component,
        record: Option<&Record>,
    ) -> Result<(), StateError> {
        let file = record_file(component);
        match record {
            Some(record) => self.write(&file, record),
            None => Ok(self.root.remove(&path(&file)).map(drop)?),
        }
    }

    /// Keeps what is there, once for an attempt: a second call changes nothing, as what is there
    /// by then may be of our making.
    pub fn keep(
        &self,
        attempt: Attempt,
        component: Component,
        files: &[String],
        notes: Value,
    ) -> Result<Kept, StateError> {
        if let Some(kept) = self.kept(attempt, component)? {
            return Ok(kept);
        }
        let folder = kept_folder(attempt, component);
        let mut kept = Kept { files: Vec::new(), notes, record: self.record(component)? };
        for (number, file) in files.iter().enumerate() {
            let found = self.root.read(file)?;
            if let Some(found) = &found {
                let copy = path(&format!("{folder}/{number}"));
                self.root.write(&copy, &found.bytes, 0o600, Staging::Beside)?;
            }
            kept.files.push((file.clone(), found));
        }
        let attributes = |found: &Option<Found>| found.as_ref().map(|f| f.attributes.clone());
        let manifest = Manifest {
            version: VERSION,
            files: kept
                .files
                .iter()
                .map(|(file, found)| (file.clone(), attributes(found)))
                .collect(),
            notes: kept.notes.clone(),
            record: kept.record.clone(),
        };
        // The manifest comes last: what is not complete was never kept.
        self.write(&format!("{folder}/manifest.json"), &manifest)?;
        Ok(kept)
    }

    /// What was kept for an attempt; none if it has not begun on this component.
    pub fn kept(&self, attempt: Attempt, component: Component) -> Result<Option<Kept>, StateError> {
        let folder = kept_folder(attempt, component);
        let Some(manifest) = self.read::<Manifest>(&format!("{folder}/manifest.json"))? else {
            return Ok(None);
        };
        let mut files = Vec::new();
        for (number, (file, attributes)) in manifest.files.into_iter().enumerate() {
            let found = match attributes {
                None => None,
                Some(attributes) => {
                    let copy = path(&format!("{folder}/{number}"));
                    let read = self.root.read(&copy)?.ok_or_else(|| {
                        let source = io::Error::from(io::ErrorKind::NotFound);
                        FileError::Failed { path: copy, what: "read", source }
                    })?;
                    Some(Found { bytes: read.bytes, attributes })
                }
            };
            files.push((file, found));
        }
        Ok(Some(Kept { files, notes: manifest.notes, record: manifest.record }))
    }

    /// Puts back the files and the record that were kept. The record comes first: without it what
    /// is found is not taken as ours. A file that cannot be put back keeps neither the others nor the record from it:
    /// without that it would be forgotten that something of ours is there.
    pub fn put_back(&self, component: Component, kept: &Kept) -> Result<(), StateError> {
        self.set_record(component, None)?;
        let mut failed = None;
        for (file, found) in &kept.files {
            // From above, as there are folders in which every file counts; that does not work if
            // the folder is mounted.
            let from = |staging| self.root.restore(file, found.as_ref(), staging);
            if let Err(error) = from(Staging::Above).or_else(|_| from(Staging::Beside)) {
                failed = Some(error);
            }
        }
        self.set_record(component, kept.record.as_ref())?;
        failed.map_or(Ok(()), |error| Err(error.into()))
    }

    /// Notes why what was kept could not be put back, or that it was. Gives the folder that people will
    /// find it in; none if nothing was kept, or is needed any more.
    pub fn note_undo(
        &self,
        attempt: Attempt,
        component: Component,
        failed: Option<&str>,
    ) -> Result<Option<String>, StateError> {
        let folder = path(&kept_folder(attempt, component));
        let note = format!("{folder}/{NOT_PUT_BACK}");
        let Some(why) = failed else { return Ok(self.root.remove(&note).map(|_| None)?) };
        // Also where not all of it can be read any more: what can be is worth keeping.
        if self.root.stamp(&format!("{folder}/manifest.json"))?.is_none() {
            return Ok(None);
        }
        self.root.write(&note, format!("{why}\n").as_bytes(), 0o600, Staging::Beside)?;
        Ok(Some(folder))
    }

    /// Forgets what was kept for attempts before this one. What could not be put back is the only copy
    /// of what was there, and stays: of each component the first, which is from before anything of ours,
    /// and the newest few. One that cannot be removed does not keep the others from it.
    pub fn forget_before(&self, attempt: Attempt) -> Result<(), StateError> {
        let (mut needed, mut forgotten, mut failed) = (Vec::new(), Vec::new(), None);
        for name in self.root.list(&path("kept"))? {
            let (number, component) = name.split_once('-').unwrap_or((&name, ""));
            let of = number.parse::<u64>().ok();
            let folder = path(&format!("kept/{name}"));
            if of.is_some_and(|of| of >= attempt.0) {
                continue;
            }
            match self.root.stamp(&format!("{folder}/{NOT_PUT_BACK}")) {
                Ok(Some(_)) => needed.push((of, component.to_owned(), folder)),
                Ok(None) => forgotten.push(folder),
                Err(error) => failed = Some(error.into()),
            }
        }
        needed.sort();
        let mut components = BTreeSet::new();
        needed.retain(|(_, component, _)| !components.insert(component.clone()));
        needed.truncate(needed.len().saturating_sub(MOST_NOT_PUT_BACK));
        forgotten.extend(needed.into_iter().map(|(.., folder)| folder));
        for folder in forgotten {
            if let Err(error) = self.remove_folder(&folder) {
                failed = Some(error);
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// All that records, backups and the journal say, for looking up what is still needed.
    pub fn texts(&self) -> Result<String, StateError> {
        let mut files = vec![path("journal.json")];
        let records = self.root.list(&path("in-force"))?;
        files.extend(records.iter().map(|record| path(&format!("in-force/{record}"))));
        let kept = self.root.list(&path("kept"))?;
        files.extend(kept.iter().map(|folder| path(&format!("kept/{folder}/manifest.json"))));
        let texts: Result<Vec<_>, _> = files.iter().map(|file| self.root.text(file)).collect();
        Ok(texts?.into_iter().flatten().collect())
    }

    /// The folder is root's, and nothing in it is a link that somebody else has made.
    fn remove_folder(&self, folder: &str) -> Result<(), StateError> {
        let path = || folder.to_owned();
        let failed = |source| FileError::Failed { path: path(), what: "removed", source };
        Ok(std::fs::remove_dir_all(self.root.place(folder)).map_err(failed)?)
    }

    /// Waits for the lock, with nothing left to remember: no component is in force, and no change at work.
    pub fn lock_to_leave(&self) -> Result<Lock, StateError> {
        let lock = self.lock()?;
        if let Some(open) = self.journal()?.filter(Journal::is_open) {
            return Err(StateError::AtWork(open.attempt()));
        }
        for component in Component::ALL {
            if self.record(component)?.is_some() {
                return Err(StateError::InForce(component));
            }
        }
        Ok(lock)
    }

    /// Removes everything, the folder too.
    pub fn forget_all(&self, lock: Lock) -> Result<(), StateError> {
        let removed = self.remove_folder(FOLDER);
        drop(lock);
        removed
    }

    fn lock_of(&self, name: &str) -> Result<Lock, StateError> {
        // The folder is made by a write: the lock may be the first thing of all.
        self.root.write(&path("README"), README, 0o644, Staging::Beside)?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let failed = |error: rustix::io::Errno| StateError::Lock(error.into());
        let place = self.root.place(&path(name));
        let file = open(place, flags, Mode::from_raw_mode(0o600)).map_err(failed)?;
        flock(&file, FlockOperation::LockExclusive).map_err(failed)?;
        Ok(Lock(file))
    }

    /// Reads a file of the state.
    pub(super) fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, StateError> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let file = path(name);
        let Some(found) = self.root.read(&file)? else { return Ok(None) };
        let damaged = |source| StateError::Damaged { file: file.clone(), source };
        let Versioned { version } = serde_json::from_slice(&found.bytes).map_err(damaged)?;
        if version > VERSION {
            return Err(StateError::Newer { file, found: version });
        }
        serde_json::from_slice(&found.bytes).map(Some).map_err(damaged)
    }

    pub(super) fn write(&self, name: &str, value: &impl Serialize) -> Result<(), StateError> {
        let file = path(name);
        let bytes = serde_json::to_vec(value)
            .map_err(|source| StateError::Damaged { file: file.clone(), source })?;
        self.root.write(&file, &bytes, 0o600, Staging::Beside)?;
        Ok(())
    }
}

const README: &[u8] = b"What calico-dcos has to remember of this host. An attempt that is open in \
journal.json is\ncarried on by whoever finds it; do not remove it while it is open.\n";

fn path(name: &str) -> String {
    format!("{FOLDER}/{name}")
}

fn record_file(component: Component) -> String {
    format!("in-force/{component}.json")
}

fn kept_folder(attempt: Attempt, component: Component) -> String {
    format!("kept/{attempt}-{component}")
}

#[cfg(test)]
mod tests;
