//! The product itself in the lab: the controller on this machine, and what it has hosts run.

use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::host::{Host, eventually, gateway, get, share};
use crate::witness;

/// A controller, killed when dropped.
struct Controller(Child);

impl Controller {
    fn start() -> Self {
        let mut command = program("run");
        command
            .args(["--allow-open-etcd", "--lease-seconds", "5"])
            .args(["--mesos-master", &format!("http://{}:5050", gateway())])
            .args(["--artifact-url", &format!("http://{}:5060/calico-dcos", gateway())]);
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a controller"))
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        // It may have ended by itself; what matters then is told by the test.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The very file that the hosts fetch.
fn program(command: &str) -> Command {
    let mut program = Command::new(share().join("bin/calico-dcos"));
    program.args([command, "--etcd-endpoints", &format!("http://{}:2379", gateway())]);
    program
}

fn status() -> Value {
    let output = program("status").args(["--output", "json"]).output().expect("status");
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

/// From bare hosts to all components in sync under a budget of one, and then nothing more. Its name
/// makes it the last one: it leaves the hosts as declared.
#[tokio::test]
#[ignore = "lab: needs hosts with systemd and Docker, which `make lab-test` brings up as root"]
async fn lab_three_bare_hosts_become_as_declared() {
    let hosts = Host::all();
    let (since, declared) = (witness::now(), tempfile::NamedTempFile::new().unwrap());
    let text = include_str!("cluster.yaml").replace("GATEWAY", &gateway());
    std::fs::write(declared.path(), text).unwrap();
    let _controller = Controller::start();
    let mut apply = program("apply");
    let applied = apply.args(["--yes", "-f"]).arg(declared.path()).output().expect("apply");
    assert!(applied.status.success(), "{applied:?}");

    // The exit code of `status` is 0 when the rollout is done and all hosts are in sync.
    let in_sync = async || program("status").output().is_ok_and(|output| output.status.success());
    let all = format!("{} in sync", hosts.len());
    let said = async || {
        let output = program("status").output().expect("status");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    eventually(said, |said| said.contains(&all)).await;
    assert!(in_sync().await, "{}", status());

    for host in &hosts {
        let name = &host.0;
        assert!(host.run("docker info 2>/dev/null").contains("etcd://127.0.0.1:2379"), "{name}");
        let node = host.run("docker ps --filter name=calico-node --format '{{.Image}}'");
        assert_eq!(node.trim(), "calico/node:v2.6.12", "{name}");
        host.run(&format!(
            "curl -fsS -X PUT -d value={name} http://127.0.0.1:2379/v2/keys/lab/{name}"
        ));
        let written = get(&format!("http://{}:2379/v2/keys/lab/{name}", gateway())).await;
        assert_eq!(written["node"]["value"], *name);
        let network = host.run("cat /opt/mesosphere/etc/dcos/network/cni/*");
        assert!(network.contains("\"calico\""), "{name}: {network}");
    }
    let seen = witness::outages(&hosts, since);
    assert!(witness::most_at_once(&seen) <= 1, "{seen:?}");
    // Docker alone, and once: agents of this version read networks live.
    assert_eq!(seen.len(), hosts.len(), "{seen:?}");
    assert!(seen.iter().all(|outage| outage.service == "docker.service"), "{seen:?}");

    // The same again changes nothing.
    let now = witness::now();
    let state = |host: &Host| {
        host.run(
            "stat -c '%n %i %Y' /etc/docker/daemon.json /opt/mesosphere/etc/dcos/network/cni/*
             docker inspect --format '{{.Id}} {{.State.StartedAt}}' calico-node",
        )
    };
    let before: Vec<_> = hosts.iter().map(state).collect();
    let applied = program("apply").args(["--yes", "-f"]).arg(declared.path()).output();
    assert!(applied.expect("apply").status.code().is_some());
    assert!(in_sync().await);
    assert_eq!(hosts.iter().map(state).collect::<Vec<_>>(), before);
    assert!(witness::outages(&hosts, now).is_empty());
}
