//! Containers that outlive the process of their agent, as Mesos' linux launcher makes them: each in
//! a control group of its own, and written down in the work directory.
//!
//! Only in the hierarchies of the first version, if there are any: systemd then may track the
//! agent's unit in the second, and ends the executors with the unit (recorded in e31a and e36). Of the
//! first, those that systemd and Mesos look at are enough: `name=systemd` and `freezer`.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use tokio::process::Command;

use crate::mesos::v1::ExecutorInfo;

/// Where a shell moves itself before it becomes the program, so that nothing that the program starts
/// stays behind in the agent's group.
const MOVE: &str =
    r#"while [ "$1" != -- ]; do echo $$ >"$1" || exit 1; shift; done; shift; exec "$@""#;

/// The first process of a PID namespace, as Mesos has one: the kernel keeps signals from it that it does
/// not handle, and so from a program in its place. It passes on that it shall end.
const FIRST: &str = r#""$@" & child=$!; trap 'kill -TERM $child' TERM
while wait $child; status=$?; kill -0 $child 2>/dev/null; do :; done; exit $status"#;

/// How the processes of containers are kept apart from the agent's.
#[derive(Debug)]
pub(crate) struct Cells {
    /// One file for each container.
    files: PathBuf,
    /// The groups in which each container has its own.
    groups: Vec<PathBuf>,
    /// `namespaces/pid`.
    pid_namespace: bool,
}

/// A container, as it is written down.
#[derive(Debug, Serialize, Deserialize)]
struct Cell {
    version: u32,
    pid: u32,
    /// In clock ticks since the machine started: with the process ID, it names a process for good.
    started: u64,
}

/// One that still runs, though its parent has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Survivor {
    pub(crate) container: String,
    pub(crate) pid: u32,
    started: u64,
}

impl Survivor {
    fn runs(&self) -> bool {
        start_of(self.pid) == Some(self.started)
    }

