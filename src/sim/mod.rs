//! A model of the world outside: Mesos, etcd, hosts and their faults, in virtual time.

pub mod agent;
pub mod cluster;
pub mod etcd;
pub mod fleet;
pub mod host;
pub mod mesos;
pub mod meter;
pub mod report;
pub mod run;
pub mod scenario;
pub mod seeds;
pub mod town;
pub mod wire;
