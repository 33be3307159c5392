//! The real binary as processes of their own, a real etcd, and the simulated Mesos over HTTP, while
//! processes are killed and stopped, connections are cut, people write to etcd by hand, and a master
//! says what it should not: everything converges where it should, ends with the right words where it
//! should, never has more hosts in a restart than it may, and never calls in a tight loop.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "in a test they are assertions, and what a test says when it fails"
)]

mod bench;
mod by_hand;
mod gate;
mod idle;
mod leaders;
mod link;
mod members;
mod mesos;
mod operator;
mod outages;
mod refusals;
mod releases;
mod soak;
#[expect(dead_code, reason = "other tests use more of it")]
#[path = "../support/mod.rs"]
mod support;
mod teardown;
