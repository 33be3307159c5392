//! `rollout.drain` over HTTP: what the master's schedule holds, and when.

use axum::http::StatusCode;
use calico_dcos::surface::state::State;
use calico_dcos::words::HostName;
use serde_json::{Value, json};

use crate::bench::{Bench, Setting, document, reasons};
use crate::gate::Call;
use crate::support::PATIENCE;

fn drained(image: &str) -> String {
    document(image).replace("rollout: {", "rollout: {drain: {mode: maintenance, waitSeconds: 1}, ")
}

/// Maintenance of a machine that is no agent of ours.
fn of_others() -> Value {
    json!({
        "machine_ids": [{ "hostname": "elsewhere", "ip": "10.9.9.9" }],
        "unavailability": { "start": { "nanoseconds": 1_795_366_297_598_000_128_i64 } },
    })
}

impl Bench {
    async fn windows(&self) -> Vec<Value> {
        let schedule = self.hosts(|cluster, _| cluster.mesos.maintenance_schedule()).await;
        schedule["windows"].as_array().cloned().unwrap_or_default()
    }
}

fn announced(state: &State) -> Option<HostName> {
    let given = |notice: &calico_dcos::plan::notice::Notice| notice.given.is_some();
    let mut hosts = state.hosts.iter();
    hosts.find(|(_, host)| host.notice.as_ref().is_some_and(given)).map(|(name, _)| name.clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn s82_the_schedule_is_edited_and_only_ours_is_taken_back_also_by_the_next_leader() {
    let bench = Bench::new(Setting::default()).await;
    let schedule = json!({ "schedule": { "windows": [of_others()] } });
    bench.operate("UPDATE_MAINTENANCE_SCHEDULE", schedule).await;
    bench.put(&drained("calico/node:v1")).await;
    let controller = bench.start();
    let state = bench.until("a notice given", |state| announced(state).is_some()).await;
    let host = announced(&state).unwrap();
    let windows = bench.windows().await;
    assert!(windows.contains(&of_others()), "{windows:?}");
    let ours = |window: &Value| window["machine_ids"][0]["hostname"] == host.as_str();
    assert!(windows.iter().any(ours), "{windows:?}");
    // Killed while its announcement stands.
    drop(controller);
    let _controller = bench.start();
    bench.converged(1).await;
    // Its records stay for a minute more: an edit of the first controller may still arrive.
    let taken_back = async {
        while bench.windows().await != [of_others()] {
            bench.gate.heartbeats(1).await;
        }
    };
    tokio::time::timeout(PATIENCE, taken_back).await.expect("ours are taken back");
    // Each edit takes all offers back, so that launches are tried again.
    let edits = [
        ("operator GET_MAINTENANCE_SCHEDULE", 40),
        ("operator UPDATE_MAINTENANCE_SCHEDULE", 20),
        ("ACCEPT_INVERSE_OFFERS", 40),
        ("ACCEPT", 10),
        ("DECLINE", 60),
        ("REVIVE", 10),
        ("RECONCILE", 10),
        ("KILL", 10),
    ];
    bench.bounded(2, &edits);
}

#[tokio::test(flavor = "multi_thread")]
async fn s82_a_master_that_keeps_its_schedule_to_itself_holds_the_hosts_and_says_so() {
    let bench = Bench::new(Setting { hosts: 1, ..Setting::default() }).await;
    bench.gate.calls(|kind, _| match kind {
        "operator UPDATE_MAINTENANCE_SCHEDULE" => Call::Refuse(StatusCode::FORBIDDEN, "not you"),
        _ => Call::Pass,
    });
    bench.put(&drained("calico/node:v1")).await;
    let _controller = bench.start();
    let held = |state: &State| {
        let mut reasons = reasons(state).into_values();
        reasons.any(|(code, text)| code == "waiting-for-gate" && text.contains("not you"))
    };
    let state = bench.until("held", held).await;
    assert!(state.hosts.values().all(|host| host.slot.is_none()));
    assert_eq!(bench.windows().await, Vec::<Value>::new());
    // The desire goes, and with it what held them.
    bench.put(&document("calico/node:v1")).await;
    bench.converged(1).await;
}
