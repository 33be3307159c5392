//! The lab: hosts as containers with real systemd and Docker, which `make lab-test` brings up. Its
//! tests are ignored, as few machines have what it takes.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]
#![expect(clippy::print_stdout, reason = "how long things took, for who reads the log of a run")]

mod executor;
mod framework;
mod host;
mod product;
mod witness;

use serde_json::Value;

use framework::Framework;
use host::{Host, docker, eventually, gateway, get};

/// The agent of a host as the master lists it.
async fn agent(host: &Host) -> Value {
    let slaves = get(&format!("http://{}:5050/slaves", gateway())).await;
    let all = slaves["slaves"].as_array().unwrap();
    all.iter().find(|agent| agent["hostname"] == host.0).cloned().unwrap_or_default()
}

async fn until_active(host: &Host) -> Value {
    eventually(async || agent(host).await, |agent| agent["active"] == true).await
}

#[tokio::test]
#[ignore = "lab: needs hosts with systemd and Docker, which `make lab-test` brings up as root"]
async fn lab_hosts_are_up_and_their_agents_registered() {
    let hosts = Host::all();
    assert!(hosts.len() >= 2 && hosts.iter().any(|host| host.0.starts_with('p')), "{hosts:?}");
    let mut identities = Vec::new();
    for host in &hosts {
        assert_eq!(host.run("systemctl is-system-running").trim(), "running", "{host:?}");
        let agent = until_active(host).await;
        let address = host.address();
        assert_eq!(agent["pid"], format!("slave(1)@{address}:5051"));
        let flags = get(&format!("http://{address}:5051/flags")).await;
        assert_eq!(flags["flags"]["executor_reregistration_timeout"], "10secs");
        let role = if host.0.starts_with('p') { "slave_public" } else { "*" };
        assert_eq!(flags["flags"]["default_role"], role);
        assert!(host.run("docker images").contains("calico/node"));
        let identity = host.run("cat /etc/machine-id /proc/sys/kernel/random/boot_id");
        assert!(!identities.contains(&identity), "two hosts are the same machine");
        identities.push(identity);
    }
    // One etcd behind them all, with both of its APIs.
    let etcd = format!("http://{}:2379", gateway());
    for url in [format!("{etcd}/v2/members"), format!("{etcd}/version")] {
        assert!(get(&url).await.is_object());
    }
}

#[tokio::test]
#[ignore = "lab: needs hosts with systemd and Docker, which `make lab-test` brings up as root"]
async fn lab_a_stand_in_is_healthy_and_survives_a_restart_of_docker() {
    let host = Host::named("a1");
    host.run(
        "docker run -d --name calico-node --privileged --net=host --restart=always \
         -v /run/docker/plugins:/run/docker/plugins calico/node:v2.6.12",
    );
    let ready = async || {
        host.run("curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:9099/readiness || true")
    };
    eventually(ready, |code| code == "204").await;
    host.run("docker exec calico-node /bin/calico-node -felix-ready");
    let plugin = "curl -s --unix-socket /run/docker/plugins/calico.sock -d '{}' http://x/NetworkDriver.GetCapabilities";
    assert!(host.run(plugin).contains("global"));
    host.run("systemctl restart docker");
    eventually(ready, |code| code == "204").await;
    host.run("docker rm --force calico-node");
}

/// As recorded in e31 and e31a: under `KillMode=control-group` an executor survives where systemd tracks
/// units in the hierarchy that Mesos moves executors in, and only there. Of the second hierarchy alone
/// there is no recording: the agent is taken to move them there.
#[tokio::test]
#[ignore = "lab: needs hosts with systemd and Docker, which `make lab-test` brings up as root"]
async fn lab_an_executor_is_recovered_after_a_restart_of_the_unit() {
    let mut framework = Framework::start().await;
    for host in Host::all() {
        until_active(&host).await;
        let task = format!("recovered-{}", host.0);
        framework.launch(&host, &task, None).await;
        let me = framework.until(&task, "TASK_RUNNING").await.data.unwrap().0;
        let me = String::from_utf8(me).unwrap();
        assert_eq!(framework.who(&host).await, me);
        // It is in a PID namespace, as on DC/OS.
        let inside =
            "for p in $(pgrep -f [e]xecutor_process); do grep ^NSpid /proc/$p/status; done";
        assert!(host.run(inside).lines().any(|line| line.split_whitespace().count() == 3));

        let since = witness::now();
        host.run(&format!("systemctl restart {}", host.unit()));
        if host.is_hybrid() {
            let status = framework.until(&task, "TASK_FAILED").await;
            assert_eq!(status.reason.unwrap().to_string(), "REASON_EXECUTOR_TERMINATED");
            assert_eq!(host.run("pgrep -f [e]xecutor_process || true"), "");
        } else {
            until_active(&host).await;
            assert_eq!(framework.who(&host).await, me, "{host:?}");
        }
        let seen = witness::outages(std::slice::from_ref(&host), since);
        assert_eq!(seen.len(), 1, "{seen:?}");
        assert!(seen[0].service.starts_with(host.unit()) && seen[0].to < u64::MAX, "{seen:?}");
    }
    framework.end();
}

