//! Who leads: the key `leader`, tied to a lease, and how long to believe in it.
//!
//! Leadership only decides who works, so that not two do the same; it never guards the budget
//! (a paused leader cannot know that it was deposed). Every write of a leader compares the
//! create revision of the key; [`Belief`] stops it earlier.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use etcd_client::{EventType, LeaseKeepAliveStream, LeaseKeeper};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::error::{StoreError, in_one_line};
use super::etcd::EtcdStore;
use super::keys::Key;
use super::txn::{LeaseId, Op, Outcome, Refused, Txn};
use super::watch::Watch;
use crate::clock;
use crate::words::{Revision, Time};

/// The version of [`LeaderRecord`] that this program writes.
const VERSION: u32 = 1;

/// Pause after a failed try.
const PAUSE: Duration = Duration::from_millis(500);

/// Who stands for leader.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The name shown to people, for example host name and process ID.
    pub name: String,
    /// When the process was started.
    pub started: Time,
    /// How long after its last sign of life a leader still counts as one. etcd takes whole
    /// seconds and at least about two.
    pub ttl: Duration,
    /// Where its page and API are reached, if they are.
    pub url: Option<String>,
}

/// The value of the key `leader`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaderRecord {
    /// 1.
    pub version: u32,
    /// The name shown to people.
    pub name: String,
    /// When the process was started.
    pub started: Time,
    /// Where its page and API are reached, if they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// What becomes of a candidate. After `Lost` it stands again by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaderEvent {
    /// It leads.
    Elected {
        /// To be compared by every write of this leader.
        create_revision: Revision,
    },
    /// It does not lead any more, or cannot know that it does.
    Lost {
        /// A sentence for people.
        why: String,
    },
}

/// Whether this process may believe to lead, at this moment: until the time when the last
/// keep-alive that was answered was *sent*, plus the lease's time to live, less a margin.
#[derive(Clone, Debug, Default)]
pub struct Belief(Arc<AtomicU64>);

impl Belief {
    /// Reads the clock: to be asked right before acting, not remembered.
    #[must_use]
    pub fn holds(&self) -> bool {
        clock::monotonic() < self.until()
    }

    fn until(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::SeqCst))
    }

    fn set(&self, sent: Duration, ttl: Duration) {
        let until = (sent + ttl).saturating_sub(margin(ttl)).as_millis();
        self.0.store(u64::try_from(until).unwrap_or(u64::MAX), Ordering::SeqCst);
    }

    fn clear(&self) {
        self.0.store(0, Ordering::SeqCst);
    }
}

/// For clocks of different speed, and for what was begun just before the belief ended.
fn margin(ttl: Duration) -> Duration {
    ttl / 4
}

/// Two keep-alives may fail before the belief ends.
fn keep_alive_every(ttl: Duration) -> Duration {
    ttl / 4
}

