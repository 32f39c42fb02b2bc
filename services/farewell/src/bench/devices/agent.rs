//! An agent under measurement: the real one, with its terms set so that an execution is an end.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use farewell_kit::devices::mqtt::{AGENT, Endpoint, Protocol};
use farewell_kit::devices::{Handle, Terms};
use farewell_kit::session;
use farewell_runtime::memory;
use farewell_runtime::shutdown::Shutdown;
use serde::{Deserialize, Serialize};

use super::Transport;
use crate::bench::part::{Place, end_of_input, say};

/// Commands under way: enough that the window is never what is measured.
const WINDOW_COMMANDS: u32 = 4_096;

/// What the agent's process is told.
#[derive(Debug, Args)]
pub struct AgentArgs {
    #[command(flatten)]
    place: Place,
    #[arg(long)]
    transport: Transport,
    #[arg(long)]
    coordinator: String,
    #[arg(long)]
    database: String,
    /// The port of somebody else's broker on this machine
    #[arg(long)]
    broker: Option<u16>,
}

/// Where it listens.
#[derive(Debug, Serialize, Deserialize)]
pub struct Ports {
    pub devices: SocketAddr,
    pub broker: Option<SocketAddr>,
}

/// Runs an agent until the input ends.
pub async fn agent(args: AgentArgs) -> anyhow::Result<()> {
    memory::small_pages();
    let shutdown = Shutdown::new();
    let handle = start(&args, shutdown.clone()).await?;
    say(&Ports {
        devices: handle.devices_addr,
        broker: handle.broker_addr,
    })?;
    end_of_input().await;
    shutdown.trigger();
    handle.join().await
}

async fn start(args: &AgentArgs, shutdown: Shutdown) -> anyhow::Result<Handle> {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let line = args.transport.plan().word();
    let security = args.place.security(line)?;
    let session = session::Config {
        participant: line.to_owned(),
        coordinators: vec![args.coordinator.clone()],
        security: security.clone(),
        window_commands: WINDOW_COMMANDS,
    };
    let terms = Terms {
        // The devices stay: what is measured ends when each has said that it is done.
        confirm_wait: Duration::ZERO,
        ..Terms::default()
    };
    match args.transport {
        Transport::Grpc => {
            let config = farewell_phones::Config {
                database: args.database.clone(),
                devices_listen: any,
                security,
                session,
                terms,
            };
            farewell_phones::start(config, shutdown).await
        }
        Transport::Mqtt => {
            let broker = match args.broker {
                Some(port) => farewell_smarthome::Broker::External(endpoint(port)),
                None => farewell_smarthome::Broker::Embedded { listen: any },
            };
            let config = farewell_smarthome::Config {
                database: args.database.clone(),
                devices_listen: any,
                security,
                session,
                terms,
                broker,
            };
            farewell_smarthome::start(config, shutdown).await
        }
    }
}

/// How an agent connects to a broker of this machine that lets everybody in.
pub fn endpoint(port: u16) -> Endpoint {
    Endpoint {
        host: "127.0.0.1".to_owned(),
        port,
        protocol: Protocol::Auto,
        ca_pem: None,
        client_id: AGENT.to_owned(),
        username: AGENT.to_owned(),
        password: String::new(),
    }
}
