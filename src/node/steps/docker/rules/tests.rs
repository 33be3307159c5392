use serde_json::json;

use super::*;
use crate::job::samples;
use crate::words::{Attempt, Component};

const STORE_URL: &str = "etcd://127.0.0.1:2379";

fn wanted(json: Value) -> ComponentSpec {
    let docker: Wanted = serde_json::from_value(json).unwrap();
    samples::spec(Component::Docker, Spec::Docker(docker))
}

fn view(version: &str, file: Option<&str>, store: &str, advertise: &str) -> View {
    let info = Info {
        server_version: version.to_owned(),
        cluster_store: store.to_owned(),
        cluster_advertise: advertise.to_owned(),
        ..Info::default()
    };
    View { line: CommandLine::default(), file: file.map(str::to_owned), info: Some(info) }
}

fn record(target: &ComponentSpec) -> Record {
    Record::new(Attempt(1), target, None, json!({}))
}

#[test]
fn the_gentlest_way_that_works_is_taken() {
    let plain = wanted(json!({}));
    let advertised = wanted(json!({"clusterAdvertise": "eth0:2376"}));
    let (ours, ours_adv) = (
        r#"{"cluster-store": "etcd://127.0.0.1:2379"}"#,
        r#"{"cluster-store": "etcd://127.0.0.1:2379", "cluster-advertise": "eth0:2376"}"#,
    );
    let other = "etcd://10.0.0.1:2379";
    for (target, file, version, store, advertise, recorded, expected) in [
        (&plain, None, "20.10.24", "", "", false, Way::Restart),
        (&advertised, None, "20.10.24", "", "", false, Way::Reload),
        (&advertised, None, "1.11.2", "", "", false, Way::Reload),
        (&advertised, None, "1.10.3", "", "", false, Way::Restart),
        (&advertised, None, "17.03.2-ce", "", "", false, Way::Reload),
        // A store that is in force is not changed by SIGHUP.
        (&advertised, Some(ours), "20.10.24", other, "", true, Way::Restart),
        (&advertised, Some(ours_adv), "20.10.24", STORE_URL, "10.0.0.1:2376", true, Way::InForce),
        (&advertised, Some(ours_adv), "20.10.24", STORE_URL, "10.0.0.1:2377", true, Way::Restart),
        (&plain, Some(ours), "20.10.24", STORE_URL, "", true, Way::InForce),
        // Written after the start: not in force.
        (&plain, Some(ours), "20.10.24", "", "", true, Way::Restart),
        // The daemon took it by reload, and the file was edited since.
        (&advertised, Some("{}"), "20.10.24", STORE_URL, "10.0.0.1:2376", true, Way::Write),
    ] {
        let view = view(version, file, store, advertise);
        let record = recorded.then(|| record(target));
        let way = view.way(target, record.as_ref());
        assert_eq!(way, Ok(expected), "{target:?} {file:?} {version} {store} {advertise}");
    }
}

