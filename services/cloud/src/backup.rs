//! Backups of devices.

use std::time::SystemTime;

use farewell_kit::store::{Store, micros};
use farewell_kit::{holder, seal};
use sqlx::AnyConnection;
use uuid::Uuid;

pub(crate) const SCHEMA: &str = "\
    CREATE TABLE IF NOT EXISTS backup (id TEXT PRIMARY KEY, account TEXT NOT NULL, device TEXT NOT NULL, \
        content BLOB NOT NULL, made_at BIGINT NOT NULL); \
    CREATE INDEX IF NOT EXISTS backup_by_account ON backup (account)";

/// Keeps a backup of a device and gives its id.
///
/// Errors: [`seal::Error::Sealed`], [`seal::Error::Erased`].
pub async fn add_backup(
    store: &Store,
    account: &str,
    device: &str,
    content: Vec<u8>,
) -> Result<String, seal::Error> {
    let id = Uuid::now_v7().to_string();
    let mut tx = store.pool().begin().await?;
    seal::admit(&mut tx, account).await?;
    insert(&mut tx, &id, account, device, content).await?;
    tx.commit().await?;
    Ok(id)
}

/// Writes the row; the same id again changes nothing.
pub(crate) async fn insert(
    connection: &mut AnyConnection,
    id: &str,
    account: &str,
    device: &str,
    content: Vec<u8>,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO backup (id, account, device, content, made_at) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (id) DO NOTHING",
    )
    .bind(id)
    .bind(account)
    .bind(device)
    .bind(content)
    .bind(micros(SystemTime::now()))
    .execute(connection)
    .await
    .map(drop)
}

/// Bytes of the account's backups.
pub(crate) async fn size_bytes(
    connection: &mut AnyConnection,
    account: &str,
) -> Result<i64, sqlx::Error> {
    let (bytes,): (i64,) = sqlx::query_as(
        "SELECT CAST(COALESCE(SUM(OCTET_LENGTH(content)), 0) AS BIGINT) FROM backup WHERE account = $1",
    )
    .bind(account)
    .fetch_one(connection)
    .await?;
    Ok(bytes)
}

pub(crate) async fn erase(
    connection: &mut AnyConnection,
    account: &str,
) -> Result<u64, sqlx::Error> {
    holder::erase(connection, "backup", account).await
}
