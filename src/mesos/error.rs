//! What can go wrong between us and a master, and what follows from it.

use std::sync::Arc;

use super::auth::LoginError;
use super::recordio::RecordError;
use super::zookeeper::ZooKeeperError;

/// What to do about a [`MesosError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextStep {
    /// The subscription is over, or there is none: subscribe after a back-off, then reconcile.
    Resubscribe,
    /// One call was refused. The subscription goes on.
    Continue,
    /// It will not get better by itself: tell somebody, and try again slowly if at all.
    GiveUp,
}

/// A failure of a subscription, of a call, or of a question to the operator API. Texts that come
/// from a master are cut to 4 KiB.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are said by the texts")]
pub enum MesosError {
    /// The HTTP client cannot be built.
    #[error(
        "the HTTP client cannot be set up; for https, check that CA certificates are installed"
    )]
    Client { source: reqwest::Error },
    /// No connection, or it broke before an answer.
    #[error("the Mesos master at {address} cannot be reached; check the address, and that it runs")]
    Unreachable { address: String, source: reqwest::Error },
    /// A connection, but no answer in time.
    #[error("the Mesos master at {address} has not answered within {seconds} s; is it overloaded?")]
    NoAnswer { address: String, seconds: f64 },
    /// The master is older than what this program knows.
    #[error("the Mesos master is of version {version}; upgrade it to 1.0.0 at least")]
    TooOld { version: String },
    /// TLS failed.
    #[error("the Mesos master at {address} cannot be trusted: {why}")]
    Untrusted { address: String, why: String, source: reqwest::Error },
    /// ZooKeeper names no leader.
    #[error("the leading Mesos master cannot be found through {address}")]
    NoLeader { address: String, source: Arc<ZooKeeperError> },
    /// ZooKeeper names another leader than the one that is subscribed to.
    #[error("the leading Mesos master is {address} by now; subscribing there")]
    LeaderMoved { address: String },
    /// There is no token to show to a master.
    #[error("without a login no Mesos master can be asked")]
    Login {
        #[from]
        source: LoginError,
    },
    /// None of several masters will do; the last one's error is the source.
    #[error("none of the Mesos masters {addresses} answers as leader; check that one is elected")]
    NoneLeads { addresses: String, source: Box<MesosError> },
    /// It starts, recovers, or knows no leader.
    #[error("the Mesos master at {address} is not ready ({status}: {body}); it is asked again")]
    NotReady { address: String, status: u16, body: String },
    /// Too many redirects.
    #[error("the Mesos masters refer to each other without end, last {address}; who leads?")]
    Circle { address: String },
    /// A redirect that cannot be followed.
    #[error(
        "the Mesos master at {address} refers to a leader at an address that cannot be followed: \
         `{location}`; give the leader's address"
    )]
    BadRedirect { address: String, location: String },
    /// Something else listens there.
    #[error("{address} answered {found}: is this the address of a Mesos master (port 5050)?")]
    NotMesos { address: String, found: String },
    /// 401.
    #[error(
        "the Mesos master at {address} does not know us (401); check the credentials file, and \
         that the principal is known to the master"
    )]
    Unauthorized { address: String },
    /// 403 before there is a subscription.
    #[error("the Mesos master at {address} forbids it (403: {body}); check the principal's rights")]
    Forbidden { address: String, body: String },
    /// The subscription or question is refused for what it says.
    #[error("the Mesos master refuses the request: {message}; correct the configuration")]
    Rejected { message: String },
    /// Another scheduler has subscribed with our framework ID.
    #[error(
        "another scheduler has taken over this framework; make sure that no calico-dcos with \
         another etcd, or another prefix, has the same framework ID"
    )]
    FailedOver,
    /// The master has removed the framework and killed its tasks.
    #[error(
        "the Mesos master has removed this framework and its tasks; to start as a new one, remove \
         the framework ID from etcd"
    )]
    Removed,
    /// The stream has ended without a word.
    #[error("the Mesos master has closed the event stream; subscribing again")]
    StreamEnded,
    /// The connection of the stream broke.
    #[error("the event stream of the Mesos master broke off; subscribing again")]
    StreamBroken { source: reqwest::Error },
    /// Not even a heartbeat.
    #[error("the Mesos master has been silent for {seconds} s; subscribing again")]
    Silent { seconds: f64 },
    /// The stream is damaged.
    #[error("the event stream of the Mesos master cannot be read; subscribing again")]
    Record {
        #[from]
        source: RecordError,
    },
    /// A record that is not an event.
    #[error("an event of the Mesos master is not understood; subscribing again")]
    BadEvent { source: serde_json::Error },
    /// The operator API answered something else.
    #[error("the answer of the Mesos master at {address} is not understood; is its version known?")]
    BadAnswer { address: String, source: serde_json::Error },
    /// The maintenance schedule is not read fast enough to be edited.
    #[error(
        "the Mesos master takes more than {seconds} s to tell its maintenance schedule, which may \
         be another by then; is it overloaded?"
    )]
    SlowSchedule { seconds: f64 },
    /// The operator API answered more than can be true.
    #[error("the answer of the Mesos master at {address} has more than {limit} bytes; is it one?")]
    Oversized { address: String, limit: usize },
    /// A call shows that the subscription is over, though the stream may still be open.
    #[error("{call}: the Mesos master no longer knows the subscription ({status}: {body})")]
    CallLost { call: String, status: u16, body: String },
    /// A call got no answer. It may have been carried out; reconciliation will tell.
    #[error("{call}: the Mesos master did not answer; subscribing again")]
    CallUnanswered { call: String, source: Box<MesosError> },
    /// A call was refused for what it says: a defect of this program.
    #[error("{call}: the Mesos master refused it ({status}: {body}); please report this")]
    Refused { call: String, status: u16, body: String },
    /// A call cannot be written as JSON: a defect of this program.
    #[error("{call}: it cannot be written; please report this")]
    Unwritable { call: String, source: serde_json::Error },
}

