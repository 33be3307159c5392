//! Subscribing and reading, against a master that answers what the test says.

mod calls;
mod points;

use std::sync::Mutex;
use std::time::Duration;

use axum::response::Response;
use bytes::Bytes;
use tokio::sync::mpsc;

use super::*;
use crate::mesos::recording;
use crate::mesos::recordio::{MAX_RECORD, RecordError, frame};
use crate::mesos::testing::{Feed, Got, Then, events, live, plain, redirect, serve, typed};
use crate::mesos::v1::scheduler::{Kill, Roles};
use crate::mesos::{Credentials, Masters};

const SUBSCRIBED: &str = r#"{"type":"SUBSCRIBED","subscribed":{"framework_id":{"value":"F-0"},
    "heartbeat_interval_seconds":15.0}}"#;
const HEARTBEAT: &str = r#"{"type":"HEARTBEAT"}"#;

fn framework() -> FrameworkInfo {
    FrameworkInfo { user: "root".to_owned(), name: "calico".to_owned(), ..Default::default() }
}

/// Patient enough for a busy machine, except where a test is about running out of patience.
fn options(masters: &str) -> Options {
    Options {
        answer_timeout: Duration::from_secs(20),
        ..Options::new(masters.parse::<Masters>().unwrap())
    }
}

fn impatient(masters: &str) -> Options {
    Options { answer_timeout: Duration::from_millis(200), ..options(masters) }
}

fn records(texts: &[&str]) -> Vec<u8> {
    texts.iter().flat_map(|text| frame(text.as_bytes())).collect()
}

