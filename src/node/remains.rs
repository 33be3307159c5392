//! What the predecessor has left on this host (see [`crate::observed::remains`]): looked at, and
//! never touched. Where something cannot be looked at, there is nothing of it: it is told for
//! people's sake alone, and a host's facts must not fail for it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::host::Host;
use super::steps::foreign_node;
use crate::observed::remains::{OldNetwork, OldNode, Remains};
use crate::words::Component;

/// Its installer's notes, which each version writes before anything else.
const NOTES: [&str; 3] = [
    "/etc/calico/installer/docker",
    "/etc/calico/installer/netmodules",
    "/etc/calico/installer/cni",
];
/// The network, where its package has it by default.
const NETWORK: &str = "/opt/mesosphere/etc/dcos/network/cni/calico.cni";
/// What it brings for net-modules.
const MODULES: [&str; 3] = [
    "/opt/mesosphere/etc/mesos-slave-modules.json",
    "/opt/mesosphere/lib/libmesos_network_isolator.so",
    "/calico/calico_mesos",
];
/// Where it switches them on, and by what.
const SETTINGS: &str = "/opt/mesosphere/etc/mesos-slave-common";
const MODULE: &str = "com_mesosphere_mesos_NetworkIsolator";

/// What it, and Calico's documentation of its time, put into a network. What else is in there may
/// be a secret, and is not reported.
const NETWORK_KEYS: [&str; 8] = [
    "name",
    "type",
    "cniVersion",
    "ipam",
    "etcd_endpoints",
    "etcd_authority",
    "etcd_scheme",
    "log_level",
];
/// The same of the environment of calico/node. `HOSTNAME` is what it is without being set.
const VARIABLES: [&str; 10] = [
    OWN,
    "AS",
    "NO_DEFAULT_POOLS",
    "CALICO_NETWORKING",
    "CALICO_LIBNETWORK_ENABLED",
    "ETCD_AUTHORITY",
    "ETCD_ENDPOINTS",
    "ETCD_SCHEME",
    "FELIX_IGNORELOOSERPF",
    "FELIX_LOGSEVERITYSCREEN",
];
/// The one whose value is each host's own.
const OWN: &str = "IP";

/// Looks; none where its installer never was.
pub(super) async fn look(host: &Host) -> Option<Remains> {
    let is_there = |path: &&str| host.root.stamp(path).is_ok_and(|stamp| stamp.is_some());
    let mut files: BTreeSet<&str> = NOTES.into_iter().filter(is_there).collect();
    if files.is_empty() {
        return None;
    }
    // Ours may lie at the same places.
    let ours = !matches!(host.state.record(Component::MesosAgent), Ok(None));
    let network = text(host, NETWORK).and_then(|text| network(&text));
    files.extend(network.is_some().then_some(NETWORK));
    if !ours {
        files.extend(MODULES.into_iter().filter(is_there));
    }
    let net_modules = !ours && text(host, SETTINGS).is_some_and(|text| text.contains(MODULE));
    let node = foreign_node(host).await.and_then(|found| node(&found));
    let files = files.into_iter().map(str::to_owned).collect();
    Some(Remains { files, network, net_modules, node })
}

fn text(host: &Host, path: &str) -> Option<String> {
    host.root.text(path).ok().flatten()
}

fn network(text: &str) -> Option<OldNetwork> {
    let mut document: Map<String, Value> = serde_json::from_str(text).ok()?;
    document.retain(|key, value| NETWORK_KEYS.contains(&key.as_str()) && !has_user(value));
    Some(OldNetwork { path: NETWORK.to_owned(), document })
}

fn node(found: &Value) -> Option<OldNode> {
    let list = |place: &Value| -> Vec<String> {
        let texts = place.as_array().into_iter().flatten().filter_map(Value::as_str);
        texts.map(str::to_owned).collect()
    };
    let env = list(&found["Config"]["Env"]).into_iter().filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        let value = if name == OWN { "" } else { value };
        (VARIABLES.contains(&name) && !value.contains('@'))
            .then(|| (name.to_owned(), value.to_owned()))
    });
    let env: BTreeMap<String, String> = env.collect();
    let binds = list(&found["HostConfig"]["Binds"]);
    Some(OldNode {
        image: found["Config"]["Image"].as_str()?.to_owned(),
        env,
        docker_socket: binds.iter().any(|bind| bind.contains("/docker.sock:")),
    })
}

