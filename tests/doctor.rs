//! `doctor` with real etcd and the simulated Mesos.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "in a test they are assertions")]

#[expect(dead_code, reason = "other tests use more of it")]
mod support;

use std::process::Command;

use calico_dcos::sim::mesos::http::SimServer;
use calico_dcos::sim::mesos::{MesosConfig, SimMesos};
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
    let mut command = Command::new(env!("CARGO_BIN_EXE_calico-dcos"));
    command.args(["doctor", "-o", "json"]).args(arguments);
    let done = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said = String::from_utf8(done.stdout).unwrap();
    let report: Value = serde_json::from_str(&said)
        .unwrap_or_else(|_| panic!("{said}{}", String::from_utf8_lossy(&done.stderr)));
    let part = |finding: &Value, name: &str| finding[name].as_str().unwrap_or_default().to_owned();
    let findings = report["findings"].as_array().unwrap().iter().map(|finding| {
        ["area", "level", "found", "advice"].map(|name| part(finding, name)).join(" ")
    });
    (done.status.code().unwrap(), findings.collect())
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
    has(&findings, "mesos good", "its clock and the one here agree");
    has(&findings, "predecessor good", "not there");

    let old = json!({"type": "SUBSCRIBE", "subscribe": {"framework_info": {
        "user": "root", "name": "calico", "role": "slave_public", "failover_timeout": 604_800.0,
    }}});
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().tls_certs_only([]).build().unwrap();
    let request = client.post(format!("{master}/api/v1/scheduler"));
    let subscribed = request
        .header("Content-Type", "application/json")
        .header("Accept", "application/json")
        .body(old.to_string())
        .send()
        .await
        .unwrap();
    assert_eq!(subscribed.status(), 200);
    let (code, findings) = examined(&all).await;
    assert_eq!(code, 4);
    has(&findings, "predecessor problem", "its framework `calico` is there, with the ID ");
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
