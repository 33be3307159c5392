//! The product itself in the lab: the controller on this machine, and what it has hosts run. Each test
//! brings all hosts to what `cluster.yaml` declares, and what it changes is undone by the next one.

mod bare;
mod cut;
mod document;
mod drift;
mod guide;
mod install;
mod modules;
mod power;
mod predecessor;
mod proxy;
mod refused;
mod upgrade;

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use etcd_client::{Client, WatchOptions};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::time::timeout;

use crate::host::{Host, PATIENCE, gateway, get, share};
use document::Document;

/// A controller; it gives leadership back when it is dropped.
pub(crate) struct Controller(Child);

impl Controller {
    /// The program that hosts have, where they find it.
    fn start() -> Self {
        Self::of(&own_program(), &format!("http://{}:5060/calico-dcos", gateway()))
    }

    fn of(program: &Path, artifact: &str) -> Self {
        let log = File::options()
            .create(true)
            .append(true)
            .open(share().with_file_name("log/controller-of-tests.log"))
            .expect("a log");
        let mut command = Command::new(program);
        command
            .args(["run", "--allow-open-etcd", "--lease-seconds", "5"])
            .args(["--etcd-endpoints", &etcd()])
            .args(["--mesos-master", &format!("http://{}:5050", gateway())])
            .args(["--artifact-url", artifact]);
        Self(
            command.stdout(log.try_clone().expect("a log")).stderr(log).spawn().expect("it starts"),
        )
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        // It may have ended by itself; what matters then is told by the test.
        if let Some(pid) = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let _ = self.0.wait();
    }
}

fn own_program() -> PathBuf {
    share().join("bin/calico-dcos")
}

fn etcd() -> String {
    format!("http://{}:2379", gateway())
}

/// A command of the program.
fn program(command: &str) -> Command {
    let mut program = Command::new(own_program());
    program.args([command, "--etcd-endpoints", &etcd()]);
    program
}

fn output(command: &mut Command) -> String {
    let output = command.output().expect("the program");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// How a rollout has come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Over {
    Done,
    Halted,
}

/// Waits until what is declared is in force, or too much has failed.
async fn until_over() -> Over {
    let mut watch = tokio::process::Command::from(program("status"));
    watch.args(["--watch", "--until-done"]).kill_on_drop(true);
    let Ok(ended) = timeout(PATIENCE, watch.output()).await else {
        panic!("{}", output(&mut program("status")))
    };
    let ended = ended.expect("the program");
    match ended.status.code() {
        Some(0) => Over::Done,
        Some(3) => Over::Halted,
        _ => panic!("{ended:?}"),
    }
}

/// A controller, and all hosts as the document says.
async fn brought_to(document: &Document) -> Controller {
    let controller = Controller::start();
    document.apply();
    assert_eq!(until_over().await, Over::Done, "{}", status());
    controller
}

/// A controller, and all hosts as `cluster.yaml` says.
async fn as_declared() -> Controller {
    brought_to(&Document::lab()).await
}

/// `status`, as programs read it.
fn status() -> Value {
    serde_json::from_str(&output(program("status").args(["--output", "json"]))).unwrap_or_default()
}

/// Why a host is not in sync: the word, and the sentence.
fn reason(host: &Host) -> (String, String) {
    let status = status();
    let hosts = status["hosts"].as_array().cloned().unwrap_or_default();
    let own = hosts.into_iter().find(|entry| entry["name"] == host.0).unwrap_or_default();
    let text = |field: &str| own["reason"][field].as_str().unwrap_or_default().to_owned();
    (text("code"), text("text"))
}

/// The hosts that hold a slot.
fn holders() -> Vec<String> {
    let status = status();
    let slots = status["slots"].as_array().cloned().unwrap_or_default();
    slots.iter().filter_map(|slot| Some(slot["host"].as_str()?.to_owned())).collect()
}

/// What is in etcd, as `export` writes it.
fn export() -> Value {
    serde_json::from_str(&output(&mut program("export"))).expect("an export")
}

/// The facts that a host reported last.
fn facts(of: &Value, host: &Host) -> Value {
    of["hosts"][&host.0]["observed"]["reported"]["facts"].clone()
}

/// The newest attempt that was ordered on any host.
fn newest_attempt() -> u64 {
    export()["guard"]["attempt"].as_u64().unwrap_or_default()
}

/// Waits until what is in etcd is so: looks again whenever anything of ours changes there.
async fn until(what: &str, is: impl Fn(&Value) -> bool) -> Value {
    let mut client = Client::connect([etcd()], None).await.expect("etcd");
    let options = WatchOptions::new().with_prefix();
    let mut changes = client.watch("/calico-dcos/", Some(options)).await.expect("a watch");
    let become_so = async {
        loop {
            let now = export();
            if is(&now) {
                return now;
            }
            changes.message().await.expect("etcd");
        }
    };
    let waited = timeout(PATIENCE, become_so).await;
    waited.unwrap_or_else(|_| panic!("{what}: {}", output(&mut program("status"))))
}

/// All tasks that the master has ever known, by ID.
async fn tasks() -> BTreeSet<String> {
    let tasks = get(&format!("http://{}:5050/tasks", gateway())).await;
    let tasks = tasks["tasks"].as_array().cloned().unwrap_or_default();
    tasks.iter().filter_map(|task| Some(task["id"].as_str()?.to_owned())).collect()
}

/// What kinds of task were launched on a host since, sorted.
async fn launched(host: &Host, since: &BTreeSet<String>) -> Vec<String> {
    let mut kinds: Vec<String> = tasks()
        .await
        .difference(since)
        .filter_map(|id| id.split_once('.'))
        .filter(|(_, rest)| rest.starts_with(&format!("{}.", host.0)))
        .map(|(kind, _)| kind.to_owned())
        .collect();
    kinds.sort();
    kinds
}
