//! The host's side: what it is told, what it answers, and what it does about it. Pure.

pub mod order;
