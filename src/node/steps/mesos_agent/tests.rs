use super::*;
use crate::job::samples;
use crate::node::steps::fakes::Fake;
use crate::words::SpecHash;

const UNIT: &str = "dcos-mesos-slave.service";
const DOCUMENT: &str = "/etc/cni/net.d/calico.conf";
const OVERRIDE: &str = "/var/lib/dcos/mesos-slave-common";

fn spec(cni: Value) -> Cni {
    serde_json::from_value(cni).unwrap()
}

fn target(cni: &Value) -> ComponentSpec {
    let wanted: Wanted = serde_json::from_value(json!({"networking": "cni", "cni": cni})).unwrap();
    samples::spec(Component::MesosAgent, Spec::MesosAgent(wanted))
}

/// An agent of this version with these flags, that answers over HTTP and runs as a unit.
async fn agent(version: &'static str, flags: &Value) -> Fake {
    let fake = Fake::new();
    fake.add_unit(UNIT, true);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let get =
        |body: Value| axum::routing::get(move || std::future::ready(axum::Json(body.clone())));
    let router = axum::Router::new()
        .route("/version", get(json!({"version": version})))
        .route("/flags", get(json!({"flags": flags.clone()})));
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

async fn hash(fake: &Fake) -> Option<SpecHash> {
    MesosAgent.observe(&fake.host).await.unwrap().unwrap().hash
}

#[tokio::test]
async fn a_new_agent_reads_the_network_live() {
    let fake = agent("1.11.0", &with_cni()).await;
    fake.put("/srv/calico", "plugin");
    let target = target(&json!({"plugins": [{"name": "calico", "path": "/srv/calico"}]}));
    let ready = Finding::Ready { disrupts: false };
    assert_eq!(MesosAgent.check(&fake.host, &target).await.unwrap(), ready);
    MesosAgent.apply(&fake.host, Attempt(1), &target).await.unwrap();
    assert_eq!(fake.machine().done, [""; 0]);
    assert_eq!(hash(&fake).await, Some(target.hash));
    assert_eq!(MesosAgent.check(&fake.host, &target).await.unwrap(), Finding::InForce);
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
    let fake = agent("1.1.0", &with_cni()).await;
    let target = target(&json!({}));
    let ready = Finding::Ready { disrupts: true };
    assert_eq!(MesosAgent.check(&fake.host, &target).await.unwrap(), ready);
    MesosAgent.apply(&fake.host, Attempt(1), &target).await.unwrap();
    assert_eq!(fake.machine().count("restart"), 1);
    assert_eq!(hash(&fake).await, Some(target.hash));
    MesosAgent.apply(&fake.host, Attempt(2), &target).await.unwrap();
    assert_eq!(fake.machine().count("restart"), 1);
}

#[tokio::test]
async fn what_was_written_before_a_crash_is_not_in_force_until_the_restart() {
    let fake = agent("1.1.0", &with_cni()).await;
    fake.machine().broken.push(format!("restart {UNIT}"));
    let target = target(&json!({}));
    MesosAgent.apply(&fake.host, Attempt(1), &target).await.unwrap_err();
    assert_eq!(hash(&fake).await, None);
    // The same attempt carried on.
    fake.machine().broken.clear();
    assert_eq!(
        MesosAgent.check(&fake.host, &target).await.unwrap(),
        Finding::Ready { disrupts: true }
    );
    MesosAgent.apply(&fake.host, Attempt(1), &target).await.unwrap();
    assert_eq!(hash(&fake).await, Some(target.hash));
}

#[tokio::test]
async fn missing_flags_go_into_the_override_and_come_out_again() {
    let fake = agent("1.11.0", &json!({"isolation": "cgroups/cpu"})).await;
    fake.put(OVERRIDE, "# ours\nMESOS_ATTRIBUTES=rack:r1\n");
    let target = target(&json!({}));
    MesosAgent.apply(&fake.host, Attempt(1), &target).await.unwrap();
    assert_eq!(
        fake.text(OVERRIDE).unwrap(),
        "# ours\nMESOS_ATTRIBUTES=rack:r1\nMESOS_ISOLATION=cgroups/cpu,network/cni\n\
         MESOS_NETWORK_CNI_CONFIG_DIR=/etc/cni/net.d\nMESOS_NETWORK_CNI_PLUGINS_DIR=/opt/cni/bin\n"
    );
    assert_eq!(fake.machine().count("restart"), 1);
    // The agent's answer is what counts, and this one has not changed.
    assert_eq!(hash(&fake).await, None);
    let off = samples::spec(Component::MesosAgent, Spec::Off);
    MesosAgent.apply(&fake.host, Attempt(2), &off).await.unwrap();
    assert_eq!(fake.text(OVERRIDE).unwrap(), "# ours\nMESOS_ATTRIBUTES=rack:r1\n");
    assert_eq!(fake.text(DOCUMENT), None);
    assert_eq!(MesosAgent.check(&fake.host, &off).await.unwrap(), Finding::InForce);
}

#[tokio::test]
async fn an_undo_puts_files_back_and_restarts_only_what_was_restarted() {
    for (version, restarts) in [("1.11.0", 0), ("1.1.0", 2)] {
        let fake = agent(version, &with_cni()).await;
        fake.put(DOCUMENT, "{\"name\": \"calico\", \"type\": \"theirs\"}");
        MesosAgent.apply(&fake.host, Attempt(1), &target(&json!({}))).await.unwrap();
        MesosAgent.undo(&fake.host, Attempt(1)).await.unwrap();
        assert_eq!(fake.text(DOCUMENT).unwrap(), "{\"name\": \"calico\", \"type\": \"theirs\"}");
        assert_eq!(fake.machine().count("restart"), restarts, "{version}");
    }
}

#[tokio::test]
async fn what_cannot_work_is_refused() {
    let fake = agent("1.11.0", &with_cni()).await;
    let check = async |cni: Value| MesosAgent.check(&fake.host, &target(&cni)).await.unwrap();
    let network = json!({"network": {"name": "calico", "type": "calico", "cniVersion": "0.3.1"}});
    assert!(matches!(check(network).await, Finding::Refused { why } if why.contains("0.2.0")));
    fake.put("/etc/cni/net.d/old.bak", "{\"name\": \"calico\", \"type\": \"x\"}");
    assert!(matches!(check(json!({})).await, Finding::Refused { why } if why.contains("old.bak")));
    let old = agent("0.28.1", &with_cni()).await;
    let found = MesosAgent.check(&old.host, &target(&json!({}))).await.unwrap();
    assert!(matches!(found, Finding::Refused { why } if why.contains("0.28.1")));
}

#[test]
fn flags_are_read_from_the_process_too() {
    let line = b"mesos-slave\0--isolation=posix/cpu\0";
    let environment = b"MESOS_ISOLATION=x\0MESOS_NETWORK_CNI_CONFIG_DIR=/etc/cni/net.d\0";
    let missing = Flags::of_process(line, environment).missing(&spec(json!({})));
    let expected = [
        ("MESOS_ISOLATION", "posix/cpu,network/cni"),
        ("MESOS_NETWORK_CNI_PLUGINS_DIR", "/opt/cni/bin"),
    ];
    assert!(missing.iter().map(|(n, v)| (n.as_str(), v.as_str())).eq(expected), "{missing:?}");
}

#[test]
fn an_environment_keeps_what_is_not_ours() {
    let set = |text: &str| rules::set_environment(text, &[("A".to_owned(), "1".to_owned())]);
    assert_eq!(set(""), "A=1\n");
    assert_eq!(set("AB=2\n# A=3\nA=4\nC=5\n"), "AB=2\n# A=3\nA=1\nC=5\n");
    let restore = |text: &str, old: &str| rules::restore_environment(text, old, ["A"].into_iter());
    assert_eq!(restore("A=1\nC=5\n", "A=4\n"), "A=4\nC=5\n");
    assert_eq!(restore("A=1\nC=5\n", ""), "C=5\n");
}
