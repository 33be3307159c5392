//! Runs executors: fetches, starts, waits and kills.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot};

use super::super::Start;
use super::cells::{Cells, Survivor};
use super::fetch::Fetcher;
use crate::mesos::v1::CommandInfo;

/// The raw wait status of a process that SIGKILL has ended.
const KILLED: i32 = 9;
/// What a real agent reports for a container whose files could not be fetched.
const NOT_FETCHED: i32 = 256;
/// And for one whose program cannot be executed.
const NOT_EXECUTED: i32 = 256_256;

/// What has become of a container.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Happened {
    /// It runs.
    Started { container: String, pid: u32 },
    /// It has ended, or never started.
    Ended { container: String, status: i32, not_started: Option<String> },
}

/// The containers of one agent. They end when this is dropped, unless they have cells.
pub(crate) struct Runner {
    fetcher: Arc<Fetcher>,
    happened: mpsc::UnboundedSender<Happened>,
    running: HashMap<String, oneshot::Sender<()>>,
    cells: Option<Arc<Cells>>,
}

impl Runner {
    pub(crate) fn new(
        work_dir: &str,
        happened: mpsc::UnboundedSender<Happened>,
        cells: Option<Arc<Cells>>,
    ) -> Self {
        let fetcher = Arc::new(Fetcher::new(&Path::new(work_dir).join("fetch")));
        Self { fetcher, happened, running: HashMap::new(), cells }
    }

    pub(crate) fn start(&mut self, start: Start) {
        let (fetcher, happened) = (Arc::clone(&self.fetcher), self.happened.clone());
        let cells = self.cells.clone();
        let killed = self.register(&start.container);
        tokio::spawn(async move {
            let container = start.container.clone();
            let (status, not_started) = run(start, &fetcher, &happened, killed, cells).await;
            // Without anybody to hear it the world has ended.
            let _ = happened.send(Happened::Ended { container, status, not_started });
        });
    }

    /// Takes over a container that an earlier process of the agent had started. How it ends is not
    /// told to those who are not its parent: 0, unless it is killed here.
    pub(crate) fn adopt(&mut self, survivor: Survivor) {
        let (happened, cells) = (self.happened.clone(), self.cells.clone());
        let killed = self.register(&survivor.container);
        tokio::spawn(async move {
            let (container, pid) = (survivor.container.clone(), survivor.pid);
            let status = tokio::select! {
                () = survivor.ended() => 0,
                _ = killed => {
                    kill_all(pid, &container, cells.as_deref());
                    survivor.ended().await;
                    KILLED
                }
            };
            tidy(pid, &container, cells.as_deref()).await;
            let _ = happened.send(Happened::Ended { container, status, not_started: None });
        });
    }

    fn register(&mut self, container: &str) -> oneshot::Receiver<()> {
        self.running.retain(|_, kill| !kill.is_closed());
        let (kill, killed) = oneshot::channel();
        self.running.insert(container.to_owned(), kill);
        killed
    }

    /// Ends a container, if it has not ended.
    pub(crate) fn kill(&mut self, container: &str) {
        if let Some(kill) = self.running.remove(container) {
            // It may have ended meanwhile.
            let _ = kill.send(());
        }
    }
}

/// Containers in cells outlive it; that nobody can kill them any more must not mean that they are.
impl Drop for Runner {
    fn drop(&mut self) {
        if self.cells.is_some() {
            std::mem::forget(std::mem::take(&mut self.running));
        }
    }
}

/// The life of a container: its raw wait status, and why it has not started if it has not.
async fn run(
    start: Start,
    fetcher: &Fetcher,
    happened: &mpsc::UnboundedSender<Happened>,
    mut killed: oneshot::Receiver<()>,
    cells: Option<Arc<Cells>>,
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
    let cells = cells.as_deref();
    let mut child = match spawn(&start, sandbox, cells) {
        Ok(child) => child,
        Err(error) => {
            tracing::warn!(container, %error, "an executor cannot be executed");
            return (NOT_EXECUTED, None);
        }
    };
    let pid = child.id().unwrap_or_default();
    if let Some(error) = cells.and_then(|cells| cells.remember(container, pid).err()) {
        tracing::error!(container, %error, "a container will not be known after a restart");
    }
    let _ = happened.send(Happened::Started { container: container.clone(), pid });
    let ended = tokio::select! {
        ended = child.wait() => ended,
        _ = killed => {
            kill_all(pid, container, cells);
            child.wait().await
        }
    };
    tidy(pid, container, cells).await;
    (ended.map_or(-1, ExitStatusExt::into_raw), None)
}

fn spawn(start: &Start, sandbox: &Path, cells: Option<&Cells>) -> std::io::Result<Child> {
    let nothing = || std::io::Error::other("the executor has no command");
    let command = start.executor.command.as_ref().ok_or_else(nothing)?;
    let (stdout, stderr) =
        (File::create(sandbox.join("stdout"))?, File::create(sandbox.join("stderr"))?);
    let mut program = program(command, sandbox).ok_or_else(nothing)?;
    if let Some(cells) = cells {
        program = cells.around(&start.container, &start.executor, &program)?;
    }
    program
        .current_dir(sandbox)
        .env_clear()
        .envs(start.environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(stderr)
        .process_group(0)
        .kill_on_drop(cells.is_none())
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

/// Nothing of a container outlives it.
async fn tidy(pid: u32, container: &str, cells: Option<&Cells>) {
    kill_all(pid, container, cells);
    if let Some(cells) = cells {
        cells.remove(container).await;
    }
}

/// One that is gone already is nothing to speak of.
fn kill_all(pid: u32, container: &str, cells: Option<&Cells>) {
    if let Some(cells) = cells {
        cells.kill(container);
    }
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
    }
}
