//! User names, numbers and addresses of accounts that are gone: held back for a while, so that nobody takes who comes next for
//! who was there before.
//!
//! What is kept is a keyed hash, beside the deletion that left it: nobody can read from it whose it was, and without the pepper
//! nobody can try. A policy says which kinds are held back and how long; at the end the coordinator asks for their erasure.

use std::time::SystemTime;

use farewell_kit::store::{Store, micros, time};
use farewell_kit::{Fault, IdentifierKind, IdentifierStanding, Retained, RetentionRule, Starting};
use sqlx::AnyConnection;

use crate::identifier;
use crate::pepper::Pepper;

/// `version` is that of the pepper.
pub(crate) const SCHEMA: &str = "\
    CREATE TABLE IF NOT EXISTS quarantine (class TEXT NOT NULL, hash TEXT NOT NULL, deletion TEXT NOT NULL, \
        legal_basis TEXT NOT NULL, until BIGINT NOT NULL, version BIGINT NOT NULL DEFAULT 1, \
        PRIMARY KEY (class, hash, deletion)); \
    CREATE INDEX IF NOT EXISTS quarantine_by_deletion ON quarantine (deletion)";

const KINDS: [IdentifierKind; 3] = [
    IdentifierKind::UserName,
    IdentifierKind::Phone,
    IdentifierKind::Email,
];

/// The class that holds a kind back, as policies name it.
pub(crate) const fn class(kind: IdentifierKind) -> &'static str {
    match kind {
        IdentifierKind::UserName => "quarantined_user_name",
        IdentifierKind::Phone => "quarantined_phone",
        IdentifierKind::Email => "quarantined_email",
    }
}

