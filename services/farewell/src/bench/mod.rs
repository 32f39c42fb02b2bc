//! `farewell bench`: how fast deletions go, measured over the real gRPC API, with the method printed beside the figures.
//!
//! Three processes share the machine: the coordinator, six or seven no-op participants on one stream each, and the driver,
//! which asks for deletions and watches for `PURGED`. All streams are mutual TLS on loopback.

mod driver;
mod meter;
mod participants;
mod report;
mod stage;

use clap::{Args as ClapArgs, Subcommand};

use crate::output::Output;

/// What to measure.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// One stage of six participants: a durable request, six commands, six durable acknowledgements, PURGED.
    W1(Measure),
    /// The default policy's whole plan: seals, four stages and probes of seven participants.
    Full(Measure),
    /// A coordinator under measurement.
    #[command(hide = true)]
    Coordinator(stage::CoordinatorArgs),
    /// Participants under measurement.
    #[command(hide = true)]
    Participants(stage::ParticipantsArgs),
}

/// How to measure.
#[derive(Clone, Debug, ClapArgs)]
pub struct Measure {
    /// The ledger to measure on; it fills with deletions. Without one: SQLite in a temporary folder.
    #[arg(long)]
    ledger: Option<String>,
    /// Deletions of the closed loop; the other shapes take a share of it.
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
}

/// Measures, or plays a part under measurement.
pub async fn run(command: Command, output: Output) -> anyhow::Result<()> {
    match command {
        Command::W1(measure) => report::print(&stage::measure(Plan::W1, &measure).await?, output),
        Command::Full(measure) => {
            report::print(&stage::measure(Plan::Full, &measure).await?, output)
        }
        Command::Coordinator(args) => stage::coordinator(args).await,
        Command::Participants(args) => participants::run(args).await,
    }
}
