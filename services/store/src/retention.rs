//! What the law makes the store keep of an account that is gone: under a pseudonym, restricted, and not a day longer.
//!
//! Periods run from the event itself, never from the deletion: three years from the completion of each order, six months
//! from each log entry. What is past its period when the account is erased is erased with it.

use std::time::SystemTime;

use farewell_kit::store::{Store, micros, time};
use farewell_kit::{Fault, Retained};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
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
    CREATE INDEX IF NOT EXISTS retained_log_by_pseudonym ON retained_log (pseudonym)";

/// What is kept, how long and by which law.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Completed orders, class `transactions`, from each order's completion.
    pub transactions: Period,
    /// The access log, class `server_logs`, from each entry.
    pub server_logs: Period,
}

/// How long, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Period {
    /// Calendar months; 0 keeps nothing.
    pub months: u16,
    /// The law, as it is to stand on the certificate.
    pub legal_basis: String,
}

/// The `cn` policy: E-Commerce Law, Art. 31, and Cybersecurity Law, Art. 21 (3) in the counting of 2017.
impl Default for Retention {
    fn default() -> Self {
        Self {
            transactions: Period {
                months: 36,
                legal_basis: "E-Commerce Law of the PRC, Art. 31".to_owned(),
            },
            server_logs: Period {
                months: 6,
                legal_basis: "Cybersecurity Law of the PRC, Art. 21(3)".to_owned(),
            },
        }
    }
}

impl Period {
    /// When something that happened `at` must be erased, both in microseconds since 1970, by the calendar in UTC.
    fn until(&self, at: i64) -> Result<i64, Fault> {
        let ends = Timestamp::from_microsecond(at).and_then(|at| {
            at.to_zoned(TimeZone::UTC)
                .checked_add(i64::from(self.months).months())
        });
        Ok(ends
            .map_err(|error| Fault::new("the end of a retention period", error))?
            .timestamp()
            .as_microsecond())
    }
}

/// How many records were moved out of the live tables, by class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moved {
    pub orders: u64,
    pub entries: u64,
}

/// Copies what must be kept, without name, address or account. The caller erases the live rows in the same transaction.
pub(crate) async fn keep(
    connection: &mut AnyConnection,
    retention: &Retention,
    deletion: &str,
    account: &str,
    now: SystemTime,
) -> Result<Moved, Fault> {
    let now = micros(now);
    let mut moved = Moved::default();
    let orders = order::completed(connection, account).await?;
    let entries = access::entries(connection, account).await?;
    if orders.is_empty() && entries.is_empty() {
        return Ok(moved);
    }
    let pseudonym = pseudonym(connection, deletion).await?;
    for order in orders {
        let until = retention.transactions.until(order.completed_at)?;
        if until > now {
            insert_order(connection, &pseudonym, &order, until).await?;
            moved.orders += 1;
        }
    }
    for entry in entries {
        let until = retention.server_logs.until(entry.accessed_at)?;
        if until > now {
            insert_entry(connection, &pseudonym, &entry, until).await?;
            moved.entries += 1;
        }
    }
    Ok(moved)
}

/// Really erases what was kept for the deletion and is past its period. Gives the numbers of orders and log entries.
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
    sqlx::query(
        "DELETE FROM retention WHERE deletion = $1 \
         AND NOT EXISTS (SELECT 1 FROM retained_order WHERE retained_order.pseudonym = retention.pseudonym) \
         AND NOT EXISTS (SELECT 1 FROM retained_log WHERE retained_log.pseudonym = retention.pseudonym)",
    )
    .bind(deletion)
    .execute(connection)
    .await?;
    Ok(Moved {
        orders: orders.rows_affected(),
        entries: entries.rows_affected(),
    })
}

/// What is kept for the deletion, by class, each until the last of its records ends.
pub(crate) async fn retained(
    connection: &mut AnyConnection,
    retention: &Retention,
    deletion: &str,
) -> Result<Vec<Retained>, sqlx::Error> {
    let rows: Vec<(String, i64, i64)> = sqlx::query_as(
        "SELECT 'transactions', COUNT(*), COALESCE(MAX(until), 0) FROM retained_order \
             WHERE pseudonym = (SELECT pseudonym FROM retention WHERE deletion = $1) \
         UNION ALL SELECT 'server_logs', COUNT(*), COALESCE(MAX(until), 0) FROM retained_log \
             WHERE pseudonym = (SELECT pseudonym FROM retention WHERE deletion = $1)",
    )
    .bind(deletion)
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .filter(|(_, count, _)| *count > 0)
        .map(|(class, count, until)| {
            let period = if class == "transactions" {
                &retention.transactions
            } else {
                &retention.server_logs
            };
            Retained {
                class,
                legal_basis: period.legal_basis.clone(),
                count,
                until: time(until),
            }
        })
        .collect())
}

/// What is kept for a deletion (its id, without `deletions/`): for the demo's last look and for tests.
///
/// Errors: the database is away.
pub async fn kept(
    store: &Store,
    retention: &Retention,
    deletion: &str,
) -> anyhow::Result<Vec<Retained>> {
    let mut connection = store.pool().acquire().await?;
    Ok(retained(&mut connection, retention, deletion).await?)
}

/// The deletion's own pseudonym: random, so that nothing can be computed back from it.
async fn pseudonym(connection: &mut AnyConnection, deletion: &str) -> Result<String, sqlx::Error> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_years_end_on_the_same_day_of_the_calendar_and_not_after_1095_days() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap().as_microsecond();
        let period = Retention::default().transactions;
        assert_eq!(
            period.until(at("2023-05-06T07:08:09Z")).unwrap(),
            at("2026-05-06T07:08:09Z")
        );
        assert_eq!(
            period.until(at("2024-02-29T00:00:00Z")).unwrap(),
            at("2027-02-28T00:00:00Z")
        );
    }
}
