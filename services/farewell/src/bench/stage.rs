//! Sets up the processes, runs the shapes one after another, and takes everything down again.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use farewell_coordinator::{Config, Listener, Pace};
use farewell_core::policy::{Channel, Stage};
use farewell_core::{ParticipantId, Policy};
use farewell_runtime::certs::{self, DevCa};
use farewell_runtime::peer::Role;
use farewell_runtime::shutdown::Shutdown;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};

use super::driver::{Driver, Shape};
use super::meter::{self, Process};
use super::participants::security;
use super::report::{Cost, Figures};
use super::{Measure, Plan};

/// Deletions before anything is measured, so that caches and plans are warm.
const WARM_UP: u64 = 2_000;
/// Deletions one at a time.
const ALONE: u64 = 2_000;
/// The half-load shape takes at most this many.
const HALF_LOAD_MAX: u64 = 50_000;
/// How long a part may take to come up.
const START_MAX: Duration = Duration::from_secs(30);

/// What the coordinator's process is told.
#[derive(Debug, Args)]
pub struct CoordinatorArgs {
    #[arg(long)]
    ledger: String,
    #[arg(long)]
    plan: Plan,
    #[arg(long)]
    dir: Option<PathBuf>,
}

/// What the participants' process is told.
#[derive(Debug, Args)]
pub struct ParticipantsArgs {
    #[arg(long)]
    pub coordinator: String,
    #[arg(long)]
    pub plan: Plan,
    #[arg(long)]
    pub dir: Option<PathBuf>,
}

/// Where the coordinator listens.
#[derive(Debug, Serialize, Deserialize)]
struct Ports {
    callers: SocketAddr,
    participants: SocketAddr,
}

/// The policy under measurement: requests of the support channel need no factor, and nothing cools off.
pub fn policy(plan: Plan) -> Policy {
    let channels = [(Channel::Support, Vec::new())].into();
    let full = Policy {
        cooling_off: Duration::ZERO,
        channels,
        name: "bench-full".to_owned(),
        ..Policy::cn()
    };
    match plan {
        Plan::Full => full,
        Plan::W1 => {
            let six = [
                "wearables",
                "phones",
                "smarthome",
                "cloud",
                "store",
                "identity",
            ];
            let participants: Vec<ParticipantId> =
                six.iter().filter_map(|name| name.parse().ok()).collect();
            Policy {
                name: "bench-w1".to_owned(),
                stages: vec![Stage {
                    name: "ALL".to_owned(),
                    participants,
                }],
                seal: false,
                probe: false,
                eligibility: false,
                ..full
            }
        }
    }
}

/// Runs a coordinator until the input ends.
pub async fn coordinator(args: CoordinatorArgs) -> anyhow::Result<()> {
    let shutdown = Shutdown::new();
    let listener = || {
        let security = security(args.dir.as_ref(), "coordinator")?;
        anyhow::Ok(Listener {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            security,
        })
    };
    let config = Config {
        instance: "bench".to_owned(),
        ledger: args.ledger.clone(),
        policy: policy(args.plan),
        callers: listener()?,
        participants: listener()?,
        operators: listener()?,
        pace: Pace::default(),
    };
    let running = farewell_coordinator::start(config, shutdown.clone()).await?;
    let ports = Ports {
        callers: running.callers,
        participants: running.participants,
    };
    println!("{}", serde_json::to_string(&ports)?);
    end_of_input().await;
    shutdown.trigger();
    running.ended().await
}

/// Returns when the driver has closed our input, as it does also when it dies.
pub async fn end_of_input() {
    let mut rest = Vec::new();
    let _ = tokio::io::stdin().read_to_end(&mut rest).await;
}

