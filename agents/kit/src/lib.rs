//! The participant SDK: implement [`Participant`], call [`session::start`], and take part in deletions.

pub mod devices;
pub mod journal;
pub mod participant;
pub mod seal;
pub mod session;
pub mod store;
mod wire;

#[cfg(test)]
mod scratch;

pub use participant::*;
