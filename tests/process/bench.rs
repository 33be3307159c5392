//! Controllers as processes of their own, a real etcd, and a simulated Mesos behind a [`Gate`].

use std::collections::BTreeMap;
use std::fs::File;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use calico_dcos::budget::slot::{Slot, SlotState};
use calico_dcos::clock;
use calico_dcos::desired::{Source, read};
use calico_dcos::plan::summary::Summary;
use calico_dcos::rollout::records::Stage;
use calico_dcos::sim::cluster::Cluster;
use calico_dcos::sim::fleet::fleet;
use calico_dcos::sim::host::HostModel;
use calico_dcos::sim::mesos::http::SimServer;
use calico_dcos::sim::mesos::{AgentConfig, AgentIndex, Timings};
use calico_dcos::sim::town::Town;
use calico_dcos::store::{EtcdOptions, EtcdStore, Key, Space, Txn};
use calico_dcos::surface::state::State;
use calico_dcos::surface::view::View;
use calico_dcos::words::{Generation, HostName, Time};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::gate::{Gate, Log};
use crate::link::Link;
use crate::support::{Etcd, PATIENCE, freeze};

/// How long the lease of a controller is, in seconds.
pub(crate) const LEASE: u64 = 5;

/// Hosts that need a restart each, one at a time; the image can be put in.
pub(crate) fn document(image: &str) -> String {
    with_rollout("", image)
}

fn with_rollout(more: &str, image: &str) -> String {
    format!(
        "apiVersion: calico-dcos/v1\nkind: Cluster\nmetadata: {{name: test}}\nspec:\n  \
         rollout: {{{more}stabilitySeconds: 0, settleSeconds: 0, pace: {{burst: 100, perMinute: 600}}}}\n  \
         docker: {{clusterStore: etcd://127.0.0.1:2379}}\n  \
         calicoNode: {{image: \"{image}\"}}\n"
    )
}

/// What differs from one test to the other.
pub(crate) struct Setting {
    pub(crate) hosts: u32,
    /// More hosts, `p1` and so on, whose resources are all reserved for `slave_public`.
    pub(crate) public: u32,
    /// Of Mesos.
    pub(crate) version: &'static str,
    pub(crate) restart_seconds: f64,
    /// More fields of `rollout`, each with a comma.
    pub(crate) rollout: &'static str,
    /// More arguments of etcd.
    pub(crate) etcd: &'static [&'static str],
    pub(crate) timings: fn(&mut Timings),
    pub(crate) agent: fn(AgentIndex, &mut AgentConfig),
}

impl Default for Setting {
    fn default() -> Self {
        Self {
            hosts: 3,
            public: 0,
            version: "1.11.0",
            restart_seconds: 0.3,
            rollout: "",
            etcd: &[],
            timings: |_| {},
            agent: |_, _| {},
        }
    }
}

/// Mesos' own times, some of them shortened; they stay in proportion.
fn quick(timings: &mut Timings) {
    timings.allocation = 100;
    timings.heartbeat = 500;
    timings.ping_timeout = 1_500;
    timings.agent_reregister = 5_000;
    timings.update_retry = 500;
    timings.detect_master = 200;
    timings.first_launch = 300;
}

pub(crate) struct Bench {
    pub(crate) etcd: Etcd,
    pub(crate) store: EtcdStore,
    pub(crate) mesos: Arc<SimServer<Town>>,
    pub(crate) gate: Gate,
    rollout: &'static str,
    hosts: usize,
    files: TempDir,
    begun: Time,
}

/// A controller's process; killed when dropped.
pub(crate) struct Controller {
    process: Child,
    log: PathBuf,
}

/// One that can be cut off.
pub(crate) struct Linked {
    pub(crate) process: Controller,
    pub(crate) etcd: Link,
    pub(crate) master: Link,
}

