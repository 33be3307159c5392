//! The scheduler client: one subscription, its events, and the calls that are made under it.
//!
//! A subscription never comes back to life. When it is over, [`connect`] makes another, with a
//! [`CallSender`] of its own: what was decided under the old one (acting on offers that are gone)
//! then reaches nobody.

mod calls;
#[cfg(test)]
mod tests;

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::HeaderName;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::error::{MesosError, NextStep};
use super::http::{Http, Led, Options, not_json};
use super::location::shown;
use super::recordio::RecordIo;
use super::stream::Records;
use super::v1::scheduler::{Call, Event, Request, Subscribe, Subscribed};
use super::v1::{FrameworkId, FrameworkInfo};
use super::zookeeper::Leader;
pub use calls::CallSender;

/// Names the subscription in each call made under it.
pub(super) const STREAM_ID: HeaderName = HeaderName::from_static("mesos-stream-id");

const PATH: &str = "/api/v1/scheduler";

/// How long the stream may still explain why a call found the subscription gone.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Subscribes at whoever leads, and waits until the master has confirmed it.
///
/// Without an ID in `framework` the master makes a new framework, and a second one if its answer
/// is lost on the way. `suppressed_roles` replaces what SUPPRESS has said before.
pub async fn connect(
    options: &Options,
    framework: FrameworkInfo,
    suppressed_roles: Vec<String>,
) -> Result<(Subscription, CallSender), MesosError> {
    let framework_id = framework.id.clone();
    let call = Call::Subscribe(Subscribe { framework_info: framework, suppressed_roles });
    let body = serde_json::to_vec(&Request { framework_id, call })
        .map_err(|source| MesosError::Unwritable { call: "SUBSCRIBE".to_owned(), source })?;
    let http = Http::new(options)?;
    let Led { master, answer, leader } = http.ask_leader(PATH, Some(&Bytes::from(body))).await?;
    let address = shown(&master);
    if let Some(found) = not_json(&answer) {
        return Err(MesosError::NotMesos { address, found });
    }
    let Some(stream_id) = answer.headers().get(&STREAM_ID).cloned() else {
        let found = "JSON, but no stream of events".to_owned();
        return Err(MesosError::NotMesos { address, found });
    };
    let mut stream = Records::new(answer, RecordIo::default(), options.answer_timeout);
    let first = match event(&stream.next().await?)? {
        Event::Subscribed(first) => first,
        other => {
            let found = format!("{} before SUBSCRIBED", other.kind());
            return Err(MesosError::NotMesos { address, found });
        }
    };
    stream.expect_heartbeats(first.heartbeat_interval_seconds, options.missed_heartbeats);
    tracing::info!(master = %address, framework = %first.framework_id, "subscribed");

    let (failed, failures) = mpsc::unbounded_channel();
    let line = calls::Line {
        // A connection of its own.
        http: Http::new(options)?,
        leader: master,
        stream_id,
        framework_id: first.framework_id.clone(),
    };
    let sender = CallSender::start(line, failed);
    let framework_id = first.framework_id.clone();
    let subscription = Subscription {
        framework_id,
        first: Some(first),
        stream,
        failures,
        lost: None,
        http,
        leader,
    };
    Ok((subscription, sender))
}

/// The events of one subscription.
#[derive(Debug)]
pub struct Subscription {
    framework_id: FrameworkId,
    first: Option<Subscribed>,
    stream: Records,
    failures: mpsc::UnboundedReceiver<MesosError>,
    /// A call found the subscription gone; this is told at that time.
    lost: Option<(Instant, MesosError)>,
    http: Http,
    /// Whom ZooKeeper named.
    leader: Option<Leader>,
}

impl Subscription {
    /// Ours; write it down before anything else is done.
    #[must_use]
    pub fn framework_id(&self) -> &FrameworkId {
        &self.framework_id
    }

    /// The next event, the first one being [`Event::Subscribed`]; or what went wrong, with the
    /// stream or with a call. After an error whose [`MesosError::next_step`] is
    /// [`Continue`](super::NextStep::Continue) there is more to come, after any other there is
    /// not. Nothing is lost if the future is dropped before it is ready.
    pub async fn next(&mut self) -> Result<Event, MesosError> {
        if let Some(first) = self.first.take() {
            return Ok(Event::Subscribed(first));
        }
        loop {
            let told_at = self.lost.as_ref().map_or_else(Instant::now, |(at, _)| *at);
            // The stream comes first: only it says that another scheduler has taken over, and to
            // subscribe again would then be to take over in turn, without end.
            tokio::select! {
                biased;
                record = self.stream.next() => {
                    let event = record.and_then(|record| event(&record));
                    return event.map_err(|error| self.blame(error));
                }
                Some(failure) = self.failures.recv(), if self.lost.is_none() => {
                    if failure.next_step() != NextStep::Resubscribe {
                        return Err(failure);
                    }
                    self.lost = Some((Instant::now() + LAST_WORDS, failure));
                }
                address = self.http.moved(self.leader.as_ref()) => {
                    return Err(MesosError::LeaderMoved { address });
                }
                () = sleep_until(told_at), if self.lost.is_some() => {
                    return Err(self.blame(MesosError::StreamEnded));
                }
            }
        }
    }

    /// Of the stream's error and that of a call before it, the one that says more.
    fn blame(&mut self, error: MesosError) -> MesosError {
        match self.lost.take() {
            Some((_, lost)) if error.next_step() != NextStep::GiveUp => lost,
            _ => error,
        }
    }
}

/// What a record says. An ERROR is an error: the master closes the stream after it.
fn event(record: &[u8]) -> Result<Event, MesosError> {
    match serde_json::from_slice(record).map_err(|source| MesosError::BadEvent { source })? {
        Event::Error(message) => Err(MesosError::told(message)),
        event => Ok(event),
    }
}