/// A candidacy. Dropped, it is withdrawn soon; [`Leadership::resign`] waits for that.
#[derive(Debug)]
pub struct Leadership {
    belief: Belief,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Leadership {
    /// Stands for leader until told to stop.
    #[must_use]
    pub fn campaign(
        store: &EtcdStore,
        candidate: Candidate,
    ) -> (Self, mpsc::Receiver<LeaderEvent>) {
        // So many events unread mean that nobody reads.
        let (events, receiver) = mpsc::channel(16);
        let (belief, stop) = (Belief::default(), CancellationToken::new());
        let store = store.clone();
        let worker = Worker { store, candidate, belief: belief.clone(), events, lease: None };
        let task = tokio::spawn(worker.run(stop.clone()));
        (Self { belief, stop, task }, receiver)
    }

    /// To be asked before every act of a leader.
    #[must_use]
    pub fn belief(&self) -> Belief {
        self.belief.clone()
    }

    /// Gives leadership back at once, so that the next one need not wait for the lease to run
    /// out.
    pub async fn resign(mut self) {
        self.stop.cancel();
        // It ends with its last request to etcd, which has a time limit.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Leadership {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

struct Worker {
    store: EtcdStore,
    candidate: Candidate,
    belief: Belief,
    events: mpsc::Sender<LeaderEvent>,
    lease: Option<LeaseId>,
}

/// Why a keep-alive did not work.
enum NotKept {
    /// The lease has run out or was revoked.
    Gone,
    /// No answer; it may work the next time.
    Failed(StoreError),
}

type Keeper = (LeaseKeeper, LeaseKeepAliveStream);

impl Worker {
    async fn run(mut self, stop: CancellationToken) {
        loop {
            let end = tokio::select! {
                // A term may be dropped at any point: what it leaves behind hangs on the lease.
                () = stop.cancelled() => break,
                end = self.term() => end,
            };
            self.belief.clear();
            self.revoke().await;
            if let Err(error) = end {
                tracing::warn!(error = in_one_line(&error), "cannot stand for leader");
                tokio::select! {
                    () = stop.cancelled() => break,
                    () = tokio::time::sleep(PAUSE) => {}
                }
            }
        }
        self.belief.clear();
        self.revoke().await;
    }

    /// Waits for the place to be free, takes it, keeps it as long as it can.
    async fn term(&mut self) -> Result<(), StoreError> {
        self.wait_until_free().await?;
        let sent = clock::monotonic();
        let seconds = i64::try_from(self.candidate.ttl.as_secs()).unwrap_or(i64::MAX);
        let mut client = self.store.lease_client();
        let granted = self.store.answer(client.grant(seconds, None)).await?;
        let lease = LeaseId(granted.id());
        self.lease = Some(lease);
        let ttl = Duration::from_secs(u64::try_from(granted.ttl()).unwrap_or(0));
        let Outcome::Committed(create_revision) = self.take_place(lease).await? else {
            return Ok(());
        };
        self.belief.set(sent, ttl);
        self.tell(LeaderEvent::Elected { create_revision }).await;
        let why = self.keep(lease, ttl, create_revision).await;
        self.belief.clear();
        self.tell(LeaderEvent::Lost { why }).await;
        Ok(())
    }

    async fn take_place(&self, lease: LeaseId) -> Result<Outcome, StoreError> {
        let Candidate { name, started, url, .. } = self.candidate.clone();
        let record = LeaderRecord { version: VERSION, name, started, url };
        let value = serde_json::json!(record).to_string();
        let mut txn = Txn::new().if_at(Key::Leader, Revision(0));
        txn.ops.push(Op::Put { key: Key::Leader, value, lease: true });
        self.store.txn_with(&txn, Some(lease)).await
    }

    async fn wait_until_free(&self) -> Result<(), StoreError> {
        let (leader, revision) = self.store.get_at(&Key::Leader).await?;
        if leader.is_none() {
            return Ok(());
        }
        let mut watch = Watch::open(&self.store, Some(&Key::Leader), revision).await?;
        loop {
            let changes = watch.next().await?;
            if changes.last().is_some_and(|change| change.event_type() == EventType::Delete) {
                return Ok(());
            }
        }
    }

    /// Keeps the lease alive; returns why it is over.
    async fn keep(&self, lease: LeaseId, ttl: Duration, created: Revision) -> String {
        let every = keep_alive_every(ttl);
        let (mut keeper, mut failure) = (None, None);
        let mut next = clock::monotonic() + every;
        loop {
            let until = self.belief.until();
            tokio::time::sleep(next.min(until).saturating_sub(clock::monotonic())).await;
            let sent = clock::monotonic();
            if sent >= until {
                return match failure {
                    Some(error) => format!("the lease could not be renewed: {error}"),
                    None => "this process stood still for longer than its lease".to_owned(),
                };
            }
            match self.renew(&mut keeper, lease, every.min(until.saturating_sub(sent))).await {
                Ok(()) => {
                    self.belief.set(sent, ttl);
                    failure = None;
                    next = sent + every;
                    if self.is_deposed(created, every).await {
                        return "somebody deleted the key of the leader".to_owned();
                    }
                }
                Err(NotKept::Gone) => return Refused::NoLease.to_string(),
                Err(NotKept::Failed(error)) => {
                    // An answer that comes late must not be taken for that of the next one.
                    keeper = None;
                    failure = Some(in_one_line(&error));
                    // Soon again, but never busily.
                    next = clock::monotonic() + every / 4;
                }
            }
        }
    }

    /// Sends one keep-alive and waits for its answer.
    async fn renew(
        &self,
        keeper: &mut Option<Keeper>,
        lease: LeaseId,
        limit: Duration,
    ) -> Result<(), NotKept> {
        let names = self.store.names();
        let renewal = async {
            let Some((requests, answers)) = keeper else {
                // Sends one by itself, and waits for the answer.
                *keeper = Some(self.store.lease_client().keep_alive(lease.0).await?);
                return Ok(Some(true));
            };
            requests.keep_alive().await?;
            Ok(answers.message().await?.map(|answer| answer.ttl() > 0))
        };
        match tokio::time::timeout(limit, renewal).await {
            Ok(Ok(Some(true))) => Ok(()),
            // A lease that has run out is answered, with no time left to live.
            Ok(Ok(Some(false))) => Err(NotKept::Gone),
            Ok(Err(etcd_client::Error::LeaseKeepAliveError(text))) if text == "lease not found" => {
                Err(NotKept::Gone)
            }
            Ok(Err(error)) => Err(NotKept::Failed(names.sort(error))),
            Ok(Ok(None)) | Err(_) => Err(NotKept::Failed(names.silent())),
        }
    }

    /// Whether the key is gone or another one although the lease lives. No answer is no reason
    /// to resign.
    async fn is_deposed(&self, created: Revision, limit: Duration) -> bool {
        let leader = tokio::time::timeout(limit, self.store.get(&Key::Leader)).await;
        let Ok(Ok(leader)) = leader else { return false };
        leader.is_none_or(|leader| leader.create_revision != created)
    }

    async fn revoke(&mut self) {
        let Some(LeaseId(lease)) = self.lease.take() else { return };
        let mut client = self.store.lease_client();
        if let Err(error) = self.store.answer(client.revoke(lease)).await {
            // It runs out by itself.
            tracing::debug!(error = in_one_line(&error), "cannot revoke the lease");
        }
    }

    async fn tell(&self, event: LeaderEvent) {
        // Nobody who listens: whoever dropped the receiver drops us as well.
        let _ = self.events.send(event).await;
    }
}
