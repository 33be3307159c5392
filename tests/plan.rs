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
use calico_dcos::plan::assess::HostView;
use calico_dcos::plan::canary::CanaryPhase;
use calico_dcos::plan::control::Controls;
use calico_dcos::plan::gate::{Limits, Phase, gate};
use calico_dcos::plan::line::Asked;
use calico_dcos::plan::members::{Member, Members};
use calico_dcos::plan::notice::Notice;
use calico_dcos::plan::progress::{HostProgress, Unlaunched};
use calico_dcos::plan::step::{Action, Disruption, target};
use calico_dcos::plan::{FleetView, Plan, plan, totals};
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
    notice: Option<Notice>,
    member: Option<&'static str>,
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
        ip: None,
        room: None,
    };
    let wanted = &has.components[&Component::CalicoNode];
    let found = has.components.iter().map(|(component, wanted)| {
        let hash = Some(wanted.hash);
        let health = Health::Healthy;
        (*component, ComponentFacts { hash, version: None, health, running: true, recorded: true })
    });
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
        components: found.collect(),
        journal: None,
        stuck: None,
        agent_containers: 0,
        blocked: BTreeMap::new(),
        predecessor: None,
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
        program: None,
        ordered: Time(0),
        seen: Seen::Running,
    };
    let mut tasks = HostTasks::default();
    tasks.tasks.insert(TaskKind::Observer, task(TaskKind::Observer, None));
    tasks
        .tasks
        .insert(TaskKind::CalicoNode, task(TaskKind::CalicoNode, Some(Supervised::from(wanted))));
    Host {
        name: name.into(),
        record,
        tasks,
        slot: None,
        progress: None,
        excluded: false,
        notice: None,
        member: None,
    }
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

    fn launched_in_vain(mut self) -> Self {
        let progress = self.progress.get_or_insert_with(|| HostProgress::new(Generation(2), NOW));
        let (why, again_at) = ("3 launches came to nothing".into(), NOW.plus_secs(60));
        progress.unlaunched = Some(Unlaunched { times: 3, why, again_at });
        self
    }

    fn unwell(mut self) -> Self {
        let facts = &mut self.record.reported.as_mut().unwrap().facts;
        let node = facts.components.get_mut(&Component::CalicoNode).unwrap();
        node.health = Health::Unhealthy { why: "felix is not ready".into() };
        self
    }
}

/// How many more may start a disruption than those that a plan says may.
fn left(desired: &Desired, spec: &Arc<HostSpec>, hosts: &[Host]) -> usize {
    let plan = full(desired, spec, hosts);
    let totals = totals(plan.hosts.iter().map(|host| (host.name, host.view)));
    let limits = Limits::of(&desired.cluster.spec.rollout, totals.registered);
    let open = gate(limits, &totals, Permits::UNLIMITED).open;
    open - table(desired, spec, hosts).0.len()
}

/// A plan of these hosts, who may start now, and the reasons of all others.
fn table(desired: &Desired, spec: &Arc<HostSpec>, hosts: &[Host]) -> (Vec<String>, String) {
    told(&full(desired, spec, hosts))
}

/// Who may start now, and the reasons of all others.
fn told(plan: &Plan<'_>) -> (Vec<String>, String) {
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
    plan_of(desired, spec, hosts, Asked::default())
}

fn plan_of<'a>(
    desired: &'a Desired,
    spec: &'a Arc<HostSpec>,
    hosts: &'a [Host],
    asked: Asked<'a>,
) -> Plan<'a> {
    plan(&fleet(desired, spec, hosts, asked))
}

