//! A participant's own database: SQLite by default, PostgreSQL by URL, one SQL text for both.
//!
//! Columns are TEXT, BIGINT and BLOB only; times are microseconds since 1970 in BIGINT; parameters are `$1`.
//! That is the common ground on which one statement serves both databases. (PostgreSQL has no BLOB of its own; a
//! domain of that name over BYTEA is made in the participant's name space.)

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::future::BoxFuture;
use sqlx::any::{AnyConnectOptions, AnyPoolOptions, install_default_drivers};
use sqlx::{
    AnyConnection, AnyPool, AssertSqlSafe, ConnectOptions as _, Connection as _, Error, raw_sql,
};

/// The database that several processes may share, and whose rows are held one by one.
pub(crate) const POSTGRES: &str = "PostgreSQL";
/// How long a statement waits for a row that somebody else holds, and how long who holds it may do nothing: a process whose
/// host is gone holds up nobody for longer. That a table exists already is no news.
const POSTGRES_SETTINGS: &str = "SET lock_timeout = '10s'; SET idle_in_transaction_session_timeout = '60s'; \
    SET client_min_messages = warning";
/// Connections of one participant process.
const POOL_CONNECTIONS_MAX: u32 = 8;
/// SQLite has one writer; a second connection would only meet `SQLITE_BUSY`.
const SQLITE_CONNECTIONS_MAX: u32 = 1;
/// How long a statement may wait for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a start waits for a database that is away: longer than a fail-over, shorter than a person's patience.
const CONNECT_LIMIT: Duration = Duration::from_secs(60);
/// Pause between two attempts to connect at the start.
const CONNECT_PAUSE: Duration = Duration::from_millis(250);
/// PostgreSQL cuts longer identifiers off without a word.
const NAMESPACE_BYTES_MAX: usize = 63;

/// WAL and `synchronous=FULL` together: a committed answer survives a loss of power, which is what makes it evidence.
///
/// Whatever is deleted or changed is overwritten on the disk, by whomever and when: an address that was changed and a letter that
/// was carried years before leave nothing for an erasure to miss.
const SQLITE_SETTINGS: &str = "PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA secure_delete = ON";
/// One starter at a time makes the schema: `IF NOT EXISTS` alone is not safe against a second one.
const POSTGRES_SCHEMA_LOCK: &str = "SELECT pg_advisory_xact_lock(hashtext('farewell-kit schema'))";
const POSTGRES_BLOB: &str =
    "DO $$ BEGIN CREATE DOMAIN blob AS BYTEA; EXCEPTION WHEN duplicate_object THEN NULL; END $$";

/// An open database with its schema in place. Cheap to clone.
///
/// A lost connection fails the statement that was using it, and that one only: the next statement gets a new one.
#[derive(Clone, Debug)]
pub struct Store {
    pool: AnyPool,
    way: Arc<Way>,
}

/// How a connection is made.
#[derive(Debug)]
struct Way {
    options: AnyConnectOptions,
    settings: String,
    shared: bool,
}

