//! Writes to etcd: one transaction after the other, in the order in which they were decided, and
//! listings among them.
//!
//! What was decided later rests on what was decided before. So after a transaction without an answer,
//! which may not have been carried out, nothing is sent before everything has been listed.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use crate::rollout::event::TxnId;
use crate::store::{EtcdStore, Outcome, Snapshot, Space, StoreError, Txn, in_one_line};

/// Between two tries of a listing.
const PAUSE: Duration = Duration::from_secs(1);

/// What the writer is to do.
#[derive(Clone, Debug)]
enum Job {
    Txn(TxnId, Txn),
    List,
}

/// What became of it.
#[derive(Clone, Debug)]
pub(super) enum Written {
    /// The transaction was answered.
    Done(TxnId, Outcome),
    /// It was not, or one before it was not: it may have been carried out, or not.
    Unknown(TxnId),
    /// The listing. It is newer than all transactions before it.
    Listed(Snapshot),
}

/// The queue to etcd. Dropped, it stops; what was not sent is never sent.
///
/// The queues are as long as what the state machine decides in one pass and until the term stops
/// asking it, see [`Writer::waiting`].
#[derive(Debug)]
pub(super) struct Writer {
    jobs: mpsc::UnboundedSender<Job>,
    answers: mpsc::UnboundedReceiver<Written>,
    waiting: usize,
    _task: AbortOnDropHandle<()>,
}

impl Writer {
    pub(super) fn start(store: EtcdStore) -> Self {
        let (jobs, queue) = mpsc::unbounded_channel();
        let (told, answers) = mpsc::unbounded_channel();
        let task = tokio::spawn(work_off(store, queue, told));
        Self { jobs, answers, waiting: 0, _task: AbortOnDropHandle::new(task) }
    }

    pub(super) fn txn(&mut self, id: TxnId, txn: Txn) {
        self.send(Job::Txn(id, txn));
    }

    pub(super) fn list(&mut self) {
        self.send(Job::List);
    }

    fn send(&mut self, job: Job) {
        self.waiting += 1;
        // It ends only with us.
        let _ = self.jobs.send(job);
    }

    /// How many transactions and listings have no answer yet.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// The next answer. Nothing is lost if the future is dropped.
    /// None: the writer has ended, which it does not do by itself.
    pub(super) async fn answer(&mut self) -> Option<Written> {
        let answer = self.answers.recv().await?;
        self.waiting -= 1;
        Some(answer)
    }
}

async fn work_off(
    store: EtcdStore,
    mut queue: mpsc::UnboundedReceiver<Job>,
    told: mpsc::UnboundedSender<Written>,
) {
    let mut astray = false;
    while let Some(job) = queue.recv().await {
        let answer = match job {
            Job::List => Written::Listed(list(&store).await),
            Job::Txn(id, _) if astray => Written::Unknown(id),
            Job::Txn(id, txn) => match store.txn(&txn).await {
                Ok(outcome) => Written::Done(id, outcome),
                Err(error) => {
                    tracing::warn!("{}", in_one_line(&error));
                    if !matches!(error, StoreError::Unreachable { .. }) {
                        // It was refused, and would be again: not at full speed.
                        tokio::time::sleep(PAUSE).await;
                    }
                    Written::Unknown(id)
                }
            },
        };
        astray = matches!(answer, Written::Unknown(_));
        if told.send(answer).is_err() {
            return;
        }
    }
}

/// Lists until it works: without a listing there is nothing to decide.
async fn list(store: &EtcdStore) -> Snapshot {
    loop {
        match store.list(Space::All).await {
            Ok(snapshot) => return snapshot,
            Err(error) => tracing::warn!("{}", in_one_line(&error)),
        }
        tokio::time::sleep(PAUSE).await;
    }
}
