//! Codes sent to one phone number or mail address over the last 24 hours, whoever's account names it.
//!
//! Several accounts may name one number, and one account may name one number after another: the person who gets the
//! messages is the same. Numbers and addresses themselves are absent: rows name them by a hash that is keyed with the pepper
//! and bound to the channel, and go after a day. They belong to no account, so that erasing one gives no codes back.

use std::collections::BTreeMap;
use std::time::SystemTime;

use farewell_kit::store::micros;
use sqlx::AnyConnection;

use crate::attempt;

/// The row without a request holds the destination while somebody counts.
pub(crate) const SCHEMA: &str = "\
    CREATE TABLE IF NOT EXISTS destination (destination TEXT NOT NULL, request TEXT NOT NULL, sent_at BIGINT NOT NULL, \
        PRIMARY KEY (destination, request)); \
    CREATE INDEX IF NOT EXISTS destination_by_time ON destination (sent_at)";

/// Counts a code to a destination, once for each request, under its hash by every version of the pepper, oldest first: the count goes on
/// with a new one, and so does that of a process that doesn't know it yet. `Err`: it has had its codes, and gets another at that time.
///
/// Serializes everybody who sends to the same destination until the transaction ends.
pub(crate) async fn count(
    connection: &mut AnyConnection,
    destinations: &[String],
    request: &str,
    max: u32,
    now: SystemTime,
) -> Result<Result<(), SystemTime>, sqlx::Error> {
    let mut sent = BTreeMap::new();
    for destination in destinations {
        put(&mut *connection, destination, "", 0).await?;
        let rows: Vec<(String, i64)> = sqlx::query_as(
            "SELECT request, sent_at FROM destination WHERE destination = $1 AND request <> $2 AND sent_at > $3",
        )
        .bind(destination)
        .bind(request)
        .bind(micros(attempt::begin(now)).max(0))
        .fetch_all(&mut *connection)
        .await?;
        sent.extend(rows);
    }
    let mut times: Vec<i64> = sent.into_values().collect();
    times.sort_unstable();
    if let Err(next) = attempt::left(times, max) {
        return Ok(Err(next));
    }
    for destination in destinations {
        put(&mut *connection, destination, request, micros(now)).await?;
    }
    Ok(Ok(()))
}

/// Forgets what counts no longer.
pub(crate) async fn sweep(
    connection: &mut AnyConnection,
    now: SystemTime,
) -> Result<u64, sqlx::Error> {
    let deleted = sqlx::query("DELETE FROM destination WHERE sent_at <= $1")
        .bind(micros(attempt::begin(now)))
        .execute(connection)
        .await?;
    Ok(deleted.rows_affected())
}

async fn put(
    connection: &mut AnyConnection,
    destination: &str,
    request: &str,
    at: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO destination (destination, request, sent_at) VALUES ($1, $2, $3) \
         ON CONFLICT (destination, request) DO UPDATE SET sent_at = excluded.sent_at",
    )
    .bind(destination)
    .bind(request)
    .bind(at)
    .execute(connection)
    .await
    .map(drop)
}
