//! Made-up clusters for the tests of this room.

use std::collections::{BTreeMap, BTreeSet};

use crate::desired::read;
use crate::observed::facts::{
    Cgroups, ComponentFacts, DockerFacts, FACTS_VERSION, FactOrder, Facts, Health, System,
};
use crate::observed::fleet::{AgentSeen, Condition, HostRecord};
use crate::observed::tasks::{HostTasks, Supervised, TASKS_VERSION, TaskRecord};
use crate::plan::step::label;
use crate::rollout::records::{Accepted, RECORDS_VERSION, RolloutState, Stage};
use crate::rollout::sources;
use crate::words::{Attempt, Component, Generation, HostName, Revision, TaskKind, Time};

use super::state::{HostState, InForce, State, StoredDocument};

/// When all of it happens: 2026-01-01.
pub(crate) const NOW: Time = Time(1_767_225_600_000);

/// A Cluster of which every component needs something.
pub(crate) const CLUSTER: &str = "\
# The whole of it.
apiVersion: calico-dcos/v1
kind: Cluster
metadata: {name: test}
spec:
  rollout: {maxConcurrentRestarts: \"5%\", stabilitySeconds: 30}
  etcdProxy:
    upstream: {endpoints: [\"http://10.0.0.1:2379\"]}
  docker: {}
  mesosAgent:
    networking: cni
    cni:
      pluginDirectory: /opt/cni/bin
      configDirectory: /etc/cni/net.d
      plugins:
        - {name: calico, path: /usr/lib/calico/calico}
      network: {name: calico, type: calico}
  calicoNode: {image: \"calico/node:v2.6.12\"}
";

/// A Pool that no host of [`fleet`] is in.
pub(crate) const POOL: &str = "\
apiVersion: calico-dcos/v1
kind: Pool
metadata: {name: gpu}
spec:
  selector: {attributes: {gpu: \"yes\"}}
  calicoNode: {image: \"calico/node:v2.6.11\"}
";

/// So many hosts `a1`, `a2`, …, as delivered, before anything was accepted: the last of every
/// twenty is unreachable, the one before has not reported, the one before that cannot be changed.
pub(crate) fn fleet(hosts: usize) -> State {
    let mut state = State::empty(NOW, Revision(1042));
    for number in 1..=hosts {
        let name = HostName(format!("a{number}"));
        let mut record = HostRecord::new(&agent(&name), Time(NOW.0 - 3_600_000));
        let mut facts = fresh(&name);
        facts.docker.as_mut().unwrap().containers = 12 + u32::from(number % 7 == 0) * 3;
        match number % 20 {
            0 => record.agent.condition = Condition::Unreachable,
            18 => {
                let why = "Docker 23 has no cluster store; take `docker` off this host by a Pool";
                facts.blocked.insert(Component::Docker, why.to_owned());
            }
            _ => {}
        }
        if number % 20 != 19 {
            record.fold_facts(facts, &record.agent.id.clone(), Time(NOW.0 - 180_000));
        }
        state.hosts.insert(name, HostState { observed: Some(record), ..HostState::default() });
    }
    put(&mut state, "cluster", CLUSTER);
    state
}

/// So many hosts as 0.3 of the predecessor left them, and no documents.
pub(crate) fn predecessors(hosts: usize) -> State {
    let mut state = fleet(hosts);
    state.documents.clear();
    for number in 1..=hosts {
        let facts = facts_of(&mut state, &format!("a{number}"));
        let store = "etcd://127.0.0.1:2379";
        let docker = facts.docker.as_mut().unwrap();
        docker.cluster_store = Some(store.to_owned());
        docker.foreign = serde_json::Map::from_iter([("cluster-store".to_owned(), store.into())]);
        let node = ComponentFacts {
            hash: None,
            version: Some("calico/node:v0.22.0".to_owned()),
            health: Health::Healthy,
            running: true,
            recorded: false,
        };
        facts.components.insert(Component::CalicoNode, node);
        let remains = serde_json::json!({
            "files": ["/etc/calico/installer/cni", "/etc/calico/installer/docker"],
            "network": {
                "path": "/opt/mesosphere/etc/dcos/network/cni/calico.cni",
                "document": {
                    "name": "calico", "type": "calico", "ipam": {"type": "calico-ipam"},
                    "etcd_endpoints": "http://localhost:2379",
                },
            },
            "node": {
                "image": "calico/node:v0.22.0",
                "env": {
                    "ETCD_ENDPOINTS": "http://localhost:2379", "FELIX_IGNORELOOSERPF": "true",
                    "IP": "",
                },
            },
        });
        facts.predecessor = Some(serde_json::from_value(remains).unwrap());
    }
    state
}

/// What a host has reported, to be changed.
pub(crate) fn facts_of<'a>(state: &'a mut State, name: &str) -> &'a mut Facts {
    let host = state.hosts.get_mut(&HostName::from(name)).unwrap();
    &mut host.observed.as_mut().unwrap().reported.as_mut().unwrap().facts
}

/// Writes a document as `etcdctl put` would.
pub(crate) fn put(state: &mut State, name: &str, text: &str) {
    state.revision = Revision(state.revision.0 + 1);
    let stored = StoredDocument { text: text.to_owned(), revision: state.revision };
    state.documents.insert(name.to_owned(), stored);
}

/// Accepts the documents as the next generation.
pub(crate) fn accept(state: &mut State) {
    let generation = state.generation().next();
    let set = Accepted {
        version: RECORDS_VERSION,
        revision: state.revision,
        at: NOW,
        documents: state.texts(),
    };
    state.accepted = Some(InForce { generation, set });
    enter(state, Stage::Running);
}

/// Brings the rollout of the current generation to a stage.
pub(crate) fn enter(cluster: &mut State, stage: Stage) {
    let since = Time(NOW.0 - 240_000);
    let generation = cluster.generation();
    cluster.rollout =
        Some(RolloutState { version: RECORDS_VERSION, generation, stage, since, canary: None });
}

/// Makes a host what the accepted documents say.
pub(crate) fn sync(state: &mut State, name: &str) {
    let documents = &state.accepted.as_ref().unwrap().set.documents;
    let desired = read(&sources(documents)).unwrap();
    let name = HostName::from(name);
    let generation = state.generation();
    let host = state.hosts.get_mut(&name).unwrap();
    let spec = desired.resolve(&host.observed.as_ref().unwrap().identity(&name)).unwrap();
    let mut tasks = BTreeMap::from([(TaskKind::Observer, task(&name, "observer", generation))]);
    let mut facts = fresh(&name);
    for (component, wanted) in &spec.components {
        let found = ComponentFacts {
            hash: Some(wanted.hash),
            version: label(&wanted.spec),
            health: Health::Healthy,
            running: true,
            recorded: true,
        };
        facts.components.insert(*component, found);
        if let Some(kind) = component.supervisor() {
            let supervised = Some(Supervised::from(wanted));
            let task = TaskRecord { supervised, ..task(&name, kind.name(), generation) };
            tasks.insert(kind, task);
        }
    }
    facts.order.sequence += 1;
    let record = host.observed.as_mut().unwrap();
    record.fold_facts(facts, &record.agent.id.clone(), NOW);
    host.tasks = HostTasks { version: TASKS_VERSION, tasks };
}

/// A task of the host carries this attempt.
pub(crate) fn carry(state: &mut State, name: &str, attempt: Attempt) {
    let (name, generation) = (HostName::from(name), state.generation());
    let task = TaskRecord { attempt: Some(attempt), ..task(&name, "change", generation) };
    let host = state.hosts.get_mut(&name).unwrap();
    host.tasks.tasks.insert(TaskKind::Change, task);
}

fn task(host: &HostName, kind: &str, generation: Generation) -> TaskRecord {
    TaskRecord {
        id: format!("{kind}.{host}").into(),
        agent: format!("agent-{host}").into(),
        generation,
        supervised: None,
        attempt: None,
        replaces: None,
        program: None,
        ordered: NOW,
        seen: crate::observed::tasks::Seen::Nothing,
    }
}

fn agent(name: &HostName) -> AgentSeen {
    AgentSeen {
        id: format!("agent-{name}").into(),
        host: name.clone(),
        condition: Condition::Active,
        roles: BTreeSet::from(["*".to_owned()]),
        attributes: BTreeMap::new(),
        mesos_version: "1.1.0".to_owned(),
        ip: None,
        room: None,
    }
}

fn fresh(name: &HostName) -> Facts {
    let native = |version: &str| ComponentFacts {
        hash: None,
        version: Some(version.to_owned()),
        health: Health::Healthy,
        running: true,
        recorded: false,
    };
    Facts {
        version: FACTS_VERSION,
        order: FactOrder { boot_id: "boot".to_owned(), starts: 1, sequence: 1 },
        machine_id: format!("machine-{name}"),
        system: System {
            os: "Debian 12".to_owned(),
            architecture: "x86_64".to_owned(),
            cgroups: Cgroups::V1,
        },
        docker: Some(DockerFacts {
            version: "20.10.24".to_owned(),
            swarm: false,
            cluster_store: None,
            containers: 0,
            foreign: serde_json::Map::new(),
        }),
        mesos_version: "1.1.0".to_owned(),
        components: BTreeMap::from([
            (Component::Docker, native("20.10.24")),
            (Component::MesosAgent, native("1.1.0")),
        ]),
        journal: None,
        stuck: None,
        agent_containers: 0,
        blocked: BTreeMap::new(),
        predecessor: None,
    }
}
