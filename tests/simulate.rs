//! Whole runs in virtual time. The numbers in the names are those of the acceptance scenarios.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::path::Path;

use calico_dcos::desired::Source;
use calico_dcos::sim::report::Report;
use calico_dcos::sim::run::{Options, World, read_documents};
use calico_dcos::sim::scenario::Scenario;
use calico_dcos::store::{Key, Space};
use calico_dcos::words::Component;

const CLUSTER: &str = r#"
apiVersion: calico-dcos/v1
kind: Cluster
metadata: {name: test}
spec:
  rollout: {maxConcurrentRestarts: BUDGET, maxUnavailable: 10, stabilitySeconds: 1, maxFailures: 9}
  etcdProxy: {upstream: {endpoints: ["http://10.0.0.1:2379"]}, binary: {path: /usr/bin/etcd}}
  docker: {ADVERTISE}
  mesosAgent: {networking: cni}
  calicoNode: {image: "calico/node:v2.6.12"}
"#;

fn cluster(budget: &str, advertise: &str) -> String {
    CLUSTER.replace("BUDGET", budget).replace("ADVERTISE", advertise)
}

fn world(scenario: &str, cluster: &str) -> World {
    let head = "apiVersion: calico-dcos/v1\nkind: Scenario\ndesired: []\n";
    let scenario = Scenario::read("test", &format!("{head}{scenario}")).unwrap();
    let documents = vec![("cluster.yaml".to_owned(), cluster.to_owned())];
    let mut world =
        World::new(&scenario, &documents, &Options { notes: true, ..Options::default() }).unwrap();
    world.run(scenario.until);
    world
}

fn run(scenario: &str, cluster: &str) -> Report {
    world(scenario, cluster).report()
}

/// What must hold whatever happens.
#[track_caller]
fn assert_safe(report: &Report) {
    let told = || {
        let lines = report.timeline.iter().map(|h| format!("{:9.3} {}", h.at, h.what));
        lines.collect::<Vec<_>>().join("\n")
    };
    assert_eq!(report.budget_breaches, 0, "{}", told());
    assert!(report.peak_disrupted <= report.budget, "{}", told());
    assert_eq!(report.second_supervisors, 0, "{}", told());
    assert_eq!(report.restarted_twice, 0, "{}", told());
}

#[track_caller]
fn assert_converged(report: &Report) {
    assert_safe(report);
    let odd: Vec<_> = report.hosts.iter().filter(|(_, end)| end.reason.is_some()).collect();
    let lines = report.timeline.iter().map(|h| format!("{:9.3} {}", h.at, h.what));
    assert!(report.converged, "{odd:?}\n{}", lines.collect::<Vec<_>>().join("\n"));
    let (launched, fewest) = (report.tasks_launched, report.tasks_minimum);
    assert!(launched >= fewest, "{launched} tasks were launched, and {fewest} were needed");
}

fn restarts(report: &Report, component: Component) -> u32 {
    report.restarts.get(&component).map_or(0, |hosts| hosts.values().sum())
}

/// Point 59 of `CHECKLIST.md`.
#[test]
fn a_fresh_cluster_converges_with_the_fewest_tasks_and_close_to_the_ideal() {
    let report =
        run("hosts: [{count: 50, name: \"a{n}\", restartSeconds: {median: 2}}]", &cluster("5", ""));
    assert_converged(&report);
    assert_eq!(report.peak_disrupted, 5);
    assert_eq!(report.tasks_launched, report.tasks_minimum);
    assert!(report.seconds / report.ideal_seconds <= 1.05, "{report:?}");
    assert_eq!(report.mesos_calls_after_convergence, 0);
    assert_eq!(report.etcd_writes_after_convergence, 0);
}

#[test]
fn with_cni_read_live_and_an_advertise_address_nothing_restarts() {
    let report = run(
        "mesos: {version: 1.11.0}\nhosts: [{count: 50, name: \"a{n}\"}]",
        &cluster("5", "clusterAdvertise: \"eth0:2376\""),
    );
    assert_converged(&report);
    assert_eq!(report.restarts, std::collections::BTreeMap::new());
    assert_eq!((report.peak_disrupted, report.seconds.to_string()), (0, "0".to_owned()));
    assert_eq!(report.tasks_launched, report.tasks_minimum);
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/faults.yaml");
    let bytes = || {
        let report = example(&path, None).report();
        serde_json::to_string_pretty(&report).unwrap()
    };
    assert_eq!(bytes(), bytes());
}

