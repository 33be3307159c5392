//! From hosts with nothing of ours to all components, by either way, and back.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use etcd_client::Client;
use serde_json::json;

use super::document::Document;
use super::{
    Over, as_declared, brought_to, etcd, facts, launched, newest_attempt, status, tasks, until_over,
};
use crate::host::{Host, NETWORKS, PROXY, gateway, get};
use crate::witness;

/// From bare hosts to all components in sync under a budget of one, and then nothing more. Its name
/// makes it the first of the product's.
#[tokio::test]
#[ignore = "lab: needs hosts with systemd and Docker, which `make lab-test` brings up as root"]
async fn lab_bare_hosts_become_as_declared() {
    let (hosts, since) = (Host::all(), witness::now());
    let _controller = as_declared().await;
    for host in &hosts {
        all_is_in_force(host, "calico/node:v2.6.12").await;
        is_in_a_pid_namespace(host);
    }
    let seen = witness::outages(&hosts, since);
    assert!(witness::most_at_once(&seen) <= 1, "{seen:?}");
    // Docker alone, and once: agents of this version read networks live.
    assert_eq!(seen.len(), hosts.len(), "{seen:?}");
    assert!(seen.iter().all(|outage| outage.service == "docker.service"), "{seen:?}");
    let layouts = super::export();
    for host in &hosts {
        assert_eq!(facts(&layouts, host)["system"]["cgroups"], host.layout());
    }
    assert!(hosts.iter().any(|host| host.layout() == "v2"), "the second version alone");

    // The same again changes nothing, and neither does a document that means the same.
    let (now, tasks, attempt) = (witness::now(), tasks().await, newest_attempt());
    let before: Vec<_> = hosts.iter().map(Host::still).collect();
    Document::lab().apply();
    assert_eq!(until_over().await, Over::Done);
    Document::lab().with("docker/clusterStoreOpts", json!({})).apply();
    assert_eq!(until_over().await, Over::Done);
    for (host, before) in hosts.iter().zip(&before) {
        assert_eq!(host.still(), *before);
        assert_eq!(launched(host, &tasks).await, [""; 0], "{host:?}");
    }
    assert_eq!(newest_attempt(), attempt);
    assert!(witness::outages(&hosts, now).is_empty());
}

/// What was there before us is there again, and nothing of ours is left.
#[tokio::test]
#[ignore = "lab: needs hosts with systemd and Docker, which `make lab-test` brings up as root"]
async fn lab_hosts_that_all_is_taken_off_are_as_they_were() {
    let hosts = Host::all();
    let _controller = as_declared().await;
    let since = witness::now();
    Document::lab().off().apply();
    assert_eq!(until_over().await, Over::Done, "{}", status());
    for host in &hosts {
        let left = host.run(&format!(
            "ls /etc/docker/daemon.json 2>/dev/null; ls {NETWORKS}; docker ps --all --quiet
             find /etc/systemd -name 'calico-dcos*'
             pgrep -f '[e]tcd gateway' || true
             docker info 2>/dev/null | grep -A1 -i 'cluster store' || true"
        ));
        assert_eq!(left, "", "{host:?}");
    }
    let seen = witness::outages(&hosts, since);
    assert!(witness::most_at_once(&seen) <= 1, "{seen:?}");
    assert_eq!(seen.len(), hosts.len(), "{seen:?}");
}

/// Docker takes a first store by reload if an address to advertise comes with it.
#[tokio::test]
#[ignore = "lab: needs hosts with systemd and Docker, which `make lab-test` brings up as root"]
async fn lab_with_an_address_to_advertise_nothing_restarts() {
    let hosts = Host::all();
    let _controller = brought_to(&Document::lab().off()).await;
    let since = witness::now();
    let starts = |host: &Host| {
        let unit = host.unit();
        host.run(&format!(
            "systemctl show --property Id,ExecMainPID,NRestarts docker {unit}; docker ps --quiet"
        ))
    };
    let before: Vec<_> = hosts.iter().map(starts).collect();
    Document::lab().with("docker/clusterAdvertise", "eth0:2376").without("calicoNode").apply();
    assert_eq!(until_over().await, Over::Done, "{}", status());
    assert_eq!(hosts.iter().map(starts).collect::<Vec<_>>(), before);
    Document::lab().with("docker/clusterAdvertise", "eth0:2376").apply();
    assert_eq!(until_over().await, Over::Done, "{}", status());
    for host in &hosts {
        all_is_in_force(host, "calico/node:v2.6.12").await;
        let address = format!("{}:2376", host.address());
        assert!(host.run("docker info 2>/dev/null").contains(&address), "{host:?}");
    }
    assert_eq!(witness::outages(&hosts, since), []);
}

/// Asks each component itself whether it is as declared.
pub(super) async fn all_is_in_force(host: &Host, image: &str) {
    let name = &host.0;
    assert!(host.run("docker info 2>/dev/null").contains("etcd://127.0.0.1:2379"), "{name}");
    let node = host.run("docker ps --filter name=^calico-node$ --format '{{.Image}}'");
    assert_eq!(node.trim(), image, "{name}");
    let flags = get(&format!("http://{}:5051/flags", host.address())).await;
    assert_eq!(flags["flags"]["network_cni_config_dir"], NETWORKS, "{name}");
    let network = host.run(&format!("cat {NETWORKS}/*"));
    assert!(network.contains("\"calico\""), "{name}: {network}");
    let enabled = host.run(&format!("systemctl is-enabled {PROXY}; systemctl is-active {PROXY}"));
    assert_eq!(enabled, "enabled\nactive\n", "{name}");
    writes_pass(host).await;
}

/// Whether what is written through the proxy of a host arrives, by both of etcd's interfaces.
pub(super) async fn writes_pass(host: &Host) {
    let name = &host.0;
    let own = "http://127.0.0.1:2379";
    let line = format!("curl -fsS -X PUT -d value={name} {own}/v2/keys/lab/{name}");
    host.run(&line);
    let written = get(&format!("http://{}:2379/v2/keys/lab/{name}", gateway())).await;
    assert_eq!(written["node"]["value"], *name);
    let (key, value) = (format!("/lab/{name}"), format!("{name} at {}", witness::now()));
    let put = json!({"key": STANDARD.encode(&key), "value": STANDARD.encode(&value)});
    host.run(&format!("curl -fsS -d '{put}' {own}/v3/kv/put"));
    let mut client = Client::connect([etcd()], None).await.unwrap();
    let found = client.get(key, None).await.unwrap();
    assert_eq!(found.kvs()[0].value_str().unwrap(), value);
}

/// Agents of DC/OS give executors a PID namespace, in which `systemctl` does not work.
fn is_in_a_pid_namespace(host: &Host) {
    let line = "grep NSpid /proc/$(pgrep -f '^[.]/calico-dcos node executor$')/status";
    assert_eq!(host.run(line).split_whitespace().count(), 3, "{host:?}");
}
