//! What every surface shows: commands, page and API. One copy of what is in etcd, one view of it, and the
//! reports that are made from its plan, so that no two surfaces say different things.
//!
//! - `state`: what is in etcd at one revision, or in an exported file.
//! - `known`: the same, kept up to date by a watch.
//! - `view`: from that to a plan, made by [`crate::plan::plan`] as the controller's own.
//! - `plan`, `status`, `hosts`, `history`: the same for programs; the types are the contract.
//! - `ask`, `entry`: what operators ask for, and that it is written down who did.
//! - `teardown`: taking all of it off.
//! - `group`: hosts that need the same.
//! - `sentence`: parts of a plan in words.
//! - `text`: numbers, names and times for people.

pub(crate) mod ask;
pub(crate) mod entry;
pub(crate) mod group;
pub mod history;
pub mod hosts;
pub mod known;
pub mod plan;
pub(crate) mod sentence;
pub mod state;
pub mod status;
pub(crate) mod teardown;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod text;
pub mod view;
