//! What was done again after a purge.

use farewell_core::DeletionId;
use farewell_core::replay::{Kept, Replayed};
use sqlx::PgPool;
use uuid::Uuid;

use super::connection::{race, unread};
use crate::columns::{self, ReplayRow};
use crate::{Error, merge, select};

/// Kept of deletions that are there.
const KEEP: &str = "
INSERT INTO replay (deletion, participant, round, verb, fingerprint, evidence, recorded_at)
SELECT g.*, (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)
FROM unnest($1::uuid[], $2::text[], $3::integer[], $4::text[], $5::uuid[], $6::text[])
     AS g(deletion, participant, round, verb, fingerprint, evidence)
WHERE EXISTS (SELECT FROM deletion d WHERE d.id = g.deletion)
ON CONFLICT DO NOTHING";

pub(super) async fn keep(pool: &PgPool, batch: Vec<Replayed>) -> Result<(), Error> {
    let set = Set::of(&batch);
    race(|| {
        sqlx::query(KEEP)
            .bind(&set.deletion)
            .bind(&set.participant)
            .bind(&set.round)
            .bind(&set.verb)
            .bind(&set.fingerprint)
            .bind(&set.evidence)
            .execute(pool)
    })
    .await?;
    Ok(())
}

/// By column.
#[derive(Default)]
struct Set<'a> {
    deletion: Vec<Uuid>,
    participant: Vec<&'a str>,
    round: Vec<i32>,
    verb: Vec<&'static str>,
    fingerprint: Vec<Uuid>,
    evidence: Vec<&'a str>,
}

impl<'a> Set<'a> {
    fn of(batch: &'a [Replayed]) -> Self {
        let mut set = Self::default();
        for replayed in merge::distinct_replays(batch) {
            set.deletion.push(replayed.deletion.0);
            set.participant.push(replayed.participant.as_str());
            set.round.push(replayed.round.into());
            set.verb.push(replayed.verb.word());
            set.fingerprint.push(Uuid::from_bytes(replayed.fingerprint));
            set.evidence.push(&replayed.evidence);
        }
        set
    }
}

pub(super) async fn replays(pool: &PgPool, id: DeletionId) -> Result<Vec<Kept>, Error> {
    let replays: Vec<ReplayRow> = sqlx::query_as(select::REPLAYS)
        .bind(id.0)
        .fetch_all(pool)
        .await
        .map_err(unread)?;
    columns::replays(replays)
}