#[test]
fn what_would_break_the_daemon_or_is_not_ours_is_refused() {
    let plain = wanted(json!({}));
    let swarm = |state: &str| {
        let mut view = view("20.10.24", None, "", "");
        if let Some(info) = &mut view.info {
            info.swarm.local_node_state = state.to_owned();
        }
        view
    };
    let started = |line: &str| {
        let line = CommandLine::read(line.split(' ').map(str::to_owned).collect());
        View { line, ..view("20.10.24", None, "", "") }
    };
    for (view, text) in [
        (view("23.0.1", None, "", ""), "knows no cluster store"),
        (view("28.1.0", None, "", ""), "knows no cluster store"),
        (view("1.9.1", None, "", ""), "reads no daemon.json"),
        (view("", None, "", ""), "no version"),
        (swarm("active"), "swarm"),
        (swarm("pending"), "swarm"),
        (started("dockerd --cluster-store=etcd://x:1"), "--cluster-store"),
        (started("dockerd --cluster-advertise eth0:1"), "--cluster-advertise"),
        (view("20.10.24", Some("{"), "", ""), "cannot be read"),
        (view("20.10.24", Some(""), "", ""), "cannot be read"),
        (view("20.10.24", Some(r#"{"a":1,"a":2}"#), "", ""), "twice"),
    ] {
        let why = view.way(&plain, None).unwrap_err();
        assert!(why.contains(text), "{why}");
        assert_eq!(view.blocked(), Err(why));
    }
    assert_eq!(swarm("inactive").blocked(), Ok(()));
}

#[test]
fn a_store_of_somebody_else_is_left_alone_unless_it_is_the_declared_one() {
    let plain = wanted(json!({}));
    let ours = r#"{"cluster-store":"etcd://127.0.0.1:2379"}"#;
    for (file, store, adopted) in [
        (r#"{"cluster-store":"etcd://x:1"}"#, "etcd://x:1", false),
        (r#"{"cluster-advertise":"eth0:1"}"#, "", false),
        (
            r#"{"cluster-store":"etcd://127.0.0.1:2379","cluster-advertise":"eth0:1"}"#,
            STORE_URL,
            false,
        ),
        // Written, and not in force: whose it is to bring it there is not known.
        (ours, "", false),
        (ours, STORE_URL, true),
    ] {
        let view = view("20.10.24", Some(file), store, "");
        match view.way(&plain, None) {
            Ok(way) => assert_eq!((adopted, way), (true, Way::Write), "{file}"),
            Err(why) => assert!(!adopted && why.contains("left alone"), "{file}: {why}"),
        }
        assert!(!view.foreign(None).is_empty());
        assert!(view.foreign(Some(&record(&plain))).is_empty());
    }
}

#[test]
fn the_file_keeps_what_is_not_ours() {
    let target = wanted(json!({
        "clusterAdvertise": "eth0:2376", "clusterStoreOpts": {"kv.cacertfile": "/ca.pem"},
    }));
    for (before, after) in [
        (
            None,
            "{\n    \"cluster-store\": \"etcd://127.0.0.1:2379\",\n    \"cluster-advertise\": \"eth0:2376\",\n    \"cluster-store-opts\": {\"kv.cacertfile\":\"/ca.pem\"}\n}\n",
        ),
        (
            Some(
                "{\n  \"log-level\": \"debug\",\n  \"cluster-store\": \"etcd://old:1\",\n  \"bip\": \"10.1.0.1/16\"\n}\n",
            ),
            "{\n  \"log-level\": \"debug\",\n  \"cluster-store\": \"etcd://127.0.0.1:2379\",\n  \"bip\": \"10.1.0.1/16\",\n  \"cluster-advertise\": \"eth0:2376\",\n  \"cluster-store-opts\": {\"kv.cacertfile\":\"/ca.pem\"}\n}\n",
        ),
    ] {
        assert_eq!(view("20.10.24", before, "", "").text(&target, None).unwrap(), after);
    }
}

#[test]
fn taking_it_off_restores_our_keys_and_no_others() {
    let off = samples::spec(Component::Docker, Spec::Off);
    let target = wanted(json!({}));
    let mut record = record(&target);
    // Since then somebody has added a key of his own.
    let file = r#"{"cluster-store": "etcd://127.0.0.1:2379", "debug": true}"#;
    let view = view("23.0.0", Some(file), STORE_URL, "");
    assert_eq!(view.way(&off, Some(&record)), Ok(Way::Restart));
    assert_eq!(view.text(&off, Some(&record)).unwrap(), r#"{ "debug": true}"#);
    record.before = json!({"cluster-advertise": "eth0:1"});
    let text = view.text(&off, Some(&record)).unwrap();
    assert_eq!(text, r#"{ "debug": true, "cluster-advertise": "eth0:1"}"#);
    assert_eq!(view.way(&off, None), Ok(Way::InForce));
}

#[test]
fn the_command_line_names_the_file() {
    for (line, file) in [
        ("dockerd", CONFIG),
        ("dockerd --config-file /a.json -H fd://", "/a.json"),
        ("dockerd --config-file=/b.json", "/b.json"),
    ] {
        let words = line.split(' ').map(str::to_owned).collect();
        assert_eq!(CommandLine::read(words).config_file, file);
    }
}
