//! What every product line's agent shares: who owns which device, which orders are owed to it, and how they get there.
//!
//! The database is the truth and a transport is only its doorbell. An order is written before anything is sent, every
//! contact of a device starts with what the device says it has done, and what is still owed is read from the database
//! again. A lost message therefore costs a while and never an order.
//!
//! What is absent: no order is ever addressed to "all devices", and no function takes an account and wipes what it
//! finds there. Devices are named one by one, each with the epoch of the binding that was sealed.

mod again;
pub mod agent;
pub mod attach;
mod bells;
mod binding;
pub mod broker;
mod change;
mod choice;
pub mod clock;
mod companion;
mod contact;
pub mod counters;
pub mod delivery;
mod device;
mod eligibility;
mod erasure;
mod facts;
mod history;
mod keeper;
mod lease;
mod live;
mod lock;
mod lookout;
mod lost;
pub mod mqtt;
pub mod names;
pub mod order;
mod outbox;
pub mod participant;
mod parting;
mod possession;
pub mod refusal;
pub mod registry;
mod request;
pub mod returns;
mod said;
pub mod schema;
mod sentences;
pub mod service;
mod sessions;
mod set;
pub mod share;
mod sharing;
mod sheet;
mod shown;
mod signed;
mod takeover;
mod task;
mod tombstone;
mod transfer;
mod unbinding;
mod verb;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use crate::participant::{DeviceClass, DeviceVerb};
pub use agent::{Agent, Handle};
pub use bells::Bells;
pub use binding::Binding;
pub use change::Target;
pub use counters::{Counters, Odd};
pub use delivery::Delivery;
pub use eligibility::BLOCKERS;
pub use live::LiveBinding;
pub use order::{Order, State};
pub use participant::{DeviceLine, LeftOver, Line, Terms, left_over};
pub use possession::OF_A_DELETION as POSSESSION_OF_A_DELETION;
pub use refusal::Refusal;
pub use registry::{NewBinding, Registry, Via};
pub use share::{Role, Share};
pub use shown::Shown;
