//! The client against an agent in the test's own hands, over real connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::*;
use crate::mesos::recordio::frame;
use crate::mesos::testing::{Feed, Got, fixture, live, plain, serve, serve_tls};
use crate::mesos::v1::Blob;

fn environment(address: &str, changes: &[(&str, &str)]) -> Environment {
    let variables = [
        ("MESOS_AGENT_ENDPOINT", address),
        ("MESOS_CHECKPOINT", "1"),
        ("MESOS_EXECUTOR_ID", "ex"),
        ("MESOS_FRAMEWORK_ID", "f"),
    ];
    Environment::read(|name| {
        let all = changes.iter().chain(&variables);
        all.into_iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned())
    })
    .unwrap()
}

fn subscribed() -> Value {
    json!({"type": "SUBSCRIBED", "subscribed": {
        "executor_info": {"executor_id": {"value": "ex"}},
        "framework_info": {"user": "root", "name": "n"},
        "agent_info": {"hostname": "a1", "port": 5051, "id": {"value": "S1"}},
    }})
}

fn launch(task: &str) -> Value {
    json!({"type": "LAUNCH", "launch": {"task": {
        "name": task, "task_id": {"value": task}, "agent_id": {"value": "S1"}, "data": "am9i"}}})
}

fn tell(feed: &Feed, event: &Value) {
    feed.send(Ok(frame(event.to_string().as_bytes()))).unwrap();
}

fn said(task: &str, state: TaskState) -> Said {
    Said { task: task.into(), state, message: None, data: Some(b"{}".to_vec()) }
}

/// An agent whose streams the test feeds one after the other; calls get `status`.
async fn agent(streams: usize, status: u16) -> (String, mpsc::UnboundedReceiver<Got>, Vec<Feed>) {
    let (mut feeds, mut ends) = (Vec::new(), Vec::new());
    for _ in 0..streams {
        let (feed, end) = mpsc::unbounded_channel();
        feeds.push(feed);
        ends.push(end);
    }
    let ends = std::sync::Mutex::new(ends.into_iter());
    let (address, got) = serve(move |got| match got.json()["type"].as_str() {
        Some("SUBSCRIBE") => match ends.lock().unwrap().next() {
            Some(end) => live(end),
            None => plain(400, "Executor cannot be found"),
        },
        _ => plain(status, ""),
    })
    .await;
    (address, got, feeds)
}

#[tokio::test]
async fn point_12_calls_go_out_in_their_order_until_all_is_acknowledged() {
    let (address, mut got, feeds) = agent(1, 202).await;
    let token = ("MESOS_EXECUTOR_AUTHENTICATION_TOKEN", "t0ken");
    let mut client = Client::start(environment(&address, &[token])).unwrap();
    tell(&feeds[0], &subscribed());
    tell(&feeds[0], &launch("t"));
    let first = client.next().await.unwrap();
    let expected = Order::Subscribed { hostname: "a1".to_owned(), agent_id: Some("S1".to_owned()) };
    assert_eq!(first, expected);
    let Order::Launch(task) = client.next().await.unwrap() else { panic!("no launch") };
    assert_eq!(task.data.unwrap().0, b"job");
    client.report(said("t", TaskState::Starting));
    client.report(said("t", TaskState::Finished));
    client.leave();

    let ended = tokio::spawn(async move { client.next().await });
    let subscribe = got.recv().await.unwrap();
    assert_eq!(subscribe.path, "/api/v1/executor");
    assert_eq!(subscribe.header("content-type"), "application/json");
    assert_eq!(subscribe.header("authorization"), "Bearer t0ken");
    for state in ["TASK_STARTING", "TASK_FINISHED"] {
        let update = got.recv().await.unwrap();
        assert_eq!(update.header("authorization"), "Bearer t0ken");
        let status = &update.json()["update"]["status"];
        assert_eq!((&status["state"], &status["data"]), (&json!(state), &json!("e30=")));
        let uuid: Blob = serde_json::from_value(status["uuid"].clone()).unwrap();
        assert_eq!(uuid::Uuid::from_slice(&uuid.0).unwrap().get_version_num(), 4);
        assert!(!ended.is_finished());
        tell(
            &feeds[0],
            &json!({"type": "ACKNOWLEDGED", "acknowledged":
                {"task_id": {"value": "t"}, "uuid": status["uuid"]}}),
        );
    }
    assert_eq!(ended.await.unwrap(), Err(Ending::Done));
}

