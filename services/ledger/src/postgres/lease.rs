//! Who coordinates which slots, and under which epoch.

use std::time::Duration;

use farewell_core::{Slot, Time};
use sqlx::{PgConnection, PgPool};

use super::connection::{race, unread, written};
use crate::columns;
use crate::{Error, Fence, Leases};

const JOIN: &str = "
INSERT INTO coordinator (holder, epoch, lease_until)
VALUES ($1, 1, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint + $2)
ON CONFLICT (holder) DO UPDATE SET epoch = coordinator.epoch + 1, lease_until = excluded.lease_until
RETURNING epoch";

const DROP: &str = "UPDATE slot SET holder = NULL WHERE holder = $1";

const RENEW: &str = "
UPDATE coordinator SET lease_until = (extract(epoch FROM clock_timestamp()) * 1000000)::bigint + $3
WHERE holder = $1 AND epoch = $2";

const LEASES: &str = "
WITH clock AS MATERIALIZED (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS now)
SELECT (SELECT now FROM clock) AS now,
       (SELECT count(*) FROM coordinator WHERE lease_until >= (SELECT now FROM clock)) AS live,
       array(SELECT slot FROM slot WHERE holder = $1 ORDER BY slot) AS mine,
       array(SELECT s.slot FROM slot s LEFT JOIN coordinator c ON c.holder = s.holder
             WHERE c.holder IS NULL OR c.lease_until < (SELECT now FROM clock) ORDER BY s.slot) AS free";

/// A fence that stands, and stays so until the transaction ends.
const STANDS: &str = "SELECT 1::bigint FROM coordinator WHERE holder = $1 AND epoch = $2 FOR SHARE";

/// Fences the holders of wanted slots whose lease has ended, which waits for the batches that they still have under way.
const FENCE: &str = "
UPDATE coordinator SET epoch = epoch + 1
WHERE holder <> $1 AND lease_until < (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
  AND holder IN (SELECT holder FROM slot WHERE slot = ANY($2))
RETURNING holder";

const TAKE: &str = "
UPDATE slot SET holder = $1 WHERE slot = ANY($2) AND (holder IS NULL OR holder = ANY($3)) RETURNING slot";

const RELEASE: &str = "
WITH fence AS MATERIALIZED (
    SELECT true AS stands FROM coordinator WHERE holder = $1 AND epoch = $2 FOR UPDATE
), released AS (
    UPDATE slot SET holder = NULL WHERE (SELECT stands FROM fence) AND holder = $1 AND slot = ANY($3)
), ended AS (
    UPDATE coordinator SET lease_until = (extract(epoch FROM clock_timestamp()) * 1000000)::bigint - 1
    WHERE (SELECT stands FROM fence) AND holder = $1 AND epoch = $2
      AND NOT EXISTS (SELECT 1 FROM slot WHERE holder = $1 AND slot <> ALL($3))
)
SELECT coalesce((SELECT stands FROM fence), false)";

pub(super) async fn join(pool: &PgPool, holder: &str, ttl: Duration) -> Result<Fence, Error> {
    let epoch = race(|| async {
        let mut transaction = pool.begin().await?;
        let epoch = sqlx::query_scalar(JOIN)
            .bind(holder)
            .bind(columns::span(ttl))
            .fetch_one(&mut *transaction)
            .await?;
        sqlx::query(DROP)
            .bind(holder)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(epoch)
    })
    .await?;
    Ok(Fence {
        holder: holder.to_owned(),
        epoch,
    })
}

pub(super) async fn renew(pool: &PgPool, fence: &Fence, ttl: Duration) -> Result<Leases, Error> {
    let renewed = sqlx::query(RENEW)
        .bind(&fence.holder)
        .bind(fence.epoch)
        .bind(columns::span(ttl))
        .execute(pool)
        .await
        .map_err(written)?;
    if renewed.rows_affected() == 0 {
        return Err(Error::Fenced);
    }
    let (now, live, mine, free): (i64, i64, Vec<i16>, Vec<i16>) = sqlx::query_as(LEASES)
        .bind(&fence.holder)
        .fetch_one(pool)
        .await
        .map_err(unread)?;
    Ok(Leases {
        now: Time::from_micros(now),
        mine: columns::slots(mine)?,
        free: columns::slots(free)?,
        live: columns::number(live, "count of coordinators")?,
    })
}

pub(super) async fn claim(
    pool: &PgPool,
    fence: &Fence,
    slots: &[Slot],
) -> Result<Vec<Slot>, Error> {
    let wanted = columns::slot_numbers(slots);
    let got = race(|| async {
        let mut transaction = pool.begin().await?;
        let got = take(&mut transaction, fence, &wanted).await?;
        transaction.commit().await?;
        Ok(got)
    })
    .await?;
    let mut got = columns::slots(got.ok_or(Error::Fenced)?)?;
    got.sort_unstable();
    Ok(got)
}

/// The slots that were got; `None` if the fence is gone.
async fn take(
    connection: &mut PgConnection,
    fence: &Fence,
    wanted: &[i16],
) -> Result<Option<Vec<i16>>, sqlx::Error> {
    let stands: Option<i64> = sqlx::query_scalar(STANDS)
        .bind(&fence.holder)
        .bind(fence.epoch)
        .fetch_optional(&mut *connection)
        .await?;
    if stands.is_none() {
        return Ok(None);
    }
    let dead: Vec<String> = sqlx::query_scalar(FENCE)
        .bind(&fence.holder)
        .bind(wanted)
        .fetch_all(&mut *connection)
        .await?;
    sqlx::query_scalar(TAKE)
        .bind(&fence.holder)
        .bind(wanted)
        .bind(dead)
        .fetch_all(connection)
        .await
        .map(Some)
}

pub(super) async fn release(pool: &PgPool, fence: &Fence, slots: &[Slot]) -> Result<(), Error> {
    let stands: bool = sqlx::query_scalar(RELEASE)
        .bind(&fence.holder)
        .bind(fence.epoch)
        .bind(columns::slot_numbers(slots))
        .fetch_one(pool)
        .await
        .map_err(written)?;
    if stands { Ok(()) } else { Err(Error::Fenced) }
}
