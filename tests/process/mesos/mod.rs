//! What may go wrong between a controller and its master, what older masters do not know, and the
//! maintenance schedule that is announced with.

mod drain;
mod faults;
mod scenarios;
mod versions;
