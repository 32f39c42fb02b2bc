//! What became of devices after their receipt.

use farewell_core::DeletionId;
use farewell_core::addendum::{Addendum, Kept};
use sqlx::PgPool;
use uuid::Uuid;

use super::connection::{race, unread};
use crate::columns::{self, AddendumRow};
use crate::{Error, merge, select};

/// Addenda are kept of deletions that are there. Two coordinators may hear of the same device at once; few rows ever come,
/// so that `ON CONFLICT` may log them twice.
const AMEND: &str = "
INSERT INTO addendum (deletion, round, leg, device, binding_epoch, ending, was, returned_at, fingerprint, recorded_at)
SELECT g.*, (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)
FROM unnest($1::uuid[], $2::integer[], $3::smallint[], $4::text[], $5::bigint[], $6::text[], $7::text[], $8::bigint[],
            $9::uuid[])
     AS g(deletion, round, leg, device, binding_epoch, ending, was, returned_at, fingerprint)
WHERE EXISTS (SELECT FROM deletion d WHERE d.id = g.deletion)
ON CONFLICT DO NOTHING";

pub(super) async fn amend(pool: &PgPool, batch: Vec<Addendum>) -> Result<(), Error> {
    let set = Set::of(&batch);
    race(|| {
        sqlx::query(AMEND)
            .bind(&set.deletion)
            .bind(&set.round)
            .bind(&set.leg)
            .bind(&set.device)
            .bind(&set.binding_epoch)
            .bind(&set.ending)
            .bind(&set.was)
            .bind(&set.returned_at)
            .bind(&set.fingerprint)
            .execute(pool)
    })
    .await?;
    Ok(())
}

/// Addenda by column.
#[derive(Default)]
struct Set<'a> {
    deletion: Vec<Uuid>,
    round: Vec<i32>,
    leg: Vec<i16>,
    device: Vec<&'a str>,
    binding_epoch: Vec<i64>,
    ending: Vec<&'static str>,
    was: Vec<&'static str>,
    returned_at: Vec<i64>,
    fingerprint: Vec<Uuid>,
}

impl<'a> Set<'a> {
    fn of(batch: &'a [Addendum]) -> Self {
        let mut set = Self::default();
        for addendum in merge::distinct_addenda(batch) {
            set.deletion.push(addendum.deletion.0);
            set.round.push(addendum.round.into());
            set.leg.push(columns::leg(addendum.leg));
            set.device.push(addendum.device.as_str());
            set.binding_epoch.push(addendum.binding_epoch.cast_signed());
            set.ending.push(addendum.ending.word());
            set.was.push(addendum.before.word());
            set.returned_at.push(addendum.returned_at.micros());
            set.fingerprint.push(Uuid::from_bytes(addendum.fingerprint));
        }
        set
    }
}

pub(super) async fn addenda(pool: &PgPool, id: DeletionId) -> Result<Vec<Kept>, Error> {
    let addenda: Vec<AddendumRow> = sqlx::query_as(select::ADDENDA)
        .bind(id.0)
        .fetch_all(pool)
        .await
        .map_err(unread)?;
    columns::addenda(addenda)
}
