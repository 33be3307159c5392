//! Mesos over HTTP: the wire types of its v1 API ([`v1`]), the framing of its event streams
//! ([`recordio`]), and the clients that speak it ([`scheduler`], [`operator`]). They carry out and
//! report; what to accept, kill or suppress is decided in `rollout`.

mod address;
pub mod agents;
mod auth;
mod backoff;
mod error;
pub mod executor;
mod http;
pub mod operator;
#[cfg(test)]
pub(crate) mod recording;
pub mod recordio;
pub mod scheduler;
#[cfg(test)]
mod testing;
pub mod v1;

pub use address::{AddressError, Masters};
pub use auth::{Credentials, CredentialsError};
pub use backoff::Backoff;
pub use error::{MesosError, NextStep};
pub use http::Options;
