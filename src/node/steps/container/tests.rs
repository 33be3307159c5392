use super::*;
use crate::desired::Spec;
use crate::job::samples;
use crate::node::steps::fakes::{Fake, turn};
use crate::plan::step::label;
use crate::words::SpecHash;

const NODE: Container = Container(Component::CalicoNode);

fn target(declared: Value) -> ComponentSpec {
    let spec = Spec::CalicoNode(serde_json::from_value(declared).unwrap());
    samples::spec(Component::CalicoNode, spec)
}

fn node(tag: &str) -> ComponentSpec {
    target(json!({
        "image": format!("calico/node:{tag}"),
        "env": {"PASSWORD": {"fromFile": "/etc/calico/password"}, "IP": {"fromRoute": "127.0.0.1"}, "A": "b"},
        "volumes": [{"hostPath": "/etc/calico", "containerPath": "/certs"}],
    }))
}

fn fake() -> Fake {
    let fake = Fake::new();
    fake.put("/etc/calico/password", "secret\n");
    for tag in ["v1", "v2"] {
        let image = json!({"Id": format!("sha256:{tag}")});
        fake.machine().registry.insert(format!("calico/node:{tag}"), image);
    }
    fake
}

async fn hash(fake: &Fake) -> Option<SpecHash> {
    fake.observe(&NODE).await.and_then(|seen| seen.hash)
}

#[tokio::test]
async fn a_container_is_made_as_declared_and_a_second_run_changes_nothing() {
    let fake = fake();
    assert_eq!(fake.observe(&NODE).await, None);
    assert_eq!(fake.check(&NODE, &node("v1")).await, Finding::Ready { disrupts: false });
    NODE.apply(&fake.host, turn(1), &node("v1")).await.unwrap();
    let made = fake.machine().containers["calico-node"].clone();
    assert_eq!(made["Config"]["Env"], json!(["A=b", "IP=127.0.0.1", "PASSWORD=secret"]));
    let binds = made["HostConfig"]["Binds"].as_array().unwrap();
    assert_eq!(binds.last(), Some(&json!("/etc/calico:/certs:ro")));
    assert_eq!(made["HostConfig"]["RestartPolicy"]["Name"], "always");
    let seen = fake.observe(&NODE).await.unwrap();
    assert_eq!(seen.hash, Some(node("v1").hash));
    assert_eq!(seen.version, label(&node("v1").spec), "found in the form that it is declared in");
    assert_eq!(fake.check(&NODE, &node("v1")).await, Finding::InForce);
    let done = fake.machine().done.len();
    NODE.apply(&fake.host, turn(2), &node("v1")).await.unwrap();
    assert_eq!(fake.machine().done.len(), done);
    // The secret is in the container, and nowhere in what we keep.
    let record =
        serde_json::to_string(&fake.host.state.record(Component::CalicoNode).unwrap()).unwrap();
    assert!(!record.contains("secret"));
}

#[tokio::test]
async fn an_image_that_cannot_be_had_stops_nothing() {
    let fake = fake();
    NODE.apply(&fake.host, turn(1), &node("v1")).await.unwrap();
    fake.machine().registry.remove("calico/node:v2");
    let error = NODE.apply(&fake.host, turn(2), &node("v2")).await.unwrap_err();
    assert!(error.to_string().contains("manifest unknown"), "{error}");
    fake.undo(&NODE, 2).await;
    assert_eq!(fake.machine().count("remove"), 0);
    assert_eq!(hash(&fake).await, Some(node("v1").hash));
}

#[tokio::test]
async fn the_new_container_is_made_before_the_old_one_stops() {
    let fake = fake();
    NODE.apply(&fake.host, turn(1), &node("v1")).await.unwrap();
    // Left by a process that was cut off.
    let left = fake.machine().containers["calico-node"].clone();
    fake.machine().containers.insert("calico-node.successor".to_owned(), left);
    fake.machine().done.clear();
    NODE.apply(&fake.host, turn(2), &node("v2")).await.unwrap();
    assert_eq!(
        fake.machine().done,
        [
            "pull calico/node:v2",
            "remove calico-node.successor",
            "create calico-node.successor of calico/node:v2",
            "remove calico-node",
            "run calico-node",
        ]
    );
    assert_eq!(fake.machine().containers.len(), 1);
    assert_eq!(hash(&fake).await, Some(node("v2").hash));
}

