//! The one connection that writes, those that read, and what their errors mean.

use std::time::Duration;

use sqlx::query::Query;
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow,
    SqliteSynchronous,
};
use sqlx::{ConnectOptions, SqliteConnection, SqlitePool};
use tokio::sync::{Mutex, MutexGuard};

use crate::{Error, Fence};

/// How long to wait for another process that writes to the file.
const BUSY_MAX: Duration = Duration::from_secs(10);
/// How long to wait for a connection that reads.
const ACQUIRE_MAX: Duration = Duration::from_secs(5);
/// Reads are few: memory is filled once, and people look now and then.
const POOL_CONNECTIONS_MAX: u32 = 4;
/// 64 MiB, in KiB.
const CACHE: &str = "-65536";
/// 4 MiB for each reader, which mostly looks at what the writer has just written.
const READER_CACHE: &str = "-4096";
/// Pages in the log before it is moved into the file: often enough to stay short, seldom enough to rewrite a page once.
const CHECKPOINT_PAGES: &str = "4000";

pub(super) type Statement = Query<'static, sqlx::Sqlite, SqliteArguments>;

/// Every commit is flushed before it is answered; in a write-ahead log that is one flush a batch.
pub(super) fn durable(options: SqliteConnectOptions) -> SqliteConnectOptions {
    options
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY_MAX)
        .pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
        .pragma("cache_size", CACHE)
}

pub(super) async fn connect(options: &SqliteConnectOptions) -> Result<SqliteConnection, Error> {
    options.connect().await.map_err(Error::Unreachable)
}

/// The pool of reads.
pub(super) fn pool(options: &SqliteConnectOptions) -> SqlitePool {
    SqlitePoolOptions::new()
        .max_connections(POOL_CONNECTIONS_MAX)
        .acquire_timeout(ACQUIRE_MAX)
        .connect_lazy_with(
            options
                .clone()
                .pragma("query_only", "on")
                .pragma("cache_size", READER_CACHE),
        )
}

/// The connection that writes.
#[derive(Debug)]
pub(super) struct Writer {
    options: SqliteConnectOptions,
    connection: Mutex<Option<SqliteConnection>>,
}

impl Writer {
    pub fn new(options: SqliteConnectOptions, connection: SqliteConnection) -> Self {
        Self {
            options,
            connection: Mutex::new(Some(connection)),
        }
    }

    /// Waits until nobody else writes. With a fence, nothing may be written unless it stands. Errors: `Fenced`.
    pub async fn begin(&self, fence: Option<&Fence>) -> Result<Held<'_>, Error> {
        let mut place = self.connection.lock().await;
        // Out of its place while in use: if the future is dropped halfway, so is the connection, which rolls back.
        let connection = match place.take() {
            Some(connection) => connection,
            None => connect(&self.options).await?,
        };
        let mut held = Held { place, connection };
        let begin = sqlx::query(
            "BEGIN IMMEDIATE; SELECT 1 FROM coordinator WHERE holder = $1 AND epoch = $2",
        )
        .bind(fence.map(|fence| fence.holder.clone()))
        .bind(fence.map(|fence| fence.epoch));
        if held.go(begin).await?.is_empty() && fence.is_some() {
            held.end(sqlx::query("ROLLBACK")).await?;
            return Err(Error::Fenced);
        }
        Ok(held)
    }
}

/// The right to write.
pub(super) struct Held<'a> {
    place: MutexGuard<'a, Option<SqliteConnection>>,
    connection: SqliteConnection,
}

impl Held<'_> {
    /// Statements in the middle of a transaction. After an error, drop this: nothing was changed.
    pub async fn go(&mut self, statements: Statement) -> Result<Vec<SqliteRow>, Error> {
        statements
            .fetch_all(&mut self.connection)
            .await
            .map_err(unread)
    }

    /// The last statements of a transaction. They end with COMMIT or ROLLBACK, which costs no call of its own so.
    pub async fn end(mut self, statements: Statement) -> Result<Vec<SqliteRow>, Error> {
        let rows = statements
            .fetch_all(&mut self.connection)
            .await
            .map_err(written)?;
        *self.place = Some(self.connection);
        Ok(rows)
    }
}

/// What an error says about a write: after `Unknown` it may have happened, after any other it has not.
fn written(error: sqlx::Error) -> Error {
    match (code(&error), &error) {
        // Whether a commit whose flush failed is in the file shows only when the file is opened again.
        (Some(IOERR), _) | (_, sqlx::Error::WorkerCrashed | sqlx::Error::Io(_)) => {
            Error::Unknown(error)
        }
        _ => unread(error),
    }
}

/// What an error says about a read, or about a statement that changed nothing.
pub(super) fn unread(error: sqlx::Error) -> Error {
    match (code(&error), &error) {
        (Some(BUSY | LOCKED | NOMEM | INTERRUPT | IOERR | FULL | CANTOPEN), _)
        | (
            _,
            sqlx::Error::WorkerCrashed
            | sqlx::Error::Io(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed,
        ) => Error::Unreachable(error),
        _ => Error::Refused(error),
    }
}

const BUSY: i32 = 5;
const LOCKED: i32 = 6;
const NOMEM: i32 = 7;
const INTERRUPT: i32 = 9;
const IOERR: i32 = 10;
const FULL: i32 = 13;
const CANTOPEN: i32 = 14;

/// The primary result code: the low byte of the extended one.
fn code(error: &sqlx::Error) -> Option<i32> {
    let sqlx::Error::Database(refusal) = error else {
        return None;
    };
    let code: i32 = refusal.code()?.parse().ok()?;
    Some(code & 0xff)
}
