//! Jobs, facts and journals for tests.

use std::collections::BTreeMap;

use super::order::{Change, Job, Letter, StepOrder, WIRE_VERSION, Work};
use crate::desired::{ComponentSpec, Docker, Spec};
use crate::observed::facts::{Cgroups, FACTS_VERSION, FactOrder, Facts, JournalFacts, System};
use crate::words::{Attempt, Component, Generation, HostName};

pub(crate) const HOST: &str = "a1";

pub(crate) fn spec(component: Component, spec: Spec) -> ComponentSpec {
    let hash = spec.hash(component).expect("a spec is JSON");
    ComponentSpec { hash, spec, resources: None }
}

fn json<T: serde::de::DeserializeOwned>(value: serde_json::Value) -> T {
    serde_json::from_value(value).expect("a sample is valid")
}

/// A component as an operator would declare it; another `version` gives another hash.
pub(crate) fn target(component: Component, version: u32) -> ComponentSpec {
    let image = |name| serde_json::json!({"image": format!("calico/{name}:v2.6.{version}")});
    let declared = match component {
        Component::EtcdProxy => Spec::EtcdProxy(json(serde_json::json!({
            "listen": "127.0.0.1:2379",
            "upstream": {"endpoints": [format!("http://10.0.0.{}:2379", version + 1)]},
            "binary": {"path": "/usr/bin/etcd"},
        }))),
        Component::Docker => Spec::Docker(Docker {
            cluster_store_opts: BTreeMap::from([("version".to_owned(), version.to_string())]),
            ..Docker::default()
        }),
        Component::MesosAgent => {
            let network = serde_json::json!({"name": format!("calico{version}"), "type": "calico"});
            let cni = serde_json::json!({"networking": "cni", "cni": {"network": network}});
            Spec::MesosAgent(json(cni))
        }
        Component::CalicoNode => Spec::CalicoNode(json(image("node"))),
        Component::CalicoLibnetwork => Spec::CalicoLibnetwork(json(image("node-libnetwork"))),
    };
    spec(component, declared)
}

pub(crate) fn step(component: Component, version: u32) -> StepOrder {
    StepOrder { component, target: target(component, version) }
}

pub(crate) fn change(attempt: u64, may_disrupt: bool, components: &[Component]) -> Change {
    let steps = components.iter().map(|component| step(*component, 1)).collect();
    Change { attempt: Attempt(attempt), may_disrupt, stability_seconds: 30, steps }
}

pub(crate) fn job(work: Work) -> Vec<u8> {
    let (host, generation) = (HostName::from(HOST), Generation(1));
    let job = Job { version: WIRE_VERSION, host, generation, work };
    job.to_bytes().expect("a job is JSON")
}

pub(crate) fn facts(journal: Option<JournalFacts>) -> Facts {
    Facts {
        version: FACTS_VERSION,
        order: FactOrder { boot_id: String::new(), starts: 0, sequence: 0 },
        machine_id: "m".to_owned(),
        system: System {
            os: "Debian".to_owned(),
            architecture: "x86_64".to_owned(),
            cgroups: Cgroups::V1,
        },
        docker: None,
        mesos_version: "1.11.0".to_owned(),
        components: BTreeMap::new(),
        journal,
        stuck: None,
        agent_containers: 0,
        blocked: BTreeMap::new(),
        predecessor: None,
    }
}
