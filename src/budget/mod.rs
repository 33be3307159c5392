//! The restart budget: who may disrupt a host, how many at once, and how fast.
//!
//! Things that are kept apart:
//! - [`slot`]: the slot protocol. It alone keeps the promise "never more than the budget", whatever
//!   crashes; controller, host and model checker use these very functions.
//! - [`pace`]: how fast new slots may be taken. It never binds while slots hold as they should,
//!   and bounds the damage if the slot code were ever wrong.
//! - [`books`]: whether the records fit together, and how they are made anew from what hosts
//!   report when etcd was restored from a backup.
//!
//! Invariants: the guard's count equals the number of slot records; every change of a slot
//! record is a compare-and-set; a held slot is freed by evidence, by the master's word that the
//! host is gone, or by an operator, never by time. Absent on purpose: slots that expire.

pub mod books;
pub mod pace;
pub mod slot;
