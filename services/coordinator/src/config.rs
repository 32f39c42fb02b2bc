//! What a coordinator needs to know before it opens a port.

use std::net::SocketAddr;
use std::time::Duration;

use farewell_core::retry::Backoff;
use farewell_core::{ParticipantId, Policy};
use farewell_runtime::cose::SigningKey;
use farewell_runtime::server::Security;

use crate::event::Events;
use crate::region::Region;
use crate::throttle::Limits;

/// Everything a coordinator is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// Unique among the coordinators of one ledger, for instance the pod's name.
    pub instance: String,
    /// `memory:`, `sqlite:PATH` or `postgres://…`.
    pub ledger: String,
    /// The policy for new deletions. Older deletions keep theirs.
    pub policy: Policy,
    /// Which region this is, and which others there are.
    pub region: Region,
    /// For internal services that ask for deletions.
    pub callers: Listener,
    /// For product lines and services that must let go of accounts.
    pub participants: Listener,
    /// For the people who run Farewell.
    pub operators: Listener,
    /// Signs what devices are told. Every coordinator of a region has the same key, and devices have its public half
    /// pinned.
    pub orders: SigningKey,
    /// Who else is told what becomes of accounts. `None`: nobody.
    pub events: Option<Events>,
    /// How fast things go.
    pub pace: Pace,
    /// How fast callers may ask.
    pub limits: Limits,
    /// The participant that makes archives of what everybody holds, and keeps them: nobody else gets others' data.
    pub custodian: ParticipantId,
}

/// A port and who may speak on it.
#[derive(Clone, Debug)]
pub struct Listener {
    pub address: SocketAddr,
    pub security: Security,
}

/// How fast things go. The defaults suit production; a demonstration is less patient.
#[derive(Clone, Debug)]
pub struct Pace {
    /// How long a coordinator that says nothing keeps its slots.
    pub lease: Duration,
    /// How often the ledger is looked at for what others put there and for waits that are over.
    pub poll: Duration,
    /// When a command without an answer is sent again.
    pub retry: Backoff,
    /// How long a question to a participant may take.
    pub query: Duration,
    /// How long the end may take.
    pub drain: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(10),
            poll: Duration::from_millis(500),
            retry: Backoff {
                base: Duration::from_secs(15),
                cap: Duration::from_secs(15 * 60),
            },
            query: Duration::from_secs(5),
            drain: Duration::from_secs(20),
        }
    }
}
