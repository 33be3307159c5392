//! A real etcd for a test: in a directory of its own, on free ports, gone when dropped.

pub(crate) mod binary;

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use tempfile::TempDir;

/// How long a test waits for anything at all before it fails.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// A running etcd.
pub(crate) struct Etcd {
    server: Child,
    dir: TempDir,
    ports: [u16; 2],
    arguments: Vec<String>,
}

impl Etcd {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// With more arguments. Without a `--cert-file` it speaks plain HTTP.
    pub(crate) fn start_with(arguments: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let arguments: Vec<_> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        // Somebody may take a port between its choice and its use.
        for _ in 0..10 {
            let ports = free_ports();
            if let Some(server) = spawn(dir.path(), ports, &arguments) {
                return Self { server, dir, ports, arguments };
            }
        }
        panic!("etcd does not start; run target/tools/bin/etcd by hand to see why");
    }

    /// Three members of one cluster: `m0`, `m1`, `m2`.
    pub(crate) fn three() -> Vec<Self> {
        for _ in 0..10 {
            let ports = [0; 3].map(|_| free_ports());
            let peer =
                |(at, [_, peer]): (usize, &[u16; 2])| format!("m{at}=http://127.0.0.1:{peer}");
            let cluster = ports.iter().enumerate().map(peer).collect::<Vec<_>>().join(",");
            // None of them serves anybody before two are up.
            let starts = ports.into_iter().enumerate().map(|(at, ports)| {
                let (name, cluster) = (format!("m{at}"), cluster.clone());
                std::thread::spawn(move || {
                    let dir = tempfile::tempdir().expect("a temporary directory");
                    let arguments = ["--name", &name, "--initial-cluster", &cluster];
                    let arguments: Vec<_> = arguments.map(str::to_owned).into();
                    let server = spawn(dir.path(), ports, &arguments)?;
                    Some(Self { server, dir, ports, arguments })
                })
            });
            let starts: Vec<_> = starts.collect();
            let started: Vec<_> =
                starts.into_iter().filter_map(|start| start.join().ok().flatten()).collect();
            if started.len() == ports.len() {
                return started;
            }
        }
        panic!("etcd does not start; run target/tools/bin/etcd by hand to see why");
    }

    pub(crate) fn endpoint(&self) -> String {
        url(self.ports[0], &self.arguments)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.ports[0]).into()
    }

    /// Where it keeps its data; gone with it.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// As a power cut does.
    pub(crate) fn kill(&mut self) {
        self.server.kill().expect("etcd can be killed");
        self.server.wait().expect("etcd ends");
    }

    /// After `kill`: on the same data and ports.
    pub(crate) fn restart(&mut self) {
        self.server = spawn(self.dir.path(), self.ports, &self.arguments).expect("etcd restarts");
    }

    /// Stops it from doing anything; connections stay open.
    pub(crate) fn freeze(&self) {
        freeze(&self.server);
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self) {
        kill_process(Pid::from_child(&self.server), Signal::CONT).expect("etcd takes signals");
    }
}

/// Returns when the process stands still.
pub(crate) fn freeze(process: &Child) {
    let id = Pid::from_child(process);
    kill_process(id, Signal::STOP).expect("it takes signals");
    // The signal is on its way; the parent is told when the process has stopped.
    let stopped = waitpid(Some(id), WaitOptions::UNTRACED);
    assert!(stopped.is_ok_and(|it| it.is_some_and(|(_, status)| status.stopped())));
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// The binary that `make tools` unpacked, or the one on `PATH`.
fn binary() -> PathBuf {
    let unpacked = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/bin/etcd");
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::iter::once(unpacked)
        .chain(std::env::split_paths(&path).map(|dir| dir.join("etcd")))
        .find(|file| file.is_file())
        .expect("there is no etcd; run `make tools`")
}

/// `PATH` with the directory of that binary before all others.
pub(crate) fn path_with_tools() -> std::ffi::OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let tools = binary().parent().map(Path::to_path_buf);
    let dirs = tools.into_iter().chain(std::env::split_paths(&path));
    std::env::join_paths(dirs).expect("a directory with etcd has no colon in its name")
}

fn free_ports() -> [u16; 2] {
    let listeners = [0; 2].map(|any| TcpListener::bind(("127.0.0.1", any)).expect("a free port"));
    listeners.map(|listener| listener.local_addr().expect("a bound port").port())
}

fn url(port: u16, arguments: &[String]) -> String {
    let tls = arguments.iter().any(|argument| argument == "--cert-file");
    format!("{}://127.0.0.1:{port}", if tls { "https" } else { "http" })
}

/// Returns when it serves clients; `None` if it ends before.
fn spawn(dir: &Path, [client, peer]: [u16; 2], arguments: &[String]) -> Option<Child> {
    let (client, peer) = (url(client, arguments), format!("http://127.0.0.1:{peer}"));
    let mut server = Command::new(binary())
        .arg("--data-dir")
        .arg(dir)
        .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
        .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
        .args(["--initial-cluster", &format!("default={peer}"), "--logger", "zap"])
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("etcd can be run");
    let log = BufReader::new(server.stderr.take().expect("stderr is piped"));
    let (ready, is_ready) = mpsc::channel();
    std::thread::spawn(move || {
        // To its end, so that etcd never blocks on a full pipe.
        for line in log.lines().map_while(Result::ok) {
            if line.contains("serving client traffic") {
                let _ = ready.send(());
            }
        }
    });
    if is_ready.recv_timeout(PATIENCE).is_err() {
        let _ = server.kill();
        let _ = server.wait();
        return None;
    }
    Some(server)
}