fn fleet<'a>(
    desired: &'a Desired,
    spec: &'a Arc<HostSpec>,
    hosts: &'a [Host],
    asked: Asked<'a>,
) -> FleetView<'a> {
    let view = |host: &'a Host| {
        let view = HostView {
            spec: Ok(spec),
            record: &host.record,
            heard: NOW,
            tasks: &host.tasks,
            slot: host.slot.as_ref(),
            progress: host.progress.as_ref(),
            paused: None,
            excluded: host.excluded,
            notice: host.notice.as_ref(),
            member: host.member,
            leaves: false,
        };
        (&host.name, view)
    };
    FleetView {
        hosts: hosts.iter().map(view).collect(),
        rollout: &desired.cluster.spec.rollout,
        phase: Phase::open(&desired.cluster.spec.rollout, Generation(1), &Controls::default()),
        canary: CanaryPhase::of(&desired.cluster.spec.rollout, true, None, false),
        asked,
        permits: Permits::UNLIMITED,
        own_host: None,
        mean_hold_seconds: None,
        now: NOW,
    }
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
    assert_eq!(left(&desired, &v1, &hosts), 1);
    assert!(plan.hosts.iter().all(|host| host.assessment.in_sync()));
}

/// Point 50 of `CHECKLIST.md`.
#[test]
fn s08_one_down_and_a_budget_of_one_nothing_starts() {
    let (desired, v0, v1) = specs(ONE);
    let hosts = [host("a0", &v1), host("a1", &v1).down(), host("a2", &v0)];
    let (starts, reasons) = table(&desired, &v1, &hosts);
    assert_eq!(starts, Vec::<String>::new());
    assert_eq!(reasons, "a1 unreachable, a2 too-many-unavailable");
    assert_eq!(left(&desired, &v1, &hosts), 0);
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
    assert_eq!(left(&desired, &v1, &hosts), 0);
}

