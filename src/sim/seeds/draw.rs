//! A number becomes a small cluster, edits and faults, and what operators do.

mod failing;
mod steer;

use std::collections::BTreeMap;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use super::History;
use crate::observed::facts::DockerFacts;
use crate::sim::run::people::People;
use crate::sim::scenario::{
    ApiVersion, ClockJump, Drift, EtcdRestored, For, HostFor, HostGroup, Kind, LoseMessages, Mesos,
    MesosVersion, Nothing, ObservedAs, OneHost, RestartFails, RestartSeconds, Scenario, Span,
    TimedEdit, TimedFault, Until, WriteCrash,
};
use crate::words::{Component, HostName};

/// Faults and edits come within this time, in milliseconds. Controllers come after 5 s.
const ACT_MS: std::ops::Range<u64> = 4_000..150_000;
/// The first leader has written down what it is known by at the master.
const FOUNDED_MS: u64 = 9_000;
/// An edit of what was edited before waits for so long.
const EDIT_PAUSE_MS: u64 = 25_000;

/// The history of a number. The same number gives the same, as long as the release is the same.
#[must_use]
pub(super) fn draw(seed: u64) -> History {
    let mut dice = Dice { rng: SmallRng::seed_from_u64(seed) };
    let hosts = dice.hosts();
    let names: Vec<HostName> = hosts.iter().flat_map(HostGroup::names).collect();
    let documents = dice.documents(&names);
    let pooled = documents.len() > 1;
    let mut faults = dice.faults(&names);
    let edits = dice.edits(pooled, restore_of(&faults));
    faults.sort_by_key(|fault| fault.at);
    let versions = ["1.1.0", "1.2.0", "1.4.0", "1.9.0", "1.11.0"];
    let version = versions[dice.below(5)].to_owned();
    let scenario = Scenario {
        api_version: ApiVersion::V1,
        kind: Kind::Scenario,
        seed,
        desired: Vec::new(),
        mesos: MesosVersion::try_from(version)
            .map_or_else(|_| Mesos::default(), |version| Mesos { version }),
        controllers: [1, 1, 2, 3][dice.below(4)],
        hosts,
        faults,
        edits,
        until: Until::Converged,
    };
    let mut history =
        History { seed, scenario, documents, steered: false, people: People::default() };
    failing::fail(&mut history);
    steer::steer(&mut history);
    history
}

/// From when to when what is written to etcd is lost.
fn restore_of(faults: &[TimedFault]) -> Option<(u64, u64)> {
    let mut restores = faults.iter().filter_map(|fault| Some((fault.at.ms, fault.etcd_restored?)));
    restores.next().map(|(at, restored)| (at.saturating_sub(restored.age.ms), at))
}

