//! What cannot work is told at once, with the next thing to do.

use std::net::TcpListener;
use std::process::Command;

use crate::support::Etcd;
use crate::support::binary::{ends, nobody, run};

#[test]
fn without_etcd_there_is_one_clear_error() {
    let (code, said) = ends(run(&format!("http://{}", nobody()), "http://127.0.0.1:1"));
    assert_eq!(code, Some(4), "{said}");
    assert_eq!(said.lines().filter(|line| line.starts_with("error:")).count(), 1, "{said}");
    assert!(said.contains("does not answer; check that it runs"), "{said}");
}

#[test]
fn an_open_etcd_is_refused_unless_it_is_accepted() {
    let etcd = Etcd::start();
    let mut command = Command::new(env!("CARGO_BIN_EXE_calico-dcos"));
    command
        .args(["run", "--etcd-endpoints", &etcd.endpoint()])
        .args(["--mesos-master", "http://127.0.0.1:1"])
        .args(["--artifact-url", "http://demo.invalid/calico-dcos"]);
    let (code, said) = ends(command);
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("accept it with --allow-open-etcd"), "{said}");
}

#[test]
fn a_demo_that_cannot_work_says_so_before_it_starts_anything() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let jump = folder.path().join("jump.yaml").display().to_string();
    let scenario = "apiVersion: calico-dcos/v1\nkind: Scenario\nhosts: [{count: 1, name: a1}]\ndesired: []\n\
                    faults: [{at: 1s, clockJump: {seconds: -60}}]\n";
    std::fs::write(&jump, scenario).unwrap();
    for (arguments, code, hint) in [
        (vec!["--report", "/nowhere/at/all.json"], 4, "cannot write the report to `/nowhere"),
        (vec!["--mesos-listen", &taken], 4, "is in use; stop the program that listens there"),
        (vec!["--hosts", "0"], 2, "--hosts"),
        (vec!["--restart-seconds", "-1"], 2, "--restart-seconds"),
        (vec!["--scenario", "/nowhere.yaml"], 4, "cannot read `/nowhere.yaml`"),
        (vec!["--scenario", &jump], 2, "has the fault `clockJump`, which only"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_calico-dcos"));
        let temporary = tempfile::tempdir().unwrap();
        command.arg("demo").args(&arguments).env("TMPDIR", temporary.path());
        let (ended, said) = ends(command);
        assert_eq!(ended, Some(code), "{arguments:?}: {said}");
        assert!(said.contains(hint), "{arguments:?}: {said}");
        let left = temporary.path().read_dir().unwrap().count();
        assert_eq!(left, 0, "{arguments:?} left something behind: {said}");
    }
}
