//! net-modules.

use super::*;
use crate::desired::NetModules;
use crate::node::files::Staging;

const LIBRARY: &str = "/opt/calico/lib/libmesos_network_isolator.so";
const PLUGIN: &str = "/calico/calico_mesos";
const MANIFEST: &str = "/var/lib/calico-dcos/modules/modules.json";
const THEIRS: &str = "/opt/mesosphere/etc/mesos-slave-modules.json";

/// What of a library counts.
fn library(version: &str, modules: &[&str]) -> Vec<u8> {
    let mut bytes = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3e\0".to_vec();
    for text in std::iter::once(&version).chain(modules) {
        bytes.extend_from_slice(&[b"\0", text.as_bytes(), b"\0"].concat());
    }
    bytes
}

fn modules(version: &str) -> Vec<u8> {
    library(version, &["com_mesosphere_mesos_NetworkIsolator", "com_mesosphere_mesos_NetworkHook"])
}

pub(super) fn target() -> ComponentSpec {
    declared(&json!({
        "networking": "netModules",
        "netModules": {"library": {"path": "/srv/library.so"}, "plugin": {"path": "/srv/plugin"}},
    }))
}

/// With what is declared at hand.
pub(super) fn provide(fake: &Fake, version: &str) {
    fake.host.root.write("/srv/library.so", &modules(version), 0o644, Staging::Beside).unwrap();
    fake.put("/srv/plugin", "plugin");
}

async fn old_agent(more: &Value) -> Fake {
    let mut flags = json!({"isolation": "posix/cpu,posix/mem"});
    for (name, value) in more.as_object().unwrap() {
        flags[name] = value.clone();
    }
    let fake = agent("0.28.1", &flags).await;
    provide(&fake, "0.28.1");
    fake
}

fn manifest(fake: &Fake) -> Value {
    serde_json::from_str(&fake.text(MANIFEST).unwrap()).unwrap()
}

async fn refused(fake: &Fake, text: &str) {
    let found = fake.check(&MesosAgent, &target()).await;
    assert!(matches!(&found, Finding::Refused { why } if why.contains(text)), "{text}: {found:?}");
}

#[tokio::test]
async fn net_modules_come_with_one_restart_and_go_with_one() {
    let fake = old_agent(&json!({})).await;
    fake.put(OVERRIDE, "MESOS_ISOLATION=posix/cpu,posix/mem\n# theirs\n");
    let target = target();
    assert_eq!(fake.check(&MesosAgent, &target).await, Finding::Ready { disrupts: true });
    MesosAgent.apply(&fake.host, turn(1), &target).await.unwrap();
    assert_eq!(
        fake.text(OVERRIDE).unwrap(),
        "MESOS_ISOLATION=posix/cpu,posix/mem,com_mesosphere_mesos_NetworkIsolator\n# theirs\n\
         MESOS_MODULES=file:///var/lib/calico-dcos/modules/modules.json\n\
         MESOS_HOOKS=com_mesosphere_mesos_NetworkHook\nETCD_AUTHORITY=127.0.0.1:2379\n"
    );
    assert_eq!(
        manifest(&fake),
        json!({"libraries": [{"file": LIBRARY, "modules": [
            {"name": "com_mesosphere_mesos_NetworkIsolator", "parameters": [
                {"key": "isolator_command", "value": PLUGIN}, {"key": "ipam_command", "value": PLUGIN},
            ]},
            {"name": "com_mesosphere_mesos_NetworkHook"},
        ]}]})
    );
    let mode = |path: &str| fake.host.root.read(path).unwrap().unwrap().attributes.mode;
    assert_eq!((mode(LIBRARY), mode(PLUGIN)), (0o755, 0o755));
    assert_eq!(fake.machine().count("restart"), 1);
    assert_eq!(hash(&fake).await, Some(target.hash));
    assert_eq!(fake.check(&MesosAgent, &target).await, Finding::InForce);
    MesosAgent.apply(&fake.host, turn(2), &target).await.unwrap();
    assert_eq!(fake.machine().count("restart"), 1);

    MesosAgent.apply(&fake.host, turn(3), &off()).await.unwrap();
    assert_eq!(fake.text(OVERRIDE).unwrap(), "MESOS_ISOLATION=posix/cpu,posix/mem\n# theirs\n");
    for path in [LIBRARY, PLUGIN, MANIFEST] {
        assert_eq!(fake.text(path), None, "{path}");
    }
    assert_eq!(fake.machine().count("restart"), 2);
    assert_eq!(fake.check(&MesosAgent, &off()).await, Finding::InForce);
}

