//! What the account let other companies' apps do in its name.

use std::time::SystemTime;

use farewell_kit::export::{Column, Table};
use farewell_kit::store::{Store, micros};
use farewell_kit::{holder, seal};
use sqlx::AnyConnection;

/// `revoked_at` is 0 while the grant stands.
pub(crate) const SCHEMA: &str = "\
    CREATE TABLE IF NOT EXISTS app_grant (account TEXT NOT NULL, app TEXT NOT NULL, granted_at BIGINT NOT NULL, \
        revoked_at BIGINT NOT NULL, PRIMARY KEY (account, app))";

/// What its owner may take along.
pub(crate) const EXPORT: Table = Table::new(
    "third_party_apps",
    &[
        Column::Text("app"),
        Column::Time("granted"),
        Column::Time("revoked"),
    ],
    "SELECT app, app, granted_at, revoked_at FROM app_grant WHERE account = $1 AND app > $2 ORDER BY app LIMIT $3",
)
.counted_as("third_party_grants");

/// Lets an app act for the account, again if that was revoked.
///
/// Errors: [`seal::Error::Sealed`], [`seal::Error::Erased`].
pub async fn grant(store: &Store, account: &str, app: &str) -> Result<(), seal::Error> {
    let mut tx = store.pool().begin().await?;
    seal::admit(&mut tx, account).await?;
    sqlx::query(
        "INSERT INTO app_grant (account, app, granted_at, revoked_at) VALUES ($1, $2, $3, 0) \
         ON CONFLICT (account, app) DO UPDATE SET granted_at = excluded.granted_at, revoked_at = 0",
    )
    .bind(account)
    .bind(app)
    .bind(micros(SystemTime::now()))
    .execute(&mut *tx)
    .await?;
    Ok(tx.commit().await?)
}

/// Revokes every grant. Also while sealed: it removes a blocker.
///
/// Errors: [`seal::Error::Erased`].
pub async fn revoke_grants(store: &Store, account: &str) -> Result<(), seal::Error> {
    let mut tx = store.pool().begin().await?;
    seal::admit_though_sealed(&mut tx, account).await?;
    sqlx::query("UPDATE app_grant SET revoked_at = $2 WHERE account = $1 AND revoked_at = 0")
        .bind(account)
        .bind(micros(SystemTime::now()))
        .execute(&mut *tx)
        .await?;
    Ok(tx.commit().await?)
}

/// A grant that was revoked already; a second time changes nothing.
pub(crate) async fn insert_revoked(
    connection: &mut AnyConnection,
    account: &str,
    app: &str,
    at: SystemTime,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO app_grant (account, app, granted_at, revoked_at) VALUES ($1, $2, $3, $3) \
         ON CONFLICT (account, app) DO NOTHING",
    )
    .bind(account)
    .bind(app)
    .bind(micros(at))
    .execute(connection)
    .await
    .map(drop)
}

pub(crate) async fn erase(
    connection: &mut AnyConnection,
    account: &str,
) -> Result<u64, sqlx::Error> {
    holder::erase(connection, "app_grant", account).await
}
