//! All of it taken off by the command, and installed again.

use std::process::{Command, Stdio};

use calico_dcos::plan::control::Control;
use calico_dcos::store::{Key, Space};
use calico_dcos::words::{Component, Generation};
use rustix::process::Signal;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::ChildStdout;

use crate::bench::{Bench, Controller, LEASE, Setting, counts, document, in_sync};
use crate::support::PATIENCE;
use crate::support::binary::ends;

fn teardown(bench: &Bench, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_calico-dcos"));
    command.arg("teardown").args(arguments).args(["--etcd-endpoints", &bench.etcd.endpoint()]);
    command
}

/// Nothing of ours is in force on any host, and none remembers us.
async fn nothing_is_left(bench: &Bench) {
    let left = bench
        .hosts(|cluster, _| {
            let hosts = cluster.hosts().iter();
            let ours = hosts.filter(|host| {
                host.journal().is_some()
                    || Component::ALL.into_iter().any(|it| host.in_force(it).is_some())
            });
            ours.map(|host| host.config().name.to_string()).collect::<Vec<_>>()
        })
        .await;
    assert_eq!(left, Vec::<String>::new());
}

async fn in_sync_at(bench: &Bench, generation: u64) {
    bench
        .until("in sync", |state| {
            state.generation() == Generation(generation) && in_sync(state) == 3
        })
        .await;
}

