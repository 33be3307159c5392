//! People who write to etcd with etcdctl, and what `diff` foretells of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use calico_dcos::clock;
use calico_dcos::observed::tasks::HostTasks;
use calico_dcos::rollout::records::{Rendered, Stage};
use calico_dcos::store::{Change, Key, Snapshot, Space, StoreEvent};
use calico_dcos::surface::state::State;
use calico_dcos::surface::view::View;
use calico_dcos::words::{Generation, HostName, TaskId, TaskKind};
use serde_json::{Value, json};
use tokio::sync::mpsc::Receiver;

use crate::bench::{Bench, Setting, document, in_sync};
use crate::support::PATIENCE;
use crate::support::binary::nobody;

fn rendered(snapshot: &Snapshot) -> BTreeMap<HostName, Rendered> {
    let entries = snapshot.entries.iter().filter_map(|entry| match &entry.key {
        Key::Rendered(host) => Some((host.clone(), serde_json::from_str(&entry.value).unwrap())),
        _ => None,
    });
    entries.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_put_into_etcd_by_hand_is_rolled_out_and_an_invalid_one_changes_nothing() {
    let bench = Bench::new(Setting { restart_seconds: 0.2, ..Setting::default() }).await;
    bench.put(&document("calico/node:v1")).await;
    let controller = bench.start();
    bench.until("in sync", |state| in_sync(state) == 3).await;

    bench.put(&document("calico/node:v2")).await;
    let state = bench
        .until("in sync with the next", |state| {
            state.generation() == Generation(2) && in_sync(state) == 3
        })
        .await;
    let before = rendered(&bench.store.list(Space::All).await.unwrap());
    let view = View::new(state, Vec::new(), clock::now()).unwrap();
    let wanted: BTreeMap<_, _> = view.rendered().map(|(name, it)| (name.clone(), it)).collect();
    assert_eq!(before, wanted);

    let launched = bench.launched().await;
    let leader = bench.state().await.leader;
    bench.put("apiVersion: calico-dcos/v1\nkind: Cluster\nspec: {calicoNod: {}}\n").await;
    drop(controller);
    let _controller = bench.start();
    bench.until("another leader", |state| state.leader.is_some() && state.leader != leader).await;
    let state = bench.state().await;
    assert_eq!(state.generation(), Generation(2));
    assert!(View::new(state, Vec::new(), clock::now()).unwrap().refused.is_some());
    assert_eq!(rendered(&bench.store.list(Space::All).await.unwrap()), before);
    assert_eq!(bench.launched().await, launched);

    // Had the invalid one been accepted, this would be the fourth.
    bench.put(&document("calico/node:v3")).await;
    bench
        .until("in sync with the last", |state| {
            state.generation() == Generation(3) && in_sync(state) == 3
        })
        .await;
}

/// The tasks that are written down for a launch from now on.
struct Launches {
    watch: Receiver<StoreEvent>,
    before: BTreeSet<TaskId>,
    seen: BTreeMap<TaskId, (HostName, TaskKind)>,
}

impl Launches {
    async fn begin(bench: &Bench) -> Self {
        let watch = bench.store.watch();
        let mut launches = Self { watch, before: BTreeSet::new(), seen: BTreeMap::new() };
        launches.read().await;
        launches.before = launches.seen.keys().cloned().collect();
        launches
    }

    async fn read(&mut self) {
        let entries = match self.watch.recv().await.expect("the watch goes on") {
            StoreEvent::Listed(snapshot) => snapshot.entries,
            StoreEvent::Changed { changes, .. } => {
                let puts = changes.into_iter().filter_map(|change| match change {
                    Change::Put(entry) => Some(entry),
                    Change::Deleted { .. } => None,
                });
                puts.collect()
            }
            StoreEvent::Lost { why } => panic!("{why}"),
        };
        for entry in entries {
            let Key::Tasks(host) = entry.key else { continue };
            let tasks: HostTasks = serde_json::from_str(&entry.value).unwrap();
            let tasks = tasks.tasks.into_iter();
            self.seen.extend(tasks.map(|(kind, task)| (task.id, (host.clone(), kind))));
        }
    }

    /// Those that came until etcd says what is hoped for, sorted.
    async fn until(
        mut self,
        bench: &Bench,
        hope: impl Fn(&State) -> bool,
    ) -> Vec<(HostName, TaskKind)> {
        let watching = async {
            while !hope(&bench.state().await) {
                self.read().await;
            }
        };
        tokio::time::timeout(PATIENCE, watching).await.expect("it comes to its end");
        self.seen.retain(|id, _| !self.before.contains(id));
        let mut launched: Vec<_> = self.seen.into_values().collect();
        launched.sort();
        launched
    }
}

/// What a command of the tool prints, and its exit code.
fn tool(etcd: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_calico-dcos"));
    let command = command.args(arguments).env("CALICO_DCOS_ETCD_ENDPOINTS", etcd);
    let output = tokio::task::block_in_place(|| command.output()).unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

/// What stands below `rendered/`, as an operator reads it with etcdctl: the components by host.
fn rendered_by_etcdctl(endpoint: &str) -> BTreeMap<String, Value> {
    let unpacked = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/bin/etcdctl");
    let program = if unpacked.is_file() { unpacked } else { "etcdctl".into() };
    let prefix = "/calico-dcos/rendered/";
    let mut command = Command::new(program);
    command.args(["--endpoints", endpoint, "get", "--prefix", prefix]).env("ETCDCTL_API", "3");
    let output = tokio::task::block_in_place(|| command.output()).unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let pairs = lines.chunks(2).map(|pair| {
        let record: Value = serde_json::from_str(pair[1]).unwrap();
        (pair[0].strip_prefix(prefix).unwrap().to_owned(), record["components"].clone())
    });
    pairs.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn s77_s79_what_diff_prints_is_launched_by_apply_and_nothing_else_and_then_nothing() {
    let bench = Bench::new(Setting { hosts: 4, restart_seconds: 0.2, ..Setting::default() }).await;
    let etcd = bench.etcd.endpoint();
    let files = tempfile::tempdir().unwrap();
    let file = |name: &str, text: String| {
        let path = files.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let go = document("calico/node:v1");
    let paused = file("paused.yaml", go.replace("rollout: {", "rollout: {paused: true, "));
    let next = file("next.yaml", document("calico/node:v2"));
    let (go, bad) = (file("go.yaml", go), file("bad.yaml", "kind: Cluster\n".to_owned()));
    assert_eq!(tool(&etcd, &["apply", "-f", &paused]).0, Some(0));
    let _controller = bench.start();
    bench
        .until("everything known", |state| {
            let view = View::new(state.clone(), Vec::new(), clock::now());
            view.is_ok_and(|view| {
                let summary = view.plan().summary;
                view.documents_in_force() && (summary.hosts, summary.unknown) == (4, 0)
            })
        })
        .await;

    for (file, tasks, generation) in [(&go, 8, Generation(1)), (&next, 4, Generation(2))] {
        let (code, json) = tool(&etcd, &["diff", "-f", file, "-o", "json"]);
        let plan: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(code, Some(1), "there are differences");
        let printed: Vec<(HostName, TaskKind)> = plan["hosts"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|host| {
                let kinds: Vec<TaskKind> = serde_json::from_value(host["tasks"].clone()).unwrap();
                let name = HostName::from(host["name"].as_str().unwrap());
                kinds.into_iter().map(move |kind| (name.clone(), kind))
            })
            .collect();
        assert_eq!((printed.len(), &plan["summary"]["tasks"]), (tasks, &json!(tasks)));

        let before = bench.launched().await;
        let hope = |state: &State| {
            let done =
                matches!(state.rollout.as_ref().map(|it| &it.stage), Some(Stage::Done { .. }));
            state.generation() == generation && in_sync(state) == 4 && done
        };
        let revision = plan["revision"].to_string();
        let watching = Launches::begin(&bench).await;
        let (code, said) = tool(&etcd, &["apply", "-f", file, "--if-revision", &revision]);
        assert_eq!(code, Some(0), "{said}");
        let launched = watching.until(&bench, hope).await;
        assert_eq!(launched, printed);
        assert_eq!(bench.launched().await - before, tasks as u64);
    }

    let (before, launched) = (bench.state().await, bench.launched().await);
    let (code, text) = tool(&etcd, &["diff"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("4 hosts: 4 in sync") && !text.contains("launch"), "{text}");
    let (code, text) = tool(&etcd, &["apply", "-f", &next]);
    assert!(code == Some(0) && text.contains("Nothing to write"), "{text}");
    assert_eq!(bench.state().await.revision, before.revision);
    assert_eq!(bench.launched().await, launched);

    let plan: Value = serde_json::from_str(&tool(&etcd, &["diff", "-o", "json"]).1).unwrap();
    let hosts = plan["hosts"].as_array().unwrap().iter();
    let wanted: BTreeMap<String, Value> = hosts
        .map(|host| (host["name"].as_str().unwrap().to_owned(), host["wanted"].clone()))
        .collect();
    assert_eq!((wanted.len(), &rendered_by_etcdctl(&etcd)), (4, &wanted));

    assert_eq!(tool(&etcd, &["diff", "-f", &bad]).0, Some(2), "an error is not a difference");
    assert_eq!(tool(&format!("http://{}", nobody()), &["diff"]).0, Some(4));
}
