//! Acceptance scenarios of tasks and agents, by their numbers, with a whole controller over HTTP.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use calico_dcos::mesos::v1::Resource;
use calico_dcos::observed::fleet::Condition;
use calico_dcos::sim::mesos::NetworkFaults;
use calico_dcos::sim::wire::HostSignal;
use calico_dcos::store::{Key, Txn};
use calico_dcos::surface::state::State;
use calico_dcos::words::HostName;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::bench::{Bench, Setting, document, reasons};
use crate::gate::{Call, Event};

fn slot_of(state: &State, host: &HostName) -> Option<String> {
    state.hosts[host].slot.as_ref().map(|slot| format!("{:?}", slot.state))
}

fn is(state: &State, host: &HostName, code: &str) -> bool {
    reasons(state).get(host).is_some_and(|reason| reason.0 == code)
}

/// The IDs of the tasks that calls of this kind named.
fn named(calls: &[(String, Value)], kind: &str) -> Vec<String> {
    let ids = |call: &Value| -> Vec<String> {
        let tasks = match kind {
            "ACCEPT" => call.pointer("/accept/operations/0/launch/task_infos"),
            "RECONCILE" => call.pointer("/reconcile/tasks"),
            _ => return vec![call["kill"]["task_id"]["value"].as_str().unwrap().to_owned()],
        };
        // A reconciliation that names none is about all of them.
        let tasks = tasks.and_then(Value::as_array).into_iter().flatten();
        tasks.map(|task| task["task_id"]["value"].as_str().unwrap().to_owned()).collect()
    };
    calls.iter().filter(|(name, _)| name == kind).flat_map(|(_, call)| ids(call)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn s64_a_slot_stays_with_a_host_that_is_unreachable_until_it_is_marked_gone() {
    let bench = Bench::new(Setting { restart_seconds: 3.0, ..Setting::default() }).await;
    let _controller = bench.start();
    let (host, index) = bench.held().await;
    let agent = bench.agent_id(index).await;
    let lost = host.clone();
    bench.hosts(move |cluster, now| cluster.power_cut(now, &lost, 3_600_000)).await;
    let away = |state: &State| {
        let observed = state.hosts[&host].observed.as_ref();
        observed.is_some_and(|it| it.agent.condition == Condition::Unreachable)
    };
    let state = bench.until("unreachable", away).await;
    assert!(slot_of(&state, &host).is_some(), "its slot is freed by silence");
    assert!(is(&state, &host, "unreachable"), "{:?}", reasons(&state));
    bench.gate.heartbeats(2).await;
    let state = bench.state().await;
    assert!(slot_of(&state, &host).is_some(), "its slot is freed by time");
    assert!(state.hosts.iter().all(|(name, it)| *name == host || it.slot.is_none()));
    let removed = host.clone();
    bench.hosts(move |cluster, now| cluster.gone(now, &removed)).await;
    bench.operate("MARK_AGENT_GONE", json!({ "agent_id": agent })).await;
    let state = bench.in_sync(2).await;
    assert!(is(&state, &host, "gone"), "{:?}", reasons(&state));
    assert_eq!(slot_of(&state, &host), None);
    bench.no_breach().await;
    bench.bounded(1, &[("RECONCILE", 10), ("KILL", 5)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn s65_an_agent_that_comes_back_under_another_id_is_the_same_host() {
    let bench = Bench::new(Setting { restart_seconds: 1.0, ..Setting::default() }).await;
    let _controller = bench.start();
    let (host, index) = bench.held().await;
    let before = bench.agent_id(index).await;
    let name = host.clone();
    bench.hosts(move |cluster, now| cluster.forget_agent(now, &name)).await;
    let state = bench.converged(1).await;
    assert_ne!(bench.agent_id(index).await, before);
    assert_eq!((state.hosts.len(), slot_of(&state, &host)), (3, None));
    let restarts = bench
        .hosts(move |cluster, _| cluster.host(&host).map(|host| host.witness().restarts.len()))
        .await;
    assert_eq!(restarts, Some(1), "it is restarted once for one change");
    bench.quiet().await;
    bench.bounded(1, &[("RECONCILE", 10), ("ACCEPT", 3), ("KILL", 5), ("REVIVE", 2)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn s68_a_failure_told_twice_and_out_of_order_is_one_failure() {
    let bench = Bench::new(Setting { hosts: 1, ..Setting::default() }).await;
    let host = HostName::from("a1");
    let twice = NetworkFaults { duplicate: 1.0, ..NetworkFaults::default() };
    let name = host.clone();
    bench
        .hosts(move |cluster, now| {
            cluster.set_network(now, twice);
            cluster.fail_restarts(&name, 1);
        })
        .await;
    // After each end of a task an older state of it comes.
    bench.gate.events(|event| {
        let state = &event["update"]["status"]["state"];
        if !["TASK_FAILED", "TASK_FINISHED", "TASK_KILLED"].iter().any(|end| state == end) {
            return Event::Pass;
        }
        let mut late = event.clone();
        late["update"]["status"]["state"] = json!("TASK_RUNNING");
        late["update"]["status"]["uuid"] = json!("b2xkIG9sZCBvbGQgb2xkIQ==");
        Event::Then(late)
    });
    let _controller = bench.start();
    let state = bench.until("backing off", |state| is(state, &host, "backing-off")).await;
    let failures = |state: &State| state.hosts[&host].progress.as_ref().map(|it| it.failures);
    assert_eq!(failures(&state), Some(1));
    bench.gate.heartbeats(3).await;
    let state = bench.state().await;
    assert_eq!(failures(&state), Some(1));
    assert!(slot_of(&state, &host).is_some());
    assert!(is(&state, &host, "backing-off"), "{:?}", reasons(&state));
    // The observer, the change, and not yet a second one.
    assert_eq!(bench.launched().await, 2);
    // What is over and seems to run again is told to end.
    bench.bounded(1, &[("ACKNOWLEDGE", 10), ("KILL", 6)]);
}

/// An agent is away for longer than the master waits, and comes back with its executor.
async fn lost_and_found(version: &'static str, lost: &str) {
    let bench = Bench::new(Setting { version, ..Setting::default() }).await;
    let _controller = bench.start();
    bench.converged(1).await;
    let launched = bench.launched().await;
    let signal = |signal| bench.hosts(move |cluster, now| cluster.mesos.from_host(now, 0, signal));
    signal(HostSignal::AgentStopped).await;
    let is_lost = |status: &&Value| status["state"] == lost && status.get("uuid").is_none();
    bench.gate.until(lost, |log| log.updates().filter(is_lost).count() == 2).await;
    let gone: Vec<Value> = bench
        .gate
        .look(|log| log.updates().filter(is_lost).map(|s| s["task_id"].clone()).collect());
    signal(HostSignal::AgentStarted).await;
    let back = |log: &crate::gate::Log| {
        let after = log.events.iter().rev().take_while(|event| {
            let status = &event["update"]["status"];
            status["state"] != lost
        });
        let running = after.filter(|event| event["update"]["status"]["state"] == "TASK_RUNNING");
        let ids = running.map(|event| event["update"]["status"]["task_id"].to_string());
        ids.collect::<BTreeSet<_>>().len() == gone.len()
    };
    bench.gate.until("running again", back).await;
    bench.converged(1).await;
    bench.gate.heartbeats(3).await;
    assert_eq!(bench.launched().await, launched, "launched although it runs");
    assert_eq!(bench.gate.look(|log| log.count("KILL")), 0);
    bench.bounded(1, &[("RECONCILE", 10)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn s69_an_unreachable_task_that_runs_again_is_adopted() {
    lost_and_found("1.11.0", "TASK_UNREACHABLE").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s69_a_lost_task_that_runs_again_is_adopted() {
    lost_and_found("1.0.0", "TASK_LOST").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s70_a_task_that_its_executor_took_along_is_launched_again_under_its_slot() {
    let bench = Bench::new(Setting { restart_seconds: 1.0, ..Setting::default() }).await;
    let _controller = bench.start();
    let (host, _) = bench.held().await;
    let name = host.clone();
    bench.hosts(move |cluster, now| cluster.kill_executor(now, &name)).await;
    bench
        .gate
        .until("FAILED", |log| {
            log.updates().any(|status| status["reason"] == "REASON_EXECUTOR_TERMINATED")
        })
        .await;
    // Nobody else is disrupted before it has said that all is well: that is what this checks too.
    bench.converged(1).await;
    let restarts = bench
        .hosts(move |cluster, _| cluster.host(&host).map(|host| host.witness().restarts.len()))
        .await;
    assert_eq!(restarts, Some(1), "what was under way is carried on");
    bench.quiet().await;
    bench.bounded(1, &[("ACCEPT", 3), ("REVIVE", 2), ("RECONCILE", 5)]);
}

/// Point 42 of `CHECKLIST.md`.
#[tokio::test(flavor = "multi_thread")]
async fn s70_a_task_that_mesos_finds_wrong_has_failed_and_is_not_launched_again() {
    let bench = Bench::new(Setting::default()).await;
    // Changes ask for nothing, which is no valid task.
    bench.gate.calls(|name, call| {
        if name == "ACCEPT" {
            let tasks = &mut call["accept"]["operations"][0]["launch"]["task_infos"];
            for task in tasks.as_array_mut().unwrap() {
                if task["task_id"]["value"].as_str().unwrap().starts_with("change") {
                    task["resources"] = json!([]);
                }
            }
        }
        Call::Pass
    });
    let _controller = bench.start();
    let failed = |state: &State| reasons(state).values().any(|reason| reason.0 == "failed");
    bench.until("failed", failed).await;
    let error = |log: &crate::gate::Log| {
        log.updates().filter(|status| status["state"] == "TASK_ERROR").count()
    };
    assert_eq!(bench.gate.look(error), 1);
    bench.gate.heartbeats(3).await;
    assert_eq!(bench.gate.look(error), 1, "the same again would fail again");
    assert_eq!(bench.launched().await, 3, "the observers");
    bench.bounded(1, &[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn s71_a_task_that_nobody_wrote_down_is_killed_until_it_has_ended_and_no_known_one_is() {
    let bench = Bench::new(Setting::default()).await;
    let controller = bench.start();
    let state = bench.converged(1).await;
    drop(controller);
    // While nobody looks, an agent is cut off, and what was written down of its tasks is lost.
    let host = HostName::from("a1");
    let signal = |signal| bench.hosts(move |cluster, now| cluster.mesos.from_host(now, 0, signal));
    signal(HostSignal::AgentStopped).await;
    let strays: BTreeSet<String> =
        state.hosts[&host].tasks.tasks.values().map(|task| task.id.to_string()).collect();
    assert_eq!(strays.len(), 2);
    let _ = bench.store.txn(&Txn::new().delete(Key::Tasks(host.clone()))).await.unwrap();
    // The first kill of each does not arrive.
    let mut lost = BTreeSet::new();
    bench.gate.calls(move |name, call| {
        let id = call["kill"]["task_id"]["value"].as_str().unwrap_or_default();
        if name == "KILL" && lost.insert(id.to_owned()) { Call::Swallow } else { Call::Pass }
    });
    let _controller = bench.start();
    let subscribed = |log: &crate::gate::Log| log.events("SUBSCRIBED").count() == 2;
    bench.gate.until("a second subscription", subscribed).await;
    let away = |state: &State| {
        let observed = state.hosts[&host].observed.as_ref();
        observed.is_some_and(|it| it.agent.condition == Condition::Unreachable)
    };
    bench.until("unreachable", away).await;
    signal(HostSignal::AgentStarted).await;
    let ended = |log: &crate::gate::Log| {
        let killed = log.updates().filter(|status| status["state"] == "TASK_KILLED");
        killed.map(|status| status["task_id"].to_string()).collect::<BTreeSet<_>>().len() == 2
    };
    bench.gate.until("killed", ended).await;
    bench.converged(1).await;
    let kills = bench.gate.look(|log| named(&log.calls, "KILL"));
    assert_eq!(kills.iter().cloned().collect::<BTreeSet<_>>(), strays, "those and no others");
    assert!(kills.len() <= 6, "{kills:?}");
    let restarts = bench
        .hosts(move |cluster, _| cluster.host(&host).map(|host| host.witness().restarts.len()))
        .await;
    assert_eq!(restarts, Some(1), "what runs on needs no restart");
    bench.quiet().await;
    bench.bounded(2, &[("KILL", 3), ("ACCEPT", 2), ("RECONCILE", 10)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn s72_an_offer_that_is_too_small_is_declined_for_long_and_what_lacks_is_named() {
    let bench = Bench::new(Setting {
        agent: |index, agent| {
            if index == 1 {
                agent.resources =
                    vec![Resource::scalar("cpus", 0.15), Resource::scalar("mem", 512.0)];
                agent.resources.iter_mut().for_each(|it| it.role = Some("*".to_owned()));
            }
        },
        ..Setting::default()
    })
    .await;
    let _controller = bench.start();
    let host = HostName::from("a2");
    let state = bench
        .until("two in sync, and one with its reason", |state| {
            let done = crate::bench::summary(state).is_some_and(|it| it.in_sync == 2);
            done && is(state, &host, "insufficient-resources")
        })
        .await;
    let said = &reasons(&state)[&host].1;
    assert!(said.contains("cpus") && said.contains("0.04 offered"), "{said}");
    let small = bench.agent_id(1).await;
    let (launched, declined) = bench.gate.look(|log| {
        let offers = log.events("OFFERS").flat_map(|e| e["offers"]["offers"].as_array().unwrap());
        let ids: Vec<_> =
            offers.filter(|offer| offer["agent_id"] == small).map(|offer| &offer["id"]).collect();
        let uses = |kind: &str, call: &Value| {
            let ids_of = call[kind]["offer_ids"].as_array().into_iter().flatten();
            ids_of.filter(|id| ids.contains(id)).count()
        };
        let launched: usize = log.calls.iter().map(|(_, call)| uses("accept", call)).sum();
        let declined = log.calls.iter().filter(|(_, call)| uses("decline", call) > 0);
        let seconds =
            declined.map(|(_, call)| call["decline"]["filters"]["refuse_seconds"].clone());
        (launched, seconds.collect::<Vec<_>>())
    });
    assert_eq!(launched, 1, "the observer");
    assert!(declined.iter().any(|seconds| seconds.as_f64() >= Some(60.0)), "{declined:?}");
    bench.bounded(1, &[("DECLINE", 10)]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: a bucket is filled in real time"]
async fn long_s72_however_much_work_appears_offers_are_asked_for_through_a_bucket() {
    let bench = Bench::new(Setting::default()).await;
    let begin = Instant::now();
    let _controller = bench.start();
    bench.converged(1).await;
    for version in 2..=4 {
        bench.put(&document(&format!("calico/node:v{version}"))).await;
        bench.converged(version).await;
    }
    let revived = bench.gate.look(|log| log.count("REVIVE"));
    let most = 2 + begin.elapsed().as_secs() / 5;
    assert!(revived > 0 && revived as u64 <= most, "{revived} in {:?}", begin.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn s73_an_offer_that_is_taken_back_is_not_launched_on() {
    let bench = Bench::new(Setting { restart_seconds: 6.0, ..Setting::default() }).await;
    let _controller = bench.start();
    let (_, busy) = bench.held().await;
    // The next in line is offered while the first one restarts, and then taken out.
    let others: Vec<_> = (0..3).filter(|index| *index != busy).collect();
    let mut agents = Vec::new();
    for index in &others {
        agents.push(json!({ "agent_id": bench.agent_id(*index).await }));
    }
    let next = |log: &crate::gate::Log| agents.iter().any(|it| log.held(&it["agent_id"]) > 0);
    bench.gate.until("an offer held", next).await;
    for agent in &agents {
        bench.operate("DEACTIVATE_AGENT", agent.clone()).await;
    }
    bench.gate.until("a RESCIND", |log| log.events("RESCIND").count() > 0).await;
    bench.in_sync(1).await;
    bench.gate.heartbeats(2).await;
    let rescinded = bench.gate.look(|log| {
        let offers = log.events("RESCIND").map(|event| event["rescind"]["offer_id"].clone());
        offers.collect::<Vec<_>>()
    });
    for agent in agents {
        bench.operate("REACTIVATE_AGENT", agent).await;
    }
    bench.converged(1).await;
    let used = bench.gate.look(|log| {
        let accepts = log.calls.iter().filter(|(kind, _)| kind == "ACCEPT");
        let used = accepts.flat_map(|(_, call)| call["accept"]["offer_ids"].as_array().unwrap());
        used.cloned().collect::<Vec<_>>()
    });
    assert!(rescinded.iter().all(|offer| !used.contains(offer)), "{rescinded:?} {used:?}");
    bench.quiet().await;
    bench.bounded(1, &[("REVIVE", 3), ("DECLINE", 10)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn s74_nothing_is_launched_before_all_have_answered_and_the_silent_are_asked_ever_later() {
    let bench = Bench::new(Setting::default()).await;
    let controller = bench.start();
    bench.converged(1).await;
    drop(controller);
    bench.put(&document("calico/node:v2")).await;
    let silent = Arc::new(AtomicBool::new(true));
    let are_silent = Arc::clone(&silent);
    // All are asked for first. Those of the first host answer, and the other four when the test
    // says so.
    let first = bench.agent_id(0).await;
    bench.gate.events(move |event| {
        let silent = are_silent.load(Ordering::SeqCst);
        let status = &event["update"]["status"];
        let answer = status["reason"] == "REASON_RECONCILIATION" && status["agent_id"] != first;
        if silent && answer { Event::Drop } else { Event::Pass }
    });
    let (before, begin) = (bench.gate.look(|log| log.calls.len()), Instant::now());
    let total = bench.launched().await;
    let _controller = bench.start();
    let asked = |log: &crate::gate::Log| {
        let asks = log.calls[before..].iter().filter(|(kind, _)| kind == "RECONCILE");
        asks.map(|ask| named(std::slice::from_ref(ask), "RECONCILE").len()).collect::<Vec<_>>()
    };
    // After one second, and after two more. On a busy machine those that answer may be asked once
    // more before their answer is read.
    let silent_asked =
        |log: &crate::gate::Log| asked(log).iter().filter(|count| **count >= 4).count();
    bench.gate.until("the silent are asked twice", |log| silent_asked(log) >= 2).await;
    assert!(begin.elapsed() >= Duration::from_secs(3), "{:?}", begin.elapsed());
    assert_eq!(bench.gate.look(asked)[0], 0, "at first all are asked for");
    let accepted = bench.gate.look(|log| {
        let accepts = log.calls[before..].iter().filter(|(kind, _)| kind == "ACCEPT");
        accepts.cloned().collect::<Vec<_>>()
    });
    // The host whose tasks have answered does not have to wait for the others, once all were asked.
    let order: Vec<String> = bench.gate.look(|log| {
        let calls = log.calls[before..].iter().map(|(kind, _)| kind.clone());
        calls.filter(|kind| kind == "RECONCILE" || kind == "ACCEPT").take(3).collect()
    });
    assert!(order.starts_with(&["RECONCILE".to_owned(), "RECONCILE".to_owned()]), "{order:?}");
    let of_first = named(&accepted, "ACCEPT").iter().all(|id| id.contains(".a1."));
    assert!(of_first, "{accepted:?}");
    silent.store(false, Ordering::SeqCst);
    bench.converged(2).await;
    assert_eq!(bench.launched().await - total, 3);
    bench.quiet().await;
    bench.bounded(2, &[("ACCEPT", 3), ("REVIVE", 2), ("RECONCILE", 6)]);
}
