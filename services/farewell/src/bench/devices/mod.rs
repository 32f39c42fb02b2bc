//! `farewell bench devices`: what attached devices cost, and how fast they get orders and answer them.
//!
//! Real accounts with real devices are deleted through the API: a coordinator that signs, an agent that keeps each order
//! and each answer in its database, and devices that check signatures. Beside it, on as many connections and with as many
//! messages of the same size, the bare transport: a server, or a broker, with nothing to decide and nothing to keep.

mod agent;
mod bare;
mod field;
mod mosquitto;
mod report;
mod run;

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::Plan;

pub use self::agent::{AgentArgs, agent};
pub use self::bare::{BareArgs, bare};
pub use self::field::{FieldArgs, field};
pub use self::run::run;

/// How many, on what.
#[derive(Clone, Debug, Args)]
pub struct Load {
    /// Attached devices. Default: 20,000, or as many as one process may have connections here
    #[arg(short = 'n', long)]
    devices: Option<usize>,
    /// Devices of one account
    #[arg(long, default_value_t = 8)]
    each: usize,
    /// Orders under way at a time in the closed loop
    #[arg(short = 'c', long, default_value_t = 256)]
    in_flight: usize,
    /// A PostgreSQL for the coordinator's ledger and the agent's database. Without one: SQLite in a temporary folder
    #[arg(long, value_name = "URL", value_parser = crate::settings::ledger)]
    ledger: Option<String>,
    /// Agents that share the devices, on one PostgreSQL; gRPC only
    #[arg(long, default_value_t = 1)]
    replicas: usize,
    /// One transport only
    #[arg(long)]
    transport: Option<Transport>,
    /// Mosquitto's program, for MQTT; `embedded` for the agent's own broker
    #[arg(long, default_value = "/usr/sbin/mosquitto")]
    broker: PathBuf,
    /// Plain text instead of mutual TLS on the gRPC streams
    #[arg(long)]
    plain: bool,
}

/// How devices are reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Transport {
    /// Phones, one TLS connection and stream each.
    Grpc,
    /// Hubs, one MQTT connection each.
    Mqtt,
}

impl Transport {
    const ALL: [Self; 2] = [Self::Grpc, Self::Mqtt];

    /// The line whose devices come this way, and the plan with nothing else in it.
    const fn plan(self) -> Plan {
        match self {
            Self::Grpc => Plan::Phones,
            Self::Mqtt => Plan::Smarthome,
        }
    }

    /// As it is said on the command line.
    const fn word(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::Mqtt => "mqtt",
        }
    }
}
