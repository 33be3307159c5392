//! From one way to the other, and from one place to another.

use super::*;

fn cni() -> ComponentSpec {
    target(&json!({}))
}

/// An agent of a version that can have both.
async fn fake() -> Fake {
    let fake = agent("1.0.1", &json!({"isolation": "cgroups/cpu"})).await;
    modules::provide(&fake, "1.0.1");
    fake.put("/opt/cni/bin/calico", "");
    fake.put("/opt/cni/bin/calico-ipam", "");
    fake
}

fn variables(fake: &Fake) -> Vec<String> {
    let text = fake.text(OVERRIDE).unwrap_or_default();
    text.lines().map(|line| line.split('=').next().unwrap().to_owned()).collect()
}

const OF_CNI: [&str; 3] =
    ["MESOS_ISOLATION", "MESOS_NETWORK_CNI_CONFIG_DIR", "MESOS_NETWORK_CNI_PLUGINS_DIR"];
const OF_MODULES: [&str; 4] = ["MESOS_ISOLATION", "MESOS_MODULES", "MESOS_HOOKS", "ETCD_AUTHORITY"];

#[tokio::test]
async fn net_modules_give_way_to_cni_in_one_restart_and_back() {
    let fake = fake().await;
    MesosAgent.apply(&fake.host, turn(1), &modules::target()).await.unwrap();
    assert_eq!(hash(&fake).await, Some(modules::target().hash));
    let isolation = |fake: &Fake| {
        let text = fake.text(OVERRIDE).unwrap();
        super::flags::set_to(&text, "MESOS_ISOLATION").unwrap()
    };

    assert_eq!(fake.check(&MesosAgent, &cni()).await, Finding::Ready { disrupts: true });
    MesosAgent.apply(&fake.host, turn(2), &cni()).await.unwrap();
    assert_eq!(fake.machine().count("restart"), 2);
    assert_eq!(isolation(&fake), "cgroups/cpu,network/cni");
    assert_eq!(variables(&fake), OF_CNI);
    assert_eq!(fake.text("/calico/calico_mesos"), None);
    assert_eq!(hash(&fake).await, Some(cni().hash));

    MesosAgent.apply(&fake.host, turn(3), &modules::target()).await.unwrap();
    assert_eq!(fake.machine().count("restart"), 3);
    assert_eq!(isolation(&fake), "cgroups/cpu,com_mesosphere_mesos_NetworkIsolator");
    assert_eq!(variables(&fake), OF_MODULES);
    assert_eq!(fake.text(DOCUMENT), None);
    assert_eq!(hash(&fake).await, Some(modules::target().hash));

    MesosAgent.apply(&fake.host, turn(4), &off()).await.unwrap();
    assert_eq!(fake.text(OVERRIDE), None, "it was there for our sake alone");
    assert_eq!(fake.text("/calico/calico_mesos"), None);
}

#[tokio::test]
async fn a_change_over_that_was_cut_off_is_carried_on() {
    let fake = fake().await;
    MesosAgent.apply(&fake.host, turn(1), &cni()).await.unwrap();
    fake.machine().broken.push(format!("restart {UNIT}"));
    MesosAgent.apply(&fake.host, turn(2), &modules::target()).await.unwrap_err();
    fake.machine().broken.clear();
    assert_eq!(hash(&fake).await, None);
    assert_eq!(
        fake.check(&MesosAgent, &modules::target()).await,
        Finding::Ready { disrupts: true }
    );
    MesosAgent.apply(&fake.host, turn(2), &modules::target()).await.unwrap();
    assert_eq!(hash(&fake).await, Some(modules::target().hash));
    assert_eq!(variables(&fake), OF_MODULES);
    // And all the way back.
    fake.undo(&MesosAgent, 2).await;
    assert_eq!(variables(&fake), OF_CNI);
    assert_eq!(hash(&fake).await, Some(cni().hash));
}

#[tokio::test]
async fn net_modules_of_somebody_else_are_in_the_way_of_cni() {
    let isolation = "cgroups/cpu,com_mesosphere_mesos_NetworkIsolator";
    let fake = agent("1.0.1", &json!({ "isolation": isolation })).await;
    let found = fake.check(&MesosAgent, &cni()).await;
    assert!(
        matches!(&found, Finding::Refused { why } if why.contains("somebody else")),
        "{found:?}"
    );
}

#[tokio::test]
async fn a_network_that_moves_leaves_nothing_behind() {
    let fake = with_folder("1.11.0").await;
    fake.put(DOCUMENT, "theirs");
    MesosAgent.apply(&fake.host, turn(1), &cni()).await.unwrap();
    let network = json!({"name": "other", "type": "calico"});
    let moved = target(&json!({ "network": network }));
    MesosAgent.apply(&fake.host, turn(2), &moved).await.unwrap();
    assert_eq!(fake.text(DOCUMENT).as_deref(), Some("theirs"));
    assert_eq!(fake.host.root.list("/etc/cni/net.d").unwrap(), ["calico.conf", "other.conf"]);
    assert_eq!(hash(&fake).await, Some(moved.hash));
    MesosAgent.apply(&fake.host, turn(3), &off()).await.unwrap();
    assert_eq!(fake.host.root.list("/etc/cni/net.d").unwrap(), ["calico.conf"]);
    assert_eq!(fake.machine().count("restart"), 0);
}
