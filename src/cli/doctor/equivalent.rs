//! What the predecessor had, as a document: the Cluster that leaves its hosts as they are, as far
//! as that is possible. Where hosts differ, it says what most of them have.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::mesos::OldTree;
use crate::observed::facts::Facts;
use crate::observed::remains::Remains;
use crate::surface::state::HostState;
use crate::words::HostName;

/// A host on which something of the predecessor is at work.
#[derive(Clone, Copy, Debug)]
pub(super) struct Old<'a> {
    pub name: &'a HostName,
    pub facts: &'a Facts,
    pub remains: &'a Remains,
}

impl<'a> Old<'a> {
    /// None if nothing of it was found there, or the host has not reported.
    pub(super) fn of(name: &'a HostName, host: &'a HostState) -> Option<Self> {
        let facts = host.observed.as_ref()?.facts()?;
        Some(Self { name, facts, remains: facts.predecessor.as_ref()? })
    }
}

/// The document, and the hosts of which it says something else than they have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Equivalent<'a> {
    pub text: String,
    /// By what they have otherwise.
    pub unlike: BTreeMap<&'static str, Vec<&'a HostName>>,
}

const HEAD: &str = "\
# What the predecessor has set, as `calico-dcos doctor` found it. Look it through, then:
#
#   calico-dcos apply -f FILE      nothing starts before it is approved
#   end its app in Marathon, then its framework by the master's /teardown: both would change
#                                  the same hosts; its etcd proxies end with it
#   calico-dcos diff               who changes, and what that stops
#   calico-dcos approve
apiVersion: calico-dcos/v1
kind: Cluster
metadata: {name: calico}
spec:
  rollout:
    start: approved
    maxConcurrentRestarts: 1 # its option max-concurrent-restarts, which only its app knows
";

/// What it ran on each host, where it ran one: `etcd --proxy=on`.
const PROXY: &str = "
  etcdProxy: # its proxies are tasks, and end with its framework
    mode: v2-proxy
    upstream: {discoverySrv: etcd.mesos} # its option etcd-discovery-url
    binary: {path: /usr/bin/etcd} # of the host, etcd 2.3 to 3.5; it fetched 2.3.1: url and sha256
";

/// As its installer of 0.1 puts it.
const NET_MODULES: &str = "
  mesosAgent:
    networking: netModules
    netModules:
      library: {path: /opt/mesosphere/lib/libmesos_network_isolator.so}
      libraryPath: /opt/mesosphere/lib/libmesos_network_isolator.so
      plugin: {path: /calico/calico_mesos}
      pluginPath: /calico/calico_mesos
";

const LIBNETWORK: &str = "
  # It ran libnetwork as a task of its own, which ends with its framework. To have it again:
  # calicoLibnetwork: {image: calico/node-libnetwork:v0.9.0} # its option libnetwork-img
";

/// Makes the document for these hosts; `tree` is what it keeps in ZooKeeper, if that is known.
pub(super) fn of<'a>(hosts: &[Old<'a>], tree: Option<&OldTree>) -> Equivalent<'a> {
    let mut unlike = BTreeMap::new();
    let mut most = |what, of: &dyn Fn(&Old<'a>) -> Option<Value>| {
        let (value, others) = commonest(hosts, of)?;
        if !others.is_empty() {
            unlike.insert(what, others);
        }
        Some(value)
    };
    let docker = most("cluster store", &|old| {
        let foreign = &old.facts.docker.as_ref()?.foreign;
        (!foreign.is_empty()).then(|| Value::Object(foreign.clone()))
    });
    let network = most("network", &|old| Some(json!(old.remains.network.as_ref()?)));
    let node = most("calico/node", &|old| Some(json!(old.remains.node.as_ref()?)));
    let ran = |kind: &str| tree.is_some_and(|tree| tree.kinds.contains_key(kind));

    let mut text = HEAD.to_owned();
    let local = |value: &Value| {
        let text = value.to_string();
        text.contains("127.0.0.1:2379") || text.contains("localhost:2379")
    };
    let found = [&docker, &network, &node];
    if ran("TaskRunEtcdProxy") || found.into_iter().flatten().any(local) {
        text.push_str(PROXY);
    }
    if let Some(docker) = docker {
        text.push_str(&of_docker(&docker));
    }
    match network {
        Some(network) => text.push_str(&of_network(&network)),
        None if hosts.iter().any(|old| old.remains.net_modules) => text.push_str(NET_MODULES),
        None => {}
    }
    if let Some(node) = node {
        text.push_str(&of_node(&node));
    }
    if ran("TaskRunCalicoLibnetwork") {
        text.push_str(LIBNETWORK);
    }
    Equivalent { text, unlike }
}

