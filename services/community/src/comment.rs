//! Comments on posts.

use std::time::SystemTime;

use farewell_kit::export::{Column, Table};
use farewell_kit::store::{Store, micros};
use farewell_kit::{holder, seal};
use sqlx::AnyConnection;
use uuid::Uuid;

pub(crate) const SCHEMA: &str = "\
    CREATE TABLE IF NOT EXISTS comment (id TEXT PRIMARY KEY, post TEXT NOT NULL, account TEXT NOT NULL, \
        text TEXT NOT NULL, commented_at BIGINT NOT NULL); \
    CREATE INDEX IF NOT EXISTS comment_by_account ON comment (account); \
    CREATE INDEX IF NOT EXISTS comment_by_post ON comment (post)";

/// What its owner may take along. The post may be somebody else's: it is named, and not shown.
pub(crate) const EXPORT: Table = Table::new(
    "comments",
    &[
        Column::Text("id"),
        Column::Text("post"),
        Column::Time("time"),
        Column::Text("text"),
    ],
    "SELECT id, id, post, commented_at, text FROM comment WHERE account = $1 AND id > $2 ORDER BY id LIMIT $3",
);

/// Why a comment was not taken.
#[derive(Debug, thiserror::Error)]
pub enum CommentError {
    /// There is no such post, or its author is gone.
    #[error("there is no such post")]
    NoPost,
    /// The account may not write.
    #[error(transparent)]
    Write(#[from] seal::Error),
}

impl From<sqlx::Error> for CommentError {
    fn from(error: sqlx::Error) -> Self {
        Self::Write(seal::Error::Database(error))
    }
}

/// Comments on a post and gives the comment's id.
///
/// Errors: [`CommentError::NoPost`]; [`seal::Error::Sealed`] and [`seal::Error::Erased`] inside of
/// [`CommentError::Write`].
pub async fn comment(
    store: &Store,
    account: &str,
    post: &str,
    text: &str,
) -> Result<String, CommentError> {
    let id = Uuid::now_v7().to_string();
    let mut tx = store.pool().begin().await?;
    seal::admit(&mut tx, account).await?;
    let there: Option<(String,)> =
        sqlx::query_as("SELECT id FROM post WHERE id = $1 AND account IS NOT NULL")
            .bind(post)
            .fetch_optional(&mut *tx)
            .await?;
    if there.is_none() {
        return Err(CommentError::NoPost);
    }
    insert(&mut tx, &id, account, post, text).await?;
    tx.commit().await?;
    Ok(id)
}

/// Writes the row; the same id again changes nothing.
pub(crate) async fn insert(
    connection: &mut AnyConnection,
    id: &str,
    account: &str,
    post: &str,
    text: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO comment (id, post, account, text, commented_at) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (id) DO NOTHING",
    )
    .bind(id)
    .bind(post)
    .bind(account)
    .bind(text)
    .bind(micros(SystemTime::now()))
    .execute(connection)
    .await
    .map(drop)
}

pub(crate) async fn erase(
    connection: &mut AnyConnection,
    account: &str,
) -> Result<u64, sqlx::Error> {
    holder::erase(connection, "comment", account).await
}
