//! Mesos over HTTP: the wire types of its v1 API ([`v1`]), the framing of its event streams
//! ([`recordio`]), and the clients that speak it. They carry out and report; what to accept, kill
//! or suppress is decided in `rollout`.

#[cfg(test)]
pub(crate) mod recording;
pub mod recordio;
pub mod v1;
