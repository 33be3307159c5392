//! Who moves, who waits, and why: the acceptance scenarios of the planner as tables. The numbers
//! in the names are those of the scenarios.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::sync::Arc;

use calico_dcos::budget::pace::Permits;
use calico_dcos::budget::slot::{Guard, Slot, admit, reserve};
use calico_dcos::desired::{Desired, HostSpec, Source, read};
use calico_dcos::observed::facts::{
    Cgroups, ComponentFacts, FACTS_VERSION, FactOrder, Facts, Health, JournalFacts, JournalState,
    System,
};
use calico_dcos::observed::fleet::{AgentSeen, Condition, HostRecord};
use calico_dcos::observed::tasks::{HostTasks, Seen, Supervised, TaskRecord};
use calico_dcos::plan::assess::{HostProgress, HostView};
use calico_dcos::plan::gate::Phase;
use calico_dcos::plan::step::{Action, Disruption, target};
use calico_dcos::plan::{FleetView, Plan, plan};
use calico_dcos::words::{Attempt, Component, Generation, HostName, TaskKind, Time};

const NOW: Time = Time(1_000_000);

fn desired(rollout: &str, image: &str) -> Desired {
    let text = format!(
        "apiVersion: calico-dcos/v1\nkind: Cluster\nmetadata: {{name: test}}\nspec:\n  \
         rollout: {rollout}\n  calicoNode: {{image: \"calico/node:{image}\"}}\n"
    );
    read(&[Source::file("cluster.yaml", text)]).unwrap()
}

/// One host of a table.
struct Host {
    name: HostName,
    record: HostRecord,
    tasks: HostTasks,
    slot: Option<Slot>,
    progress: Option<HostProgress>,
    excluded: bool,
}

/// A host on which calico/node runs as `has` says, with all its tasks.
fn host(name: &str, has: &HostSpec) -> Host {
    let seen = AgentSeen {
        id: format!("agent-{name}").into(),
        host: name.into(),
        condition: Condition::Active,
        roles: ["*".to_owned()].into(),
        attributes: BTreeMap::new(),
        mesos_version: "1.1.0".into(),
    };
    let wanted = &has.components[&Component::CalicoNode];
    let node = ComponentFacts {
        hash: Some(wanted.hash),
        version: None,
        health: Health::Healthy,
        running: true,
    };
    let facts = Facts {
        version: FACTS_VERSION,
        order: FactOrder { boot_id: "b".into(), starts: 1, sequence: 1 },
        machine_id: name.into(),
        system: System {
            os: "Debian 12".into(),
            architecture: "x86_64".into(),
            cgroups: Cgroups::V1,
        },
        docker: None,
        mesos_version: "1.1.0".into(),
        components: BTreeMap::from([(Component::CalicoNode, node)]),
        journal: None,
        agent_containers: 0,
        blocked: BTreeMap::new(),
    };
    let mut record = HostRecord::new(&seen, Time(0));
    record.fold_facts(facts, &seen.id, Time(0));
    let task = |kind: TaskKind, supervised: Option<Supervised>| TaskRecord {
        id: format!("{kind}.{name}").into(),
        agent: seen.id.clone(),
        generation: Generation(1),
        supervised,
        attempt: None,
        replaces: None,
        ordered: Time(0),
        seen: Seen::Running,
    };
    let mut tasks = HostTasks::default();
    tasks.tasks.insert(TaskKind::Observer, task(TaskKind::Observer, None));
    tasks
        .tasks
        .insert(TaskKind::CalicoNode, task(TaskKind::CalicoNode, Some(Supervised::from(wanted))));
    Host { name: name.into(), record, tasks, slot: None, progress: None, excluded: false }
}

impl Host {
    fn down(mut self) -> Self {
        self.record.agent.condition = Condition::Unreachable;
        self
    }

    fn condition(mut self, condition: Condition) -> Self {
        self.record.agent.condition = condition;
        self
    }

    /// It was admitted, and changes.
    fn in_flight(self, to: &HostSpec, guard: &mut Guard) -> Self {
        let mut host = self.reserved(to, guard);
        let slot = host.slot.take().unwrap();
        host.slot = Some(admit(&slot, slot.attempt, &"run".into()).unwrap());
        host
    }

