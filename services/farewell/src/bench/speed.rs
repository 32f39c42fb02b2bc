//! How fast: the shapes of load one after another, and what they cost.

use std::sync::Arc;

use farewell_proto::deletion::v1::State;

use super::driver::{Driver, Shape, strangers};
use super::meter::{self, Bill, Process};
use super::report::{Figures, Writes};
use super::rig::Rig;
use super::{Load, Plan, as_f64, participants};

/// Deletions before anything is measured, so that caches and plans are warm.
const WARM_UP: u64 = 2_000;
/// Deletions one at a time.
const ALONE: u64 = 2_000;
/// The half-load shape takes at most this many.
const HALF_LOAD_MAX: u64 = 50_000;

/// Measures every shape.
pub async fn run(plan: Plan, load: &Load) -> anyhow::Result<Figures> {
    let mut rig = Rig::up(plan, load.ledger.as_deref(), load.plain).await?;
    let participants = participants::start(&mut rig, plan).await?;
    let ledger = rig.ledger.clone();
    let postgres = meter::postmaster(&ledger).await;
    let processes: Vec<_> = [
        Some(Process {
            label: "driver",
            pid: std::process::id(),
            tree: false,
        }),
        Some(rig.coordinator.process()?),
        Some(participants.process()?),
        postgres,
    ]
    .into_iter()
    .flatten()
    .collect();

    let security = rig.security("driver")?;
    let driver = Driver::connect(&rig.callers, &security, State::Purged, strangers());
    let driver = Arc::new(driver.await?);
    eprintln!("warming up with {WARM_UP} deletions");
    driver.closed(WARM_UP, load.in_flight).await?;

    eprintln!(
        "closed loop: {} deletions, {} in flight",
        load.deletions, load.in_flight
    );
    let accounts = meter::database(&ledger).await;
    let bill = Bill::open(processes);
    let saturated = driver.closed(load.deletions, load.in_flight).await?;
    let costs = bill.close(load.deletions);
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
    participants.end().await?;
    let _folder = rig.down().await?;
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
        count: limit.deletions,
        seconds: limit.elapsed.as_secs_f64(),
        p50_ms: 0.0,
        p99_ms: 0.0,
    })
}

pub fn kind(url: &str) -> &'static str {
    if url.starts_with("sqlite") {
        "SQLite, WAL, synchronous=FULL"
    } else if url.starts_with("memory") {
        "memory"
    } else {
        "PostgreSQL, synchronous_commit=on"
    }
}
