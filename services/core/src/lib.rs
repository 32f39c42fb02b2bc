//! The decisions of a deletion, and nothing else.
//!
//! Start with [`deletion`]: the states and the one transition. A [`policy`] says what a region wants, [`calendar`] counts its
//! days, and [`blocker`] says what can stand in the way. A [`plan`] says who owes what and in which order, [`order`] what a
//! device is told, [`report`] judges what comes back, [`gate`] is the only maker of a [`gate::PurgePermit`], [`duty`] derives
//! what must happen next, [`notice`] who is told of it, [`certificate`] says what was done and [`addendum`] what became of it
//! later, [`obligation`] what law still keeps, [`overridden`] what the support desk lets it go on in spite of, [`decision`] who decided a step and why, and [`invariants`] says what may never be seen in any history. Beside all that,
//! an [`account`] is frozen, thawed or memorialised, or loses its real name or what advertising knows of it.
//!
//! What is absent: I/O, async, a clock, randomness. Time and chance come in as arguments. This crate never learns that
//! gRPC or SQL exist.

pub mod account;
pub mod addendum;
pub mod blocker;
pub mod calendar;
pub mod certificate;
pub mod condition;
pub mod custody;
pub mod decision;
pub mod deletion;
pub mod device;
pub mod duty;
pub mod gate;
pub mod id;
pub mod invariants;
pub mod leg;
pub mod notice;
pub mod obligation;
pub mod order;
pub mod overridden;
pub mod plan;
pub mod policy;
pub mod rare;
pub mod receipt;
pub mod refusal;
pub mod replay;
pub mod report;
pub mod retry;
pub mod time;

#[cfg(test)]
mod fixture;

pub use deletion::{Deletion, Event, State};
pub use duty::Duty;
pub use id::{AccountId, CommandName, DeletionId, DeviceId, ParticipantId, RequestId, Slot};
pub use leg::{LegIndex, Mask, Verb};
pub use plan::Plan;
pub use policy::Policy;
pub use receipt::{Evidence, Outcome, Receipt};
pub use refusal::{Reason, Refusal};
pub use time::Time;