fn error_record(message: &str) -> String {
    format!(r#"{{"type":"ERROR","error":{{"message":"{message}"}}}}"#)
}

fn is_subscribe(got: &Got) -> bool {
    got.json()["type"] == "SUBSCRIBE"
}

fn kill(task: &str) -> Call {
    Call::Kill(Kill { task_id: task.into(), agent_id: None, kill_policy: None })
}

/// A master whose stream is fed by the test, which has been confirmed, and which answers calls so.
async fn fed(answer: impl Fn(&Got) -> Response + Send + Sync + 'static) -> (Feed, Options) {
    let (feed, bytes) = mpsc::unbounded_channel();
    feed.send(Ok(frame(SUBSCRIBED.as_bytes()))).unwrap();
    let bytes = Mutex::new(Some(bytes));
    let (master, _received) = serve(move |got| match bytes.lock().unwrap().take() {
        Some(bytes) => live(bytes),
        None => answer(got),
    })
    .await;
    (feed, options(&format!("http://{master}")))
}

/// Subscribes at a master that sends these bytes, reads to the first error, and returns it.
async fn read_to_the_end(bytes: Vec<u8>, then: Then) -> (Vec<Event>, MesosError) {
    let (master, _received) = serve(move |_| events(bytes.clone(), 1, then)).await;
    let mut seen = Vec::new();
    let mut subscription =
        match connect(&options(&format!("http://{master}")), framework(), vec![]).await {
            Ok((subscription, _calls)) => subscription,
            Err(error) => return (seen, error),
        };
    loop {
        match subscription.next().await {
            Ok(event) => seen.push(event),
            Err(error) => return (seen, error),
        }
    }
}

#[tokio::test]
async fn a_recorded_stream_is_told_whatever_its_chunks() {
    let mut streams = recording::streams(&recording::read("02_launch"));
    streams.retain(|stream| stream.path == PATH);
    let bytes = streams.remove(0).bytes;
    let seed = Mutex::new(0);
    let (master, _received) = serve(move |_| {
        let mut seed = seed.lock().unwrap();
        *seed += 1;
        events(bytes.clone(), *seed, Then::End)
    })
    .await;
    for _ in 0..8 {
        let options = options(&format!("http://{master}"));
        let (mut subscription, _calls) = connect(&options, framework(), vec![]).await.unwrap();
        let mut kinds = Vec::new();
        let end = loop {
            match subscription.next().await {
                Ok(event) => kinds.push(event.kind().to_string()),
                Err(error) => break error,
            }
        };
        assert!(matches!(end, MesosError::StreamEnded), "{end:?}");
        assert_eq!(kinds[..3], ["SUBSCRIBED", "HEARTBEAT", "OFFERS"]);
        assert!(kinds.iter().filter(|kind| *kind == "UPDATE").count() >= 10, "{kinds:?}");
    }
}

#[tokio::test]
async fn point_07_a_standby_is_followed_to_the_leader_with_credentials() {
    let (leader, mut at_leader) = serve(|got| {
        if is_subscribe(got) {
            events(records(&[SUBSCRIBED]), 0, Then::Hang)
        } else {
            plain(202, "")
        }
    })
    .await;
    let location = format!("//{leader}/master/api/v1/scheduler");
    let (standby, _at_standby) = serve(move |_| redirect(&location)).await;
    let options = Options {
        credentials: Some(Credentials::new("calico", "hunter2")),
        ..options(&format!("http://{standby}"))
    };
    let (_subscription, calls) = connect(&options, framework(), vec![]).await.unwrap();
    calls.send(Call::Revive(Roles::default()));
    for _ in 0..2 {
        let got = at_leader.recv().await.unwrap();
        assert_eq!(got.path, "/api/v1/scheduler");
        assert_eq!(got.header("authorization"), "Basic Y2FsaWNvOmh1bnRlcjI=");
    }
    assert!(!format!("{options:?}").contains("hunter2"));
}

#[tokio::test]
async fn point_07_standbys_that_refer_to_each_other_are_not_followed_for_ever() {
    let (master, mut received) = serve(|got| redirect(&format!("//{}", got.header("host")))).await;
    let options = options(&format!("http://{master}"));
    let error = connect(&options, framework(), vec![]).await.unwrap_err();
    assert!(matches!(error, MesosError::Circle { .. }), "{error:?}");
    assert_eq!(error.next_step(), NextStep::Resubscribe);
    let mut asked = 0;
    while received.try_recv().is_ok() {
        asked += 1;
    }
    assert_eq!(asked, 6, "the first and five hops");
}

#[tokio::test]
async fn point_08_what_is_not_a_master_is_said_clearly() {
    type Answer = fn(&Got) -> Response;
    let table: [(Answer, NextStep, &str); 8] = [
        (|_| typed(200, "text/html", "<html>"), NextStep::GiveUp, "answered HTML: is this the"),
        (|_| typed(404, "text/html", "<html>"), NextStep::GiveUp, "answered HTML (404): is this"),
        (|_| typed(200, "application/json", "{}"), NextStep::GiveUp, "no stream of events: is"),
        (|_| plain(302, ""), NextStep::GiveUp, "answered a redirect (302): is this"),
        (|_| plain(401, "401 Unauthorized."), NextStep::GiveUp, "check the credentials file"),
        (|_| plain(403, "no"), NextStep::GiveUp, "check the principal's rights"),
        (|_| plain(400, "bad role"), NextStep::GiveUp, "refuses the request: 400: bad role"),
        (|_| plain(503, "No leader elected"), NextStep::Resubscribe, "No leader elected"),
    ];
    for (answer, step, words) in table {
        let (master, _received) = serve(answer).await;
        let options = Options {
            credentials: Some(Credentials::new("calico", "hunter2")),
            ..options(&format!("http://{master}"))
        };
        let error = connect(&options, framework(), vec![]).await.unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(error.next_step(), step, "{error}");
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }
}

#[tokio::test]
async fn of_a_list_the_first_that_leads_is_taken() {
    let (leader, _a) = serve(|_| events(records(&[SUBSCRIBED]), 0, Then::Hang)).await;
    let (waiting, _b) = serve(|_| plain(503, "No leader elected")).await;
    let (page, _c) = serve(|_| typed(200, "text/html", "<html>")).await;
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let all = format!("http://{closed},http://{waiting},http://{leader}");
    connect(&options(&all), framework(), vec![]).await.unwrap();

    let none = format!("http://{waiting},http://{closed}");
    let error = connect(&options(&none), framework(), vec![]).await.unwrap_err();
    assert!(matches!(error, MesosError::NoneLeads { .. }), "{error:?}");
    assert!(error.to_string().contains(&waiting), "{error}");

    let error = connect(&options(&format!("http://{closed}")), framework(), vec![]).await;
    let error = error.unwrap_err();
    assert!(matches!(error, MesosError::Unreachable { .. }), "{error:?}");
    assert_eq!(error.next_step(), NextStep::Resubscribe);

    let wrong = format!("http://{page},http://{closed}");
    let error = connect(&options(&wrong), framework(), vec![]).await.unwrap_err();
    assert!(matches!(error, MesosError::NotMesos { .. }), "the mistake is told: {error:?}");
}

#[tokio::test]
async fn point_02_and_03_silence_ends_a_subscription_before_and_after_it_is_confirmed() {
    let (mute, _a) = serve(|_| events(Bytes::new(), 0, Then::Hang)).await;
    let error = connect(&impatient(&format!("http://{mute}")), framework(), vec![]).await;
    assert!(matches!(error.unwrap_err(), MesosError::Silent { .. }));

    let quick = SUBSCRIBED.replace("15.0", "0.02");
    let bytes = records(&[&quick, HEARTBEAT]);
    let (stalled, _b) = serve(move |_| events(bytes.clone(), 0, Then::Hang)).await;
    let options = options(&format!("http://{stalled}"));
    let (mut subscription, _calls) = connect(&options, framework(), vec![]).await.unwrap();
    assert!(matches!(subscription.next().await, Ok(Event::Subscribed(_))));
    assert!(matches!(subscription.next().await, Ok(Event::Heartbeat)));
    let error = subscription.next().await.unwrap_err();
    assert!(matches!(error, MesosError::Silent { .. }), "{error:?}");
    assert_eq!(error.to_string(), "the Mesos master has been silent for 0.1 s; subscribing again");
}

#[tokio::test]
async fn point_04_a_master_that_takes_a_connection_and_says_nothing_is_given_up() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let masters = format!("http://{}", listener.local_addr().unwrap());
    let error = connect(&impatient(&masters), framework(), vec![]).await.unwrap_err();
    assert!(matches!(error, MesosError::NoAnswer { .. }), "{error:?}");
    assert_eq!(error.next_step(), NextStep::Resubscribe);
}