    /// It was ordered, and has not asked yet.
    fn reserved(mut self, to: &HostSpec, guard: &mut Guard) -> Self {
        let slot = reserve(guard, None, &self.name, 99, Generation(2), target(to), NOW).unwrap();
        let carrier = self.tasks.tasks.get_mut(&TaskKind::CalicoNode).unwrap();
        carrier.attempt = Some(slot.attempt);
        self.slot = Some(slot);
        self
    }

    fn failed(mut self) -> Self {
        let mut progress = HostProgress::new(Generation(2), NOW);
        progress.failed = true;
        progress.failures = 3;
        progress.why = "it did not start".into();
        self.progress = Some(progress);
        if let Some(task) = self.tasks.tasks.get_mut(&TaskKind::CalicoNode) {
            task.attempt = None;
        }
        self
    }

    fn unwell(mut self) -> Self {
        let facts = &mut self.record.reported.as_mut().unwrap().facts;
        let node = facts.components.get_mut(&Component::CalicoNode).unwrap();
        node.health = Health::Unhealthy { why: "felix is not ready".into() };
        self
    }
}

/// A plan of these hosts, who may start now, and the reasons of all others.
fn table(desired: &Desired, spec: &Arc<HostSpec>, hosts: &[Host]) -> (Vec<String>, String) {
    let plan = full(desired, spec, hosts);
    let starts = plan.hosts.iter().filter(|host| {
        host.reason.as_ref().is_some_and(|reason| reason.code() == "waiting-for-offer")
            && host.assessment.work.disruptive
    });
    let starts = starts.map(|host| host.name.to_string()).collect();
    let reasons = plan.hosts.iter().filter_map(|host| {
        let reason = host.reason.as_ref()?;
        (reason.code() != "waiting-for-offer").then(|| format!("{} {}", host.name, reason.code()))
    });
    (starts, reasons.collect::<Vec<_>>().join(", "))
}

fn full<'a>(desired: &'a Desired, spec: &'a Arc<HostSpec>, hosts: &'a [Host]) -> Plan<'a> {
    let view = |host: &'a Host| {
        let view = HostView {
            spec: Ok(spec),
            record: &host.record,
            heard: NOW,
            tasks: &host.tasks,
            slot: host.slot.as_ref(),
            progress: host.progress.as_ref(),
            excluded: host.excluded,
        };
        (&host.name, view)
    };
    plan(&FleetView {
        hosts: hosts.iter().map(view).collect(),
        rollout: &desired.cluster.spec.rollout,
        phase: Phase::Running,
        permits: Permits::UNLIMITED,
        own_host: None,
        mean_hold_seconds: None,
        now: NOW,
    })
}

fn specs(rollout: &str) -> (Desired, Arc<HostSpec>, Arc<HostSpec>) {
    let new = desired(rollout, "v1");
    let identity = host("x", &spec_of(&new)).record.identity(&"x".into());
    let v1 = Arc::new(new.resolve(&identity).unwrap());
    let v0 = Arc::new(desired(rollout, "v0").resolve(&identity).unwrap());
    (new, v0, v1)
}

fn spec_of(desired: &Desired) -> HostSpec {
    let identity = calico_dcos::desired::HostIdentity {
        name: "x".into(),
        roles: ["*".to_owned()].into(),
        attributes: BTreeMap::new(),
    };
    desired.resolve(&identity).unwrap()
}

const ONE: &str = "{maxConcurrentRestarts: 1}";
const TWO: &str = "{maxConcurrentRestarts: 2}";

#[test]
fn s07_and_s23_all_at_the_target_and_healthy_nothing_moves() {
    let (desired, _, v1) = specs(ONE);
    let hosts = [host("a0", &v1), host("a1", &v1), host("a2", &v1)];
    assert_eq!(table(&desired, &v1, &hosts), (vec![], String::new()));
    let plan = full(&desired, &v1, &hosts);
    assert_eq!((plan.summary.in_sync, plan.summary.tasks), (3, 0));
    assert!(plan.hosts.iter().all(|host| host.assessment.in_sync()));
}

#[test]
fn s08_one_down_and_a_budget_of_one_nothing_starts() {
    let (desired, v0, v1) = specs(ONE);
    let hosts = [host("a0", &v1), host("a1", &v1).down(), host("a2", &v0)];
    let (starts, reasons) = table(&desired, &v1, &hosts);
    assert_eq!(starts, Vec::<String>::new());
    assert_eq!(reasons, "a1 unreachable, a2 too-many-unavailable");
}

