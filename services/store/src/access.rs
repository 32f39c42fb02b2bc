//! The access log: who asked the store for what, from where and when.

use std::time::SystemTime;

use farewell_kit::export::{Column, Table};
use farewell_kit::seal;
use farewell_kit::store::{Store, micros};
use sqlx::AnyConnection;
use uuid::Uuid;

pub(crate) const TABLE: &str = "access_log";

pub(crate) const SCHEMA: &str = "\
    CREATE TABLE IF NOT EXISTS access_log (id TEXT PRIMARY KEY, account TEXT NOT NULL, address TEXT NOT NULL, \
        path TEXT NOT NULL, accessed_at BIGINT NOT NULL); \
    CREATE INDEX IF NOT EXISTS access_log_by_account ON access_log (account)";

/// What its owner may take along.
pub(crate) const EXPORT: Table = Table::new(
    "access_log",
    &[
        Column::Time("time"),
        Column::Text("address"),
        Column::Text("path"),
    ],
    "SELECT id, accessed_at, address, path FROM access_log WHERE account = $1 AND id > $2 ORDER BY id LIMIT $3",
);

/// What of a log entry has to be kept under law.
pub(crate) struct Entry {
    pub id: String,
    pub path: String,
    pub accessed_at: i64,
}

/// Writes an entry.
///
/// Errors: [`seal::Error::Sealed`], [`seal::Error::Erased`]: a refused request is no longer one of the account's.
pub async fn log_access(
    store: &Store,
    account: &str,
    address: &str,
    path: &str,
) -> Result<(), seal::Error> {
    let mut tx = store.pool().begin().await?;
    seal::admit(&mut tx, account).await?;
    insert(
        &mut tx,
        &Uuid::now_v7().to_string(),
        account,
        address,
        path,
        SystemTime::now(),
    )
    .await?;
    Ok(tx.commit().await?)
}

/// Writes the row; the same id again changes nothing.
pub(crate) async fn insert(
    connection: &mut AnyConnection,
    id: &str,
    account: &str,
    address: &str,
    path: &str,
    at: SystemTime,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO access_log (id, account, address, path, accessed_at) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (id) DO NOTHING",
    )
    .bind(id)
    .bind(account)
    .bind(address)
    .bind(path)
    .bind(micros(at))
    .execute(connection)
    .await
    .map(drop)
}

/// Every entry of the account.
pub(crate) async fn entries(
    connection: &mut AnyConnection,
    account: &str,
) -> Result<Vec<Entry>, sqlx::Error> {
    let rows: Vec<(String, String, i64)> = sqlx::query_as(
        "SELECT id, path, accessed_at FROM access_log WHERE account = $1 ORDER BY accessed_at, id",
    )
    .bind(account)
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .map(|(id, path, accessed_at)| Entry {
            id,
            path,
            accessed_at,
        })
        .collect())
}
