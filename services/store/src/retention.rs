//! What the law makes the store keep of an account that is gone: under a pseudonym, restricted, and not a day longer.
//!
//! How long is said with the command, by the policy. Periods run from the event itself, never from the deletion: from the
//! completion of each order, and from each log entry. What is past its period when the account is erased is erased with it.
//! Nothing else reads these tables, so that what is in them is stored and nothing more.

use std::time::SystemTime;

use farewell_kit::store::{Store, micros, time};
use farewell_kit::{Answer, Fault, Retained, RetentionRule, Starting, StartingPoint};
use sqlx::AnyConnection;
use uuid::Uuid;

use crate::{access, order};

/// `retention` is the only way from a deletion to what was kept of it; nothing leads back to the account.
pub(crate) const SCHEMA: &str = "\
    CREATE TABLE IF NOT EXISTS retention (deletion TEXT PRIMARY KEY, pseudonym TEXT NOT NULL UNIQUE); \
    CREATE TABLE IF NOT EXISTS retained_order (id TEXT PRIMARY KEY, pseudonym TEXT NOT NULL, item TEXT NOT NULL, \
        amount_cents BIGINT NOT NULL, completed_at BIGINT NOT NULL, until BIGINT NOT NULL); \
    CREATE INDEX IF NOT EXISTS retained_order_by_pseudonym ON retained_order (pseudonym); \
    CREATE TABLE IF NOT EXISTS retained_log (id TEXT PRIMARY KEY, pseudonym TEXT NOT NULL, path TEXT NOT NULL, \
        accessed_at BIGINT NOT NULL, until BIGINT NOT NULL); \
    CREATE INDEX IF NOT EXISTS retained_log_by_pseudonym ON retained_log (pseudonym); \
    CREATE TABLE IF NOT EXISTS retention_class (deletion TEXT NOT NULL, class TEXT NOT NULL, legal_basis TEXT NOT NULL, \
        PRIMARY KEY (deletion, class))";

/// Completed orders, from each order's completion.
const TRANSACTIONS: &str = "transactions";
/// The access log, from each entry.
const SERVER_LOGS: &str = "server_logs";
/// `REFUSED`: a rule counts from a moment that these records don't have. Erasing them would be as wrong as keeping them.
const RULE_UNKNOWN: &str = "RETENTION_RULE_UNKNOWN";

/// Whether the store can tell the moments from which these rules count. `Err` is the answer if it can't.
pub(crate) fn countable(rules: &[RetentionRule]) -> Result<(), Answer> {
    let known = |rule: &RetentionRule| match rule.class.as_str() {
        TRANSACTIONS => matches!(
            rule.from,
            StartingPoint::Completion | StartingPoint::YearEnd
        ),
        SERVER_LOGS => rule.from == StartingPoint::Entry,
        // Of what isn't here nothing is kept.
        _ => true,
    };
    match rules.iter().find(|rule| !known(rule)) {
        None => Ok(()),
        Some(rule) => Err(Answer::Refused {
            reason: RULE_UNKNOWN.to_owned(),
            detail: format!("{} can't be counted from there", rule.class),
        }),
    }
}

/// How many records were moved out of the live tables, by class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moved {
    pub orders: u64,
    pub entries: u64,
}

impl Moved {
    /// By class.
    pub fn classes(self) -> [(String, u64); 2] {
        [
            (TRANSACTIONS.to_owned(), self.orders),
            (SERVER_LOGS.to_owned(), self.entries),
        ]
    }
}

/// Copies what must be kept, without name, address or account. The caller erases the live rows in the same transaction.
pub(crate) async fn keep(
    connection: &mut AnyConnection,
    rules: &[RetentionRule],
    deletion: &str,
    account: &str,
    now: SystemTime,
) -> Result<Moved, Fault> {
    let now = micros(now);
    let mut moved = Moved::default();
    let rule = |class: &str| rules.iter().find(|rule| rule.class == class);
    if let Some(rule) = rule(TRANSACTIONS) {
        for order in order::completed(connection, account).await? {
            let until = micros(rule.until(Starting::Completed(time(order.completed_at)))?);
            if until > now {
                let pseudonym = pseudonym(connection, deletion, rule).await?;
                insert_order(connection, &pseudonym, &order, until).await?;
                moved.orders += 1;
            }
        }
    }
    if let Some(rule) = rule(SERVER_LOGS) {
        for entry in access::entries(connection, account).await? {
            let until = micros(rule.until(Starting::Entered(time(entry.accessed_at)))?);
            if until > now {
                let pseudonym = pseudonym(connection, deletion, rule).await?;
                insert_entry(connection, &pseudonym, &entry, until).await?;
                moved.entries += 1;
            }
        }
    }
    Ok(moved)
}

