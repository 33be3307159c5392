//! The process of an agent on a machine of its own, as a unit of the machine's systemd starts it in the
//! place of Mesos' agent: its flags come from the environment, what a real one refuses it refuses, its
//! executors outlive it, and it knows them again. What the agent decides is decided by its model
//! ([`SimServer::accept_agents`](super::mesos::http::SimServer::accept_agents)).
//!
//! Not here: resource limits, image-based containers, and the calls to CNI plugins; a container that
//! wants a network is started if the agent knows a network of that name.

mod cni;
mod flags;
mod identity;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::codec::{Framed, LinesCodec};

use self::cni::Networks;
use self::flags::Flags;
use self::identity::Identity;
use super::mesos::Start;
use super::mesos::body::cells::Cells;
use super::mesos::body::process::{Happened, Runner};
use super::mesos::body::wire::{FromHost, Hello, LONGEST, ToHost, VERSION};

/// The port of agents.
const PORT: u16 = 5051;

/// Why the process ends.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// As a real agent says it.
    #[error("EXIT with status 1: {0}")]
    Refused(String),
    /// The model is not there.
    #[error("the simulated Mesos cannot be reached at {address}; is it running?")]
    Server {
        /// Where it should be.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// Its words are not understood.
    #[error("the simulated Mesos says what is not understood; is it of the same release?")]
    Words,
    /// It has gone, and with it what is known of this agent.
    #[error("the simulated Mesos has ended")]
    Ended,
    /// Something of the machine.
    #[error("{what} failed; is it run as root, on a machine of its own?")]
    Machine {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Runs until the model is gone; a signal ends it at any moment. `environment` is this process's.
///
/// # Errors
/// Always: what a real agent refuses, or what went wrong.
pub async fn run(
    server: SocketAddr,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<std::convert::Infallible, AgentError> {
    let flags = Flags::read(environment);
    flags.check().map_err(AgentError::Refused)?;
    if flags.list("containerizers").iter().any(|name| name == "docker") {
        docker_answers().await?;
    }
    let stream = TcpStream::connect(server)
        .await
        .map_err(|source| AgentError::Server { address: server, source })?;
    let address = match flags.get("ip").and_then(|ip| ip.parse().ok()) {
        Some(ip) => ip,
        None => own_address(&stream)?,
    };
    let identity = Identity::of(&flags);
    let resumes = identity.check(&flags).map_err(AgentError::Refused)?;
    let cells = Arc::new(cells(&flags)?);
    let survivors = cells.recover().await.map_err(machine("the recovery of containers"))?;

    let (happened, mut happenings) = mpsc::unbounded_channel();
    let runner = Runner::new(flags.work_dir(), happened.clone(), Some(cells));
    let hello = Hello {
        version: VERSION,
        hostname: identity.hostname.clone(),
        ip: address,
        port: PORT,
        resumes,
        alive: survivors.iter().map(|survivor| survivor.container.clone()).collect(),
        resources: identity.resources.clone(),
        attributes: identity.attributes.clone(),
        work_dir: flags.work_dir().to_owned(),
        registration_timeout: flags.milliseconds("executor_registration_timeout"),
        reregistration_timeout: flags.milliseconds("executor_reregistration_timeout"),
        shutdown_grace: flags.milliseconds("executor_shutdown_grace_period"),
        flags: flags.told(),
    };
    let line = Framed::new(stream, LinesCodec::new_with_max_length(LONGEST));
    let own = SocketAddr::new(address.into(), PORT);
    let mut process =
        Process { line, runner, happened, networks: Networks::new(&flags), own, passing: None };
    process.say(&FromHost::Hello(Box::new(hello))).await?;
    identity.keep(&flags).map_err(machine("writing the work directory"))?;
    for survivor in survivors {
        process.runner.adopt(survivor);
    }
    loop {
        tokio::select! {
            Some(happened) = happenings.recv() => process.say(&FromHost::Happened(happened)).await?,
            order = process.line.next() => match order {
                Some(Ok(order)) => process.obey(&order).await?,
                Some(Err(_)) | None => return Err(AgentError::Ended),
            },
        }
    }
}

struct Process {
    line: Framed<TcpStream, LinesCodec>,
    runner: Runner,
    happened: mpsc::UnboundedSender<Happened>,
    networks: Networks,
    /// Where the agent listens.
    own: SocketAddr,
    passing: Option<JoinHandle<()>>,
}

impl Process {
    async fn say(&mut self, what: &FromHost) -> Result<(), AgentError> {
        let json = serde_json::to_string(what).map_err(|_| AgentError::Words)?;
        self.line.send(json).await.map_err(|_| AgentError::Ended)
    }

    async fn obey(&mut self, order: &str) -> Result<(), AgentError> {
        match serde_json::from_str(order).map_err(|_| AgentError::Words)? {
            ToHost::Welcome { mesos } => {
                let version = mesos.parse().map_err(|_| AgentError::Words)?;
                self.networks.load(&version);
            }
            ToHost::Listen(to) => self.listen(to).await?,
            ToHost::Start(start) => self.start(*start),
            ToHost::Kill { container } => self.runner.kill(&container),
        }
        Ok(())
    }

    fn start(&mut self, start: Start) {
        match self.networks.missing(&start.executor) {
            None => self.runner.start(start),
            Some(name) => {
                let text = format!("Failed to launch container: Unknown CNI network '{name}'");
                let (container, not_started) = (start.container, Some(text));
                // Read by the loop that this is called from.
                let _ = self.happened.send(Happened::Ended { container, status: 256, not_started });
            }
        }
    }

    /// Connections that are open are for the other side to end.
    async fn listen(&mut self, to: Option<SocketAddr>) -> Result<(), AgentError> {
        if let Some(passing) = self.passing.take() {
            passing.abort();
            // Its only end is that it was ended here; then the address is free.
            let _ = passing.await;
        }
        let Some(to) = to else { return Ok(()) };
        let listener =
            TcpListener::bind(self.own).await.map_err(machine("listening on the agent's port"))?;
        self.passing = Some(tokio::spawn(async move {
            loop {
                let Ok((mut near, _)) = listener.accept().await else { continue };
                tokio::spawn(async move {
                    if let Ok(mut far) = TcpStream::connect(to).await {
                        // However it ends, both are closed.
                        let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                    }
                });
            }
        }));
        Ok(())
    }
}

fn machine(what: &'static str) -> impl FnOnce(std::io::Error) -> AgentError {
    move |source| AgentError::Machine { what, source }
}

/// The address that this machine has towards the model.
fn own_address(stream: &TcpStream) -> Result<Ipv4Addr, AgentError> {
    let address = stream.local_addr().map_err(machine("asking for the own address"))?;
    match address.ip() {
        IpAddr::V4(ip) => Ok(ip),
        IpAddr::V6(_) => Err(AgentError::Refused("Failed to find an IPv4 address".to_owned())),
    }
}

fn cells(flags: &Flags) -> Result<Cells, AgentError> {
    let first_process = std::fs::read_to_string("/proc/1/cgroup")
        .map_err(machine("reading the control groups of the machine"))?;
    let files = identity::folder(flags).join("containers");
    let groups = Cells::groups_of_machine(&visible(&first_process));
    let pid_namespace = flags.list("isolation").iter().any(|name| name == "namespaces/pid");
    Cells::new(files, groups, pid_namespace).map_err(machine("making control groups"))
}

/// The groups of `/proc/PID/cgroup` in hierarchies that this machine has mounted: its kernel lists those of the
/// first version also where the second has taken their place.
fn visible(groups: &str) -> String {
    let second_alone = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    let lines = groups.lines().filter(|line| !second_alone || line.starts_with("0::"));
    lines.collect::<Vec<_>>().join("\n")
}

/// An agent with the Docker containerizer does not start without Docker (recording e44).
async fn docker_answers() -> Result<(), AgentError> {
    let docker =
        Command::new("docker").args(["-H", "unix:///var/run/docker.sock", "ps", "-a"]).output();
    let failed = |why: String| {
        AgentError::Refused(format!(
            "Failed to perform recovery: Collect failed: Failed to run 'docker -H \
             unix:///var/run/docker.sock ps -a': {why}"
        ))
    };
    match docker.await {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(failed(format!(
            "{}; stderr='{}'",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        ))),
        Err(error) => Err(failed(error.to_string())),
    }
}

/// The files of a folder; none if it is not there.
fn files_in(folder: &Path) -> BTreeMap<String, String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let files = entries.filter(|entry| entry.path().is_file());
    files
        .filter_map(|entry| {
            let text = std::fs::read_to_string(entry.path()).ok()?;
            Some((entry.file_name().to_string_lossy().into_owned(), text))
        })
        .collect()
}