fn example(path: &Path, seed: Option<u64>) -> World {
    let text = std::fs::read_to_string(path).unwrap();
    let mut scenario = Scenario::read(&path.display().to_string(), &text).unwrap();
    scenario.seed = seed.unwrap_or(scenario.seed);
    let documents = read_documents(&scenario, path).unwrap();
    let mut world =
        World::new(&scenario, &documents, &Options { notes: true, ..Options::default() }).unwrap();
    world.run(scenario.until);
    world
}

#[test]
fn every_fault_of_the_example_is_survived_with_forty_seeds() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/faults.yaml");
    for seed in 0..40 {
        let report = example(&path, Some(seed)).report();
        println!("seed {seed}: {:.1} s, {} tasks", report.total_seconds, report.tasks_launched);
        assert_converged(&report);
    }
}

#[test]
fn the_index_of_a_pass_says_what_a_plan_made_from_nothing_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/faults.yaml");
    let scenario = Scenario::read("faults", &std::fs::read_to_string(&path).unwrap()).unwrap();
    let documents = read_documents(&scenario, &path).unwrap();
    let mut world = World::new(&scenario, &documents, &Options::default()).unwrap();
    let mut looks = 0;
    world.run_with(scenario.until, |world| {
        looks += 1;
        assert_eq!(world.indexes_agree(), Ok(()), "at look {looks}");
    });
    assert!(looks > 1_000);
}

#[test]
#[ignore = "long: ten thousand hosts, about a minute"]
fn long_ten_thousand_hosts_with_every_fault() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/ten-thousand.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    let scenario = Scenario::read("ten thousand", &text).unwrap();
    let documents = read_documents(&scenario, &path).unwrap();
    let mut world = World::new(&scenario, &documents, &Options::default()).unwrap();
    world.run(scenario.until);
    assert_converged(&world.report());
}

/// What faults cost is in no ideal: a leader that is dead, or an etcd that does not answer.
#[test]
#[ignore = "long: ten thousand hosts, about a minute"]
fn long_ten_thousand_hosts_without_faults_take_hardly_longer_than_the_ideal() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/ten-thousand.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    let mut scenario = Scenario::read("ten thousand", &text).unwrap();
    scenario.faults.clear();
    scenario.edits.clear();
    let documents = read_documents(&scenario, &path).unwrap();
    let mut world = World::new(&scenario, &documents, &Options::default()).unwrap();
    world.run(scenario.until);
    let report = world.report();
    assert_converged(&report);
    let (seconds, ideal) = (report.seconds, report.ideal_seconds);
    println!("{seconds} s of {ideal} s ideal");
    assert!(seconds <= 1.05 * ideal, "{seconds} s of {ideal} s");
    assert_eq!(report.tasks_launched, report.tasks_minimum);
}

#[test]
fn s01_percentages_are_rounded_down_and_give_at_least_one() {
    for (hosts, budget, expected) in [(4, "\"50%\"", 2), (4, "\"60%\"", 2), (3, "\"5%\"", 1)] {
        let scenario = format!("hosts: [{{count: {hosts}, name: \"a{{n}}\"}}]");
        let report = run(&scenario, &cluster(budget, ""));
        assert_converged(&report);
        assert_eq!((report.budget, report.peak_disrupted), (expected, expected));
    }
}

/// Point 55 of `CHECKLIST.md`.
#[test]
fn s31_all_that_changes_on_a_host_changes_under_one_slot_in_its_order() {
    use Component::{CalicoNode, Docker, EtcdProxy, MesosAgent};
    let world = world(
        "hosts: [{name: a, observed: {installed: true}}]\nedits:\n  - at: 30s\n    set:\n      \
         spec.calicoNode.image: \"calico/node:v2\"\n      \
         spec.mesosAgent.cni: {configDirectory: /etc/cni/other}\n      \
         spec.docker.clusterStore: \"etcd://10.0.0.9:2379\"\n      \
         spec.etcdProxy.binary.path: /opt/etcd\n",
        &cluster("1", ""),
    );
    let witness = world.cluster().hosts()[0].witness();
    let order: Vec<Component> = witness.restarts.iter().map(|r| r.component).collect();
    assert_eq!(order, [EtcdProxy, Docker, MesosAgent, CalicoNode]);
    let [hold] = &witness.holds[..] else { panic!("one slot for all of it: {witness:?}") };
    let last = witness.restarts.last().unwrap().at;
    assert!(hold.to.is_some_and(|to| to >= last.plus_ms(1_000)), "given back after the last");
    let slots = world.etcd().list(Space::Slots).entries;
    assert_eq!(slots.len(), 1, "there is the guard, and no slot: {slots:?}");
}

