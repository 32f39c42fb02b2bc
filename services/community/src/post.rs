//! Posts: what an account began a thread with.

use std::time::SystemTime;

use farewell_kit::export::{Column, Table};
use farewell_kit::seal;
use farewell_kit::store::{Store, micros};
use sqlx::AnyConnection;
use uuid::Uuid;

/// A post without account and text is what is left of an erased one that others have commented on.
pub(crate) const SCHEMA: &str = "\
    CREATE TABLE IF NOT EXISTS post (id TEXT PRIMARY KEY, account TEXT, text TEXT, posted_at BIGINT NOT NULL, \
        CHECK ((account IS NULL) = (text IS NULL))); \
    CREATE INDEX IF NOT EXISTS post_by_account ON post (account)";

/// What its owner may take along.
pub(crate) const EXPORT: Table = Table::new(
    "posts",
    &[
        Column::Text("id"),
        Column::Time("time"),
        Column::Text("text"),
    ],
    "SELECT id, id, posted_at, text FROM post WHERE account = $1 AND id > $2 ORDER BY id LIMIT $3",
);

/// Publishes a post and gives its id.
///
/// Errors: [`seal::Error::Sealed`], [`seal::Error::Erased`].
pub async fn post(store: &Store, account: &str, text: &str) -> Result<String, seal::Error> {
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
        "INSERT INTO post (id, account, text, posted_at) VALUES ($1, $2, $3, $4) ON CONFLICT (id) DO NOTHING",
    )
    .bind(id)
    .bind(account)
    .bind(text)
    .bind(micros(SystemTime::now()))
    .execute(connection)
    .await
    .map(drop)
}

/// Erases every post of the account. Where others have commented, an empty place stays that says nothing of anybody:
/// their words are not ours to delete. Comments of the account itself must be gone before.
pub(crate) async fn erase(
    connection: &mut AnyConnection,
    account: &str,
) -> Result<u64, sqlx::Error> {
    let emptied = sqlx::query(
        "UPDATE post SET account = NULL, text = NULL, posted_at = 0 \
         WHERE account = $1 AND EXISTS (SELECT 1 FROM comment WHERE comment.post = post.id)",
    )
    .bind(account)
    .execute(&mut *connection)
    .await?;
    let deleted = sqlx::query("DELETE FROM post WHERE account = $1")
        .bind(account)
        .execute(connection)
        .await?;
    Ok(emptied.rows_affected() + deleted.rows_affected())
}
