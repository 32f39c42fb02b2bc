//! User names, numbers and addresses of accounts that are gone: held back for a while, so that nobody takes who comes next for
//! who was there before.
//!
//! What is kept is a keyed hash, beside the deletion that left it: nobody can read from it whose it was, and without the pepper
//! nobody can try. A policy says which kinds are held back and how long; at the end the coordinator asks for their erasure.

use std::time::SystemTime;

use farewell_kit::store::{Store, micros, time};
use farewell_kit::{Fault, IdentifierKind, IdentifierStanding, Retained, RetentionRule, Starting};
use sqlx::AnyConnection;

use crate::code::Pepper;

/// The indexes are for [`check`], which compares as [`normal`] does.
pub(crate) const SCHEMA: &str = "\
    CREATE TABLE IF NOT EXISTS quarantine (class TEXT NOT NULL, hash TEXT NOT NULL, deletion TEXT NOT NULL, \
        legal_basis TEXT NOT NULL, until BIGINT NOT NULL, PRIMARY KEY (class, hash, deletion)); \
    CREATE INDEX IF NOT EXISTS quarantine_by_deletion ON quarantine (deletion); \
    CREATE INDEX IF NOT EXISTS account_by_name ON account (LOWER(user_name)); \
    CREATE INDEX IF NOT EXISTS contact_by_number ON contact \
        (REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(address, ' ', ''), '-', ''), '.', ''), '(', ''), ')', '')); \
    CREATE INDEX IF NOT EXISTS contact_by_address ON contact (LOWER(address))";

const KINDS: [IdentifierKind; 3] = [
    IdentifierKind::UserName,
    IdentifierKind::Phone,
    IdentifierKind::Email,
];

/// The class that holds a kind back, as policies name it.
const fn class(kind: IdentifierKind) -> &'static str {
    match kind {
        IdentifierKind::UserName => "quarantined_user_name",
        IdentifierKind::Phone => "quarantined_phone",
        IdentifierKind::Email => "quarantined_email",
    }
}

/// An identifier without what makes no other one of it. `None`: it is none of its kind.
fn normal(kind: IdentifierKind, value: &str) -> Option<String> {
    let value = value.trim();
    match kind {
        IdentifierKind::UserName => {
            let sound = !value.is_empty() && !value.chars().any(char::is_control);
            sound.then(|| value.to_ascii_lowercase())
        }
        IdentifierKind::Phone => {
            let number: String = value
                .chars()
                .filter(|it| !matches!(it, ' ' | '-' | '.' | '(' | ')'))
                .collect();
            let digits = number.strip_prefix('+').unwrap_or(&number);
            // E.164 has at most 15; three are the shortest that anybody has.
            let sound =
                (3..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
            sound.then_some(number)
        }
        IdentifierKind::Email => {
            let parts = value.split_once('@');
            let sound = parts.is_some_and(|(who, at)| !who.is_empty() && !at.is_empty())
                && !value
                    .chars()
                    .any(|it| it.is_whitespace() || it.is_control());
            sound.then(|| value.to_ascii_lowercase())
        }
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
        let kind = match what.as_str() {
            "NAME" => IdentifierKind::UserName,
            "SMS" => IdentifierKind::Phone,
            _ => IdentifierKind::Email,
        };
        let rule = rules.iter().find(|rule| rule.class == class(kind));
        let (Some(rule), Some(normal)) = (rule, normal(kind, &value)) else {
            continue;
        };
        let until = rule.until(Starting::Erased(now))?;
        if until <= now {
            continue;
        }
        sqlx::query(
            "INSERT INTO quarantine (class, hash, deletion, legal_basis, until) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (class, hash, deletion) DO NOTHING",
        )
        .bind(class(kind))
        .bind(pepper.identifier(class(kind), &normal)?)
        .bind(deletion)
        .bind(&rule.legal_basis)
        .bind(micros(until))
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
    let retained = |(class, legal_basis, count, next, until)| Retained {
        class,
        legal_basis,
        count,
        until: time(until),
        next: (next < until).then(|| time(next)),
    };
    Ok(rows.into_iter().map(retained).collect())
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
    let Some(normal) = normal(kind, value) else {
        return Ok(IdentifierStanding::Malformed);
    };
    let mut connection = store.pool().acquire().await?;
    standing(&mut connection, pepper, (kind, &normal), now).await
}

/// Holds a number back no longer that somebody else has now: operators give the numbers of former customers to strangers. One that
/// an account has stays as it is. Again changes nothing.
pub(crate) async fn release(
    store: &Store,
    pepper: &Pepper,
    kind: IdentifierKind,
    value: &str,
    now: SystemTime,
) -> Result<IdentifierStanding, Fault> {
    let Some(normal) = normal(kind, value).filter(|_| kind == IdentifierKind::Phone) else {
        return Ok(IdentifierStanding::Malformed);
    };
    let mut tx = store.pool().begin().await?;
    sqlx::query("DELETE FROM quarantine WHERE class = $1 AND hash = $2")
        .bind(class(kind))
        .bind(pepper.identifier(class(kind), &normal)?)
        .execute(&mut *tx)
        .await?;
    let standing = standing(&mut tx, pepper, (kind, &normal), now).await?;
    tx.commit().await?;
    Ok(standing)
}

async fn standing(
    connection: &mut AnyConnection,
    pepper: &Pepper,
    (kind, normal): (IdentifierKind, &str),
    now: SystemTime,
) -> Result<IdentifierStanding, Fault> {
    let in_use = match kind {
        IdentifierKind::UserName => "SELECT COUNT(*) FROM account WHERE LOWER(user_name) = $1",
        IdentifierKind::Phone => {
            "SELECT COUNT(*) FROM contact WHERE channel = 'SMS' AND \
             REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(address, ' ', ''), '-', ''), '.', ''), '(', ''), ')', '') = $1"
        }
        IdentifierKind::Email => {
            "SELECT COUNT(*) FROM contact WHERE channel = 'EMAIL' AND LOWER(address) = $1"
        }
    };
    let (accounts,): (i64,) = sqlx::query_as(in_use)
        .bind(normal)
        .fetch_one(&mut *connection)
        .await?;
    if accounts > 0 {
        return Ok(IdentifierStanding::InUse);
    }
    let (until,): (Option<i64>,) =
        sqlx::query_as("SELECT MAX(until) FROM quarantine WHERE class = $1 AND hash = $2")
            .bind(class(kind))
            .bind(pepper.identifier(class(kind), normal)?)
            .fetch_one(connection)
            .await?;
    // Over on its day, also while the coordinator has not asked for its erasure.
    let until = until.map(time).filter(|until| *until > now);
    Ok(until.map_or(IdentifierStanding::Free, |until| {
        IdentifierStanding::Quarantined { until }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_other_identifier_is_left_out() {
        use IdentifierKind::{Email, Phone, UserName};
        for (kind, value, expected) in [
            (UserName, " Lina ", "lina"),
            (Phone, "+86 (138) 0000-0000", "+8613800000000"),
            (Phone, "110", "110"),
            (Email, "Lina@Example.COM", "lina@example.com"),
        ] {
            assert_eq!(normal(kind, value).as_deref(), Some(expected), "{value}");
        }
        for (kind, value) in [
            (UserName, " "),
            (UserName, "a\nb"),
            (Phone, "12"),
            (Phone, "+86 138 CALL ME"),
            (Phone, "1234567890123456"),
            (Email, "nobody"),
            (Email, "@example.com"),
            (Email, "a b@example.com"),
        ] {
            assert_eq!(normal(kind, value), None, "{value}");
        }
    }
}
