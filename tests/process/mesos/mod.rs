//! What may go wrong between a controller and its master, and what older masters do not know.

mod faults;
mod scenarios;
mod versions;
