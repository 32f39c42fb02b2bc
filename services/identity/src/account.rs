//! Accounts, and the flags that security sets on them.

use std::time::SystemTime;

use farewell_kit::export::{Column, Table};
use farewell_kit::store::{Store, micros};
use farewell_kit::{AccountDescription, IdentifierKind, holder, seal};
use sqlx::AnyConnection;

use crate::{home, identifier};

/// `normal` is the user name as it is compared: see [`crate::identifier`].
pub(crate) const SCHEMA: &str = "\
    CREATE TABLE IF NOT EXISTS account (account TEXT PRIMARY KEY, user_name TEXT NOT NULL, \
        frozen BIGINT NOT NULL CHECK (frozen IN (0, 1)), risk_locked BIGINT NOT NULL CHECK (risk_locked IN (0, 1)), \
        registered_at BIGINT NOT NULL, normal TEXT)";

/// What its owner may take along.
pub(crate) const EXPORT: Table = Table::new(
    "profile",
    &[Column::Text("user_name"), Column::Time("registered")],
    "SELECT account, user_name, registered_at FROM account WHERE account = $1 AND account > $2 ORDER BY account LIMIT $3",
)
.counted_as("accounts");

/// Registers an account. `false`: it is there already, and stays as it is.
///
/// Errors: [`seal::Error::Erased`]: an erased account is never made again.
pub async fn register(store: &Store, account: &str, user_name: &str) -> Result<bool, seal::Error> {
    let mut tx = store.pool().begin().await?;
    seal::admit(&mut tx, account).await?;
    let made = insert(&mut tx, account, user_name, SystemTime::now()).await?;
    tx.commit().await?;
    Ok(made)
}

/// Freezes the account, or lifts that. Security may at any time, also while sealed. `false`: no such account.
///
/// Errors: [`seal::Error::Erased`].
pub async fn set_frozen(store: &Store, account: &str, frozen: bool) -> Result<bool, seal::Error> {
    set(
        store,
        account,
        "UPDATE account SET frozen = $2 WHERE account = $1",
        frozen,
    )
    .await
}

/// Sets the lock of risk control, or lifts it. Security may at any time, also while sealed. `false`: no such account.
///
/// Errors: [`seal::Error::Erased`].
pub async fn set_risk_lock(
    store: &Store,
    account: &str,
    locked: bool,
) -> Result<bool, seal::Error> {
    set(
        store,
        account,
        "UPDATE account SET risk_locked = $2 WHERE account = $1",
        locked,
    )
    .await
}

/// Writes the row; a second time changes nothing.
pub(crate) async fn insert(
    connection: &mut AnyConnection,
    account: &str,
    user_name: &str,
    registered: SystemTime,
) -> Result<bool, sqlx::Error> {
    let made = sqlx::query(
        "INSERT INTO account (account, user_name, frozen, risk_locked, registered_at, normal) VALUES ($1, $2, 0, 0, $3, $4) \
         ON CONFLICT (account) DO NOTHING",
    )
    .bind(account)
    .bind(user_name)
    .bind(micros(registered))
    .bind(identifier::normal(IdentifierKind::UserName, user_name).unwrap_or_default())
    .execute(&mut *connection)
    .await?;
    home::is_here(connection, account).await?;
    Ok(made.rows_affected() == 1)
}

pub(crate) async fn exists(
    connection: &mut AnyConnection,
    account: &str,
) -> Result<bool, sqlx::Error> {
    let row: Option<(String,)> = sqlx::query_as("SELECT account FROM account WHERE account = $1")
        .bind(account)
        .fetch_optional(connection)
        .await?;
    Ok(row.is_some())
}

/// Whether there is such an account, whether security has frozen it, and where else it is.
pub(crate) async fn describe(
    connection: &mut AnyConnection,
    account: &str,
) -> Result<AccountDescription, sqlx::Error> {
    // One statement whether it is known or not: how long it takes says nothing.
    let (frozen, elsewhere): (Option<i64>, Option<String>) = sqlx::query_as(
        "SELECT (SELECT frozen FROM account WHERE account = $1), (SELECT region FROM elsewhere WHERE account = $2)",
    )
    .bind(account)
    .bind(seal::mark(account))
    .fetch_one(connection)
    .await?;
    Ok(AccountDescription {
        known: frozen.is_some(),
        frozen_by_security: frozen.is_some_and(|frozen| frozen != 0),
        elsewhere: elsewhere.filter(|_| frozen.is_none()),
    })
}

pub(crate) async fn erase(
    connection: &mut AnyConnection,
    account: &str,
) -> Result<u64, sqlx::Error> {
    holder::erase(connection, "account", account).await
}

async fn set(
    store: &Store,
    account: &str,
    statement: &'static str,
    flag: bool,
) -> Result<bool, seal::Error> {
    let mut tx = store.pool().begin().await?;
    seal::admit_though_sealed(&mut tx, account).await?;
    let changed = sqlx::query(statement)
        .bind(account)
        .bind(i64::from(flag))
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(changed.rows_affected() == 1)
}
