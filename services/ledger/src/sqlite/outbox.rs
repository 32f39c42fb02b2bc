//! Changes of state that others want to know of.

use farewell_core::{DeletionId, Slot};
use sqlx::SqlitePool;
use uuid::Uuid;

use super::connection::{Writer, unread};
use super::moved::json;
use crate::columns::{self, OutboxRow};
use crate::{Announcement, Error, Fence, rows};

const WAITING: &str = "
SELECT deletion, state, at FROM outbox
WHERE slot IN (SELECT value FROM json_each($1)) ORDER BY at, deletion LIMIT $2";

const ANNOUNCED: &str = "
DELETE FROM outbox
WHERE (slot, deletion) IN (SELECT value ->> 0, unhex(value ->> 1, '-') FROM jsonb_each($1));
COMMIT";

pub(super) async fn outbox(
    pool: &SqlitePool,
    slots: &[Slot],
    limit: u32,
) -> Result<Vec<Announcement>, Error> {
    let waiting: Vec<OutboxRow> = sqlx::query_as(WAITING)
        .bind(json(&columns::slot_numbers(slots)))
        .bind(i64::try_from(rows(limit)).unwrap_or(i64::MAX))
        .fetch_all(pool)
        .await
        .map_err(unread)?;
    Ok(waiting.into_iter().map(Announcement::from).collect())
}

pub(super) async fn announced(
    writer: &Writer,
    fence: &Fence,
    deletions: &[DeletionId],
) -> Result<(), Error> {
    let told: Vec<(u8, Uuid)> = deletions
        .iter()
        .map(|id| (id.slot().number(), id.0))
        .collect();
    let held = writer.begin(Some(fence)).await?;
    held.end(sqlx::query(ANNOUNCED).bind(json(&told))).await?;
    Ok(())
}
