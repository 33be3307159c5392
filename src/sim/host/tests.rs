//! The host's model: what its steps stop, its stories, and random histories.

mod histories;

use super::*;
use crate::desired::{Docker, MesosAgent};
use crate::job::Finding;
use crate::job::order::{Change, Ending, FromHost, WIRE_VERSION, Work};
use crate::job::samples::{self, HOST, change, spec, target};
use crate::observed::facts::{JournalFacts, JournalState};
use crate::words::Component::{CalicoNode, EtcdProxy, MesosAgent as Agent};
use crate::words::TaskPhase::{Failed, Finished, Killed, Running, Starting};
use crate::words::{Attempt, TaskId, TaskPhase};

const DOCKER: Component = Component::Docker;

/// One host, its time, and a controller that says yes when told to.
struct Story {
    host: HostModel,
    now: Time,
    seen: Vec<HostOutput>,
}

impl Story {
    fn of(config: HostConfig) -> Self {
        Self { host: HostModel::new(config), now: Time(0), seen: Vec::new() }
    }

    fn new() -> Self {
        Self::of(HostConfig::new(HOST))
    }

    fn give(&mut self, input: ToExecutor) -> &mut Self {
        self.host.handle(self.now, input);
        self.look()
    }

    fn look(&mut self) -> &mut Self {
        self.seen.extend(self.host.drain());
        self
    }

    fn launch(&mut self, task: &str, work: Work) -> &mut Self {
        let (task, data) = (TaskId::from(task), samples::job(work));
        self.give(ToExecutor::Launch { task, data })
    }

    fn observe(&mut self) -> &mut Self {
        self.launch("o", Work::Observe { confirm_seconds: 60 })
    }

    fn change(&mut self, task: &str, change: Change) -> &mut Self {
        self.launch(task, Work::Change(change))
    }

    fn yes(&mut self, attempt: u64, run: u64) -> &mut Self {
        let (version, attempt) = (WIRE_VERSION, Attempt(attempt));
        let message = ToHost::Admitted { version, attempt, run: run_of(run) };
        self.give(ToExecutor::Message(message.to_bytes().expect("it is JSON")))
    }

    fn pass(&mut self, ms: u64) -> &mut Self {
        self.now = self.now.plus_ms(ms);
        self.host.advance(self.now);
        self.look()
    }

    fn saw(&mut self) -> Vec<HostOutput> {
        std::mem::take(&mut self.seen)
    }

    fn updates(&mut self) -> Vec<(String, TaskPhase)> {
        let update = |output| match output {
            HostOutput::Executor(FromExecutor::Update { task, state, .. }) => Some((task.0, state)),
            _ => None,
        };
        self.saw().into_iter().filter_map(update).collect()
    }

    fn signals(&mut self) -> Vec<HostSignal> {
        let signal = |output| match output {
            HostOutput::Signal(signal) => Some(signal),
            HostOutput::Executor(_) => None,
        };
        self.saw().into_iter().filter_map(signal).collect()
    }

    fn ending(&mut self) -> Option<Ending> {
        let ended = |output| match output {
            HostOutput::Executor(FromExecutor::Update { data: Some(data), .. }) => {
                match FromHost::from_bytes(&data) {
                    Ok(FromHost::Ended { ending, .. }) => Some(ending),
                    _ => None,
                }
            }
            _ => None,
        };
        self.saw().into_iter().find_map(ended)
    }

    fn hold_ms(&self) -> Vec<Option<u64>> {
        let holds = self.host.witness().holds.iter();
        holds.map(|hold| Some(hold.to?.since(hold.from))).collect()
    }
}

fn run_of(number: u64) -> Run {
    Run(format!("{HOST}-0-run{number}"))
}

fn updates(expected: &[(&str, TaskPhase)]) -> Vec<(String, TaskPhase)> {
    expected.iter().map(|(task, state)| ((*task).to_owned(), *state)).collect()
}

fn advertised() -> ComponentSpec {
    let advertise = serde_json::json!({"clusterAdvertise": "eth0:2376"});
    let docker: Docker = serde_json::from_value(advertise).expect("a sample is valid");
    spec(DOCKER, Spec::Docker(docker))
}

fn net_modules() -> ComponentSpec {
    let from = serde_json::json!({"path": "/opt/net-modules/a.so"});
    let section = serde_json::json!({
        "networking": "netModules",
        "netModules": {"library": from, "plugin": {"path": "/opt/calico-mesos/plugin"}},
    });
    let agent: MesosAgent = serde_json::from_value(section).expect("a sample is valid");
    spec(Agent, Spec::MesosAgent(agent))
}

fn with_docker(version: &str, change: fn(&mut DockerFacts)) -> HostConfig {
    let mut config = HostConfig::new(HOST);
    if let Some(docker) = &mut config.docker {
        version.clone_into(&mut docker.version);
        change(docker);
    }
    config
}