impl Store {
    /// Opens `sqlite:path` (created if missing, WAL, synchronous=FULL) or `postgres://…` and applies `schema`: statements
    /// that can be repeated (`CREATE TABLE IF NOT EXISTS …`), separated by `;`, which stands nowhere else in them. `schema` is its own name space in
    /// PostgreSQL when `namespace` is given (lower case letters, digits and `_`; empty means the database's default), so
    /// that services may share one server.
    ///
    /// A database that is away is waited for, up to 60 s.
    ///
    /// Errors: `Configuration` for a URL or name space that can't be used, at once; what the database said otherwise.
    pub fn open<'a>(
        url: &'a str,
        namespace: &'a str,
        schema: &'static [&'static str],
    ) -> BoxFuture<'a, Result<Self, Error>> {
        Box::pin(Self::open_within(CONNECT_LIMIT, url, namespace, schema))
    }

    async fn open_within(
        limit: Duration,
        url: &str,
        namespace: &str,
        schema: &'static [&'static str],
    ) -> Result<Self, Error> {
        install_default_drivers();
        let kind = Kind::of(url)?;
        let namespace = checked(namespace)?;
        let options: AnyConnectOptions = kind.url(url).parse()?;
        wait_for(&options, limit).await?;

        let way = Arc::new(Way {
            settings: kind.settings(namespace),
            shared: matches!(kind, Kind::Postgres),
            options,
        });
        let settled = way.clone();
        let pool = kind
            .pool()
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .after_connect(move |connection, _| {
                let way = settled.clone();
                Box::pin(async move { way.settle(connection).await })
            })
            .connect_with(way.options.clone())
            .await?;
        kind.apply(&pool, namespace, schema).await?;
        Ok(Self { pool, way })
    }

    /// The pool, to run statements on.
    pub fn pool(&self) -> &AnyPool {
        &self.pool
    }

    /// Whether several processes may share it. SQLite is one's own.
    pub fn is_shared(&self) -> bool {
        self.way.shared
    }

    /// Brings the schema of an earlier version up: adds columns that it did not have (`name TYPE …`, with a default or without
    /// `NOT NULL`), and then applies statements that need them and can be repeated.
    ///
    /// Errors: what the database said.
    pub async fn evolve(
        &self,
        columns: &[(&str, &str)],
        statements: &'static [&'static str],
    ) -> Result<(), Error> {
        let mut tx = self.pool.begin().await?;
        let known = if self.way.shared {
            raw_sql(POSTGRES_SCHEMA_LOCK).execute(&mut *tx).await?;
            "SELECT COUNT(*) FROM information_schema.columns \
             WHERE table_schema = current_schema() AND table_name = $1 AND column_name = $2"
        } else {
            "SELECT COUNT(*) FROM pragma_table_info($1) WHERE name = $2"
        };
        for (table, column) in columns {
            let (there,): (i64,) = sqlx::query_as(known)
                .bind(*table)
                .bind(column.split(' ').next().unwrap_or_default())
                .fetch_one(&mut *tx)
                .await?;
            if there == 0 {
                let add = format!("ALTER TABLE {table} ADD COLUMN {column}");
                raw_sql(AssertSqlSafe(add)).execute(&mut *tx).await?;
            }
        }
        make(&mut tx, self.way.shared, statements).await?;
        tx.commit().await
    }

    /// A connection outside of the pool, for what may not wait behind other work. Whoever gave up an answer drops it.
    pub(crate) async fn connect(&self) -> Result<AnyConnection, Error> {
        let mut connection = self.way.options.connect().await?;
        self.way.settle(&mut connection).await?;
        Ok(connection)
    }
}

impl Way {
    async fn settle(&self, connection: &mut AnyConnection) -> Result<(), Error> {
        let settings = AssertSqlSafe(self.settings.clone());
        raw_sql(settings).execute(connection).await.map(drop)
    }
}

/// Which database a URL means.
#[derive(Clone, Copy)]
enum Kind {
    Sqlite,
    Postgres,
}

impl Kind {
    fn of(url: &str) -> Result<Self, Error> {
        match url.split_once(':') {
            Some(("sqlite", _)) => Ok(Self::Sqlite),
            Some(("postgres" | "postgresql", _)) => Ok(Self::Postgres),
            // The URL may hold a password: it is not repeated.
            _ => Err(Error::Configuration(
                "a store is `sqlite:path` or `postgres://…`".into(),
            )),
        }
    }

    fn url(self, url: &str) -> String {
        match self {
            Self::Sqlite if url.contains("mode=") => url.to_owned(),
            Self::Sqlite if url.contains('?') => format!("{url}&mode=rwc"),
            Self::Sqlite => format!("{url}?mode=rwc"),
            Self::Postgres => url.to_owned(),
        }
    }

    fn pool(self) -> AnyPoolOptions {
        match self {
            // The one connection stays: closing it would drop a database in memory.
            Self::Sqlite => AnyPoolOptions::new()
                .max_connections(SQLITE_CONNECTIONS_MAX)
                .idle_timeout(None)
                .max_lifetime(None),
            Self::Postgres => AnyPoolOptions::new().max_connections(POOL_CONNECTIONS_MAX),
        }
    }

