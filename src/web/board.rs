//! What is known, and one view of it that all readers share: whoever asks waits at most for one view to be made,
//! and nobody has one made while another is.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Mutex as AsyncMutex, Semaphore, mpsc, watch};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::problem::{Kind, Problem};
use crate::clock;
use crate::controller::pulse::Pulse;
use crate::plan::Plan;
use crate::store::{EtcdStore, StoreEvent};
use crate::surface::known::Known;
use crate::surface::view::{View, ViewError};

/// A view is used for so long though time goes on: ages are shown in seconds.
const FRESH: Duration = Duration::from_secs(1);

/// Between two views there are so many times the time that one takes: of a processor, views take a fifth.
const REST: u32 = 4;

/// Answers made at a time; the others wait.
pub(super) const PENS: usize = 2;

/// For a pen, before it is said that too many ask.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// What is known.
#[derive(Debug)]
pub(super) struct Board {
    known: Arc<Mutex<Known>>,
    /// How many times something was heard.
    news: watch::Receiver<u64>,
    view: AsyncMutex<Option<Made>>,
    pens: Arc<Semaphore>,
    pulse: Pulse,
    _reader: AbortOnDropHandle<()>,
}

/// A view, and when it was made.
#[derive(Clone, Debug)]
struct Made {
    shown: Arc<Shown>,
    news: u64,
    at: Duration,
    cost: Duration,
}

/// What readers see.
#[derive(Debug)]
pub(super) struct Shown {
    /// Or that there are no documents to plan for.
    pub(super) view: Result<View, ViewError>,
    /// Why it may be old, as a clause.
    pub(super) lost: Option<String>,
}

impl Board {
    /// Follows etcd from now on, until dropped.
    pub(super) fn start(store: &EtcdStore, pulse: Pulse) -> Arc<Self> {
        Self::follow(store.watch(), pulse)
    }

    /// Follows these events.
    pub(super) fn follow(mut events: mpsc::Receiver<StoreEvent>, pulse: Pulse) -> Arc<Self> {
        let known = Arc::new(Mutex::new(Known::default()));
        let (tell, news) = watch::channel(0);
        let held = Arc::clone(&known);
        let reader = tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                held.lock().unwrap_or_else(PoisonError::into_inner).fold(event, clock::now());
                tell.send_modify(|count| *count += 1);
            }
        });
        Arc::new(Self {
            known,
            news,
            view: AsyncMutex::new(None),
            pens: Arc::new(Semaphore::new(PENS)),
            pulse,
            _reader: AbortOnDropHandle::new(reader),
        })
    }

    /// Tells when something is heard.
    pub(super) fn news(&self) -> watch::Receiver<u64> {
        self.news.clone()
    }

    /// Whether etcd has been read, and why that may be old.
    pub(super) fn sight(&self) -> (bool, Option<String>) {
        self.with(|known| (known.state().is_some(), known.lost().map(str::to_owned)))
    }

    /// Does something with what is known. Short: whatever is heard waits for it.
    pub(super) fn with<T>(&self, look: impl FnOnce(&Known) -> T) -> T {
        look(&self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What readers see: made anew if something was heard since, or time has gone on.
    pub(super) async fn shown(&self) -> Result<Arc<Shown>, Problem> {
        let mut view = self.view.lock().await;
        let (news, now) = (*self.news.borrow(), clock::monotonic());
        if let Some(made) = &*view {
            let age = now.saturating_sub(made.at);
            if (made.news == news && age < FRESH) || age < made.cost * REST {
                return Ok(Arc::clone(&made.shown));
            }
        }
        let known = Arc::clone(&self.known);
        let heard = self.pulse.beat().leads.map(|leads| leads.heard).unwrap_or_default();
        let shown = in_background(move || {
            let (state, lost) = {
                let known = known.lock().unwrap_or_else(PoisonError::into_inner);
                (known.state().cloned(), known.lost().map(str::to_owned))
            };
            let Some(state) = state else { return Err(not_read(lost.as_deref())) };
            let mut view = View::new(state, Vec::new(), clock::now());
            if let Ok(view) = &mut view {
                view.heard = heard;
            }
            Ok(Arc::new(Shown { view, lost }))
        })
        .await??;
        let (at, cost) = (clock::monotonic(), clock::monotonic().saturating_sub(now));
        *view = Some(Made { shown: Arc::clone(&shown), news, at, cost });
        Ok(shown)
    }

    /// Makes an answer from the view and its plan, beside the threads that everything else runs on.
    pub(super) async fn answer<T: Send + 'static>(
        &self,
        make: impl FnOnce(&Shown, &View, &Plan<'_>) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let pen = timeout(PATIENCE, Arc::clone(&self.pens).acquire_owned()).await;
        let Ok(Ok(pen)) = pen else {
            return Err(Problem::new(Kind::Busy, "too many ask at a time; ask again soon"));
        };
        let shown = self.shown().await?;
        in_background(move || {
            // Also if whoever asked has gone meanwhile.
            let _pen = pen;
            match &shown.view {
                Ok(view) => Ok(make(&shown, view, &view.plan())),
                Err(error) => Err(no_documents(error)),
            }
        })
        .await?
    }
}

/// Why there is nothing to show.
fn not_read(lost: Option<&str>) -> Problem {
    let why = lost.unwrap_or("it has not answered yet");
    Problem::new(Kind::NotReady, format!("etcd has not been read: {why}"))
}

/// What somebody reads who has just started a controller.
const FIRST_DOCUMENTS: &str = "\
No desired state is declared yet, so nothing is changed on any host.

Begin with desired-state/minimal.yaml, and with `rollout: {start: approved}` in it:
nothing changes then before you have seen what would.

  calico-dcos validate cluster.yaml
  calico-dcos apply -f cluster.yaml
  calico-dcos diff";

pub(super) fn no_documents(error: &ViewError) -> Problem {
    match error {
        ViewError::NoDocuments => Problem::new(Kind::NoDocuments, FIRST_DOCUMENTS),
        // Colours are for terminals.
        ViewError::Refused(_) => {
            let text = anstream::adapter::strip_str(&error.to_string()).to_string();
            Problem::new(Kind::Refused, text)
        }
    }
}

async fn in_background<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        tracing::error!(%error, "an answer could not be made");
        Problem::new(Kind::Internal, "the answer could not be made; the log says more")
    })
}
