//! One machine, as this room reaches it.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::dns::{Dns, DnsError};
use super::docker::{Docker, DockerError};
use super::download::{DownloadError, Downloads};
use super::files::{FileError, Root, Stamp};
use super::service::{Service, ServiceError, Services};
use super::state::{State, StateError};
use super::systemd::Systemd;
use crate::words::SpecHash;

/// Docker's socket; `/var/run` is a link of root's to `/run` on every system in use.
const SOCKET: &str = "/var/run/docker.sock";

/// Handles to everything on the machine that is looked at or changed.
#[derive(Clone, Debug)]
pub struct Host {
    /// Its files.
    pub root: Arc<Root>,
    /// What it remembers of us.
    pub state: State,
    /// Its services.
    pub services: Arc<dyn Services>,
    /// Its Docker, if there is one.
    pub docker: Docker,
    /// What it fetches.
    pub downloads: Downloads,
    /// The SHA-256 of large files, each with the stamp that the file had.
    digests: Arc<Mutex<BTreeMap<String, (Stamp, SpecHash)>>>,
    /// Where it looks names up.
    pub dns: Dns,
    /// The file of this very program.
    pub program: PathBuf,
    /// Between two looks at something that is to become so.
    pub look_again: Duration,
}

impl Host {
    /// This machine.
    pub fn this() -> Result<Self, HostError> {
        Self::below(Root::new("/"), Arc::new(Systemd::default()))
    }

    /// The machine whose files are below `root`.
    pub fn below(root: Root, services: Arc<dyn Services>) -> Result<Self, HostError> {
        let root = Arc::new(root);
        Ok(Self {
            state: State::new(Arc::clone(&root)),
            docker: Docker::new(&root.place(SOCKET))?,
            downloads: Downloads::new(Arc::clone(&root)),
            root,
            services,
            digests: Arc::default(),
            dns: Dns,
            // Also right when the file was replaced meanwhile.
            program: PathBuf::from("/proc/self/exe"),
            look_again: Duration::from_millis(250),
        })
    }
}

impl Host {
    /// The words that the main process of a unit was started with; none if it does not run.
    ///
    /// An executor may be in a PID namespace of its own, where the numbers that systemd says mean
    /// other processes or none. systemd then tells the words itself.
    pub async fn command_line(
        &self,
        name: &str,
        unit: &Service,
    ) -> Result<Option<Vec<String>>, HostError> {
        if unit.main_pid == 0 {
            return Ok(None);
        }
        if !self.sees_all_processes()? {
            let line = self.services.command_line(name, unit.main_pid).await?;
            return Ok(line.map(|line| line.split(' ').map(str::to_owned).collect()));
        }
        let line = self.root.read(&format!("/proc/{}/cmdline", unit.main_pid))?;
        Ok(line.map(|line| {
            let words = line.bytes.split(|byte| *byte == 0).filter(|word| !word.is_empty());
            words.map(|word| String::from_utf8_lossy(word).into_owned()).collect()
        }))
    }

    /// The SHA-256 of a file, read again only if it has changed; none if there is none.
    pub fn digest(&self, path: &str) -> Result<Option<SpecHash>, HostError> {
        let Some(stamp) = self.root.stamp(path)? else { return Ok(None) };
        let known = |digests: &BTreeMap<String, (Stamp, SpecHash)>| {
            digests.get(path).filter(|(of, _)| *of == stamp).map(|(_, digest)| *digest)
        };
        // A panic while it was held leaves nothing half done in it.
        let digests = || self.digests.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(digest) = known(&digests()) {
            return Ok(Some(digest));
        }
        let Some(found) = self.root.read(path)? else { return Ok(None) };
        let digest = SpecHash::of(&found.bytes);
        digests().insert(path.to_owned(), (stamp, digest));
        Ok(Some(digest))
    }

    /// Whether process numbers here are those of the machine.
    pub fn sees_all_processes(&self) -> Result<bool, HostError> {
        let first = self.root.text("/proc/1/comm")?.unwrap_or_default();
        Ok(matches!(first.trim(), "systemd" | "init"))
    }
}

/// Does what may wait for a lock, where it keeps nobody else waiting.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, HostError> + Send + 'static,
) -> Result<T, HostError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(HostError::Found(format!("it broke off: {error}"))))
}

/// What went wrong on a host.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each is said by what it wraps")]
pub enum HostError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Service(#[from] ServiceError),
    #[error(transparent)]
    Docker(#[from] DockerError),
    #[error(transparent)]
    Dns(#[from] DnsError),
    #[error(transparent)]
    Download(#[from] DownloadError),
    /// What was found is not what it has to be; the text says what, and what to do.
    #[error("{0}")]
    Found(String),
}

impl HostError {
    /// One sentence with all causes: it goes into journals and reports, where there is no chain.
    pub fn sentence(&self) -> String {
        let mut sentence = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            let said = error.to_string();
            if !sentence.ends_with(&said) {
                sentence = format!("{sentence}: {said}");
            }
            cause = error.source();
        }
        sentence
    }
}
