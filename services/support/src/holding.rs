//! What the desk really holds of an account, and what remains of its cases when that is erased: that somebody decided, who, when
//! and on what kinds of document; no account, no document, no key.

use std::time::SystemTime;

use farewell_kit::store::{Store, micros, time};
use farewell_kit::{Fault, Inventory, Retained, RetentionRule, Starting, holder};
use sqlx::AnyConnection;

use crate::case;
use crate::evidence;
use crate::wish::Wish;

/// What is held of the account `$1`: a category, its items and their bytes in each row.
const HELD: &str = "SELECT 'support_cases', COUNT(*), CAST(0 AS BIGINT) FROM desk_case WHERE account = $1 \
     UNION ALL SELECT 'support_documents', COUNT(*), CAST(COALESCE(SUM(size_bytes), 0) AS BIGINT) \
     FROM evidence WHERE deleted_at = 0 AND case_id IN (SELECT id FROM desk_case WHERE account = $1) \
     UNION ALL SELECT 'named_in_support_cases', COUNT(*), CAST(0 AS BIGINT) FROM desk_case WHERE to_account = $1";

/// The class of what remains.
pub(crate) const DECISIONS: &str = "support_decisions";

/// What is held, by category; sizes are bytes. Categories without items are left out, and so is what is retained: it is no longer
/// the account's.
///
/// Errors: the database is away.
pub async fn left_over(store: &Store, account: &str) -> anyhow::Result<Inventory> {
    let mut connection = store.pool().acquire().await?;
    Ok(held(&mut connection, account).await?)
}

/// Decisions that are kept of a deletion.
///
/// Errors: the database is away.
pub async fn kept(store: &Store, deletion: &str) -> anyhow::Result<Vec<Retained>> {
    let mut connection = store.pool().acquire().await?;
    Ok(retained(&mut connection, deletion).await?)
}

/// Every category that is looked for, whether anything is there or not.
///
/// Errors: the database is away.
pub async fn categories(store: &Store) -> anyhow::Result<Vec<String>> {
    let mut connection = store.pool().acquire().await?;
    Ok(holder::categories(&mut connection, HELD).await?)
}

pub(crate) async fn held(
    connection: &mut AnyConnection,
    account: &str,
) -> Result<Inventory, sqlx::Error> {
    holder::count(connection, HELD, account).await
}

/// How much was erased for good.
pub(crate) struct Erased {
    pub cases: u64,
    pub documents: u64,
    pub named: u64,
}

/// Erases every document and key, and the account's name. Decisions within their period stay, under their own names.
pub(crate) async fn erase(
    tx: &mut AnyConnection,
    rules: &[RetentionRule],
    (account, deletion): (&str, &str),
    now: SystemTime,
) -> Result<Erased, Fault> {
    let mut erased = Erased {
        cases: 0,
        documents: 0,
        named: 0,
    };
    // What no policy says is kept by no law.
    let rule = rules.iter().find(|rule| rule.class == DECISIONS);
    for case in case::of_account(tx, account).await? {
        erased.documents += evidence::erase(tx, &case.id).await?;
        let law = match rule {
            Some(rule) => Some((rule, rule.until(Starting::Completed(case.moved_at))?)),
            None => None,
        };
        if let Some((rule, until)) = law.filter(|(_, until)| *until > now) {
            if let Wish::Unbind { .. } = case.matter.wish {
                // Which device it was is told of its owner.
                let device = String::new();
                case::rewrite(tx, &case.id, &Wish::Unbind { device }).await?;
            }
            keep(tx, &case.id, (deletion, &rule.legal_basis), until).await?;
        } else {
            forget(tx, &case.id).await?;
            erased.cases += 1;
        }
    }
    let named = sqlx::query("UPDATE desk_case SET to_account = '' WHERE to_account = $1")
        .bind(account)
        .execute(tx)
        .await?;
    erased.named = named.rows_affected();
    Ok(erased)
}

/// A case of which nobody decided anything any more ends with its account.
async fn keep(
    tx: &mut AnyConnection,
    id: &str,
    (deletion, basis): (&str, &str),
    until: SystemTime,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE desk_case SET account = '', to_account = '', data_key = $2, erased_by = $3, due_at = $4, \
             legal_basis = $5, state = CASE WHEN used_for = '' AND state IN ('OPENED', 'APPROVED_ONCE', 'APPROVED') \
                 THEN 'EXPIRED' ELSE state END \
         WHERE id = $1",
    )
    .bind(id)
    .bind(Vec::new())
    .bind(deletion)
    .bind(micros(until))
    .bind(basis)
    .execute(tx)
    .await
    .map(drop)
}

/// Removes every trace of a case.
pub(crate) async fn forget(tx: &mut AnyConnection, id: &str) -> Result<(), sqlx::Error> {
    evidence::erase(tx, id).await?;
    for statement in [
        "DELETE FROM case_entry WHERE case_id = $1",
        "DELETE FROM desk_case WHERE id = $1",
    ] {
        sqlx::query(statement).bind(id).execute(&mut *tx).await?;
    }
    Ok(())
}

/// Erases the decisions that were kept of a deletion and have ended by then. Gives how many. Nothing else erases them.
pub(crate) async fn expire(
    tx: &mut AnyConnection,
    deletion: &str,
    ended_by: SystemTime,
) -> Result<u64, sqlx::Error> {
    let ended: Vec<(String,)> =
        sqlx::query_as("SELECT id FROM desk_case WHERE erased_by = $1 AND due_at <= $2")
            .bind(deletion)
            .bind(micros(ended_by))
            .fetch_all(&mut *tx)
            .await?;
    for (id,) in &ended {
        forget(tx, id).await?;
    }
    Ok(ended.len() as u64)
}

pub(crate) async fn retained(
    tx: &mut AnyConnection,
    deletion: &str,
) -> Result<Vec<Retained>, sqlx::Error> {
    let (count, next, until, basis): (i64, Option<i64>, Option<i64>, Option<String>) = sqlx::query_as(
        "SELECT COUNT(*), MIN(due_at), MAX(due_at), MAX(legal_basis) FROM desk_case WHERE erased_by = $1",
    )
    .bind(deletion)
    .fetch_one(tx)
    .await?;
    Ok(until
        .map(|until| Retained {
            class: DECISIONS.to_owned(),
            legal_basis: basis.unwrap_or_default(),
            count,
            until: time(until),
            next: next.filter(|next| *next < until).map(time),
        })
        .into_iter()
        .collect())
}
