//! What somebody changes by hand on a host is seen, and put right with as little as it takes.

use serde_json::Value;

use super::bare::all_is_in_force;
use super::{Controller, as_declared, facts, holders, launched, newest_attempt, tasks, until};
use crate::host::{Host, NETWORKS, PROXY, eventually};
use crate::witness;

/// In microseconds: below the time after which the host would have been looked at anyway, which is 30 s.
const SEEN_WITHIN: u64 = 25_000_000;
/// And with a task launched, the change made, and proven to be stable.
const PUT_RIGHT_WITHIN: u64 = 60_000_000;

/// Each of these takes one task, and neither Docker nor the agent is restarted for it.
#[tokio::test]
#[ignore = "lab: needs hosts with systemd and Docker, which `make lab-test` brings up as root"]
async fn lab_what_is_changed_by_hand_is_put_right_with_one_task() {
    let (_controller, hosts) = (as_declared().await, Host::all());
    let (host, since) = (&hosts[0], witness::now());
    for (what, line, task) in [
        ("store changed", "sed -i s/127.0.0.1/10.9.9.9/ /etc/docker/daemon.json", "change"),
        ("daemon.json removed", "rm /etc/docker/daemon.json", "change"),
        ("network changed", &format!("sed -i s/calico-ipam/other/ {NETWORKS}/*"), "change"),
        ("network removed", &format!("rm {NETWORKS}/*"), "change"),
        ("container removed", "docker rm --force calico-node", "calico-node"),
        ("container stopped", "docker stop calico-node", "calico-node"),
        ("proxy stopped", &format!("systemctl stop {PROXY}"), "etcd-proxy"),
    ] {
        let (tasks, before) = (tasks().await, newest_attempt());
        let known = components(&super::export(), host);
        let begun = witness::now();
        host.run(line);
        until("it is not seen", |now| components(now, host) != known).await;
        let seen = witness::now() - begun;
        repaired(host, before).await;
        let took = witness::now() - begun;
        println!("{what}: seen after {} ms, put right after {} ms", seen / 1_000, took / 1_000);
        assert!(seen < SEEN_WITHIN && took < PUT_RIGHT_WITHIN, "{what}: {seen} and {took}");
        all_is_in_force(host, "calico/node:v2.6.12").await;
        assert_eq!(launched(host, &tasks).await, [task], "{what}");
        assert_eq!(holders(), [""; 0], "{what}");
    }
    assert_eq!(witness::outages(&hosts, since), []);
}

/// A proxy that is killed comes back by itself: what was started with it is not ours to start.
#[tokio::test]
#[ignore = "lab: needs hosts with systemd and Docker, which `make lab-test` brings up as root"]
async fn lab_a_proxy_that_is_killed_is_up_again_without_us() {
    let (_controller, hosts) = (as_declared().await, Host::all());
    let (host, since) = (&hosts[0], witness::now());
    let runs = || host.run(&format!("systemctl show --property MainPID,ActiveState {PROXY}"));
    let (before, known, attempt) = (runs(), tasks().await, newest_attempt());
    let order = |now: &Value| facts(now, host)["order"]["sequence"].as_u64();
    let looked = order(&super::export());
    let mark = host.mark();
    host.run(&format!("systemctl kill --signal KILL {PROXY}"));
    mark.until_said("Started calico-dcos-etcd-proxy").await;
    eventually(async || runs(), |now| now.contains("=active") && *now != before).await;
    all_is_in_force(host, "calico/node:v2.6.12").await;
    // What shows next of the host, a file that is touched, comes after all that the kill showed.
    host.run("sed -i s/127.0.0.1/10.9.9.9/ /etc/docker/daemon.json");
    until("it is not seen", |now| order(now) > looked && newest_attempt() > attempt).await;
    repaired(host, attempt).await;
    assert_eq!(launched(host, &known).await, ["change"], "for that file, and none for the proxy");
    assert_eq!(newest_attempt(), attempt + 1);
    assert_eq!(witness::outages(&hosts, since), []);
}

/// On all hosts at once, and so that Docker has to be restarted: on one after the other.
#[tokio::test]
#[ignore = "lab: needs hosts with systemd and Docker, which `make lab-test` brings up as root"]
async fn lab_drift_of_all_hosts_at_once_keeps_to_the_budget() {
    let hosts = Host::all();
    drop(as_declared().await);
    let (tasks, now) = (tasks().await, super::export());
    let before: Vec<u64> = hosts.iter().map(|host| attempt(&now, host)).collect();
    for host in &hosts {
        // The daemon loses its store by this, so it has to be restarted to have it again.
        host.run("rm /etc/docker/daemon.json; systemctl restart docker");
    }
    let since = witness::now();
    let _controller = Controller::start();
    let ended = |now: &Value| {
        let later = |(host, before): (&Host, &u64)| {
            let journal = &facts(now, host)["journal"];
            journal["attempt"].as_u64() > Some(*before) && journal["state"]["is"] == "done"
        };
        hosts.iter().zip(&before).all(later)
    };
    until("a host is not put right", ended).await;
    let seen = witness::outages(&hosts, since);
    assert_eq!(witness::most_at_once(&seen), 1, "{seen:?}");
    assert_eq!(seen.len(), hosts.len(), "{seen:?}");
    for host in &hosts {
        all_is_in_force(host, "calico/node:v2.6.12").await;
        assert_eq!(launched(host, &tasks).await, ["change"], "{host:?}");
    }
}

/// What the host says of its components.
fn components(export: &Value, host: &Host) -> Value {
    facts(export, host)["components"].clone()
}

fn attempt(export: &Value, host: &Host) -> u64 {
    facts(export, host)["journal"]["attempt"].as_u64().unwrap_or_default()
}

/// Waits until an attempt later than that one has ended well, and nothing is held any more.
async fn repaired(host: &Host, before: u64) {
    let ended = |now: &Value| {
        let journal = &facts(now, host)["journal"];
        journal["attempt"].as_u64() > Some(before)
            && journal["state"]["is"] == "done"
            && now["hosts"][&host.0].get("slot").is_none()
    };
    until("it is not put right", ended).await;
}
