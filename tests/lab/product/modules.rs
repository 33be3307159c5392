//! net-modules, the way before CNI: a library in the agent, and the program that it calls.

use axum::Router;
use axum::routing::get as serve;
use calico_dcos::words::SpecHash;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::document::Document;
use super::{Over, as_declared, brought_to, launched, reason, status, tasks, until_over};
use crate::host::{Host, gateway, get};
use crate::witness;

const LIBRARY: &str = "/opt/calico/lib/libmesos_network_isolator.so";
const PLUGIN: &str = "/calico/calico_mesos";
const FOLDER: &str = "/var/lib/calico-dcos/modules";
/// What DC/OS leaves alone at upgrades.
const OVERRIDE: &str = "/var/lib/dcos/mesos-slave-common";
const ISOLATOR: &str = "com_mesosphere_mesos_NetworkIsolator";
const HOOK: &str = "com_mesosphere_mesos_NetworkHook";

/// From CNI to net-modules, off, and back: one restart of the agent for each, one host after the other.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "lab: needs hosts with systemd and Docker, which `make lab-test` brings up as root"]
async fn lab_net_modules_come_into_force_with_one_restart_and_go_with_one() {
    come_and_go(&Host::all()).await;
}

/// On the Mesos that they were made for. Below 1.3 a framework has one role, so that the public host is out
/// of reach.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "lab: needs hosts with systemd and Docker and an old Mesos, which `make lab-test-all` brings up as root"]
async fn lab_old_net_modules_come_into_force_on_the_mesos_of_their_time() {
    let (public, hosts): (Vec<_>, _) =
        Host::all().into_iter().partition(|host| host.0.starts_with('p'));
    let version = get(&format!("http://{}:5051/version", hosts[0].address())).await;
    assert_eq!(version["version"], "1.1.0", "the lab is another one");
    let since = witness::now();
    come_and_go(&hosts).await;
    assert_eq!(witness::outages(&public, since), []);
    for host in &public {
        let (code, why) = reason(host);
        assert_eq!(code, "blocked", "{why}");
    }
}

async fn come_and_go(hosts: &[Host]) {
    let off = Document::lab().with("mesosAgent", json!({"enabled": false}));
    let _controller = brought_to(&off).await;
    let before: Vec<_> = hosts.iter().map(of_agent).collect();
    let section = declared(&hosts[0]).await;

    let (since, known) = (witness::now(), tasks().await);
    Document::lab().with("mesosAgent", section).apply();
    assert_eq!(until_over().await, Over::Done, "{}", status());
    for host in hosts {
        is_in_force(host).await;
        // Where both hierarchies of control groups are there, a restart of the agent takes its executors
        // with it, and all our tasks are launched again.
        if !host.is_hybrid() {
            assert_eq!(launched(host, &known).await, ["change"], "{host:?}");
        }
    }
    only_agents_once(hosts, since);

    let since = witness::now();
    off.apply();
    assert_eq!(until_over().await, Over::Done, "{}", status());
    assert_eq!(hosts.iter().map(of_agent).collect::<Vec<_>>(), before);
    only_agents_once(hosts, since);
    let _controller = as_declared().await;
}

/// Each was restarted once, and never two of them at the same time.
fn only_agents_once(hosts: &[Host], since: u64) {
    let seen = witness::outages(hosts, since);
    assert_eq!(seen.len(), hosts.len(), "{seen:?}");
    assert_eq!(witness::most_at_once(&seen), 1, "{seen:?}");
    let of = |host: &Host| seen.iter().find(|outage| outage.host == host.0);
    for host in hosts {
        let service = of(host).map(|outage| outage.service.as_str());
        assert_eq!(service, Some(format!("{}.service", host.unit()).as_str()), "{seen:?}");
    }
}

/// What of a library counts: that it is one, for which version of Mesos, and which modules are in it.
fn library(version: &str) -> Vec<u8> {
    let mut bytes = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3e\0".to_vec();
    for text in [version, ISOLATOR, HOOK] {
        bytes.extend_from_slice(&[b"\0", text.as_bytes(), b"\0"].concat());
    }
    bytes
}

/// The section for what this machine serves, built for the agent's very version.
async fn declared(host: &Host) -> Value {
    let version = get(&format!("http://{}:5051/version", host.address())).await;
    let library = library(version["version"].as_str().unwrap());
    let plugin = b"#!/bin/sh\n".to_vec();
    let listener = TcpListener::bind((gateway(), 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let sha256 = SpecHash::of(bytes).to_string();
        json!({"url": format!("http://{address}/{name}"), "sha256": sha256})
    };
    let section = json!({
        "networking": "netModules",
        "netModules": {"library": file("library.so", &library), "plugin": file("plugin", &plugin)},
    });
    let router = Router::new()
        .route("/library.so", serve(move || std::future::ready(library.clone())))
        .route("/plugin", serve(move || std::future::ready(plugin.clone())));
    tokio::spawn(async move { axum::serve(listener, router).await });
    section
}

/// Files, variables and flags, each asked of who has it.
async fn is_in_force(host: &Host) {
    let version = get(&format!("http://{}:5051/version", host.address())).await;
    let bytes = library(version["version"].as_str().unwrap());
    let digest = SpecHash::of(&bytes);
    let said = host.run(&format!("sha256sum {LIBRARY}; stat --format %a {LIBRARY} {PLUGIN}"));
    assert_eq!(said, format!("{digest}  {LIBRARY}\n755\n755\n"));
    let manifest: Value =
        serde_json::from_str(&host.run(&format!("cat {FOLDER}/modules.json"))).unwrap();
    let libraries = manifest["libraries"].as_array().unwrap();
    let ours = libraries.iter().find(|library| library["file"] == LIBRARY).expect("our library");
    let names: Vec<&str> =
        ours["modules"].as_array().unwrap().iter().filter_map(|m| m["name"].as_str()).collect();
    assert_eq!(names, [ISOLATOR, HOOK]);
    assert_eq!(ours["modules"][0]["parameters"][0]["value"], PLUGIN);

    // The whole value: what is set in this file replaces what DC/OS sets in its own.
    let theirs = host.run("sed -n s/^MESOS_ISOLATION=//p /opt/mesosphere/etc/mesos-slave-common");
    let isolation = format!("{},{ISOLATOR}", theirs.trim());
    let text = host.run(&format!("cat {OVERRIDE}"));
    for line in [
        format!("MESOS_ISOLATION={isolation}"),
        format!("MESOS_MODULES_DIR={FOLDER}"),
        format!("MESOS_HOOKS={HOOK}"),
        "ETCD_AUTHORITY=127.0.0.1:2379".to_owned(),
    ] {
        assert!(text.lines().any(|own| own == line), "{host:?}: {line}: {text}");
    }
    let flags = get(&format!("http://{}:5051/flags", host.address())).await;
    let flag = |name: &str| flags["flags"][name].as_str().unwrap_or_default();
    assert_eq!((flag("isolation"), flag("hooks")), (isolation.as_str(), HOOK), "{host:?}");
    assert_eq!(flag("modules_dir"), FOLDER, "{host:?}");
}

/// What an agent reads at its start, and where ours would be.
fn of_agent(host: &Host) -> String {
    host.run(&format!(
        "cat {OVERRIDE} /opt/mesosphere/etc/mesos-slave-common 2>&1 || true
         find {FOLDER} {LIBRARY} {PLUGIN} -type f 2>/dev/null || true"
    ))
}
