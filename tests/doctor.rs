//! `doctor` with real etcd and the simulated Mesos.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "in a test they are assertions")]

#[expect(dead_code, reason = "other tests use more of it")]
mod support;

use std::process::Command;

use calico_dcos::sim::mesos::http::SimServer;
use calico_dcos::sim::mesos::{MesosConfig, SimMesos};
use calico_dcos::store::{EtcdOptions, EtcdStore, Key, Outcome, Txn};
use serde_json::{Value, json};
use support::Etcd;

/// Mesos alone; nobody launches anything.
async fn mesos(version: &str) -> SimServer<SimMesos> {
    let config = MesosConfig::new(version.parse().unwrap(), 7);
    let mesos = SimMesos::new(calico_dcos::clock::now(), config);
    SimServer::start(([127, 0, 0, 1], 0).into(), mesos).await.unwrap()
}

/// The exit code, and the findings as `area level found`, with the advice.
async fn examined(arguments: &[&str]) -> (i32, Vec<String>) {
    let (code, report) = report(arguments).await;
    (code, findings(&report))
}

/// The exit code, and all of the report.
async fn report(arguments: &[&str]) -> (i32, Value) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_calico-dcos"));
    command.args(["doctor", "-o", "json"]).args(arguments);
    let done = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said = String::from_utf8(done.stdout).unwrap();
    let report: Value = serde_json::from_str(&said)
        .unwrap_or_else(|_| panic!("{said}{}", String::from_utf8_lossy(&done.stderr)));
    (done.status.code().unwrap(), report)
}

fn findings(report: &Value) -> Vec<String> {
    let part = |finding: &Value, name: &str| finding[name].as_str().unwrap_or_default().to_owned();
    let findings = report["findings"].as_array().unwrap().iter().map(|finding| {
        ["area", "level", "found", "advice"].map(|name| part(finding, name)).join(" ")
    });
    findings.collect()
}

#[track_caller]
fn has(findings: &[String], start: &str, words: &str) {
    let found = findings.iter().any(|one| one.starts_with(start) && one.contains(words));
    assert!(found, "{start} … {words} is not in {findings:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn etcd_and_mesos_are_examined_and_the_predecessor_is_found() {
    let (etcd, mesos) = (Etcd::start(), mesos("1.11.0").await);
    let endpoint = etcd.endpoint();
    let master = format!("http://{}", mesos.address());
    let all = ["--etcd-endpoints", &endpoint, "--mesos-master", &master];
    let (code, findings) = examined(&all).await;
    assert_eq!(code, 4, "{findings:#?}");
    has(&findings, "etcd good", "lets us in, below /calico-dcos");
    has(&findings, "etcd problem", "anybody who reaches etcd can write");
    has(&findings, "etcd good", "1 member, all well");
    has(&findings, "etcd notice", "with one member");
    has(&findings, "etcd ", "its v2 API is o");
    has(&findings, "controller notice", "no controller leads");
    has(&findings, "documents notice", "there is no Cluster document");
    has(&findings, "mesos good", "a master of version 1.11.0 leads");
    has(&findings, "mesos notice", "no agent is registered");
    has(&findings, "clocks good", "that of the master and the one here agree");
    has(&findings, "predecessor good", "not there");

    for name in ["calico", "calico-dcos"] {
        subscribe(&master, name).await;
    }
    let (code, findings) = examined(&all).await;
    assert_eq!(code, 4);
    has(&findings, "predecessor problem", "its framework `calico` is there, with the ID ");
    assert!(
        !findings.iter().any(|one| one.contains("calico-dcos` are there")),
        "one is as it should be"
    );
}

/// As one with an etcd of another prefix would be.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_framework_of_ours_is_a_problem() {
    let (etcd, mesos) = (Etcd::start(), mesos("1.11.0").await);
    let master = format!("http://{}", mesos.address());
    for _ in 0..2 {
        subscribe(&master, "calico-dcos").await;
    }
    let all = ["--etcd-endpoints", &etcd.endpoint(), "--mesos-master", &master];
    let (code, findings) = examined(&all).await;
    assert_eq!(code, 4);
    has(&findings, "mesos problem", "2 frameworks `calico-dcos` are there: ");
}