/// Holds back what the account has, of the kinds that the rules name. The caller erases the account in the same transaction.
pub(crate) async fn keep(
    connection: &mut AnyConnection,
    pepper: &Pepper,
    rules: &[RetentionRule],
    (deletion, account): (&str, &str),
    now: SystemTime,
) -> Result<(), Fault> {
    let known: Vec<(String, String)> = sqlx::query_as(
        "SELECT 'NAME', user_name FROM account WHERE account = $1 \
         UNION ALL SELECT channel, address FROM contact WHERE account = $1",
    )
    .bind(account)
    .fetch_all(&mut *connection)
    .await?;
    for (what, value) in known {
        let kind = identifier::kind_of(&what);
        let rule = rules.iter().find(|rule| rule.class == class(kind));
        let (Some(rule), Ok(normal)) = (rule, identifier::normal(kind, &value)) else {
            continue;
        };
        let until = rule.until(Starting::Erased(now))?;
        if until <= now {
            continue;
        }
        sqlx::query(
            "INSERT INTO quarantine (class, hash, deletion, legal_basis, until, version) VALUES ($1, $2, $3, $4, $5, $6) \
             ON CONFLICT (class, hash, deletion) DO NOTHING",
        )
        .bind(class(kind))
        .bind(pepper.identifier(class(kind), &normal)?)
        .bind(deletion)
        .bind(&rule.legal_basis)
        .bind(micros(until))
        .bind(i64::from(pepper.newest()))
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

/// Takes on the ends that these rules say: after a restore, what was given back is known to the coordinator alone.
pub(crate) async fn end(
    connection: &mut AnyConnection,
    rules: &[RetentionRule],
    deletion: &str,
) -> Result<(), sqlx::Error> {
    for (rule, until) in rules.iter().filter_map(|rule| Some((rule, rule.until?))) {
        sqlx::query(
            "UPDATE quarantine SET until = $1 WHERE deletion = $2 AND class = $3 AND until > $1",
        )
        .bind(micros(until))
        .bind(deletion)
        .bind(&rule.class)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

/// Holds back no longer what the deletion left and what has ended by then. Gives the numbers by class.
pub(crate) async fn expire(
    connection: &mut AnyConnection,
    deletion: &str,
    ended_by: SystemTime,
) -> Result<Vec<(String, u64)>, sqlx::Error> {
    let mut ended = Vec::new();
    for kind in KINDS {
        let deleted = sqlx::query(
            "DELETE FROM quarantine WHERE deletion = $1 AND class = $2 AND until <= $3",
        )
        .bind(deletion)
        .bind(class(kind))
        .bind(micros(ended_by))
        .execute(&mut *connection)
        .await?;
        ended.push((class(kind).to_owned(), deleted.rows_affected()));
    }
    Ok(ended)
}

/// What the deletion left and is held back.
pub(crate) async fn retained(
    connection: &mut AnyConnection,
    deletion: &str,
) -> Result<Vec<Retained>, sqlx::Error> {
    let rows: Vec<(String, String, i64, i64, i64)> = sqlx::query_as(
        "SELECT class, MAX(legal_basis), COUNT(*), MIN(until), MAX(until) FROM quarantine WHERE deletion = $1 \
         GROUP BY class ORDER BY class",
    )
    .bind(deletion)
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(Retained::of).collect())
}

/// What is held back for a deletion (its id, without `deletions/`): for the demo's last look and for tests.
///
/// Errors: the database is away.
pub async fn kept(store: &Store, deletion: &str) -> anyhow::Result<Vec<Retained>> {
    let mut connection = store.pool().acquire().await?;
    Ok(retained(&mut connection, deletion).await?)
}

/// Where an identifier stands.
pub(crate) async fn check(
    store: &Store,
    pepper: &Pepper,
    kind: IdentifierKind,
    value: &str,
    now: SystemTime,
) -> Result<IdentifierStanding, Fault> {
    let normal = match identifier::normal(kind, value) {
        Ok(normal) => normal,
        Err(bad) => return Ok(IdentifierStanding::Malformed(bad)),
    };
    let mut connection = store.pool().acquire().await?;
    if in_use(&mut connection, kind, &normal).await? {
        return Ok(IdentifierStanding::InUse);
    }
    let hashes = pepper.identifiers(class(kind), &normal)?;
    // Over on its day, also while the coordinator has not asked for its erasure.
    let until = until(&mut connection, kind, &hashes).await?;
    let until = until.filter(|until| *until > now);
    Ok(until.map_or(IdentifierStanding::Free, |until| {
        IdentifierStanding::Quarantined { until }
    }))
}

/// Whether an account has it.
pub(crate) async fn in_use(
    connection: &mut AnyConnection,
    kind: IdentifierKind,
    normal: &str,
) -> Result<bool, sqlx::Error> {
    let statement = match kind {
        IdentifierKind::UserName => "SELECT COUNT(*) FROM account WHERE normal = $1",
        IdentifierKind::Phone => {
            "SELECT COUNT(*) FROM contact WHERE channel = 'SMS' AND normal = $1"
        }
        IdentifierKind::Email => {
            "SELECT COUNT(*) FROM contact WHERE channel = 'EMAIL' AND normal = $1"
        }
    };
    let (accounts,): (i64,) = sqlx::query_as(statement)
        .bind(normal)
        .fetch_one(connection)
        .await?;
    Ok(accounts > 0)
}

/// Until when it is held back under any of its hashes.
async fn until(
    connection: &mut AnyConnection,
    kind: IdentifierKind,
    hashes: &[String],
) -> Result<Option<SystemTime>, sqlx::Error> {
    let mut last = None;
    for hash in hashes {
        let (until,): (Option<i64>,) =
            sqlx::query_as("SELECT MAX(until) FROM quarantine WHERE class = $1 AND hash = $2")
                .bind(class(kind))
                .bind(hash)
                .fetch_one(&mut *connection)
                .await?;
        last = last.max(until);
    }
    Ok(last.map(time))
}

/// Holds an identifier back no longer, whoever left it. Gives whether it was. The hash goes when the coordinator asks for what has
/// ended, as on any other day, so that there is evidence of it.
pub(crate) async fn free(
    connection: &mut AnyConnection,
    kind: IdentifierKind,
    hashes: &[String],
    now: SystemTime,
) -> Result<bool, sqlx::Error> {
    let mut freed = 0;
    for hash in hashes {
        let ended = sqlx::query(
            "UPDATE quarantine SET until = $1 WHERE class = $2 AND hash = $3 AND until > $1",
        )
        .bind(micros(now))
        .bind(class(kind))
        .bind(hash)
        .execute(&mut *connection)
        .await?;
        freed += ended.rows_affected();
    }
    Ok(freed > 0)
}

/// The deletions that left an identifier which is held back no longer, and whose hash of it is still here.
pub(crate) async fn freed(
    connection: &mut AnyConnection,
    kind: IdentifierKind,
    hashes: &[String],
    now: SystemTime,
) -> Result<Vec<String>, sqlx::Error> {
    let mut deletions = Vec::new();
    for hash in hashes {
        let rows: Vec<(String,)> = sqlx::query_as(
            "SELECT deletion FROM quarantine WHERE class = $1 AND hash = $2 AND until <= $3 ORDER BY deletion",
        )
        .bind(class(kind))
        .bind(hash)
        .bind(micros(now))
        .fetch_all(&mut *connection)
        .await?;
        deletions.extend(rows.into_iter().map(|(deletion,)| deletion));
    }
    Ok(deletions)
}