impl Controller {
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).expect("it takes signals");
    }

    /// Stops it from doing anything, wherever it is; its connections stay open.
    pub(crate) fn freeze(&self) {
        freeze(&self.process);
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// What it has said so far.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Waits until it has said these words.
    pub(crate) async fn until_said(&self, words: &str) {
        // Nobody tells when a file grows.
        let mut look = tokio::time::interval(Duration::from_millis(20));
        let waiting = async {
            while !self.said().contains(words) {
                look.tick().await;
            }
        };
        let said = tokio::time::timeout(PATIENCE, waiting).await;
        assert!(said.is_ok(), "it never said `{words}`");
    }

    /// How it ends by itself.
    pub(crate) async fn ends(mut self) -> (Option<i32>, String) {
        let child = Pid::from_child(&self.process);
        let end = tokio::task::spawn_blocking(move || {
            let status = self.process.wait().unwrap();
            (status.code(), self.said())
        });
        let ended = tokio::time::timeout(PATIENCE, end).await;
        if ended.is_err() {
            // Else whoever waits for it would wait for ever.
            let _ = kill_process(child, Signal::KILL);
        }
        ended.expect("it ends").unwrap()
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            eprintln!("{}", self.said());
        }
    }
}

impl Bench {
    pub(crate) async fn new(setting: Setting) -> Self {
        let scenario = json!({
            "apiVersion": "calico-dcos/v1", "kind": "Scenario", "desired": [],
            "mesos": {"version": setting.version},
            "hosts": [{"count": setting.hosts, "name": "a{n}",
                       "restartSeconds": {"median": setting.restart_seconds}},
                      {"count": setting.public, "name": "p{n}", "role": "slave_public",
                       "restartSeconds": {"median": setting.restart_seconds}}],
        });
        let (mut config, mut members) = fleet(&serde_json::from_value(scenario).unwrap());
        quick(&mut config.timings);
        (setting.timings)(&mut config.timings);
        for (index, member) in members.iter_mut().enumerate() {
            (setting.agent)(index, &mut member.agent);
        }
        let document = with_rollout(setting.rollout, "calico/node:v1");
        let desired = read(&[Source::file("cluster", document.clone())]).unwrap();
        let town = Town::of((config, members), desired, clock::now());
        let mesos = SimServer::start(([127, 0, 0, 1], 0).into(), town).await.unwrap();
        let mesos = Arc::new(mesos);
        let gate = Gate::open(Arc::clone(&mesos)).await;
        let etcd = Etcd::start_with(setting.etcd);
        let options = EtcdOptions { endpoints: vec![etcd.endpoint()], ..EtcdOptions::default() };
        let store = EtcdStore::connect(&options).await.unwrap();
        let files = tempfile::tempdir().unwrap();
        let hosts = (setting.hosts + setting.public) as usize;
        let (rollout, begun) = (setting.rollout, clock::now());
        let bench = Self { etcd, store, mesos, gate, rollout, hosts, files, begun };
        bench.put(&document).await;
        bench
    }

    /// Starts a controller that knows the master by the gate alone.
    pub(crate) fn start(&self) -> Controller {
        self.start_with("calico", LEASE, &self.etcd.endpoint(), self.gate.address)
    }

    /// With a name for people, its lease in seconds, and where etcd and the master are.
    pub(crate) fn start_with(
        &self,
        name: &str,
        lease: u64,
        etcd: &str,
        master: SocketAddr,
    ) -> Controller {
        self.start_under("/calico-dcos", name, lease, etcd, master)
    }

    /// The same, with a prefix of its own.
    pub(crate) fn start_under(
        &self,
        prefix: &str,
        name: &str,
        lease: u64,
        etcd: &str,
        master: SocketAddr,
    ) -> Controller {
        let said = self.files.path().join(format!("{name}-{}.log", clock::now().0));
        let log = File::create(&said).unwrap();
        let process = Command::new(env!("CARGO_BIN_EXE_calico-dcos"))
            .args(["run", "--name", name, "--etcd-endpoints", etcd, "--allow-open-etcd"])
            .args(["--etcd-prefix", prefix])
            .args(["--mesos-master", &format!("http://{master}")])
            .args(["--artifact-url", "http://demo.invalid/calico-dcos"])
            .args(["--lease-seconds", &lease.to_string()])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the binary can be run");
        Controller { process, log: said }
    }

    /// Starts a controller that has links of its own to etcd and to the master.
    pub(crate) async fn start_linked(&self, name: &str) -> Linked {
        let etcd = Link::to(self.etcd.address()).await;
        let master = Link::to(self.gate.address).await;
        let endpoint = format!("http://{}", etcd.address);
        let process = self.start_with(name, LEASE, &endpoint, master.address);
        Linked { process, etcd, master }
    }

