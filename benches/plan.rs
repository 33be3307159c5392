//! The plan: a whole fleet, and one host's change in a fleet of ten thousand.

#![expect(clippy::expect_used, reason = "the documents are written here")]

mod world;

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use calico_dcos::budget::pace::Permits;
use calico_dcos::desired::{HostIdentity, HostSpec, Source, read};
use calico_dcos::job::order::{FromHost, Letter};
use calico_dcos::mesos::v1::scheduler::Event as MesosEvent;
use calico_dcos::mesos::v1::{Blob, TaskState, TaskStatus};
use calico_dcos::observed::facts::{
    Cgroups, ComponentFacts, FACTS_VERSION, FactOrder, Facts, Health, System,
};
use calico_dcos::observed::fleet::{AgentSeen, Condition, HostRecord};
use calico_dcos::observed::tasks::{HostTasks, Seen, Supervised, TaskRecord};
use calico_dcos::plan::assess::{HostView, assess};
use calico_dcos::plan::canary::CanaryPhase;
use calico_dcos::plan::gate::Phase;
use calico_dcos::plan::line::Asked;
use calico_dcos::plan::{FleetView, plan};
use calico_dcos::rollout::Controller;
use calico_dcos::rollout::event::{Effect, Event};
use calico_dcos::store::keys::Key;
use calico_dcos::store::txn::Outcome;
use calico_dcos::words::{
    AgentId, Component, Generation, HostName, Revision, SpecHash, TaskId, TaskKind, Time,
};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

use crate::world::{CLUSTER, in_sync};

struct Host {
    name: HostName,
    record: HostRecord,
    tasks: HostTasks,
}

fn host(n: usize, spec: &HostSpec, in_sync: bool) -> Host {
    let name = HostName(format!("a{n}"));
    let seen = AgentSeen {
        id: format!("s{n}").into(),
        host: name.clone(),
        condition: Condition::Active,
        roles: ["*".to_owned()].into(),
        attributes: BTreeMap::new(),
        mesos_version: "1.1.0".into(),
        ip: None,
        room: None,
    };
    let component = |(component, wanted): (&Component, &calico_dcos::desired::ComponentSpec)| {
        let hash = if in_sync { wanted.hash } else { SpecHash([7; 32]) };
        let facts = ComponentFacts {
            hash: Some(hash),
            version: None,
            health: Health::Healthy,
            running: true,
            recorded: true,
        };
        (*component, facts)
    };
    let facts = Facts {
        version: FACTS_VERSION,
        order: FactOrder { boot_id: "b".into(), starts: 1, sequence: 1 },
        machine_id: name.to_string(),
        system: System {
            os: "Debian 12".into(),
            architecture: "x86_64".into(),
            cgroups: Cgroups::V1,
        },
        docker: None,
        mesos_version: "1.1.0".into(),
        components: spec.components.iter().map(component).collect(),
        journal: None,
        stuck: None,
        agent_containers: 0,
        blocked: BTreeMap::new(),
        predecessor: None,
    };
    let mut record = HostRecord::new(&seen, Time(0));
    record.fold_facts(facts, &seen.id, Time(0));
    let mut tasks = HostTasks::default();
    for kind in [TaskKind::Observer, TaskKind::EtcdProxy, TaskKind::CalicoNode] {
        let wanted = kind.component().and_then(|component| spec.components.get(&component));
        let task = TaskRecord {
            id: format!("{kind}.{name}").into(),
            agent: seen.id.clone(),
            generation: Generation(1),
            supervised: wanted.map(Supervised::from),
            attempt: None,
            replaces: None,
            program: None,
            ordered: Time(0),
            seen: Seen::Running,
        };
        tasks.tasks.insert(kind, task);
    }
    Host { name, record, tasks }
}

fn view<'a>(host: &'a Host, spec: &'a HostSpec) -> HostView<'a> {
    HostView {
        spec: Ok(spec),
        record: &host.record,
        heard: Time(0),
        tasks: &host.tasks,
        slot: None,
        progress: None,
        excluded: false,
        paused: None,
        notice: None,
        member: None,
        leaves: false,
    }
}

