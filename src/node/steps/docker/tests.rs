//! The step on a machine whose daemon does with its file what dockerd 20.10 was measured to do.

use serde_json::{Value, json};

use super::*;
use crate::job::samples;
use crate::node::steps::fakes::{Fake, turn, without_slot};

const FILE: &str = "/etc/docker/daemon.json";

fn target(declared: Value) -> ComponentSpec {
    samples::spec(Component::Docker, Spec::Docker(serde_json::from_value(declared).unwrap()))
}

fn off() -> ComponentSpec {
    samples::spec(Component::Docker, Spec::Off)
}

// A store that nobody listens at, so that no other service of this machine is asked.
fn plain() -> ComponentSpec {
    target(json!({"clusterStore": "etcd://127.0.0.1:1"}))
}

fn advertised() -> ComponentSpec {
    target(json!({"clusterStore": "etcd://127.0.0.1:1", "clusterAdvertise": "eth0:2376"}))
}

async fn hash(fake: &Fake) -> Option<crate::words::SpecHash> {
    fake.observe(&Docker).await.unwrap().hash
}

#[tokio::test]
async fn a_store_comes_by_one_restart_and_a_second_run_changes_nothing() {
    let fake = Fake::new();
    fake.put(FILE, "{\n  \"debug\": true\n}\n");
    let target = plain();
    let ready = Finding::Ready { disrupts: true };
    assert_eq!(fake.check(&Docker, &target).await, ready);
    Docker.apply(&fake.host, turn(1), &target).await.unwrap();
    assert_eq!(fake.machine().done, ["reset-failed docker.service", "restart docker.service"]);
    let text = "{\n  \"debug\": true,\n  \"cluster-store\": \"etcd://127.0.0.1:1\"\n}\n";
    assert_eq!(fake.text(FILE).as_deref(), Some(text));
    assert_eq!(hash(&fake).await, Some(target.hash));
    assert_eq!(fake.check(&Docker, &target).await, Finding::InForce);
    let before = std::fs::metadata(fake.host.root.place(FILE)).unwrap();
    Docker.apply(&fake.host, turn(2), &target).await.unwrap();
    let after = std::fs::metadata(fake.host.root.place(FILE)).unwrap();
    assert_eq!(before.modified().unwrap(), after.modified().unwrap());
    assert_eq!(fake.machine().done.len(), 2);
}

#[tokio::test]
async fn with_an_advertise_address_a_first_store_comes_by_reload() {
    let fake = Fake::new();
    let target = advertised();
    let ready = Finding::Ready { disrupts: false };
    assert_eq!(fake.check(&Docker, &target).await, ready);
    Docker.apply(&fake.host, turn(1), &target).await.unwrap();
    assert_eq!(fake.machine().done, ["reload docker.service"]);
    assert_eq!(hash(&fake).await, Some(target.hash));
}

#[tokio::test]
async fn a_marker_alone_proves_nothing() {
    let fake = Fake::new();
    Docker.apply(&fake.host, turn(1), &plain()).await.unwrap();
    // Edited by hand, and not in force any more at the next start.
    let ours = fake.text(FILE).unwrap();
    fake.put(FILE, "{}\n");
    assert_eq!(hash(&fake).await, None);
    // Put back by hand.
    fake.put(FILE, &ours);
    assert_eq!(hash(&fake).await, Some(plain().hash));
    // Written, and the daemon does not know of it.
    fake.machine().info["ClusterStore"] = "".into();
    assert_eq!(hash(&fake).await, None);
}

#[tokio::test]
async fn a_file_that_could_not_be_written_back_as_it_is_is_left_alone() {
    let fake = Fake::new();
    let file = fake.host.root.place(FILE);
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, b"{\"labels\": [\"caf\xe9\"]}").unwrap();
    let why = Docker.check(&fake.host, &plain(), None).await.unwrap_err().to_string();
    assert!(why.contains("is not UTF-8"), "{why}");
    Docker.apply(&fake.host, turn(1), &plain()).await.unwrap_err();
    assert_eq!(std::fs::read(&file).unwrap(), b"{\"labels\": [\"caf\xe9\"]}");
}

