//! The real binary against a real etcd and the simulated Mesos over HTTP: what only shows when
//! processes are killed, addresses are wrong, and people write to etcd by hand.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "in a test they are assertions")]

#[expect(dead_code, reason = "other tests use more of it")]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use calico_dcos::cli::state::State;
use calico_dcos::cli::view::View;
use calico_dcos::clock;
use calico_dcos::desired::{Source, read};
use calico_dcos::observed::tasks::HostTasks;
use calico_dcos::rollout::records::{Rendered, Stage};
use calico_dcos::sim::cluster::Cluster;
use calico_dcos::sim::host::HostModel;
use calico_dcos::sim::mesos::http::SimServer;
use calico_dcos::sim::town::Town;
use calico_dcos::store::{Change, EtcdOptions, EtcdStore, Key, Space, StoreEvent, Txn};
use calico_dcos::words::{Generation, HostName, TaskId, TaskKind};
use serde_json::{Value, json};
use support::binary::{ends, nobody, run};
use support::{Etcd, PATIENCE};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc::Receiver;

const BINARY: &str = env!("CARGO_BIN_EXE_calico-dcos");

/// Hosts that need a restart each; the image can be put in.
fn document(image: &str) -> String {
    format!(
        "# by hand\napiVersion: calico-dcos/v1\nkind: Cluster\nmetadata: {{name: test}}\nspec:\n  \
         rollout: {{maxConcurrentRestarts: 10, stabilitySeconds: 0, settleSeconds: 0}}\n  \
         docker: {{clusterStore: etcd://127.0.0.1:2379}}\n  \
         calicoNode: {{image: \"{image}\"}}\n"
    )
}

/// A controller's process; killed when dropped.
struct Controller(Child);

impl Drop for Controller {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Everything around the controller.
struct Bench {
    etcd: Etcd,
    store: EtcdStore,
    mesos: SimServer<Town>,
}

impl Bench {
    async fn new(hosts: u32, restart_seconds: f64) -> Self {
        let scenario = json!({
            "apiVersion": "calico-dcos/v1", "kind": "Scenario", "desired": [],
            "mesos": {"version": "1.1.0"},
            "hosts": [{"count": hosts, "name": "a{n}",
                       "restartSeconds": {"median": restart_seconds, "sigma": 0.3}}],
        });
        let desired = read(&[Source::file("cluster", document("calico/node:v1"))]).unwrap();
        let town = Town::new(&serde_json::from_value(scenario).unwrap(), desired, clock::now());
        let any: SocketAddr = ([127, 0, 0, 1], 0).into();
        let mesos = SimServer::start(any, town).await.unwrap();
        let etcd = Etcd::start();
        let options = EtcdOptions { endpoints: vec![etcd.endpoint()], ..EtcdOptions::default() };
        let store = EtcdStore::connect(&options).await.unwrap();
        Self { etcd, store, mesos }
    }

    fn start(&self) -> Controller {
        let mut command = run(&self.etcd.endpoint(), &format!("http://{}", self.mesos.address()));
        // Its log is shown when the test fails.
        let logging = command.stdout(Stdio::null()).stderr(Stdio::inherit());
        Controller(logging.spawn().expect("the binary can be run"))
    }

    /// As `etcdctl put` does it.
    async fn put(&self, text: &str) {
        let _ = self.store.txn(&Txn::new().put(Key::DesiredCluster, text)).await.unwrap();
    }

    async fn state(&self) -> State {
        State::of(&self.store.list(Space::All).await.unwrap(), clock::now())
    }

    /// Waits until etcd says what is hoped for.
    async fn until(&self, what: &str, hope: impl Fn(&State) -> bool) -> State {
        let mut watch = self.store.watch();
        let waiting = async {
            loop {
                let state = self.state().await;
                if hope(&state) {
                    return state;
                }
                watch.recv().await.expect("the watch goes on");
            }
        };
        if let Ok(state) = tokio::time::timeout(PATIENCE, waiting).await {
            return state;
        }
        let state = self.state().await;
        let view = View::new(state.clone(), Vec::new(), clock::now());
        let reasons = view.map(|view| view.plan().summary.reasons);
        panic!("never {what}; in etcd is {:?}, reasons are {reasons:?}", state.rollout);
    }

    async fn of_hosts<R: Send + 'static>(
        &self,
        ask: impl FnOnce(&Cluster) -> R + Send + 'static,
    ) -> R {
        self.mesos.with(move |town, _| ask(&town.cluster)).await.unwrap()
    }
}

/// So many hosts are in sync, by the plan that `diff` and `status` show.
fn in_sync(state: &State) -> usize {
    let view = View::new(state.clone(), Vec::new(), clock::now());
    view.map_or(0, |view| view.plan().summary.in_sync)
}

