//! The rows of exports, as everybody reads them.

use std::time::SystemTime;

use farewell_kit::store::{Store, micros, time};
use farewell_kit::vault::Wrapped;
use farewell_kit::{Export, ExportSource, ExportState, Fault, holder};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row as _};

use super::sealed;

/// What the name of an export begins with.
const EXPORTS: &str = "exports/";

/// The id in an export's name; `None` if it could be no row's.
pub(super) fn id_of(name: &str) -> Option<&str> {
    let id = name.strip_prefix(EXPORTS)?;
    uuid::Uuid::try_parse(id).ok()?;
    Some(id)
}

/// An export's name.
pub(super) fn name_of(id: &str) -> String {
    format!("{EXPORTS}{id}")
}

/// An export, and whose it is.
pub(super) struct Record {
    pub account: String,
    /// As it is stored; empty once it is destroyed.
    pub key: String,
    pub export: Export,
}

/// One export.
pub(super) async fn find(
    connection: &mut AnyConnection,
    id: &str,
) -> Result<Option<Record>, Fault> {
    let row = sqlx::query(
        "SELECT account, state, reason, begun_at, ended_at, expires_at, size_bytes, sha256, data_key FROM archive WHERE id = $1",
    )
    .bind(id)
    .fetch_optional(&mut *connection)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let mut record = read(id, &row)?;
    let sources: Vec<(String, i64, i64, i64, i64)> = sqlx::query_as(
        "SELECT participant, done, away, items, size_bytes FROM archive_source WHERE archive = $1 ORDER BY participant",
    )
    .bind(id)
    .fetch_all(connection)
    .await?;
    let source = |(participant, done, away, items, size_bytes)| ExportSource {
        participant,
        done: done != 0,
        away: away != 0,
        items,
        size_bytes: unsigned(size_bytes),
    };
    record.export.sources = sources.into_iter().map(source).collect();
    Ok(Some(record))
}

fn read(id: &str, row: &AnyRow) -> Result<Record, Fault> {
    let word: String = row.try_get("state")?;
    let state = match word.as_str() {
        "RUNNING" => ExportState::Running,
        "READY" => ExportState::Ready,
        "FAILED" => ExportState::Failed,
        "CANCELLED" => ExportState::Cancelled,
        "EXPIRED" => ExportState::Expired,
        _ => return Err(Fault::plain("an export in a state that nobody knows")),
    };
    let moment = |column: &str| -> Result<Option<SystemTime>, sqlx::Error> {
        let at: i64 = row.try_get(column)?;
        Ok((at > 0).then(|| time(at)))
    };
    let open = matches!(state, ExportState::Running | ExportState::Ready);
    Ok(Record {
        account: row.try_get("account")?,
        key: row.try_get("data_key")?,
        export: Export {
            name: name_of(id),
            state,
            reason: row.try_get("reason")?,
            sources: Vec::new(),
            size_bytes: unsigned(row.try_get("size_bytes")?),
            sha256: row.try_get("sha256")?,
            begin: moment("begun_at")?.unwrap_or(SystemTime::UNIX_EPOCH),
            end: moment("ended_at")?,
            expires: moment("expires_at")?.filter(|_| open),
        },
    })
}

/// When the account's running export is ready or given up, if there is one.
pub(crate) async fn running_until(
    connection: &mut AnyConnection,
    account: &str,
    now: SystemTime,
) -> Result<Option<SystemTime>, sqlx::Error> {
    let until: Option<(i64,)> = sqlx::query_as(
        "SELECT expires_at FROM archive WHERE account = $1 AND state = 'RUNNING' AND expires_at > $2 \
         ORDER BY expires_at DESC LIMIT 1",
    )
    .bind(account)
    .bind(micros(now))
    .fetch_optional(connection)
    .await?;
    Ok(until.map(|(until,)| time(until)))
}

/// How many exports of the account have rows, and how many bytes are to be had of them.
pub(crate) async fn amount(
    connection: &mut AnyConnection,
    account: &str,
) -> Result<(i64, i64), sqlx::Error> {
    sqlx::query_as(
        "SELECT COUNT(*), CAST(COALESCE(SUM(CASE WHEN state = 'RUNNING' THEN spool_bytes WHEN state = 'READY' \
         THEN size_bytes ELSE 0 END), 0) AS BIGINT) FROM archive WHERE account = $1",
    )
    .bind(account)
    .fetch_one(connection)
    .await
}

/// One export's key of each version of the keys that they lie under, with the name that it is bound to. What is stored begins with
/// the version; hexadecimal digits follow its colon.
pub(crate) async fn keys(store: &Store) -> Result<Vec<(String, Wrapped)>, sqlx::Error> {
    let rows: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT id, state, data_key FROM archive WHERE id IN (SELECT MIN(id) FROM archive WHERE data_key <> '' \
         GROUP BY RTRIM(data_key, '0123456789abcdef'))",
    )
    .fetch_all(store.pool())
    .await?;
    let wrapped = |(id, state, key): (String, String, String)| {
        let name = match state.as_str() {
            "RUNNING" => sealed::spool(&id),
            _ => sealed::archive(&id),
        };
        Some((name, Wrapped::from_text(&key).ok()?))
    };
    Ok(rows.into_iter().filter_map(wrapped).collect())
}

/// Destroys the key of every export of the account: what is left of them anywhere is noise from the commit on.
pub(crate) async fn destroy_keys(
    connection: &mut AnyConnection,
    account: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE archive SET data_key = '' WHERE account = $1")
        .bind(account)
        .execute(connection)
        .await
        .map(drop)
}

/// Erases every row of the account's exports, and says how many exports there were.
pub(crate) async fn erase(
    connection: &mut AnyConnection,
    account: &str,
) -> Result<u64, sqlx::Error> {
    for statement in [
        "DELETE FROM spooled_piece WHERE archive IN (SELECT id FROM archive WHERE account = $1)",
        "DELETE FROM archive_category WHERE archive IN (SELECT id FROM archive WHERE account = $1)",
        "DELETE FROM archive_source WHERE archive IN (SELECT id FROM archive WHERE account = $1)",
    ] {
        sqlx::query(statement)
            .bind(account)
            .execute(&mut *connection)
            .await?;
    }
    holder::erase(connection, "archive", account).await
}

pub(super) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
