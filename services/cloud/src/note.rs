//! Notes.

use farewell_kit::seal;
use farewell_kit::store::Store;
use sqlx::AnyConnection;
use uuid::Uuid;

pub(crate) const SCHEMA: &str = "\
    CREATE TABLE IF NOT EXISTS note (id TEXT PRIMARY KEY, account TEXT NOT NULL, text TEXT NOT NULL); \
    CREATE INDEX IF NOT EXISTS note_by_account ON note (account)";

/// Adds a note and gives its id.
///
/// Errors: [`seal::Error::Sealed`], [`seal::Error::Erased`].
pub async fn add_note(store: &Store, account: &str, text: &str) -> Result<String, seal::Error> {
    let id = Uuid::now_v7().to_string();
    let mut tx = store.pool().begin().await?;
    seal::admit(&mut tx, account).await?;
    insert(&mut tx, &id, account, text).await?;
    tx.commit().await?;
    Ok(id)
}

/// Writes the row; the same id again changes nothing.
pub(crate) async fn insert(
    connection: &mut AnyConnection,
    id: &str,
    account: &str,
    text: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO note (id, account, text) VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING",
    )
    .bind(id)
    .bind(account)
    .bind(text)
    .execute(connection)
    .await
    .map(drop)
}

pub(crate) async fn erase(
    connection: &mut AnyConnection,
    account: &str,
) -> Result<u64, sqlx::Error> {
    let deleted = sqlx::query("DELETE FROM note WHERE account = $1")
        .bind(account)
        .execute(connection)
        .await?;
    Ok(deleted.rows_affected())
}
