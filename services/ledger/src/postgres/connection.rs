//! Connections, how long anything may wait for them, and what their errors mean.

use std::io;
use std::time::Duration;

use sqlx::postgres::{PgArguments, PgConnectOptions, PgPoolOptions, PgRow};
use sqlx::query::Query;
use sqlx::{Connection, PgConnection, PgPool, Postgres};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::Error;

/// How long PostgreSQL may work on a statement, and how long a coordinator that froze may hold a transaction open.
const STATEMENT_MAX: &str = "10s";
/// How long an answer may take: a network that drops packets silently is noticed here, after PostgreSQL gave up.
const ANSWER_MAX: Duration = Duration::from_secs(15);
/// How long connecting may take.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// Reads are few: memory is filled once, and people look now and then.
const POOL_CONNECTIONS_MAX: u32 = 8;
/// How often a write is repeated that lost a race and changed nothing.
const RACES_MAX: u32 = 10;

pub(super) type Statement = Query<'static, Postgres, PgArguments>;

/// The connection of one verb. It writes one batch after another.
#[derive(Debug)]
pub(super) struct Lane {
    options: PgConnectOptions,
    connection: Mutex<Option<PgConnection>>,
}

impl Lane {
    pub fn new(options: &PgConnectOptions, name: &str) -> Self {
        // A set statement is planned once, for a table of any size, and only index scans are right for a batch. A plan
        // for the arrays at hand, or for a table that was never analysed, reads whole tables: up to 7 times slower.
        let options = bounded(options, name).options([
            ("plan_cache_mode", "force_generic_plan"),
            ("enable_seqscan", "off"),
            ("enable_hashjoin", "off"),
            ("enable_mergejoin", "off"),
            ("synchronous_commit", "on"),
        ]);
        Self {
            options,
            connection: Mutex::new(None),
        }
    }

    /// Writes sets, all or none, each by one statement that sees what those before it wrote. One set is one round trip.
    /// Repeated where a race was lost, as nothing was changed then.
    pub async fn write<T: Sync>(
        &self,
        sets: &[T],
        statement: impl Fn(&T) -> Statement + Sync,
    ) -> Result<Vec<Vec<PgRow>>, Error> {
        let mut place = self.connection.lock().await;
        let mut races = 0;
        loop {
            // Out of its place while in use: if this future is dropped halfway, so is the connection.
            let mut connection = match place.take() {
                Some(connection) => connection,
                None => connect(&self.options).await?,
            };
            let result = timeout(ANSWER_MAX, write(&mut connection, sets, &statement))
                .await
                .unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()));
            if result.as_ref().err().is_none_or(|error| !broken(error)) {
                *place = Some(connection);
            }
            match result {
                Err(error) if races < RACES_MAX && lost_race(&error) => races += 1,
                result => return result.map_err(written),
            }
        }
    }
}

async fn write<T: Sync>(
    connection: &mut PgConnection,
    sets: &[T],
    statement: &(impl Fn(&T) -> Statement + Sync),
) -> Result<Vec<Vec<PgRow>>, sqlx::Error> {
    if let [set] = sets {
        return Ok(vec![statement(set).fetch_all(connection).await?]);
    }
    let mut transaction = connection.begin().await?;
    let mut answers = Vec::with_capacity(sets.len());
    for set in sets {
        answers.push(statement(set).fetch_all(&mut *transaction).await?);
    }
    transaction.commit().await?;
    Ok(answers)
}

async fn connect(options: &PgConnectOptions) -> Result<PgConnection, Error> {
    match timeout(CONNECT_MAX, PgConnection::connect_with(options)).await {
        Ok(result) => result.map_err(Error::Unreachable),
        Err(_) => Err(Error::Unreachable(
            io::Error::from(io::ErrorKind::TimedOut).into(),
        )),
    }
}

/// The pool of everything that isn't a lane.
pub(super) fn pool(options: &PgConnectOptions) -> PgPool {
    PgPoolOptions::new()
        .max_connections(POOL_CONNECTIONS_MAX)
        .acquire_timeout(CONNECT_MAX)
        .connect_lazy_with(bounded(options, "farewell"))
}

fn bounded(options: &PgConnectOptions, name: &str) -> PgConnectOptions {
    options.clone().application_name(name).options([
        ("statement_timeout", STATEMENT_MAX),
        ("idle_in_transaction_session_timeout", STATEMENT_MAX),
        ("jit", "off"),
    ])
}

/// What an error says about a write: after `Unknown` it may have happened, after any other it has not.
pub(super) fn written(error: sqlx::Error) -> Error {
    match &error {
        sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => Error::Unreachable(error),
        _ if broken(&error) => Error::Unknown(error),
        _ => unread(error),
    }
}

/// What an error says about a read, or about a statement that changed nothing.
pub(super) fn unread(error: sqlx::Error) -> Error {
    let busy = match &error {
        // Lost races, no resources, locks, operators, the system: later it may go well.
        sqlx::Error::Database(refusal) => refusal
            .code()
            .is_some_and(|code| matches!(code.get(..2), Some("40" | "53" | "55" | "57" | "58"))),
        sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => true,
        _ => false,
    };
    if busy || broken(&error) {
        Error::Unreachable(error)
    } else {
        Error::Refused(error)
    }
}

/// Whether the connection is of no use any more, and what was under way may or may not have happened.
fn broken(error: &sqlx::Error) -> bool {
    match error {
        // 57P..: the server is going down or was told to end this session; 08...: the connection failed.
        sqlx::Error::Database(refusal) => refusal
            .code()
            .is_some_and(|code| code.starts_with("57P") || code.starts_with("08")),
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::WorkerCrashed => true,
        _ => false,
    }
}

/// Whether somebody else was faster, nothing was changed, and a second look will see who it was.
fn lost_race(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(refusal) = error else {
        return false;
    };
    match refusal.code().as_deref() {
        Some("40001" | "40P01") => true,
        Some("23505") => matches!(
            refusal.constraint(),
            Some(
                "request_pkey" | "live_pkey" | "receipt_pkey" | "policy_pkey" | "policy_digest_key"
            )
        ),
        _ => false,
    }
}

/// Repeats a transaction of the pool while it loses races.
pub(super) async fn race<T, F>(mut attempt: impl FnMut() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, sqlx::Error>>,
{
    for _ in 0..RACES_MAX {
        match attempt().await {
            Err(error) if lost_race(&error) => {}
            result => return result.map_err(written),
        }
    }
    attempt().await.map_err(written)
}
