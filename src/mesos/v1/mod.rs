//! The v1 API of Mesos as JSON: what goes to and comes from `/api/v1/scheduler`, `/api/v1` and
//! an agent's `/api/v1/executor`.
//!
//! Every type is read *and* written, so that the simulated master speaks through the same
//! definitions from the other side. Rules of Mesos' JSON codec that shape them
//! (stout's `protobuf.hpp`, confirmed by recorded traffic):
//!
//! - fields are written in the order of the `.proto` files, unset ones and empty lists are left
//!   out, optional fields that declare a default are always written;
//! - unknown fields are ignored on input, and kept where we have to echo what we were given
//!   ([`Resource`], [`TaskInfo`], [`ExecutorInfo`]);
//! - enums are names, and a newer master knows names that we do not: each enum has an `Unknown`
//!   that keeps the text;
//! - `bytes` are padded base64 ([`Blob`]), IDs are `{"value": "…"}`, 64-bit integers are numbers.

#[macro_use]
mod codec;
mod common;
mod event;
pub mod executor;
pub mod operator;
mod request;
mod resource;
pub mod scheduler;
mod task;

pub use codec::Blob;
pub use common::*;
pub use resource::*;
pub use task::*;

#[cfg(test)]
mod tests;
