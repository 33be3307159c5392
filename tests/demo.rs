//! The whole product on one machine, as `demo` runs it: real etcd, Mesos over HTTP, the controller
//! as a process. The verdict is the report, which says what the hosts saw.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "in a test they are assertions")]

#[expect(dead_code, reason = "other tests use more of it")]
mod support;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use serde_json::Value;

/// Runs the demo without faults, and reads its report.
fn demo(arguments: &[&str]) -> Value {
    let dir = tempfile::tempdir().unwrap();
    let report = dir.path().join("report.json");
    let output = Command::new(env!("CARGO_BIN_EXE_calico-dcos"))
        .args(["demo", "--no-faults", "--report"])
        .arg(&report)
        .args(arguments)
        .env("PATH", support::path_with_tools())
        .output()
        .expect("the demo runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&std::fs::read(report).unwrap()).expect("the report is JSON")
}

fn number(report: &Value, field: &str) -> f64 {
    report[field].as_f64().unwrap_or_else(|| panic!("{field} of {report}"))
}

#[test]
#[ignore = "long: half a minute of rollout and a minute of quiet"]
fn long_fifty_hosts_take_the_ideal_time_the_fewest_tasks_and_then_nothing() {
    let report = demo(&["--hosts", "50", "--budget", "5", "--restart-seconds", "2"]);
    assert_eq!(report["converged"], true);
    assert_eq!(report["peakDisrupted"], 5, "the budget is used, and never exceeded");
    assert_eq!(report["budgetBreaches"], 0);
    assert_eq!(report["tasksLaunched"], report["tasksMinimum"]);
    let ratio = number(&report, "seconds") / number(&report, "idealSeconds");
    println!("seconds / idealSeconds: {ratio:.3}");
    assert!(ratio <= 1.15, "{ratio}");
    // The demo watches for 60 s from SUPPRESS on.
    assert_eq!(report["mesosCallsAfterConvergence"], 0);
    assert_eq!(report["etcdWritesAfterConvergence"], 0);
}

#[test]
#[ignore = "long: a minute of quiet"]
fn long_a_modern_cluster_with_an_advertise_address_converges_without_any_restart() {
    let report = demo(&["--hosts", "50", "--mesos-version", "1.11.0", "--advertise"]);
    assert_eq!(report["converged"], true);
    assert_eq!(report["peakDisrupted"], 0);
    let restarts = report["restarts"].as_object().unwrap();
    for (service, hosts) in restarts {
        assert!(hosts.as_object().unwrap().is_empty(), "{service}: {hosts}");
    }
    assert_eq!(report["tasksLaunched"], report["tasksMinimum"]);
}

#[test]
fn a_demo_that_is_asked_to_end_takes_everything_down_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut demo = Command::new(env!("CARGO_BIN_EXE_calico-dcos"))
        .args(["demo", "--no-faults", "--hosts", "2", "--keep"])
        .env("PATH", support::path_with_tools())
        .env("TMPDIR", dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(demo.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(said.any(|line| line.contains("controller  process")), "it has started everything");
    let id = rustix::process::Pid::from_child(&demo);
    rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    assert!(said.any(|line| line.contains("all is taken down again")), "it says so");
    assert_eq!(demo.wait().unwrap().code(), Some(1));
    assert_eq!(dir.path().read_dir().unwrap().count(), 0, "nothing is left");
}
