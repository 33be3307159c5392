//! What the controller and `diff` learn of agents from a master over HTTP: the list, the event
//! stream, and what is left where both are closed to us.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "in a test they are assertions")]

#[expect(dead_code, reason = "other tests use more of it")]
mod support;

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use axum::body::Body;
use axum::response::IntoResponse;
use calico_dcos::clock;
use calico_dcos::desired::{Source, read};
use calico_dcos::mesos::Options;
use calico_dcos::mesos::operator::OperatorClient;
use calico_dcos::mesos::watch::AgentWatch;
use calico_dcos::observed::fleet::Condition;
use calico_dcos::rollout::records::Stage;
use calico_dcos::sim::mesos::AgentConfig;
use calico_dcos::sim::mesos::http::SimServer;
use calico_dcos::sim::town::Town;
use calico_dcos::sim::wire::HostSignal;
use calico_dcos::store::{EtcdOptions, EtcdStore, Key, Space, Txn};
use calico_dcos::surface::state::State;
use calico_dcos::surface::view::View;
use http::StatusCode;
use serde_json::{Value, json};
use support::{Etcd, PATIENCE};
use tokio::sync::mpsc;

const BINARY: &str = env!("CARGO_BIN_EXE_calico-dcos");

fn document(slots: u32) -> String {
    format!(
        "apiVersion: calico-dcos/v1\nkind: Cluster\nmetadata: {{name: test}}\nspec:\n  \
         rollout: {{maxConcurrentRestarts: {slots}, stabilitySeconds: 0, settleSeconds: 0}}\n  \
         docker: {{clusterStore: etcd://127.0.0.1:2379}}\n  \
         calicoNode: {{image: \"calico/node:v1\"}}\n"
    )
}

fn town(hosts: u32) -> Town {
    let scenario = json!({
        "apiVersion": "calico-dcos/v1", "kind": "Scenario", "desired": [],
        "mesos": {"version": "1.11.0"},
        "hosts": [{"count": hosts, "name": "a{n}", "restartSeconds": {"median": 0.2}}],
    });
    let desired = read(&[Source::file("cluster", document(hosts))]).unwrap();
    Town::new(&serde_json::from_value(scenario).unwrap(), desired, clock::now())
}

fn local() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

/// The master behind a door: questions of operators get through it or not, and it says which
/// were answered.
struct Door {
    mesos: Arc<SimServer<Town>>,
    address: SocketAddr,
    answered: mpsc::UnboundedReceiver<String>,
}

impl Door {
    async fn open(hosts: u32) -> Self {
        Self::new(hosts, true).await
    }

    async fn closed(hosts: u32) -> Self {
        Self::new(hosts, false).await
    }

    async fn new(hosts: u32, open: bool) -> Self {
        let mesos = Arc::new(SimServer::start(local(), town(hosts)).await.unwrap());
        let (tell, answered) = mpsc::unbounded_channel();
        let behind = Arc::clone(&mesos);
        let answer = move |request: http::Request<Body>| {
            let (mesos, tell) = (Arc::clone(&behind), tell.clone());
            async move {
                let path = request.uri().path().to_owned();
                let operators = path == "/api/v1" || path == "/slaves";
                if operators && !open {
                    return (StatusCode::FORBIDDEN, "not you").into_response();
                }
                let response = mesos.request(request).await;
                let _ = tell.send(path);
                response
            }
        };
        let listener = tokio::net::TcpListener::bind(local()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = axum::Router::new().fallback(answer);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { mesos, address, answered }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn options(&self) -> Options {
        Options::new(self.url().parse().unwrap())
    }

    async fn with<R: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Town, calico_dcos::words::Time) -> R + Send + 'static,
    ) -> R {
        self.mesos.with(act).await.unwrap()
    }
}

/// A controller's process; killed when dropped.
struct Controller(Child);

impl Controller {
    fn start(etcd: &Etcd, door: &Door) -> Self {
        Self::with_lease(etcd, door, 2)
    }