fn rendered(snapshot: &calico_dcos::store::Snapshot) -> BTreeMap<HostName, Rendered> {
    let entries = snapshot.entries.iter().filter_map(|entry| match &entry.key {
        Key::Rendered(host) => Some((host.clone(), serde_json::from_str(&entry.value).unwrap())),
        _ => None,
    });
    entries.collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: a hundred hosts in real time, and ten controllers"]
async fn long_a_controller_killed_ten_times_in_one_rollout_of_a_hundred_hosts() {
    let bench = Bench::new(100, 1.0).await;
    bench.put(&document("calico/node:v1")).await;
    let mut controller = bench.start();
    for kill in 1..=10 {
        bench.until("the next hosts in sync", |state| in_sync(state) >= kill * 8).await;
        drop(controller);
        controller = bench.start();
    }
    bench.until("converged", |state| in_sync(state) == 100).await;
    let peak = bench.of_hosts(Cluster::peak).await;
    assert_eq!((peak.peak, peak.breaches), (10, 0));
    let (second, twice, restarts) = bench
        .of_hosts(|cluster| {
            let witnesses = cluster.hosts().iter().map(HostModel::witness);
            witnesses.fold((0, 0, 0), |(second, twice, restarts), witness| {
                (
                    second + witness.second_supervisors,
                    twice + witness.restarted_twice,
                    restarts + witness.restarts.len(),
                )
            })
        })
        .await;
    assert_eq!((second, twice, restarts), (0, 0, 100));
    drop(controller);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_put_into_etcd_by_hand_is_rolled_out_and_an_invalid_one_changes_nothing() {
    let bench = Bench::new(3, 0.2).await;
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

    let launched = bench.of_hosts(Cluster::launched).await;
    let leader = bench.state().await.leader;
    bench.put("apiVersion: calico-dcos/v1\nkind: Cluster\nspec: {calicoNod: {}}\n").await;
    drop(controller);
    let _controller = bench.start();
    bench.until("another leader", |state| state.leader.is_some() && state.leader != leader).await;
    let state = bench.state().await;
    assert_eq!(state.generation(), Generation(2));
    assert!(View::new(state, Vec::new(), clock::now()).unwrap().refused.is_some());
    assert_eq!(rendered(&bench.store.list(Space::All).await.unwrap()), before);
    assert_eq!(bench.of_hosts(Cluster::launched).await, launched);

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
    let mut command = Command::new(BINARY);
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
    let bench = Bench::new(4, 0.2).await;
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

        let before = bench.of_hosts(Cluster::launched).await;
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
        assert_eq!(bench.of_hosts(Cluster::launched).await - before, tasks as u64);
    }

    let (before, launched) = (bench.state().await, bench.of_hosts(Cluster::launched).await);
    let (code, text) = tool(&etcd, &["diff"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("4 hosts: 4 in sync") && !text.contains("launch"), "{text}");
    let (code, text) = tool(&etcd, &["apply", "-f", &next]);
    assert!(code == Some(0) && text.contains("Nothing to write"), "{text}");
    assert_eq!(bench.state().await.revision, before.revision);
    assert_eq!(bench.of_hosts(Cluster::launched).await, launched);

    let plan: Value = serde_json::from_str(&tool(&etcd, &["diff", "-o", "json"]).1).unwrap();
    let hosts = plan["hosts"].as_array().unwrap().iter();
    let wanted: BTreeMap<String, Value> = hosts
        .map(|host| (host["name"].as_str().unwrap().to_owned(), host["wanted"].clone()))
        .collect();
    assert_eq!((wanted.len(), &rendered_by_etcdctl(&etcd)), (4, &wanted));

    assert_eq!(tool(&etcd, &["diff", "-f", &bad]).0, Some(2), "an error is not a difference");
    assert_eq!(tool(&format!("http://{}", nobody()), &["diff"]).0, Some(4));
}

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
    let mut command = Command::new(BINARY);
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
        let mut command = Command::new(BINARY);
        let temporary = tempfile::tempdir().unwrap();
        command.arg("demo").args(&arguments).env("TMPDIR", temporary.path());
        let (ended, said) = ends(command);
        assert_eq!(ended, Some(code), "{arguments:?}: {said}");
        assert!(said.contains(hint), "{arguments:?}: {said}");
        let left = temporary.path().read_dir().unwrap().count();
        assert_eq!(left, 0, "{arguments:?} left something behind: {said}");
    }
}

