//! What cannot be done: nothing stops for it, or what was there is back; the host says why; it keeps
//! the slot that it had, the rollout halts, and the next good edit goes on.

use serde_json::{Value, json};

use super::bare::all_is_in_force;
use super::document::Document;
use super::{Controller, Over, as_declared, holders, reason, status, until_over};
use crate::host::{Host, NETWORKS};
use crate::witness;

/// One host that is told to do what it cannot do.
struct Case {
    host: Host,
    _controller: Controller,
    before: Vec<String>,
    since: u64,
}

/// Our own records are taken away first and put back last.
fn still(host: &Host) -> Vec<String> {
    let all = host.still();
    all.lines().filter(|line| !line.contains("/in-force/")).map(str::to_owned).collect()
}

impl Case {
    async fn new() -> Self {
        let (controller, host) = (as_declared().await, Host::named("a1"));
        let (before, since) = (still(&host), witness::now());
        Self { host, _controller: controller, before, since }
    }

    /// Declares it, and waits until the host has failed with these words.
    async fn fails(&self, path: &str, value: impl Into<Value>, words: &str) {
        Document::lab().only(&self.host).with(path, value).apply();
        assert_eq!(until_over().await, Over::Halted, "{}", status());
        let (code, text) = reason(&self.host);
        assert_eq!(code, "failed", "{text}");
        assert!(text.contains(words), "{text}");
    }

    /// Declares it, and waits until the host has said with these words that it cannot be changed.
    async fn is_blocked(&self, path: &str, value: impl Into<Value>, words: &str) {
        Document::lab().only(&self.host).with(path, value).apply();
        assert_eq!(until_over().await, Over::Done, "{}", status());
        let (code, text) = reason(&self.host);
        assert_eq!(code, "blocked", "{text}");
        assert!(text.contains(words), "{text}");
        assert_eq!(holders(), [""; 0]);
    }

    /// That nothing at all has moved.
    fn nothing_moved(&self) {
        assert_eq!(still(&self.host), self.before);
        assert_eq!(witness::outages(&Host::all(), self.since), []);
    }

    fn holds_its_slot(&self) {
        assert_eq!(holders(), [self.host.0.as_str()]);
    }

    /// The declaration that went before is in force again, and no slot is held any more.
    async fn goes_on(&self) {
        Document::lab().apply();
        assert_eq!(until_over().await, Over::Done, "{}", status());
        assert_eq!(holders(), [""; 0]);
    }
}

#[tokio::test]
#[ignore = "lab: needs hosts with systemd and Docker, which `make lab-test` brings up as root"]
async fn lab_an_image_that_cannot_be_pulled_stops_nothing() {
    let case = Case::new().await;
    let image = "127.0.0.1:9/calico/node:v9";
    case.fails("calicoNode/image", image, "127.0.0.1:9/calico/node:v9 cannot be pulled").await;
    case.nothing_moved();
    case.holds_its_slot();
    case.goes_on().await;
    case.nothing_moved();
}

/// Somebody has left a mistake in the file, which would show at the next start. Ours is not that start.
#[tokio::test]
#[ignore = "lab: needs hosts with systemd and Docker, which `make lab-test` brings up as root"]
async fn lab_a_daemon_json_that_docker_would_refuse_is_found_before_docker_is_stopped() {
    let mut case = Case::new().await;
    let file = "/etc/docker/daemon.json";
    case.host.run(&format!("sed -i '1s/{{/{{\"no-such-key\": 1,/' {file}"));
    case.before = still(&case.host);
    case.fails("docker/clusterStore", "etcd://localhost:2379", "no-such-key").await;
    case.nothing_moved();
    case.holds_its_slot();
    case.host.run(&format!("sed -i '1s/\"no-such-key\": 1,//' {file}"));
    case.goes_on().await;
    assert_eq!(witness::outages(&Host::all(), case.since), []);
}

/// No such interface: Docker finds out only as it starts, and does not.
#[tokio::test]
#[ignore = "lab: needs hosts with systemd and Docker, which `make lab-test` brings up as root"]
async fn lab_what_docker_does_not_start_with_is_put_back() {
    let case = Case::new().await;
    let before = case.host.run("cat /etc/docker/daemon.json");
    case.fails("docker/clusterAdvertise", "nosuch0:2376", "docker.service is not up").await;
    case.holds_its_slot();
    assert_eq!(case.host.run("cat /etc/docker/daemon.json"), before);
    assert!(case.host.run("docker info").contains("etcd://127.0.0.1:2379"));
    let seen = witness::outages(&Host::all(), case.since);
    assert_eq!(witness::most_at_once(&seen), 1, "{seen:?}");
    assert!(seen.iter().all(|outage| outage.host == case.host.0 && outage.to < u64::MAX));
    case.goes_on().await;
}

