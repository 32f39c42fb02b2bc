//! Changes of state that others want to know of, and who is to be told of them.

use farewell_core::account::Account;
use farewell_core::{DeletionId, Slot, Time};
use sqlx::SqlitePool;
use uuid::Uuid;

use super::connection::{Writer, unread};
use super::moved::json;
use crate::columns::{self, EventRow, HeardRows, OutboxRow, RefusedRow};
use crate::{Announcement, Error, Event, Fence, Heard, RefusedEvent, clock};

const WAITING: &str = "
SELECT deletion, state, at, seq FROM outbox
WHERE slot IN (SELECT value FROM json_each($1)) ORDER BY seq LIMIT $2";

const ANNOUNCED: &str = "
INSERT INTO event (receiver, slot, deletion, kind, at, due_at, account, seq)
SELECT value ->> 0, value ->> 1, unhex(value ->> 2, '-'), value ->> 3, value ->> 4, value ->> 4, value ->> 5, value ->> 6
FROM jsonb_each($2)
WHERE EXISTS (SELECT 1 FROM outbox WHERE seq = value ->> 6) ON CONFLICT DO NOTHING;
DELETE FROM outbox
WHERE (deletion, state) IN (SELECT unhex(value ->> 0, '-'), value ->> 1 FROM jsonb_each($1));
COMMIT";

const EVENTS: &str = "
SELECT e.account, e.deletion, e.kind, e.at, e.seq, e.tries FROM event e
WHERE e.receiver = $1 AND e.refused IS NULL AND ($2 IS NULL OR e.slot IN (SELECT value FROM json_each($2)))
  AND e.kind IN (SELECT value FROM json_each($3)) AND e.due_at <= $4
  AND NOT EXISTS (
    SELECT 1 FROM event b
    WHERE b.receiver = e.receiver AND b.account = e.account AND b.seq < e.seq AND b.refused IS NULL
      AND b.kind IN (SELECT value FROM json_each($3)))
ORDER BY e.due_at, e.seq LIMIT $5";

const HEARD: &str = "
DELETE FROM event
WHERE receiver = $1 AND (deletion, kind) IN (
    SELECT unhex(value ->> 0, '-'), value ->> 1 FROM jsonb_each($2) WHERE value ->> 2 IS NULL AND value ->> 3 IS NULL);
UPDATE event SET refused = value ->> 2, refused_at = $3 FROM jsonb_each($2)
WHERE receiver = $1 AND deletion = unhex(value ->> 0, '-') AND kind = value ->> 1 AND value ->> 2 IS NOT NULL;
UPDATE event SET due_at = value ->> 3, tries = tries + 1 FROM jsonb_each($2)
WHERE receiver = $1 AND deletion = unhex(value ->> 0, '-') AND kind = value ->> 1 AND value ->> 3 IS NOT NULL
  AND refused IS NULL;
COMMIT";

const REFUSED: &str = "
SELECT account, deletion, kind, at, seq, tries, refused, refused_at FROM event
WHERE receiver = $1 AND refused IS NOT NULL AND ($2 IS NULL OR seq > $2)
ORDER BY seq LIMIT $3";

const RESEND: &str = "
UPDATE event SET refused = NULL, refused_at = NULL, tries = 0, due_at = at
WHERE receiver = $1 AND deletion = $2 AND kind = $3 AND refused IS NOT NULL
RETURNING 1;
COMMIT";

const FORGET: &str = "
DELETE FROM event WHERE refused IS NOT NULL AND refused_at <= $1 RETURNING 1;
COMMIT";

pub(super) async fn outbox(
    pool: &SqlitePool,
    slots: &[Slot],
    limit: u32,
) -> Result<Vec<Announcement>, Error> {
    let waiting: Vec<OutboxRow> = sqlx::query_as(WAITING)
        .bind(json(&columns::slot_numbers(slots)))
        .bind(columns::rows(limit))
        .fetch_all(pool)
        .await
        .map_err(unread)?;
    Ok(waiting.into_iter().map(Announcement::from).collect())
}

pub(super) async fn announced(
    writer: &Writer,
    fence: &Fence,
    told: &[Announcement],
    events: &[Event],
) -> Result<(), Error> {
    let told: Vec<(Uuid, i16)> = told
        .iter()
        .map(|told| (told.deletion.0, told.state))
        .collect();
    let events: Vec<(&str, u8, Uuid, i16, i64, &str, i64)> = events
        .iter()
        .map(|event| {
            let slot = Account::slot(&event.account).number();
            let (receiver, account) = (event.receiver.as_str(), event.account.as_str());
            let (id, at) = (event.deletion.0, event.at.micros());
            (receiver, slot, id, event.kind, at, account, event.seq)
        })
        .collect();
    let held = writer.begin(Some(fence)).await?;
    let statements = sqlx::query(ANNOUNCED).bind(json(&told)).bind(json(&events));
    held.end(statements).await?;
    Ok(())
}

pub(super) async fn events(
    pool: &SqlitePool,
    receiver: &str,
    slots: Option<&[Slot]>,
    kinds: &[i16],
    limit: u32,
) -> Result<Vec<Event>, Error> {
    let waiting: Vec<EventRow> = sqlx::query_as(EVENTS)
        .bind(receiver)
        .bind(slots.map(|slots| json(&columns::slot_numbers(slots))))
        .bind(json(kinds))
        .bind(clock().micros())
        .bind(columns::rows(limit))
        .fetch_all(pool)
        .await
        .map_err(unread)?;
    waiting.into_iter().map(|row| row.of(receiver)).collect()
}

pub(super) async fn heard(writer: &Writer, receiver: &str, heard: &[Heard]) -> Result<(), Error> {
    let set = HeardRows::of(heard);
    let held = writer.begin(None).await?;
    let statements = sqlx::query(HEARD)
        .bind(receiver.to_owned())
        .bind(json(&set.zipped()))
        .bind(clock().micros());
    held.end(statements).await?;
    Ok(())
}

pub(super) async fn refused(
    pool: &SqlitePool,
    receiver: &str,
    after: Option<i64>,
    limit: u32,
) -> Result<Vec<RefusedEvent>, Error> {
    let found: Vec<RefusedRow> = sqlx::query_as(REFUSED)
        .bind(receiver)
        .bind(after)
        .bind(columns::rows(limit))
        .fetch_all(pool)
        .await
        .map_err(unread)?;
    found.into_iter().map(|row| row.of(receiver)).collect()
}

pub(super) async fn resend(
    writer: &Writer,
    receiver: &str,
    deletion: DeletionId,
    kind: i16,
) -> Result<bool, Error> {
    let held = writer.begin(None).await?;
    let statements = sqlx::query(RESEND)
        .bind(receiver.to_owned())
        .bind(deletion.0)
        .bind(kind);
    Ok(!held.end(statements).await?.is_empty())
}

pub(super) async fn forget_refused(writer: &Writer, until: Time) -> Result<u64, Error> {
    let held = writer.begin(None).await?;
    let forgotten = held.end(sqlx::query(FORGET).bind(until.micros())).await?;
    Ok(u64::try_from(forgotten.len()).unwrap_or(u64::MAX))
}