#[test]
fn s32_edits_within_the_settle_time_are_one_edit() {
    let report = run(
        "hosts: [{count: 6, name: \"a{n}\", observed: {installed: true}}]\nedits:\n  \
         - {at: 30s, set: {spec.calicoNode.image: \"calico/node:v1\"}}\n  \
         - {at: 30400ms, set: {spec.calicoNode.image: \"calico/node:v2\"}}\n  \
         - {at: 30800ms, set: {spec.calicoNode.image: \"calico/node:v3\"}}",
        &cluster("2", ""),
    );
    assert_converged(&report);
    let node = &report.restarts[&Component::CalicoNode];
    assert!(node.values().all(|restarts| *restarts == 1), "{node:?}");
    assert_eq!(node.len(), 6);
}

#[test]
fn s29_and_s79_an_edit_of_the_image_launches_one_task_a_host_and_restarts_no_service() {
    let scenario = "hosts: [{count: 8, name: \"a{n}\"}]\nedits:\n  \
                    - {at: 3m, set: {spec.calicoNode.image: \"calico/node:v2\"}}";
    let before = run("hosts: [{count: 8, name: \"a{n}\"}]", &cluster("2", ""));
    let after = run(scenario, &cluster("2", ""));
    assert_converged(&after);
    assert_eq!(after.tasks_launched - before.tasks_launched, 8);
    assert_eq!(after.tasks_launched, after.tasks_minimum);
    assert_eq!(restarts(&after, Component::Docker), restarts(&before, Component::Docker));
    assert_eq!(restarts(&after, Component::MesosAgent), restarts(&before, Component::MesosAgent));
}

#[test]
fn s33_five_hosts_two_at_a_time_are_started_two_two_one() {
    let report = run("hosts: [{count: 5, name: \"a{n}\"}]", &cluster("2", ""));
    assert_eq!(starts_by_wave(&report), [2, 2, 1]);
}

/// Slots reserved within the same second, wave by wave.
fn starts_by_wave(report: &Report) -> Vec<usize> {
    let mut waves: Vec<(f64, usize)> = Vec::new();
    for happening in report.timeline.iter().filter(|h| h.what.contains("slot reserved")) {
        match waves.last_mut() {
            Some((at, count)) if happening.at - *at < 1.0 => *count += 1,
            _ => waves.push((happening.at, 1)),
        }
    }
    waves.into_iter().map(|(_, count)| count).collect()
}

#[test]
fn s34_hosts_that_never_become_healthy_hold_their_slots_and_nobody_else_starts() {
    let faults: Vec<String> = (1..=5)
        .map(|n| format!("  - {{at: 0s, restartFails: {{host: a{n}, times: 99}}}}"))
        .collect();
    let scenario = format!(
        "hosts: [{{count: 5, name: \"a{{n}}\"}}]\nuntil: 60m\nfaults:\n{}",
        faults.join("\n")
    );
    let report = run(&scenario, &cluster("3", ""));
    assert_safe(&report);
    assert!(!report.converged);
    let touched = report.restarts[&Component::Docker].len();
    assert_eq!(touched, 3, "at most as many as there are slots are broken");
    let codes: Vec<_> = report.hosts.values().filter_map(|host| host.reason.as_deref()).collect();
    assert_eq!(codes, ["failed", "failed", "failed", "halted", "halted"]);
}

