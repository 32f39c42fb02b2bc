//! The agent of wearables: reached only through the companion phone, which carries their words and adds none.

use std::collections::BTreeSet;
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
    /// Where companion phones attach and callers bind wearables.
    pub devices_listen: SocketAddr,
    /// Protection of that listener.
    pub security: Security,
    /// How the coordinators are reached.
    pub session: session::Config,
    /// How long wearables are waited for.
    pub terms: Terms,
    /// Models that can't be told: they are re-activated by hand, and their owners get instructions.
    pub manual_models: BTreeSet<String>,
}

/// Starts the agent. Returns once phones can attach.
pub async fn start(config: Config, shutdown: Shutdown) -> anyhow::Result<Handle> {
    let Config {
        database,
        devices_listen,
        security,
        session,
        terms,
        manual_models,
    } = config;
    let agent = Agent {
        database,
        devices_listen,
        security,
        session,
        terms,
        broker: None,
    };
    agent
        .start(Arc::new(Wearables { manual_models }), shutdown)
        .await
}

/// Runs the agent until `shutdown`.
pub async fn run(config: Config, shutdown: Shutdown) -> anyhow::Result<()> {
    start(config, shutdown).await?.join().await
}

struct Wearables {
    manual_models: BTreeSet<String>,
}

impl Line for Wearables {
    fn name(&self) -> &'static str {
        "wearables"
    }

    fn via(&self) -> Via {
        Via::Companion
    }

    fn class(&self) -> DeviceClass {
        DeviceClass::Personal
    }

    fn verbs(&self, binding: &Binding) -> Vec<DeviceVerb> {
        if self.manual_models.contains(&binding.model) {
            Vec::new()
        } else {
            vec![DeviceVerb::Unbind, DeviceVerb::Reset, DeviceVerb::Transfer]
        }
    }
}
