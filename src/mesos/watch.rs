//! Says when the master's list of agents has changed, by the operator API's event stream.
//!
//! The stream only says that it is time to list: no event comes when an agent is unreachable,
//! restarts, or is drained, so the list is what counts and is asked for at intervals anyway.
//! Where the stream is forbidden or unknown, the intervals are all there is.

use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_util::task::AbortOnDropHandle;

use super::Backoff;
use super::error::{MesosError, NextStep};
use super::http::{Http, Led, Options, not_json};
use super::location::shown;
use super::recordio::RecordIo;
use super::stream::Records;
use crate::store::in_one_line;

const PATH: &str = "/api/v1";

/// The first event holds the whole state of the master, tasks and all; in bytes.
const LARGEST: usize = 256 * 1024 * 1024;

/// The pause after an error that does not go away by itself.
const SLOW: Duration = Duration::from_mins(1);

/// Agents that register one after the other are told as one change.
const APART: Duration = Duration::from_secs(2);

/// Waits for changes. Dropped, it hangs up.
#[derive(Debug)]
pub struct AgentWatch {
    told: mpsc::Receiver<()>,
    task: AbortOnDropHandle<()>,
}

impl AgentWatch {
    /// Starts to watch at whoever leads.
    #[must_use]
    pub fn start(options: Options) -> Self {
        let (tell, told) = mpsc::channel(1);
        let task = AbortOnDropHandle::new(tokio::spawn(watch(options, tell)));
        Self { told, task }
    }

    /// Whether there is a stream to watch, or may be again. Where it is forbidden or unknown,
    /// there is none.
    #[must_use]
    pub fn watches(&self) -> bool {
        !self.task.is_finished()
    }

    /// Waits until agents have come or gone since the last time. Nothing is lost if the future is
    /// dropped.
    pub async fn changed(&mut self) {
        if self.told.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}

/// As much of an event as matters.
#[derive(Deserialize)]
struct Peek {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    subscribed: Option<Subscribed>,
}

#[derive(Deserialize)]
struct Subscribed {
    #[serde(default)]
    heartbeat_interval_seconds: Option<f64>,
}

async fn watch(options: Options, tell: mpsc::Sender<()>) {
    let mut backoff = Backoff::default();
    loop {
        let start = Instant::now();
        let error = match follow(&options, &tell).await {
            Err(error) => error,
            Ok(never) => match never {},
        };
        if matches!(error, MesosError::Forbidden { .. } | MesosError::Rejected { .. }) {
            tracing::info!("agents are listed at intervals only: {}", in_one_line(&error));
            return;
        }
        tracing::debug!("the stream of the operator API ended: {}", in_one_line(&error));
        let pause = match error.next_step() {
            NextStep::GiveUp => SLOW,
            NextStep::Resubscribe | NextStep::Continue => {
                backoff.wait(start.elapsed(), rand::random())
            }
        };
        options.pause(pause).await;
    }
}

async fn follow(
    options: &Options,
    tell: &mpsc::Sender<()>,
) -> Result<std::convert::Infallible, MesosError> {
    let http = Http::new(options)?;
    let body = Bytes::from_static(br#"{"type":"SUBSCRIBE"}"#);
    let Led { master, answer, leader } = http.ask_leader(PATH, Some(&body)).await?;
    if let Some(found) = not_json(&answer) {
        return Err(MesosError::NotMesos { address: shown(&master), found });
    }
    let decoder = RecordIo::with_limit(LARGEST);
    let mut records = Records::new(answer, decoder, options.answer_timeout);
    let mut due: Option<Instant> = None;
    let mut earliest = Instant::now();
    loop {
        let at = due.unwrap_or(earliest);
        let record = tokio::select! {
            record = records.next() => record?,
            address = http.moved(leader.as_ref()) => {
                return Err(MesosError::LeaderMoved { address });
            }
            () = sleep_until(at), if due.is_some() => {
                (due, earliest) = (None, at + APART);
                // One that has not been taken yet will do.
                let _ = tell.try_send(());
                continue;
            }
        };
        let event: Peek =
            serde_json::from_slice(&record).map_err(|source| MesosError::BadEvent { source })?;
        match (event.kind.as_str(), event.subscribed) {
            ("SUBSCRIBED", Some(first)) => {
                let seconds = first.heartbeat_interval_seconds;
                records.expect_heartbeats(seconds, options.missed_heartbeats);
            }
            ("AGENT_ADDED" | "AGENT_REMOVED", _) => {
                due = due.or(Some(earliest.max(Instant::now())));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mesos::recordio::frame;
    use crate::mesos::testing::{live, plain, serve};

    const SUBSCRIBED: &str = r#"{"type":"SUBSCRIBED","subscribed":
        {"get_state":{"get_tasks":{"tasks":[[[]]]}},"heartbeat_interval_seconds":15.0}}"#;
    const ADDED: &str = r#"{"type":"AGENT_ADDED","agent_added":{"agent":{}}}"#;

    async fn told(watch: &mut AgentWatch, within: Duration) -> bool {
        tokio::time::timeout(within, watch.changed()).await.is_ok()
    }

    #[tokio::test]
    async fn agents_that_come_or_go_are_told_and_many_at_once_only_once() {
        let (feed, bytes) = mpsc::unbounded_channel();
        let bytes = std::sync::Mutex::new(Some(bytes));
        let (master, mut asked) = serve(move |_| match bytes.lock().unwrap().take() {
            Some(bytes) => live(bytes),
            None => plain(503, "No leader elected"),
        })
        .await;
        let say = |text: &str| feed.send(Ok(frame(text.as_bytes()))).unwrap();
        let mut watch =
            AgentWatch::start(Options::new(format!("http://{master}").parse().unwrap()));
        assert_eq!(asked.recv().await.unwrap().json(), serde_json::json!({"type": "SUBSCRIBE"}));
        say(SUBSCRIBED);
        say(r#"{"type":"TASK_ADDED","task_added":{}}"#);
        for _ in 0..500 {
            say(ADDED);
        }
        assert!(told(&mut watch, Duration::from_secs(20)).await);
        say(r#"{"type":"AGENT_REMOVED","agent_removed":{"agent_id":{"value":"x"}}}"#);
        assert!(!told(&mut watch, APART / 2).await, "lists are asked for at their own pace");
        assert!(told(&mut watch, Duration::from_secs(20)).await);
        assert!(!told(&mut watch, Duration::from_millis(100)).await, "it was told already");
        drop(feed);
        assert_eq!(asked.recv().await.unwrap().path, "/api/v1", "it subscribes again");
    }

    #[tokio::test]
    async fn where_it_is_forbidden_or_unknown_nobody_asks_again() {
        for (status, body) in [(403, "no"), (400, "Expecting 'type' to be present"), (501, "")] {
            let (master, mut asked) = serve(move |_| plain(status, body)).await;
            let options = Options::new(format!("http://{master}").parse().unwrap());
            let mut watch = AgentWatch::start(options);
            asked.recv().await.unwrap();
            assert!(!told(&mut watch, Duration::from_millis(50)).await);
            // Once the task has ended nobody asks any more.
            tokio::time::timeout(Duration::from_secs(20), async {
                while watch.watches() {
                    tokio::task::yield_now().await;
                }
            })
            .await
            .unwrap();
            assert!(asked.try_recv().is_err());
        }
    }
}
