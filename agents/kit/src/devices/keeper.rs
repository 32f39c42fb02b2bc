//! What comes due by itself: horizons of single unbindings, last days of tombstones, and what is forgotten at the end of
//! its life.

use std::time::{Duration, SystemTime};

use farewell_runtime::shutdown::Shutdown;
use sqlx::AnyConnection;
use tokio::time::MissedTickBehavior;

use super::participant::Terms;
use super::registry::Registry;
use super::{tombstone, unbinding};
use crate::participant::Fault;
use crate::store::micros;

/// How often it is looked.
const INTERVAL: Duration = Duration::from_secs(60);
/// How long an order is kept after its last day, to answer who asks what became of it.
const ORDER_KEPT: Duration = Duration::from_secs(400 * 24 * 60 * 60);

/// Looks until `shutdown`. What can't be done now is done at the next look.
pub(super) async fn keep(registry: Registry, terms: Terms, shutdown: Shutdown) {
    // At once, too: what came due while no agent ran is not put off further.
    let mut looks = tokio::time::interval(INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.wait() => return,
            _ = looks.tick() => {}
        }
        if let Err(fault) = look(&registry, &terms, SystemTime::now()).await {
            tracing::warn!(
                error = &fault as &dyn std::error::Error,
                "what came due waits for the next look"
            );
        }
    }
}

/// One look, as of `now`.
pub(super) async fn look(registry: &Registry, terms: &Terms, now: SystemTime) -> Result<(), Fault> {
    // By itself: whoever holds devices takes them in the order of their ids, once.
    let mut tx = registry.store().pool().begin().await?;
    let expired = tombstone::expire(&mut tx, now).await?;
    tx.commit().await?;
    if expired > 0 {
        registry.returned();
    }
    let mut tx = registry.store().pool().begin().await?;
    forget(&mut tx, now).await?;
    unbinding::detach_absent(&mut tx, terms.unbind_horizon, now).await?;
    Ok(tx.commit().await?)
}

/// Forgets orders long after their last day, the unbindings that they were of, and log-ins that no order can need any
/// more: of devices without a binding whose last order has expired. Devices themselves stay, so that no epoch is reused
/// and nothing that one said counts twice. A tombstone expires first.
async fn forget(tx: &mut AnyConnection, now: SystemTime) -> Result<(), Fault> {
    let kept = now
        .checked_sub(ORDER_KEPT)
        .unwrap_or(SystemTime::UNIX_EPOCH);
    sqlx::query(
        "DELETE FROM orders WHERE expires_at < $1 AND moved_at < $1 AND state <> 'DETACHED' \
         AND NOT EXISTS (SELECT 1 FROM erasures e WHERE e.command = orders.command)",
    )
    .bind(micros(kept))
    .execute(&mut *tx)
    .await?;
    sqlx::query(
        "DELETE FROM unbindings WHERE NOT EXISTS (SELECT 1 FROM orders o WHERE o.command = unbindings.name)",
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query(
        "DELETE FROM credentials WHERE NOT EXISTS (SELECT 1 FROM bindings b WHERE b.device = credentials.device) \
         AND NOT EXISTS (SELECT 1 FROM orders o WHERE o.device = credentials.device AND o.expires_at >= $1 \
         AND o.state IN ('QUEUED', 'SENT', 'RECEIVED', 'DEFERRED_SAFE', 'EXECUTING', 'DETACHED', 'TRANSFERRED', 'REFUSED'))",
    )
    .bind(micros(now))
    .execute(&mut *tx)
    .await?;
    Ok(())
}
