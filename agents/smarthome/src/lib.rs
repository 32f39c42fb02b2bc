#![doc = include_str!("../README.md")]

use std::net::SocketAddr;
use std::sync::Arc;

use farewell_kit::devices::{Agent, Binding, DeviceClass, DeviceVerb, Line, Terms, Via};
use farewell_kit::session;
use farewell_runtime::server::Security;
use farewell_runtime::shutdown::Shutdown;

pub use farewell_kit::devices::broker::Config as Broker;
pub use farewell_kit::devices::mqtt::{AGENT, Endpoint, Protocol};
pub use farewell_kit::devices::{Handle, LeftOver, left_over};

/// What the agent needs to run. No `Debug`: the database's URL may hold a password.
#[derive(Clone)]
pub struct Config {
    /// `sqlite:path` or `postgres://…`.
    pub database: String,
    /// Where callers bind hubs and children.
    pub devices_listen: SocketAddr,
    /// Protection of that listener.
    pub security: Security,
    /// How the coordinators are reached.
    pub session: session::Config,
    /// How long hubs are waited for.
    pub terms: Terms,
    /// The broker that hubs connect to: the embedded one, or somebody else's.
    ///
    /// What an external broker must do is said above.
    pub broker: Broker,
}

/// Starts the agent. Returns once hubs can connect to the embedded broker, or the external one is being dialled.
pub async fn start(config: Config, shutdown: Shutdown) -> anyhow::Result<Handle> {
    let Config {
        database,
        devices_listen,
        security,
        session,
        terms,
        broker,
    } = config;
    let agent = Agent {
        database,
        devices_listen,
        security,
        session,
        terms,
        broker: Some(broker),
    };
    agent.start(Arc::new(SmartHome), shutdown).await
}

/// Runs the agent until `shutdown`.
pub async fn run(config: Config, shutdown: Shutdown) -> anyhow::Result<()> {
    start(config, shutdown).await?.join().await
}

struct SmartHome;

impl Line for SmartHome {
    fn name(&self) -> &'static str {
        "smarthome"
    }

    fn via(&self) -> Via {
        Via::Hub
    }

    fn class(&self) -> DeviceClass {
        DeviceClass::Home
    }

    fn verbs(&self, binding: &Binding) -> Vec<DeviceVerb> {
        match binding.via {
            // A child hears nothing itself: its hub forgets it, or keeps it for another.
            Some(_) => vec![DeviceVerb::RemoveChild, DeviceVerb::Transfer],
            None => vec![DeviceVerb::Unbind, DeviceVerb::Reset, DeviceVerb::Transfer],
        }
    }
}
