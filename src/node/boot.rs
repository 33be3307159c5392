//! What is left on the host so that an open journal is carried on after a power cut: a copy of
//! this program, and a unit that runs it before Docker and the agent start.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use rustix::fs::{Access, access};
use sha2::{Digest, Sha256};

use super::files::Staging;
use super::host::{Host, HostError};
use super::state::FOLDER;
use crate::words::SpecHash;

/// The unit that is enabled while a journal with a disruptive step is open.
pub const UNIT: &str = "calico-dcos-boot.service";
const UNIT_FILE: &str = "/etc/systemd/system/calico-dcos-boot.service";
const PROGRAMS: &str = "/var/lib/calico-dcos/bin";

/// Copies this program out of the sandbox, which is gone after the executor, once for each
/// version, and gives the path of the copy, which can be started. Copies that nothing uses any more
/// are removed.
pub fn copy_program(host: &Host) -> Result<String, HostError> {
    // The runner is such a copy itself.
    if let Ok(own) = std::fs::read_link(&host.program)
        && own.starts_with(host.root.place(PROGRAMS))
        && own.exists()
        && let Some(name) = own.file_name()
    {
        return Ok(format!("{PROGRAMS}/{}", name.to_string_lossy()));
    }
    let name = copy(host).map_err(|error| {
        HostError::Found(format!("this program cannot be copied out of its sandbox: {error}"))
    })??;
    let path = format!("{PROGRAMS}/{name}");
    access(host.root.place(&path), Access::EXEC_OK).map_err(|error| {
        HostError::Found(format!(
            "{path} cannot be started ({error}); is {FOLDER} mounted with `noexec`?"
        ))
    })?;
    let unit = host.root.text(UNIT_FILE)?.unwrap_or_default();
    for other in host.root.list(PROGRAMS)? {
        // A unit that runs keeps its file open; the boot unit's has to stay until it is replaced.
        if other != name && !other.starts_with('.') && !unit.contains(&other) {
            // Whatever else lies there keeps no change from being made.
            if let Err(error) = host.root.remove(&format!("{PROGRAMS}/{other}")) {
                tracing::warn!(%error, "an old program stays");
            }
        }
    }
    Ok(path)
}

/// In pieces: the sandbox of an executor has no memory for all of it at once.
fn copy(host: &Host) -> io::Result<Result<String, HostError>> {
    let mut program = File::open(&host.program)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match program.read(&mut buffer)? {
            0 => break,
            read => hash.update(&buffer[..read]),
        }
    }
    let name = format!("calico-dcos-{}", SpecHash(hash.finalize().into()).short());
    let path = format!("{PROGRAMS}/{name}");
    // A file gets its name only when it is complete.
    let known = host.root.stamp(&path);
    Ok(match known {
        Ok(Some(_)) => Ok(name),
        Ok(None) => {
            program.seek(SeekFrom::Start(0))?;
            let copied = host.root.write_from(&path, &mut program, 0o755);
            copied.map(|()| name).map_err(HostError::from)
        }
        Err(error) => Err(error.into()),
    })
}

/// Enables the boot unit.
pub async fn arm(host: &Host) -> Result<(), HostError> {
    let program = copy_program(host)?;
    let written =
        host.root.write(UNIT_FILE, unit_file(&program).as_bytes(), 0o644, Staging::Beside)?;
    let enabled = host.services.look(UNIT).await?.is_some_and(|unit| unit.file_state == "enabled");
    if written || !enabled {
        host.services.enable(UNIT).await?;
    }
    Ok(())
}

/// Takes the boot unit off again.
pub async fn disarm(host: &Host) -> Result<(), HostError> {
    if host.root.read(UNIT_FILE)?.is_some() {
        host.services.disable(UNIT).await?;
        host.root.remove(UNIT_FILE)?;
        host.services.read_files_again().await?;
    }
    Ok(())
}

/// Carries an open journal on, if there is one. Docker and the agent wait for this, so it only
/// has it started: the unit that it starts needs them.
pub async fn carry_on(host: &Host) -> Result<bool, HostError> {
    let Some(journal) = host.state.journal()?.filter(crate::job::journal::Journal::is_open) else {
        disarm(host).await?;
        return Ok(false);
    };
    super::runner::start_unit(host, journal.attempt(), &journal.run).await?;
    Ok(true)
}

fn unit_file(program: &str) -> String {
    format!(
        "# Written by calico-dcos; it is removed when the change that is under way has ended.\n\
         [Unit]\n\
         Description=calico-dcos: carries on the change that was under way\n\
         RequiresMountsFor={FOLDER}\n\
         After=dbus.service local-fs.target\n\
         Wants=dbus.service\n\
         Before=docker.service dcos-mesos-slave.service dcos-mesos-slave-public.service mesos-slave.service mesos-agent.service\n\
         \n\
         [Service]\n\
         Type=oneshot\n\
         ExecStart={program} node boot\n\
         TimeoutStartSec=60\n\
         \n\
         [Install]\n\
         WantedBy=multi-user.target\n"
    )
}
