//! The step on a machine whose agent reads its environment when it starts.

mod changing;
mod modules;

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::*;
use crate::job::samples;
use crate::node::agent::Agent;
use crate::node::steps::fakes::{Fake, turn, without_slot};
use crate::words::SpecHash;

const UNIT: &str = "dcos-mesos-slave.service";
const DOCUMENT: &str = "/etc/cni/net.d/calico.conf";
const OVERRIDE: &str = "/var/lib/dcos/mesos-slave-common";

fn target(cni: &Value) -> ComponentSpec {
    declared(&json!({"networking": "cni", "cni": cni}))
}

fn declared(agent: &Value) -> ComponentSpec {
    let wanted: Wanted = serde_json::from_value(agent.clone()).unwrap();
    samples::spec(Component::MesosAgent, Spec::MesosAgent(wanted))
}

fn off() -> ComponentSpec {
    samples::spec(Component::MesosAgent, Spec::Off)
}

/// An agent of this version with these flags, that answers over HTTP and runs as a unit. When it
/// is started it reads the file of its environment. One before 1.0 says it all in its state.
async fn agent(version: &'static str, flags: &Value) -> Fake {
    let fake = Fake::new();
    fake.add_unit(UNIT, true);
    for program in ["calico", "calico-ipam"] {
        fake.put(&format!("/opt/x/{program}"), "plugin");
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (root, machine, base) = (Arc::clone(&fake.host.root), fake.share(), flags.clone());
    let read = Arc::new(Mutex::new((1, base.clone())));
    let flags = move || {
        let started = machine.lock().unwrap().units[UNIT].started_us;
        let mut read = read.lock().unwrap();
        if read.0 != started {
            let text = root.text(OVERRIDE).unwrap().unwrap_or_default();
            let mut flags = base.clone();
            for (name, value) in text.lines().filter_map(|line| line.split_once('=')) {
                if let Some(name) = name.strip_prefix("MESOS_") {
                    flags[name.to_lowercase()] = value.into();
                }
            }
            *read = (started, flags);
        }
        read.1.clone()
    };
    let get = |answer: Arc<dyn Fn() -> Value + Send + Sync>| {
        axum::routing::get(move || std::future::ready(axum::Json(answer())))
    };
    let flags: Arc<dyn Fn() -> Value + Send + Sync> = Arc::new(flags);
    let router = if version.starts_with("0.") {
        let state = move || json!({"version": version, "flags": flags()});
        axum::Router::new().route("/state", get(Arc::new(state)))
    } else {
        axum::Router::new()
            .route("/version", get(Arc::new(move || json!({"version": version}))))
            .route("/flags", get(Arc::new(move || json!({"flags": flags()}))))
    };
    tokio::spawn(async move { axum::serve(listener, router).await });
    Agent { version: 1, url }.remember(&fake.host).unwrap();
    fake
}

fn with_cni() -> Value {
    json!({
        "isolation": "cgroups/cpu,network/cni", "network_cni_config_dir": "/etc/cni/net.d/",
        "network_cni_plugins_dir": "/opt/x:/opt/cni/bin",
    })
}

async fn with_folder(version: &'static str) -> Fake {
    let fake = agent(version, &with_cni()).await;
    std::fs::create_dir_all(fake.host.root.place("/etc/cni/net.d")).unwrap();
    fake
}

async fn hash(fake: &Fake) -> Option<SpecHash> {
    fake.observe(&MesosAgent).await.unwrap().hash
}

#[tokio::test]
async fn a_new_agent_reads_the_network_live() {
    let fake = agent("1.11.0", &with_cni()).await;
    fake.put("/srv/calico", "plugin");
    let target = target(&json!({"plugins": [{"name": "calico", "path": "/srv/calico"}]}));
    let ready = Finding::Ready { disrupts: false };
    assert_eq!(fake.check(&MesosAgent, &target).await, ready);
    MesosAgent.apply(&fake.host, turn(1), &target).await.unwrap();
    assert_eq!(fake.machine().done, [""; 0]);
    assert_eq!(hash(&fake).await, Some(target.hash));
    assert_eq!(fake.check(&MesosAgent, &target).await, Finding::InForce);
    assert_eq!(fake.host.root.list("/etc/cni/net.d").unwrap(), ["calico.conf"]);
    let plugin = fake.host.root.read("/opt/cni/bin/calico").unwrap().unwrap();
    assert_eq!(plugin.attributes.mode, 0o755);
    // Drift of either file is seen.
    fake.put("/opt/cni/bin/calico", "other");
    assert_eq!(hash(&fake).await, None);
    fake.put("/opt/cni/bin/calico", "plugin");
    fake.host.root.remove(DOCUMENT).unwrap();
    assert_eq!(hash(&fake).await, None);
}

#[tokio::test]
async fn an_old_agent_is_restarted_once() {
    let fake = with_folder("1.1.0").await;
    let target = target(&json!({}));
    let ready = Finding::Ready { disrupts: true };
    assert_eq!(fake.check(&MesosAgent, &target).await, ready);
    MesosAgent.apply(&fake.host, turn(1), &target).await.unwrap();
    assert_eq!(fake.machine().count("restart"), 1);
    assert_eq!(hash(&fake).await, Some(target.hash));
    MesosAgent.apply(&fake.host, turn(2), &target).await.unwrap();
    assert_eq!(fake.machine().count("restart"), 1);
    // It would know the network until its next start.
    MesosAgent.apply(&fake.host, turn(3), &off()).await.unwrap();
    assert_eq!((fake.machine().count("restart"), fake.text(DOCUMENT)), (2, None));
}

#[tokio::test]
async fn what_was_written_before_a_crash_is_not_in_force_until_the_restart() {
    let fake = with_folder("1.1.0").await;
    fake.machine().broken.push(format!("restart {UNIT}"));
    let target = target(&json!({}));
    MesosAgent.apply(&fake.host, turn(1), &target).await.unwrap_err();
    assert_eq!(hash(&fake).await, None);
    // The same attempt carried on.
    fake.machine().broken.clear();
    assert_eq!(fake.check(&MesosAgent, &target).await, Finding::Ready { disrupts: true });
    MesosAgent.apply(&fake.host, turn(1), &target).await.unwrap();
    assert_eq!(hash(&fake).await, Some(target.hash));
}

#[tokio::test]
async fn missing_flags_go_into_the_override_and_come_out_again() {
    let fake = agent("1.11.0", &json!({"isolation": "cgroups/cpu"})).await;
    fake.put("/opt/cni/bin/calico", "");
    fake.put("/opt/cni/bin/calico-ipam", "");
    fake.put(OVERRIDE, "# ours\nMESOS_ATTRIBUTES=rack:r1\n");
    let target = target(&json!({}));
    // The attribute waits for a restart, which the agent would not survive.
    let found = fake.check(&MesosAgent, &target).await;
    assert!(
        matches!(&found, Finding::Refused { why } if why.contains("MESOS_ATTRIBUTES")),
        "{found:?}"
    );
    fake.put(OVERRIDE, "# ours\nMESOS_CREDENTIAL=/c\n");
    assert_eq!(fake.check(&MesosAgent, &target).await, Finding::Ready { disrupts: true });
    MesosAgent.apply(&fake.host, turn(1), &target).await.unwrap();
    assert_eq!(
        fake.text(OVERRIDE).unwrap(),
        "# ours\nMESOS_CREDENTIAL=/c\nMESOS_ISOLATION=cgroups/cpu,network/cni\n\
         MESOS_NETWORK_CNI_CONFIG_DIR=/etc/cni/net.d\nMESOS_NETWORK_CNI_PLUGINS_DIR=/opt/cni/bin\n"
    );
    assert_eq!(fake.machine().count("restart"), 1);
    assert_eq!(hash(&fake).await, Some(target.hash));
    MesosAgent.apply(&fake.host, turn(2), &off()).await.unwrap();
    assert_eq!(fake.text(OVERRIDE).unwrap(), "# ours\nMESOS_CREDENTIAL=/c\n");
    assert_eq!(fake.machine().count("restart"), 2);
    assert_eq!(fake.text(DOCUMENT), None);
    assert_eq!(fake.check(&MesosAgent, &off()).await, Finding::InForce);
}

#[tokio::test]
async fn an_undo_puts_files_back_and_restarts_only_what_was_restarted() {
    for (version, restarts) in [("1.11.0", 0), ("1.1.0", 2)] {
        let fake = agent(version, &with_cni()).await;
        fake.put(DOCUMENT, "{\"name\": \"calico\", \"type\": \"theirs\"}");
        MesosAgent.apply(&fake.host, turn(1), &target(&json!({}))).await.unwrap();
        fake.undo(&MesosAgent, 1).await;
        assert_eq!(fake.text(DOCUMENT).unwrap(), "{\"name\": \"calico\", \"type\": \"theirs\"}");
        assert_eq!(fake.machine().count("restart"), restarts, "{version}");
    }
}

/// The check found that the agent reads it live; by the time of the step another agent runs, or none answers.
#[tokio::test]
async fn without_a_slot_the_agent_is_never_restarted() {
    let fake = agent("1.1.0", &with_cni()).await;
    let applied = MesosAgent.apply(&fake.host, without_slot(1), &target(&json!({}))).await;
    let refused = applied.unwrap_err().to_string();
    assert!(refused.contains("would have to be stopped"), "{refused}");
    assert_eq!((fake.machine().count("restart"), fake.text(DOCUMENT)), (0, None));
    let fake = agent("1.11.0", &with_cni()).await;
    MesosAgent.apply(&fake.host, without_slot(1), &target(&json!({}))).await.unwrap();
    for unit in fake.machine().units.values_mut() {
        unit.started_us += 1;
    }
    crate::node::steps::put_back(&MesosAgent, &fake.host, without_slot(1)).await.unwrap();
    assert_eq!((fake.machine().count("restart"), fake.text(DOCUMENT)), (0, None));
}

#[tokio::test]
async fn what_cannot_work_is_refused() {
    let fake = agent("1.11.0", &with_cni()).await;
    let refused = async |cni: Value, text: &str| {
        let found = fake.check(&MesosAgent, &target(&cni)).await;
        assert!(matches!(&found, Finding::Refused { why } if why.contains(text)), "{found:?}");
    };
    let network = |version: &str, kind: &str| json!({"network": {"name": "calico", "type": kind, "cniVersion": version}});
    refused(network("0.3.1", "calico"), "0.2.0").await;
    refused(network("0.1.0", "flannel"), "`flannel`").await;
    fake.put("/etc/cni/net.d/old.bak", "{\"name\": \"calico\", \"type\": \"x\"}");
    refused(json!({}), "old.bak").await;
    let old = agent("0.28.1", &with_cni()).await;
    let found = old.check(&MesosAgent, &target(&json!({}))).await;
    assert!(matches!(found, Finding::Refused { why } if why.contains("0.28.1")));
}

#[tokio::test]
async fn a_host_without_an_agent_is_refused() {
    let fake = Fake::new();
    let found = fake.check(&MesosAgent, &target(&json!({}))).await;
    assert_eq!(found, Finding::Refused { why: NO_UNIT.to_owned() });
    assert_eq!(fake.observe(&MesosAgent).await, None);
}