fn with_mesos(version: &str) -> HostConfig {
    HostConfig { mesos_version: version.to_owned(), ..HostConfig::new(HOST) }
}

#[test]
fn a_step_stops_what_it_would_stop_in_the_world() {
    let off = |component| spec(component, Spec::Off);
    let live = Finding::Ready { disrupts: false };
    let stops = Finding::Ready { disrupts: true };
    let fresh = || HostConfig::new(HOST);
    let cases = [
        ("no store yet, advertised", fresh(), DOCKER, advertised(), &live),
        ("not advertised", fresh(), DOCKER, target(DOCKER, 1), &stops),
        ("1.11 reloads", with_docker("1.11.2", |_| ()), DOCKER, advertised(), &live),
        ("1.10 does not", with_docker("1.10.3", |_| ()), DOCKER, advertised(), &stops),
        ("17.03 reloads", with_docker("17.03.2-ce", |_| ()), DOCKER, advertised(), &live),
        (
            "a store in force",
            with_docker("20.10.1", |docker| docker.cluster_store = Some("zk://z".into())),
            DOCKER,
            advertised(),
            &stops,
        ),
        ("CNI is read live", with_mesos("1.2.0"), Agent, target(Agent, 1), &live),
        ("CNI before 1.2", with_mesos("1.1.0"), Agent, target(Agent, 1), &stops),
        ("net-modules", with_mesos("0.28.2"), Agent, net_modules(), &stops),
        ("a first start", fresh(), CalicoNode, target(CalicoNode, 1), &live),
        ("nothing to take off", fresh(), CalicoNode, off(CalicoNode), &Finding::InForce),
    ];
    for (name, config, component, target, expected) in cases {
        let host = HostModel::new(config);
        assert_eq!(host.machine.look(&StepOrder { component, target }), *expected, "{name}");
    }

    let mut host = HostModel::new(fresh());
    for component in Component::ALL {
        host.install(component, &target(component, 1));
    }
    for component in [EtcdProxy, DOCKER, CalicoNode] {
        for (target, expected) in [
            (target(component, 1), &Finding::InForce),
            (target(component, 2), &stops),
            (off(component), &stops),
        ] {
            assert_eq!(host.machine.look(&StepOrder { component, target }), *expected);
        }
    }
}

/// Point 54 of `CHECKLIST.md`.
#[test]
fn what_cannot_be_changed_is_refused_and_reported_as_blocked() {
    for config in
        [with_docker("23.0.1", |_| ()), with_docker("20.10.1", |docker| docker.swarm = true)]
    {
        let host = HostModel::new(config);
        assert_eq!(host.facts().blocked.keys().collect::<Vec<_>>(), [&DOCKER]);
        let step = StepOrder { component: DOCKER, target: advertised() };
        assert!(matches!(host.machine.look(&step), Finding::Refused { .. }));
    }
    assert!(HostModel::new(HostConfig::new(HOST)).facts().blocked.is_empty());
    let step = StepOrder { component: Agent, target: target(Agent, 1) };
    let old = HostModel::new(with_mesos("0.28.2"));
    assert!(matches!(old.machine.look(&step), Finding::Refused { .. }));
}

/// Point 49 of `CHECKLIST.md`.
#[test]
fn a_change_is_asked_for_admitted_carried_out_and_reported() {
    let mut story = Story::of(with_mesos("1.1.0"));
    story.observe().change("c", change(5, true, &[DOCKER, Agent]));
    assert_eq!(story.signals(), [HostSignal::ExecutorUp]);
    assert!(!story.host.disrupted(), "not without a yes");

    story.yes(5, 1);
    assert!(story.host.disrupted());
    // Docker and agent share the eight seconds of a restart, then comes the stability time.
    assert_eq!(story.pass(3_999).signals(), []);
    assert_eq!(story.pass(1).signals(), [HostSignal::AgentStopped]);
    assert_eq!(story.pass(1_000).signals(), [HostSignal::AgentStarted]);
    story.pass(3_000 + 29_999);
    assert!(story.host.disrupted());
    assert_eq!(story.pass(1).updates(), updates(&[("o", Running), ("c", Finished)]));
    assert_eq!(story.hold_ms(), [Some(38_000)]);

    let witness = story.host.witness();
    assert_eq!((witness.restarts_of(DOCKER), witness.restarts_of(Agent)), (1, 1));
    assert_eq!(story.host.in_force(Agent), Some(target(Agent, 1).hash));
    let idle_until = story.host.next_deadline();
    assert_eq!(idle_until, Some(Time(38_000 + 60_000)), "only the next confirmation");
}

