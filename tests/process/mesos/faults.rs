//! What may go wrong between a controller and its master.

use std::time::Duration;

use calico_dcos::sim::mesos::NetworkFaults;
use calico_dcos::sim::wire::HostSignal;
use calico_dcos::store::{EtcdOptions, EtcdStore, Key, Txn};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::bench::{Bench, LEASE, Setting, document};
use crate::gate::{Call, Event};

#[tokio::test(flavor = "multi_thread")]
async fn without_any_fault_each_call_is_made_as_often_as_it_has_to_be() {
    let bench = Bench::new(Setting::default()).await;
    let _controller = bench.start();
    bench.converged(1).await;
    bench.put(&document("calico/node:v2")).await;
    bench.converged(2).await;
    bench.quiet().await;
    // An observer, a change and a supervisor for each host, and a supervisor for the edit.
    bench.bounded(1, &[("ACCEPT", 3)]);
    assert_eq!(bench.launched().await, 3 * 4);
}

/// The stream breaks in one way or another when the first host is done.
async fn a_stream_that(breaks: Event, words: &str) {
    let bench = Bench::new(Setting::default()).await;
    let controller = bench.start();
    bench.in_sync(1).await;
    bench.gate.next_event(breaks);
    bench.gate.until("a second subscription", |log| log.count("SUBSCRIBE") == 2).await;
    bench.converged(1).await;
    bench.quiet().await;
    bench.bounded(2, &[]);
    // A call that was under way may be the first to tell.
    let said = controller.said();
    let lost = "no longer knows the subscription";
    assert!(said.contains(words) || said.contains(lost), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_stalls_is_given_up_when_heartbeats_are_missing() {
    a_stream_that(Event::Stall, "the Mesos master has been silent for 2.5 s").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_breaks_in_a_record_is_made_anew() {
    a_stream_that(Event::Break, "the event stream of the Mesos master broke off").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_ends_in_a_record_is_made_anew() {
    a_stream_that(Event::End, "the event stream of the Mesos master cannot be read").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_launch_whose_answer_is_lost_is_found_again_and_not_repeated() {
    let bench = Bench::new(Setting::default()).await;
    let controller = bench.start();
    bench.in_sync(1).await;
    bench.gate.next_call("ACCEPT", Call::LoseAnswer);
    bench.converged(1).await;
    bench.quiet().await;
    bench.bounded(2, &[]);
    let said = controller.said();
    assert!(said.contains("ACCEPT for [") && said.contains("did not answer"), "{said}");
    assert_eq!(bench.launched().await, 3 * 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn updates_that_come_twice_late_and_out_of_order_change_nothing() {
    let bench = Bench::new(Setting::default()).await;
    let network = NetworkFaults { lose: 0.1, duplicate: 0.5, delay: 0.5, delay_limit: 300 };
    bench.hosts(move |cluster, now| cluster.set_network(now, network)).await;
    // And the master says each of them twice.
    bench.gate.events(|event| match event["type"].as_str() {
        Some("UPDATE") => Event::Twice,
        _ => Event::Pass,
    });
    let _controller = bench.start();
    bench.converged(1).await;
    assert_eq!(bench.launched().await, 3 * 3);
    bench.bounded(1, &[("ACKNOWLEDGE", 200), ("MESSAGE", 30), ("KILL", 10), ("RECONCILE", 10)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offer_that_expires_before_it_is_accepted_costs_one_more_launch() {
    let bench = Bench::new(Setting::default()).await;
    let _controller = bench.start();
    bench.in_sync(1).await;
    let (go, wait) = oneshot::channel();
    let accepts = bench.gate.look(|log| log.count("ACCEPT"));
    bench.gate.next_call("ACCEPT", Call::Wait(wait));
    bench.gate.until("an ACCEPT", |log| log.count("ACCEPT") > accepts).await;
    // All offers are taken back, and made anew.
    for agent in 0..3 {
        let parameters = json!({ "agent_id": bench.agent_id(agent).await });
        bench.operate("DEACTIVATE_AGENT", parameters.clone()).await;
        bench.operate("REACTIVATE_AGENT", parameters).await;
    }
    drop(go);
    bench.converged(1).await;
    bench.quiet().await;
    bench.bounded(1, &[("ACCEPT", 3), ("REVIVE", 2)]);
    let dropped = bench.gate.look(|log| {
        log.updates().filter(|status| status["reason"] == "REASON_INVALID_OFFERS").count()
    });
    assert!(dropped > 0, "the offers were still valid");
    assert_eq!(bench.launched().await, 3 * 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_master_in_the_middle_of_a_rollout_changes_nothing_for_the_hosts() {
    let bench = Bench::new(Setting { hosts: 4, ..Setting::default() }).await;
    let _controller = bench.start();
    for done in 1..=3 {
        bench.in_sync(done).await;
        bench.hosts(|cluster, now| cluster.mesos.master_failover(now)).await;
    }
    bench.converged(1).await;
    bench.quiet().await;
    // A new master answers 503 at first.
    bench.bounded(4 + 6, &[("RECONCILE", 20), ("ACKNOWLEDGE", 20)]);
    assert_eq!(bench.launched().await, 4 * 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_launch_that_its_executor_does_not_get_is_dropped_and_made_anew() {
    let bench =
        Bench::new(Setting { timings: |timings| timings.next_launch = 500, ..Setting::default() })
            .await;
    let _controller = bench.start();
    bench.in_sync(1).await;
    let (go, wait) = oneshot::channel();
    let accepts = bench.gate.look(|log| log.count("ACCEPT"));
    bench.gate.next_call("ACCEPT", Call::AnswerLater(wait));
    bench.gate.until("an ACCEPT", |log| log.count("ACCEPT") > accepts).await;
    // The executor has no stream, and a task waits for it, when its agent starts anew.
    bench
        .hosts(|cluster, now| {
            for agent in 0..3 {
                cluster.mesos.from_host(now, agent, HostSignal::AgentStopped);
                cluster.mesos.from_host(now, agent, HostSignal::AgentStarted);
            }
        })
        .await;
    drop(go);
    bench.converged(1).await;
    bench.quiet().await;
    let dropped = bench.gate.look(|log| {
        let dropped = log.updates().filter(|status| status["state"] == "TASK_DROPPED");
        dropped.map(|status| status["reason"].clone()).collect::<Vec<_>>()
    });
    assert!(!dropped.is_empty(), "nothing was dropped");
    bench.bounded(1, &[("ACCEPT", 3), ("REVIVE", 2)]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: pauses that grow, in real time"]
async fn long_a_leader_that_is_not_there_is_asked_again_with_growing_pauses() {
    let bench = Bench::new(Setting::default()).await;
    let controller = bench.start();
    bench.in_sync(1).await;
    let nobody = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    bench.gate.calls(move |name, _| match name {
        "SUBSCRIBE" => Call::Redirect(format!("//{nobody}/master/api/v1/scheduler")),
        _ => Call::Pass,
    });
    let begin = Instant::now();
    bench.gate.next_event(Event::Break);
    bench.gate.until("asked again", |log| log.count("SUBSCRIBE") == 1 + 4).await;
    // Four pauses were drawn below 0.5, 1, 2 and 4 seconds.
    assert!(begin.elapsed() > Duration::from_millis(100), "in {:?}", begin.elapsed());
    bench.gate.calls(|_, _| Call::Pass);
    bench.converged(1).await;
    bench.quiet().await;
    bench.bounded(6, &[]);
    let said = controller.said();
    assert!(said.contains(&format!("master at http://{nobody}")), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_framework_that_an_operator_removed_ends_the_controller_with_what_to_do() {
    let bench = Bench::new(Setting::default()).await;
    let controller = bench.start();
    bench.in_sync(1).await;
    let framework = bench
        .gate
        .look(|log| log.events("SUBSCRIBED").last().unwrap()["subscribed"]["framework_id"].clone());
    bench.operate("TEARDOWN", json!({ "framework_id": framework })).await;
    let (code, said) = controller.ends().await;
    assert_eq!(code, Some(4), "{said}");
    let errors: Vec<_> = said.lines().filter(|line| line.starts_with("error:")).collect();
    assert_eq!(errors.len(), 1, "{said}");
    assert!(errors[0].contains("has removed this framework and its tasks"), "{said}");
    // It does not come back as another framework, and not with the same ID either.
    bench.bounded(2, &[]);
    // Nor does the next one that somebody starts.
    let (code, _) = bench.start().ends().await;
    assert_eq!(code, Some(4));
    bench.bounded(3, &[]);
    bench.no_breach().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_schedulers_with_one_framework_id_the_first_stands_down_and_they_do_not_fight() {
    let bench = Bench::new(Setting::default()).await;
    let controller = bench.start();
    bench.in_sync(1).await;
    let mut framework = bench.gate.look(|log| {
        let subscribe = log.calls.iter().rfind(|(kind, _)| kind == "SUBSCRIBE");
        subscribe.unwrap().1["subscribe"]["framework_info"].clone()
    });
    framework["id"] = bench
        .gate
        .look(|log| log.events("SUBSCRIBED").last().unwrap()["subscribed"]["framework_id"].clone());
    // Somebody else: not through the gate.
    let masters = format!("http://{}", bench.mesos.address()).parse().unwrap();
    let options = calico_dcos::mesos::Options::new(masters);
    let info = serde_json::from_value(framework).unwrap();
    let (mut other, _calls) =
        calico_dcos::mesos::scheduler::connect(&options, info, vec![]).await.unwrap();
    let lost = loop {
        if let Err(error) = other.next().await {
            break error;
        }
    };
    // Ours waited for the length of its lease, and took it back.
    assert!(matches!(lost, calico_dcos::mesos::MesosError::FailedOver), "{lost}");
    bench.gate.until("subscribed again", |log| log.events("SUBSCRIBED").count() == 2).await;
    bench.gate.heartbeats(3).await;
    bench.no_breach().await;
    bench.bounded(2, &[]);
    let said = controller.said();
    assert!(said.contains("another scheduler has taken over this framework"), "{said}");
}

/// They would end each other's tasks for ever: nobody can tell which of them is the right one.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_prefixes_with_one_framework_id_one_ends_and_says_why() {
    let bench = Bench::new(Setting { hosts: 1, ..Setting::default() }).await;
    let first = bench.start();
    bench.converged(1).await;
    let id = bench.store.get(&Key::FrameworkId).await.unwrap().unwrap().value;
    let options = EtcdOptions {
        endpoints: vec![bench.etcd.endpoint()],
        prefix: "/other".to_owned(),
        ..EtcdOptions::default()
    };
    let other = EtcdStore::connect(&options).await.unwrap();
    let _ = other.txn(&Txn::new().put(Key::FrameworkId, id.as_str())).await.unwrap();
    let endpoint = bench.etcd.endpoint();
    let second = bench.start_under("/other", "other", LEASE, &endpoint, bench.gate.address);
    // It was the first to be taken over twice.
    let (code, said) = first.ends().await;
    assert_eq!(code, Some(4), "{said}");
    let errors: Vec<_> = said.lines().filter(|line| line.starts_with("error:")).collect();
    assert!(matches!(errors[..], [error] if error.contains("another prefix")), "{said}");
    bench.gate.heartbeats(3).await;
    let subscriptions = bench.gate.look(|log| log.count("SUBSCRIBE"));
    assert_eq!(subscriptions, 4, "each once, and once more: {}", second.said());
    bench.no_breach().await;
}

/// What no master would say.
fn lies() -> Vec<Value> {
    let update = |task: &str, state: &str| {
        json!({"type": "UPDATE", "update": {"status": {
            "task_id": {"value": task}, "agent_id": {"value": ""}, "state": state,
            "source": "SOURCE_MARS", "reason": "REASON_WHIM", "timestamp": -1.5e300,
            "uuid": "", "unreachable_time": {"nanoseconds": i64::MIN}, "new_field": [{}],
        }}})
    };
    let away = json!({"start": {"nanoseconds": i64::MIN}, "duration": {"nanoseconds": -1}});
    let odd = "../../a1\u{0}/\n\u{202e}\u{e9}%2F";
    let offer = json!({
        "id": {"value": odd}, "framework_id": {"value": "x"}, "agent_id": {"value": odd},
        "hostname": odd, "unavailability": away, "attributes": [], "executor_ids": [],
        "resources": [
            {"name": "cpus", "type": "SCALAR", "scalar": {"value": -1e300}},
            {"name": "mem", "type": "SCALAR", "scalar": {"value": 1e300}},
            {"name": "warp", "type": "TENSOR", "role": odd},
        ],
    });
    let inverse = json!({
        "id": {"value": odd}, "framework_id": {"value": "x"}, "agent_id": {"value": odd},
        "unavailability": away,
    });
    vec![
        json!({"type": "TIME_TRAVEL", "time_travel": [odd]}),
        update(odd, "TASK_MELTING"),
        update(&"x".repeat(100_000), "TASK_RUNNING"),
        json!({"type": "OFFERS", "offers": {"offers": [offer]}}),
        json!({"type": "INVERSE_OFFERS", "inverse_offers": {"inverse_offers": [inverse]}}),
        json!({"type": "RESCIND", "rescind": {"offer_id": {"value": odd}}}),
        json!({"type": "FAILURE", "failure": {"agent_id": {"value": odd}, "status": -1}}),
        json!({"type": "MESSAGE", "message": {"agent_id": {"value": odd},
            "executor_id": {"value": odd}, "data": "ey4u"}}),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_cannot_be_true_change_nothing() {
    let bench = Bench::new(Setting::default()).await;
    let lies = lies();
    let mut next = 0;
    bench.gate.events(move |event| {
        if event["type"] == "SUBSCRIBED" {
            return Event::Pass;
        }
        next += 1;
        Event::Then(lies[next % lies.len()].clone())
    });
    let controller = bench.start();
    bench.converged(1).await;
    assert!(bench.gate.look(|log| log.events("TIME_TRAVEL").count()) > 0);
    assert_eq!(bench.launched().await, 3 * 3);
    assert_eq!(bench.state().await.hosts.len(), 3, "a host is there that nobody listed");
    bench.bounded(
        1,
        &[
            ("KILL", 50),
            ("DECLINE", 60),
            ("DECLINE_INVERSE_OFFERS", 60),
            ("ACCEPT_INVERSE_OFFERS", 60),
            ("ACKNOWLEDGE", 60),
            ("operator GET_AGENTS", 30),
            ("REVIVE", 10),
            ("RECONCILE", 20),
            ("SUPPRESS", 30),
        ],
    );
    assert!(!controller.said().contains("panicked"), "{}", controller.said());
}
