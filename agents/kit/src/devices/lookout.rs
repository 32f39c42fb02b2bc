//! Orders that another process on the same database has queued for devices that are attached here.
//!
//! Whoever takes a command from the coordinator rings for its devices, and a bell rings within its own process only. Of an
//! agent with several replicas each looks in the database instead, at what was queued just now: one look a second serves
//! every device that is attached. What it misses, because clocks differ or somebody's transaction took long, the sessions'
//! slow timers find.

use std::time::{Duration, SystemTime};

use farewell_runtime::shutdown::Shutdown;
use sqlx::AnyConnection;
use tokio::time::{Instant, MissedTickBehavior};

use super::bells::Bells;
use super::registry::Registry;
use crate::participant::Fault;
use crate::store::micros;

/// How often it is looked: what a device waits for at most that is attached to another replica.
const INTERVAL: Duration = Duration::from_secs(1);
/// What was queued so long ago has been seen before. Longer than clocks differ and than a large account's devices take to
/// be written; a device that was rung for in vain is rung for again meanwhile.
const QUEUED_WITHIN: Duration = Duration::from_secs(10);
/// Devices that are read at a time.
const DEVICES_MAX: u32 = 1024;

/// Looks until `shutdown`, while anybody is attached.
pub(super) async fn keep(registry: Registry, bells: Bells, shutdown: Shutdown) {
    let mut looks = tokio::time::interval_at(Instant::now() + INTERVAL, INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.wait() => return,
            _ = looks.tick() => {}
        }
        if bells.are_down() {
            continue;
        }
        if let Err(fault) = look(&registry, &bells, SystemTime::now()).await {
            tracing::debug!(
                error = &fault as &dyn std::error::Error,
                "what others have queued waits for the next look"
            );
        }
    }
}

/// One look, as of `now`.
async fn look(registry: &Registry, bells: &Bells, now: SystemTime) -> Result<(), Fault> {
    let since = now.checked_sub(QUEUED_WITHIN).unwrap_or(now);
    let mut connection = registry.store().pool().acquire().await?;
    let mut after = String::new();
    loop {
        let devices = unsent(&mut connection, since, &after).await?;
        devices
            .iter()
            .for_each(|device| bells.ring_attached(device));
        match devices.into_iter().nth(DEVICES_MAX as usize - 1) {
            Some(last) => after = last,
            None => return Ok(()),
        }
    }
}

/// Devices after `after` that have something to be told since then that no transport was given yet.
async fn unsent(
    connection: &mut AnyConnection,
    since: SystemTime,
    after: &str,
) -> Result<Vec<String>, Fault> {
    let rows: Vec<(String,)> = sqlx::query_as(
        "SELECT device FROM orders WHERE state IN ('QUEUED', 'TRANSFERRED') AND sent_at = 0 AND queued_at > $1 \
         AND device > $2 GROUP BY device ORDER BY device LIMIT $3",
    )
    .bind(micros(since))
    .bind(after)
    .bind(i64::from(DEVICES_MAX))
    .fetch_all(&mut *connection)
    .await?;
    Ok(rows.into_iter().map(|(device,)| device).collect())
}