fn benches(criterion: &mut Criterion) {
    let desired = read(&[Source::file("bench", CLUSTER)]).expect("the documents are good");
    let identity = HostIdentity {
        name: "a".into(),
        roles: ["*".to_owned()].into(),
        attributes: BTreeMap::new(),
    };
    let spec = Arc::new(desired.resolve(&identity).expect("there are no pools"));
    let mut group = criterion.benchmark_group("plan");
    for (label, in_sync) in [("in-sync", true), ("all-out-of-sync", false)] {
        for count in [1_000, 10_000] {
            let hosts: Vec<Host> = (0..count).map(|n| host(n, &spec, in_sync)).collect();
            group.throughput(Throughput::Elements(count as u64));
            group.bench_with_input(BenchmarkId::new(label, count), &hosts, |bench, hosts| {
                bench.iter(|| {
                    let hosts = hosts.iter().map(|host| (&host.name, view(host, &spec)));
                    let fleet = FleetView {
                        hosts: hosts.collect(),
                        rollout: &desired.cluster.spec.rollout,
                        phase: Phase::Running,
                        canary: CanaryPhase::Over,
                        asked: Asked::default(),
                        permits: Permits::UNLIMITED,
                        own_host: None,
                        mean_hold_seconds: None,
                        now: Time(1_000),
                    };
                    black_box(plan(&fleet).summary.in_sync)
                });
            });
        }
    }
    group.finish();
    let one = host(1, &spec, false);
    criterion.bench_function("assess/one-host", |bench| {
        bench.iter(|| black_box(assess(view(black_box(&one), &spec), Time(1_000))));
    });
}

/// What one host's report of a change costs the controller: read, folded, planned and the effects
/// made, in a fleet of that size. The answer of etcd is not in it.
fn one_host(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("controller/one-host");
    for count in [1_000_u64, 10_000] {
        let mut leader = Leader::of(count);
        group.bench_function(BenchmarkId::from_parameter(count), |bench| {
            bench.iter_custom(|rounds| (0..rounds).map(|_| leader.report()).sum());
        });
    }
    group.finish();
}

/// The controller of a cluster in sync, and one host of it whose calico/node comes and goes.
struct Leader {
    machine: Controller,
    now: Time,
    observer: TaskId,
    agent: AgentId,
    facts: Facts,
    found: ComponentFacts,
    revision: Revision,
}

impl Leader {
    fn of(count: u64) -> Self {
        let world = in_sync(count);
        let name = HostName("a7".to_owned());
        let record = |key: Key| world.etcd().get(&key).expect("the cluster is in sync").value;
        let tasks: HostTasks =
            serde_json::from_str(&record(Key::Tasks(name.clone()))).expect("it is ours");
        let host: HostRecord =
            serde_json::from_str(&record(Key::Observed(name))).expect("it is ours");
        let observer = &tasks.tasks[&TaskKind::Observer];
        let facts = host.reported.expect("it has reported").facts;
        let found = facts.components[&Component::CalicoNode].clone();
        let (observer, agent) = (observer.id.clone(), observer.agent.clone());
        let revision = world.etcd().revision();
        let (machine, now) = world.into_leader().expect("it leads");
        Self { machine, now, observer, agent, facts, found, revision }
    }

    /// The host reports that its calico/node is gone, or is back: the time that this took.
    fn report(&mut self) -> Duration {
        self.now = self.now.plus_ms(10);
        self.facts.order.sequence += 1;
        let gone = self.facts.components.remove(&Component::CalicoNode).is_some();
        if !gone {
            self.facts.components.insert(Component::CalicoNode, self.found.clone());
        }
        let facts = FromHost::Facts { facts: Box::new(self.facts.clone()) };
        let mut status = TaskStatus::new(self.observer.clone(), TaskState::Running);
        status.agent_id = Some(self.agent.clone());
        status.uuid = Some(Blob(self.facts.order.sequence.to_le_bytes().to_vec()));
        status.data = Some(Blob(facts.to_bytes().expect("it is JSON")));
        let event = Event::Mesos(MesosEvent::Update(status));

        #[expect(clippy::disallowed_methods, reason = "this is what a benchmark is for")]
        let begin = Instant::now();
        self.machine.handle(event, self.now);
        let effects = black_box(self.machine.pass(self.now));
        let took = begin.elapsed();

        assert!(effects.iter().any(|effect| matches!(effect, Effect::Txn { .. })), "{effects:?}");
        self.commit(effects);
        took
    }

    /// etcd takes everything.
    fn commit(&mut self, mut effects: Vec<Effect>) {
        while !effects.is_empty() {
            for effect in effects {
                if let Effect::Txn { id, .. } = effect {
                    self.revision.0 += 1;
                    let outcome = Outcome::Committed(self.revision);
                    self.machine.handle(Event::TxnDone { id, outcome }, self.now);
                }
            }
            effects = self.machine.pass(self.now);
        }
    }
}

criterion_group!(plan_benches, benches, one_host);
criterion_main!(plan_benches);
