//! What fills the coordinator's memory.

use std::collections::HashMap;

use farewell_core::{Deletion, DeletionId, Slot};
use sqlx::SqlitePool;
use uuid::Uuid;

use super::connection::unread;
use super::moved::json;
use crate::columns::{self, DeletionRow, ReceiptRow};
use crate::{Cursor, Error, Owed, clock, rows};

/// One slot is one range of the index, read no further than the page needs.
const DUE: &str = "
SELECT attention_at, id FROM deletion
WHERE slot = $1 AND attention_at IS NOT NULL AND attention_at <= $2 AND (attention_at, id) > ($3, $4)
ORDER BY attention_at, id LIMIT $5";

const DELETIONS: &str =
    "SELECT * FROM deletion WHERE id IN (SELECT unhex(value, '-') FROM json_each($1))";

const SEALS: &str = "
SELECT deletion, round, leg, fingerprint, evidence, settled_at
FROM receipt WHERE deletion IN (SELECT unhex(value, '-') FROM json_each($1)) AND sealed_devices
ORDER BY deletion, round, leg";

pub(super) async fn owed(
    pool: &SqlitePool,
    slots: &[Slot],
    after: Option<Cursor>,
    limit: u32,
) -> Result<Vec<Owed>, Error> {
    let (at, id) = columns::cursor(after);
    let now = clock().micros();
    let limit = rows(limit);
    let mut due: Vec<(i64, Uuid)> = Vec::new();
    for slot in slots {
        let page: Vec<(i64, Uuid)> = sqlx::query_as(DUE)
            .bind(i16::from(slot.number()))
            .bind(now)
            .bind(at)
            .bind(id)
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(pool)
            .await
            .map_err(unread)?;
        due.extend(page);
    }
    due.sort_unstable();
    due.dedup();
    due.truncate(limit);
    let due: Vec<DeletionId> = due.into_iter().map(|(_, id)| DeletionId(id)).collect();
    get(pool, &due).await
}

pub(super) async fn get(pool: &SqlitePool, ids: &[DeletionId]) -> Result<Vec<Owed>, Error> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let found: Vec<DeletionRow> = sqlx::query_as(DELETIONS)
        .bind(json(ids))
        .fetch_all(pool)
        .await
        .map_err(unread)?;
    let seals: Vec<ReceiptRow> = sqlx::query_as(SEALS)
        .bind(json(ids))
        .fetch_all(pool)
        .await
        .map_err(unread)?;
    let mut by_id = HashMap::with_capacity(found.len());
    for row in found {
        let deletion = Deletion::try_from(row)?;
        by_id.insert(deletion.id, deletion);
    }
    let deletions = ids.iter().filter_map(|id| by_id.get(id).cloned()).collect();
    columns::owed(deletions, seals)
}
