//! A coordinator in the story's own process.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use farewell_coordinator::{Config, Limits, Listener, Pace, Region, Running};
use farewell_core::Policy;
use farewell_core::retry::Backoff;
use farewell_runtime::cose::SigningKey;
use farewell_runtime::server::Security;
use farewell_runtime::shutdown::Shutdown;

use crate::caller::{Caller, Operator};

/// A running coordinator. It ends when it is dropped.
#[derive(Debug)]
pub struct Coordinator {
    pub callers: String,
    pub participants: String,
    pub operators: String,
    /// Where receivers fetch events; empty: nowhere.
    pub events: String,
    /// What the story's own participants, callers and operators show.
    security: Security,
    running: Option<Running>,
    shutdown: Shutdown,
}

/// How long an answer to a question may take. Who says nothing costs a story as much.
pub const QUERY: Duration = Duration::from_secs(4);

/// Impatient: a story waits for these. Only nobody is asked twice, and everybody has time to answer a question, however slow the
/// machine, unless the story says so.
pub fn pace() -> Pace {
    Pace {
        lease: Duration::from_secs(5),
        poll: Duration::from_millis(50),
        retry: Backoff {
            base: Duration::from_secs(120),
            cap: Duration::from_secs(120),
        },
        query: QUERY,
        drain: Duration::from_secs(2),
    }
}

/// The key of every story's coordinator: devices of a story pin its public half.
pub fn order_key() -> SigningKey {
    SigningKey::from_seed(&[7; 32]).expect("32 bytes are a seed")
}

/// Ports on loopback that the system chooses.
pub fn config(policy: Policy, ledger: &str, security: &Security) -> Config {
    let listener = || Listener {
        address: SocketAddr::from(([127, 0, 0, 1], 0)),
        security: security.clone(),
    };
    Config {
        instance: "story".to_owned(),
        ledger: ledger.to_owned(),
        policy,
        region: Region::default(),
        callers: listener(),
        participants: listener(),
        operators: listener(),
        orders: order_key(),
        events: None,
        pace: pace(),
        limits: Limits::default(),
        custodian: "cloud".parse().expect("a name"),
    }
}

impl Coordinator {
    /// Without TLS, which only loopback allows.
    pub async fn start(policy: Policy, ledger: &str) -> Result<Self> {
        Self::start_with(config(policy, ledger, &Security::PlainLoopback)).await
    }

    /// As told.
    pub async fn start_with(config: Config) -> Result<Self> {
        let shutdown = Shutdown::new();
        let running = farewell_coordinator::start(config, shutdown.clone()).await?;
        Ok(Self {
            callers: running.callers.to_string(),
            participants: running.participants.to_string(),
            operators: running.operators.to_string(),
            events: running
                .events
                .map(|address| address.to_string())
                .unwrap_or_default(),
            security: Security::PlainLoopback,
            running: Some(running),
            shutdown,
        })
    }

    /// A caller of it.
    pub fn caller(&self) -> Result<Caller> {
        Caller::new(&self.callers, &self.security)
    }

    /// An operator of it.
    pub fn operator(&self) -> Result<Operator> {
        Operator::new(&self.operators, &self.security)
    }

    /// Ends it in order.
    pub async fn stop(mut self) -> Result<()> {
        self.shutdown.trigger();
        match self.running.take() {
            Some(running) => running.ended().await,
            None => Ok(()),
        }
    }
}

impl Drop for Coordinator {
    fn drop(&mut self) {
        self.shutdown.trigger();
    }
}