#[tokio::test]
async fn what_somebody_else_has_set_is_left_alone_and_said() {
    let fake = Fake::new();
    fake.put(FILE, r#"{"cluster-store": "etcd://theirs:2379"}"#);
    let found = fake.check(&Docker, &plain()).await;
    assert!(matches!(&found, Finding::Refused { why } if why.contains("left alone")), "{found:?}");
    let facts = facts(&fake.host).await.unwrap();
    assert_eq!(facts.foreign["cluster-store"], "etcd://theirs:2379");
    assert!(Docker.apply(&fake.host, turn(1), &plain()).await.is_err());
    assert_eq!(fake.machine().done, [""; 0]);
    assert_eq!(fake.text(FILE).unwrap(), r#"{"cluster-store": "etcd://theirs:2379"}"#);
}

#[tokio::test]
async fn a_store_that_answers_without_its_v2_api_is_refused() {
    let fake = Fake::new();
    for (path, refused) in [("/v2/members", false), ("/version", true)] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let store = format!("etcd://{}", listener.local_addr().unwrap());
        let answer = axum::routing::get(|| std::future::ready("{}"));
        let router = axum::Router::new().route(path, answer);
        tokio::spawn(async move { axum::serve(listener, router).await });
        let found = fake.check(&Docker, &target(json!({ "clusterStore": store }))).await;
        let expected = Finding::Ready { disrupts: true };
        match found {
            Finding::Refused { why } => assert!(refused && why.contains("--enable-v2"), "{why}"),
            found => assert_eq!((refused, found), (false, expected)),
        }
    }
}

#[tokio::test]
async fn a_store_that_is_the_declared_one_already_is_ours_from_then_on() {
    let fake = Fake::new();
    let file = r#"{"cluster-store": "etcd://127.0.0.1:1"}"#;
    fake.put(FILE, file);
    fake.machine().info["ClusterStore"] = "etcd://127.0.0.1:1".into();
    assert_eq!(fake.check(&Docker, &plain()).await, Finding::Ready { disrupts: false });
    Docker.apply(&fake.host, turn(1), &plain()).await.unwrap();
    assert_eq!(hash(&fake).await, Some(plain().hash));
    assert!(facts(&fake.host).await.unwrap().foreign.is_empty());
    // And theirs again once it is taken off.
    Docker.apply(&fake.host, turn(2), &off()).await.unwrap();
    assert_eq!(fake.text(FILE).as_deref(), Some(file));
    assert_eq!(fake.machine().done, [""; 0]);
}

#[tokio::test]
async fn a_restart_that_fails_is_undone_and_docker_is_up_as_before() {
    let fake = Fake::new();
    // Somebody's typo, harmless until the next start.
    fake.put(FILE, "{\"debug\": true}");
    fake.machine().broken.push("restart docker.service".to_owned());
    Docker.apply(&fake.host, turn(1), &plain()).await.unwrap_err();
    fake.machine().broken.clear();
    fake.machine().units.get_mut(UNIT).unwrap().activity = Activity::Failed;
    fake.undo(&Docker, 1).await;
    assert_eq!(fake.text(FILE).as_deref(), Some("{\"debug\": true}"));
    let seen = fake.observe(&Docker).await.unwrap();
    assert_eq!((seen.hash, seen.health), (None, Health::Healthy));
    assert_eq!(fake.host.state.record(Component::Docker).unwrap(), None);
}

#[tokio::test]
async fn an_undo_before_the_restart_does_not_restart() {
    let fake = Fake::new();
    fake.machine().broken.push("reload docker.service".to_owned());
    Docker.apply(&fake.host, turn(1), &advertised()).await.unwrap_err();
    fake.machine().broken.clear();
    fake.undo(&Docker, 1).await;
    assert_eq!(fake.machine().count("restart"), 0);
    assert_eq!(fake.text(FILE), None);
    // Nothing was begun for another attempt.
    fake.undo(&Docker, 9).await;
}

#[tokio::test]
async fn taking_it_off_leaves_what_was_there_before_and_what_came_since() {
    let fake = Fake::new();
    fake.put(FILE, "{\"debug\": true}");
    Docker.apply(&fake.host, turn(1), &plain()).await.unwrap();
    fake.put(FILE, &fake.text(FILE).unwrap().replace("true", "false"));
    assert_eq!(fake.check(&Docker, &off()).await, Finding::Ready { disrupts: true });
    Docker.apply(&fake.host, turn(2), &off()).await.unwrap();
    assert_eq!(fake.text(FILE).as_deref(), Some("{\"debug\": false}"));
    assert_eq!(fake.machine().info["ClusterStore"], "");
    assert_eq!(fake.check(&Docker, &off()).await, Finding::InForce);
    // Going back again brings the store back.
    fake.undo(&Docker, 2).await;
    assert_eq!(hash(&fake).await, Some(plain().hash));
}

#[tokio::test]
async fn a_file_that_was_made_for_our_sake_goes_with_us() {
    let fake = Fake::new();
    Docker.apply(&fake.host, turn(1), &plain()).await.unwrap();
    Docker.apply(&fake.host, turn(2), &off()).await.unwrap();
    assert_eq!(fake.text(FILE), None);
}

#[tokio::test]
async fn a_file_that_the_daemon_would_refuse_is_found_before_anything_stops() {
    let fake = Fake::new();
    // A program that does with its file what dockerd does, in place of it.
    fake.host
        .root
        .write(
            "/usr/bin/dockerd",
            b"#!/bin/sh\nfor word; do case $word in --config-file=*) f=${word#*=};; esac; done\n\
              if grep -q unknown \"$f\"; then echo unable to configure the Docker daemon with file >&2\n\
              else echo pid file found >&2; fi; exit 1\n",
            0o755,
            Staging::Beside,
        )
        .unwrap();
    fake.put(
        "/proc/7/cmdline",
        "/usr/bin/dockerd\0-H\0fd://\0--config-file\0/etc/docker/daemon.json\0",
    );
    fake.machine().units.get_mut(UNIT).unwrap().main_pid = 7;
    fake.put(FILE, r#"{"unknown": 1}"#);
    let error = Docker.apply(&fake.host, turn(1), &plain()).await.unwrap_err();
    assert!(error.to_string().contains("would not start"), "{error}");
    assert_eq!(fake.machine().done, [""; 0]);
    assert_eq!(fake.text(FILE).as_deref(), Some(r#"{"unknown": 1}"#));
    fake.put(FILE, "{}");
    Docker.apply(&fake.host, turn(2), &plain()).await.unwrap();
    assert_eq!(fake.machine().count("restart"), 1);
}

/// The check found that a reload would do; by the time of the step it will not.
#[tokio::test]
async fn without_a_slot_docker_is_never_restarted() {
    let target = advertised();
    let fake = Fake::new();
    assert_eq!(fake.check(&Docker, &target).await, Finding::Ready { disrupts: false });
    fake.machine().info["ClusterStore"] = "etcd://theirs:2379".into();
    let refused = Docker.apply(&fake.host, without_slot(1), &target).await.unwrap_err();
    assert!(refused.to_string().contains("would have to be stopped"), "{refused}");
    assert_eq!((fake.machine().done.len(), fake.text(FILE)), (0, None), "nothing was touched");
    // Or it goes wrong half way, and somebody else has restarted it meanwhile.
    let fake = Fake::new();
    Docker.apply(&fake.host, without_slot(1), &target).await.unwrap();
    fake.machine().units.get_mut(UNIT).unwrap().started_us += 1;
    crate::node::steps::put_back(&Docker, &fake.host, without_slot(1)).await.unwrap();
    assert_eq!(fake.machine().done, ["reload docker.service"]);
    assert_eq!(fake.text(FILE), None);
    // With one it is.
    crate::node::steps::put_back(&Docker, &fake.host, turn(1)).await.unwrap();
    assert_eq!(fake.machine().done.last().map(String::as_str), Some("restart docker.service"));
}
