//! What became of devices after their receipt.

use farewell_core::DeletionId;
use farewell_core::addendum::{Addendum, Kept};
use sqlx::SqlitePool;
use uuid::Uuid;

use super::connection::{Writer, unread};
use super::moved::json;
use crate::columns::{self, AddendumRow};
use crate::{Error, clock, merge, select};

/// Addenda are kept of deletions that are there.
const AMEND: &str = "
INSERT INTO addendum (deletion, round, leg, device, binding_epoch, ending, was, returned_at, fingerprint, recorded_at)
SELECT d.id, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7,
       unhex(value ->> 8, '-'), $2
FROM jsonb_each($1) CROSS JOIN deletion d
WHERE d.id = unhex(value ->> 0, '-')
ON CONFLICT DO NOTHING;
COMMIT";

pub(super) async fn amend(writer: &Writer, batch: Vec<Addendum>) -> Result<(), Error> {
    let set: Vec<_> = merge::distinct_addenda(&batch).map(row).collect();
    let held = writer.begin(None).await?;
    let amend = sqlx::query(AMEND).bind(json(&set)).bind(clock().micros());
    held.end(amend).await?;
    Ok(())
}

type Row<'a> = (Uuid, u16, i16, &'a str, i64, &'a str, &'a str, i64, Uuid);

fn row(addendum: &Addendum) -> Row<'_> {
    (
        addendum.deletion.0,
        addendum.round,
        columns::leg(addendum.leg),
        addendum.device.as_str(),
        addendum.binding_epoch.cast_signed(),
        addendum.ending.word(),
        addendum.before.word(),
        addendum.returned_at.micros(),
        Uuid::from_bytes(addendum.fingerprint),
    )
}

pub(super) async fn addenda(pool: &SqlitePool, id: DeletionId) -> Result<Vec<Kept>, Error> {
    let addenda: Vec<AddendumRow> = sqlx::query_as(select::ADDENDA)
        .bind(id.0)
        .fetch_all(pool)
        .await
        .map_err(unread)?;
    columns::addenda(addenda)
}