/// One failure in each batch of four: a count that begins anew with each batch would never halt.
#[test]
fn s44_failures_are_summed_over_the_whole_rollout() {
    let fails = |hosts: &[&str]| {
        let faults = hosts
            .iter()
            .map(|host| format!("  - {{at: 0s, restartFails: {{host: {host}, times: 99}}}}\n"));
        let faults: String = faults.collect();
        format!("hosts: [{{count: 16, name: \"a{{n}}\"}}]\nuntil: 60m\nfaults:\n{faults}")
    };
    let two = cluster("4", "").replace("maxFailures: 9", "maxFailures: 2");
    let report = run(&fails(&["a1"]), &two);
    assert_safe(&report);
    assert_eq!(report.restarts[&Component::Docker].len(), 16, "one failure halts nothing");
    let report = run(&fails(&["a1", "a5", "a9", "a13"]), &two);
    assert_safe(&report);
    let reasons = report.hosts.values().filter_map(|host| host.reason.as_deref());
    let mut counts = BTreeMap::<&str, u32>::new();
    reasons.for_each(|reason| *counts.entry(reason).or_default() += 1);
    // a9 has begun by then, and its next attempt is not made; a13 never begins.
    assert_eq!(counts, [("failed", 2), ("halted", 7)].into());
}

/// What the leader knows is half a minute old, in the middle of a rollout.
#[test]
fn s62_a_watch_that_is_late_or_compacted_breaks_no_budget_and_launches_nothing_twice() {
    for fault in ["watchLate: {for: 30s}", "etcdCompaction: {}"] {
        let scenario = format!(
            "hosts: [{{count: 6, name: \"a{{n}}\", restartSeconds: {{median: 5}}}}]\nuntil: 30m\n\
             faults:\n  - {{at: 4s, {fault}}}\n  - {{at: 9s, {fault}}}"
        );
        let report = run(&scenario, &cluster("2", ""));
        assert_converged(&report);
        assert_eq!(report.tasks_launched, report.tasks_minimum, "{fault}");
    }
}

#[test]
fn s36_new_hosts_that_need_no_restart_are_not_held_up_by_the_budget() {
    let scenario = "mesos: {version: 1.11.0}\nhosts:\n  \
         - {count: 10, name: \"a{n}\", observed: {installed: true}}\n  \
         - {count: 3, name: \"new{n}\"}";
    let report = run(scenario, &cluster("0", "clusterAdvertise: \"eth0:2376\""));
    assert_converged(&report);
    assert_eq!(report.peak_disrupted, 0);
    let with_restart = run(scenario, &cluster("0", ""));
    assert!(!with_restart.converged, "a restart of Docker is inside the budget, and it is zero");
}

#[test]
fn s59_a_leader_that_was_paused_wakes_up_and_does_no_harm() {
    let report = run(
        "hosts: [{count: 20, name: \"a{n}\"}]\nfaults:\n  - {at: 12s, controllerPaused: {for: 60s}}",
        &cluster("2", ""),
    );
    assert_converged(&report);
    assert_eq!(report.tasks_launched, report.tasks_minimum);
}

/// Points 16 and 24 of `CHECKLIST.md`.
#[test]
fn s57_and_s58_a_leader_killed_at_any_moment_of_a_rollout_loses_nothing() {
    for at in (5_000..9_000).step_by(23) {
        let scenario = format!(
            "hosts: [{{count: 4, name: \"a{{n}}\", restartSeconds: {{median: 1}}}}]\nfaults:\n  \
             - {{at: {at}ms, controllerCrash: {{for: 2s}}}}"
        );
        let report = run(&scenario, &cluster("1", ""));
        assert_converged(&report);
    }
}

/// Point 50 of `CHECKLIST.md`.
#[test]
fn s67_a_crash_while_a_host_restarts_starts_no_second_one() {
    let report = run(
        "hosts: [{count: 3, name: \"a{n}\", restartSeconds: {median: 30}}]\nfaults:\n  \
         - {at: 12s, controllerCrash: {for: 1s}}\n  - {at: 40s, controllerCrash: {for: 1s}}",
        &cluster("1", ""),
    );
    assert_converged(&report);
    assert_eq!(report.peak_disrupted, 1);
}

#[test]
fn point_36_nothing_begins_on_a_host_whose_maintenance_is_announced_and_all_others_go_on() {
    let report = run(
        "hosts: [{count: 3, name: \"a{n}\", restartSeconds: {median: 4}}]\nfaults:\n  \
         - {at: 5500ms, maintenance: {host: a1, for: 5m}}",
        &cluster("1", ""),
    );
    assert_converged(&report);
    let of = |what: &str| -> Vec<f64> {
        report.timeline.iter().filter(|h| h.what.starts_with(what)).map(|h| h.at).collect()
    };
    let [begun] = of("a1: slot reserved")[..] else { panic!("{:?}", report.timeline) };
    assert!(begun >= 305.0, "it began at {begun} s, and maintenance ends at 305.5 s");
    for host in ["a2", "a3"] {
        assert!(of(&format!("{host}: slot given back")).iter().all(|at| *at < 60.0));
    }
    assert_eq!(report.tasks_launched, report.tasks_minimum);
}

