//! What fills the coordinator's memory.

use std::collections::HashMap;

use farewell_core::{Deletion, DeletionId, Slot};
use sqlx::PgPool;
use uuid::Uuid;

use super::connection::unread;
use crate::columns::{self, DeletionRow, ReceiptRow};
use crate::{Cursor, Error, Owed};

/// Each slot is one range of the index, read no further than the page needs.
const DUE: &str = "
SELECT due.id
FROM unnest($1::smallint[]) AS s(slot) CROSS JOIN LATERAL (
    SELECT d.attention_at, d.id FROM deletion d
    WHERE d.slot = s.slot AND d.attention_at <= (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)
      AND (d.attention_at, d.id) > ($2::bigint, $3::uuid)
    ORDER BY d.attention_at, d.id LIMIT $4
) AS due
ORDER BY due.attention_at, due.id LIMIT $4";

const DELETIONS: &str = "SELECT * FROM deletion WHERE id = ANY($1)";

const SEALS: &str = "
SELECT deletion, round, leg, fingerprint, evidence, settled_at
FROM receipt WHERE deletion = ANY($1) AND sealed_devices ORDER BY deletion, round, leg";

pub(super) async fn owed(
    pool: &PgPool,
    slots: &[Slot],
    after: Option<Cursor>,
    limit: u32,
) -> Result<Vec<Owed>, Error> {
    let (at, id) = columns::cursor(after);
    let due: Vec<Uuid> = sqlx::query_scalar(DUE)
        .bind(columns::slot_numbers(slots))
        .bind(at)
        .bind(id)
        .bind(columns::rows(limit))
        .fetch_all(pool)
        .await
        .map_err(unread)?;
    let due: Vec<DeletionId> = due.into_iter().map(DeletionId).collect();
    get(pool, &due).await
}

pub(super) async fn get(pool: &PgPool, ids: &[DeletionId]) -> Result<Vec<Owed>, Error> {
    let deletions = deletions(pool, ids).await?;
    if deletions.is_empty() {
        return Ok(Vec::new());
    }
    let seals: Vec<ReceiptRow> = sqlx::query_as(SEALS)
        .bind(uuids(ids))
        .fetch_all(pool)
        .await
        .map_err(unread)?;
    columns::owed(deletions, seals)
}

/// The deletions of these ids, in the order asked.
pub(super) async fn deletions(pool: &PgPool, ids: &[DeletionId]) -> Result<Vec<Deletion>, Error> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let found: Vec<DeletionRow> = sqlx::query_as(DELETIONS)
        .bind(uuids(ids))
        .fetch_all(pool)
        .await
        .map_err(unread)?;
    let mut by_id = HashMap::with_capacity(found.len());
    for row in found {
        let deletion = Deletion::try_from(row)?;
        by_id.insert(deletion.id, deletion);
    }
    Ok(ids.iter().filter_map(|id| by_id.get(id).cloned()).collect())
}

fn uuids(ids: &[DeletionId]) -> Vec<Uuid> {
    ids.iter().map(|id| id.0).collect()
}
