//! What another process on the same database has done: orders that it has queued for devices that are reached from here,
//! and answers that it has heard to a command that is worked on here.
//!
//! Whoever takes a command from the coordinator rings for its devices, and whoever hears of its last device wakes it, each
//! within its own process only. Of an agent with several replicas each looks in the database instead, at what is young: one
//! look a second serves every device that is reached from here and every command. What it misses, because clocks differ or
//! somebody's transaction took long, the sessions' slow timers and the coordinator's next question find.

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use farewell_runtime::shutdown::Shutdown;
use sqlx::AnyConnection;
use tokio::time::{Instant, MissedTickBehavior};

use super::bells::Bells;
use super::delivery::Settled;
use super::registry::Registry;
use crate::participant::Fault;
use crate::store::micros;

/// How often it is looked: what a device waits for at most that is attached to another replica.
const INTERVAL: Duration = Duration::from_secs(1);
/// What was queued so long ago has been seen before. Longer than clocks differ and than a large account's devices take to
/// be written; a device that was rung for in vain is rung for again meanwhile.
const QUEUED_WITHIN: Duration = Duration::from_secs(10);
/// The same at a broker, where nobody may have spoken for a while. (A session looks for itself when it begins.)
const QUEUED_IN_A_GAP: Duration = Duration::from_secs(60);
/// Erasures that began so long ago are asked for again by the coordinator soon enough.
const BEGUN_WITHIN: Duration = Duration::from_secs(60);
/// Erasures that are read at a time, the youngest first.
const ERASURES_MAX: u32 = 1024;
/// Devices that are read at a time.
const DEVICES_MAX: u32 = 1024;

/// Looks until `shutdown`. `settled` hears of commands that may have their answer now.
pub(super) async fn keep(registry: Registry, bells: Bells, settled: Settled, shutdown: Shutdown) {
    let mut known = HashSet::new();
    let mut looks = tokio::time::interval_at(Instant::now() + INTERVAL, INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.wait() => return,
            _ = looks.tick() => {}
        }
        let looked = look(&registry, &bells, &settled, &mut known, SystemTime::now());
        if let Err(fault) = looked.await {
            tracing::debug!(
                error = &fault as &dyn std::error::Error,
                "what others have done waits for the next look"
            );
        }
    }
}

/// One look, as of `now`.
pub(super) async fn look(
    registry: &Registry,
    bells: &Bells,
    settled: &Settled,
    known: &mut HashSet<Answered>,
    now: SystemTime,
) -> Result<(), Fault> {
    let mut connection = registry.store().pool().acquire().await?;
    let begun = now.checked_sub(BEGUN_WITHIN).unwrap_or(now);
    let answered = answered(&mut connection, begun).await?;
    // Each once, and again when a device of it was confirmed.
    let new = answered.iter().filter(|command| !known.contains(*command));
    new.for_each(|(command, _)| settled(command));
    *known = answered;
    if bells.are_down() {
        return Ok(());
    }
    let within = if bells.reach_line() {
        QUEUED_IN_A_GAP
    } else {
        QUEUED_WITHIN
    };
    let since = now.checked_sub(within).unwrap_or(now);
    let mut after = String::new();
    loop {
        let devices = unsent(&mut connection, since, &after).await?;
        devices.iter().for_each(|device| bells.ring_unsent(device));
        match devices.into_iter().nth(DEVICES_MAX as usize - 1) {
            Some(last) => after = last,
            None => return Ok(()),
        }
    }
}

/// A command, and how many of its devices are still to be confirmed.
pub(super) type Answered = (String, i64);

/// Erasures that began since then and wait for no device's answer any more.
async fn answered(
    connection: &mut AnyConnection,
    since: SystemTime,
) -> Result<HashSet<Answered>, Fault> {
    let rows: Vec<Answered> = sqlx::query_as(
        "SELECT e.command, (SELECT COUNT(*) FROM orders o WHERE o.command = e.command AND o.state = 'EXECUTED') \
         FROM erasures e WHERE e.begun_at > $1 AND e.refused = 0 AND NOT EXISTS (SELECT 1 FROM orders o WHERE o.command = e.command \
         AND o.state IN ('QUEUED', 'SENT', 'RECEIVED', 'DEFERRED_SAFE', 'EXECUTING')) ORDER BY e.begun_at DESC LIMIT $2",
    )
    .bind(micros(since))
    .bind(i64::from(ERASURES_MAX))
    .fetch_all(&mut *connection)
    .await?;
    Ok(rows.into_iter().collect())
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
