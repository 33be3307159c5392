//! The calls of one subscription: one after the other, in the order in which they were made, over
//! a connection of their own. Mesos' semantics need the order: a KILL after its LAUNCH.

use bytes::Bytes;
use reqwest::header::HeaderValue;
use reqwest::{StatusCode, Url};
use tokio::sync::mpsc;

use super::PATH;
use crate::mesos::error::{MesosError, NextStep};
use crate::mesos::http::Http;
use crate::mesos::location::shown;
use crate::mesos::v1::FrameworkId;
use crate::mesos::v1::scheduler::{Call, Operation, Request};

/// Takes calls of one subscription. A clone is as good as the original.
#[derive(Clone, Debug)]
pub struct CallSender {
    calls: mpsc::UnboundedSender<Call>,
}

impl CallSender {
    /// Starts the task that makes the calls. It ends with the subscription, with the last sender,
    /// or with a failure that ends the subscription.
    pub(super) fn start(line: Line, failed: mpsc::UnboundedSender<MesosError>) -> Self {
        let (calls, queue) = mpsc::unbounded_channel();
        tokio::spawn(line.work_off(queue, failed));
        Self { calls }
    }

    /// Queues a call; never waits. What becomes of it is told by the subscription's
    /// [`next`](super::Subscription::next), and only if it fails. After the end of the
    /// subscription it reaches nobody.
    pub fn send(&self, call: Call) {
        if let Err(mpsc::error::SendError(call)) = self.calls.send(call) {
            tracing::debug!(call = %summary(&call), "dropped: its subscription is over");
        }
    }
}

/// To whom, and as whom.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) http: Http,
    pub(super) leader: Url,
    pub(super) stream_id: HeaderValue,
    pub(super) framework_id: FrameworkId,
}

impl Line {
    async fn work_off(
        self,
        mut queue: mpsc::UnboundedReceiver<Call>,
        failed: mpsc::UnboundedSender<MesosError>,
    ) {
        loop {
            let call = tokio::select! {
                biased;
                () = failed.closed() => return,
                call = queue.recv() => call,
            };
            let Some(call) = call else { return };
            if let Err(error) = self.make(call).await {
                let over = error.next_step() != NextStep::Continue;
                // Nobody listens any more: then nobody makes calls either.
                if failed.send(error).is_err() || over {
                    return;
                }
            }
        }
    }

    async fn make(&self, call: Call) -> Result<(), MesosError> {
        let named = summary(&call);
        let request = Request { framework_id: Some(self.framework_id.clone()), call };
        let body = match serde_json::to_vec(&request) {
            Ok(body) => Bytes::from(body),
            Err(source) => return Err(MesosError::Unwritable { call: named, source }),
        };
        let answer = match self.http.post(&self.leader, PATH, body, &self.stream_id).await {
            Ok(answer) => answer,
            Err(source) => {
                return Err(MesosError::CallUnanswered { call: named, source: Box::new(source) });
            }
        };
        let status = answer.status();
        let stream = self.stream_id.to_str().unwrap_or_default();
        tracing::debug!(call = %named, stream, status = status.as_u16(), "called");
        if status.is_success() {
            return Ok(());
        }
        let body = self.http.text(answer).await;
        let error = refusal(shown(&self.leader), named, status, body);
        tracing::warn!(%error, stream, "a call has failed");
        Err(error)
    }
}

/// What an answer other than success to a call means. Two of the 400s say that the subscription
/// is gone, as all but the last of the others do; what remains are mistakes of ours.
pub(super) fn refusal(
    address: String,
    call: String,
    status: StatusCode,
    body: String,
) -> MesosError {
    let over = match status {
        StatusCode::UNAUTHORIZED => return MesosError::Unauthorized { address },
        StatusCode::BAD_REQUEST => {
            body == "Framework cannot be found" || body.contains("didn't match the stream ID")
        }
        StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => true,
        StatusCode::NOT_IMPLEMENTED => false,
        _ => status.is_redirection() || status.is_server_error(),
    };
    let status = status.as_u16();
    if over {
        MesosError::CallLost { call, status, body }
    } else {
        MesosError::Refused { call, status, body }
    }
}

/// A call in a few words, without payloads: `KILL of observer-7`.
pub(super) fn summary(call: &Call) -> String {
    let kind = call.kind();
    match call {
        Call::Subscribe(_) | Call::UpdateFramework(_) | Call::Teardown => kind.to_string(),
        Call::Accept(accept) => {
            let tasks: Vec<_> = accept
                .operations
                .iter()
                .flat_map(|operation| match operation {
                    Operation::Launch(tasks) | Operation::LaunchGroup { tasks, .. } => {
                        tasks.as_slice()
                    }
                    _ => &[],
                })
                .map(|task| task.task_id.as_str())
                .collect();
            format!("{kind} for [{}]", tasks.join(", "))
        }
        Call::Decline(decline) => format!("{kind} of {} offers", decline.offer_ids.len()),
        Call::AcceptInverseOffers(answer) | Call::DeclineInverseOffers(answer) => {
            format!("{kind} of {}", answer.inverse_offer_ids.len())
        }
        Call::Revive(roles) | Call::Suppress(roles) if roles.roles.is_empty() => kind.to_string(),
        Call::Revive(roles) | Call::Suppress(roles) => {
            format!("{kind} of {}", roles.roles.join(", "))
        }
        Call::Kill(kill) => format!("{kind} of {}", kill.task_id),
        Call::Shutdown(shutdown) => format!("{kind} of {}", shutdown.executor_id),
        Call::Acknowledge(acknowledge) => format!("{kind} of {}", acknowledge.task_id),
        Call::Reconcile(reconcile) if reconcile.tasks.is_empty() => format!("{kind} of all tasks"),
        Call::Reconcile(reconcile) => format!("{kind} of {} tasks", reconcile.tasks.len()),
        Call::Message(message) => format!("{kind} to {}", message.executor_id),
    }
}

#[cfg(test)]
impl CallSender {
    /// Waits until no more calls are made.
    pub(super) async fn ended(&self) {
        self.calls.closed().await;
    }
}
