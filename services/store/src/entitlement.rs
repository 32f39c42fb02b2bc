//! Entitlements: discounts, and what only grown-ups may buy. Some were granted to a person whose real name was shown, and lapse
//! with it; the others stay.

use std::time::SystemTime;

use farewell_kit::export::{Column, Table};
use farewell_kit::seal;
use farewell_kit::store::{Store, micros};
use sqlx::AnyConnection;

use crate::transfer::{self, Parted};

/// `lapsed_at` is 0 while it can be used.
pub(crate) const SCHEMA: &str = "\
    CREATE TABLE IF NOT EXISTS entitlement (account TEXT NOT NULL, kind TEXT NOT NULL, \
        by_real_name BIGINT NOT NULL CHECK (by_real_name IN (0, 1)), granted_at BIGINT NOT NULL, \
        lapsed_at BIGINT NOT NULL, PRIMARY KEY (account, kind))";

/// What its owner may take along.
pub(crate) const EXPORT: Table = Table::new(
    "entitlements",
    &[
        Column::Text("kind"),
        Column::Flag("by_real_name"),
        Column::Time("granted"),
        Column::Time("lapsed"),
    ],
    "SELECT kind, kind, by_real_name, granted_at, lapsed_at FROM entitlement WHERE account = $1 AND kind > $2 \
     ORDER BY kind LIMIT $3",
);

/// Grants a kind of entitlement, for instance `student-discount` or `adult-content`, again if it had lapsed.
///
/// Errors: [`seal::Error::Sealed`], [`seal::Error::Frozen`], [`seal::Error::Erased`].
pub async fn grant_entitlement(
    store: &Store,
    account: &str,
    kind: &str,
    by_real_name: bool,
) -> Result<(), seal::Error> {
    let mut tx = store.pool().begin().await?;
    seal::admit(&mut tx, account).await?;
    sqlx::query(
        "INSERT INTO entitlement (account, kind, by_real_name, granted_at, lapsed_at) VALUES ($1, $2, $3, $4, 0) \
         ON CONFLICT (account, kind) DO UPDATE SET by_real_name = excluded.by_real_name, \
             granted_at = excluded.granted_at, lapsed_at = 0",
    )
    .bind(account)
    .bind(kind)
    .bind(i64::from(by_real_name))
    .bind(micros(SystemTime::now()))
    .execute(&mut *tx)
    .await?;
    Ok(tx.commit().await?)
}

/// What can be used, by kind.
///
/// Errors: the database is away.
pub async fn entitlements(store: &Store, account: &str) -> Result<Vec<String>, sqlx::Error> {
    let rows: Vec<(String,)> = sqlx::query_as(
        "SELECT kind FROM entitlement WHERE account = $1 AND lapsed_at = 0 ORDER BY kind",
    )
    .bind(account)
    .fetch_all(store.pool())
    .await?;
    Ok(rows.into_iter().map(|(kind,)| kind).collect())
}

/// Ends those that were granted to a real name.
pub(crate) async fn lapse(
    connection: &mut AnyConnection,
    account: &str,
) -> Result<u64, sqlx::Error> {
    let lapsed = sqlx::query(
        "UPDATE entitlement SET lapsed_at = $2 WHERE account = $1 AND by_real_name <> 0 AND lapsed_at = 0",
    )
    .bind(account)
    .bind(micros(SystemTime::now()))
    .execute(connection)
    .await?;
    Ok(lapsed.rows_affected())
}

/// Moves those that can be used, aren't tied to a real name, and that the other account hasn't itself.
pub(crate) async fn transfer(
    connection: &mut AnyConnection,
    (from, to): (&str, &str),
) -> Result<Parted, sqlx::Error> {
    sqlx::query(
        "DELETE FROM entitlement WHERE account = $2 AND lapsed_at <> 0 AND kind IN \
             (SELECT kind FROM entitlement WHERE account = $1 AND lapsed_at = 0 AND by_real_name = 0)",
    )
    .bind(from)
    .bind(to)
    .execute(&mut *connection)
    .await?;
    transfer::rows(
        connection,
        (from, to),
        "UPDATE entitlement SET account = $2 WHERE account = $1 AND lapsed_at = 0 AND by_real_name = 0 \
         AND kind NOT IN (SELECT kind FROM entitlement WHERE account = $2)",
        "SELECT COUNT(*) FROM entitlement WHERE account = $1 AND lapsed_at = 0",
    )
    .await
}