/// An address with user and password in it.
fn has_user(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.contains('@'))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::node::steps::fakes::Fake;

    /// What 0.3 leaves, as its installer and its last task wrote it.
    fn left_behind() -> Fake {
        let fake = Fake::new();
        fake.put("/etc/calico/installer/docker", r#"{"docker-updated": true}"#);
        fake.put("/etc/calico/installer/cni", r#"{"cni-installed": true}"#);
        fake.put(
            NETWORK,
            r#"{"name": "calico", "type": "calico", "etcd_endpoints": "http://localhost:2379",
                "ipam": {"type": "calico-ipam"}, "password": "geheim"}"#,
        );
        let env = [
            "IP=10.0.0.7",
            "HOSTNAME=a1",
            "ETCD_ENDPOINTS=http://localhost:2379",
            "FELIX_IGNORELOOSERPF=true",
            "ETCD_PASSWORD=geheim",
            "PATH=/bin",
        ];
        let container = json!({
            "Config": {"Image": "calico/node:v0.22.0", "Env": env},
            "HostConfig": {"Binds": ["/lib/modules:/lib/modules"]},
            "State": {"Running": true},
        });
        fake.machine().containers.insert("calico-node".to_owned(), container);
        fake
    }

    #[tokio::test]
    async fn what_the_predecessor_left_is_found_and_nothing_that_may_be_secret() {
        let fake = left_behind();
        let remains = look(&fake.host).await.unwrap();
        assert!(remains.are_in_use() && !remains.net_modules);
        let files = ["/etc/calico/installer/cni", "/etc/calico/installer/docker", NETWORK];
        assert_eq!(remains.files, files.map(str::to_owned).into());
        let network = remains.network.clone().unwrap();
        assert_eq!(network.document["etcd_endpoints"], "http://localhost:2379");
        let node = remains.node.clone().unwrap();
        assert_eq!((node.image.as_str(), node.docker_socket), ("calico/node:v0.22.0", false));
        let env: Vec<_> = node.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let expected = ["ETCD_ENDPOINTS=http://localhost:2379", "FELIX_IGNORELOOSERPF=true", "IP="];
        assert_eq!(env, expected);
        assert!(!serde_json::to_string(&remains).unwrap().contains("geheim"));
    }

    #[tokio::test]
    async fn net_modules_are_found_where_the_agent_has_them() {
        let fake = Fake::new();
        fake.put("/etc/calico/installer/netmodules", "{}");
        fake.put(MODULES[0], "{}");
        fake.put(MODULES[2], "");
        fake.put(SETTINGS, &format!("MESOS_ISOLATION=cgroups/cpu,{MODULE}\n"));
        let remains = look(&fake.host).await.unwrap();
        assert!(remains.net_modules && remains.are_in_use());
        assert_eq!(remains.files.len(), 3);
        assert_eq!((remains.network, remains.node), (None, None));
    }

    #[tokio::test]
    async fn only_a_host_on_which_its_installer_was_has_remains() {
        let fake = left_behind();
        for note in NOTES {
            fake.host.root.remove(note).unwrap();
        }
        assert_eq!(look(&fake.host).await, None);
    }

    #[tokio::test]
    async fn a_container_of_ours_is_none_of_its() {
        let fake = left_behind();
        let label = json!({"calico-dcos.plan": "1"});
        fake.machine().containers.get_mut("calico-node").unwrap()["Config"]["Labels"] = label;
        fake.host.root.remove(NETWORK).unwrap();
        let remains = look(&fake.host).await.unwrap();
        assert!(!remains.are_in_use() && remains.files.len() == 2, "{remains:?}");
    }
}
