//! A participant's own database: SQLite by default, PostgreSQL by URL, one SQL text for both.
//!
//! Columns are TEXT, BIGINT and BLOB/BYTEA only; times are microseconds since 1970 in BIGINT; parameters are `$1`.
//! That is the common ground on which one statement serves both databases.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sqlx::any::{AnyPoolOptions, install_default_drivers};
use sqlx::AnyPool;

/// Connections of one participant process.
const POOL_CONNECTIONS_MAX: u32 = 8;
/// SQLite has one writer; a second connection would only meet `SQLITE_BUSY`.
const SQLITE_CONNECTIONS_MAX: u32 = 1;
/// How long a statement may wait for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);

/// An open database with its schema in place.
#[derive(Clone, Debug)]
pub struct Store {
    pool: AnyPool,
}

impl Store {
    /// Opens `sqlite:path` (created if missing, WAL, synchronous=FULL) or `postgres://…` and applies `schema`: statements
    /// that can be repeated (`CREATE TABLE IF NOT EXISTS …`), separated by `;`. `schema` is its own name space in
    /// PostgreSQL when `namespace` is given, so that services may share one server.
    pub async fn open(url: &str, namespace: &str, schema: &'static [&'static str]) -> Result<Self, sqlx::Error> {
        let _ = (url, namespace, schema, POOL_CONNECTIONS_MAX, SQLITE_CONNECTIONS_MAX, ACQUIRE_TIMEOUT);
        install_default_drivers();
        let pool = AnyPoolOptions::new().connect_lazy(url)?;
        Ok(Self { pool })
    }

    /// The pool, to run statements on.
    pub fn pool(&self) -> &AnyPool {
        &self.pool
    }
}

/// Microseconds since 1970: how times are stored.
pub fn micros(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |d| i64::try_from(d.as_micros()).unwrap_or(i64::MAX))
}

/// The time of stored microseconds.
pub fn time(micros: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}
