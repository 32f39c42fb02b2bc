//! Links in letters: how they are written, and those that take a deletion back without a log-in.
//!
//! What is secret stands behind a `#`, which browsers keep to themselves: no proxy's log holds it. The page asks for a click before it
//! calls, as mail scanners follow links.
//!
//! A token is 256 bits that nobody guesses: a hash, keyed with the pepper, of a random salt, the deletion and who it was sent
//! to. The salt alone is stored, so that the database tells no token, and a letter that is carried again holds the same one.
//! Each receiver has one of their own. A token takes back its one deletion and proves nothing else; coordinators take no
//! revoke once erasing begins.

use std::time::SystemTime;

use farewell_kit::store::{Store, micros};
use farewell_kit::{CheckProof, Fault, ProofChecked, holder};
use sqlx::AnyConnection;
use subtle::ConstantTimeEq as _;

use crate::code::Pepper;
use crate::{attempt, subject};

pub(crate) const SCHEMA: &str = "\
    CREATE TABLE IF NOT EXISTS revoke_link (deletion TEXT NOT NULL, receiver TEXT NOT NULL, account TEXT NOT NULL, \
        salt TEXT NOT NULL, made_at BIGINT NOT NULL, version BIGINT NOT NULL DEFAULT 1, PRIMARY KEY (deletion, receiver)); \
    CREATE INDEX IF NOT EXISTS revoke_link_by_account ON revoke_link (account)";

/// Wrong tokens are compared so often for one account in 24 hours: nobody guesses one, this only bounds the work. A right one is
/// right all the same, so that nobody locks the owner out by guessing.
const WRONG_PER_DAY_MAX: u32 = 100;
const KIND: &str = "REVOKE_LINK";

/// Where a deletion is taken back.
pub(crate) fn to_revoke(page: &str, deletion: &str, token: &str) -> String {
    format!("{page}#deletion={deletion}&token={token}")
}

/// Where something is confirmed, by a token that says what.
pub(crate) fn to_confirm(page: &str, token: &str) -> String {
    format!("{page}#confirm={token}")
}

/// Makes the receiver's link of the deletion, if there is none.
pub(crate) async fn make(
    connection: &mut AnyConnection,
    pepper: &Pepper,
    (deletion, receiver): (&str, &str),
    account: &str,
    now: SystemTime,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO revoke_link (deletion, receiver, account, salt, made_at, version) VALUES ($1, $2, $3, $4, $5, $6) \
         ON CONFLICT (deletion, receiver) DO NOTHING",
    )
    .bind(deletion)
    .bind(receiver)
    .bind(account)
    .bind(format!("{:032x}", rand::random::<u128>()))
    .bind(micros(now))
    .bind(i64::from(pepper.newest()))
    .execute(connection)
    .await
    .map(drop)
}

/// The token of a link, if there is one.
pub(crate) async fn token(
    connection: &mut AnyConnection,
    pepper: &Pepper,
    (deletion, receiver): (&str, &str),
) -> Result<Option<String>, Fault> {
    let row: Option<(String, i64)> = sqlx::query_as(
        "SELECT salt, version FROM revoke_link WHERE deletion = $1 AND receiver = $2",
    )
    .bind(deletion)
    .bind(receiver)
    .fetch_optional(connection)
    .await?;
    match row {
        Some((salt, version)) => pepper.link_token(version, &salt, deletion, receiver),
        None => Ok(None),
    }
}

/// Whether the token is one of this deletion's.
///
/// Errors: the database is away; asking again is safe and counts no second try.
pub(crate) async fn check(
    store: &Store,
    pepper: &Pepper,
    request: &CheckProof,
    now: SystemTime,
) -> Result<ProofChecked, Fault> {
    let mut tx = store.pool().begin().await?;
    let subject = subject::hold(&mut tx, &request.account).await?;
    let links: Vec<(String, String, i64)> = sqlx::query_as(
        "SELECT receiver, salt, version FROM revoke_link WHERE deletion = $1 AND account = $2",
    )
    .bind(&request.deletion)
    .bind(&subject)
    .fetch_all(&mut *tx)
    .await?;
    // All of them, in a time that doesn't depend on which is right, or where they differ.
    let mut right = subtle::Choice::from(0);
    for (receiver, salt, version) in &links {
        let token = pepper.link_token(*version, salt, &request.deletion, receiver)?;
        if let Some(token) = token {
            right |= token.as_bytes().ct_eq(request.proof.trim().as_bytes());
        }
    }
    if right.into() {
        return Ok(ProofChecked::Right);
    }
    let names = [&subject, &subject];
    let spent = attempt::spent(&mut tx, names, KIND, now).await?;
    let tries_left = match spent.left(WRONG_PER_DAY_MAX) {
        Ok(left) => left,
        Err(next_try) => return Ok(ProofChecked::Locked { next_try }),
    };
    let of = (request.deletion.as_str(), request.request_id.as_str());
    attempt::count(&mut tx, &subject, KIND, of, now).await?;
    tx.commit().await?;
    Ok(ProofChecked::Wrong { tries_left })
}

pub(crate) async fn erase(
    connection: &mut AnyConnection,
    account: &str,
) -> Result<u64, sqlx::Error> {
    holder::erase(connection, "revoke_link", account).await
}
