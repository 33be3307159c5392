//! What is: the facts of a host, and the fleet that they are folded into. Pure.
//!
//! - [`facts`]: what one host reports.
//! - [`fleet`]: what is known of one host, from the master and from itself, and how reports are
//!   folded into it.
//! - [`remains`]: what the predecessor has left on a host.
//! - [`support`]: what other software can do, by its version.
//! - [`tasks`]: the tasks of a host.

pub mod facts;
pub mod fleet;
pub mod remains;
pub mod support;
pub mod tasks;
