//! What runs on a host, as root: the executor, the runner and the boot unit, the five components,
//! and the machine's own services.
//!
//! What is done when is decided by [`crate::job`]; this room carries it out. All files are reached
//! through a [`files::Root`], services and Docker through handles in a host, so that every step
//! can be tested by an ordinary user on a machine without either.

pub mod agent;
pub mod boot;
pub mod dns;
pub mod docker;
pub mod download;
pub mod executor;
mod farewell;
pub mod files;
pub mod host;
pub mod json;
pub mod observer;
mod remains;
pub mod runner;
pub mod service;
pub mod state;
mod steps;
pub mod systemd;
pub mod watch;
mod watchdog;
