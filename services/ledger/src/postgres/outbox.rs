//! Changes of state that others want to know of, and who is to be told of them.

use farewell_core::Slot;
use sqlx::PgPool;
use uuid::Uuid;

use super::connection::{unread, written};
use crate::columns::{self, EventRow, OutboxRow};
use crate::{Announcement, Error, Event, Fence, Heard, rows};

const WAITING: &str = "
SELECT deletion, state, at FROM outbox WHERE slot = ANY($1) ORDER BY at, deletion, state LIMIT $2";

const ANNOUNCED: &str = "
WITH fence AS MATERIALIZED (
    SELECT true AS stands FROM coordinator WHERE holder = $1 AND epoch = $2 FOR SHARE
), told AS (
    DELETE FROM outbox o USING unnest($3::smallint[], $4::uuid[], $5::smallint[]) AS t(slot, deletion, state)
    WHERE (SELECT stands FROM fence) AND o.slot = t.slot AND o.deletion = t.deletion AND o.state = t.state
), kept AS (
    INSERT INTO event (receiver, deletion, kind, slot, at)
    SELECT e.* FROM unnest($6::text[], $7::uuid[], $8::smallint[], $9::smallint[], $10::bigint[])
                    AS e(receiver, deletion, kind, slot, at)
    WHERE (SELECT stands FROM fence)
    ON CONFLICT DO NOTHING
)
SELECT coalesce((SELECT stands FROM fence), false)";

const EVENTS: &str = "
SELECT deletion, kind, at FROM event
WHERE receiver = $1 AND refused IS NULL AND ($2::smallint[] IS NULL OR slot = ANY($2))
ORDER BY at, deletion, kind LIMIT $3";

const HEARD: &str = "
WITH heard AS MATERIALIZED (
    SELECT h.* FROM unnest($2::uuid[], $3::smallint[], $4::text[]) AS h(deletion, kind, refused)
), refused AS (
    UPDATE event e SET refused = h.refused FROM heard h
    WHERE h.refused IS NOT NULL AND e.receiver = $1 AND e.deletion = h.deletion AND e.kind = h.kind
)
DELETE FROM event e USING heard h
WHERE h.refused IS NULL AND e.receiver = $1 AND e.deletion = h.deletion AND e.kind = h.kind";

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
    told: &[Announcement],
    events: &[Event],
) -> Result<(), Error> {
    let slots: Vec<Slot> = told.iter().map(|told| told.deletion.slot()).collect();
    let ids: Vec<Uuid> = told.iter().map(|told| told.deletion.0).collect();
    let states: Vec<i16> = told.iter().map(|told| told.state).collect();
    let receivers: Vec<&str> = events.iter().map(|event| event.receiver.as_str()).collect();
    let of: Vec<Uuid> = events.iter().map(|event| event.deletion.0).collect();
    let kinds: Vec<i16> = events.iter().map(|event| event.kind).collect();
    let of_slots: Vec<Slot> = events.iter().map(|event| event.deletion.slot()).collect();
    let at: Vec<i64> = events.iter().map(|event| event.at.micros()).collect();
    let stands: bool = sqlx::query_scalar(ANNOUNCED)
        .bind(&fence.holder)
        .bind(fence.epoch)
        .bind(columns::slot_numbers(&slots))
        .bind(ids)
        .bind(states)
        .bind(receivers)
        .bind(of)
        .bind(kinds)
        .bind(columns::slot_numbers(&of_slots))
        .bind(at)
        .fetch_one(pool)
        .await
        .map_err(written)?;
    if stands { Ok(()) } else { Err(Error::Fenced) }
}

pub(super) async fn events(
    pool: &PgPool,
    receiver: &str,
    slots: Option<&[Slot]>,
    limit: u32,
) -> Result<Vec<Event>, Error> {
    let waiting: Vec<EventRow> = sqlx::query_as(EVENTS)
        .bind(receiver)
        .bind(slots.map(columns::slot_numbers))
        .bind(i64::try_from(rows(limit)).unwrap_or(i64::MAX))
        .fetch_all(pool)
        .await
        .map_err(unread)?;
    Ok(waiting.into_iter().map(|row| row.of(receiver)).collect())
}

pub(super) async fn heard(pool: &PgPool, receiver: &str, heard: &[Heard]) -> Result<(), Error> {
    let ids: Vec<Uuid> = heard.iter().map(|heard| heard.deletion.0).collect();
    let kinds: Vec<i16> = heard.iter().map(|heard| heard.kind).collect();
    let refused: Vec<Option<&str>> = heard.iter().map(|heard| heard.refused.as_deref()).collect();
    sqlx::query(HEARD)
        .bind(receiver)
        .bind(ids)
        .bind(kinds)
        .bind(refused)
        .execute(pool)
        .await
        .map_err(written)?;
    Ok(())
}