/// `KillMode=process` saves it under either layout; an agent that is killed comes back by itself.
#[tokio::test]
#[ignore = "lab: needs hosts with systemd and Docker, which `make lab-test` brings up as root"]
async fn lab_an_executor_outlives_an_agent_that_is_killed() {
    let host = Host::named("a1");
    let unit = host.unit();
    host.run(&format!(
        "mkdir -p /run/systemd/system/{unit}.service.d
         printf '[Service]\\nKillMode=process\\n' >/run/systemd/system/{unit}.service.d/kill.conf
         systemctl daemon-reload"
    ));
    let mut framework = Framework::start().await;
    until_active(&host).await;
    framework.launch(&host, "outlives", None).await;
    framework.until("outlives", "TASK_RUNNING").await;
    let me = framework.who(&host).await;
    host.run(&format!("systemctl kill --kill-who=main --signal=KILL {unit}"));
    eventually(async || agent(&host).await, |agent| agent["active"] == false).await;
    until_active(&host).await;
    assert_eq!(framework.who(&host).await, me);
    framework.end();
    eventually(async || host.run("pgrep -f [e]xecutor_process || true"), String::is_empty).await;
    host.run(&format!("rm -r /run/systemd/system/{unit}.service.d; systemctl daemon-reload"));
}

#[tokio::test]
#[ignore = "lab: needs hosts with systemd and Docker, which `make lab-test` brings up as root"]
async fn lab_an_agent_refuses_what_a_real_one_refuses() {
    let host = Host::named("a1");
    let before = until_active(&host).await;
    let unit = host.unit();
    let file = "/var/lib/dcos/mesos-slave-common";
    host.run(&format!(
        "echo MESOS_ISOLATION=network/cni,calico/nope >{file}; systemctl restart {unit}"
    ));
    let journal = async || host.run(&format!("journalctl --no-pager --unit {unit} --lines 20"));
    let text = "Unknown or unsupported isolator 'calico/nope'";
    eventually(journal, |journal| journal.contains(text)).await;
    eventually(async || agent(&host).await, |agent| agent["active"] == false).await;
    // In order again, it is the same agent, and says so at its own address.
    host.run(&format!("echo MESOS_ISOLATION=network/cni >{file}; systemctl restart {unit}"));
    assert_eq!(until_active(&host).await["id"], before["id"]);
    let flags = get(&format!("http://{}:5051/flags", host.address())).await;
    assert_eq!(flags["flags"]["isolation"], "network/cni");
    host.run(&format!("rm {file}; systemctl restart {unit}"));
    assert_eq!(until_active(&host).await["id"], before["id"]);
}

#[tokio::test]
#[ignore = "lab: needs hosts with systemd and Docker, which `make lab-test` brings up as root"]
async fn lab_a_network_is_known_as_soon_as_its_file_is_there() {
    let host = Host::named("a1");
    let mut framework = Framework::start().await;
    until_active(&host).await;
    framework.launch(&host, "early", Some("calico")).await;
    let status = framework.until("early", "TASK_FAILED").await;
    assert!(status.message.unwrap().ends_with("Unknown CNI network 'calico'"));
    let file = "/opt/mesosphere/etc/dcos/network/cni/calico.cni";
    host.run(&format!("echo '{{\"name\": \"calico\", \"type\": \"calico\"}}' >{file}"));
    framework.launch(&host, "late", Some("calico")).await;
    framework.until("late", "TASK_RUNNING").await;
    host.run(&format!("rm {file}"));
    framework.end();
}

#[tokio::test]
#[ignore = "lab: needs hosts with systemd and Docker, which `make lab-test` brings up as root"]
async fn lab_a_host_that_loses_power_comes_back_as_the_same_agent() {
    let host = Host::named("a1");
    let before = until_active(&host).await;
    let mut framework = Framework::start().await;
    framework.launch(&host, "lost", None).await;
    framework.until("lost", "TASK_RUNNING").await;
    let boot = host.run("cat /etc/machine-id /proc/sys/kernel/random/boot_id");
    let name = format!("calico-dcos-lab-{}", host.0);
    docker(&["kill", &name]);
    eventually(async || agent(&host).await, |agent| agent["active"] == false).await;
    docker(&["start", &name]);
    framework.until("lost", "TASK_FAILED").await;
    assert_eq!(until_active(&host).await["id"], before["id"]);
    let again = host.run("cat /etc/machine-id /proc/sys/kernel/random/boot_id");
    assert_eq!(again.lines().next(), boot.lines().next());
    assert_ne!(again, boot);
    eventually(async || host.run("systemctl is-active docker || true"), |is| is.trim() == "active")
        .await;
    framework.end();
}

#[tokio::test]
#[ignore = "lab: needs hosts with systemd and Docker, which `make lab-test` brings up as root"]
async fn lab_the_witness_sees_who_is_down_together() {
    let (one, other) = (Host::named("a1"), Host::named("p1"));
    let both = [one.clone(), other.clone()];
    let since = witness::now();
    one.run("systemctl restart docker");
    other.run("systemctl restart docker");
    assert_eq!(witness::most_at_once(&witness::outages(&both, since)), 1);
    let since = witness::now();
    one.run("systemctl stop docker.service docker.socket");
    // Killed, not asked: it comes back after five seconds.
    other.run(&format!("systemctl kill --kill-who=main --signal=KILL {}", other.unit()));
    one.run("systemctl start docker");
    assert_eq!(witness::most_at_once(&witness::outages(&both, since)), 2);
    for host in &both {
        until_active(host).await;
    }
}

/// Not a test: agents of the lab start this program as an executor.
#[tokio::test]
#[ignore = "not a test; the others have it started in hosts"]
async fn executor_process() {
    executor::run().await;
}