struct Dice {
    rng: SmallRng,
}

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.rng.random_range(0..end)
    }

    /// True with so many of a hundred.
    fn percent(&mut self, percent: u32) -> bool {
        self.rng.random_ratio(percent, 100)
    }

    fn ms(&mut self, range: std::ops::Range<u64>) -> Span {
        Span { ms: self.rng.random_range(range) }
    }

    fn pick(&mut self, names: &[HostName]) -> HostName {
        names[self.below(names.len())].clone()
    }

    fn hosts(&mut self) -> Vec<HostGroup> {
        let all = self.rng.random_range(2..=12);
        let others = if self.percent(50) { self.rng.random_range(1..all) } else { 0 };
        let restart_seconds = RestartSeconds {
            median: self.rng.random_range(1.0..15.0),
            sigma: self.rng.random_range(0.0..0.5),
        };
        let role = if self.percent(30) { "slave_public" } else { "*" };
        let mut groups = Vec::new();
        for (count, name, rack, role) in
            [(all - others, "a{n}", "r1", "*"), (others, "b{n}", "r2", role)]
        {
            if count == 0 {
                continue;
            }
            let observed = ObservedAs {
                docker: self.percent(8).then(swarm),
                agent_containers: 3,
                installed: self.percent(30),
            };
            groups.push(HostGroup {
                count,
                name: name.to_owned(),
                role: role.to_owned(),
                attributes: BTreeMap::from([("rack".to_owned(), rack.to_owned())]),
                restart_seconds,
                observed,
            });
        }
        groups
    }

    fn documents(&mut self, names: &[HostName]) -> Vec<(String, String)> {
        let budget = self.budget();
        let unavailable = if self.percent(50) { json!("10%") } else { json!(10) };
        let exclude = if self.percent(15) { vec![self.pick(names)] } else { Vec::new() };
        let mut spec = json!({
            "rollout": {
                "maxConcurrentRestarts": budget,
                "maxUnavailable": unavailable,
                "stabilitySeconds": self.below(8),
                "maxFailures": 1 + self.below(3),
                "attempts": 1 + self.below(3),
                "exclude": exclude,
            },
            "calicoNode": {"image": "calico/node:v1"},
        });
        if self.percent(75) {
            spec["etcdProxy"] = json!({
                "upstream": {"endpoints": ["http://10.0.0.1:2379"]},
                "binary": {"path": "/usr/bin/etcd"},
            });
        }
        if self.percent(75) {
            let reload = self.percent(30);
            spec["docker"] =
                if reload { json!({"clusterAdvertise": "eth0:2376"}) } else { json!({}) };
        }
        if self.percent(75) {
            spec["mesosAgent"] = json!({"networking": "cni"});
        }
        if self.percent(30) {
            spec["calicoLibnetwork"] = json!({"image": "calico/node-libnetwork:v1"});
        }
        if self.percent(15) {
            spec["rollout"]["order"] = json!(["rack"]);
        }
        let cluster = json!({
            "apiVersion": "calico-dcos/v1", "kind": "Cluster",
            "metadata": {"name": "seeds"}, "spec": spec,
        });
        let mut documents = vec![("cluster.yaml".to_owned(), cluster.to_string())];
        if self.percent(40) {
            let pool = json!({
                "apiVersion": "calico-dcos/v1", "kind": "Pool", "metadata": {"name": "other"},
                "spec": {
                    "selector": {"attributes": {"rack": "r2"}},
                    "rollout": {"maxConcurrentRestarts": 1},
                    "calicoNode": {"image": "calico/node:p1"},
                },
            });
            documents.push(("other.yaml".to_owned(), pool.to_string()));
        }
        documents
    }

    fn budget(&mut self) -> Value {
        [json!(1), json!(1), json!(2), json!(3), json!("25%"), json!("60%")][self.below(6)].clone()
    }

    // --- edits -----------------------------------------------------------------------------

    /// While a restore of etcd loses what is written, nobody edits.
    fn edits(&mut self, pooled: bool, lost: Option<(u64, u64)>) -> Vec<TimedEdit> {
        let mut edits = Vec::new();
        for n in 0..self.below(5) {
            let at = self.ms(ACT_MS);
            // What limits or holds back would be another one after a restore.
            let (document, path, value, then) = self.edit(n, pooled, lost.is_none());
            let mut edit = |at, value| {
                let document = document.to_owned();
                let set = BTreeMap::from([(path.to_owned(), value)]);
                edits.push(TimedEdit { at, document, set });
            };
            edit(at, value);
            if let Some(then) = then {
                edit(Span { ms: at.ms + EDIT_PAUSE_MS }, then);
            }
        }
        let is_lost = |at: u64| lost.is_some_and(|(from, to)| (from..=to).contains(&at));
        edits.retain(|edit| !is_lost(edit.at.ms));
        edits.sort_by_key(|edit| edit.at);
        edits
    }

    /// A document, a field and its value; and what is put back a while later.
    fn edit(
        &mut self,
        n: usize,
        pooled: bool,
        limits: bool,
    ) -> (&'static str, &'static str, Value, Option<Value>) {
        let image = json!(format!("calico/node:v{}", n + 2));
        let back = self.percent(40);
        match self.below(12) {
            0 if limits => ("cluster", "spec.rollout.paused", json!(true), Some(json!(false))),
            1 if limits => {
                let then = self.budget();
                ("cluster", "spec.rollout.maxConcurrentRestarts", json!(0), Some(then))
            }
            2 | 3 if limits => {
                ("cluster", "spec.rollout.maxConcurrentRestarts", self.budget(), None)
            }
            4 if pooled => ("pools/other", "spec.calicoNode.image", image, None),
            5 if pooled && limits => {
                ("pools/other", "spec.rollout.paused", json!(true), Some(json!(false)))
            }
            6 => {
                let then = back.then_some(json!(true));
                ("cluster", "spec.calicoNode.enabled", json!(false), then)
            }
            7 => {
                let cni = json!({"networking": "cni", "cni": {"configDirectory": format!("/etc/cni/{n}")}});
                ("cluster", "spec.mesosAgent", cni, None)
            }
            8 => {
                let store = json!({"clusterStore": format!("etcd://10.0.0.{}:2379", n + 1)});
                ("cluster", "spec.docker", store, None)
            }
            _ => {
                let then = back.then(|| json!("calico/node:v1"));
                ("cluster", "spec.calicoNode.image", image, then)
            }
        }
    }

    // --- faults ----------------------------------------------------------------------------

    fn faults(&mut self, names: &[HostName]) -> Vec<TimedFault> {
        let mut faults: Vec<TimedFault> = (0..self.below(9)).map(|_| self.fault(names)).collect();
        // One backup, from after the first leader has written what it is known by at the master:
        // without that it would be another framework, beside the tasks of the first.
        let mut restores = 0;
        faults.retain(|fault| {
            let first =
                fault.at.ms - fault.etcd_restored.map_or(0, |it| it.age.ms.min(fault.at.ms));
            if fault.etcd_restored.is_some() && first < FOUNDED_MS {
                return false;
            }
            restores += u32::from(fault.etcd_restored.is_some());
            fault.etcd_restored.is_none() || restores == 1
        });
        faults
    }

    fn fault(&mut self, names: &[HostName]) -> TimedFault {
        let at = self.ms(ACT_MS);
        let host = self.pick(names);
        let short = For { span: self.ms(100..20_000) };
        let long = For { span: self.ms(1_000..60_000) };
        let on_host = HostFor { host: host.clone(), span: self.ms(500..150_000) };
        let one = OneHost { host: host.clone() };
        let mut fault = TimedFault { at, ..TimedFault::default() };
        match self.below(24) {
            0 | 1 => fault.controller_crash = Some(short),
            2 | 3 => {
                let nth = 1 + u32::try_from(self.below(20)).unwrap_or(0);
                fault.crash_at_write = Some(WriteCrash { nth, span: short.span });
            }
            4 | 5 => fault.controller_paused = Some(long),
            6 => fault.etcd_down = Some(short),
            7 => fault.etcd_compaction = Some(Nothing {}),
            8 if self.percent(40) => fault.etcd_restored = Some(self.restored()),
            8 | 9 => fault.answers_lost = Some(short),
            10 => fault.etcd_cut = Some(long),
            11 => fault.master_cut = Some(long),
            12 => fault.watch_late = Some(long),
            13 => {
                let seconds = self.rng.random_range(-90..90);
                fault.clock_jump = Some(ClockJump { seconds });
            }
            14 => fault.master_failover = Some(Nothing {}),
            15 => fault.host_down = Some(on_host),
            16 if self.percent(50) => fault.host_gone = Some(one),
            16 => fault.maintenance = Some(on_host),
            17 => {
                let times = 1 + u32::try_from(self.below(4)).unwrap_or(0);
                fault.restart_fails = Some(RestartFails { host, times });
            }
            18 => fault.executor_dies = Some(one),
            19 => fault.executor_hangs = Some(on_host),
            20 => fault.agent_down = Some(on_host),
            21 => fault.new_agent_id = Some(one),
            22 => {
                let component = Component::ALL[self.below(Component::ALL.len())];
                fault.drift = Some(Drift { host, component });
            }
            _ => fault.lose_messages = Some(self.bad_network(long.span)),
        }
        fault
    }

    fn restored(&mut self) -> EtcdRestored {
        EtcdRestored { age: self.ms(500..60_000), other_cluster: self.percent(50) }
    }

    fn bad_network(&mut self, span: Span) -> LoseMessages {
        LoseMessages {
            probability: self.rng.random_range(0.0..0.4),
            duplicate: self.rng.random_range(0.0..0.3),
            late: self.rng.random_range(0.0..0.3),
            span,
        }
    }
}

/// A Docker that takes no cluster store.
fn swarm() -> DockerFacts {
    DockerFacts {
        version: "20.10.24".to_owned(),
        swarm: true,
        cluster_store: None,
        containers: 0,
        foreign: serde_json::Map::new(),
    }
}
