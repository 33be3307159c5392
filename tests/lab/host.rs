//! A host of the lab, from outside: commands in it, and what its agent says.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::time::{Instant, timeout};

/// How long a test waits for anything at all before it fails.
pub(crate) const PATIENCE: Duration = Duration::from_mins(2);

/// Where a host's agent looks for networks.
pub(crate) const NETWORKS: &str = "/opt/mesosphere/etc/dcos/network/cni";
/// The unit of the proxy to etcd.
pub(crate) const PROXY: &str = "calico-dcos-etcd-proxy";

/// The machine's address towards the hosts. Only `make lab-test` sets it.
pub(crate) fn gateway() -> String {
    std::env::var("LAB_GATEWAY").expect("a lab; run these tests by `make lab-test`")
}

/// What the lab shares with its hosts, where they find it as `/lab`.
pub(crate) fn share() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/lab/share")
}

#[derive(Clone, Debug)]
pub(crate) struct Host(pub(crate) String);

impl Host {
    /// All that the lab has.
    pub(crate) fn all() -> Vec<Self> {
        let names =
            docker(&["ps", "--filter", "label=calico-dcos-lab=host", "--format", "{{.Names}}"]);
        let mut hosts: Vec<_> = names
            .lines()
            .filter_map(|name| Some(Self(name.strip_prefix("calico-dcos-lab-")?.to_owned())))
            .collect();
        hosts.sort_by(|a, b| a.0.cmp(&b.0));
        hosts
    }

    pub(crate) fn named(name: &str) -> Self {
        Self(name.to_owned())
    }

    /// Runs a line of shell in it; it has to succeed. Returns its output.
    pub(crate) fn run(&self, line: &str) -> String {
        docker(&["exec", &self.container(), "sh", "-c", line])
    }

    /// The name of its container.
    pub(crate) fn container(&self) -> String {
        format!("calico-dcos-lab-{}", self.0)
    }

    /// Takes its power away, and gives it back at once.
    pub(crate) fn cut_power(&self) {
        docker(&["kill", &self.container()]);
        docker(&["start", &self.container()]);
    }

    /// Waits until it has started.
    pub(crate) async fn until_up(&self) {
        let state = async || self.run("systemctl is-system-running 2>&1 || true");
        // What has failed is for the test to find.
        eventually(state, |state| matches!(state.trim(), "running" | "degraded")).await;
    }

    /// Where its journal ends now.
    pub(crate) fn mark(&self) -> Mark {
        let said = self.run("journalctl --quiet --lines 0 --show-cursor");
        let cursor = said.trim().strip_prefix("-- cursor: ").expect("a cursor");
        Mark { host: self.clone(), cursor: cursor.to_owned() }
    }

    /// All that moves if anything is changed or started again: files with inode and time of change,
    /// services and containers with their start.
    pub(crate) fn still(&self) -> String {
        let unit = self.unit();
        self.run(&format!(
            "stat --format '%n %i %Y' /etc/docker/daemon.json {NETWORKS}/* /var/lib/dcos/* \
               /etc/systemd/system/calico-dcos* /var/lib/calico-dcos/in-force/* 2>/dev/null
             for unit in docker {unit} {PROXY}; do
               systemctl show --property Id,ExecMainStartTimestampMonotonic $unit
             done
             docker ps --all --no-trunc --format '{{{{.ID}}}} {{{{.Names}}}}'
             docker inspect --format '{{{{.State.StartedAt}}}}' calico-node 2>&1 || true"
        ))
    }

    pub(crate) fn unit(&self) -> &'static str {
        if self.0.starts_with('p') { "dcos-mesos-slave-public" } else { "dcos-mesos-slave" }
    }

    pub(crate) fn address(&self) -> String {
        self.run("hostname -i").trim().to_owned()
    }

    /// How control groups are mounted in it, in the words of its facts.
    pub(crate) fn layout(&self) -> &'static str {
        let second = "cgroup2fs";
        let line = "stat -fc %T /sys/fs/cgroup /sys/fs/cgroup/unified 2>/dev/null || true";
        match self.run(line).lines().collect::<Vec<_>>()[..] {
            [whole, ..] if whole == second => "v2",
            [_, beside] if beside == second => "hybrid",
            _ => "v1",
        }
    }

    /// Whether systemd tracks its units in the second hierarchy while there is a first one.
    pub(crate) fn is_hybrid(&self) -> bool {
        self.layout() == "hybrid"
    }
}

/// A place in a host's journal.
#[derive(Debug)]
pub(crate) struct Mark {
    host: Host,
    cursor: String,
}

impl Mark {
    /// Waits until something after it says this, and gives the line.
    pub(crate) async fn until_said(&self, text: &str) -> String {
        // It ends by itself in the host: killing `docker exec` does not end what it has started.
        let line = format!(
            "exec timeout {} journalctl --quiet --follow --output cat --after-cursor '{}'",
            PATIENCE.as_secs(),
            self.cursor
        );
        let mut follow = tokio::process::Command::new("docker")
            .args(["exec", &self.host.container(), "sh", "-c", &line])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("docker");
        let mut lines = BufReader::new(follow.stdout.take().expect("its output")).lines();
        let said = timeout(PATIENCE, async {
            while let Some(line) = lines.next_line().await.expect("text") {
                if line.contains(text) {
                    return Some(line);
                }
            }
            None
        });
        let said = said.await.ok().flatten();
        said.unwrap_or_else(|| panic!("nothing on {:?} says {text}", self.host))
    }
}

/// Docker on this machine, as the lab uses it.
pub(crate) fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output().expect("docker");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "docker {arguments:?}: {}: {text}{error}", output.status);
    text
}

/// Asks again until the answer is right; fails with the last answer.
pub(crate) async fn eventually<T: std::fmt::Debug>(
    mut ask: impl AsyncFnMut() -> T,
    is: impl Fn(&T) -> bool,
) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        let answer = ask().await;
        if is(&answer) {
            return answer;
        }
        assert!(Instant::now() < until, "it stays at {answer:?}");
        // What is asked runs in another container, and nothing there tells when it changes.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// GET, as JSON.
pub(crate) async fn get(url: &str) -> serde_json::Value {
    let answer = client().get(url).send().await;
    let answer = answer.unwrap_or_else(|error| panic!("{url}: {error}"));
    answer.json().await.unwrap_or_else(|error| panic!("{url}: {error}"))
}

/// GET; none without an answer, or if it is not a good one.
pub(crate) async fn fetch(url: &str) -> Option<Vec<u8>> {
    let answer =
        client().get(url).send().await.and_then(reqwest::Response::error_for_status).ok()?;
    answer.bytes().await.ok().map(Vec::from)
}

fn client() -> reqwest::Client {
    // reqwest panics without a provider. If one is installed, this changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([]);
    client.timeout(Duration::from_secs(10)).build().expect("a client")
}
