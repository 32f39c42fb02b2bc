//! What was done again after a purge.

use farewell_core::DeletionId;
use farewell_core::replay::{Kept, Replayed};
use sqlx::SqlitePool;
use uuid::Uuid;

use super::connection::{Writer, unread};
use super::moved::json;
use crate::columns::{self, ReplayRow};
use crate::{Error, clock, merge, select};

/// Kept of deletions that are there.
const KEEP: &str = "
INSERT INTO replay (deletion, participant, round, verb, fingerprint, evidence, recorded_at)
SELECT d.id, value ->> 1, value ->> 2, value ->> 3, unhex(value ->> 4, '-'), value ->> 5, $2
FROM jsonb_each($1) CROSS JOIN deletion d
WHERE d.id = unhex(value ->> 0, '-')
ON CONFLICT DO NOTHING;
COMMIT";

pub(super) async fn keep(writer: &Writer, batch: Vec<Replayed>) -> Result<(), Error> {
    let set: Vec<_> = merge::distinct_replays(&batch).map(row).collect();
    let held = writer.begin(None).await?;
    let keep = sqlx::query(KEEP).bind(json(&set)).bind(clock().micros());
    held.end(keep).await?;
    Ok(())
}

type Row<'a> = (Uuid, &'a str, u16, &'a str, Uuid, &'a str);

fn row(replayed: &Replayed) -> Row<'_> {
    (
        replayed.deletion.0,
        replayed.participant.as_str(),
        replayed.round,
        replayed.verb.word(),
        Uuid::from_bytes(replayed.fingerprint),
        &replayed.evidence,
    )
}

pub(super) async fn replays(pool: &SqlitePool, id: DeletionId) -> Result<Vec<Kept>, Error> {
    let replays: Vec<ReplayRow> = sqlx::query_as(select::REPLAYS)
        .bind(id.0)
        .fetch_all(pool)
        .await
        .map_err(unread)?;
    columns::replays(replays)
}
