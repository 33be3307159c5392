//! `calico-dcos` keeps the Calico network stack on every agent of an Apache Mesos or DC/OS
//! cluster at the state declared in YAML in etcd. ARCHITECTURE.md says how the rooms hang
//! together.

pub mod budget;
pub mod cli;
pub mod clock;
pub mod controller;
pub mod desired;
pub mod job;
pub mod mesos;
pub mod node;
pub mod observed;
pub mod plan;
pub mod rollout;
pub mod sim;
pub mod store;
pub mod surface;
pub mod web;
pub mod words;
