//! etcd: the key space on one page, transactions as values, list-then-watch, the leader's lease.
//!
//! [`keys`] and [`txn`] are pure; every room may use them. The rest talks to etcd and decides
//! nothing.

pub mod keys;
pub mod txn;

pub use keys::{Key, Space};
pub use txn::{
    Change, Compare, Entry, LeaseId, MAX_OPS, Op, Outcome, Refused, Snapshot, StoreEvent, Txn,
};
