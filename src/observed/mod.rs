//! What is: the facts of a host, and the fleet that they are folded into. Pure.

pub mod facts;