#[test]
fn s10_one_down_and_a_budget_of_two_one_starts_in_order() {
    let (desired, v0, v1) = specs(TWO);
    let hosts = [host("a0", &v0).down(), host("a1", &v0), host("a2", &v0)];
    let (starts, reasons) = table(&desired, &v1, &hosts);
    assert_eq!(starts, ["a1"], "and a2 is next in line");
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

/// Whoever has to act is asked to act.
#[test]
fn a_host_that_has_failed_says_so_even_when_launches_on_it_come_to_nothing() {
    let (desired, v0, v1) = specs(TWO);
    let mut guard = Guard::new("c".into());
    let hosts = [
        host("a1", &v0).in_flight(&v1, &mut guard).failed().launched_in_vain(),
        host("a2", &v0).failed().launched_in_vain(),
        host("a3", &v0).launched_in_vain(),
    ];
    let told = "a1 failed, a2 failed, a3 backing-off";
    assert_eq!(table(&desired, &v1, &hosts), (vec![], told.to_owned()));
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
    assert_eq!((plan.summary.to_change, plan.summary.disrupted), (1, 1), "and it counts");
}

#[test]
fn s28_and_s30_what_is_equal_is_not_touched() {
    // The same written differently: a comment, another order, and the defaults spelled out.
    let written = |docker: &str, node: &str| {
        let text = format!(
            "# a comment\nspec:\n  docker: {docker}\n  calicoNode: {node}\n  rollout: {ONE}\n\
             metadata: {{name: test}}\nkind: Cluster\napiVersion: calico-dcos/v1\n"
        );
        read(&[Source::file("cluster.yaml", text)]).unwrap()
    };
    let desired = written("{}", "{image: \"calico/node:v1\"}");
    let has = spec_of(&desired);
    for (docker, node, restarts) in [
        (
            "{clusterStore: \"etcd://127.0.0.1:2379\", clusterStoreOpts: {}}",
            "{image: calico/node:v1}",
            0,
        ),
        ("{enabled: true}", "{enabled: true, env: {}, image: \"calico/node:v1\"}", 0),
        ("{clusterStore: \"etcd://10.0.0.1:2379\"}", "{image: calico/node:v1}", 1),
    ] {
        let desired = written(docker, node);
        let spec = Arc::new(spec_of(&desired));
        let hosts = [host("a0", &has)];
        let plan = full(&desired, &spec, &hosts);
        let docker_restarts = plan.summary.restarts.get(&Component::Docker).copied().unwrap_or(0);
        assert_eq!(docker_restarts, restarts, "{docker}");
        assert_eq!(plan.summary.in_sync, 1 - restarts, "{docker}");
        assert!(plan.hosts[0].assessment.work.ends.is_empty());
    }
}

#[test]
fn s36_of_ten_with_two_done_two_more_start() {
    let (desired, v0, v1) = specs(TWO);
    let hosts: Vec<Host> =
        (0..10).map(|n| host(&format!("a{n}"), if n < 2 { &v1 } else { &v0 })).collect();
    let (starts, _) = table(&desired, &v1, &hosts);
    assert_eq!(starts, ["a2", "a3"]);
    assert_eq!(full(&desired, &v1, &hosts).summary.waves, 4);
}

#[test]
fn s52_a_host_that_is_refused_is_told_who_holds_the_slots() {
    let (one, v0, v1) = specs(ONE);
    let (two, ..) = specs(TWO);
    let mut guard = Guard::new("c".into());
    let hosts = [host("b", &v0), host("a", &v0).in_flight(&v1, &mut guard)];
    let (starts, reasons) = table(&one, &v1, &hosts);
    assert_eq!((starts.len(), reasons.as_str()), (0, "b waiting-for-slot, a in-progress"));
    let said = |desired: &Desired, hosts: &[Host]| {
        let plan = full(desired, &v1, hosts);
        plan.hosts[0].reason.as_ref().unwrap().to_string()
    };
    assert_eq!(said(&one, &hosts), "1 of 1 slots are taken: a");
    assert_eq!(table(&two, &v1, &hosts).0, ["b"]);
    let mut many = vec![host("z", &v0)];
    many.extend(["c1", "c2", "c3", "c4"].map(|n| host(n, &v0).in_flight(&v1, &mut guard)));
    assert_eq!(said(&two, &many), "4 of 2 slots are taken: c1, c2, c3, …");
}

#[test]
fn s05_a_budget_lowered_below_those_in_flight_starts_none_and_stops_none() {
    let (zero, v0, v1) = specs("{maxConcurrentRestarts: 0}");
    let (one, ..) = specs(ONE);
    let (two, ..) = specs(TWO);
    let mut guard = Guard::new("c".into());
    let hosts = [host("a", &v0).in_flight(&v1, &mut guard), host("b", &v0), host("c", &v0)];
    for (desired, starts) in [(&zero, vec![]), (&one, vec![]), (&two, vec!["b"])] {
        assert_eq!(table(desired, &v1, &hosts).0, starts);
        let plan = full(desired, &v1, &hosts);
        assert_eq!(plan.hosts[0].reason.as_ref().unwrap().code(), "in-progress");
        assert!(plan.hosts[0].assessment.work.ends.is_empty());
    }
    let negative = "apiVersion: calico-dcos/v1\nkind: Cluster\nmetadata: {name: test}\nspec: \
                    {rollout: {maxConcurrentRestarts: -1}}\n";
    assert!(read(&[Source::file("c", negative)]).is_err());
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
    let mut hosts: Vec<Host> = (0..10).map(|n| host(&format!("a{n}"), &v0)).collect();
    hosts[0].excluded = true;
    hosts[1].excluded = true;
    let (starts, reasons) = table(&desired, &v1, &hosts);
    assert_eq!(starts, ["a2", "a3", "a4", "a5"], "half of eight, not of ten");
    assert!(reasons.starts_with("a0 excluded, a1 excluded, a6 waiting-for-slot"), "{reasons}");
    assert_eq!(full(&desired, &v1, &hosts).summary.slots, 4);

    hosts.truncate(4);
    hosts[1] = host("a1", &v0).condition(Condition::Deactivated);
    hosts[2] = host("a2", &v0).condition(Condition::Draining);
    let (starts, reasons) = table(&desired, &v1, &hosts);
    assert_eq!(starts, ["a3"]);
    assert_eq!(reasons, "a0 excluded, a1 blocked, a2 blocked");
    // Of the three that are registered and not excluded, rounded down.
    assert_eq!(full(&desired, &v1, &hosts).summary.slots, 1);
}

/// What is known of one host, and whether it may be moved: nothing said is never health.
#[test]
fn s19_only_a_host_that_is_active_and_has_spoken_is_moved() {
    use Condition::{Deactivated, Disconnected, Draining, Gone, Unreachable};
    let (desired, v0, v1) = specs(ONE);
    let silent = |mut host: Host| {
        host.record.reported = None;
        host
    };
    // It has a component of which it does not say how it is.
    let unsaid = |mut host: Host| {
        let facts = &mut host.record.reported.as_mut().unwrap().facts;
        facts.components.get_mut(&Component::CalicoNode).unwrap().health = Health::Unknown;
        host
    };
    let a = |has: &HostSpec| host("a", has);
    for (row, host, expected) in [
        (1, a(&v0), "moves"),
        (2, a(&v0).unwell(), "moves"),
        (4, silent(a(&v0)), "unknown"),
        (10, unsaid(a(&v1)), "unknown"),
        (11, silent(a(&v1)), "unknown"),
        (7, a(&v0).condition(Disconnected), "unreachable"),
        (8, a(&v0).condition(Unreachable), "unreachable"),
        (9, a(&v0).condition(Deactivated), "blocked"),
        (9, a(&v0).condition(Draining), "blocked"),
        (8, a(&v0).condition(Gone), "gone"),
        (8, silent(a(&v0)).condition(Unreachable), "unreachable"),
    ] {
        let hosts = [host];
        let (starts, reasons) = table(&desired, &v1, &hosts);
        let found = if starts.is_empty() { reasons } else { "a moves".to_owned() };
        assert_eq!(found, format!("a {expected}"), "row {row}");
        let plan = full(&desired, &v1, &hosts);
        assert_eq!(plan.summary.unknown, usize::from(expected == "unknown"), "row {row}");
    }
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
fn what_is_held_back_or_what_this_version_cannot_do_does_not_start() {
    for (rollout, code) in [
        ("{start: approved}", "waiting-for-approval"),
        ("{paused: true}", "paused"),
        (
            "{windows: [{days: [Mon], start: \"21:00\", end: \"05:00\", timezone: Europe/Berlin}]}",
            "waiting-for-window",
        ),
        ("{drain: {mode: maintenance}}", "waiting-for-gate"),
    ] {
        let (desired, v0, v1) = specs(rollout);
        let (starts, reasons) = table(&desired, &v1, &[host("a0", &v0)]);
        assert_eq!(starts, Vec::<String>::new(), "{rollout}");
        assert_eq!(reasons, format!("a0 {code}"), "{rollout}");
    }
}

#[test]
fn hosts_with_members_of_our_etcd_come_last_one_at_a_time_and_only_while_all_are_well() {
    let (desired, v0, v1) = specs("{maxConcurrentRestarts: 5}");
    let carries = |name: &str, member| Host { member: Some(member), ..host(name, &v0) };
    let hosts = || vec![carries("a1", "m1"), carries("a2", "m2"), host("a3", &v0)];
    let of = |unwell: Option<&str>| {
        let member = |name: &str| Member { name: name.into(), ..Member::default() };
        let ill = Member { unwell: unwell.map(str::to_owned), ..member("m2") };
        Members { members: vec![member("m1"), ill], unknown: None }
    };
    let table = |hosts: &[Host], members: &Members| {
        let asked = Asked { members: Some(members), ..Asked::default() };
        told(&plan_of(&desired, &v1, hosts, asked))
    };
    let (starts, reasons) = table(&hosts(), &of(None));
    assert_eq!(starts.join(" "), "a1 a3");
    assert_eq!(reasons, "a2 waiting-for-gate");
    let (starts, reasons) = table(&hosts(), &of(Some("does not answer")));
    assert_eq!(starts.join(" "), "a3");
    assert_eq!(reasons, "a1 waiting-for-gate, a2 waiting-for-gate");
    // One is in a restart.
    let mut guard = Guard::new("c".to_owned());
    let busy =
        [carries("a1", "m1"), carries("a2", "m2").reserved(&v1, &mut guard), host("a3", &v0)];
    let (starts, _) = table(&busy, &of(None));
    assert_eq!(starts.join(" "), "a3");
    // Nobody has been able to list them.
    let (starts, reasons) = table(&hosts(), &Members::default());
    assert_eq!(starts, Vec::<String>::new());
    assert_eq!(reasons.matches("waiting-for-gate").count(), 3);
    // With one slot, those without go first.
    let (desired, _, v1) = specs("{maxConcurrentRestarts: 1}");
    let members = of(None);
    let asked = Asked { members: Some(&members), ..Asked::default() };
    assert_eq!(told(&plan_of(&desired, &v1, &hosts(), asked)).0, ["a3"]);
}

#[test]
fn s21_hosts_go_by_their_attributes_one_value_after_the_other_and_the_controllers_own_last() {
    let (desired, v0, v1) = specs("{maxConcurrentRestarts: 3, order: [rack]}");
    let on = |name: &str, rack: &str| {
        let mut host = host(name, &v0);
        host.record.agent.attributes.insert("rack".to_owned(), rack.to_owned());
        host
    };
    let hosts = [host("a0", &v0), on("a1", "r10"), on("a2", "r2"), on("a3", "r2"), on("a4", "r10")];
    assert_eq!(table(&desired, &v1, &hosts).0, ["a1", "a2", "a3"], "r2 before r10, none last");
    let own = HostName::from("a2");
    let fleet = fleet(&desired, &v1, &hosts, Asked::default());
    let (starts, _) = told(&plan(&FleetView { own_host: Some(&own), ..fleet }));
    assert_eq!(starts, ["a1", "a3", "a4"]);
}

#[test]
fn s82_hosts_that_frameworks_were_told_of_go_first_and_nobody_goes_untold() {
    let (desired, v0, v1) = specs("{maxConcurrentRestarts: 2, drain: {mode: maintenance}}");
    let drain = &desired.cluster.spec.rollout.drain;
    let told = |name: &str, given| {
        let notice = Notice::new(&name.into(), [10, 0, 0, 1].into(), drain, NOW);
        Host { notice: Some(Notice { given, ..notice }), ..host(name, &v0) }
    };
    let hosts = [host("a0", &v0), told("a1", None), told("a2", Some(NOW)), host("a3", &v0)];
    let (starts, reasons) = table(&desired, &v1, &hosts);
    assert_eq!(starts, ["a2"]);
    let expected = "a0 waiting-for-slot, a1 waiting-for-gate, a3 waiting-for-slot";
    assert_eq!(reasons, expected, "a1 has its turn while it is told");
}

#[test]
fn s37_the_first_in_order_are_the_canaries_and_all_others_wait_for_them() {
    for (canary, expected) in [("{hosts: 1}", 1), ("{hosts: 30%}", 3), ("{hosts: 100%}", 10)] {
        let rollout =
            format!("{{maxConcurrentRestarts: 10, maxUnavailable: 10, canary: {canary}}}");
        let (desired, v0, v1) = specs(&rollout);
        let hosts: Vec<Host> = (0..10).map(|n| host(&format!("a{n}"), &v0)).collect();
        let (starts, reasons) = table(&desired, &v1, &hosts);
        let first: Vec<String> = (0..expected).map(|n| format!("a{n}")).collect();
        assert_eq!(starts, first, "{canary}");
        assert_eq!(reasons.matches("waiting-for-canary").count(), 10 - expected, "{reasons}");
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
