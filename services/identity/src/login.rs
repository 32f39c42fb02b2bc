//! Login sessions. A seal ends them; lifting it brings those back that it ended: everything is as it was.

use std::time::SystemTime;

use farewell_kit::export::{Column, Table};
use farewell_kit::store::{Store, micros};
use farewell_kit::{Fault, holder, seal};
use sqlx::AnyConnection;
use uuid::Uuid;

use crate::credential::{self, Hasher};

/// `ended_at` is 0 while the session lives.
pub(crate) const SCHEMA: &str = "\
    CREATE TABLE IF NOT EXISTS login (id TEXT PRIMARY KEY, account TEXT NOT NULL, agent TEXT NOT NULL, \
        started_at BIGINT NOT NULL, ended_at BIGINT NOT NULL); \
    CREATE INDEX IF NOT EXISTS login_by_account ON login (account); \
    CREATE TABLE IF NOT EXISTS login_sealed (id TEXT PRIMARY KEY, account TEXT NOT NULL)";

/// What its owner may take along: where somebody was logged in, and nothing that logs anybody in.
pub(crate) const EXPORT: Table = Table::new(
    "logins",
    &[
        Column::Text("agent"),
        Column::Time("started"),
        Column::Time("ended"),
    ],
    "SELECT id, agent, started_at, ended_at FROM login WHERE account = $1 AND id > $2 ORDER BY id LIMIT $3",
);

/// Why nobody was logged in.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// Account or password: which of them is not told.
    #[error("account or password is wrong")]
    Wrong,
    /// Frozen by security, or locked by risk control.
    #[error("the account is locked")]
    Locked,
    /// The account may not be used.
    #[error(transparent)]
    Write(#[from] seal::Error),
    /// The password could not be compared.
    #[error("the password can't be compared")]
    Hashing(#[source] Fault),
}

impl From<sqlx::Error> for LoginError {
    fn from(error: sqlx::Error) -> Self {
        Self::Write(seal::Error::Database(error))
    }
}

/// Logs in with a password and gives the session's id. Limits on tries are the caller's: it knows the address.
///
/// Errors: see [`LoginError`]; a sealed or frozen account is [`LoginError::Write`] with [`seal::Error::Sealed`] or
/// [`seal::Error::Frozen`].
pub async fn log_in(
    store: &Store,
    hasher: &Hasher,
    account: &str,
    password: &str,
    agent: &str,
) -> Result<String, LoginError> {
    // The slow part without a connection: SQLite has only one.
    let hash = {
        let mut connection = store.pool().acquire().await?;
        credential::hash_of(&mut connection, account).await?
    };
    // Without a password it takes as long: the time must not tell who has an account.
    let dummy = hasher.dummy();
    let right = hasher
        .matches(hash.as_ref().unwrap_or(&dummy), password)
        .await
        .map_err(LoginError::Hashing)?
        && hash.is_some();
    let mut tx = store.pool().begin().await?;
    seal::admit(&mut tx, account).await?;
    // Somebody may have changed the password in the meantime.
    if !right || credential::hash_of(&mut tx, account).await? != hash {
        return Err(LoginError::Wrong);
    }
    let open: Option<(String,)> = sqlx::query_as(
        "SELECT account FROM account WHERE account = $1 AND frozen = 0 AND risk_locked = 0",
    )
    .bind(account)
    .fetch_optional(&mut *tx)
    .await?;
    if open.is_none() {
        return Err(LoginError::Locked);
    }
    let id = Uuid::new_v4().to_string();
    insert(&mut tx, &id, account, agent, SystemTime::now()).await?;
    tx.commit().await?;
    Ok(id)
}

/// Whether the session lives.
///
/// Errors: the database is away.
pub async fn is_logged_in(store: &Store, session: &str) -> Result<bool, sqlx::Error> {
    let row: Option<(String,)> =
        sqlx::query_as("SELECT id FROM login WHERE id = $1 AND ended_at = 0")
            .bind(session)
            .fetch_optional(store.pool())
            .await?;
    Ok(row.is_some())
}

/// Writes the row; the same id again changes nothing.
pub(crate) async fn insert(
    connection: &mut AnyConnection,
    id: &str,
    account: &str,
    agent: &str,
    started: SystemTime,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO login (id, account, agent, started_at, ended_at) VALUES ($1, $2, $3, $4, 0) \
         ON CONFLICT (id) DO NOTHING",
    )
    .bind(id)
    .bind(account)
    .bind(agent)
    .bind(micros(started))
    .execute(connection)
    .await
    .map(drop)
}

/// The sessions that live, or did when the account was sealed.
pub(crate) async fn devices(
    connection: &mut AnyConnection,
    account: &str,
) -> Result<Vec<String>, sqlx::Error> {
    let rows: Vec<(String,)> = sqlx::query_as(
        "SELECT id FROM login WHERE account = $1 \
             AND (ended_at = 0 OR id IN (SELECT id FROM login_sealed WHERE account = $1)) ORDER BY id",
    )
    .bind(account)
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// Brings the sessions back that the seal ended.
pub(crate) async fn resume(
    connection: &mut AnyConnection,
    account: &str,
) -> Result<(), sqlx::Error> {
    for statement in [
        "UPDATE login SET ended_at = 0 WHERE account = $1 AND id IN (SELECT id FROM login_sealed WHERE account = $1)",
        "DELETE FROM login_sealed WHERE account = $1",
    ] {
        sqlx::query(statement)
            .bind(account)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// Ends every session of the account for good, those also that a seal has ended: nobody is logged in again by lifting it.
pub(crate) async fn end_for_good(
    connection: &mut AnyConnection,
    account: &str,
) -> Result<(), sqlx::Error> {
    end(connection, account).await?;
    sqlx::query("DELETE FROM login_sealed WHERE account = $1")
        .bind(account)
        .execute(connection)
        .await
        .map(drop)
}

/// Ends every session of the account, and remembers which lived.
pub(crate) async fn end(connection: &mut AnyConnection, account: &str) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO login_sealed (id, account) SELECT id, account FROM login WHERE account = $1 AND ended_at = 0 \
         ON CONFLICT (id) DO NOTHING",
    )
    .bind(account)
    .execute(&mut *connection)
    .await?;
    sqlx::query("UPDATE login SET ended_at = $2 WHERE account = $1 AND ended_at = 0")
        .bind(account)
        .bind(micros(SystemTime::now()))
        .execute(connection)
        .await
        .map(drop)
}

pub(crate) async fn erase(
    connection: &mut AnyConnection,
    account: &str,
) -> Result<u64, sqlx::Error> {
    sqlx::query("DELETE FROM login_sealed WHERE account = $1")
        .bind(account)
        .execute(&mut *connection)
        .await?;
    holder::erase(connection, "login", account).await
}
