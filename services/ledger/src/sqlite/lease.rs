//! Who coordinates which slots, and under which epoch.

use std::time::Duration;

use farewell_core::{Slot, Time};
use sqlx::{FromRow, Row};

use super::connection::{Held, Writer};
use super::moved::json;
use crate::columns;
use crate::{Error, Fence, Leases, clock};

const JOIN: &str = "
UPDATE slot SET holder = NULL WHERE holder = $1;
INSERT INTO coordinator (holder, epoch, lease_until) VALUES ($1, 1, $2)
ON CONFLICT (holder) DO UPDATE SET epoch = epoch + 1, lease_until = excluded.lease_until
RETURNING epoch;
COMMIT";

const RENEW: &str = "
UPDATE coordinator SET lease_until = $2 WHERE holder = $1;
SELECT (SELECT count(*) FROM coordinator WHERE lease_until >= $3) AS live, s.slot, s.holder IS $1 AS mine,
       coalesce(c.lease_until < $3, true) AS free
FROM slot s LEFT JOIN coordinator c ON c.holder = s.holder ORDER BY s.slot;
COMMIT";

/// Those of the wanted slots that may be taken, and who held them.
const FREE: &str = "
SELECT s.slot FROM slot s LEFT JOIN coordinator c ON c.holder = s.holder
WHERE s.slot IN (SELECT value FROM json_each($1)) AND s.holder IS NOT $2 AND coalesce(c.lease_until < $3, true)
ORDER BY s.slot";

const TAKE: &str = "
UPDATE coordinator SET epoch = epoch + 1
WHERE holder IN (SELECT holder FROM slot WHERE slot IN (SELECT value FROM json_each($1)));
UPDATE slot SET holder = $2 WHERE slot IN (SELECT value FROM json_each($1));
COMMIT";

const RELEASE: &str = "
UPDATE slot SET holder = NULL WHERE holder = $2 AND slot IN (SELECT value FROM json_each($1));
UPDATE coordinator SET lease_until = $3 - 1
WHERE holder = $2 AND NOT EXISTS (SELECT 1 FROM slot WHERE holder = $2);
COMMIT";

pub(super) async fn join(writer: &Writer, holder: &str, ttl: Duration) -> Result<Fence, Error> {
    let held = writer.begin(None).await?;
    let join = sqlx::query(JOIN)
        .bind(holder.to_owned())
        .bind((clock() + ttl).micros());
    let rows = held.end(join).await?;
    let row = rows.first().ok_or(Error::Corrupt { what: "epoch" })?;
    Ok(Fence {
        holder: holder.to_owned(),
        epoch: row.try_get(0).map_err(Error::Unknown)?,
    })
}

pub(super) async fn renew(writer: &Writer, fence: &Fence, ttl: Duration) -> Result<Leases, Error> {
    let held = writer.begin(Some(fence)).await?;
    let now = clock();
    let renew = sqlx::query(RENEW)
        .bind(fence.holder.clone())
        .bind((now + ttl).micros())
        .bind(now.micros());
    let mut leases = Leases {
        now,
        mine: Vec::new(),
        free: Vec::new(),
        live: 0,
    };
    for row in held.end(renew).await? {
        let (live, slot, mine, free): (u32, i16, bool, bool) =
            FromRow::from_row(&row).map_err(Error::Unknown)?;
        let slot = columns::slot(slot)?;
        leases.live = live;
        leases.mine.extend(mine.then_some(slot));
        leases.free.extend(free.then_some(slot));
    }
    Ok(leases)
}

pub(super) async fn claim(
    writer: &Writer,
    fence: &Fence,
    slots: &[Slot],
) -> Result<Vec<Slot>, Error> {
    let mut held = writer.begin(Some(fence)).await?;
    let got = free(&mut held, fence, slots, clock()).await?;
    let take = sqlx::query(TAKE)
        .bind(json(&got))
        .bind(fence.holder.clone());
    held.end(take).await?;
    columns::slots(got)
}

async fn free(
    held: &mut Held<'_>,
    fence: &Fence,
    slots: &[Slot],
    now: Time,
) -> Result<Vec<i16>, Error> {
    let free = sqlx::query(FREE)
        .bind(json(&columns::slot_numbers(slots)))
        .bind(fence.holder.clone())
        .bind(now.micros());
    held.go(free)
        .await?
        .iter()
        .map(|row| row.try_get(0).map_err(Error::Refused))
        .collect()
}

pub(super) async fn release(writer: &Writer, fence: &Fence, slots: &[Slot]) -> Result<(), Error> {
    let held = writer.begin(Some(fence)).await?;
    let release = sqlx::query(RELEASE)
        .bind(json(&columns::slot_numbers(slots)))
        .bind(fence.holder.clone())
        .bind(clock().micros());
    held.end(release).await?;
    Ok(())
}