/// A framework of that name comes, and keeps its place when its stream has ended.
async fn subscribe(master: &str, name: &str) {
    let call = json!({"type": "SUBSCRIBE", "subscribe": {"framework_info": {
        "user": "root", "name": name, "role": "slave_public", "failover_timeout": 604_800.0,
    }}});
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().tls_certs_only([]).build().unwrap();
    let request = client.post(format!("{master}/api/v1/scheduler"));
    let subscribed = request
        .header("Content-Type", "application/json")
        .header("Accept", "application/json")
        .body(call.to_string())
        .send()
        .await
        .unwrap();
    assert_eq!(subscribed.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_used_is_a_problem_and_the_rest_is_still_examined() {
    let mesos = mesos("1.11.0").await;
    let master = format!("http://{}", mesos.address());
    let nowhere = "http://127.0.0.1:1";
    let (code, findings) =
        examined(&["--etcd-endpoints", nowhere, "--mesos-master", &master]).await;
    assert_eq!(code, 4);
    has(&findings, "etcd problem", "does not answer");
    has(&findings, "mesos good", "1.11.0");

    let (code, findings) =
        examined(&["--etcd-endpoints", nowhere, "--mesos-master", nowhere]).await;
    assert_eq!((code, findings.len()), (4, 2), "{findings:#?}");
    has(&findings, "mesos problem", nowhere);
    let (_, findings) = examined(&["--etcd-endpoints", nowhere]).await;
    has(&findings, "mesos notice", "give --mesos-master");
}

/// A host that the predecessor's 0.3 has set up, as its observer reports it, in the form that is
/// in etcd.
fn of_the_predecessor(name: &str) -> String {
    let facts = json!({
        "version": 1, "order": {"bootId": "b", "starts": 1, "sequence": 1}, "machineId": name,
        "system": {"os": "CentOS 7", "architecture": "x86_64", "cgroups": "v1"},
        "docker": {
            "version": "1.12.6", "clusterStore": "etcd://127.0.0.1:2379", "containers": 4,
            "foreign": {"cluster-store": "etcd://127.0.0.1:2379"},
        },
        "mesosVersion": "1.2.0",
        "components": {
            "docker": {"version": "1.12.6", "health": {"is": "healthy"}, "running": true},
            "mesosAgent": {"version": "1.2.0", "health": {"is": "healthy"}, "running": true},
            "calicoNode": {"version": "calico/node:v0.22.0", "health": {"is": "healthy"}, "running": true},
        },
        "predecessor": {
            "files": ["/etc/calico/installer/docker"],
            "node": {"image": "calico/node:v0.22.0", "env": {"IP": "", "ETCD_SCHEME": "http"}},
        },
    });
    json!({
        "version": 1,
        "agent": {"id": "S1", "condition": "active", "since": 1, "roles": ["*"], "attributes": {},
            "mesosVersion": "1.2.0"},
        "reported": {"facts": facts, "agent": "S1", "at": 2},
    })
    .to_string()
}

/// What it prints can be applied, and then `diff` says what it has said.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_predecessor_had_is_printed_as_documents_that_take_it_over() {
    let etcd = Etcd::start();
    let endpoint = etcd.endpoint();
    let options = EtcdOptions { endpoints: vec![endpoint.clone()], ..EtcdOptions::default() };
    let store = EtcdStore::connect(&options).await.unwrap();
    for name in ["a1", "a2"] {
        let key = Key::Observed(name.into());
        let put = store.txn(&Txn::new().put(key, of_the_predecessor(name))).await.unwrap();
        assert!(matches!(put, Outcome::Committed(_)));
    }
    let nowhere = "zk://127.0.0.1:1/calico";
    let at = ["--etcd-endpoints", endpoint.as_str()];
    let report = report(&[&at[..], &["--predecessor-zk", nowhere]].concat()).await.1;
    let findings = findings(&report);
    has(&findings, "predecessor notice", "what it set is in use on 2 hosts (a1, a2)");
    has(&findings, "predecessor good", "2 hosts (a1, a2) would be taken over without a restart");
    has(&findings, "predecessor notice zk://127.0.0.1:1/calico", "none of the ZooKeeper servers");

    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, report["documents"].as_str().unwrap()).unwrap();
    let file = file.path().to_str().unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_calico-dcos"));
        command.args(arguments).args(at).output().unwrap()
    };
    let applied = run(&["apply", "--yes", "-f", file]);
    assert_eq!(applied.status.code(), Some(0), "{}", String::from_utf8_lossy(&applied.stderr));
    let plan: Value = serde_json::from_slice(&run(&["diff", "-o", "json"]).stdout).unwrap();
    assert_eq!(plan["summary"]["restarts"], json!({"calicoNode": 2}));
    assert_eq!(plan["summary"]["hosts"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn etcd_behind_tls_tells_its_time_and_its_old_api_too() {
    let file = |name: &str| format!("{}/tests/fixtures/tls/{name}", env!("CARGO_MANIFEST_DIR"));
    let (ca, cert, key) = (file("ca.pem"), file("server.pem"), file("server.key"));
    let served = ["--cert-file", &cert, "--key-file", &key, "--client-cert-auth"];
    let etcd =
        Etcd::start_with(&[&served[..], &["--trusted-ca-file", &ca, "--enable-v2"]].concat());
    let (endpoint, cert, key) = (etcd.endpoint(), file("client.pem"), file("client.key"));
    let ours = ["--etcd-ca", &ca, "--etcd-cert", &cert, "--etcd-key", &key];
    let all = [&["--etcd-endpoints", endpoint.as_str()], &ours[..]].concat();
    let (_, findings) = examined(&all).await;
    has(&findings, "etcd good", "its v2 API is on");
    has(&findings, "clocks good", "that of etcd at 127.0.0.1:");
    let (_, findings) = examined(&[&all[..], &["--this-host"]].concat()).await;
    has(&findings, "this host good", "Docker: ");
}