#[test]
fn s09_one_down_and_one_in_flight_the_rest_is_never_negative() {
    let (desired, v0, v1) = specs(ONE);
    let mut guard = Guard::new("c".into());
    let hosts = [
        host("a0", &v1),
        host("a1", &v1).down(),
        host("a2", &v0).in_flight(&v1, &mut guard),
        host("a3", &v0),
    ];
    let (starts, reasons) = table(&desired, &v1, &hosts);
    assert_eq!(starts, Vec::<String>::new());
    assert_eq!(reasons, "a1 unreachable, a2 in-progress, a3 waiting-for-slot");
}

#[test]
fn s10_one_down_and_a_budget_of_two_one_starts_in_order() {
    let (desired, v0, v1) = specs(TWO);
    let hosts = [host("a0", &v0).down(), host("a1", &v0), host("a2", &v0)];
    let (starts, reasons) = table(&desired, &v1, &hosts);
    assert_eq!(starts, ["a1"]);
    assert_eq!(reasons, "a0 unreachable, a2 too-many-unavailable");
}

#[test]
fn s12_and_s16_one_ordered_or_in_flight_and_a_budget_of_one_nothing_starts() {
    let (desired, v0, v1) = specs(ONE);
    let mut guard = Guard::new("c".into());
    let flying = [host("a0", &v1), host("a1", &v0).in_flight(&v1, &mut guard), host("a2", &v0)];
    assert_eq!(
        table(&desired, &v1, &flying),
        (vec![], "a1 in-progress, a2 waiting-for-slot".to_owned())
    );
    let ordered = [host("a1", &v0).reserved(&v1, &mut guard), host("a2", &v0)];
    assert_eq!(
        table(&desired, &v1, &ordered),
        (vec![], "a1 in-progress, a2 waiting-for-slot".to_owned())
    );
}

#[test]
fn s14_a_host_that_fails_on_the_target_keeps_its_slot() {
    let (desired, v0, v1) = specs(ONE);
    let mut guard = Guard::new("c".into());
    let hosts = [host("a1", &v0).in_flight(&v1, &mut guard).failed(), host("a2", &v0)];
    assert_eq!(table(&desired, &v1, &hosts), (vec![], "a1 failed, a2 waiting-for-slot".to_owned()));
}

#[test]
fn s02_a_budget_of_zero_starts_none_and_says_so() {
    for zero in ["0", "\"0%\""] {
        let (desired, v0, v1) = specs(&format!("{{maxConcurrentRestarts: {zero}}}"));
        let hosts = [host("a0", &v0)];
        let plan = full(&desired, &v1, &hosts);
        let reason = plan.hosts[0].reason.clone().unwrap();
        assert_eq!(reason.code(), "waiting-for-slot");
        assert!(reason.to_string().contains("the budget is zero"), "{reason}");
    }
}

#[test]
fn s18_and_s29_only_the_image_differs_one_task_and_no_restart_of_docker_or_agent() {
    let (desired, v0, v1) = specs(ONE);
    let hosts = [host("a0", &v0)];
    let plan = full(&desired, &v1, &hosts);
    let work = &plan.hosts[0].assessment.work;
    assert_eq!(work.launches, [TaskKind::CalicoNode]);
    assert_eq!(work.carrier, Some(TaskKind::CalicoNode));
    let step = &work.steps[0];
    assert_eq!((work.steps.len(), step.action), (1, Action::Change));
    assert_eq!(step.disruption, Disruption::ReplaceNode);
    assert!(work.disruptive);
    assert_eq!(plan.summary.restarts.keys().collect::<Vec<_>>(), [&Component::CalicoNode]);
}

#[test]
fn s28_and_s30_what_is_equal_is_not_touched() {
    let (desired, _, v1) = specs(ONE);
    // The same image written differently, with a comment and its defaults spelled out.
    let text = "# a comment\nspec:\n  calicoNode: {enabled: true, env: {}, image: \"calico/node:v1\"}\n  \
                rollout: {maxConcurrentRestarts: 1}\nmetadata: {name: test}\nkind: Cluster\n\
                apiVersion: calico-dcos/v1\n";
    let same = read(&[Source::file("cluster.yaml", text)]).unwrap();
    let spec = Arc::new(spec_of(&same));
    assert_eq!(table(&desired, &spec, &[host("a0", &v1)]), (vec![], String::new()));
}