    fn with_lease(etcd: &Etcd, door: &Door, seconds: u32) -> Self {
        let mut command = Command::new(BINARY);
        command.args(["run", "--etcd-endpoints", &etcd.endpoint(), "--allow-open-etcd"]);
        command.args(["--lease-seconds", &seconds.to_string(), "--mesos-master", &door.url()]);
        command.args(["--artifact-url", "http://demo.invalid/calico-dcos"]);
        // Its log is shown when the test fails.
        let logging = command.stdout(Stdio::null()).stderr(Stdio::inherit());
        Self(logging.spawn().expect("the binary can be run"))
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn declare(etcd: &Etcd, slots: u32) -> EtcdStore {
    let options = EtcdOptions { endpoints: vec![etcd.endpoint()], ..EtcdOptions::default() };
    let store = EtcdStore::connect(&options).await.unwrap();
    let _ = store.txn(&Txn::new().put(Key::DesiredCluster, document(slots))).await.unwrap();
    store
}

/// Waits until etcd says what is hoped for.
async fn until(store: &EtcdStore, what: &str, hope: impl Fn(&State) -> bool) -> State {
    let mut watch = store.watch();
    let waiting = async {
        loop {
            let state = State::of(&store.list(Space::All).await.unwrap(), clock::now());
            if hope(&state) {
                return state;
            }
            watch.recv().await.expect("the watch goes on");
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("never {what}"))
}

/// What a command of the tool prints.
fn tool(etcd: &Etcd, arguments: &[&str]) -> String {
    let mut command = Command::new(BINARY);
    let command = command.args(arguments).env("CALICO_DCOS_ETCD_ENDPOINTS", etcd.endpoint());
    let output = tokio::task::block_in_place(|| command.output()).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code().is_some_and(|code| code < 2), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// Host, what the master says of its agent, and the sentence of its reason.
fn told(json: &str) -> Vec<(String, String, String)> {
    let report: Value = serde_json::from_str(json).unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let hosts = report["hosts"].as_array().unwrap().iter();
    hosts.map(|h| (text(&h["name"]), text(&h["agent"]), text(&h["reason"]["text"]))).collect()
}

const AGENTS: [(&str, &str, &str); 5] = [
    ("a1", "active", "the budget is zero: none start"),
    ("a2", "deactivated", "an operator has deactivated its agent in Mesos; "),
    ("a3", "draining", "an operator drains its agent in Mesos, "),
    ("a4", "gone", "the master says that the agent is gone for good"),
    ("a5", "disconnected", "its agent is not connected to the master"),
];

#[track_caller]
fn assert_told_apart(json: &str, gone: &str) {
    for ((name, agent, text), expected) in told(json).into_iter().zip(AGENTS) {
        let expected_agent = if expected.1 == "gone" { gone } else { expected.1 };
        assert_eq!((name.as_str(), agent.as_str()), (expected.0, expected_agent), "{json}");
        let expected = match gone {
            "unreachable" if expected.1 == "gone" => "its agent is not on the master's list",
            _ => expected.2,
        };
        assert!(text.starts_with(expected), "{name}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_that_are_taken_out_cut_off_or_gone_are_told_apart_on_every_surface() {
    let door = Door::open(5).await;
    let etcd = Etcd::start();
    let store = declare(&etcd, 0).await;
    let controller = Controller::start(&etcd, &door);
    let reported = |state: &State| {
        let facts = |host: &calico_dcos::surface::state::HostState| {
            host.observed.as_ref().is_some_and(|observed| observed.reported.is_some())
        };
        state.hosts.len() == 5 && state.hosts.values().all(facts)
    };
    until(&store, "all observers have reported", reported).await;

    // Without the controller, Mesos itself is asked; gone agents are not on its list.
    drop(controller);
    door.with(|town, now| {
        let mesos = &mut town.cluster.mesos;
        for (index, call) in [(1, "DEACTIVATE_AGENT"), (2, "DRAIN_AGENT")] {
            let id = mesos.agent_id(index).unwrap().clone();
            let body = json!({ call.to_lowercase(): { "agent_id": { "value": id } } });
            mesos.operate(now, call, &body).unwrap();
        }
        mesos.from_host(now, 4, HostSignal::AgentStopped);
        town.cluster.gone(now, &"a4".into());
    })
    .await;
    let diff = ["diff", "-o", "json", "--mesos-master", &door.url()];
    assert_told_apart(&tool(&etcd, &diff), "unreachable");
    let page = tool(&etcd, &["diff", "--hosts", "--mesos-master", &door.url()]);
    for (_, _, text) in AGENTS.into_iter().filter(|(_, agent, _)| *agent != "gone") {
        assert!(page.contains(text), "{page}");
    }
    assert!(told(&tool(&etcd, &["status", "-o", "json"])).iter().all(|(_, a, _)| a == "active"));

    // A controller keeps in etcd what it sees, and what it is told of tasks on gone agents.
    let _controller = Controller::start(&etcd, &door);
    let seen = |state: &State, host: &str| {
        state.hosts[&host.into()].observed.as_ref().unwrap().agent.condition
    };
    until(&store, "the conditions in etcd", |state| {
        let conditions = ["a2", "a3", "a4", "a5"].map(|host| seen(state, host));
        let [deactivated, draining, gone, cut] = conditions;
        (deactivated, draining, cut)
            == (Condition::Deactivated, Condition::Draining, Condition::Disconnected)
            && gone == Condition::Gone
    })
    .await;
    assert_told_apart(&tool(&etcd, &["status", "-o", "json"]), "gone");
    assert_told_apart(&tool(&etcd, &["diff", "-o", "json"]), "gone");
    let page = tool(&etcd, &["status"]);
    for (_, _, text) in AGENTS {
        assert!(page.contains(text), "{page}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_comes_is_told_by_the_event_stream_and_is_on_the_list() {
    let mut door = Door::open(2).await;
    let mut watch = AgentWatch::start(door.options());
    // The answer to SUBSCRIBE has begun: from now on nothing is missed.
    door.answered.recv().await.unwrap();
    door.with(|town, now| {
        let ip = std::net::Ipv4Addr::new(10, 9, 9, 9);
        town.cluster.mesos.add_agent(now, AgentConfig::new("late", ip, "slave_public"));
    })
    .await;
    let operator = OperatorClient::new(&door.options()).unwrap();
    let late = loop {
        // The others register at this time, too.
        tokio::time::timeout(PATIENCE, watch.changed()).await.expect("it is told");
        let agents = operator.agents().await.unwrap();
        if let Some(late) = agents.into_iter().find(|agent| agent.host.as_str() == "late") {
            break late;
        }
    };
    assert_eq!(late.condition, Condition::Active);
    assert!(late.roles.contains("slave_public"));
    let room = late.room.as_ref().unwrap()["slave_public"];
    assert_eq!((room.cpus.total, room.cpus.used), (4_000, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn point_17_and_60_a_controller_that_is_asked_to_stop_leaves_its_framework_and_tasks() {
    let door = Door::open(2).await;
    let etcd = Etcd::start();
    let store = declare(&etcd, 2).await;
    let mut controller = Controller::with_lease(&etcd, &door, 600);
    // A task that is written down may not have been launched yet; then not all is done.
    let done = |state: &State| {
        let stage = state.rollout.as_ref().map(|rollout| &rollout.stage);
        matches!(stage, Some(Stage::Done { .. }))
    };
    until(&store, "done", done).await;
    let child = rustix::process::Pid::from_child(&controller.0);
    rustix::process::kill_process(child, rustix::process::Signal::TERM).unwrap();
    let status = tokio::task::block_in_place(|| controller.0.wait()).unwrap();
    assert!(status.success(), "{status}");
    // Another one need not wait for a lease to run out.
    let state = until(&store, "without a leader", |state| state.leader.is_none()).await;
    let ours: std::collections::BTreeSet<_> = state
        .hosts
        .values()
        .flat_map(|host| host.tasks.tasks.values().map(|task| task.id.to_string()))
        .collect();
    let answer = |kind: &'static str| {
        door.with(move |town, now| match town.cluster.mesos.operate(now, kind, &json!({})) {
            Ok(calico_dcos::sim::mesos::OperatorAnswer::Told(told)) => told,
            other => panic!("{other:?}"),
        })
    };
    let frameworks = answer("GET_FRAMEWORKS").await;
    let frameworks = frameworks["get_frameworks"]["frameworks"].as_array().unwrap().clone();
    assert_eq!(frameworks.len(), 1, "{frameworks:?}");
    let tasks = answer("GET_TASKS").await;
    let running: std::collections::BTreeSet<_> = tasks["get_tasks"]["tasks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|task| task["task_id"]["value"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(running, ours);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_agents_may_not_be_listed_they_are_learned_from_offers_and_it_is_said() {
    let door = Door::closed(3).await;
    let etcd = Etcd::start();
    let store = declare(&etcd, 3).await;
    let _controller = Controller::start(&etcd, &door);
    let in_sync = |state: &State| {
        let view = View::new(state.clone(), Vec::new(), clock::now());
        view.is_ok_and(|view| view.plan().summary.in_sync == 3)
    };
    until(&store, "in sync", in_sync).await;
    let says = "the master does not let us list its agents";
    for command in ["status", "diff"] {
        let page = tool(&etcd, &[command]);
        assert_eq!(page.matches(says).count(), 1, "{page}");
    }
    // Who looks is not let in either, and gets what the controller knows.
    let json = tool(&etcd, &["diff", "-o", "json", "--mesos-master", &door.url()]);
    assert!(told(&json).iter().all(|(_, agent, _)| agent == "active"), "{json}");
    assert!(json.contains(says));
}