/// What most hosts that have it have, and those that have something else.
fn commonest<'a>(
    hosts: &[Old<'a>],
    of: &dyn Fn(&Old<'a>) -> Option<Value>,
) -> Option<(Value, Vec<&'a HostName>)> {
    let mut by_value: BTreeMap<String, (Value, Vec<&HostName>)> = BTreeMap::new();
    for old in hosts {
        let Some(value) = of(old) else { continue };
        by_value.entry(value.to_string()).or_insert_with(|| (value, Vec::new())).1.push(old.name);
    }
    let most = by_value.iter().max_by_key(|(_, (_, names))| names.len())?.0.clone();
    let (value, _) = by_value.remove(&most)?;
    Some((value, by_value.into_values().flat_map(|(_, names)| names).collect()))
}

/// JSON on one line is YAML.
fn of_docker(keys: &Value) -> String {
    let mut text =
        "\n  docker: # as daemon.json has it, so that it is taken over as it is\n".to_owned();
    let fields = [
        ("clusterStore", "cluster-store"),
        ("clusterAdvertise", "cluster-advertise"),
        ("clusterStoreOpts", "cluster-store-opts"),
    ];
    for (field, key) in fields {
        if let Some(value) = keys.get(key) {
            line(&mut text, format_args!("    {field}: {value}"));
        }
    }
    text
}

fn of_network(network: &Value) -> String {
    let path = network["path"].as_str().unwrap_or_default();
    let folder = path.rsplit_once('/').map_or("/", |(folder, _)| folder);
    let mut text = "\n  mesosAgent:\n    networking: cni\n    cni:\n".to_owned();
    line(
        &mut text,
        format_args!(
            "      pluginDirectory: /opt/mesosphere/active/cni # its option; calico and calico-ipam lie there"
        ),
    );
    line(&mut text, format_args!("      configDirectory: {folder}"));
    line(&mut text, format_args!("      network: {}", network["document"]));
    text
}

fn of_node(node: &Value) -> String {
    let mut text = "\n  calicoNode:\n".to_owned();
    line(&mut text, format_args!("    image: {}", node["image"]));
    let env = node["env"].as_object().filter(|env| !env.is_empty());
    if let Some(env) = env {
        text.push_str("    env:\n");
        for (name, value) in env {
            match name.as_str() {
                "IP" => text.push_str("      IP: {fromRoute: masters}\n"),
                name => line(&mut text, format_args!("      {name}: {value}")),
            }
        }
    }
    if node["dockerSocket"] == true {
        text.push_str(
            "    volumes: [{hostPath: /var/run/docker.sock, containerPath: /var/run/docker.sock, readOnly: false}]\n",
        );
    }
    text
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a `String` cannot fail.
    let _ = writeln!(text, "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desired::{Source, read};
    use crate::surface::state::State;
    use crate::surface::testing;

    /// Hosts of 0.3, `a3` with another cluster store.
    fn hosts() -> State {
        let mut state = testing::predecessors(3);
        let facts = testing::facts_of(&mut state, "a3");
        let foreign = &mut facts.docker.as_mut().unwrap().foreign;
        foreign.insert("cluster-store".to_owned(), json!("etcd://10.0.0.9:2379"));
        state
    }

    fn olds(state: &State) -> Vec<Old<'_>> {
        state.hosts.iter().filter_map(|(name, host)| Old::of(name, host)).collect()
    }

    #[test]
    fn a_document_says_what_most_hosts_have_and_is_valid() {
        let state = hosts();
        let equivalent = of(&olds(&state), None);
        let unlike = equivalent.unlike["cluster store"].iter().map(|name| name.as_str());
        assert_eq!(unlike.collect::<Vec<_>>(), ["a3"]);
        read(&[Source::file("x.yaml", equivalent.text.as_str())]).unwrap();
        let body = equivalent.text.split_once("\nspec:").unwrap().1;
        insta::assert_snapshot!(body);
    }

    #[test]
    fn each_of_its_versions_gives_a_document_that_is_valid() {
        let mut state = hosts();
        for name in ["a1", "a2", "a3"] {
            let remains = testing::facts_of(&mut state, name).predecessor.as_mut().unwrap();
            (remains.network, remains.net_modules) = (None, true);
            remains.node.as_mut().unwrap().docker_socket = true;
        }
        let kinds = ["TaskRunEtcdProxy", "TaskRunCalicoLibnetwork"];
        let kinds = kinds.map(|kind| (kind.to_owned(), 3)).into();
        let tree = OldTree { framework: None, agents: 3, kinds };
        let text = of(&olds(&state), Some(&tree)).text;
        read(&[Source::file("x.yaml", text.as_str())]).unwrap();
        for part in ["networking: netModules", "v2-proxy", "docker.sock", "node-libnetwork"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        // Nothing is managed of which nothing was found.
        let text = of(&[], None).text;
        assert!(read(&[Source::file("x.yaml", text.as_str())]).is_ok());
        assert!(!text.contains("docker:") && !text.contains("mesosAgent"), "{text}");
    }
}