#[test]
fn s35_all_old_and_unwell_no_more_than_the_budget_start() {
    let (desired, v0, v1) = specs(TWO);
    let hosts: Vec<Host> = (0..5).map(|n| host(&format!("a{n}"), &v0).unwell()).collect();
    let (starts, reasons) = table(&desired, &v1, &hosts);
    assert_eq!(starts, ["a0", "a1"]);
    assert_eq!(reasons, "a2 waiting-for-slot, a3 waiting-for-slot, a4 waiting-for-slot");
}

#[test]
fn s39_hosts_that_an_operator_took_out_are_not_picked_and_not_waited_for() {
    let (desired, v0, v1) = specs("{maxConcurrentRestarts: \"50%\", maxUnavailable: \"100%\"}");
    let mut hosts: Vec<Host> = (0..4).map(|n| host(&format!("a{n}"), &v0)).collect();
    hosts[0] = host("a0", &v0).condition(Condition::Deactivated);
    hosts[1] = host("a1", &v0).condition(Condition::Draining);
    hosts[2].excluded = true;
    let (starts, reasons) = table(&desired, &v1, &hosts);
    assert_eq!(starts, ["a3"]);
    assert_eq!(reasons, "a0 blocked, a1 blocked, a2 excluded");
    // Half of the three that are registered and not excluded, rounded down.
    assert_eq!(full(&desired, &v1, &hosts).summary.slots, 1);
}

#[test]
fn s19_a_host_of_which_nothing_is_known_is_not_moved() {
    let (desired, v0, v1) = specs(ONE);
    let mut silent = host("a0", &v0);
    silent.record.reported = None;
    let mut stale = host("a1", &v0);
    stale
        .record
        .reported
        .as_mut()
        .unwrap()
        .facts
        .components
        .get_mut(&Component::CalicoNode)
        .unwrap()
        .health = Health::Unknown;
    let hosts = [silent, stale, host("a2", &v1)];
    let plan = full(&desired, &v1, &hosts);
    assert_eq!(plan.hosts[0].reason.as_ref().unwrap().code(), "unknown");
    assert_eq!(plan.summary.unknown, 1);
    assert!(plan.hosts[0].assessment.work.steps.is_empty());
}

#[test]
fn s22_the_plan_does_not_depend_on_the_order_of_the_hosts() {
    let (desired, v0, v1) = specs(TWO);
    let mut hosts: Vec<Host> = (0..12).map(|n| host(&format!("a{n}"), &v0)).collect();
    let (starts, _) = table(&desired, &v1, &hosts);
    hosts.reverse();
    assert_eq!(table(&desired, &v1, &hosts).0, {
        let mut reversed = starts;
        reversed.reverse();
        reversed
    });
}

#[test]
fn what_this_version_cannot_do_holds_and_is_never_ignored() {
    for (rollout, code) in [
        ("{start: approved}", "waiting-for-approval"),
        ("{paused: true}", "paused"),
        ("{canary: {hosts: 1, promote: manual}}", "waiting-for-canary"),
        (
            "{windows: [{days: [Mon], start: \"21:00\", end: \"05:00\", timezone: Europe/Berlin}]}",
            "waiting-for-window",
        ),
        ("{gates: [{http: \"http://alerts/ok\"}]}", "waiting-for-gate"),
        ("{drain: {mode: maintenance}}", "waiting-for-gate"),
    ] {
        let (desired, v0, v1) = specs(rollout);
        let (starts, reasons) = table(&desired, &v1, &[host("a0", &v0)]);
        assert_eq!(starts, Vec::<String>::new(), "{rollout}");
        assert_eq!(reasons, format!("a0 {code}"), "{rollout}");
    }
}

#[test]
fn a_host_that_was_changed_and_has_to_stay_healthy_is_verifying() {
    let (desired, _, v1) = specs(ONE);
    let mut guard = Guard::new("c".into());
    let mut changed = host("a0", &v1).in_flight(&v1, &mut guard);
    let journal =
        JournalFacts { attempt: Attempt(1), run: "run".into(), state: JournalState::Open };
    changed.record.reported.as_mut().unwrap().facts.journal = Some(journal);
    let (_, reasons) = table(&desired, &v1, &[changed]);
    assert_eq!(reasons, "a0 verifying");
}
