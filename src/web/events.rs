//! Server-sent events: that something has changed, with the whole in numbers. Made once for all who listen, at most
//! once a second, and only while somebody does.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::{Stream, StreamExt, stream};
use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::Shared;
use super::board::{Board, Shown};
use super::problem::{Kind, Problem};
use crate::plan::Plan;
use crate::surface::status::RolloutStatus;
use crate::surface::view::View;
use crate::words::{Generation, Revision};

/// Streams at a time; whoever comes later is told to come again.
const STREAMS: usize = 1024;

/// Changes within this time are told as one.
const CALM: Duration = Duration::from_secs(1);

/// A sign of life, so that neither end takes the other for lost.
const SIGN: Duration = Duration::from_secs(15);

/// A client that was cut off comes again after this.
const AGAIN: Duration = Duration::from_secs(3);

/// The whole in numbers: the data of an event `changed`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Glance {
    /// The etcd revision of it.
    revision: Revision,
    /// The generation that is in force; 0 before the first.
    generation: Generation,
    /// How far the rollout is, as in `/api/v1/status`.
    status: &'static str,
    /// All hosts.
    hosts: usize,
    /// Those that are as they should be.
    in_sync: usize,
    /// Slots that there are.
    slots: usize,
    /// Slots that are held.
    slots_held: usize,
    /// Why it may be old, as a clause; absent while etcd is followed.
    #[serde(skip_serializing_if = "Option::is_none")]
    lost: Option<String>,
}

/// Those who listen.
#[derive(Debug)]
pub(super) struct Events {
    newest: watch::Receiver<Option<Arc<str>>>,
    places: Arc<Semaphore>,
    shutdown: CancellationToken,
    _teller: AbortOnDropHandle<()>,
}

impl Events {
    pub(super) fn start(board: Arc<Board>, shutdown: CancellationToken) -> Self {
        let places = Arc::new(Semaphore::new(STREAMS));
        let (tell, newest) = watch::channel(None);
        let teller = tokio::spawn(tell_changes(board, Arc::clone(&places), tell));
        Self { newest, places, shutdown, _teller: AbortOnDropHandle::new(teller) }
    }
}

/// Tells what changes for as long as the board follows etcd.
async fn tell_changes(
    board: Arc<Board>,
    places: Arc<Semaphore>,
    tell: watch::Sender<Option<Arc<str>>>,
) {
    let mut news = board.news();
    while news.changed().await.is_ok() {
        tokio::time::sleep(CALM).await;
        news.mark_unchanged();
        if places.available_permits() == STREAMS {
            continue;
        }
        // What cannot be shown now is told with the next change.
        if let Ok(text) = glance(&board).await {
            tell.send_if_modified(|newest| {
                let new = newest.as_ref() != Some(&text);
                *newest = Some(text);
                new
            });
        }
    }
}

async fn glance(board: &Board) -> Result<Arc<str>, Problem> {
    let glance = board.answer(Glance::of).await?;
    // A report with text keys serialises.
    Ok(serde_json::to_string(&glance).unwrap_or_default().into())
}

impl Glance {
    fn of(shown: &Shown, view: &View, plan: &Plan<'_>) -> Self {
        let summary = &plan.summary;
        Self {
            revision: view.state.revision,
            generation: view.generation(),
            status: RolloutStatus::of(view, plan).code(),
            hosts: summary.hosts,
            in_sync: summary.in_sync,
            slots: summary.slots,
            slots_held: summary.slots_held,
            lost: shown.lost.clone(),
        }
    }
}

/// `/api/v1/events`
pub(super) async fn events(
    State(site): Shared,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let events = &site.events;
    let place = Arc::clone(&events.places).try_acquire_owned();
    let place = place.map_err(|_| Problem::new(Kind::Busy, "too many listen at a time"))?;
    let mut newest = events.newest.clone();
    newest.mark_unchanged();
    // Whoever has just come is told how it is; if that cannot be said, the next change is.
    let first = glance(&site.board).await.ok();
    let changes = stream::unfold((newest, place), |(mut newest, place)| async move {
        newest.changed().await.ok()?;
        let text = newest.borrow_and_update().clone();
        Some((text, (newest, place)))
    });
    let told = stream::iter([first]).chain(changes).filter_map(|text| async move {
        Some(Ok(Event::default().event("changed").retry(AGAIN).data(text?)))
    });
    let until = events.shutdown.clone().cancelled_owned();
    Ok(Sse::new(told.take_until(until)).keep_alive(KeepAlive::new().interval(SIGN)))
}