/// Nobody is told of anything that is not written down, at any moment.
fn drained(scenario: &str, rollout: &str) -> World {
    let head = "apiVersion: calico-dcos/v1\nkind: Scenario\ndesired: []\n";
    let scenario = Scenario::read("test", &format!("{head}{scenario}")).unwrap();
    let text = cluster("2", "").replace("rollout: {", &format!("rollout: {{{rollout}, "));
    let documents = vec![("cluster.yaml".to_owned(), text)];
    let options = Options { notes: true, ..Options::default() };
    let mut world = World::new(&scenario, &documents, &options).unwrap();
    world.run_with(scenario.until, |world| {
        for host in announced(world) {
            let notice = world.etcd().get(&Key::Notice(host.as_str().into()));
            assert!(notice.is_some() || host.starts_with('b'), "{host} is not written down");
        }
    });
    world
}

/// The machines in the maintenance schedule.
fn announced(world: &World) -> Vec<String> {
    let schedule = world.cluster().mesos.maintenance_schedule();
    let machines = schedule["windows"].as_array().into_iter().flatten();
    let machines = machines.filter_map(|window| window["machine_ids"][0]["hostname"].as_str());
    machines.map(str::to_owned).collect()
}

const DRAIN: &str = "drain: {mode: maintenance, waitSeconds: 20}";

#[test]
fn s82_frameworks_are_told_a_wave_ahead_so_that_slots_are_idle_only_at_first() {
    let mut world =
        drained("hosts: [{count: 8, name: \"a{n}\", restartSeconds: {median: 19}}]", DRAIN);
    assert_eq!(announced(&world), Vec::<String>::new());
    let report = world.report();
    assert_converged(&report);
    assert_eq!(report.tasks_launched, report.tasks_minimum);
    let of = |what: &str| -> BTreeMap<String, f64> {
        let told = report.timeline.iter().filter(|h| h.what.contains(what));
        told.map(|h| (h.what.split(':').next().unwrap().to_owned(), h.at)).collect()
    };
    let (told, begun) = (of("the frameworks are told"), of("slot reserved"));
    assert_eq!(begun.len(), 8);
    for (host, at) in &begun {
        assert!(at - told[host] >= 20.0, "{host} was told of at {} and began at {at}", told[host]);
    }
    // The first wave waits for its frameworks; those after it have been waiting meanwhile.
    let idle = report.seconds / report.ideal_seconds;
    assert!(
        idle < 1.15,
        "{} s of {} s {:#?}",
        report.seconds,
        report.ideal_seconds,
        report.timeline.iter().map(|h| format!("{:.1} {}", h.at, h.what)).collect::<Vec<_>>()
    );
}

#[test]
fn s82_no_fault_of_the_example_leaves_an_announcement_behind() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/faults.yaml");
    let limits = "maxFailures: 2}";
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(limits));
    let text = text.replace(limits, &format!("maxFailures: 9, {DRAIN}}}"));
    for seed in 1..=4 {
        let mut scenario = Scenario::read("faults", &text).unwrap();
        scenario.seed = seed;
        let documents = read_documents(&scenario, &path).unwrap();
        let options = Options { notes: true, ..Options::default() };
        let mut world = World::new(&scenario, &documents, &options).unwrap();
        world.run(scenario.until);
        assert_converged(&world.report());
        assert_eq!(announced(&world), Vec::<String>::new(), "seed {seed}");
    }
}

#[test]
fn s57_and_s82_a_leader_killed_at_any_moment_leaves_no_announcement_behind() {
    for at in (3_000..40_000).step_by(397) {
        let scenario = format!(
            "hosts: [{{count: 3, name: \"a{{n}}\", restartSeconds: {{median: 1}}}}, \
             {{count: 1, name: b1, observed: {{}}}}]\nfaults:\n  \
             - {{at: 2s, maintenance: {{host: b1, for: 60m}}}}\n  \
             - {{at: {at}ms, controllerCrash: {{for: 2s}}}}\nuntil: 10m"
        );
        let mut world =
            drained(&scenario, "drain: {mode: maintenance, waitSeconds: 3}, exclude: [b1]");
        assert_converged(&world.report());
        assert_eq!(announced(&world), ["b1"], "killed at {at} ms");
    }
}

