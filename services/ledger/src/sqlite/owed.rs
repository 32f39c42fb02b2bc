//! What fills the coordinator's memory.

use std::collections::HashMap;

use farewell_core::{Deletion, DeletionId, Slot};
use sqlx::SqlitePool;
use uuid::Uuid;

use super::connection::unread;
use super::moved::json;
use crate::columns::{self, DeletionRow, ReceiptRow};
use crate::{Cursor, Error, Owed, clock};

/// Each slot is one range of the index, read no further than the page needs.
const DUE: &str = "
SELECT d.id FROM json_each($1) AS s CROSS JOIN deletion AS d
WHERE d.id IN (
    SELECT due.id FROM deletion AS due
    WHERE due.slot = s.value AND due.attention_at IS NOT NULL AND due.attention_at <= $2
      AND (due.attention_at, due.id) > ($3, $4)
    ORDER BY due.attention_at, due.id LIMIT $5)
ORDER BY d.attention_at, d.id LIMIT $5";

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
    let due: Vec<Uuid> = sqlx::query_scalar(DUE)
        .bind(json(&columns::slot_numbers(slots)))
        .bind(clock().micros())
        .bind(at)
        .bind(id)
        .bind(columns::rows(limit))
        .fetch_all(pool)
        .await
        .map_err(unread)?;
    let due: Vec<DeletionId> = due.into_iter().map(DeletionId).collect();
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
