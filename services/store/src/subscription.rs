//! Subscriptions: paid again and again until they are cancelled.

use farewell_kit::export::{Column, Table};
use farewell_kit::seal;
use farewell_kit::store::Store;
use sqlx::AnyConnection;

use crate::transfer::{self, Parted};

pub(crate) const SCHEMA: &str = "\
    CREATE TABLE IF NOT EXISTS subscription (account TEXT NOT NULL, plan TEXT NOT NULL, active BIGINT NOT NULL, \
        PRIMARY KEY (account, plan))";

/// What its owner may take along.
pub(crate) const EXPORT: Table = Table::new(
    "subscriptions",
    &[Column::Text("plan"), Column::Flag("active")],
    "SELECT plan, plan, active FROM subscription WHERE account = $1 AND plan > $2 ORDER BY plan LIMIT $3",
);

/// Subscribes to a plan, again if it was cancelled.
///
/// Errors: [`seal::Error::Sealed`], [`seal::Error::Erased`].
pub async fn subscribe(store: &Store, account: &str, plan: &str) -> Result<(), seal::Error> {
    let mut tx = store.pool().begin().await?;
    seal::admit(&mut tx, account).await?;
    sqlx::query(
        "INSERT INTO subscription (account, plan, active) VALUES ($1, $2, 1) \
         ON CONFLICT (account, plan) DO UPDATE SET active = 1",
    )
    .bind(account)
    .bind(plan)
    .execute(&mut *tx)
    .await?;
    Ok(tx.commit().await?)
}

/// Cancels every subscription. Also while sealed: it removes a blocker.
///
/// Errors: [`seal::Error::Erased`].
pub async fn cancel_subscriptions(store: &Store, account: &str) -> Result<(), seal::Error> {
    let mut tx = store.pool().begin().await?;
    seal::admit_though_sealed(&mut tx, account).await?;
    sqlx::query("UPDATE subscription SET active = 0 WHERE account = $1")
        .bind(account)
        .execute(&mut *tx)
        .await?;
    Ok(tx.commit().await?)
}

/// A subscription that ended already; a second time changes nothing.
pub(crate) async fn insert_ended(
    connection: &mut AnyConnection,
    account: &str,
    plan: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO subscription (account, plan, active) VALUES ($1, $2, 0) ON CONFLICT (account, plan) DO NOTHING",
    )
    .bind(account)
    .bind(plan)
    .execute(connection)
    .await
    .map(drop)
}

/// Moves every active subscription that the other account hasn't itself: one that has ended there goes on.
pub(crate) async fn transfer(
    connection: &mut AnyConnection,
    (from, to): (&str, &str),
) -> Result<Parted, sqlx::Error> {
    sqlx::query(
        "DELETE FROM subscription WHERE account = $2 AND active = 0 \
         AND plan IN (SELECT plan FROM subscription WHERE account = $1 AND active <> 0)",
    )
    .bind(from)
    .bind(to)
    .execute(&mut *connection)
    .await?;
    transfer::rows(
        connection,
        (from, to),
        "UPDATE subscription SET account = $2 WHERE account = $1 AND active <> 0 \
         AND plan NOT IN (SELECT plan FROM subscription WHERE account = $2)",
        "SELECT COUNT(*) FROM subscription WHERE account = $1 AND active <> 0",
    )
    .await
}