    /// What every new connection is told.
    fn settings(self, namespace: &str) -> String {
        match (self, namespace) {
            (Self::Sqlite, _) => SQLITE_SETTINGS.to_owned(),
            (Self::Postgres, "") => format!("SET synchronous_commit = on; {POSTGRES_SETTINGS}"),
            (Self::Postgres, namespace) => format!(
                "SET synchronous_commit = on; {POSTGRES_SETTINGS}; SET search_path = \"{namespace}\""
            ),
        }
    }

    async fn apply(
        self,
        pool: &AnyPool,
        namespace: &str,
        schema: &'static [&'static str],
    ) -> Result<(), Error> {
        let mut tx = match self {
            // Asks for the write lock at once, where busy_timeout applies; a later upgrade would fail without waiting.
            Self::Sqlite => pool.begin_with("BEGIN IMMEDIATE").await?,
            Self::Postgres => {
                let mut tx = pool.begin().await?;
                raw_sql(POSTGRES_SCHEMA_LOCK).execute(&mut *tx).await?;
                if !namespace.is_empty() {
                    // `checked` let nothing through that could end the quotation.
                    let create = format!("CREATE SCHEMA IF NOT EXISTS \"{namespace}\"");
                    raw_sql(AssertSqlSafe(create)).execute(&mut *tx).await?;
                }
                raw_sql(POSTGRES_BLOB).execute(&mut *tx).await?;
                tx
            }
        };
        make(&mut tx, matches!(self, Self::Postgres), schema).await?;
        tx.commit().await
    }
}

/// Applies statements of a schema.
///
/// PostgreSQL takes a table's lock before it looks whether the index is there, and a transaction keeps it: a replica that starts would
/// hold up those at work, table after table, and deadlock with one that has two of them. So an index that exists is not asked for.
async fn make(
    tx: &mut AnyConnection,
    shared: bool,
    schema: &'static [&'static str],
) -> Result<(), Error> {
    let statements = schema.iter().flat_map(|text| text.split(';'));
    for statement in statements.map(str::trim).filter(|text| !text.is_empty()) {
        if shared && let Some(index) = index_of(statement) {
            let known = sqlx::query_as("SELECT COUNT(to_regclass($1))").bind(index);
            let (there,): (i64,) = known.fetch_one(&mut *tx).await?;
            if there > 0 {
                continue;
            }
        }
        raw_sql(statement).execute(&mut *tx).await?;
    }
    Ok(())
}

/// The index that a statement makes if it is not there.
fn index_of(statement: &str) -> Option<&str> {
    let made = statement.strip_prefix("CREATE ")?;
    let made = made.strip_prefix("UNIQUE ").unwrap_or(made);
    made.strip_prefix("INDEX IF NOT EXISTS ")?.split(' ').next()
}

/// Waits until the database takes a connection. The pool would wait too, but says only "timed out" in the end.
async fn wait_for(options: &AnyConnectOptions, limit: Duration) -> Result<(), Error> {
    let end = Instant::now() + limit;
    let mut told = false;
    loop {
        match options.connect().await {
            Ok(connection) => return AnyConnection::close(connection).await,
            Err(error) if passes(&error) && Instant::now() + CONNECT_PAUSE < end => {
                if !told {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "waiting for the database"
                    );
                    told = true;
                }
                tokio::time::sleep(CONNECT_PAUSE).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Whether a failure to connect goes away by waiting.
fn passes(error: &Error) -> bool {
    match error {
        Error::Io(_) => true,
        // Starting up or shutting down, out of connections.
        Error::Database(error) => matches!(error.code().as_deref(), Some("57P03" | "53300")),
        _ => false,
    }
}

fn checked(namespace: &str) -> Result<&str, Error> {
    let sound = namespace.len() <= NAMESPACE_BYTES_MAX
        && namespace
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        && !namespace.starts_with("pg_");
    if sound {
        Ok(namespace)
    } else {
        Err(Error::Configuration(
            format!(
                "name space `{namespace}`: only a-z, 0-9 and _ are allowed, at most {NAMESPACE_BYTES_MAX}, \
                 and none of PostgreSQL's own"
            )
            .into(),
        ))
    }
}

/// Microseconds since 1970: how times are stored.
pub fn micros(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |d| i64::try_from(d.as_micros()).unwrap_or(i64::MAX))
}

/// The time of stored microseconds.
pub fn time(micros: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

#[cfg(test)]
mod tests;
