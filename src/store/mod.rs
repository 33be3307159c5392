//! etcd: the key space on one page, transactions as values, list-then-watch, the leader's lease.
//!
//! [`keys`] and [`txn`] are pure; every room may use them. The rest talks to etcd and decides
//! nothing.

mod error;
mod etcd;
pub mod keys;
mod lease;
mod members;
mod options;
pub mod txn;
mod watch;

pub use error::StoreError;
pub(crate) use error::in_one_line;
pub use etcd::EtcdStore;
pub use keys::{Key, Space};
pub use lease::{Belief, Candidate, LeaderEvent, LeaderRecord, Leadership};
pub use options::EtcdOptions;
pub use txn::{
    Change, Compare, Entry, LeaseId, MAX_OPS, Op, Outcome, Refused, Snapshot, StoreEvent, Txn,
};