/// Really erases what was kept for the deletion and has ended by then. Gives the numbers of orders and log entries.
pub(crate) async fn expire(
    connection: &mut AnyConnection,
    deletion: &str,
    now: SystemTime,
) -> Result<Moved, sqlx::Error> {
    let orders = sqlx::query(
        "DELETE FROM retained_order \
         WHERE pseudonym = (SELECT pseudonym FROM retention WHERE deletion = $1) AND until <= $2",
    )
    .bind(deletion)
    .bind(micros(now))
    .execute(&mut *connection)
    .await?;
    let entries = sqlx::query(
        "DELETE FROM retained_log \
         WHERE pseudonym = (SELECT pseudonym FROM retention WHERE deletion = $1) AND until <= $2",
    )
    .bind(deletion)
    .bind(micros(now))
    .execute(&mut *connection)
    .await?;
    for statement in [
        "DELETE FROM retention WHERE deletion = $1 \
         AND NOT EXISTS (SELECT 1 FROM retained_order WHERE retained_order.pseudonym = retention.pseudonym) \
         AND NOT EXISTS (SELECT 1 FROM retained_log WHERE retained_log.pseudonym = retention.pseudonym)",
        "DELETE FROM retention_class WHERE deletion = $1 \
         AND NOT EXISTS (SELECT 1 FROM retention WHERE retention.deletion = retention_class.deletion)",
    ] {
        sqlx::query(statement)
            .bind(deletion)
            .execute(&mut *connection)
            .await?;
    }
    Ok(Moved {
        orders: orders.rows_affected(),
        entries: entries.rows_affected(),
    })
}

/// What is kept for the deletion, by class: until the last of its records ends, and when the first does. By which law was said
/// when it was kept; what is older than that was kept by those of mainland China.
pub(crate) async fn retained(
    connection: &mut AnyConnection,
    deletion: &str,
) -> Result<Vec<Retained>, sqlx::Error> {
    let rows: Vec<(String, String, i64, i64, i64)> = sqlx::query_as(
        "SELECT kept.class, COALESCE(MAX(retention_class.legal_basis), CASE kept.class \
             WHEN 'transactions' THEN 'E-Commerce Law of the PRC, Art. 31' \
             ELSE 'Cybersecurity Law of the PRC, Art. 21(3)' END), COUNT(*), MIN(kept.until), MAX(kept.until) \
         FROM (SELECT retention.deletion, 'transactions' AS class, retained_order.until \
             FROM retention JOIN retained_order ON retained_order.pseudonym = retention.pseudonym \
         UNION ALL SELECT retention.deletion, 'server_logs', retained_log.until \
             FROM retention JOIN retained_log ON retained_log.pseudonym = retention.pseudonym) AS kept LEFT JOIN retention_class \
             ON retention_class.deletion = kept.deletion AND retention_class.class = kept.class \
         WHERE kept.deletion = $1 GROUP BY kept.class ORDER BY kept.class",
    )
    .bind(deletion)
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(Retained::of).collect())
}

/// What is kept for a deletion (its id, without `deletions/`): for the demo's last look and for tests.
///
/// Errors: the database is away.
pub async fn kept(store: &Store, deletion: &str) -> anyhow::Result<Vec<Retained>> {
    let mut connection = store.pool().acquire().await?;
    Ok(retained(&mut connection, deletion).await?)
}

/// The deletion's own pseudonym: random, so that nothing can be computed back from it. With it, the law of the class.
async fn pseudonym(
    connection: &mut AnyConnection,
    deletion: &str,
    rule: &RetentionRule,
) -> Result<String, sqlx::Error> {
    sqlx::query(
        "INSERT INTO retention_class (deletion, class, legal_basis) VALUES ($1, $2, $3) \
         ON CONFLICT (deletion, class) DO NOTHING",
    )
    .bind(deletion)
    .bind(&rule.class)
    .bind(&rule.legal_basis)
    .execute(&mut *connection)
    .await?;
    sqlx::query("INSERT INTO retention (deletion, pseudonym) VALUES ($1, $2) ON CONFLICT (deletion) DO NOTHING")
        .bind(deletion)
        .bind(Uuid::new_v4().to_string())
        .execute(&mut *connection)
        .await?;
    let (pseudonym,): (String,) =
        sqlx::query_as("SELECT pseudonym FROM retention WHERE deletion = $1")
            .bind(deletion)
            .fetch_one(connection)
            .await?;
    Ok(pseudonym)
}

async fn insert_order(
    connection: &mut AnyConnection,
    pseudonym: &str,
    order: &order::Completed,
    until: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO retained_order (id, pseudonym, item, amount_cents, completed_at, until) \
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(&order.id)
    .bind(pseudonym)
    .bind(&order.item)
    .bind(order.amount_cents)
    .bind(order.completed_at)
    .bind(until)
    .execute(connection)
    .await
    .map(drop)
}

async fn insert_entry(
    connection: &mut AnyConnection,
    pseudonym: &str,
    entry: &access::Entry,
    until: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO retained_log (id, pseudonym, path, accessed_at, until) VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(&entry.id)
    .bind(pseudonym)
    .bind(&entry.path)
    .bind(entry.accessed_at)
    .bind(until)
    .execute(connection)
    .await
    .map(drop)
}
