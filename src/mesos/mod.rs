//! Mesos over HTTP: the wire types of its v1 API ([`v1`]), the framing of its event streams
//! ([`recordio`]), and the clients that speak it ([`scheduler`], [`operator`]). They carry out and
//! report; what to accept, kill or suppress is decided in `rollout`.

mod address;
pub mod agents;
mod auth;
mod backoff;
mod body;
mod error;
pub mod executor;
pub mod features;
mod finder;
mod http;
mod location;
pub mod maintenance;
pub mod operator;
#[cfg(test)]
#[expect(dead_code, reason = "the replay tests use more of it")]
#[path = "../../tests/recordings/mod.rs"]
pub(crate) mod recording;
pub mod recordio;
mod registered;
pub mod scheduler;
mod slaves;
mod stream;
#[cfg(test)]
mod testing;
mod tls;
pub mod v1;
pub mod watch;
pub mod workload;
mod zookeeper;

pub use address::{AddressError, Masters};
pub use auth::{Credentials, CredentialsError, LoginError};
pub use backoff::Backoff;
pub use error::{MesosError, NextStep};
pub use http::Options;
pub use tls::{Authorities, AuthoritiesError};
pub use zookeeper::{OldTree, OldTreeAddress, ZooKeeperError};
