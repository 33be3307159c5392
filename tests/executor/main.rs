//! Executors as real processes: the product's executor client in a child process that a simulated
//! agent fetched and started, the product's scheduler client on the other side of the master.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod child;
mod histories;
mod node;
mod paper;
mod site;

use std::time::Duration;

use calico_dcos::mesos::v1::scheduler::{Call, Event, Kill, Message, Shutdown};
use calico_dcos::mesos::v1::{StatusReason, TaskState};
use calico_dcos::sim::wire::HostSignal;
use site::Site;

#[tokio::test(flavor = "multi_thread")]
async fn several_tasks_live_in_one_executor() {
    let mut site = Site::start(|_| {}).await;
    site.launch("t1", "run").await;
    assert_eq!(site.states("t1", 2).await, ["TASK_STARTING", "TASK_RUNNING"]);
    site.launch("t2", "run").await;
    assert_eq!(site.states("t2", 2).await, ["TASK_STARTING", "TASK_RUNNING"]);
    let said = site.until_log("launch t2").await;
    assert_eq!(said.matches("started").count(), 1, "{said}");
    assert!(said.contains("launch t1"), "{said}");
    // What is fetched is executable and in the sandbox, under the name that was asked for.
    assert!(said.contains("./executor.sh"), "{said}");

    // KILL of one, with a grace that somebody gave.
    let agent_id = Some(site.agent_id());
    let policy = serde_json::from_str(r#"{"grace_period":{"nanoseconds":3000000000}}"#).unwrap();
    site.call(Call::Kill(Kill { task_id: "t1".into(), agent_id, kill_policy: Some(policy) }));
    assert_eq!(site.states("t1", 1).await, ["TASK_KILLED"]);
    site.until_log("kill t1 within 3000 ms").await;

    // MESSAGE there and back.
    let (agent_id, executor_id) = (site.agent_id(), "ex".into());
    let data = b"hello".to_vec().into();
    site.call(Call::Message(Message { agent_id: agent_id.clone(), executor_id, data }));
    let echo = site.event(|event| matches!(event, Event::Message(_))).await;
    let Event::Message(echo) = echo else { panic!("{echo:?}") };
    assert_eq!(echo.data.0, b"echo hello");

    // SHUTDOWN: the last words arrive, then the process ends well.
    site.call(Call::Shutdown(Shutdown { executor_id: "ex".into(), agent_id }));
    assert_eq!(site.states("t2", 1).await, ["TASK_KILLED"]);
    assert_eq!(site.failure().await, 0);
    site.until_log("ended; the agent has all that was said").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_executor_outlives_its_agent_and_nothing_is_lost() {
    let mut site = Site::start(|_| {}).await;
    site.launch("t1", "run").await;
    site.states("t1", 2).await;
    let pid = site.pid().await;
    for round in 0..3 {
        site.signal(HostSignal::AgentStopped).await;
        // Said while nobody is there to hear it.
        site.poke(&format!("say t1 round-{round}"));
        site.until_log(&format!("said round-{round}")).await;
        site.signal(HostSignal::AgentStarted).await;
        assert_eq!(site.data("t1").await, format!("round-{round}").as_bytes());
    }
    assert_eq!(site.pid().await, pid);
    site.launch("t2", "finish").await;
    assert_eq!(site.states("t2", 2).await, ["TASK_STARTING", "TASK_FINISHED"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_said_nothing_yet_survives_a_restart_of_the_agent() {
    let mut site = Site::start(|_| {}).await;
    site.launch("t1", "quiet").await;
    site.until_log("launch t1").await;
    site.signal(HostSignal::AgentStopped).await;
    site.signal(HostSignal::AgentStarted).await;
    site.until_log("subscribed again").await;
    site.poke("say t1 now");
    assert_eq!(site.data("t1").await, b"now");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_executor_that_does_not_come_back_in_time_is_killed() {
    let mut site = Site::start(|_| {}).await;
    site.launch("t1", "run").await;
    site.states("t1", 2).await;
    let pid = site.freeze().await;
    site.signal(HostSignal::AgentStopped).await;
    site.signal(HostSignal::AgentStarted).await;
    assert_eq!(site.failure().await, 9);
    let status = site.update("t1").await;
    assert_eq!(status.state, TaskState::Gone);
    assert_eq!(status.reason, Some(StatusReason::ExecutorReregistrationTimeout));
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_executor_that_dies_fails_its_tasks() {
    let mut site = Site::start(|_| {}).await;
    site.launch("t1", "run").await;
    site.states("t1", 2).await;
    site.poke("exit 7");
    assert_eq!(site.failure().await, 7 << 8);
    let status = site.update("t1").await;
    assert_eq!(status.state, TaskState::Failed);
    assert_eq!(status.reason, Some(StatusReason::ExecutorTerminated));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_fetched_or_run_is_said() {
    let mut site = Site::start(|_| {}).await;
    site.launch_with("t1", "ex-missing", "/no/such/file", "./executor.sh").await;
    assert_eq!(site.failure().await, 256);
    let status = site.update("t1").await;
    assert_eq!(status.reason, Some(StatusReason::ContainerLaunchFailed));
    assert!(status.message.unwrap().starts_with("Failed to launch container: Failed to fetch"));
    let script = site.script();
    site.launch_with("t2", "ex-wrong", &script, "./nothing").await;
    assert_eq!(site.failure().await, 256_256);
    assert_eq!(site.update("t2").await.reason, Some(StatusReason::ExecutorTerminated));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_executor_that_never_subscribes_is_killed() {
    let mut site = Site::start(|processes| processes.registration_timeout = 300).await;
    site.launch_with("t1", "ex-idle", "/bin/sleep", "./sleep").await;
    assert_eq!(site.failure().await, 9);
    let status = site.update("t1").await;
    assert_eq!(status.reason, Some(StatusReason::ExecutorRegistrationTimeout));
    assert_eq!(status.message.as_deref(), Some("Executor did not register within 300ms"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_may_ask_for_the_token_that_it_gave() {
    let mut site = Site::start(|processes| processes.authenticate = true).await;
    site.launch("t1", "run").await;
    assert_eq!(site.states("t1", 2).await, ["TASK_STARTING", "TASK_RUNNING"]);
    let endpoint = site.agent_endpoint().await;
    let url = format!("http://{endpoint}/api/v1/executor");
    let client = Site::http();
    for token in ["", "Bearer wrong"] {
        let request = client.post(&url).header("content-type", "application/json");
        let request = request.header("authorization", token).body("{}");
        let answer = request.timeout(Duration::from_secs(5)).send().await.unwrap();
        assert_eq!(answer.status(), 401, "{token}");
    }
    // The token is in no output of the executor.
    assert!(!site.log().contains("Bearer"));
}

/// Not a test: the child process that the tests above have the agent start is this program again,
/// as [`Site::script`] says. Without their environment it ends at once.
#[tokio::test]
#[ignore = "not a test; the others start it in child processes"]
async fn executor_process() {
    child::run().await;
}