/// Measures every shape.
pub async fn measure(plan: Plan, measure: &Measure) -> anyhow::Result<Figures> {
    let folder = tempfile::tempdir()?;
    let ledger = match &measure.ledger {
        Some(url) => url.clone(),
        None => format!("sqlite:{}", folder.path().join("bench.db").display()),
    };
    let dir = if measure.plain {
        None
    } else {
        Some(folder.path().to_owned())
    };
    if let Some(dir) = &dir {
        certificates(dir, plan)?;
    }
    let mut coordinator = part("coordinator", plan, dir.as_deref(), &["--ledger", &ledger])?;
    let mut line = String::new();
    let out = coordinator
        .stdout
        .take()
        .context("the coordinator's output")?;
    let mut out = BufReader::new(out);
    tokio::time::timeout(START_MAX, out.read_line(&mut line))
        .await
        .context("the coordinator did not come up")??;
    let ports: Ports =
        serde_json::from_str(&line).context("the coordinator did not say where it listens")?;
    let participants_url = format!("https://localhost:{}", ports.participants.port());
    let participants = part(
        "participants",
        plan,
        dir.as_deref(),
        &["--coordinator", &participants_url],
    )?;

    let postgres = meter::postmaster(&ledger).await;
    let processes: Vec<_> = [
        Some(Process {
            label: "driver",
            pid: std::process::id(),
            tree: false,
        }),
        coordinator.id().map(|pid| Process {
            label: "coordinator",
            pid,
            tree: false,
        }),
        participants.id().map(|pid| Process {
            label: "participants",
            pid,
            tree: false,
        }),
        postgres,
    ]
    .into_iter()
    .flatten()
    .collect();

    let url = format!("https://localhost:{}", ports.callers.port());
    let driver = Arc::new(Driver::connect(&url, &security(dir.as_ref(), "driver")?).await?);
    eprintln!("warming up with {WARM_UP} deletions");
    driver.closed(WARM_UP, measure.in_flight).await?;

    eprintln!(
        "closed loop: {} deletions, {} in flight",
        measure.deletions, measure.in_flight
    );
    let accounts = meter::database(&ledger).await;
    let cpu: Vec<_> = processes.iter().map(meter::cpu_seconds).collect();
    let saturated = driver.closed(measure.deletions, measure.in_flight).await?;
    let costs = processes.iter().zip(cpu).map(|(process, before)| Cost {
        process: process.label,
        cpu_seconds_per_thousand: (meter::cpu_seconds(process) - before) * 1_000.0
            / as_f64(measure.deletions),
        peak_mebibytes: meter::peak_mebibytes(process.pid),
    });
    let costs: Vec<_> = costs.collect();
    let after = meter::database(&ledger).await;

    let rate = saturated.per_second() / 2.0;
    let half = measure.deletions.min(HALF_LOAD_MAX);
    eprintln!("half load: {half} deletions at {rate:.0}/s");
    let half_load = driver.open(half, rate).await?;
    eprintln!("one at a time: {ALONE} deletions");
    let alone = driver.closed(ALONE.min(measure.deletions), 1).await?;

    drop(driver);
    end(participants).await?;
    end(coordinator).await?;
    eprintln!(
        "database only: {} deletions, {} in flight, no RPC",
        measure.deletions, measure.in_flight
    );
    let limit = limit(&ledger, measure).await?;
    Ok(Figures {
        plan: if plan == Plan::W1 { "w1" } else { "full" },
        ledger: kind(&ledger),
        security: if measure.plain {
            "plain text"
        } else {
            "mutual TLS"
        },
        in_flight: measure.in_flight,
        saturated,
        half_load,
        alone,
        costs,
        log_bytes_per_deletion: (after.log_bytes - accounts.log_bytes) / as_f64(measure.deletions),
        commits_per_deletion: (after.commits - accounts.commits) / as_f64(measure.deletions),
        limit,
    })
}

/// The same writes with nobody in between.
async fn limit(url: &str, measure: &Measure) -> anyhow::Result<Shape> {
    let ledger = farewell_ledger::connect(url).await?;
    let limit =
        farewell_ledger::limit::group_commit_limit(&*ledger, measure.deletions, measure.in_flight)
            .await?;
    Ok(Shape {
        deletions: limit.deletions,
        seconds: limit.elapsed.as_secs_f64(),
        p50_ms: 0.0,
        p99_ms: 0.0,
    })
}

fn certificates(dir: &Path, plan: Plan) -> anyhow::Result<()> {
    let ca = DevCa::create()?;
    let write =
        |role: Role, name: &str| anyhow::Ok(certs::write(dir, name, &ca.issue(role, name, &[])?)?);
    write(Role::Coordinator, "coordinator")?;
    write(Role::Caller, "driver")?;
    for participant in policy(plan).participants() {
        write(Role::Participant, participant.as_str())?;
    }
    Ok(())
}

fn part(name: &str, plan: Plan, dir: Option<&Path>, args: &[&str]) -> anyhow::Result<Child> {
    let plan = if plan == Plan::W1 { "w1" } else { "full" };
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["bench", name, "--plan", plan]).args(args);
    if let Some(dir) = dir {
        command.arg("--dir").arg(dir);
    }
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    command
        .spawn()
        .with_context(|| format!("starting the {name}"))
}

/// Closes a part's input, which ends it.
async fn end(mut part: Child) -> anyhow::Result<()> {
    drop(part.stdin.take());
    tokio::time::timeout(START_MAX, part.wait())
        .await
        .context("a part did not end")??;
    Ok(())
}

fn kind(url: &str) -> &'static str {
    if url.starts_with("sqlite") {
        "SQLite, WAL, synchronous=FULL"
    } else if url.starts_with("memory") {
        "memory"
    } else {
        "PostgreSQL, synchronous_commit=on"
    }
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
const fn as_f64(number: u64) -> f64 {
    number as f64
}
