//! The executor client: what an executor and its agent say to one another. The rules are in
//! [`session`], which is pure; [`Client`] carries out, [`Environment`] says with whom.

mod client;
mod environment;
pub mod session;

pub use client::{Client, ExecutorError, Said};
pub use environment::{Environment, EnvironmentError};
pub use session::{Ending, Order, Terms};
