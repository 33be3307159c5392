//! The services of a machine, as the steps see them.

use std::convert::Infallible;

use futures_util::future::BoxFuture;

use super::watch::Sign;

/// What went wrong with a service.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are said by the texts")]
pub enum ServiceError {
    /// systemd cannot be reached.
    #[error("systemd does not answer on the system bus; is dbus up, and does this run as root?")]
    NoBus { source: Box<dyn std::error::Error + Send + Sync> },
    /// It answered that it will not.
    #[error("systemd refuses {what}: {text} ({name})")]
    Refused { what: &'static str, name: String, text: String },
    /// It does not answer.
    #[error("systemd does not answer to {what}; look at its log")]
    Silent { what: &'static str },
    /// It answered something else.
    #[error("systemd's {what} is not what any known version says")]
    Strange { what: &'static str },
    /// A job takes too long.
    #[error("{unit} has not come to rest within {seconds} s; `systemctl status {unit}` says why")]
    Slow { unit: String, seconds: u64 },
    /// A start that did not work.
    #[error("{unit} is not up; `journalctl -u {unit}` says why")]
    NotUp { unit: String },
}

/// What a unit is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// Up.
    Active,
    /// On its way up or down, or reading its configuration again.
    Changing,
    /// Down.
    Inactive,
    /// Down, and not as it should be.
    Failed,
}

impl Activity {
    /// systemd's `ActiveState`.
    pub(super) fn read(state: &str) -> Self {
        match state {
            "active" => Self::Active,
            "failed" => Self::Failed,
            "inactive" => Self::Inactive,
            _ => Self::Changing,
        }
    }
}

/// A unit that there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// What it is doing.
    pub activity: Activity,
    /// systemd's `UnitFileState`, such as `enabled`.
    pub file_state: String,
    /// Its main process; 0 if none runs.
    pub main_pid: u32,
    /// When that process was started, in microseconds of the monotonic clock; 0 if never.
    pub started_us: u64,
}

impl Service {
    /// Something runs that a stop or restart would end.
    pub fn is_up(&self) -> bool {
        matches!(self.activity, Activity::Active | Activity::Changing)
    }
}

/// A unit without a file, for one process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transient {
    /// Its name, with `.service`.
    pub name: String,
    /// For people.
    pub description: String,
    /// Program and arguments.
    pub command: Vec<String>,
}

/// The services of a machine. A unit is named in full, such as `docker.service`.
pub trait Services: Send + Sync + std::fmt::Debug {
    /// The unit; none if there is no such unit.
    fn look<'a>(&'a self, unit: &'a str) -> BoxFuture<'a, Result<Option<Service>, ServiceError>>;
    /// The words of a process of a unit, joined by blanks, as systemd sees it; none if it has ended.
    fn command_line<'a>(
        &'a self,
        unit: &'a str,
        pid: u32,
    ) -> BoxFuture<'a, Result<Option<String>, ServiceError>>;
    /// Says whenever one of these units, or what files units have, has changed. Ends when that
    /// cannot be known any more.
    fn watch<'a>(
        &'a self,
        units: &'a [&'static str],
        sign: &'a Sign,
    ) -> BoxFuture<'a, Result<Infallible, ServiceError>>;
    /// Starts it; nothing if it runs. Ready when it is up.
    fn start<'a>(&'a self, unit: &'a str) -> BoxFuture<'a, Result<(), ServiceError>>;
    /// Stops it if it runs, and starts it. Ready when it is up.
    fn restart<'a>(&'a self, unit: &'a str) -> BoxFuture<'a, Result<(), ServiceError>>;
    /// Has it read its configuration again.
    fn reload<'a>(&'a self, unit: &'a str) -> BoxFuture<'a, Result<(), ServiceError>>;
    /// Stops it. Ready when it is down.
    fn stop<'a>(&'a self, unit: &'a str) -> BoxFuture<'a, Result<(), ServiceError>>;
    /// Forgets that it failed, and how often: after several failures systemd starts it no more.
    fn reset_failed<'a>(&'a self, unit: &'a str) -> BoxFuture<'a, Result<(), ServiceError>>;
    /// Has it started at boot.
    fn enable<'a>(&'a self, unit: &'a str) -> BoxFuture<'a, Result<(), ServiceError>>;
    /// Has it not started at boot any more.
    fn disable<'a>(&'a self, unit: &'a str) -> BoxFuture<'a, Result<(), ServiceError>>;
    /// Has systemd read the files of units again.
    fn read_files_again(&self) -> BoxFuture<'_, Result<(), ServiceError>>;
    /// Starts a process as a unit of its own, unless one of this name runs.
    fn start_transient<'a>(
        &'a self,
        unit: &'a Transient,
    ) -> BoxFuture<'a, Result<(), ServiceError>>;
}