/// The command is started, the controller is stopped when asked for, and the command ends well; what it said.
async fn taken_off(bench: &Bench, controller: Controller, arguments: &[&str]) -> String {
    let mut process =
        teardown(bench, arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let ended = async {
        while !bench.store.list(Space::Desired).await.unwrap().entries.is_empty() {
            assert!(process.try_wait().unwrap().is_none(), "it waits for the controllers");
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, ended).await.unwrap();
    controller.signal(Signal::TERM);
    let out = tokio::task::spawn_blocking(move || process.wait_with_output().unwrap());
    let out = tokio::time::timeout(PATIENCE, out).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.success(), "{said}{}", String::from_utf8_lossy(&out.stderr));
    for part in ["The framework has ended", "Stop the controllers", "Done."] {
        assert!(said.contains(part), "{part} is missing: {said}");
    }
    let left = bench.store.list(Space::All).await.unwrap().entries;
    assert!(left.is_empty(), "{left:?}");
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn all_of_it_is_taken_off_within_the_budget_and_installed_again() {
    let bench = Bench::new(Setting { restart_seconds: 0.2, ..Setting::default() }).await;
    for _ in 0..2 {
        bench.put(&document("calico/node:v1")).await;
        let controller = bench.start();
        in_sync_at(&bench, 1).await;
        taken_off(&bench, controller, &["--yes"]).await;
        bench.no_breach().await;
        nothing_is_left(&bench).await;
    }
    let ended = bench.gate.look(counts).get("TEARDOWN").copied();
    assert!(ended >= Some(2), "each time the framework ended in Mesos: {ended:?}");
}

/// What it says until these words are in a line.
async fn until_said(lines: &mut Lines<BufReader<ChildStdout>>, words: &str) {
    let mut said = String::new();
    let found = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            said.push_str(&line);
            said.push('\n');
            if line.contains(words) {
                return true;
            }
        }
        false
    };
    let found = tokio::time::timeout(PATIENCE, found).await;
    assert_eq!(found, Ok(true), "never `{words}`: {said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_that_takes_over_is_waited_for_too_and_installs_nothing_anew() {
    let bench = Bench::new(Setting { restart_seconds: 0.2, ..Setting::default() }).await;
    let (first, second) = bench.two(LEASE).await;
    in_sync_at(&bench, 1).await;
    let mut command = tokio::process::Command::from(teardown(&bench, &["--yes"]));
    let mut process = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    until_said(&mut lines, "first still runs").await;
    let begun = |bench: &Bench| bench.gate.look(counts).get("SUBSCRIBE").copied();
    let (subscribed, launched) = (begun(&bench), bench.launched().await);

    first.signal(Signal::TERM);
    until_said(&mut lines, "second still runs").await;
    assert!(process.try_wait().unwrap().is_none(), "it waits for that one");
    let record = Key::Control(Control::Teardown.path());
    assert!(bench.store.get(&record).await.unwrap().is_some(), "by it the other one knows");
    assert!(bench.store.get(&Key::FrameworkId).await.unwrap().is_none());

    second.signal(Signal::TERM);
    until_said(&mut lines, "Done.").await;
    let ended = tokio::time::timeout(PATIENCE, process.wait()).await.unwrap().unwrap();
    assert!(ended.success(), "{ended}");
    assert_eq!((begun(&bench), bench.launched().await), (subscribed, launched), "nothing anew");
    let left = bench.store.list(Space::All).await.unwrap().entries;
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn s83_a_teardown_with_a_host_away_names_it_ends_and_is_over_and_the_next_framework_is_a_new_one()
 {
    let bench = Bench::new(Setting { restart_seconds: 0.2, ..Setting::default() }).await;
    // With one of three down nothing else would start.
    let text = document("calico/node:v1").replace("rollout: {", "rollout: {maxUnavailable: 3, ");
    bench.put(&text).await;
    let controller = bench.start();
    in_sync_at(&bench, 1).await;
    let framework = async || bench.store.get(&Key::FrameworkId).await.unwrap().map(|it| it.value);
    let first = framework().await;
    bench.hosts(|cluster, now| cluster.power_cut(now, &"a3".into(), 3_600_000)).await;
    bench.until("a host away", |state| in_sync(state) == 2).await;

    let (code, said) = ends(teardown(&bench, &["--yes"]));
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("a3: ") && said.contains("--leave-behind"), "{said}");
    assert!(first.is_some() && framework().await == first);

    let said = taken_off(&bench, controller, &["--yes", "--leave-behind"]).await;
    assert!(said.contains("a3: "), "{said}");
    let (code, said) = ends(teardown(&bench, &["--yes"]));
    assert_eq!((code, said.contains("Nothing of ours")), (Some(0), true), "{said}");

    bench.put(&text).await;
    let _controller = bench.start();
    bench.until("two hosts again", |state| in_sync(state) == 2).await;
    let second = framework().await;
    assert!(second.is_some() && second != first, "{first:?} {second:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_teardown_is_refused_cancelled_and_asked_for_in_plain_words() {
    let bench = Bench::new(Setting { restart_seconds: 0.2, ..Setting::default() }).await;
    let (code, said) = ends(teardown(&bench, &["--etcd-prefix", "/elsewhere"]));
    assert_eq!((code, said.contains("Nothing of ours")), (Some(0), true), "{said}");
    bench.put(&document("calico/node:v1")).await;
    let (code, said) = ends(teardown(&bench, &["--cancel"]));
    assert_eq!((code, said.contains("nothing is being taken off")), (Some(2), true), "{said}");
    // Where nobody can be asked it wants to be told.
    let (code, said) = ends(teardown(&bench, &[]));
    assert_eq!((code, said.contains("--yes")), (Some(2), true), "{said}");
    let mut process = teardown(&bench, &["--yes"]).stdout(Stdio::null()).spawn().unwrap();
    bench.until("it to be asked for", |state| state.controls.teardown.is_some()).await;
    process.kill().unwrap();
    process.wait().unwrap();
    let (code, said) = ends(teardown(&bench, &["--cancel"]));
    assert_eq!((code, said.contains("not taken off any further")), (Some(0), true), "{said}");
    let state = bench.state().await;
    assert!(state.controls.teardown.is_none());
    let text = &state.documents["cluster"].text;
    assert_eq!(calico_dcos::desired::value_at(text, "spec.docker.enabled"), Some(json!(false)));
}
