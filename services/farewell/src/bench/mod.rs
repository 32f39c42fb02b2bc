//! `farewell bench`: how fast deletions go, measured over the real gRPC API, with the method printed beside the figures.
//!
//! The coordinator is a process, and so is each part: six or eight no-op participants on one stream each, or an agent and
//! its devices. The driver, which asks for deletions and watches for `PURGED`, is this one. Streams are mutual TLS on
//! loopback.

mod cooling;
mod devices;
mod driver;
mod meter;
mod part;
mod participants;
mod report;
mod rig;
mod speed;

use clap::{Args as ClapArgs, Subcommand};

use crate::output::Output;

/// What to measure.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// One stage of six participants: a durable request, six commands, six durable acknowledgements, PURGED.
    W1(Load),
    /// The default policy's whole plan: seals, four stages and probes of eight participants.
    Full(Load),
    /// How much memory the coordinator needs while deletions wait out the period in which they can be taken back.
    Cooling(Load),
    /// Attached devices: their memory, and the orders that they get and answer, beside the bare transport.
    Devices(devices::Load),
    /// A coordinator under measurement.
    #[command(hide = true)]
    Coordinator(rig::CoordinatorArgs),
    /// Participants under measurement.
    #[command(hide = true)]
    Participants(participants::ParticipantsArgs),
    /// An agent under measurement.
    #[command(hide = true)]
    Agent(devices::AgentArgs),
    /// Devices under measurement.
    #[command(hide = true)]
    Field(devices::FieldArgs),
    /// The bare transport under measurement.
    #[command(hide = true)]
    Bare(devices::BareArgs),
}

/// How much, on what.
#[derive(Clone, Debug, ClapArgs)]
pub struct Load {
    /// The ledger to measure on; it fills with deletions. Without one: SQLite in a temporary folder.
    #[arg(long, value_name = "URL", value_parser = crate::settings::ledger)]
    ledger: Option<String>,
    /// Deletions to make; of the speed's shapes, the closed loop takes all of them and the others a share.
    #[arg(short = 'n', long, default_value_t = 100_000)]
    deletions: u64,
    /// Deletions under way at a time in the closed loop.
    #[arg(short = 'c', long, default_value_t = 512)]
    in_flight: usize,
    /// Plain text instead of mutual TLS on the loopback streams.
    #[arg(long)]
    plain: bool,
}

/// The policy under measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Plan {
    W1,
    Full,
    /// The full plan, and a week to wait.
    Cooling,
    /// One line of devices and nobody else.
    Phones,
    Smarthome,
}

impl Plan {
    /// As it is said on the command line.
    const fn word(self) -> &'static str {
        match self {
            Self::W1 => "w1",
            Self::Full => "full",
            Self::Cooling => "cooling",
            Self::Phones => "phones",
            Self::Smarthome => "smarthome",
        }
    }
}

/// Measures, or plays a part under measurement.
pub async fn run(command: Command, output: Output) -> anyhow::Result<()> {
    match command {
        Command::W1(load) => report::print(&speed::run(Plan::W1, &load).await?, output),
        Command::Full(load) => report::print(&speed::run(Plan::Full, &load).await?, output),
        Command::Cooling(load) => cooling::run(&load, output).await,
        Command::Devices(load) => devices::run(&load, output).await,
        Command::Coordinator(args) => rig::coordinator(args).await,
        Command::Participants(args) => participants::run(args).await,
        Command::Agent(args) => devices::agent(args).await,
        Command::Field(args) => devices::field(args).await,
        Command::Bare(args) => devices::bare(args).await,
    }
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
const fn as_f64(number: u64) -> f64 {
    number as f64
}