#[tokio::test]
async fn modules_of_others_stay_and_a_change_of_theirs_is_drift() {
    let theirs = r#"{"libraries": [{"file": "/lib/a.so", "modules": [{"name": "a"}]}]}"#;
    for (flag, flags) in [
        ("MESOS_MODULES=file://", json!({"modules": format!("file://{THEIRS}"), "hooks": "h"})),
        ("MESOS_MODULES_DIR=", json!({"modules_dir": "/opt/mesosphere/etc", "hooks": "h"})),
    ] {
        let fake = old_agent(&flags).await;
        fake.put(THEIRS, theirs);
        MesosAgent.apply(&fake.host, turn(1), &target()).await.unwrap();
        let text = fake.text(OVERRIDE).unwrap();
        assert!(text.contains(&format!("{flag}/var/lib/calico-dcos/modules")), "{text}");
        assert!(text.contains("MESOS_HOOKS=h,com_mesosphere_mesos_NetworkHook"), "{text}");
        let files = |manifest: &Value| -> Vec<String> {
            let libraries = manifest["libraries"].as_array().unwrap();
            libraries.iter().map(|l| l["file"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(files(&manifest(&fake)), ["/lib/a.so", LIBRARY]);
        assert_eq!(hash(&fake).await, Some(target().hash));
        // An upgrade of DC/OS brings another list.
        fake.put(THEIRS, &theirs.replace("/lib/a.so", "/lib/b.so"));
        assert_eq!(hash(&fake).await, None);
        MesosAgent.apply(&fake.host, turn(2), &target()).await.unwrap();
        assert_eq!(files(&manifest(&fake)), ["/lib/b.so", LIBRARY]);
        assert_eq!(fake.machine().count("restart"), 2);
        assert_eq!(hash(&fake).await, Some(target().hash));
    }
}

#[tokio::test]
async fn what_the_agent_would_not_start_with_is_found_before() {
    let fake = old_agent(&json!({})).await;
    provide(&fake, "0.28.2");
    refused(&fake, "not built for Mesos 0.28.1").await;
    provide(&fake, "10.28.1");
    refused(&fake, "not built for Mesos 0.28.1").await;
    let put = |bytes: &[u8]| {
        fake.host.root.write("/srv/library.so", bytes, 0o644, Staging::Beside).unwrap();
    };
    put(&library("0.28.1", &["com_mesosphere_mesos_NetworkIsolator"]));
    refused(&fake, "no module com_mesosphere_mesos_NetworkHook").await;
    put(b"not a library");
    refused(&fake, "no shared library").await;
    provide(&fake, "0.28.1");
    // A file of somebody else's, where ours is to be.
    fake.put(PLUGIN, "theirs");
    refused(&fake, "is another file").await;
    fake.host.root.remove(PLUGIN).unwrap();

    let fake = old_agent(&json!({"modules": format!("file://{THEIRS}")})).await;
    refused(&fake, "is not there").await;
    fake.put(THEIRS, "{");
    refused(&fake, "no list of modules").await;
    fake.put(
        THEIRS,
        r#"{"libraries": [{"file": "/x.so", "modules": [{"name": "com_mesosphere_mesos_NetworkHook"}]}]}"#,
    );
    refused(&fake, "from /x.so already").await;
    let fake = old_agent(&json!({"modules": "libraries { file: \"x\" }"})).await;
    refused(&fake, "MESOS_MODULES").await;
}

#[tokio::test]
async fn drift_of_any_file_or_flag_is_seen() {
    let fake = old_agent(&json!({})).await;
    MesosAgent.apply(&fake.host, turn(1), &target()).await.unwrap();
    for path in [LIBRARY, PLUGIN, MANIFEST] {
        let found = fake.host.root.read(path).unwrap().unwrap();
        fake.put(path, "other");
        assert_eq!(hash(&fake).await, None, "{path}");
        fake.host.root.write(path, &found.bytes, 0o755, Staging::Beside).unwrap();
        assert_eq!(hash(&fake).await, Some(target().hash), "{path}");
    }
    // Somebody takes a line out, and the agent starts again.
    let text = fake.text(OVERRIDE).unwrap();
    fake.put(OVERRIDE, &text.replace("MESOS_HOOKS", "# MESOS_HOOKS"));
    fake.machine().units.get_mut(UNIT).unwrap().started_us = 99;
    assert_eq!(hash(&fake).await, None);
}

#[tokio::test]
async fn a_restart_that_fails_is_undone_to_the_last_line() {
    let fake = old_agent(&json!({"modules": format!("file://{THEIRS}")})).await;
    fake.put(THEIRS, r#"{"libraries": []}"#);
    fake.put(OVERRIDE, "# theirs\n");
    fake.machine().broken.push(format!("restart {UNIT}"));
    MesosAgent.apply(&fake.host, turn(1), &target()).await.unwrap_err();
    fake.machine().broken.clear();
    fake.machine().units.get_mut(UNIT).unwrap().activity = Activity::Failed;
    fake.undo(&MesosAgent, 1).await;
    assert_eq!(fake.text(OVERRIDE).as_deref(), Some("# theirs\n"));
    for path in [LIBRARY, PLUGIN, MANIFEST] {
        assert_eq!(fake.text(path), None, "{path}");
    }
    let seen = fake.observe(&MesosAgent).await.unwrap();
    assert_eq!((seen.hash, seen.health), (None, Health::Healthy));
}

#[test]
fn the_defaults_are_those_of_the_module() {
    let wanted: NetModules =
        serde_json::from_value(json!({"library": {"path": "/l"}, "plugin": {"path": "/p"}}))
            .unwrap();
    assert_eq!((wanted.library_path.as_str(), wanted.plugin_path.as_str()), (LIBRARY, PLUGIN));
}
