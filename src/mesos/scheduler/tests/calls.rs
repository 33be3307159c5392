//! Calls: their order, and what their failures mean.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use reqwest::StatusCode;

use super::*;
use crate::mesos::recording::What;
use crate::mesos::scheduler::calls::refusal;

#[tokio::test]
async fn point_06_and_12_calls_are_made_in_order_under_the_subscription_and_only_under_it() {
    let (master, mut received) = serve(|got| {
        if is_subscribe(got) {
            events(records(&[SUBSCRIBED]), 0, Then::Hang)
        } else {
            plain(202, "")
        }
    })
    .await;
    let roles = vec!["*".to_owned()];
    let options = options(&format!("http://{master}"));
    let (subscription, calls) = connect(&options, framework(), roles).await.unwrap();
    assert_eq!(subscription.framework_id().as_str(), "F-0");

    let subscribe = received.recv().await.unwrap();
    assert_eq!(subscribe.path, "/api/v1/scheduler");
    assert_eq!(subscribe.header("content-type"), "application/json");
    assert_eq!(subscribe.header("accept"), "application/json");
    assert_eq!(subscribe.header("mesos-stream-id"), "");
    assert_eq!(subscribe.header("authorization"), "");
    assert_eq!(subscribe.json()["subscribe"]["suppressed_roles"][0], "*");

    let clone = calls.clone();
    for number in 0..50 {
        let sender = if number % 2 == 0 { &calls } else { &clone };
        sender.send(kill(&format!("t{number}")));
    }
    for number in 0..50 {
        let call = received.recv().await.unwrap();
        assert_eq!(call.json()["kill"]["task_id"]["value"], format!("t{number}"));
        assert_eq!(call.json()["framework_id"]["value"], "F-0");
        assert_eq!(call.header("mesos-stream-id"), "stream-1");
        assert_eq!(call.header("content-type"), "application/json");
    }
    drop(subscription);
    calls.ended().await;
    calls.send(kill("too-late"));
    assert!(received.try_recv().is_err());
}

#[tokio::test]
async fn a_refused_call_is_told_and_the_subscription_goes_on() {
    let (feed, options) = fed(|_| plain(400, &"x".repeat(10_000))).await;
    let (mut subscription, calls) = connect(&options, framework(), vec![]).await.unwrap();
    assert!(matches!(subscription.next().await, Ok(Event::Subscribed(_))));
    calls.send(kill("bad"));
    let error = subscription.next().await.unwrap_err();
    assert_eq!(error.next_step(), NextStep::Continue);
    let MesosError::Refused { call, status: 400, body } = error else { panic!("{error:?}") };
    assert_eq!((call.as_str(), body.len()), ("KILL of bad", 4096));

    feed.send(Ok(frame(HEARTBEAT.as_bytes()))).unwrap();
    assert!(matches!(subscription.next().await, Ok(Event::Heartbeat)));
}

#[tokio::test]
async fn point_11_events_are_read_while_a_call_waits_for_its_answer() {
    let (asked, mut is_asked) = tokio::sync::mpsc::unbounded_channel();
    let (feed, mut options) = fed(move |_| {
        asked.send(()).unwrap();
        // The beginning of a refusal, and nothing after it.
        let mut answer = events(Bytes::new(), 0, Then::Hang);
        *answer.status_mut() = StatusCode::BAD_REQUEST;
        answer
    })
    .await;
    options.answer_timeout = Duration::from_hours(1);
    let (mut subscription, calls) = connect(&options, framework(), vec![]).await.unwrap();
    assert!(matches!(subscription.next().await, Ok(Event::Subscribed(_))));
    calls.send(kill("t1"));
    calls.send(kill("t2"));
    is_asked.recv().await.unwrap();
    for _ in 0..1_000 {
        feed.send(Ok(frame(HEARTBEAT.as_bytes()))).unwrap();
    }
    for _ in 0..1_000 {
        assert!(matches!(subscription.next().await, Ok(Event::Heartbeat)));
    }
    assert!(is_asked.try_recv().is_err(), "the second call waits for the first");
}

