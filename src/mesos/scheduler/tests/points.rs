//! Points of `CHECKLIST.md` that the other tests do not show by themselves.

use super::*;
use crate::mesos::operator::OperatorClient;
use crate::mesos::testing::{Log, Names, serve_at};

/// A master that confirms subscriptions and takes calls.
fn willing(got: &Got) -> Response {
    if is_subscribe(got) { events(records(&[SUBSCRIBED]), 0, Then::Hang) } else { plain(202, "") }
}

#[tokio::test]
async fn point_01_every_request_is_application_json_to_the_byte() {
    let (master, mut received) = serve(willing).await;
    let options = options(&format!("http://{master}"));
    let (_subscription, calls) = connect(&options, framework(), vec![]).await.unwrap();
    calls.send(kill("t"));
    let _ = OperatorClient::new(&options).unwrap().get_agents().await;
    for asked in ["SUBSCRIBE", "KILL", "GET_AGENTS"] {
        let got = received.recv().await.unwrap();
        let types: Vec<_> = got.headers.get_all("content-type").into_iter().collect();
        assert_eq!(types, ["application/json"], "{asked}");
    }
}

#[tokio::test]
async fn point_06_what_was_decided_under_one_subscription_is_not_said_under_the_next() {
    let (master, mut received) = serve(willing).await;
    let options = options(&format!("http://{master}"));
    let (old, calls) = connect(&options, framework(), vec![]).await.unwrap();
    drop(old);
    calls.ended().await;
    let (_new, next) = connect(&options, framework(), vec![]).await.unwrap();
    calls.send(kill("decided-before"));
    next.send(kill("decided-after"));
    let mut said = Vec::new();
    while said.len() < 3 {
        said.push(received.recv().await.unwrap().json());
    }
    let kinds: Vec<_> = said.iter().map(|call| call["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["SUBSCRIBE", "SUBSCRIBE", "KILL"]);
    assert_eq!(said[2]["kill"]["task_id"]["value"], "decided-after");
}

#[tokio::test]
async fn point_14_a_name_is_resolved_again_at_each_attempt() {
    let addresses = ["127.0.0.1", "127.0.0.2", "127.0.0.3"];
    let (first, mut at_first) = serve(|_| plain(503, "Master has not finished recovery")).await;
    let port = first.rsplit(':').next().unwrap();
    let second = format!("{}:{port}", addresses[1]);
    let confirmed = |_: &Got| events(records(&[SUBSCRIBED]), 0, Then::End);
    let (_, mut at_second) = serve_at(&second, confirmed).await;
    let third = format!("{}:{port}", addresses[2]);
    let (_, mut at_third) = serve_at(&third, willing).await;
    let mut options = options(&format!("http://leader.test:{port}"));
    options.names = Some(Names::new(&addresses.map(|address| address.parse().unwrap())));

    let error = connect(&options, framework(), vec![]).await.unwrap_err();
    assert!(matches!(error, MesosError::NotReady { .. }), "{error:?}");
    let (mut subscription, _calls) = connect(&options, framework(), vec![]).await.unwrap();
    assert!(matches!(subscription.next().await, Ok(Event::Subscribed(_))));
    assert!(matches!(subscription.next().await, Err(MesosError::StreamEnded)));
    let (_subscription, _calls) = connect(&options, framework(), vec![]).await.unwrap();
    for received in [&mut at_first, &mut at_second, &mut at_third] {
        assert!(received.try_recv().is_ok_and(|got| is_subscribe(&got)));
        assert!(received.try_recv().is_err(), "asked once");
    }
}

#[tokio::test]
async fn point_57_every_call_is_in_the_log_with_its_ids_and_what_is_said_against_it() {
    let log = Log::default();
    let _guard = log.keep();
    let (master, _received) = serve(|got| match got.json()["type"].as_str() {
        Some("SUBSCRIBE") => events(records(&[SUBSCRIBED]), 0, Then::Hang),
        Some("KILL") => plain(400, &format!("no such task{}", "!".repeat(10_000))),
        _ => plain(202, ""),
    })
    .await;
    let options = options(&format!("http://{master}"));
    let (mut subscription, calls) = connect(&options, framework(), vec![]).await.unwrap();
    assert!(matches!(subscription.next().await, Ok(Event::Subscribed(_))));
    calls.send(Call::Message(crate::mesos::v1::scheduler::Message {
        agent_id: "S0".into(),
        executor_id: crate::mesos::v1::ExecutorId("e1".to_owned()),
        data: crate::mesos::v1::Blob(b"payload".to_vec()),
    }));
    calls.send(kill("t7"));
    assert!(subscription.next().await.is_err());
    let log = log.text();
    let line = |words: &str| {
        let found = log.lines().find(|line| line.contains(words));
        found.unwrap_or_else(|| panic!("no {words}: {log}")).to_owned()
    };
    assert!(line("subscribed").contains("framework=F-0"));
    let message = line("MESSAGE to e1");
    assert!(message.contains("stream-1") && message.contains("status=202"), "{message}");
    let refused = line("no such task");
    assert!(refused.contains("KILL of t7") && refused.contains("stream-1"), "{refused}");
    assert!(refused.len() < 5_000, "{} bytes", refused.len());
    assert!(!log.contains("payload") && !log.contains("cGF5bG9hZA"), "{log}");
}
