//! List, then watch. Streams of the client never recover, a frozen server stays silent, and a
//! compaction ends a watch with hardly a word: each of these ends the watch here, and it begins
//! anew with a listing.

use std::time::Duration;

use etcd_client::{Event, EventType, WatchOptions, WatchStream};
use tokio::sync::mpsc;

use super::error::{StoreError, in_one_line};
use super::etcd::{EtcdStore, after_prefix, revision, signed};
use super::keys::{Key, Space};
use super::txn::{Change, StoreEvent};
use crate::words::Revision;

/// Events that wait for a reader before the watch stops reading.
const WAITING: usize = 64;

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

impl EtcdStore {
    /// Watches everything under the prefix, for as long as the receiver lives: a listing, then
    /// the changes after it. When the connection is lost or falls silent, `Lost` (once for each
    /// cause) and, when etcd is back, a new listing.
    pub fn watch(&self) -> mpsc::Receiver<StoreEvent> {
        let (events, receiver) = mpsc::channel(WAITING);
        tokio::spawn(tell(self.clone(), events));
        receiver
    }
}

/// The receiver is gone.
struct Unheard;

async fn tell(store: EtcdStore, events: mpsc::Sender<StoreEvent>) {
    let mut pause = FIRST_PAUSE;
    let mut told = None;
    loop {
        let mut listed = false;
        let error = tokio::select! {
            // Both may be dropped at any point: all that they know is lost with them.
            () = events.closed() => return,
            end = follow(&store, &events, &mut listed) => match end {
                Ok(Unheard) => return,
                Err(error) => error,
            },
        };
        if listed {
            (pause, told) = (FIRST_PAUSE, None);
        }
        let why = in_one_line(&error);
        tracing::debug!(why, "the watch ended");
        if told.as_ref() != Some(&why) {
            if events.send(StoreEvent::Lost { why: why.clone() }).await.is_err() {
                return;
            }
            told = Some(why);
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// One listing and what follows it, until something breaks.
async fn follow(
    store: &EtcdStore,
    events: &mpsc::Sender<StoreEvent>,
    listed: &mut bool,
) -> Result<Unheard, StoreError> {
    let snapshot = store.list(Space::All).await?;
    let from = snapshot.revision;
    let mut watch = Watch::open(store, None, from).await?;
    *listed = true;
    if events.send(StoreEvent::Listed(snapshot)).await.is_err() {
        return Ok(Unheard);
    }
    loop {
        let changes: Vec<_> =
            watch.next().await?.iter().filter_map(|event| change(store, event)).collect();
        // The header may be ahead of what a watch that catches up has been told; the last change
        // is not.
        let Some(revision) = changes.last().map(Change::revision) else { continue };
        if events.send(StoreEvent::Changed { revision, changes }).await.is_err() {
            return Ok(Unheard);
        }
    }
}

fn change(store: &EtcdStore, event: &Event) -> Option<Change> {
    let found = event.kv()?;
    match event.event_type() {
        EventType::Put => store.entry_of(found).map(Change::Put),
        EventType::Delete => {
            let key = store.key_of(found.key())?;
            Some(Change::Deleted { key, revision: revision(found.mod_revision()) })
        }
    }
}

/// A watch that takes silence for loss: after one timeout without a word it asks for a sign of
/// life, after another one it gives up.
pub(super) struct Watch<'a> {
    store: &'a EtcdStore,
    stream: WatchStream,
    after: i64,
}

impl<'a> Watch<'a> {
    /// Watches one key, or everything, for the changes after a revision. Returns when etcd has
    /// confirmed the watch.
    pub(super) async fn open(
        store: &'a EtcdStore,
        key: Option<&Key>,
        after: Revision,
    ) -> Result<Watch<'a>, StoreError> {
        let after = signed(after);
        // Begins with the revision that is known already, and drops what it says of it: when a
        // delete is compacted, etcd (before 3.4.36 and 3.5.18) loses it without a word for a
        // watch that begins with it. Begun one earlier, the watch is refused as compacted.
        let options = WatchOptions::new().with_start_revision(after);
        let (path, options) = match key {
            Some(key) => (store.path(key), options),
            None => {
                (store.root().to_owned(), options.with_range(after_prefix(store.root().as_bytes())))
            }
        };
        let mut client = store.watch_client();
        let stream = store.answer(client.watch(path, Some(options))).await?;
        let mut watch = Self { store, stream, after };
        match tokio::time::timeout(store.timeout(), watch.message()).await {
            Ok(confirmed) => confirmed.map(|_| watch),
            Err(_) => Err(store.names().silent()),
        }
    }

    /// The next changes, whole transactions; never none.
    pub(super) async fn next(&mut self) -> Result<Vec<Event>, StoreError> {
        let mut asked = false;
        loop {
            match tokio::time::timeout(self.store.timeout(), self.message()).await {
                Ok(Ok(events)) if events.is_empty() => asked = false,
                Ok(done) => return done,
                Err(_) if asked => return Err(self.store.names().silent()),
                Err(_) => {
                    asked = true;
                    self.store.answer(self.stream.request_progress()).await?;
                }
            }
        }
    }

    async fn message(&mut self) -> Result<Vec<Event>, StoreError> {
        let names = self.store.names();
        let message = self.stream.message().await.map_err(|error| names.sort(error))?;
        let Some(message) = message else { return Err(names.silent()) };
        if message.compact_revision() > 0 {
            return Err(StoreError::Compacted);
        }
        if message.canceled() {
            // Permissions are told so, without a status of their own.
            let reason = message.cancel_reason().to_owned();
            return Err(StoreError::Other(etcd_client::Error::WatchError(reason).into()));
        }
        let is_new = |event: &&Event| event.kv().is_some_and(|kv| kv.mod_revision() > self.after);
        Ok(message.events().iter().filter(is_new).cloned().collect())
    }
}
