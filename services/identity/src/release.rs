//! Numbers that were given back to their present holders: operators give the numbers of former customers to strangers.
//!
//! Each release is on record before it is told: who asked, by the name in their certificate, when, and for which number, as a
//! keyed hash. Whoever may ask can thereby free any number; the record is how it is seen that somebody does. It is kept for a
//! year, and knows no account.

use std::time::{Duration, SystemTime};

use farewell_kit::store::{Store, micros, time};
use farewell_kit::{
    BadIdentifier, Fault, IdentifierKind, IdentifierStanding, KeyVersion, Quarantine, Release,
    ReleaseIdentifier, Released,
};
use sqlx::AnyConnection;

use crate::pepper::{self, Pepper};
use crate::{identifier, quarantine};

/// `held` is 1 if it was held back.
pub(crate) const SCHEMA: &str = "\
    CREATE TABLE IF NOT EXISTS identifier_release (request_id TEXT PRIMARY KEY, class TEXT NOT NULL, hash TEXT NOT NULL, \
        version BIGINT NOT NULL, caller TEXT NOT NULL, held BIGINT NOT NULL CHECK (held IN (0, 1)), \
        released_at BIGINT NOT NULL); \
    CREATE INDEX IF NOT EXISTS identifier_release_by_time ON identifier_release (released_at)";

/// `request_id`, `hash`, `version`, `caller`, `held`, `released_at`.
type Row = (String, String, i64, String, i64, i64);

/// How long a release is on record.
const KEPT: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Holds a number back no longer that somebody else has now. One that an account has stays as it is, and on no record. The same
/// request again changes nothing, and names again what has to be asked for.
pub(crate) async fn release(
    store: &Store,
    pepper: &Pepper,
    request: &ReleaseIdentifier,
    now: SystemTime,
) -> Result<Released, Fault> {
    let kind = request.kind;
    if kind != IdentifierKind::Phone {
        return Ok(IdentifierStanding::Malformed(BadIdentifier::Other).into());
    }
    let normal = match identifier::normal(kind, &request.value) {
        Ok(normal) => normal,
        Err(bad) => return Ok(IdentifierStanding::Malformed(bad).into()),
    };
    let class = quarantine::class(kind);
    let hashes = pepper.identifiers(class, &normal)?;
    let mut tx = store.pool().begin().await?;
    if let Some(earlier) = hash_of(&mut tx, &request.request_id).await? {
        return answer(&mut tx, kind, &hashes, &earlier, now).await;
    }
    if quarantine::in_use(&mut tx, kind, &normal).await? {
        return Ok(IdentifierStanding::InUse.into());
    }
    let held = quarantine::free(&mut tx, kind, &hashes, now).await?;
    let own = pepper.identifier(class, &normal)?;
    let written = sqlx::query(
        "INSERT INTO identifier_release (request_id, class, hash, version, caller, held, released_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (request_id) DO NOTHING",
    )
    .bind(&request.request_id)
    .bind(class)
    .bind(&own)
    .bind(i64::from(pepper.newest()))
    .bind(&request.caller)
    .bind(i64::from(held))
    .bind(micros(now))
    .execute(&mut *tx)
    .await?;
    if written.rows_affected() == 0 {
        // The same request at the same time, or another under its id: it was first, and this one does nothing.
        let earlier = hash_of(&mut tx, &request.request_id).await?;
        tx.rollback().await?;
        let mut connection = store.pool().acquire().await?;
        return answer(
            &mut connection,
            kind,
            &hashes,
            &earlier.unwrap_or_default(),
            now,
        )
        .await;
    }
    let released = answer(&mut tx, kind, &hashes, &own, now).await?;
    tx.commit().await?;
    Ok(released)
}

/// The answer to a request that is on record with this hash.
async fn answer(
    connection: &mut AnyConnection,
    kind: IdentifierKind,
    hashes: &[String],
    on_record: &String,
    now: SystemTime,
) -> Result<Released, Fault> {
    if !hashes.contains(on_record) {
        return Ok(IdentifierStanding::RequestIdReused.into());
    }
    Ok(Released {
        standing: IdentifierStanding::Free,
        deletions: quarantine::freed(connection, kind, hashes, now).await?,
    })
}

async fn hash_of(
    connection: &mut AnyConnection,
    request_id: &str,
) -> Result<Option<String>, sqlx::Error> {
    let row: Option<(String,)> =
        sqlx::query_as("SELECT hash FROM identifier_release WHERE request_id = $1")
            .bind(request_id)
            .fetch_optional(connection)
            .await?;
    Ok(row.map(|(hash,)| hash))
}

/// What needs which key, and a page of releases. A page is named by the last release of the one before it.
pub(crate) async fn list(
    store: &Store,
    pepper: &Pepper,
    page_size: u32,
    page: &str,
) -> Result<Quarantine, Fault> {
    let needs = pepper::needs(store, pepper).await?;
    let key = |(version, need): (u32, pepper::Need)| KeyVersion {
        version,
        newest: version == pepper.newest(),
        identifiers: need.identifiers,
        links: need.links,
    };
    let (at, id) = page.split_once(' ').unwrap_or_default();
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT request_id, hash, version, caller, held, released_at FROM identifier_release \
         WHERE released_at < $1 OR (released_at = $1 AND request_id < $2) ORDER BY released_at DESC, request_id DESC LIMIT $3",
    )
    .bind(at.parse().unwrap_or(i64::MAX))
    .bind(id)
    .bind(i64::from(page_size))
    .fetch_all(store.pool())
    .await?;
    let full = rows.len() == usize::try_from(page_size).unwrap_or(usize::MAX);
    let last = rows.last().filter(|_| full);
    let next_page = last.map(|row| format!("{} {}", row.5, row.0));
    let release = |(request_id, hash, version, caller, held, at): Row| Release {
        request_id,
        kind: IdentifierKind::Phone,
        hash,
        version: u32::try_from(version).unwrap_or(0),
        caller,
        at: time(at),
        held: held != 0,
    };
    Ok(Quarantine {
        keys: needs.into_iter().map(key).collect(),
        releases: rows.into_iter().map(release).collect(),
        next_page: next_page.unwrap_or_default(),
    })
}

/// Forgets releases that were on record long enough.
pub(crate) async fn sweep(
    connection: &mut AnyConnection,
    now: SystemTime,
) -> Result<u64, sqlx::Error> {
    let before = now.checked_sub(KEPT).map_or(0, micros);
    let deleted = sqlx::query("DELETE FROM identifier_release WHERE released_at <= $1")
        .bind(before)
        .execute(connection)
        .await?;
    Ok(deleted.rows_affected())
}
