//! `farewell demo`: an account with data in every service and devices of every line, deleted through the public API while
//! you watch, and then looked for everywhere.
//!
//! The steps are those of a caller: nothing here reaches into a coordinator. What makes it a demonstration is the stage
//! around it, and the last look, which trusts no answer and reads the databases, the files and the devices themselves.

mod account;
mod caller;
mod devices;
mod keep;
mod ports;
mod progress;
mod stage;
mod values;
mod verdict;

use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use farewell_proto::deletion::v1::{Deletion, State};
use farewell_runtime::config::Human;
use farewell_runtime::shutdown::Shutdown;
use farewell_runtime::telemetry;

use self::account::Account;
use self::caller::Caller;
use self::devices::Devices;
use self::progress::Progress;
use self::stage::Stage;
use self::verdict::Verdict;
use crate::deletion::view;
use crate::output::Output;

/// `farewell demo`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Where certificates, settings, databases and the certificate of deletion go [default: a temporary folder, of which
    /// only the certificate of deletion is left at the end]
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Leave everything running at the end, and say how to look around
    #[arg(long)]
    keep: bool,
    /// Put the ledger and all databases on this PostgreSQL instead of SQLite: postgres://…
    #[arg(long, value_name = "URL", value_parser = crate::settings::postgres)]
    postgres: Option<String>,
    /// Run every role as a process of its own
    #[arg(long)]
    processes: bool,
    /// Phones of the account
    #[arg(long, default_value_t = 2)]
    phones: u32,
    /// Watches, each with one of the phones as its companion
    #[arg(long, default_value_t = 2)]
    watches: u32,
    /// Hubs of the smart home
    #[arg(long, default_value_t = 1)]
    hubs: u32,
    /// Lamps behind each hub
    #[arg(long, default_value_t = 3)]
    children: u32,
    /// How long the deletion can be taken back; the real policy gives days
    #[arg(long, default_value = "5s")]
    cooling_off: Human,
    /// How long the device that is away stays away
    #[arg(long, default_value = "12s")]
    away: Human,
    /// How long the whole may take before it counts as stuck
    #[arg(long, default_value = "2m")]
    limit: Human,
    /// Which log lines are written
    #[arg(long, default_value = "error")]
    log: String,
}

/// Runs the demonstration.
///
/// Errors: anything that does not end as it should: not purged, something left, something that was kept without law.
pub async fn run(args: Args, output: Output) -> anyhow::Result<()> {
    let log = telemetry::Config {
        log: args.log.clone(),
        ..telemetry::Config::default()
    };
    let _telemetry = telemetry::init("farewell-demo", "demo", &log)?;
    let shutdown = Shutdown::new();
    shutdown.on_signals().context("signals")?;
    let mut stage = Stage::set(&args)?;
    let played = tokio::select! {
        played = play(&args, &mut stage, &shutdown, output) => played,
        () = shutdown.wait() => Err(anyhow::anyhow!("interrupted")),
    };
    let interrupted = played.is_err() && shutdown.is_triggered();
    let ended = match played {
        Ok(devices) => {
            let said = if args.keep {
                keep::say(&stage)
            } else {
                shutdown.trigger();
                Ok(())
            };
            if said.is_ok() {
                shutdown.wait().await;
            }
            devices.end().await;
            said
        }
        Err(error) => Err(error),
    };
    stage.strike(ended.is_err() && !interrupted).await;
    ended
}