/// The file is good as far as Docker goes, which was asked; but something else of the host does not start
/// Docker with it.
#[tokio::test]
#[ignore = "lab: needs hosts with systemd and Docker, which `make lab-test` brings up as root"]
async fn lab_a_docker_that_refuses_to_start_after_the_trial_is_up_again_as_before() {
    let case = Case::new().await;
    let before = case.host.run("cat /etc/docker/daemon.json");
    case.host.run(
        "mkdir -p /run/systemd/system/docker.service.d
         printf '[Service]\\nExecStartPre=/bin/sh -c \"! grep -q localhost /etc/docker/daemon.json\"\\n' \
           >/run/systemd/system/docker.service.d/refuse.conf
         systemctl daemon-reload",
    );
    let mark = case.host.mark();
    case.fails("docker/clusterStore", "etcd://localhost:2379", "docker.service is not up").await;
    // With an exit code, or because systemd has had enough of it.
    mark.until_said("docker.service: Failed with result").await;
    case.holds_its_slot();
    assert_eq!(case.host.run("cat /etc/docker/daemon.json"), before);
    all_is_in_force(&case.host, "calico/node:v2.6.12").await;
    let seen = witness::outages(&Host::all(), case.since);
    assert_eq!(witness::most_at_once(&seen), 1, "{seen:?}");
    let of_docker = |outage: &witness::Outage| {
        outage.host == case.host.0 && outage.service == "docker.service" && outage.to < u64::MAX
    };
    assert!(seen.iter().all(of_docker), "{seen:?}");
    case.host.run("rm -r /run/systemd/system/docker.service.d; systemctl daemon-reload");
    case.goes_on().await;
    all_is_in_force(&case.host, "calico/node:v2.6.12").await;
}

#[tokio::test]
#[ignore = "lab: needs hosts with systemd and Docker, which `make lab-test` brings up as root"]
async fn lab_a_full_disk_leaves_the_file_that_was_there() {
    let case = Case::new().await;
    let file = case.host.run("cat /etc/docker/daemon.json");
    case.host.run(
        "cp -a /etc/docker /tmp/docker && mount -t tmpfs -o size=64k,mode=755 lab /etc/docker
         cp -a /tmp/docker/. /etc/docker/; dd if=/dev/zero of=/etc/docker/full 2>/dev/null || true",
    );
    case.fails("docker/clusterStore", "etcd://localhost:2379", "No space left").await;
    case.holds_its_slot();
    assert_eq!(case.host.run("cat /etc/docker/daemon.json"), file);
    assert_eq!(case.host.run("find /etc/docker -name '.calico*'"), "");
    case.host.run("umount /etc/docker; rm -r /tmp/docker");
    case.nothing_moved();
    case.goes_on().await;
    case.nothing_moved();
}

/// As `/opt` is on some systems. Nothing would have been disrupted, so no slot is taken.
#[tokio::test]
#[ignore = "lab: needs hosts with systemd and Docker, which `make lab-test` brings up as root"]
async fn lab_a_read_only_file_system_is_said_and_nothing_is_half_done() {
    let case = Case::new().await;
    let folder = "/opt/mesosphere/etc";
    case.host.run(&format!(
        "mount --bind {folder} {folder} && mount -o remount,bind,ro {folder}; ! touch {NETWORKS}/x"
    ));
    let mtu = json!({"name": "calico", "type": "calico", "mtu": 1450});
    case.fails("mesosAgent/cni/network", mtu, "Read-only file system").await;
    assert_eq!(holders(), [""; 0]);
    case.host.run(&format!("umount {folder}"));
    case.nothing_moved();
    case.goes_on().await;
    case.nothing_moved();
}

/// Somebody has given the agent another attribute, with which it would refuse to recover. Ours is not the
/// restart that shows it, and no slot is held for what cannot be done.
#[tokio::test]
#[ignore = "lab: needs hosts with systemd and Docker, which `make lab-test` brings up as root"]
async fn lab_an_agent_that_would_not_recover_is_not_restarted() {
    let mut case = Case::new().await;
    let file = "/var/lib/dcos/mesos-slave-common";
    case.host.run(&format!("echo MESOS_ATTRIBUTES=rack:r9 >{file}"));
    case.before = still(&case.host);
    let other = "/opt/mesosphere/etc/dcos/network";
    case.is_blocked("mesosAgent/cni/configDirectory", other, "would not recover").await;
    case.nothing_moved();
    case.host.run(&format!("rm {file}"));
    case.goes_on().await;
    assert_eq!(witness::outages(&Host::all(), case.since), []);
}
