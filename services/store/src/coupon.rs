//! Coupons: left until used or explicitly given up.

use farewell_kit::export::{Column, Table};
use farewell_kit::seal;
use farewell_kit::store::Store;
use sqlx::AnyConnection;
use uuid::Uuid;

use crate::transfer::{self, Parted};

pub(crate) const SCHEMA: &str = "\
    CREATE TABLE IF NOT EXISTS coupon (id TEXT PRIMARY KEY, account TEXT NOT NULL, \
        state TEXT NOT NULL CHECK (state IN ('LEFT', 'USED', 'FORFEITED')), worth_cents BIGINT NOT NULL); \
    CREATE INDEX IF NOT EXISTS coupon_by_account ON coupon (account)";

/// What its owner may take along.
pub(crate) const EXPORT: Table = Table::new(
    "coupons",
    &[
        Column::Text("id"),
        Column::Text("state"),
        Column::Cents("worth"),
    ],
    "SELECT id, id, state, worth_cents FROM coupon WHERE account = $1 AND id > $2 ORDER BY id LIMIT $3",
);

/// Gives the account a coupon, worth so many hundredths of the currency, and gives its id.
///
/// Errors: [`seal::Error::Sealed`], [`seal::Error::Erased`].
pub async fn grant_coupon(
    store: &Store,
    account: &str,
    worth_cents: u32,
) -> Result<String, seal::Error> {
    let id = Uuid::now_v7().to_string();
    let mut tx = store.pool().begin().await?;
    seal::admit(&mut tx, account).await?;
    insert(&mut tx, &id, account, "LEFT", worth_cents).await?;
    tx.commit().await?;
    Ok(id)
}

/// The person gives up every coupon that is left. Also while sealed: it removes a blocker.
///
/// Errors: [`seal::Error::Erased`].
pub async fn forfeit_coupons(store: &Store, account: &str) -> Result<(), seal::Error> {
    let mut tx = store.pool().begin().await?;
    seal::admit_though_sealed(&mut tx, account).await?;
    sqlx::query("UPDATE coupon SET state = 'FORFEITED' WHERE account = $1 AND state = 'LEFT'")
        .bind(account)
        .execute(&mut *tx)
        .await?;
    Ok(tx.commit().await?)
}

/// Writes the row; the same id again changes nothing.
pub(crate) async fn insert(
    connection: &mut AnyConnection,
    id: &str,
    account: &str,
    state: &str,
    worth_cents: u32,
) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO coupon (id, account, state, worth_cents) VALUES ($1, $2, $3, $4) ON CONFLICT (id) DO NOTHING")
        .bind(id)
        .bind(account)
        .bind(state)
        .bind(i64::from(worth_cents))
        .execute(connection)
        .await
        .map(drop)
}

/// Moves every coupon that can still be used.
pub(crate) async fn transfer(
    connection: &mut AnyConnection,
    accounts: (&str, &str),
) -> Result<Parted, sqlx::Error> {
    transfer::rows(
        connection,
        accounts,
        "UPDATE coupon SET account = $2 WHERE account = $1 AND state = 'LEFT'",
        "SELECT COUNT(*) FROM coupon WHERE account = $1",
    )
    .await
}