/// The agent restarts: its stream breaks off, and it answers 404 and 503 before it is back.
#[tokio::test]
async fn it_subscribes_again_with_what_is_not_acknowledged() {
    let attempts = Arc::new(AtomicUsize::new(0));
    let (feed, end) = mpsc::unbounded_channel();
    let (second, second_end) = mpsc::unbounded_channel();
    let ends = std::sync::Mutex::new(vec![second_end, end]);
    let count = Arc::clone(&attempts);
    let (address, mut got) = serve(move |got| {
        if got.json()["type"] != "SUBSCRIBE" {
            return plain(202, "");
        }
        match count.fetch_add(1, Ordering::SeqCst) {
            1 => plain(404, "404 Not Found."),
            2 => plain(503, "Agent has not finished recovery"),
            _ => live(ends.lock().unwrap().pop().unwrap()),
        }
    })
    .await;
    let mut client = Client::start(environment(&address, &[])).unwrap();
    for event in [subscribed(), launch("t"), launch("u")] {
        tell(&feed, &event);
    }
    for _ in 0..3 {
        client.next().await.unwrap();
    }
    client.report(said("t", TaskState::Starting));
    feed.send(Err(std::io::Error::other("gone"))).unwrap();
    tell(&second, &subscribed());
    let order = client.next().await.unwrap();
    assert!(matches!(order, Order::Subscribed { .. }), "{order:?}");
    assert_eq!(attempts.load(Ordering::SeqCst), 4);
    let mut last = Value::Null;
    while let Ok(request) = got.try_recv() {
        if request.json()["type"] == "SUBSCRIBE" {
            last = request.json()["subscribe"].clone();
        }
    }
    assert_eq!(last["unacknowledged_updates"][0]["status"]["state"], "TASK_STARTING");
    let tasks = last["unacknowledged_tasks"].as_array().unwrap();
    let names: Vec<_> = tasks.iter().map(|task| task["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["t", "u"]);
}

#[tokio::test]
async fn an_agent_that_does_not_want_it_ends_it() {
    let (address, _got, _feeds) = agent(0, 202).await;
    let mut client = Client::start(environment(&address, &[])).unwrap();
    let body = "Executor cannot be found".to_owned();
    let refused = Err(Ending::Refused { status: 400, body });
    assert_eq!(client.next().await, refused);
    // There is nothing after the end.
    assert_eq!(client.next().await, refused);
}

#[tokio::test]
async fn damage_on_the_stream_leads_to_another_one() {
    for damage in ["nonsense", "5\nabcde", "17\n{\"type\":\"LAUNCH\"}", "99999999\n"] {
        let (address, _got, feeds) = agent(2, 202).await;
        let mut client = Client::start(environment(&address, &[])).unwrap();
        tell(&feeds[0], &subscribed());
        client.next().await.unwrap();
        feeds[0].send(Ok(damage.into())).unwrap();
        tell(&feeds[1], &subscribed());
        let order = client.next().await.unwrap();
        assert!(matches!(order, Order::Subscribed { .. }), "{damage}: {order:?}");
    }
}

/// As a select loop does it, which drops the future whenever something else is ready.
#[tokio::test]
async fn dropping_the_future_loses_nothing() {
    let (address, mut got, feeds) = agent(1, 202).await;
    let mut client = Client::start(environment(&address, &[])).unwrap();
    tell(&feeds[0], &subscribed());
    for n in 0..20 {
        tell(&feeds[0], &launch(&format!("t{n}")));
    }
    let mut launched = Vec::new();
    while launched.len() < 20 {
        tokio::select! {
            biased;
            order = client.next() => if let Order::Launch(task) = order.unwrap() {
                client.report(said(task.task_id.as_str(), TaskState::Starting));
                launched.push(task.task_id.0);
            },
            () = tokio::task::yield_now() => {}
        }
    }
    let all: Vec<_> = (0..20).map(|n| format!("t{n}")).collect();
    assert_eq!(launched, all);
    let running = tokio::spawn(async move { client.next().await });
    got.recv().await.unwrap();
    for name in all {
        let update = got.recv().await.unwrap().json();
        assert_eq!(update["update"]["status"]["task_id"]["value"], name.as_str());
    }
    running.abort();
}

#[tokio::test]
async fn point_15_an_agents_certificate_is_checked_against_the_ca_that_it_names() {
    for (certificate, good) in
        [("server.pem", true), ("other-host.pem", false), ("expired.pem", false)]
    {
        let (feed, end) = mpsc::unbounded_channel();
        let end = std::sync::Mutex::new(Some(end));
        let answer = move |_: &Got| live(end.lock().unwrap().take().unwrap());
        let (address, mut got) = serve_tls(certificate, answer).await;
        let ca = fixture("ca.pem");
        let tls =
            [("LIBPROCESS_SSL_ENABLED", "true"), ("LIBPROCESS_SSL_CA_FILE", ca.to_str().unwrap())];
        let mut client = Client::start(environment(&address, &tls)).unwrap();
        tell(&feed, &subscribed());
        if good {
            let order = client.next().await.unwrap();
            assert!(matches!(order, Order::Subscribed { .. }), "{order:?}");
        } else {
            // It tries again and again, and says nothing to whom it does not know.
            let nothing = timeout(Duration::from_millis(500), client.next()).await;
            assert!(nothing.is_err(), "{certificate}: {nothing:?}");
            assert!(got.try_recv().is_err(), "{certificate}");
        }
    }
}

#[test]
fn a_ca_file_that_is_none_is_named() {
    for (file, text) in [("no-such-file", "cannot be read"), ("README.md", "none that can be used")]
    {
        let file = fixture(file);
        let tls =
            [("LIBPROCESS_SSL_ENABLED", "1"), ("LIBPROCESS_SSL_CA_FILE", file.to_str().unwrap())];
        let error = match Client::start(environment("127.0.0.1:1", &tls)) {
            Ok(_) => panic!("{file:?} is taken"),
            Err(error) => error.to_string(),
        };
        assert!(error.contains(text), "{error}");
    }
}
