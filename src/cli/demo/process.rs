//! The processes that the demo starts: etcd, and the controller as `run` starts it. Each writes
//! its log to a file, and ends with the demo.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};

use crate::cli::Failure;
use crate::store::{EtcdOptions, EtcdStore, Space};

/// How long etcd may take to answer, on a busy machine.
const ETCD_PATIENCE: Duration = Duration::from_secs(30);

/// A child process; killed when dropped.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
}

impl Process {
    fn start(command: &mut Command, log: &Path) -> io::Result<Self> {
        let log = File::options().create(true).append(true).open(log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // Ctrl-C at the terminal is for the demo, which then ends its children.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        Ok(Self { child })
    }

    /// Whether it has ended by itself.
    pub(super) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// `kill -9`; returns when it is gone.
    pub(super) async fn kill(&mut self) -> io::Result<()> {
        self.child.kill().await
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id().unwrap_or(0)
    }
}

/// etcd, with its data in a directory of the demo.
#[derive(Debug)]
pub(super) struct Etcd {
    pub(super) process: Process,
    pub(super) endpoint: String,
    pub(super) store: EtcdStore,
}

impl Etcd {
    /// Starts it on free ports; returns when it answers.
    pub(super) async fn start(dir: &Path, prefix: &str) -> Result<Self, Failure> {
        let log = dir.join("etcd.log");
        let binary = binary()?;
        let failed =
            |error: io::Error| Failure::environment(format!("etcd cannot be run: {error}"));
        // Somebody may take a port between its choice and its use.
        for attempt in 0..5 {
            let [client, peer] = free_ports().map_err(failed)?;
            let data = dir.join(format!("etcd-{attempt}"));
            let mut process =
                Process::start(command(&binary, &data, &client, &peer).as_mut(), &log)
                    .map_err(failed)?;
            let options = EtcdOptions {
                endpoints: vec![client.clone()],
                prefix: prefix.to_owned(),
                timeout: Duration::from_secs(5),
                ..EtcdOptions::default()
            };
            if let Some(store) = connect(&mut process, &options).await {
                return Ok(Self { process, endpoint: client, store });
            }
        }
        Err(Failure::environment("etcd does not start")
            .with_hint(format!("its log: {}", log.display())))
    }
}

impl Etcd {
    /// Forgets all history, so that whoever watches and fell behind has to list again.
    pub(super) async fn compact(&self) -> Result<(), Failure> {
        let revision = self.store.list(Space::History).await?.revision;
        let cannot = |error: etcd_client::Error| {
            Failure::environment(format!("etcd cannot be compacted: {error}"))
        };
        let mut client =
            etcd_client::Client::connect([&self.endpoint], None).await.map_err(cannot)?;
        let revision = i64::try_from(revision.0).unwrap_or(i64::MAX);
        client.compact(revision, None).await.map_err(cannot)?;
        Ok(())
    }
}

/// Tries until it answers; none if it has ended or takes too long.
async fn connect(process: &mut Process, options: &EtcdOptions) -> Option<EtcdStore> {
    let trying = async {
        loop {
            match EtcdStore::connect(options).await {
                Ok(store) => return Some(store),
                Err(_) if process.has_ended() => return None,
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    };
    tokio::time::timeout(ETCD_PATIENCE, trying).await.ok().flatten()
}

fn command(binary: &Path, data: &Path, client: &str, peer: &str) -> Box<Command> {
    let mut command = Command::new(binary);
    command
        .arg("--data-dir")
        .arg(data)
        .args(["--listen-client-urls", client, "--advertise-client-urls", client])
        .args(["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer])
        .args(["--initial-cluster", &format!("default={peer}"), "--logger", "zap"]);
    Box::new(command)
}

fn binary() -> Result<PathBuf, Failure> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found =
        std::env::split_paths(&path).map(|dir| dir.join("etcd")).find(|file| file.is_file());
    found.ok_or_else(|| {
        Failure::environment(
            "there is no etcd on the PATH; in a clone of the repository `make demo` brings its own \
             (`make tools`), elsewhere install etcd 3.4 or later",
        )
    })
}

/// Two addresses for etcd.
fn free_ports() -> io::Result<[String; 2]> {
    let listeners = [TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?];
    let [client, peer] = &listeners;
    Ok([client.local_addr()?, peer.local_addr()?].map(|address| format!("http://{address}")))
}

/// How controllers are started.
#[derive(Clone, Debug)]
pub(super) struct Launch {
    pub(super) etcd: String,
    pub(super) prefix: String,
    pub(super) mesos: SocketAddr,
    pub(super) log: PathBuf,
    /// Where the page is, of one of them if there are several.
    pub(super) page: SocketAddr,
    /// A file with the token for the page.
    pub(super) token: PathBuf,
}

impl Launch {
    /// Our own binary, exactly as an operator starts it.
    pub(super) fn start(&self) -> Result<Process, Failure> {
        let failed = |error: io::Error| {
            Failure::environment(format!("the controller cannot be started: {error}"))
        };
        let mut command = Command::new(std::env::current_exe().map_err(failed)?);
        // What the demo's user has set for a real cluster must not reach this one.
        for (name, _) in std::env::vars_os().filter(|(name, _)| is_ours(name)) {
            command.env_remove(name);
        }
        command
            .args(["run", "--etcd-endpoints", &self.etcd, "--etcd-prefix", &self.prefix])
            .args(["--allow-open-etcd", "--lease-seconds", "5"])
            .args(["--mesos-master", &format!("http://{}", self.mesos)])
            .args(["--listen", &self.free_page().to_string(), "--token-file"])
            .arg(&self.token)
            // Nobody fetches it: the hosts are models.
            .args(["--artifact-url", "http://demo.invalid/calico-dcos"]);
        Process::start(&mut command, &self.log).map_err(failed)
    }

    /// The address of the page, or any other while another controller serves it.
    fn free_page(&self) -> SocketAddr {
        let taken = TcpListener::bind(self.page).is_err();
        if taken { SocketAddr::new(self.page.ip(), 0) } else { self.page }
    }
}

/// The address that was asked for, with a free port if any will do.
pub(super) fn page_address(asked: SocketAddr) -> io::Result<SocketAddr> {
    if asked.port() != 0 {
        return Ok(asked);
    }
    TcpListener::bind(asked)?.local_addr()
}

/// A token that nobody guesses, in a file that nobody else reads.
pub(super) fn write_token(path: &Path) -> io::Result<()> {
    let token = uuid::Uuid::new_v4().simple().to_string();
    let mut file =
        File::options().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(token.as_bytes())
}

fn is_ours(variable: &OsStr) -> bool {
    let name = variable.to_string_lossy();
    name.starts_with("CALICO_DCOS_") && name != "CALICO_DCOS_LOG"
}
