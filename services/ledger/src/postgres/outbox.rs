//! Changes of state that others want to know of.

use farewell_core::{DeletionId, Slot};
use sqlx::PgPool;
use uuid::Uuid;

use super::connection::{unread, written};
use crate::columns::{self, OutboxRow};
use crate::{Announcement, Error, Fence, rows};

const WAITING: &str = "
SELECT deletion, state, at FROM outbox WHERE slot = ANY($1) ORDER BY at, deletion LIMIT $2";

const ANNOUNCED: &str = "
WITH fence AS MATERIALIZED (
    SELECT true AS stands FROM coordinator WHERE holder = $1 AND epoch = $2 FOR SHARE
), told AS (
    DELETE FROM outbox o USING unnest($3::smallint[], $4::uuid[]) AS t(slot, deletion)
    WHERE (SELECT stands FROM fence) AND o.slot = t.slot AND o.deletion = t.deletion
)
SELECT coalesce((SELECT stands FROM fence), false)";

pub(super) async fn outbox(
    pool: &PgPool,
    slots: &[Slot],
    limit: u32,
) -> Result<Vec<Announcement>, Error> {
    let waiting: Vec<OutboxRow> = sqlx::query_as(WAITING)
        .bind(columns::slot_numbers(slots))
        .bind(i64::try_from(rows(limit)).unwrap_or(i64::MAX))
        .fetch_all(pool)
        .await
        .map_err(unread)?;
    Ok(waiting.into_iter().map(Announcement::from).collect())
}

pub(super) async fn announced(
    pool: &PgPool,
    fence: &Fence,
    deletions: &[DeletionId],
) -> Result<(), Error> {
    let slots: Vec<Slot> = deletions.iter().map(|id| id.slot()).collect();
    let ids: Vec<Uuid> = deletions.iter().map(|id| id.0).collect();
    let stands: bool = sqlx::query_scalar(ANNOUNCED)
        .bind(&fence.holder)
        .bind(fence.epoch)
        .bind(columns::slot_numbers(&slots))
        .bind(ids)
        .fetch_one(pool)
        .await
        .map_err(written)?;
    if stands { Ok(()) } else { Err(Error::Fenced) }
}
