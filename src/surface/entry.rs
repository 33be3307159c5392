//! What people do to etcd, whoever they do it through: each transaction carries an entry of the history that says who
//! and what.

use crate::clock;
use crate::rollout::records::{
    Author, HISTORY_KEPT, HistoryEntry, RECORDS_VERSION, history_number, to_json,
};
use crate::store::{EtcdStore, Key, Outcome, StoreError, Txn};
use crate::words::Revision;

use super::state::State;

/// Entries of the history that one edit deletes at most, where more than enough are kept.
pub(crate) const OLDEST_DELETED: usize = 8;

/// How often a number for the entry is tried.
pub(crate) const TRIES: usize = 4;

/// It was not done.
#[derive(Debug, thiserror::Error)]
pub enum NotDone {
    /// Others took each number.
    #[error("others write all the time, and nothing was done; try again")]
    Crowded,
    /// etcd said no, or nothing.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Carries out what an operator asks for, which compares nothing, and writes who asked.
pub(crate) async fn carry_out(
    store: &EtcdStore,
    state: &State,
    txn: &Txn,
    (who, what): (&str, &str),
) -> Result<Revision, NotDone> {
    let mut newest = state.history.last().copied();
    for _ in 0..TRIES {
        if let Outcome::Committed(revision) =
            record(store, state, txn.clone(), (who, what), &mut newest).await?
        {
            return Ok(revision);
        }
    }
    Err(NotDone::Crowded)
}

/// Tries a transaction together with an entry of the history, under the next number.
pub(crate) async fn record(
    store: &EtcdStore,
    state: &State,
    txn: Txn,
    (who, what): (&str, &str),
    newest: &mut Option<u64>,
) -> Result<Outcome, StoreError> {
    let at = clock::now();
    let (who, what) = (who.to_owned(), what.to_owned());
    let entry = HistoryEntry { version: RECORDS_VERSION, at, who, what };
    let number = history_number(at, *newest, Author::Person);
    *newest = Some(number);
    store.txn(&recorded(txn, state, number, &entry)).await
}

/// Adds the entry, and takes away the oldest ones beyond what is kept.
pub(crate) fn recorded(mut txn: Txn, state: &State, number: u64, entry: &HistoryEntry) -> Txn {
    let beyond = (state.history.len() + 1).saturating_sub(HISTORY_KEPT).min(OLDEST_DELETED);
    for oldest in state.history.iter().take(beyond) {
        txn = txn.delete(Key::History(*oldest));
    }
    let key = Key::History(number);
    txn.if_at(key.clone(), Revision(0)).put(key, to_json(entry))
}
