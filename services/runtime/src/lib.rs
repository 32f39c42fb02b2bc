//! What every Farewell process needs, and no decision.
//!
//! A process reads its whole configuration before it opens a port ([`config`]), starts logging and
//! tracing ([`telemetry`]), opens listeners with every limit named ([`server`]; [`handshake`] says whom
//! they let through, [`files`] how many can be there), dials others the same way ([`client`], and [`host`]
//! for where they are), knows who is on the other end ([`peer`]) and ends in order ([`shutdown`]). [`certs`] makes the certificates of a development set-up, [`cose`] signs what must be
//! believed wherever it passes through, and [`jws`] what others are told.
//!
//! Nothing here knows what a deletion is. Retry counts, deadlines and authorisation belong to the
//! crates that have a reason for them.

pub mod backoff;
pub mod certs;
pub mod client;
pub mod config;
pub mod cose;
pub mod files;
pub mod handshake;
pub mod host;
pub mod jws;
pub mod memory;
pub mod peer;
#[cfg(test)]
mod scratch;
pub mod server;
pub mod shutdown;
pub mod telemetry;
pub mod tls;
