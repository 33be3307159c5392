//! The subscription to Mesos, and the pauses between two of them.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use crate::clock;
use crate::mesos::operator::OperatorClient;
use crate::mesos::scheduler::{CallSender, connect};
use crate::mesos::v1::FrameworkInfo;
use crate::mesos::v1::scheduler::{Call, Event, Subscribe};
use crate::mesos::{Backoff, MesosError, NextStep, Options};

/// Events that wait to be folded before the stream is read on.
const WAITING: usize = 1024;

/// The pause after an error that does not go away by itself.
const SLOW: Duration = Duration::from_secs(15);

/// What comes from Mesos.
#[derive(Debug)]
pub(super) enum FromMesos {
    /// What this master does not let us be, before the subscription.
    Presented {
        /// Roles.
        given_up: Vec<String>,
    },
    /// An event.
    Event(Box<Event>),
    /// A call was refused; the subscription goes on.
    Refused(MesosError),
    /// There is no subscription (any more).
    Ended(MesosError),
}

enum Told {
    Up(CallSender),
    Said(FromMesos),
}

/// At most one subscription at a time.
#[derive(Debug)]
pub(super) struct Mesos {
    options: Options,
    backoff: Backoff,
    /// How long to wait before the next one.
    pause: Duration,
    line: Option<Line>,
}

/// Dropped, it hangs up.
#[derive(Debug)]
struct Line {
    told: mpsc::Receiver<Told>,
    calls: Option<CallSender>,
    /// Since when it is subscribed, by the monotonic clock.
    up: Option<Duration>,
    _task: AbortOnDropHandle<()>,
}

impl Mesos {
    pub(super) fn new(options: Options) -> Self {
        Self { options, backoff: Backoff::default(), pause: Duration::ZERO, line: None }
    }

    /// Subscribes, after a pause if that has failed before.
    pub(super) fn subscribe(&mut self, subscribe: Subscribe) {
        let (tell, told) = mpsc::channel(WAITING);
        let task = tokio::spawn(listen(self.options.clone(), self.pause, subscribe, tell));
        let task = AbortOnDropHandle::new(task);
        self.line = Some(Line { told, calls: None, up: None, _task: task });
    }

    pub(super) fn hang_up(&mut self) {
        self.line = None;
    }

    /// Makes a call under the subscription. Without one it reaches nobody, as a call that is made
    /// too late does.
    pub(super) fn call(&self, call: Call) {
        if let Some(calls) = self.line.as_ref().and_then(|line| line.calls.as_ref()) {
            calls.send(call);
        } else {
            tracing::debug!(kind = %call.kind(), "dropped: there is no subscription");
        }
    }

    /// What comes next. Nothing is lost if the future is dropped.
    pub(super) async fn next(&mut self) -> FromMesos {
        loop {
            let Some(line) = &mut self.line else { return std::future::pending().await };
            let Some(told) = line.told.recv().await else {
                self.line = None;
                return FromMesos::Ended(MesosError::StreamEnded);
            };
            match told {
                Told::Up(calls) => {
                    line.calls = Some(calls);
                    line.up = Some(clock::monotonic());
                }
                Told::Said(FromMesos::Ended(error)) => {
                    let up =
                        line.up.map_or(Duration::ZERO, |up| clock::monotonic().saturating_sub(up));
                    self.line = None;
                    self.pause = self.backoff.wait(up, rand::random());
                    if error.next_step() == NextStep::GiveUp {
                        self.pause = SLOW;
                    }
                    return FromMesos::Ended(error);
                }
                Told::Said(other) => return other,
            }
        }
    }
}

async fn listen(options: Options, pause: Duration, call: Subscribe, tell: mpsc::Sender<Told>) {
    options.pause(pause).await;
    let Some(error) = follow(&options, call, &tell).await else { return };
    // Nobody waits for it: then nobody needs to know.
    let _ = tell.send(Told::Said(FromMesos::Ended(error))).await;
}

/// What this master can be told of us, and the roles that we have to give up for it.
async fn presentable(
    options: &Options,
    mut framework: FrameworkInfo,
) -> Result<(FrameworkInfo, Vec<String>), MesosError> {
    let operator = OperatorClient::new(options)?;
    let given_up = operator.features().await?.adapt(&mut framework);
    if !given_up.is_empty() {
        tracing::warn!(
            roles = given_up.join(", "),
            "this Mesos gives a framework one role; hosts whose resources are all reserved for \
             others are out of reach until Mesos is 1.3 or newer"
        );
    }
    Ok((framework, given_up))
}

/// One subscription until its end; none if nobody listens any more.
async fn follow(
    options: &Options,
    call: Subscribe,
    tell: &mpsc::Sender<Told>,
) -> Option<MesosError> {
    let framework = match presentable(options, call.framework_info).await {
        Ok((framework, given_up)) => {
            tell.send(Told::Said(FromMesos::Presented { given_up })).await.ok()?;
            framework
        }
        Err(error) => return Some(error),
    };
    let connected = connect(options, framework, call.suppressed_roles).await;
    let (mut subscription, calls) = match connected {
        Ok(connected) => connected,
        Err(error) => return Some(error),
    };
    tell.send(Told::Up(calls)).await.ok()?;
    loop {
        let said = match subscription.next().await {
            Ok(event) => FromMesos::Event(Box::new(event)),
            Err(error) if error.next_step() == NextStep::Continue => FromMesos::Refused(error),
            Err(error) => return Some(error),
        };
        tell.send(Told::Said(said)).await.ok()?;
    }
}