#[tokio::test]
async fn point_09_a_call_that_finds_the_subscription_gone_ends_it() {
    for (status, body) in [
        (400, "Framework cannot be found"),
        (400, "The stream ID 'a' included in this request didn't match the stream ID currently …"),
        (403, "Framework is not subscribed"),
        (404, ""),
        (307, ""),
        (503, "Master has not finished recovery"),
    ] {
        let (master, _received) = serve(move |got| {
            if is_subscribe(got) {
                events(records(&[SUBSCRIBED]), 0, Then::Hang)
            } else {
                plain(status, body)
            }
        })
        .await;
        let options = options(&format!("http://{master}"));
        let (mut subscription, calls) = connect(&options, framework(), vec![]).await.unwrap();
        assert!(matches!(subscription.next().await, Ok(Event::Subscribed(_))));
        calls.send(kill("t"));
        let error = subscription.next().await.unwrap_err();
        assert!(matches!(error, MesosError::CallLost { .. }), "{status} {body}: {error:?}");
        assert_eq!(error.next_step(), NextStep::Resubscribe);
        calls.ended().await;
    }
}

#[tokio::test]
async fn point_13_a_call_without_an_answer_ends_the_subscription() {
    let (master, _received) = serve(|got| {
        if is_subscribe(got) {
            events(records(&[SUBSCRIBED]), 0, Then::Hang)
        } else {
            panic!("the connection is closed without an answer")
        }
    })
    .await;
    let options = options(&format!("http://{master}"));
    let (mut subscription, calls) = connect(&options, framework(), vec![]).await.unwrap();
    assert!(matches!(subscription.next().await, Ok(Event::Subscribed(_))));
    calls.send(kill("t"));
    let error = subscription.next().await.unwrap_err();
    assert!(matches!(error, MesosError::CallUnanswered { .. }), "{error:?}");
    assert_eq!(error.next_step(), NextStep::Resubscribe);
}

/// Were the call's failure told first, both schedulers would subscribe again, and again.
#[tokio::test]
async fn that_another_has_taken_over_is_told_rather_than_that_a_call_failed() {
    let late: Arc<OnceLock<Feed>> = Arc::default();
    let feed_it = Arc::clone(&late);
    let (feed, options) = fed(move |_| {
        let record = error_record("Framework failed over");
        feed_it.get().unwrap().send(Ok(frame(record.as_bytes()))).unwrap();
        plain(400, "Framework cannot be found")
    })
    .await;
    late.set(feed).unwrap();
    let (mut subscription, calls) = connect(&options, framework(), vec![]).await.unwrap();
    assert!(matches!(subscription.next().await, Ok(Event::Subscribed(_))));
    calls.send(kill("t"));
    let error = subscription.next().await.unwrap_err();
    assert!(matches!(error, MesosError::FailedOver), "{error:?}");
}

/// Real answers: of all wrong calls recorded, these and no others end the subscription.
#[test]
fn point_08_recorded_refusals_are_told_apart() {
    let mut over = BTreeSet::new();
    let mut refused = 0;
    for entry in recording::read("07a_bad_calls") {
        let What::Response(answer) = entry.what else { continue };
        let status = answer.status;
        if status < 300 {
            continue;
        }
        let body = String::from_utf8(answer.body).unwrap();
        let code = StatusCode::from_u16(status).unwrap();
        let error = refusal("m".to_owned(), "KILL".to_owned(), code, body.clone());
        match error.next_step() {
            NextStep::Resubscribe => {
                over.insert(format!("{status} {}", &body[..body.len().min(20)]));
            }
            NextStep::Continue => refused += 1,
            NextStep::GiveUp => panic!("{error:?}"),
        }
    }
    let over: Vec<_> = over.iter().map(String::as_str).collect();
    assert_eq!(
        over,
        [
            "400 Framework cannot be ",
            "400 The stream ID '11111",
            "400 The stream ID 'garba",
            "404 404 Not Found."
        ]
    );
    assert!(refused > 20, "{refused}");
}
