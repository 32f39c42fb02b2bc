//! What the stories share: coordinators, participants that are honest or follow a script, and processes to kill.
//!
//! Nothing here decides what is right: that stands in the stories, and in `farewell_core::invariants`.

pub mod aftermath;
pub mod agents;
pub mod audit;
pub mod balancer;
pub mod broker;
pub mod caller;
pub mod cell;
pub mod cluster;
pub mod collector;
pub mod coordinator;
pub mod foreign;
pub mod holder;
pub mod honest;
pub mod household;
pub mod ledger;
pub mod load;
pub mod office;
pub mod policy;
pub mod process;
pub mod receiver;
pub mod refusal;
pub mod scripted;
pub mod secret;
pub mod slow_line;
pub mod time_machine;
pub mod town;
pub mod wait;
