//! A whole controller, with its real etcd, against the simulated Mesos over HTTP while things go
//! wrong: it converges where it should, ends with the right words where it should, and never
//! calls in a tight loop.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "in a test they are assertions, and what a test says when it fails"
)]

mod bench;
mod faults;
mod gate;
mod scenarios;
#[expect(dead_code, reason = "other tests use more of it")]
#[path = "../support/mod.rs"]
mod support;
mod versions;