/// A command of an operator: its exit code, and all that it said.
fn command(bench: &Bench, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(BINARY);
    command.args(arguments).args(["--etcd-endpoints", &bench.etcd.endpoint()]);
    ends(command)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_stages_stops_and_takes_back_a_rollout() {
    let done = |bench: &Bench, arguments: &[&str]| {
        let (code, said) = command(bench, arguments);
        assert_eq!(code, Some(0), "{arguments:?}: {said}");
        said
    };
    let staged = |image| document(image).replace("rollout: {", "rollout: {start: approved, ");
    let held = |state: &State, reason: &str| {
        let view = View::new(state.clone(), Vec::new(), clock::now());
        view.is_ok_and(|view| view.plan().summary.reasons.get(reason) == Some(&3))
    };
    let converged = |state: &State, generation| {
        state.generation() == Generation(generation) && in_sync(state) == 3
    };
    let bench = Bench::new(3, 0.2).await;
    bench.put(&staged("calico/node:v1")).await;
    let _controller = bench.start();
    bench.until("waiting for approval", |state| held(state, "waiting-for-approval")).await;
    assert!(done(&bench, &["approve", "--yes"]).contains("Generation 1 starts"));
    bench.until("in sync", |state| converged(state, 1)).await;

    assert!(done(&bench, &["pause", "--why", "disk swap"]).contains("Nothing new starts"));
    assert!(done(&bench, &["pause"]).contains("paused already"));
    bench.put(&staged("calico/node:v2")).await;
    bench.until("accepted", |state| state.generation() == Generation(2)).await;
    done(&bench, &["approve", "--generation", "2", "--yes"]);
    bench.until("paused", |state| held(state, "paused")).await;
    let (code, said) = command(&bench, &["status"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains(" paused") && said.contains("paused since") && said.contains("disk swap"),
        "{said}"
    );
    done(&bench, &["resume"]);
    bench.until("in sync with the second", |state| converged(state, 2)).await;

    done(&bench, &["rollback", "1", "--yes"]);
    bench.until("accepted again", |state| state.generation() == Generation(3)).await;
    done(&bench, &["approve", "--yes"]);
    bench.until("in sync with the first", |state| converged(state, 3)).await;
    assert_eq!(bench.state().await.texts()["cluster"], staged("calico/node:v1"));

    let history = done(&bench, &["history", "--last", "100"]);
    for what in [
        "approval of generation 2",
        "pause of the cluster: disk swap",
        "resume of the cluster",
        "rollback 1: wrote cluster",
        "generation 3 done",
    ] {
        assert!(history.contains(what), "{what}: {history}");
    }
    for (arguments, hint) in [
        (vec!["approve", "--yes"], "generation 3 is approved already"),
        (vec!["approve", "--generation", "2"], "generation 2 is not in force, 3 is"),
        (vec!["resume"], "is not paused, and nothing else is"),
        (vec!["pause", "--pool", "gpu"], "there is no pool `gpu`"),
        (vec!["pause", "--host", "a11"], "did you mean `a1`?"),
        (vec!["retry", "a1"], "no attempt of host `a1` has failed"),
        (vec!["release", "a1"], "host `a1` holds no slot; nobody does"),
        (vec!["forget", "a1"], "is active"),
        (vec!["rollback", "77"], "generation 77 is not kept; 1 to 3 are"),
    ] {
        let (code, said) = command(&bench, &arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {said}");
        assert!(said.contains(hint), "{arguments:?}: {said}");
    }

    let canary = "rollout: {start: approved, canary: {hosts: 1}, ";
    bench.put(&document("calico/node:v3").replace("rollout: {", canary)).await;
    bench.until("accepted", |state| state.generation() == Generation(4)).await;
    done(&bench, &["approve", "--yes"]);
    let stable = |state: &State| {
        let canary = state.rollout.as_ref().and_then(|rollout| rollout.canary.as_ref());
        canary.is_some_and(|canary| canary.stable.is_some())
    };
    let state = bench.until("a stable canary", stable).await;
    assert_eq!(in_sync(&state), 1);
    let (code, said) = command(&bench, &["status"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("waiting for approval") && said.contains("a1 went first"), "{said}");
    assert!(done(&bench, &["approve", "--yes"]).contains("goes on to all hosts"));
    bench.until("in sync with the fourth", |state| converged(state, 4)).await;
}

/// A gate that a test opens and closes: its URL, and whether it is open.
async fn gate() -> (String, Arc<AtomicBool>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/go", listener.local_addr().unwrap());
    let open = Arc::new(AtomicBool::new(false));
    let is_open = Arc::clone(&open);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await;
            let status = if is_open.load(Ordering::SeqCst) { "200 OK" } else { "503 No" };
            let answer =
                format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (url, open)
}

#[tokio::test(flavor = "multi_thread")]
async fn s50_nothing_is_disrupted_before_a_gate_answers_200() {
    let bench = Bench::new(3, 0.2).await;
    let (url, open) = gate().await;
    let gated = format!("rollout: {{gates: [{{http: \"{url}\"}}], ");
    bench.put(&document("calico/node:v1").replace("rollout: {", &gated)).await;
    let _controller = bench.start();
    let waits = |state: &State| {
        let view = View::new(state.clone(), Vec::new(), clock::now());
        view.is_ok_and(|view| view.plan().summary.reasons.get("waiting-for-gate") == Some(&3))
    };
    let state = bench.until("waiting for the gate", waits).await;
    assert!(state.hosts.values().all(|host| host.slot.is_none()));
    let (code, said) = command(&bench, &["status"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("answered 503 and not 200"), "{said}");
    open.store(true, Ordering::SeqCst);
    bench.until("in sync", |state| in_sync(state) == 3).await;
}
