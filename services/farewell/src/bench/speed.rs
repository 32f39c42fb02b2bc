//! How fast: the shapes of load one after another, and what they cost.

use std::sync::Arc;

use farewell_proto::deletion::v1::State;

use super::driver::{Driver, Shape};
use super::meter::{self, Process};
use super::report::{Cost, Figures, Writes};
use super::rig::Rig;
use super::{Load, Plan, as_f64};

/// Deletions before anything is measured, so that caches and plans are warm.
const WARM_UP: u64 = 2_000;
/// Deletions one at a time.
const ALONE: u64 = 2_000;
/// The half-load shape takes at most this many.
const HALF_LOAD_MAX: u64 = 50_000;

/// Measures every shape.
pub async fn run(plan: Plan, load: &Load) -> anyhow::Result<Figures> {
    let mut rig = Rig::up(plan, load).await?;
    let ledger = rig.ledger.clone();
    let postgres = meter::postmaster(&ledger).await;
    let processes: Vec<_> = [
        Some(Process {
            label: "driver",
            pid: std::process::id(),
            tree: false,
        }),
        rig.coordinator.id().map(|pid| Process {
            label: "coordinator",
            pid,
            tree: false,
        }),
        rig.participants.id().map(|pid| Process {
            label: "participants",
            pid,
            tree: false,
        }),
        postgres,
    ]
    .into_iter()
    .flatten()
    .collect();

    let driver = Driver::connect(&rig.callers, &rig.security("driver")?, State::Purged).await?;
    let driver = Arc::new(driver);
    eprintln!("warming up with {WARM_UP} deletions");
    driver.closed(WARM_UP, load.in_flight).await?;

    eprintln!(
        "closed loop: {} deletions, {} in flight",
        load.deletions, load.in_flight
    );
    let accounts = meter::database(&ledger).await;
    let cpu: Vec<_> = processes.iter().map(meter::cpu_seconds).collect();
    let saturated = driver.closed(load.deletions, load.in_flight).await?;
    let costs = processes.iter().zip(cpu).map(|(process, before)| Cost {
        process: process.label,
        cpu_seconds_per_thousand: (meter::cpu_seconds(process) - before) * 1_000.0
            / as_f64(load.deletions),
        peak_mebibytes: meter::peak_mebibytes(process.pid),
    });
    let costs: Vec<_> = costs.collect();
    let after = meter::database(&ledger).await;
    let writes = accounts.zip(after).map(|(before, after)| Writes {
        log_bytes: (after.log_bytes - before.log_bytes) / as_f64(load.deletions),
        commits: (after.commits - before.commits) / as_f64(load.deletions),
    });

    let rate = saturated.per_second() / 2.0;
    let half = load.deletions.min(HALF_LOAD_MAX);
    eprintln!("half load: {half} deletions at {rate:.0}/s");
    let half_load = driver.open(half, rate).await?;
    eprintln!("one at a time: {ALONE} deletions");
    let alone = driver.closed(ALONE.min(load.deletions), 1).await?;

    drop(driver);
    rig.down().await?;
    eprintln!(
        "database only: {} deletions, {} in flight, no RPC",
        load.deletions, load.in_flight
    );
    let limit = limit(&ledger, load).await?;
    Ok(Figures {
        plan: plan.word(),
        ledger: kind(&ledger),
        security: if load.plain {
            "plain text"
        } else {
            "mutual TLS"
        },
        in_flight: load.in_flight,
        saturated,
        half_load,
        alone,
        costs,
        writes,
        limit,
        flush_ms: meter::flush_ms(&std::env::temp_dir())?,
    })
}

/// The same writes with nobody in between.
async fn limit(url: &str, load: &Load) -> anyhow::Result<Shape> {
    let ledger = farewell_ledger::connect(url).await?;
    let limit =
        farewell_ledger::limit::group_commit_limit(&*ledger, load.deletions, load.in_flight)
            .await?;
    Ok(Shape {
        deletions: limit.deletions,
        seconds: limit.elapsed.as_secs_f64(),
        p50_ms: 0.0,
        p99_ms: 0.0,
    })
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
