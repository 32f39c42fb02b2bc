//! Everything that the `farewell` binary can do, as a library, so that tests can run the roles, the fleet and the demo in
//! their own process.
//!
//! What is absent: decisions about deletions (core), SQL (ledger, kit), what a participant does (its own crate). Here are
//! settings, wiring and words for people.

pub mod account;
pub mod bench;
pub mod calendar;
pub mod certs;
pub mod cli;
pub mod client;
pub mod deletion;
pub mod demo;
pub mod device;
pub mod examples;
pub mod failure;
pub mod fleet;
pub mod identifier;
pub mod language;
pub mod operator;
pub mod output;
pub mod policy;
pub mod role;
pub mod sample;
pub mod secret;
pub mod settings;
pub mod support;

pub use cli::{Cli, run};
