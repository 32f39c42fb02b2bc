//! Bans. They close the community to an account and nothing else: never its deletion.

use std::time::SystemTime;

use farewell_kit::export::{Column, Table};
use farewell_kit::store::{Store, micros, time};
use farewell_kit::{holder, seal};
use sqlx::AnyConnection;

pub(crate) const SCHEMA: &str = "\
    CREATE TABLE IF NOT EXISTS ban (account TEXT PRIMARY KEY, reason TEXT NOT NULL, until BIGINT NOT NULL)";

/// What its owner may take along.
pub(crate) const EXPORT: Table = Table::new(
    "bans",
    &[Column::Text("reason"), Column::Time("until")],
    "SELECT account, reason, until FROM ban WHERE account = $1 AND account > $2 ORDER BY account LIMIT $3",
);

/// Bans the account until then; a later ban replaces an earlier one.
///
/// Errors: [`seal::Error::Sealed`] (it can't write as it is), [`seal::Error::Erased`].
pub async fn ban(
    store: &Store,
    account: &str,
    reason: &str,
    until: SystemTime,
) -> Result<(), seal::Error> {
    let mut tx = store.pool().begin().await?;
    seal::admit(&mut tx, account).await?;
    sqlx::query(
        "INSERT INTO ban (account, reason, until) VALUES ($1, $2, $3) \
         ON CONFLICT (account) DO UPDATE SET reason = excluded.reason, until = excluded.until",
    )
    .bind(account)
    .bind(reason)
    .bind(micros(until))
    .execute(&mut *tx)
    .await?;
    Ok(tx.commit().await?)
}

/// Lifts a ban. Also while sealed: it changes nothing that a seal protects. `false`: there was none.
///
/// Errors: [`seal::Error::Erased`].
pub async fn lift_ban(store: &Store, account: &str) -> Result<bool, seal::Error> {
    let mut tx = store.pool().begin().await?;
    seal::admit_though_sealed(&mut tx, account).await?;
    let lifted = erase(&mut tx, account).await? > 0;
    tx.commit().await?;
    Ok(lifted)
}

/// When the ban that stands ends; `None`: there is none, or it is over.
pub(crate) async fn until(
    connection: &mut AnyConnection,
    account: &str,
    now: SystemTime,
) -> Result<Option<SystemTime>, sqlx::Error> {
    let row: Option<(i64,)> =
        sqlx::query_as("SELECT until FROM ban WHERE account = $1 AND until > $2")
            .bind(account)
            .bind(micros(now))
            .fetch_optional(connection)
            .await?;
    Ok(row.map(|(until,)| time(until)))
}

pub(crate) async fn erase(
    connection: &mut AnyConnection,
    account: &str,
) -> Result<u64, sqlx::Error> {
    holder::erase(connection, "ban", account).await
}
