//! Accounts, with their requests as one document each.

use farewell_core::account::Account;
use farewell_core::{AccountId, Slot, Time};
use sqlx::PgPool;

use super::connection::{race, unread};
use crate::account::{self, Place};
use crate::{Error, columns, select};

/// A row that isn't there has the revision 0.
const KEEP: &str = "
INSERT INTO account (account, attention_at, revision, slot, doc)
SELECT $1, $2::bigint, $3::integer, $4::smallint, $5
WHERE $3 = 1 OR EXISTS (SELECT 1 FROM account WHERE account = $1)
ON CONFLICT (account) DO UPDATE
SET attention_at = excluded.attention_at, revision = excluded.revision, doc = excluded.doc
WHERE account.revision = excluded.revision - 1
RETURNING account.revision";

/// Each slot is one range of the index, read no further than the page needs.
const OWED: &str = "
SELECT due.doc
FROM unnest($1::smallint[]) AS s(slot) CROSS JOIN LATERAL (
    SELECT a.attention_at, a.account, a.doc FROM account a
    WHERE a.slot = s.slot AND a.attention_at <= (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)
      AND (a.attention_at, a.account) > ($2::bigint, $3::text)
    ORDER BY a.attention_at, a.account LIMIT $4
) AS due
ORDER BY due.attention_at, due.account LIMIT $4";

pub(super) async fn get(pool: &PgPool, id: &AccountId) -> Result<Option<Account>, Error> {
    let doc: Option<String> = sqlx::query_scalar(select::ACCOUNT)
        .bind(id.as_str())
        .fetch_optional(pool)
        .await
        .map_err(unread)?;
    doc.as_deref().map(account::read).transpose()
}

pub(super) async fn keep(pool: &PgPool, account: &Account) -> Result<bool, Error> {
    let doc = account::written(account)?;
    let kept: Option<i32> = race(|| {
        sqlx::query_scalar(KEEP)
            .bind(account.account.as_str())
            .bind(account.attention_at().map(Time::micros))
            .bind(account.revision)
            .bind(account::slot(account))
            .bind(&doc)
            .fetch_optional(pool)
    })
    .await?;
    Ok(kept.is_some())
}

pub(super) async fn owed(
    pool: &PgPool,
    slots: &[Slot],
    after: Option<&Place>,
    limit: u32,
) -> Result<Vec<Account>, Error> {
    let (at, id) = account::bound(after);
    let due: Vec<String> = sqlx::query_scalar(OWED)
        .bind(columns::slot_numbers(slots))
        .bind(at)
        .bind(id)
        .bind(columns::rows(limit))
        .fetch_all(pool)
        .await
        .map_err(unread)?;
    due.iter().map(|doc| account::read(doc)).collect()
}

pub(super) async fn all(
    pool: &PgPool,
    after: Option<&AccountId>,
    limit: u32,
) -> Result<Vec<Account>, Error> {
    let found: Vec<String> = sqlx::query_scalar(select::ACCOUNTS)
        .bind(after.map_or("", AccountId::as_str))
        .bind(columns::rows(limit))
        .fetch_all(pool)
        .await
        .map_err(unread)?;
    found.iter().map(|doc| account::read(doc)).collect()
}