impl MesosError {
    /// The question is not for us to ask: another realm, a missing right, or a master that does
    /// not know it. Schedulers are let in by other rights.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Forbidden { .. } | Self::Unauthorized { .. } | Self::Rejected { .. })
    }

    /// What to do about it.
    #[must_use]
    pub fn next_step(&self) -> NextStep {
        match self {
            Self::NoLeader { source, .. } if source.is_permanent() => NextStep::GiveUp,
            Self::Login { source } if source.is_permanent() => NextStep::GiveUp,
            Self::Unreachable { .. }
            | Self::NoLeader { .. }
            | Self::LeaderMoved { .. }
            | Self::Login { .. }
            | Self::NoAnswer { .. }
            | Self::NoneLeads { .. }
            | Self::NotReady { .. }
            | Self::Circle { .. }
            | Self::StreamEnded
            | Self::StreamBroken { .. }
            | Self::Silent { .. }
            | Self::Record { .. }
            | Self::BadEvent { .. }
            | Self::SlowSchedule { .. }
            | Self::CallLost { .. }
            | Self::CallUnanswered { .. } => NextStep::Resubscribe,
            Self::Refused { .. } | Self::Unwritable { .. } => NextStep::Continue,
            Self::Client { .. }
            | Self::TooOld { .. }
            | Self::Untrusted { .. }
            | Self::BadRedirect { .. }
            | Self::NotMesos { .. }
            | Self::Unauthorized { .. }
            | Self::Forbidden { .. }
            | Self::Rejected { .. }
            | Self::FailedOver
            | Self::Removed
            | Self::BadAnswer { .. }
            | Self::Oversized { .. } => NextStep::GiveUp,
        }
    }

    /// An ERROR record. The texts are those of Mesos' master (`master.cpp`); whatever else it says
    /// is about how we present ourselves.
    pub(super) fn told(message: String) -> Self {
        match message.as_str() {
            "Framework failed over" => Self::FailedOver,
            "Framework has been removed" => Self::Removed,
            _ => Self::Rejected { message },
        }
    }
}