    /// Waits until a controller leads that has this name.
    pub(crate) async fn led_by(&self, name: &str) -> State {
        self.until("another leader", |state| leader(state) == Some(name)).await
    }

    /// Declares this image, with the fields of `rollout` that the bench was made with.
    pub(crate) async fn declare(&self, image: &str) {
        self.put(&with_rollout(self.rollout, image)).await;
    }

    pub(crate) async fn put(&self, text: &str) {
        let _ = self.store.txn(&Txn::new().put(Key::DesiredCluster, text)).await.unwrap();
    }

    pub(crate) async fn state(&self) -> State {
        State::of(&self.store.list(Space::All).await.unwrap(), clock::now())
    }

    /// Waits until etcd says what is hoped for.
    pub(crate) async fn until(&self, what: &str, hope: impl Fn(&State) -> bool) -> State {
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
        panic!("never {what}: {:?}; reasons {:?}", state.rollout, reasons(&state));
    }

    /// Waits until so many hosts are in sync.
    pub(crate) async fn in_sync(&self, hosts: usize) -> State {
        self.until("in sync", |state| summary(state).is_some_and(|it| it.in_sync >= hosts)).await
    }

    /// Waits until everything is in sync with that generation, and checks what the hosts saw:
    /// one at a time, each restarted once for each of its services, nothing started twice.
    pub(crate) async fn converged(&self, generation: u64) -> State {
        let state = self
            .until("converged", |state| {
                let stage = state.rollout.as_ref().map(|rollout| &rollout.stage);
                state.generation() == Generation(generation)
                    && matches!(stage, Some(Stage::Done { .. }))
                    && summary(state).is_some_and(|it| it.in_sync == self.hosts)
            })
            .await;
        self.no_breach().await;
        state
    }

    /// The hosts saw no more of them disrupted than may be, and nothing done twice.
    pub(crate) async fn no_breach(&self) {
        let (breaches, second, twice) = self
            .hosts(|cluster, _| {
                let witnesses = cluster.hosts().iter().map(HostModel::witness);
                let counts = witnesses.map(|w| (w.second_supervisors, w.restarted_twice));
                let (second, twice) =
                    counts.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
                (cluster.peak().breaches, second, twice)
            })
            .await;
        assert_eq!((breaches, second, twice), (0, 0, 0), "breaches, supervisors, restarts");
    }

