//! A client that was not written here (pymesos, set up by `tools/pymesos.sh`) runs against the
//! simulated master: what we think Mesos says, another reads as Mesos says it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::print_stdout, reason = "a test that is passed over says so")]

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Stdio;

use axum::body::Body;
use calico_dcos::sim::mesos::http::{SimServer, World, standby};
use calico_dcos::sim::mesos::{AgentConfig, MesosConfig, SimMesos};
use calico_dcos::sim::wire::{FromExecutor, ToExecutor};
use calico_dcos::words::{TaskPhase, Time};
use serde_json::{Value, json};

const LOCAL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Mesos, and executors that do at once what they are told.
struct Obedient(SimMesos);

impl World for Obedient {
    fn mesos(&mut self) -> &mut SimMesos {
        &mut self.0
    }

    fn advance(&mut self, now: Time) {
        self.0.advance(now);
        for (agent, order) in self.0.drain_to_hosts() {
            let (task, state) = match order {
                ToExecutor::Launch { task, .. } => (task, TaskPhase::Running),
                ToExecutor::Kill(task) => (task, TaskPhase::Killed),
                ToExecutor::Message(_) | ToExecutor::Shutdown => continue,
            };
            let update = FromExecutor::Update { task, state, message: None, data: None };
            self.0.from_executor(now, agent, update);
        }
    }

    fn next_deadline(&self) -> Option<Time> {
        self.0.next_deadline()
    }
}

async fn serve() -> SimServer<Obedient> {
    let now = calico_dcos::clock::now();
    let mut mesos = SimMesos::new(now, MesosConfig::new(semver::Version::new(1, 11, 0), 7));
    mesos.add_agent(now, AgentConfig::new("a1", Ipv4Addr::new(10, 0, 0, 1), "*"));
    SimServer::start(LOCAL, Obedient(mesos)).await.unwrap()
}

/// What the client says; none if it is not set up here.
async fn client(master: SocketAddr, mode: &str) -> Option<Vec<Value>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let library = root.join("target/tools/pymesos/lib");
    if !library.join("ready").exists() {
        println!("passed over: tools/pymesos.sh has not set pymesos up");
        return None;
    }
    let output = tokio::process::Command::new("python3")
        .arg(root.join("tests/pymesos/client.py"))
        .args([&master.to_string(), mode])
        .env("PYTHONPATH", library)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{errors}");
    Some(said.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

/// What was said, without identifiers.
fn story(said: &[Value]) -> Vec<String> {
    let word = |line: &Value, key: &str| line[key].as_str().map(|text| format!(" {text}"));
    said.iter()
        .map(|line| {
            let parts = ["state", "reason", "host", "message"].map(|key| word(line, key));
            let what = line["what"].as_str().unwrap_or_default();
            format!("{what}{}", parts.into_iter().flatten().collect::<String>())
        })
        .collect()
}

#[tokio::test]
#[ignore = "long: a foreign client, in real time"]
async fn long_a_foreign_client_runs_a_task_from_launch_to_its_end() {
    let server = serve().await;
    let Some(said) = client(server.address(), "life").await else { return };
    assert_eq!(
        story(&said),
        ["registered", "launch a1", "update TASK_RUNNING", "update TASK_KILLED", "done"]
    );
    assert_eq!(said[0]["version"], "1.11.0");
    // It has torn its framework down.
    let told = server.with(|world, now| world.0.operate(now, "GET_FRAMEWORKS", &json!({})));
    let told = format!("{:?}", told.await.unwrap().unwrap());
    assert!(told.contains("completed_frameworks"), "{told}");
}

#[tokio::test]
#[ignore = "long: a foreign client, in real time"]
async fn long_a_foreign_client_goes_away_and_comes_back_to_its_task() {
    let server = serve().await;
    let Some(said) = client(server.address(), "failover").await else { return };
    let told = story(&said);
    assert_eq!(told[..4], ["registered", "launch a1", "update TASK_RUNNING", "gone"]);
    assert_eq!(said[0]["id"], said[3]["id"]);
    let rest = told[4..].join(", ");
    assert!(rest.contains("update TASK_RUNNING REASON_RECONCILIATION"), "{rest}");
    assert!(rest.ends_with("update TASK_KILLED, done"), "{rest}");
}

#[tokio::test]
#[ignore = "long: a foreign client, in real time"]
async fn long_a_foreign_client_is_sent_from_a_standby_to_the_leader() {
    let server = serve().await;
    let leader = server.address().to_string();
    let answer = move |request: http::Request<Body>| {
        let leader = leader.clone();
        async move { standby(&semver::Version::new(1, 11, 0), Some(&leader), &request) }
    };
    let listener = tokio::net::TcpListener::bind(LOCAL).await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        axum::serve(listener, axum::Router::new().fallback(answer)).await.unwrap();
    });
    let said = client(address, "life").await;
    serving.abort();
    let Some(said) = said else { return };
    assert_eq!(story(&said).last().map(String::as_str), Some("done"));
}
