//! Reads for people and for the API.

use std::time::Duration;

use farewell_core::receipt::Kept;
use farewell_core::{Deletion, DeletionId, Time};
use sqlx::PgPool;

use super::connection::unread;
use crate::columns::{self, CoordinatorRow, DeletionRow, HistoryRow, ReceiptRow, ReceiverRow};
use crate::{Entry, Error, Filter, KeptUnderLaw, Overview, Receiver, select};

const NOW: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";

const LIST: &str = "
SELECT * FROM deletion
WHERE ($1::uuid IS NULL OR id < $1) AND (cardinality($2::smallint[]) = 0 OR state = ANY($2))
  AND ($3::bigint IS NULL OR attention_at < $3 OR blockers <> '[]' OR held OR conflicts > 0 OR refused <> 0)
ORDER BY id DESC LIMIT $4";

/// The live deletion of an account, and those that have ended: two look-ups.
const LIST_OF_ACCOUNT: &str = "
SELECT * FROM deletion
WHERE ($1::uuid IS NULL OR id < $1) AND (cardinality($2::smallint[]) = 0 OR state = ANY($2))
  AND ($3::bigint IS NULL OR attention_at < $3 OR blockers <> '[]' OR held OR conflicts > 0 OR refused <> 0)
  AND id IN (SELECT l.deletion FROM live l WHERE l.account = $5
             UNION ALL SELECT d.id FROM deletion d WHERE d.account = $5 AND d.state >= 5)
ORDER BY id DESC LIMIT $4";

/// How many are late, and how many will be soon.
const LATE: &str = "
SELECT count(*) FILTER (WHERE deadline <= n.at), count(*) FILTER (WHERE deadline > n.at AND deadline - $1 <= n.at)
FROM deletion, (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS at) n WHERE state < 5";

const KEPT: &str = "
SELECT count(*), count(*) FILTER (WHERE (expiring & ~done) <> 0 AND NOT held AND attention_at + $1 <= n.at), count(*) FILTER (WHERE held)
FROM deletion, (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS at) n
WHERE state = 5 AND closed_at IS NULL";

pub(super) async fn now(pool: &PgPool) -> Result<Time, Error> {
    let now: i64 = sqlx::query_scalar(NOW)
        .fetch_one(pool)
        .await
        .map_err(unread)?;
    Ok(Time::from_micros(now))
}

pub(super) async fn receipts(pool: &PgPool, id: DeletionId) -> Result<Vec<Kept>, Error> {
    let receipts: Vec<ReceiptRow> = sqlx::query_as(select::RECEIPTS)
        .bind(id.0)
        .fetch_all(pool)
        .await
        .map_err(unread)?;
    receipts.into_iter().map(Kept::try_from).collect()
}

pub(super) async fn history(
    pool: &PgPool,
    id: DeletionId,
    (after, limit): (i32, u32),
) -> Result<Vec<Entry>, Error> {
    let history: Vec<HistoryRow> = sqlx::query_as(select::HISTORY)
        .bind(id.0)
        .bind(after)
        .bind(columns::rows(limit))
        .fetch_all(pool)
        .await
        .map_err(unread)?;
    history.into_iter().map(Entry::try_from).collect()
}

pub(super) async fn list(
    pool: &PgPool,
    filter: &Filter,
    before: Option<DeletionId>,
    limit: u32,
) -> Result<Vec<Deletion>, Error> {
    let sql = if filter.account.is_some() {
        LIST_OF_ACCOUNT
    } else {
        LIST
    };
    let mut list = sqlx::query_as(sql)
        .bind(before.map(|id| id.0))
        .bind(&filter.states)
        .bind(columns::micros(filter.unmoved_since))
        .bind(columns::rows(limit));
    if let Some(account) = &filter.account {
        list = list.bind(account.as_str().to_owned());
    }
    let found: Vec<DeletionRow> = list
        // Planned for the filter at hand: a plan for any filter could use no index but the key's.
        .persistent(false)
        .fetch_all(pool)
        .await
        .map_err(unread)?;
    found.into_iter().map(Deletion::try_from).collect()
}

pub(super) async fn overview(
    pool: &PgPool,
    (warning, patience): (Duration, Duration),
) -> Result<Overview, Error> {
    let states = sqlx::query_as(select::STATES)
        .fetch_all(pool)
        .await
        .map_err(unread)?;
    let oldest: Option<i64> = sqlx::query_scalar(select::OLDEST)
        .fetch_one(pool)
        .await
        .map_err(unread)?;
    let coordinators: Vec<CoordinatorRow> = sqlx::query_as(select::COORDINATORS)
        .fetch_all(pool)
        .await
        .map_err(unread)?;
    let (overdue, overdue_soon) = sqlx::query_as(LATE)
        .bind(columns::span(warning))
        .fetch_one(pool)
        .await
        .map_err(unread)?;
    let (deletions, late, held) = sqlx::query_as(KEPT)
        .bind(columns::span(patience))
        .fetch_one(pool)
        .await
        .map_err(unread)?;
    let outbox = sqlx::query_scalar(select::OUTBOX)
        .fetch_one(pool)
        .await
        .map_err(unread)?;
    let receivers: Vec<ReceiverRow> = sqlx::query_as(select::RECEIVERS)
        .fetch_all(pool)
        .await
        .map_err(unread)?;
    Ok(Overview {
        states,
        oldest_unfinished: oldest.map(Time::from_micros),
        coordinators: coordinators
            .into_iter()
            .map(CoordinatorRow::coordinator)
            .collect(),
        outbox,
        receivers: receivers.into_iter().map(Receiver::from).collect(),
        overdue,
        overdue_soon,
        kept: KeptUnderLaw {
            deletions,
            late,
            held,
        },
    })
}
