//! Changes of state that others want to know of, and who is to be told of them.

use farewell_core::account::Account;
use farewell_core::{DeletionId, Slot, Time};
use sqlx::PgPool;
use uuid::Uuid;

use super::connection::{unread, written};
use crate::columns::{self, EventRow, HeardRows, OutboxRow, RefusedRow};
use crate::{Announcement, Error, Event, Fence, Heard, RefusedEvent};

const WAITING: &str =
    "SELECT deletion, state, at, seq FROM outbox WHERE slot = ANY($1) ORDER BY seq LIMIT $2";

const ANNOUNCED: &str = "
WITH fence AS MATERIALIZED (
    SELECT true AS stands FROM coordinator WHERE holder = $1 AND epoch = $2 FOR SHARE
), told AS (
    DELETE FROM outbox o USING unnest($3::uuid[], $4::smallint[]) AS t(deletion, state)
    WHERE (SELECT stands FROM fence) AND o.deletion = t.deletion AND o.state = t.state
    RETURNING o.seq
), kept AS (
    INSERT INTO event (receiver, deletion, kind, slot, at, due_at, account, seq)
    SELECT e.receiver, e.deletion, e.kind, e.slot, e.at, e.at, e.account, e.seq
    FROM unnest($5::text[], $6::uuid[], $7::smallint[], $8::smallint[], $9::bigint[], $10::text[], $11::bigint[])
         AS e(receiver, deletion, kind, slot, at, account, seq) JOIN told USING (seq)
    ON CONFLICT DO NOTHING
)
SELECT coalesce((SELECT stands FROM fence), false)";

const EVENTS: &str = "
SELECT e.account, e.deletion, e.kind, e.at, e.seq, e.tries FROM event e
WHERE e.receiver = $1 AND e.refused IS NULL AND ($2::smallint[] IS NULL OR e.slot = ANY($2)) AND e.kind = ANY($3)
  AND e.due_at <= (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)
  AND NOT EXISTS (
    SELECT 1 FROM event b
    WHERE b.receiver = e.receiver AND b.account = e.account AND b.seq < e.seq AND b.refused IS NULL AND b.kind = ANY($3))
ORDER BY e.due_at, e.seq LIMIT $4";

const HEARD: &str = "
WITH heard AS MATERIALIZED (
    SELECT h.* FROM unnest($2::uuid[], $3::smallint[], $4::text[], $5::bigint[]) AS h(deletion, kind, word, later)
), refused AS (
    UPDATE event e SET refused = h.word, refused_at = (extract(epoch FROM clock_timestamp()) * 1000000)::bigint FROM heard h
    WHERE h.word IS NOT NULL AND e.receiver = $1 AND e.deletion = h.deletion AND e.kind = h.kind
), put_off AS (
    UPDATE event e SET due_at = h.later, tries = e.tries + 1 FROM heard h
    WHERE h.later IS NOT NULL AND e.receiver = $1 AND e.deletion = h.deletion AND e.kind = h.kind AND e.refused IS NULL
)
DELETE FROM event e USING heard h
WHERE h.word IS NULL AND h.later IS NULL AND e.receiver = $1 AND e.deletion = h.deletion AND e.kind = h.kind";

const REFUSED: &str = "
SELECT account, deletion, kind, at, seq, tries, refused, refused_at FROM event
WHERE receiver = $1 AND refused IS NOT NULL AND ($2::bigint IS NULL OR seq > $2)
ORDER BY seq LIMIT $3";

const RESEND: &str = "
UPDATE event SET refused = NULL, refused_at = NULL, tries = 0, due_at = at
WHERE receiver = $1 AND deletion = $2 AND kind = $3 AND refused IS NOT NULL";

const FORGET: &str = "DELETE FROM event WHERE refused IS NOT NULL AND refused_at <= $1";

pub(super) async fn outbox(
    pool: &PgPool,
    slots: &[Slot],
    limit: u32,
) -> Result<Vec<Announcement>, Error> {
    let waiting: Vec<OutboxRow> = sqlx::query_as(WAITING)
        .bind(columns::slot_numbers(slots))
        .bind(columns::rows(limit))
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
    let ids: Vec<Uuid> = told.iter().map(|told| told.deletion.0).collect();
    let states: Vec<i16> = told.iter().map(|told| told.state).collect();
    let receivers: Vec<&str> = events.iter().map(|event| event.receiver.as_str()).collect();
    let of: Vec<Uuid> = events.iter().map(|event| event.deletion.0).collect();
    let kinds: Vec<i16> = events.iter().map(|event| event.kind).collect();
    let slots: Vec<Slot> = events
        .iter()
        .map(|event| Account::slot(&event.account))
        .collect();
    let at: Vec<i64> = events.iter().map(|event| event.at.micros()).collect();
    let accounts: Vec<&str> = events.iter().map(|event| event.account.as_str()).collect();
    let places: Vec<i64> = events.iter().map(|event| event.seq).collect();
    let stands: bool = sqlx::query_scalar(ANNOUNCED)
        .bind(&fence.holder)
        .bind(fence.epoch)
        .bind(ids)
        .bind(states)
        .bind(receivers)
        .bind(of)
        .bind(kinds)
        .bind(columns::slot_numbers(&slots))
        .bind(at)
        .bind(accounts)
        .bind(places)
        .fetch_one(pool)
        .await
        .map_err(written)?;
    if stands { Ok(()) } else { Err(Error::Fenced) }
}

pub(super) async fn events(
    pool: &PgPool,
    receiver: &str,
    slots: Option<&[Slot]>,
    kinds: &[i16],
    limit: u32,
) -> Result<Vec<Event>, Error> {
    let waiting: Vec<EventRow> = sqlx::query_as(EVENTS)
        .bind(receiver)
        .bind(slots.map(columns::slot_numbers))
        .bind(kinds)
        .bind(columns::rows(limit))
        .fetch_all(pool)
        .await
        .map_err(unread)?;
    waiting.into_iter().map(|row| row.of(receiver)).collect()
}

pub(super) async fn heard(pool: &PgPool, receiver: &str, heard: &[Heard]) -> Result<(), Error> {
    let set = HeardRows::of(heard);
    sqlx::query(HEARD)
        .bind(receiver)
        .bind(set.deletions)
        .bind(set.kinds)
        .bind(set.words)
        .bind(set.later)
        .execute(pool)
        .await
        .map_err(written)?;
    Ok(())
}

pub(super) async fn refused(
    pool: &PgPool,
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
    pool: &PgPool,
    receiver: &str,
    deletion: DeletionId,
    kind: i16,
) -> Result<bool, Error> {
    let again = sqlx::query(RESEND)
        .bind(receiver)
        .bind(deletion.0)
        .bind(kind)
        .execute(pool)
        .await
        .map_err(written)?;
    Ok(again.rows_affected() > 0)
}

pub(super) async fn forget_refused(pool: &PgPool, until: Time) -> Result<u64, Error> {
    let forgotten = sqlx::query(FORGET)
        .bind(until.micros())
        .execute(pool)
        .await
        .map_err(written)?;
    Ok(forgotten.rows_affected())
}
