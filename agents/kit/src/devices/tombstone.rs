//! What stays of an order whose device was away, and ends with its last day: a device that comes back later is told nothing.

use std::time::SystemTime;

use sqlx::AnyConnection;

use super::order::Event;
use super::{device, outbox};
use crate::participant::Fault;
use crate::store::micros;

/// Tombstones that expire in one transaction.
const EXPIRED_MAX: i64 = 256;

/// Ends tombstones that have expired. Those of an erasure that isn't answered wait for the answer, which says that their
/// devices are away. Returns how many there were.
pub(super) async fn expire(tx: &mut AnyConnection, now: SystemTime) -> Result<usize, Fault> {
    let rows: Vec<(String, String)> = sqlx::query_as(
        "SELECT o.device, o.id FROM orders o WHERE o.state = 'DETACHED' AND o.expires_at <= $1 \
         AND NOT EXISTS (SELECT 1 FROM erasures e WHERE e.command = o.command) ORDER BY o.expires_at, o.id LIMIT $2",
    )
    .bind(micros(now))
    .bind(EXPIRED_MAX)
    .fetch_all(&mut *tx)
    .await?;
    device::hold_all(tx, rows.iter().map(|(device, _)| device.as_str())).await?;
    let mut expired = 0;
    for (_, id) in &rows {
        // Read under the device's row: it may have answered just now.
        if let Some(entry) = outbox::find(tx, id).await? {
            let moved = outbox::advance(tx, &entry, Event::Expired, "").await?;
            expired += usize::from(moved.is_some());
        }
    }
    Ok(expired)
}
