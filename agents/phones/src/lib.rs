//! The agent of phones: each comes by itself over gRPC and is told what to do when its account dies.

use std::net::SocketAddr;
use std::sync::Arc;

use farewell_kit::devices::{Agent, Binding, DeviceClass, DeviceVerb, Line, Terms, Via};
use farewell_kit::session;
use farewell_runtime::server::Security;
use farewell_runtime::shutdown::Shutdown;

pub use farewell_kit::devices::{Handle, LeftOver, left_over};

/// What the agent needs to run. No `Debug`: the database's URL may hold a password.
#[derive(Clone)]
pub struct Config {
    /// `sqlite:path` or `postgres://…`.
    pub database: String,
    /// Where phones attach and callers bind them.
    pub devices_listen: SocketAddr,
    /// Protection of that listener.
    pub security: Security,
    /// How the coordinators are reached.
    pub session: session::Config,
    /// How long phones are waited for.
    pub terms: Terms,
}

/// Starts the agent. Returns once phones can attach.
pub async fn start(config: Config, shutdown: Shutdown) -> anyhow::Result<Handle> {
    let Config {
        database,
        devices_listen,
        security,
        session,
        terms,
    } = config;
    let agent = Agent {
        database,
        devices_listen,
        security,
        session,
        terms,
        broker: None,
    };
    agent.start(Arc::new(Phones), shutdown).await
}

/// Runs the agent until `shutdown`.
pub async fn run(config: Config, shutdown: Shutdown) -> anyhow::Result<()> {
    start(config, shutdown).await?.join().await
}

/// What is special about phones: nothing but that each is one person's.
struct Phones;

impl Line for Phones {
    fn name(&self) -> &'static str {
        "phones"
    }

    fn via(&self) -> Via {
        Via::Never
    }

    fn class(&self) -> DeviceClass {
        DeviceClass::Personal
    }

    fn verbs(&self, _binding: &Binding) -> Vec<DeviceVerb> {
        vec![DeviceVerb::Unbind, DeviceVerb::Reset, DeviceVerb::Transfer]
    }
}