async fn play(
    args: &Args,
    stage: &mut Stage,
    shutdown: &Shutdown,
    output: Output,
) -> anyhow::Result<Devices> {
    let began = Instant::now();
    say(&format!(
        "A coordinator, five services and three agents, {}, on {}, with mutual TLS",
        if args.processes {
            "each a process of its own"
        } else {
            "all in this process"
        },
        if args.postgres.is_some() {
            "PostgreSQL"
        } else {
            "SQLite"
        },
    ))?;
    stage.start().await?;

    let account = Account::new();
    account.fill(stage).await?;
    let devices = Devices::start(args, stage, &account, shutdown).await?;
    say(&format!(
        "An account with data in every service, and {} devices; {} is away, {} has a bad connection",
        devices.count(),
        devices.away(),
        devices.flaky(),
    ))?;

    let mut caller = Caller::dial(stage).await?;
    caller.check(&account.name()).await?;
    say("Nothing stands in the way of deleting it. This is what is held:")?;
    output.print(&caller.inventory(&account.name()).await?)?;

    let deletion = caller.create(&account.name()).await?;
    say(&format!(
        "{deletion} is accepted, over the phone's Settings app"
    ))?;
    caller.send_code(&deletion).await?;
    let code = account.read_code(stage, &deletion).await?;
    say(
        "A code was sent; without a gateway, the development courier writes it into a file, and it was read from there",
    )?;
    caller.verify(&deletion, code).await?;
    say(&format!(
        "The code is right. For {} the deletion can be taken back; then the point of no return",
        args.cooling_off
    ))?;

    let ended = watch(args, &mut caller, &deletion, &devices).await?;
    if ended.state() != State::Purged {
        bail!("{deletion} ended as {}", view::state(&ended));
    }
    let certificate = caller.certificate(&deletion).await?;
    let file = stage.certificate();
    std::fs::write(&file, &certificate).with_context(|| format!("writing {}", file.display()))?;

    let verdict = Verdict::look(stage, &account, &ended, &devices, &certificate).await?;
    say(
        "What each participant did, and what a look into its database, its files and its devices finds now:",
    )?;
    output.print(&verdict.rows())?;
    if !verdict.faults().is_empty() {
        bail!(
            "not everything is gone:\n  {}",
            verdict.faults().join("\n  ")
        );
    }
    say(&format!(
        "PURGED: {deletion}, after {:.0} s; nothing is left but what law keeps",
        began.elapsed().as_secs_f64()
    ))?;
    say(&format!(
        "The certificate of deletion, {} bytes: {}",
        certificate.len(),
        file.display()
    ))?;
    Ok(devices)
}

/// Follows the deletion to its end.
///
/// Errors: the stream breaks; the limit passes, and then who owes what.
async fn watch(
    args: &Args,
    caller: &mut Caller,
    deletion: &str,
    devices: &Devices,
) -> anyhow::Result<Deletion> {
    /// Between two looks at countdown and devices.
    const TICK: Duration = Duration::from_millis(200);
    let mut progress = Progress::new();
    let mut changes = caller.watch(deletion).await?;
    let mut tick = tokio::time::interval(TICK);
    let late = tokio::time::sleep(args.limit.get());
    tokio::pin!(late);
    let mut last: Option<Deletion> = None;
    let ended = loop {
        tokio::select! {
            change = changes.message() => {
                let change = change?.context("the coordinator ended the stream")?;
                for now in change.deletions {
                    progress.deletion(&now);
                    last = Some(now);
                }
            }
            _ = tick.tick() => {
                progress.devices(&devices.snapshot());
                progress.countdown();
            }
            () = &mut late => bail!(
                "{deletion} is not done after {}; owed:\n  {}",
                args.limit,
                last.iter().flat_map(owed).collect::<Vec<_>>().join("\n  "),
            ),
        }
        if let Some(now) = last.take_if(|now| view::has_ended(now.state())) {
            break now;
        }
    };
    progress.devices(&devices.snapshot());
    progress.end();
    Ok(ended)
}

/// Who owes what, a line each.
fn owed(deletion: &Deletion) -> impl Iterator<Item = String> {
    deletion
        .legs
        .iter()
        .filter(|leg| view::is_owed(leg.state()))
        .map(|leg| format!("{} {}: {}", leg.participant, leg.verb, view::answer(leg)))
}

/// One line of the story.
fn say(line: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}