#[tokio::test]
async fn a_damaged_stream_is_left_for_a_new_one() {
    let whole = records(&[SUBSCRIBED, HEARTBEAT]);
    let cut = whole[..whole.len() - 1].to_vec();
    let with = |tail: &str| [whole.clone(), tail.as_bytes().to_vec()].concat();
    let oversized = with(&format!("{}\n", MAX_RECORD + 1));

    let (seen, error) = read_to_the_end(cut, Then::End).await;
    assert_eq!(seen.len(), 1);
    assert!(matches!(error, MesosError::Record { source: RecordError::Truncated }), "{error:?}");

    let (seen, error) = read_to_the_end(oversized, Then::Hang).await;
    assert_eq!(seen.len(), 2);
    assert!(matches!(error, MesosError::Record { source: RecordError::Oversized { .. } }));

    let (_, error) = read_to_the_end(with("HTTP/1.1"), Then::Hang).await;
    assert!(matches!(error, MesosError::Record { source: RecordError::BadLength { .. } }));

    let (_, error) = read_to_the_end(with("2\n{]"), Then::Hang).await;
    assert!(matches!(error, MesosError::BadEvent { .. }), "{error:?}");
}

#[tokio::test]
async fn what_cannot_be_true_is_one_error_or_is_passed_over_and_never_a_panic() {
    let deep = format!(r#"{{"type":{}"#, "[".repeat(100_000));
    let update = r#"{"type":"UPDATE","update":{"status":{"task_id":{"value":"../\u0000é\n"},
        "agent_id":{"value":""},"state":"TASK_MELTING","source":"SOURCE_MARS",
        "reason":"REASON_WHIM","timestamp":-1.5e300,"unreachable_time":{"nanoseconds":-1},
        "new_field":[{}]}}}"#;
    for (record, good) in [
        (deep.as_str(), false),
        (r#"{"type":"TIME_TRAVEL","time_travel":[]}"#, true),
        (update, true),
        (r#"{"type":"UPDATE"}"#, false),
        (r#"{"type":"OFFERS","offers":{"offers":{}}}"#, false),
        ("null", false),
        ("", true),
    ] {
        // An interval that cannot be is that of all masters.
        for interval in ["-15.0", "1e300", "0.0"] {
            let first = SUBSCRIBED.replace("15.0", interval);
            let bytes = records(&[&first, record, HEARTBEAT]);
            let (seen, error) = read_to_the_end(bytes, Then::End).await;
            let ended = matches!(error, MesosError::StreamEnded);
            let refused = matches!(error, MesosError::BadEvent { .. });
            assert!(if good { ended } else { refused }, "{record:.60}: {error:?}");
            let known = if good { 2 + usize::from(!record.is_empty()) } else { 1 };
            assert_eq!(seen.len(), known, "{record:.60}");
        }
    }
}

#[tokio::test]
async fn a_connection_that_breaks_is_told_from_a_stream_that_ends() {
    let (feed, options) = fed(|_| plain(202, "")).await;
    let (mut subscription, _calls) = connect(&options, framework(), vec![]).await.unwrap();
    assert!(matches!(subscription.next().await, Ok(Event::Subscribed(_))));
    feed.send(Err(std::io::Error::other("broken"))).unwrap();
    let error = subscription.next().await.unwrap_err();
    assert!(matches!(error, MesosError::StreamBroken { .. }), "{error:?}");
    assert_eq!(error.next_step(), NextStep::Resubscribe);
}

#[tokio::test]
async fn point_21_and_22_the_masters_last_word_is_told_apart() {
    for (message, name) in [
        ("Framework failed over", "FailedOver"),
        ("Framework has been removed", "Removed"),
        ("'FrameworkInfo.roles' contains invalid role: a//b", "Rejected"),
    ] {
        let last = error_record(message);
        for bytes in [records(&[&last]), records(&[SUBSCRIBED, HEARTBEAT, &last])] {
            let (_, error) = read_to_the_end(bytes, Then::End).await;
            assert!(format!("{error:?}").starts_with(name), "{message}: {error:?}");
            assert_eq!(error.next_step(), NextStep::GiveUp);
        }
    }
}
