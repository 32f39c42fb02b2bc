//! Under which name an account's codes and proofs are kept: its own, or for one that identity doesn't know, a pseudonym.
//!
//! Codes "sent" to an account that nobody knows, and proofs of it, go through the same statements, counts and waits as any
//! other: whoever asks can't tell from answer or time whether an account exists, never did, or was erased. A pseudonym, so
//! that nothing is ever written under the id of an account that was erased. It can't be an id: those have no `/`.

use std::time::SystemTime;

use farewell_kit::store::micros;
use farewell_kit::{Fault, seal};
use sqlx::{Any, AnyConnection, Transaction};

use crate::{account, attempt};

/// What every such name begins with; as a pattern of SQL.
pub(crate) const NOBODY: &str = "nobody/%";
const PREFIX: &str = "nobody/";
/// Names whose holds are forgotten in one round; of more, made up within an hour, a row of a hash stays.
const SWEEP_MAX: i64 = 100_000;

/// The name to keep rows under. Holds it against sealing, erasing and counting elsewhere until the transaction ends.
pub(crate) async fn hold(tx: &mut Transaction<'_, Any>, account: &str) -> Result<String, Fault> {
    let erased = match seal::admit_though_sealed(tx, account).await {
        Ok(()) => false,
        Err(seal::Error::Erased) => true,
        Err(error) => return Err(error.into()),
    };
    let pseudonym = pseudonym(account);
    let known = account::exists(tx, account).await?;
    Ok(if known && !erased {
        account.to_owned()
    } else {
        pseudonym
    })
}

/// The name of an account that isn't known, whether it is or not.
pub(crate) fn pseudonym(account: &str) -> String {
    format!("{PREFIX}{}", seal::mark(account))
}

/// Forgets the holds of those whose rows are about to be forgotten. Such names are many only if somebody makes them up.
pub(crate) async fn sweep(
    connection: &mut AnyConnection,
    now: SystemTime,
) -> Result<u64, sqlx::Error> {
    let names: Vec<(String,)> = sqlx::query_as(
        "SELECT account FROM attempt WHERE account LIKE $1 AND tried_at <= $2 \
         UNION SELECT account FROM code WHERE account LIKE $1 AND issued_at <= $2 LIMIT $3",
    )
    .bind(NOBODY)
    .bind(micros(attempt::begin(now)))
    .bind(SWEEP_MAX)
    .fetch_all(&mut *connection)
    .await?;
    let mut forgotten = 0;
    for (name,) in names {
        let mark = name.strip_prefix(PREFIX).unwrap_or_default();
        forgotten += seal::forget(connection, mark).await?;
    }
    Ok(forgotten)
}
