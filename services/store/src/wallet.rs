//! The wallet: money of the account's that the store holds.

use farewell_kit::export::{Column, Table};
use farewell_kit::store::Store;
use farewell_kit::{holder, seal};
use sqlx::AnyConnection;

use crate::transfer::Parted;

pub(crate) const SCHEMA: &str = "\
    CREATE TABLE IF NOT EXISTS wallet (account TEXT PRIMARY KEY, balance_cents BIGINT NOT NULL CHECK (balance_cents >= 0))";

/// What its owner may take along.
pub(crate) const EXPORT: Table = Table::new(
    "wallet",
    &[Column::Cents("balance")],
    "SELECT account, balance_cents FROM wallet WHERE account = $1 AND account > $2 ORDER BY account LIMIT $3",
)
.counted_as("wallets");

/// Adds to the balance, in hundredths of the currency.
///
/// Errors: [`seal::Error::Sealed`], [`seal::Error::Erased`].
pub async fn top_up(store: &Store, account: &str, amount_cents: u32) -> Result<(), seal::Error> {
    let mut tx = store.pool().begin().await?;
    seal::admit(&mut tx, account).await?;
    add(&mut tx, account, i64::from(amount_cents)).await?;
    Ok(tx.commit().await?)
}

/// Pays the whole balance out and gives its amount. Also while sealed: it removes a blocker.
///
/// Errors: [`seal::Error::Erased`].
pub async fn pay_out(store: &Store, account: &str) -> Result<i64, seal::Error> {
    let mut tx = store.pool().begin().await?;
    seal::admit_though_sealed(&mut tx, account).await?;
    let balance = balance(&mut tx, account).await?;
    sqlx::query("UPDATE wallet SET balance_cents = 0 WHERE account = $1")
        .bind(account)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(balance)
}

pub(crate) async fn add(
    connection: &mut AnyConnection,
    account: &str,
    amount_cents: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO wallet (account, balance_cents) VALUES ($1, $2) \
         ON CONFLICT (account) DO UPDATE SET balance_cents = wallet.balance_cents + excluded.balance_cents",
    )
    .bind(account)
    .bind(amount_cents)
    .execute(connection)
    .await
    .map(drop)
}

/// Moves the whole balance. `None`: more than can be counted.
pub(crate) async fn transfer(
    connection: &mut AnyConnection,
    (from, to): (&str, &str),
) -> Result<Option<Parted>, sqlx::Error> {
    let (moved, left) = (balance(connection, from).await?, 0);
    if moved > 0 {
        let there = balance(connection, to).await?;
        if there.checked_add(moved).is_none() {
            return Ok(None);
        }
        holder::erase(connection, "wallet", from).await?;
        add(connection, to, moved).await?;
    }
    Ok(Some(Parted { moved, left }))
}

async fn balance(connection: &mut AnyConnection, account: &str) -> Result<i64, sqlx::Error> {
    let row: Option<(i64,)> = sqlx::query_as("SELECT balance_cents FROM wallet WHERE account = $1")
        .bind(account)
        .fetch_optional(connection)
        .await?;
    Ok(row.map_or(0, |(cents,)| cents))
}