#[test]
fn a_cluster_with_nothing_to_do_gets_observers_and_supervisors_and_no_change() {
    let report =
        run("hosts: [{count: 9, name: \"a{n}\", observed: {installed: true}}]", &cluster("1", ""));
    assert_converged(&report);
    assert_eq!(report.peak_disrupted, 0);
    // An observer, and the two supervisors that adopt what runs.
    assert_eq!(report.tasks_launched, 9 * 3);
}

#[test]
fn a_store_that_was_restored_does_not_wait_for_a_host_that_is_to_be_left_alone() {
    let cluster = cluster("1", "").replace("rollout: {", "rollout: {exclude: [a3], ");
    let scenario = "hosts: [{count: 3, name: \"a{n}\"}]\nfaults:\n  \
                    - {at: 90s, etcdRestored: {age: 10s, otherCluster: true}}";
    assert_converged(&run(scenario, &cluster));
}

#[test]
fn offers_that_were_promised_to_launches_etcd_did_not_confirm_are_used_for_others() {
    for at in (5_000..9_000).step_by(131) {
        let scenario = format!(
            "hosts: [{{count: 3, name: \"a{{n}}\", restartSeconds: {{median: 1}}}}]\nfaults:\n  \
             - {{at: {at}ms, answersLost: {{for: 300ms}}}}"
        );
        assert_converged(&run(&scenario, &cluster("1", "")));
    }
}

#[test]
fn documents_that_were_accepted_while_etcd_did_not_write_it_down_are_accepted_again() {
    let scenario = "hosts: [{count: 2, name: \"a{n}\", observed: {installed: true}}]\n\
                    edits:\n  - {at: 60s, set: {spec.calicoNode.image: \"calico/node:v2\"}}\n\
                    faults:\n  - {at: 62001ms, etcdDown: {for: 8s}}";
    assert_converged(&run(scenario, &cluster("1", "")));
}

#[test]
fn a_scenario_that_makes_no_sense_is_refused_with_the_reason() {
    let head = "apiVersion: calico-dcos/v1\nkind: Scenario\ndesired: []\n";
    for (text, part) in [
        ("hosts: []", "no hosts"),
        ("hosts: [{count: 2, name: a}]", "put `{n}`"),
        ("hosts: [{name: a}]\nfaults: [{at: 1s}]", "exactly one"),
        ("hosts: [{name: a}]\nfaults: [{at: 1s, hostGone: {host: b}}]", "`b`"),
        ("hosts: [{name: a}]\nfaults: [{at: soon, masterFailover: {}}]", "length of time"),
        ("hosts: [{name: a}]\nuntil: forever", "converged"),
        ("hosts: [{name: a, nmae: b}]", "nmae"),
    ] {
        let error = Scenario::read("s.yaml", &format!("{head}{text}")).unwrap_err().to_string();
        assert!(error.contains("s.yaml") && error.contains(part), "{text}: {error}");
    }
}

#[test]
fn the_examples_hold_good_documents() {
    for name in ["faults", "ten-thousand"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("examples/{name}.yaml"));
        let text = std::fs::read_to_string(&path).unwrap();
        let scenario = Scenario::read(name, &text).unwrap();
        let documents = read_documents(&scenario, &path).unwrap();
        let sources: Vec<Source> =
            documents.into_iter().map(|(label, text)| Source::file(label, text)).collect();
        calico_dcos::desired::read(&sources).unwrap();
    }
}

#[test]
fn the_controller_converges_whatever_the_version_of_the_master() {
    for version in ["1.0.4", "1.4.0", "1.9.0", "1.11.0"] {
        let scenario = format!(
            "seed: 3\nmesos: {{version: {version}}}\nhosts:\n  - {{count: 6, name: \"a{{n}}\"}}\n\
             faults:\n  - {{at: 10s, masterFailover: {{}}}}\n  \
             - {{at: 20s, hostDown: {{host: a3, for: 2m}}}}\nuntil: converged\n"
        );
        assert_converged(&run(&scenario, &cluster("2", "")));
    }
}