    /// Nobody but its parent is told of its end, so it is looked for.
    pub(super) async fn ended(&self) {
        while self.runs() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Cells {
    /// Makes the folders and groups.
    pub(crate) fn new(
        files: PathBuf,
        groups: Vec<PathBuf>,
        pid_namespace: bool,
    ) -> io::Result<Self> {
        std::fs::create_dir_all(&files)?;
        for group in &groups {
            std::fs::create_dir_all(group)?;
        }
        Ok(Self { files, groups, pid_namespace })
    }

    /// The groups for containers below that of the machine's first process, by `/proc/1/cgroup`. On
    /// a machine whose hierarchies others see too, the root would be everybody's.
    pub(crate) fn groups_of_machine(first_process: &str) -> Vec<PathBuf> {
        let lines: Vec<_> = first_process
            .lines()
            .filter_map(|line| line.split_once(':')?.1.split_once(':'))
            .collect();
        let group = |root: &str, path: &str| {
            let path = path.strip_suffix("/init.scope").unwrap_or(path).trim_matches('/');
            Path::new("/sys/fs/cgroup").join(root).join(path).join("mesos")
        };
        let mut groups = Vec::new();
        for (controller, root) in [("name=systemd", "systemd"), ("freezer", "freezer")] {
            let found = lines.iter().find(|(names, _)| names.split(',').any(|n| n == controller));
            groups.extend(found.map(|(_, path)| group(root, path)));
        }
        if groups.is_empty() {
            groups.extend(
                lines.iter().filter(|(name, _)| name.is_empty()).map(|(_, p)| group("", p)),
            );
        }
        groups
    }

    /// The program, moved into its groups before it begins, and into namespaces of its own.
    pub(super) fn around(
        &self,
        container: &str,
        executor: &ExecutorInfo,
        program: &Command,
    ) -> io::Result<Command> {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", MOVE, "sh"]);
        for group in &self.groups {
            let own = group.join(container);
            std::fs::create_dir_all(&own)?;
            shell.arg(own.join("cgroup.procs"));
        }
        shell.arg("--");
        if self.pid_namespace && !shares_pid_namespace(executor) {
            shell.args(["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]);
            shell.args(["--propagation", "slave", "--"]);
            shell.args(["/bin/sh", "-c", FIRST, "sh"]);
        }
        // The name under which the program believes to run is lost; nothing here asks for it.
        shell.arg(program.as_std().get_program()).args(program.as_std().get_args());
        Ok(shell)
    }

    /// Writes a container down.
    pub(super) fn remember(&self, container: &str, pid: u32) -> io::Result<()> {
        // It may have ended by now.
        let Some(started) = start_of(pid) else { return Ok(()) };
        let json = serde_json::to_vec(&Cell { version: 1, pid, started })?;
        let file = self.files.join(container);
        // Under its name only when it is whole.
        let partial = file.with_extension("partial");
        std::fs::write(&partial, json)?;
        std::fs::rename(&partial, file)
    }

    /// Ends all that is in the container's groups.
    pub(super) fn kill(&self, container: &str) {
        for group in &self.groups {
            kill_in(&group.join(container));
        }
    }

    /// Forgets a container that has ended, once its groups are empty.
    pub(super) async fn remove(&self, container: &str) {
        for group in &self.groups {
            let own = group.join(container);
            for _ in 0..100 {
                kill_in(&own);
                let removed = std::fs::remove_dir(&own);
                if removed.is_ok() || !own.exists() {
                    break;
                }
                // The dead leave their group when somebody has taken note of their end.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        // Without a file it had ended before it was written down.
        let _ = std::fs::remove_file(self.files.join(container));
    }

    /// What is left of earlier processes of the agent: those that run; all others are cleared away,
    /// as are groups that nobody has written down.
    pub(crate) async fn recover(&self) -> io::Result<Vec<Survivor>> {
        let mut survivors = Vec::new();
        for entry in std::fs::read_dir(&self.files)? {
            let path = entry?.path();
            let container = name_of(&path);
            let cell = std::fs::read(&path).ok();
            let cell = cell.and_then(|json| serde_json::from_slice::<Cell>(&json).ok());
            let known = cell.map(|Cell { pid, started, .. }| Survivor {
                container: container.clone(),
                pid,
                started,
            });
            match known.filter(Survivor::runs) {
                Some(survivor) => survivors.push(survivor),
                None => self.remove(&container).await,
            }
        }
        for group in &self.groups {
            for entry in std::fs::read_dir(group)?.filter_map(Result::ok) {
                let container = name_of(&entry.path());
                let known = survivors.iter().any(|survivor| survivor.container == container);
                if !known && entry.file_type()?.is_dir() {
                    tracing::warn!(container, "an orphaned container is killed");
                    self.remove(&container).await;
                }
            }
        }
        Ok(survivors)
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn shares_pid_namespace(executor: &ExecutorInfo) -> bool {
    executor
        .rest
        .get("container")
        .and_then(|container| container.pointer("/linux_info/share_pid_namespace"))
        .and_then(serde_json::Value::as_bool)
        .unwrap_or(false)
}

/// The 22nd field of `/proc/PID/stat`; the second may contain anything, but ends with a `)`.
fn start_of(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    // A zombie has ended.
    let state = fields.next()?;
    if state == "Z" { None } else { fields.nth(18)?.parse().ok() }
}

fn kill_in(group: &Path) {
    let Ok(text) = std::fs::read_to_string(group.join("cgroup.procs")) else { return };
    for pid in text.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?)) {
        // One that is gone already is nothing to speak of.
        let _ = kill_process(pid, Signal::KILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_groups_are_below_those_of_the_first_process() {
        let hybrid = "13:hugetlb:/\n9:name=systemd:/docker/0a1c/init.scope\n8:pids:/docker/0a1c/init.scope\n\
                      6:freezer:/docker/0a1c\n1:cpu:/docker/0a1c/init.scope\n0::/docker/0a1c/init.scope\n";
        let expected = [
            "/sys/fs/cgroup/systemd/docker/0a1c/mesos",
            "/sys/fs/cgroup/freezer/docker/0a1c/mesos",
        ];
        assert_eq!(Cells::groups_of_machine(hybrid), expected.map(PathBuf::from));
        let unified = Cells::groups_of_machine("0::/system.slice/docker-0a1c.scope/init.scope\n");
        let expected = "/sys/fs/cgroup/system.slice/docker-0a1c.scope/mesos";
        assert_eq!(unified, [PathBuf::from(expected)]);
        assert_eq!(Cells::groups_of_machine("0::/\n"), [PathBuf::from("/sys/fs/cgroup/mesos")]);
    }

    #[tokio::test]
    async fn who_runs_is_found_again_and_who_does_not_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let cells = Cells::new(folder.path().to_owned(), Vec::new(), false).unwrap();
        let mut child = Command::new("sleep").arg("600").kill_on_drop(true).spawn().unwrap();
        let pid = child.id().unwrap();
        cells.remember("runs", pid).unwrap();
        // The same number, given to another process since.
        let other = Cell { version: 1, pid, started: 1 };
        std::fs::write(folder.path().join("other"), serde_json::to_vec(&other).unwrap()).unwrap();
        std::fs::write(folder.path().join("half"), "{").unwrap();

        let found = cells.recover().await.unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].container.as_str(), found[0].pid), ("runs", pid));
        let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "{left:?}");

        child.kill().await.unwrap();
        found[0].ended().await;
        assert!(cells.recover().await.unwrap().is_empty());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
