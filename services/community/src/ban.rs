//! Bans. They close the community to an account and nothing else: never its deletion.

use std::time::SystemTime;

use farewell_kit::seal;
use farewell_kit::store::{Store, micros};
use sqlx::AnyConnection;

pub(crate) const SCHEMA: &str = "\
    CREATE TABLE IF NOT EXISTS ban (account TEXT PRIMARY KEY, reason TEXT NOT NULL, until BIGINT NOT NULL)";

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

pub(crate) async fn erase(
    connection: &mut AnyConnection,
    account: &str,
) -> Result<u64, sqlx::Error> {
    let deleted = sqlx::query("DELETE FROM ban WHERE account = $1")
        .bind(account)
        .execute(connection)
        .await?;
    Ok(deleted.rows_affected())
}