    pub(crate) async fn hosts<R: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Cluster, Time) -> R + Send + 'static,
    ) -> R {
        self.mesos.with(move |town, now| act(&mut town.cluster, now)).await.unwrap()
    }

    /// What the hosts were told to run, so far.
    pub(crate) async fn launched(&self) -> u64 {
        self.hosts(|cluster, _| cluster.launched()).await
    }

    /// Waits until a host may have disrupted something. Returns it.
    pub(crate) async fn held(&self) -> (HostName, AgentIndex) {
        let state = self.until("a slot held", |state| holder(state).is_some()).await;
        let host = holder(&state).unwrap();
        // `a1` is the first.
        let number: usize = host.as_str()[1..].parse().unwrap();
        (host, number - 1)
    }

    /// An operator's call.
    pub(crate) async fn operate(&self, kind: &'static str, parameters: Value) {
        let call = json!({ kind.to_lowercase(): parameters });
        let done =
            self.mesos.with(move |town, now| town.cluster.mesos.operate(now, kind, &call)).await;
        done.unwrap().unwrap();
    }

    pub(crate) async fn agent_id(&self, index: AgentIndex) -> Value {
        let id = self.hosts(move |cluster, _| cluster.mesos.agent_id(index).cloned()).await;
        json!({ "value": id.unwrap().as_str() })
    }

    /// After all is done the master hears nothing but questions of the operator API; three
    /// heartbeats long.
    pub(crate) async fn quiet(&self) {
        // SUPPRESS is the last call of all; there may have been others before it. What was on its
        // way to us by then is still answered.
        let answers = |kind: &str| kind == "ACKNOWLEDGE" || kind == "DECLINE";
        let last = |log: &crate::gate::Log| {
            let said = log.calls.iter().rev().map(|(kind, _)| kind);
            let mut said = said.filter(|kind| !is_question(kind) && !answers(kind));
            said.next().is_some_and(|kind| kind == "SUPPRESS")
        };
        self.gate.until("a SUPPRESS", last).await;
        // An agent may still repeat an update, which is answered each time: but not for ever.
        let mut more = Vec::new();
        for _ in 0..4 {
            self.gate.heartbeats(1).await;
            let before = self.gate.look(counts);
            self.gate.heartbeats(3).await;
            let after = self.gate.look(counts).into_iter();
            let new = after.filter(|(kind, n)| before.get(kind) != Some(n));
            more = new.filter(|(kind, _)| !is_question(kind)).collect::<Vec<_>>();
            if more.iter().all(|(kind, _)| kind != "ACKNOWLEDGE") {
                break;
            }
        }
        assert!(more.is_empty(), "said although nothing is to be done: {more:?}");
    }

    /// No call was made more often than this, and none that is not listed: in an ordinary rollout
    /// of these hosts, with so many subscriptions, and with so many calls more of some kinds.
    pub(crate) fn bounded(&self, subscriptions: usize, more: &[(&str, usize)]) {
        let tasks = 3 * self.hosts;
        // What a clock drives is made the more often the slower the machine is.
        let seconds = usize::try_from(clock::now().since(self.begun) / 1000).unwrap();
        let usual = [
            ("SUBSCRIBE", subscriptions),
            ("operator GET_VERSION", 1 + 2 * subscriptions),
            ("operator SUBSCRIBE", 2 * subscriptions),
            ("operator GET_AGENTS", 8 + 4 * subscriptions),
            // One that was under way when a stream ended is made anew.
            ("ACCEPT", tasks + subscriptions - 1),
            ("ACKNOWLEDGE", 5 * tasks),
            // What is not wanted yet is filtered for a second at least.
            ("DECLINE", 10 * subscriptions + 2 * tasks + self.hosts * seconds),
            // One that is not answered is repeated every five seconds.
            ("KILL", self.hosts + seconds / 5),
            ("MESSAGE", 4 * self.hosts),
            ("RECONCILE", 4 * subscriptions),
            ("REVIVE", 3 + subscriptions),
            ("SUPPRESS", 1 + subscriptions),
        ];
        let mut limits: BTreeMap<String, usize> =
            usual.iter().map(|(kind, limit)| ((*kind).to_owned(), *limit)).collect();
        for (kind, limit) in more {
            *limits.entry((*kind).to_owned()).or_default() += limit;
        }
        let counts = self.gate.look(counts);
        let limit = |kind: &String| limits.get(kind).copied().unwrap_or(0);
        let over: Vec<_> = counts.iter().filter(|(kind, n)| **n > limit(kind)).collect();
        assert!(over.is_empty(), "too many: {over:?}, of {counts:?}");
    }
}

/// How often each call was made.
pub(crate) fn counts(log: &Log) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for (kind, _) in &log.calls {
        *counts.entry(kind.clone()).or_default() += 1;
    }
    counts
}

/// The host whose slot is taken by a run.
fn holder(state: &State) -> Option<HostName> {
    let taken = |slot: &Slot| matches!(slot.state, SlotState::Held { taken_by: Some(_) });
    let mut hosts = state.hosts.iter();
    hosts.find(|(_, host)| host.slot.as_ref().is_some_and(taken)).map(|(name, _)| name.clone())
}

fn is_question(kind: &str) -> bool {
    kind.starts_with("operator ")
}

fn view(state: &State) -> Option<View> {
    View::new(state.clone(), Vec::new(), clock::now()).ok()
}

/// So many hosts are in sync, by the plan that `diff` and `status` show.
pub(crate) fn in_sync(state: &State) -> usize {
    summary(state).map_or(0, |summary| summary.in_sync)
}

/// The name of the controller that leads.
pub(crate) fn leader(state: &State) -> Option<&str> {
    state.leader.as_ref().map(|leader| leader.name.as_str())
}

pub(crate) fn summary(state: &State) -> Option<Summary> {
    view(state).map(|view| view.plan().summary)
}

/// Why hosts do not move: the code, and the sentence.
pub(crate) fn reasons(state: &State) -> BTreeMap<HostName, (String, String)> {
    let Some(view) = view(state) else { return BTreeMap::new() };
    let hosts = view.plan().hosts.into_iter().filter_map(|host| {
        let reason = host.reason?;
        Some((host.name.clone(), (reason.code().to_owned(), reason.to_string())))
    });
    hosts.collect()
}
