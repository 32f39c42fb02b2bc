//! Memberships: the circles that an account belongs to.

use std::time::SystemTime;

use farewell_kit::export::{Column, Table};
use farewell_kit::store::{Store, micros};
use farewell_kit::{holder, interests, seal};
use sqlx::AnyConnection;

pub(crate) const SCHEMA: &str = "\
    CREATE TABLE IF NOT EXISTS membership (account TEXT NOT NULL, circle TEXT NOT NULL, joined_at BIGINT NOT NULL, \
        PRIMARY KEY (account, circle))";

/// What its owner may take along.
pub(crate) const EXPORT: Table = Table::new(
    "circles",
    &[Column::Text("circle"), Column::Time("joined")],
    "SELECT circle, circle, joined_at FROM membership WHERE account = $1 AND circle > $2 ORDER BY circle LIMIT $3",
)
.counted_as("memberships");

/// Joins a circle, which says what interests the person; joining again changes no membership.
///
/// Errors: [`seal::Error::Sealed`], [`seal::Error::Erased`].
pub async fn join(store: &Store, account: &str, circle: &str) -> Result<(), seal::Error> {
    let mut tx = store.pool().begin().await?;
    seal::admit(&mut tx, account).await?;
    insert(&mut tx, account, circle).await?;
    Ok(tx.commit().await?)
}

pub(crate) async fn insert(
    connection: &mut AnyConnection,
    account: &str,
    circle: &str,
) -> Result<(), sqlx::Error> {
    let now = SystemTime::now();
    sqlx::query(
        "INSERT INTO membership (account, circle, joined_at) VALUES ($1, $2, $3) \
         ON CONFLICT (account, circle) DO NOTHING",
    )
    .bind(account)
    .bind(circle)
    .bind(micros(now))
    .execute(&mut *connection)
    .await?;
    interests::note(connection, account, circle, now).await
}

pub(crate) async fn erase(
    connection: &mut AnyConnection,
    account: &str,
) -> Result<u64, sqlx::Error> {
    holder::erase(connection, "membership", account).await
}
