//! Tries a new `daemon.json` before a restart would: a file that Docker does not start with must
//! not stop the one that runs, whoever wrote what is wrong in it.
//!
//! dockerd reads its configuration, then looks whether another daemon runs, and ends if so (Docker
//! 1.10 to 20.10: `daemon.go`, before anything of the machine is touched). So a second one is started with the
//! running one's own arguments and the new file, and with a PID file that names a process that
//! runs: what it says tells whether it got past its configuration.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use super::rules::CommandLine;
use crate::node::files::Staging;
use crate::node::host::{Host, HostError};
use crate::node::json;
use crate::node::service::Service;
use crate::node::state::FOLDER;

/// It ends within some 50 ms.
const PATIENCE: Duration = Duration::from_secs(20);
/// What dockerd says of the configuration that it does not take.
const REFUSAL: &str = "unable to configure the Docker daemon";

/// Refuses what the daemon would refuse. What cannot be tried, as no daemon runs, passes.
pub(super) async fn run(
    host: &Host,
    unit: &Service,
    line: &CommandLine,
    text: &str,
) -> Result<(), HostError> {
    let Some(program) = program(host, unit.main_pid, line) else { return Ok(()) };
    // A PID file in the configuration cannot be replaced by a flag, and the daemon's own serves as well.
    let names_pid_file = json::members(text)
        .is_ok_and(|members| members.iter().any(|member| member.key == "pidfile"))
        || line.words.iter().any(|word| word.starts_with("-p") || word.starts_with("--pidfile"));
    let (config, pid) = (format!("{FOLDER}/trial/daemon.json"), format!("{FOLDER}/trial/pid"));
    host.root.write(&config, text.as_bytes(), 0o600, Staging::Beside)?;
    host.root.write(&pid, std::process::id().to_string().as_bytes(), 0o600, Staging::Beside)?;
    let mut command = Command::new(program);
    command.args(without_config_file(line));
    command.arg(format!("--config-file={}", host.root.place(&config).display()));
    if !names_pid_file {
        command.arg(format!("--pidfile={}", host.root.place(&pid).display()));
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let ended = tokio::time::timeout(PATIENCE, command.output()).await;
    host.root.remove(&config)?;
    host.root.remove(&pid)?;
    let said = match &ended {
        Ok(Ok(output)) => String::from_utf8_lossy(&output.stderr).into_owned(),
        // It cannot be started, or does not end: nothing was learned, and the restart is verified.
        Ok(Err(_)) | Err(_) => return Ok(()),
    };
    let refusal = said.lines().find(|line| line.contains(REFUSAL));
    refusal.map_or(Ok(()), |line| {
        Err(HostError::Found(format!(
            "Docker would not start with the new daemon.json: {}",
            line.trim()
        )))
    })
}

/// The program of the daemon that runs. Its name in `/proc` is not that of the file after an upgrade
/// of the package, so the command line's comes first.
fn program(host: &Host, pid: u32, line: &CommandLine) -> Option<std::path::PathBuf> {
    if pid == 0 {
        return None;
    }
    let named =
        line.words.first().filter(|word| word.starts_with('/')).map(|word| host.root.place(word));
    named.or_else(|| std::fs::read_link(host.root.place(&format!("/proc/{pid}/exe"))).ok())
}

fn without_config_file(line: &CommandLine) -> Vec<&String> {
    let mut words = line.words.iter().skip(1);
    let mut rest = Vec::new();
    while let Some(word) = words.next() {
        if word == "--config-file" {
            words.next();
        } else if !word.starts_with("--config-file=") {
            rest.push(word);
        }
    }
    rest
}
