//! The participant SDK: implement [`Participant`], call [`session::run`], and take part in deletions.

pub mod journal;
pub mod participant;
pub mod session;
pub mod store;

pub use participant::*;