#[tokio::test]
async fn the_old_container_comes_back_from_its_own_image() {
    let fake = fake();
    // Somebody's own, made by hand, whose image has got another meaning since.
    fake.machine().images.insert("calico/node:latest".to_owned(), json!({"Id": "sha256:theirs"}));
    let theirs = json!({
        "Image": "sha256:theirs", "State": {"Running": true},
        "Config": {"Image": "calico/node:latest", "Env": ["X=y"]}, "HostConfig": {"NetworkMode": "host"},
    });
    fake.machine().containers.insert("calico-node".to_owned(), theirs.clone());
    assert_eq!(fake.check(&NODE, &node("v1")).await, Finding::Ready { disrupts: true });
    fake.machine().broken.push("run calico-node".to_owned());
    NODE.apply(&fake.host, turn(1), &node("v1")).await.unwrap_err();
    fake.machine().broken.clear();
    fake.undo(&NODE, 1).await;
    let back = fake.machine().containers["calico-node"].clone();
    assert_eq!(
        (&back["Image"], &back["Config"]["Env"]),
        (&theirs["Image"], &theirs["Config"]["Env"])
    );
    assert_eq!(back["State"]["Running"], true);
    assert_eq!(hash(&fake).await, None);
}

#[tokio::test]
async fn what_differs_in_anything_is_not_in_force() {
    let fake = fake();
    NODE.apply(&fake.host, turn(1), &node("v1")).await.unwrap();
    // The file on the host changed: the container runs with the old password.
    fake.put("/etc/calico/password", "other\n");
    assert_eq!(hash(&fake).await, None);
    fake.put("/etc/calico/password", "secret\n");
    assert_eq!(hash(&fake).await, Some(node("v1").hash));
    fake.machine().containers.get_mut("calico-node").unwrap()["Image"] = "sha256:else".into();
    assert_eq!(hash(&fake).await, None);
    fake.machine().containers.remove("calico-node");
    assert_eq!(fake.observe(&NODE).await, None);
}

#[tokio::test]
async fn a_value_that_is_not_there_is_said_before_anything_stops() {
    let fake = Fake::new();
    let error = NODE.check(&fake.host, &node("v1"), None).await.unwrap_err();
    assert!(
        error.to_string().contains("PASSWORD")
            && error.to_string().contains("/etc/calico/password"),
        "{error}"
    );
}

/// There is something to take off, also of what somebody has removed by hand.
#[tokio::test]
async fn what_was_put_in_force_is_remembered_until_it_is_taken_off() {
    let fake = fake();
    let off = samples::spec(Component::CalicoNode, Spec::Off);
    NODE.apply(&fake.host, turn(1), &node("v1")).await.unwrap();
    fake.machine().containers.clear();
    let found = crate::node::steps::observe_all(&fake.host).await.components;
    let found = &found[&Component::CalicoNode];
    assert_eq!((found.hash, found.recorded, found.running), (None, true, false));
    NODE.apply(&fake.host, turn(2), &off).await.unwrap();
    let found = crate::node::steps::observe_all(&fake.host).await.components;
    assert_eq!(found.get(&Component::CalicoNode), None);
    fake.host.state.lock_to_leave().unwrap();
}

#[tokio::test]
async fn taking_it_off_removes_ours_alone() {
    let fake = fake();
    let off = samples::spec(Component::CalicoNode, Spec::Off);
    assert_eq!(fake.check(&NODE, &off).await, Finding::InForce);
    NODE.apply(&fake.host, turn(1), &node("v1")).await.unwrap();
    assert_eq!(fake.check(&NODE, &off).await, Finding::Ready { disrupts: true });
    NODE.apply(&fake.host, turn(2), &off).await.unwrap();
    assert!(fake.machine().containers.is_empty());
    assert_eq!(fake.check(&NODE, &off).await, Finding::InForce);
    fake.undo(&NODE, 2).await;
    assert_eq!(hash(&fake).await, Some(node("v1").hash));
}

#[test]
fn how_a_container_is_follows_from_what_docker_says() {
    for (state, healthy) in [
        (json!({"Running": true}), Some(true)),
        (json!({"Running": true, "Restarting": true}), Some(false)),
        (json!({"Running": false, "ExitCode": 1}), Some(false)),
        (json!({"Running": true, "Health": {"Status": "healthy"}}), Some(true)),
        (json!({"Running": true, "Health": {"Status": "unhealthy"}}), Some(false)),
        (json!({"Running": true, "Health": {"Status": "starting"}}), None),
    ] {
        let found = health(Component::CalicoNode, &json!({"State": state}));
        let expected = match found {
            Health::Healthy => Some(true),
            Health::Unhealthy { .. } => Some(false),
            Health::Unknown => None,
        };
        assert_eq!(expected, healthy, "{found:?}");
    }
}
