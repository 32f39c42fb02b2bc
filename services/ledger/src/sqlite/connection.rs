//! The one connection that writes, those that read, and what their errors mean.

use std::time::Duration;

use sqlx::query::Query;
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow,
    SqliteSynchronous,
};
use sqlx::{Column as _, ConnectOptions, Row as _, SqliteConnection, SqlitePool};
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

/// How a transaction begins. Binds $1 and $2, the fence.
macro_rules! begin {
    () => {
        "BEGIN IMMEDIATE; SELECT 1 AS stands FROM coordinator WHERE holder = $1 AND epoch = $2; "
    };
}
pub(super) use begin;

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
        let (held, _) = self.begin_with(fence, begin!(), |begin| begin).await?;
        Ok(held)
    }

    /// [`Writer::begin`] and the reads that a transaction starts with, in one call: each is a way to another thread and
    /// back. `statements` start with [`begin!`]; what they read comes after it, with parameters from $3.
    pub async fn begin_with(
        &self,
        fence: Option<&Fence>,
        statements: &'static str,
        bind: impl FnOnce(Statement) -> Statement + Send,
    ) -> Result<(Held<'_>, Vec<SqliteRow>), Error> {
        let mut place = self.connection.lock().await;
        // Out of its place while in use: if the future is dropped halfway, so is the connection, which rolls back.
        let connection = match place.take() {
            Some(connection) => connection,
            None => connect(&self.options).await?,
        };
        let mut held = Held { place, connection };
        let begin = sqlx::query(statements)
            .bind(fence.map(|fence| fence.holder.clone()))
            .bind(fence.map(|fence| fence.epoch));
        let mut rows = held.go(bind(begin)).await?;
        if fence.is_some() {
            let stands = rows
                .first()
                .is_some_and(|row| row.column(0).name() == "stands");
            if !stands {
                held.end(sqlx::query("ROLLBACK")).await?;
                return Err(Error::Fenced);
            }
            rows.remove(0);
        }
        Ok((held, rows))
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
