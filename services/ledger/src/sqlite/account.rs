//! Accounts, with their requests as one document each.

use farewell_core::account::Account;
use farewell_core::{AccountId, Slot};
use sqlx::SqlitePool;

use super::connection::{Writer, unread};
use super::moved::json;
use crate::account::{self, Place};
use crate::{Error, clock, columns, select};

/// A row that isn't there has the revision 0.
const KEEP: &str = "
INSERT INTO account (account, attention_at, revision, slot, doc)
SELECT $1, $2, $3, $4, $5
WHERE $3 = 1 OR EXISTS (SELECT 1 FROM account WHERE account = $1)
ON CONFLICT (account) DO UPDATE
SET attention_at = excluded.attention_at, revision = excluded.revision, doc = excluded.doc
WHERE account.revision = excluded.revision - 1
RETURNING revision;
COMMIT";

/// Each slot is one range of the index, read no further than the page needs.
const OWED: &str = "
SELECT a.doc FROM json_each($1) AS s CROSS JOIN account AS a
WHERE a.account IN (
    SELECT due.account FROM account AS due
    WHERE due.slot = s.value AND due.attention_at IS NOT NULL AND due.attention_at <= $2
      AND (due.attention_at, due.account) > ($3, $4)
    ORDER BY due.attention_at, due.account LIMIT $5)
ORDER BY a.attention_at, a.account LIMIT $5";

pub(super) async fn get(pool: &SqlitePool, id: &AccountId) -> Result<Option<Account>, Error> {
    let doc: Option<String> = sqlx::query_scalar(select::ACCOUNT)
        .bind(id.as_str())
        .fetch_optional(pool)
        .await
        .map_err(unread)?;
    doc.as_deref().map(account::read).transpose()
}

pub(super) async fn keep(writer: &Writer, account: &Account) -> Result<bool, Error> {
    let doc = account::written(account)?;
    let held = writer.begin(None).await?;
    let keep = sqlx::query(KEEP)
        .bind(account.account.as_str().to_owned())
        .bind(account.attention_at().map(farewell_core::Time::micros))
        .bind(account.revision)
        .bind(account::slot(account))
        .bind(doc);
    Ok(!held.end(keep).await?.is_empty())
}

pub(super) async fn owed(
    pool: &SqlitePool,
    slots: &[Slot],
    after: Option<&Place>,
    limit: u32,
) -> Result<Vec<Account>, Error> {
    let (at, id) = account::bound(after);
    let due: Vec<String> = sqlx::query_scalar(OWED)
        .bind(json(&columns::slot_numbers(slots)))
        .bind(clock().micros())
        .bind(at)
        .bind(id)
        .bind(columns::rows(limit))
        .fetch_all(pool)
        .await
        .map_err(unread)?;
    due.iter().map(|doc| account::read(doc)).collect()
}

pub(super) async fn all(
    pool: &SqlitePool,
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