#[test]
fn a_change_that_stops_nothing_needs_nobody() {
    let mut story = Story::new();
    let supervise = Work::Supervise {
        component: CalicoNode,
        target: target(CalicoNode, 1),
        change: Some(change(5, false, &[CalicoNode])),
    };
    story.launch("n", supervise).pass(20 + 30_000);
    assert_eq!(story.updates(), updates(&[("n", Starting), ("n", Running)]));
    assert_eq!(story.host.in_force(CalicoNode), Some(target(CalicoNode, 1).hash));
    assert_eq!(story.hold_ms(), []);
    // Killing the task does not stop what it supervises.
    assert_eq!(story.give(ToExecutor::Kill("n".into())).updates(), updates(&[("n", Killed)]));
    assert!(story.host.in_force(CalicoNode).is_some());
}

/// Point 54 of `CHECKLIST.md`.
#[test]
fn a_restart_that_fails_is_undone_and_said() {
    let mut story = Story::new();
    story.host.fail_next_restarts(1, "the daemon does not start");
    story.change("c", change(5, true, &[DOCKER])).yes(5, 1).pass(16_000);
    let why = "docker: the daemon does not start".to_owned();
    let journal =
        JournalFacts { attempt: Attempt(5), run: run_of(1), state: JournalState::Undone { why } };
    assert_eq!(story.ending(), Some(Ending::Journal { journal }));
    assert_eq!(story.hold_ms(), [Some(16_000)], "down, and down again to put it back");
    assert_eq!(story.host.in_force(DOCKER), None);

    story.change("again", change(6, true, &[DOCKER])).yes(6, 1).pass(38_000);
    assert_eq!(story.updates().last(), updates(&[("again", Finished)]).first());
    assert_eq!(story.host.witness().restarted_twice, 0, "the failure is the reason");
}

#[test]
fn a_power_cut_in_the_middle_is_finished_by_the_boot_unit() {
    let mut story = Story::new();
    story.observe().change("c", change(5, true, &[DOCKER])).yes(5, 1).pass(4_000).saw();
    story.host.power_off(story.now);
    assert_eq!(story.look().signals(), [HostSignal::MachineDown]);
    assert_eq!(story.pass(60_000).saw(), []);
    assert!(story.host.disrupted(), "its journal is open");

    story.host.power_on(story.now);
    assert_eq!(story.look().signals(), [HostSignal::MachineUp]);
    story.pass(30_000);
    assert!(!story.host.disrupted());
    assert_eq!(story.host.witness().restarts.len(), 1, "booting with it was its restart");

    // The next executor tells, and answers the same attempt from the journal.
    story.observe().change("c2", change(5, true, &[DOCKER]));
    let expected = [("o", Starting), ("o", Running), ("c2", Starting), ("c2", Finished)];
    assert_eq!(story.updates(), updates(&expected));
}

#[test]
fn a_unit_outlives_its_executor() {
    let mut story = Story::new();
    story.change("c", change(5, true, &[DOCKER])).yes(5, 1).pass(1_000).saw();
    story.host.kill_executor();
    assert_eq!(story.look().saw(), [HostOutput::Executor(FromExecutor::Exited)]);
    // A new executor starts the unit of the open journal; the one at work is not doubled.
    story.observe().pass(37_000);
    assert!(!story.host.disrupted());
    assert_eq!(story.host.witness().restarts_of(DOCKER), 1);
}

#[test]
fn drift_is_reported_at_once() {
    let mut story = Story::new();
    story.host.install(CalicoNode, &target(CalicoNode, 1));
    story.observe().saw();
    story.host.drift(story.now, CalicoNode);
    assert_eq!(story.look().updates(), updates(&[("o", Running)]));
    assert_eq!(story.host.in_force(CalicoNode), None);
}

#[test]
fn the_witness_counts_what_must_not_happen() {
    let mut story = Story::new();
    let supervise =
        || Work::Supervise { component: CalicoNode, target: target(CalicoNode, 1), change: None };
    story.launch("first", supervise()).launch("second", supervise());
    assert_eq!(story.host.witness().second_supervisors, 1);
    assert_eq!(story.updates().last(), updates(&[("second", Failed)]).first());

    let mut witness = Witness::default();
    let (run, hash) = (run_of(1), |version| Some(target(DOCKER, version).hash));
    for version in [1, 2, 1] {
        witness.stopped(Time(0), (Attempt(1), &run), DOCKER, hash(version));
    }
    assert_eq!(witness.restarted_twice, 0, "there and back again is no repetition");
    witness.stopped(Time(0), (Attempt(2), &run), DOCKER, hash(1));
    assert_eq!(witness.restarted_twice, 1);
    witness.fault();
    witness.stopped(Time(0), (Attempt(3), &run), DOCKER, hash(1));
    assert_eq!(witness.restarted_twice, 1);
}
