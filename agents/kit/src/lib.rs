#![doc = include_str!("../README.md")]
//!
//! ## The whole example
//!
#![doc = concat!("```rust,ignore\n", include_str!("../examples/notes.rs"), "```")]

pub mod clearing;
pub mod devices;
pub mod export;
pub mod holder;
pub mod home;
pub mod interests;
pub mod journal;
pub mod participant;
pub mod scratch;
pub mod seal;
pub mod service;
pub mod session;
pub mod standing;
pub mod store;
pub mod transfer;
pub mod vault;
mod wire;

pub use holder::Holder;
pub use participant::*;

/// What every process needs: TLS, shutdown, telemetry. [`session::Config`] and [`session::start`] take some of it.
pub use farewell_runtime as runtime;

/// In the versions that [`Participant`] and [`store::Store`] are made with.
pub use async_trait::async_trait;
pub use sqlx;
