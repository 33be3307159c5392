//! Runs executors: fetches, starts, waits and kills.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot};

use super::super::Start;
use super::fetch::Fetcher;
use crate::mesos::v1::CommandInfo;

/// The raw wait status of a process that SIGKILL has ended.
const KILLED: i32 = 9;
/// What a real agent reports for a container whose files could not be fetched.
const NOT_FETCHED: i32 = 256;
/// And for one whose program cannot be executed.
const NOT_EXECUTED: i32 = 256_256;

/// What has become of a container.
#[derive(Debug)]
pub(super) enum Happened {
    /// It runs.
    Started { container: String, pid: u32 },
    /// It has ended, or never started.
    Ended { container: String, status: i32, not_started: Option<String> },
}

/// The containers of one agent. They end when this is dropped.
pub(super) struct Runner {
    fetcher: Arc<Fetcher>,
    happened: mpsc::UnboundedSender<Happened>,
    running: HashMap<String, oneshot::Sender<()>>,
}

impl Runner {
    pub(super) fn new(work_dir: &str, happened: mpsc::UnboundedSender<Happened>) -> Self {
        let fetcher = Arc::new(Fetcher::new(&Path::new(work_dir).join("fetch")));
        Self { fetcher, happened, running: HashMap::new() }
    }

    pub(super) fn start(&mut self, start: Start) {
        self.running.retain(|_, kill| !kill.is_closed());
        let (kill, killed) = oneshot::channel();
        self.running.insert(start.container.clone(), kill);
        let (fetcher, happened) = (Arc::clone(&self.fetcher), self.happened.clone());
        tokio::spawn(async move {
            let container = start.container.clone();
            let (status, not_started) = run(start, &fetcher, &happened, killed).await;
            // Without anybody to hear it the world has ended.
            let _ = happened.send(Happened::Ended { container, status, not_started });
        });
    }

    /// Ends a container, if it has not ended.
    pub(super) fn kill(&mut self, container: &str) {
        if let Some(kill) = self.running.remove(container) {
            // It may have ended meanwhile.
            let _ = kill.send(());
        }
    }
}

/// The life of a container: its raw wait status, and why it has not started if it has not.
async fn run(
    start: Start,
    fetcher: &Fetcher,
    happened: &mpsc::UnboundedSender<Happened>,
    mut killed: oneshot::Receiver<()>,
) -> (i32, Option<String>) {
    let container = &start.container;
    let sandbox = Path::new(&start.directory);
    let uris = start.executor.command.iter().flat_map(|command| &command.uris);
    let files = async {
        tokio::fs::create_dir_all(sandbox).await.map_err(|error| error.to_string())?;
        for uri in uris {
            fetcher.fetch(uri, sandbox).await.map_err(|error| error.to_string())?;
        }
        Ok::<_, String>(())
    };
    let done = tokio::select! {
        done = files => done,
        // Dropped without a word, it means the same.
        _ = &mut killed => return (KILLED, None),
    };
    if let Err(why) = done {
        tracing::warn!(container, why, "the files of an executor cannot be fetched");
        // As a real agent says it, which does not say why.
        let text = format!(
            "Failed to launch container: Failed to fetch all URIs for container '{container}': \
             exited with status 1"
        );
        return (NOT_FETCHED, Some(text));
    }
    let mut child = match spawn(&start, sandbox) {
        Ok(child) => child,
        Err(error) => {
            tracing::warn!(container, %error, "an executor cannot be executed");
            return (NOT_EXECUTED, None);
        }
    };
    let pid = child.id().unwrap_or_default();
    let _ = happened.send(Happened::Started { container: container.clone(), pid });
    let ended = tokio::select! {
        ended = child.wait() => ended,
        _ = killed => {
            kill_group(pid);
            child.wait().await
        }
    };
    // Nothing of a container outlives it.
    kill_group(pid);
    (ended.map_or(-1, ExitStatusExt::into_raw), None)
}

fn spawn(start: &Start, sandbox: &Path) -> std::io::Result<Child> {
    let nothing = || std::io::Error::other("the executor has no command");
    let command = start.executor.command.as_ref().ok_or_else(nothing)?;
    let (stdout, stderr) =
        (File::create(sandbox.join("stdout"))?, File::create(sandbox.join("stderr"))?);
    program(command, sandbox)
        .ok_or_else(nothing)?
        .current_dir(sandbox)
        .env_clear()
        .envs(start.environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(stderr)
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
}

/// A line for the shell, or a program: one with a relative path is in the sandbox, and its
/// arguments begin with its name.
fn program(command: &CommandInfo, sandbox: &Path) -> Option<Command> {
    let value = command.value.as_deref()?;
    if command.shell {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", value]);
        return Some(shell);
    }
    let path = if value.contains('/') { sandbox.join(value) } else { value.into() };
    let mut program = Command::new(path);
    let mut arguments = command.arguments.iter();
    if let Some(name) = arguments.next() {
        program.arg0(name);
    }
    program.args(arguments);
    Some(program)
}

/// One that is gone already is nothing to speak of.
fn kill_group(pid: u32) {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
    }
}
