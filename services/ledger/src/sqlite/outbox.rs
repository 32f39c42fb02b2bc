//! Changes of state that others want to know of, and who is to be told of them.

use farewell_core::Slot;
use sqlx::SqlitePool;
use uuid::Uuid;

use super::connection::{Writer, unread};
use super::moved::json;
use crate::columns::{self, EventRow, OutboxRow};
use crate::{Announcement, Error, Event, Fence, Heard, rows};

const WAITING: &str = "
SELECT deletion, state, at FROM outbox
WHERE slot IN (SELECT value FROM json_each($1)) ORDER BY at, deletion, state LIMIT $2";

const ANNOUNCED: &str = "
DELETE FROM outbox
WHERE (slot, deletion, state) IN (SELECT value ->> 0, unhex(value ->> 1, '-'), value ->> 2 FROM jsonb_each($1));
INSERT INTO event (receiver, slot, deletion, kind, at)
SELECT value ->> 0, value ->> 1, unhex(value ->> 2, '-'), value ->> 3, value ->> 4 FROM jsonb_each($2)
WHERE true ON CONFLICT DO NOTHING;
COMMIT";

const EVENTS: &str = "
SELECT deletion, kind, at FROM event
WHERE receiver = $1 AND refused IS NULL AND ($2 IS NULL OR slot IN (SELECT value FROM json_each($2)))
ORDER BY at, deletion, kind LIMIT $3";

const HEARD: &str = "
DELETE FROM event
WHERE receiver = $1 AND (deletion, kind) IN (
    SELECT unhex(value ->> 0, '-'), value ->> 1 FROM jsonb_each($2) WHERE value ->> 2 IS NULL);
UPDATE event SET refused = value ->> 2 FROM jsonb_each($2)
WHERE receiver = $1 AND deletion = unhex(value ->> 0, '-') AND kind = value ->> 1 AND value ->> 2 IS NOT NULL;
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
    told: &[Announcement],
    events: &[Event],
) -> Result<(), Error> {
    let told: Vec<(u8, Uuid, i16)> = told
        .iter()
        .map(|told| (told.deletion.slot().number(), told.deletion.0, told.state))
        .collect();
    let events: Vec<(&str, u8, Uuid, i16, i64)> = events
        .iter()
        .map(|event| {
            let slot = event.deletion.slot().number();
            let (kind, at) = (event.kind, event.at.micros());
            (event.receiver.as_str(), slot, event.deletion.0, kind, at)
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
    limit: u32,
) -> Result<Vec<Event>, Error> {
    let waiting: Vec<EventRow> = sqlx::query_as(EVENTS)
        .bind(receiver)
        .bind(slots.map(|slots| json(&columns::slot_numbers(slots))))
        .bind(i64::try_from(rows(limit)).unwrap_or(i64::MAX))
        .fetch_all(pool)
        .await
        .map_err(unread)?;
    Ok(waiting.into_iter().map(|row| row.of(receiver)).collect())
}

pub(super) async fn heard(writer: &Writer, receiver: &str, heard: &[Heard]) -> Result<(), Error> {
    let set: Vec<(Uuid, i16, Option<&str>)> = heard
        .iter()
        .map(|heard| (heard.deletion.0, heard.kind, heard.refused.as_deref()))
        .collect();
    let held = writer.begin(None).await?;
    let statements = sqlx::query(HEARD)
        .bind(receiver.to_owned())
        .bind(json(&set));
    held.end(statements).await?;
    Ok(())
}
