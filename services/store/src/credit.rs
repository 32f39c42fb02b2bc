//! What an account owes: debts, and credit that is paid back in parts.

use std::time::SystemTime;

use farewell_kit::export::{Column, Table};
use farewell_kit::seal;
use farewell_kit::store::{Store, micros};
use sqlx::AnyConnection;
use uuid::Uuid;

/// `owed_cents` is 0 once all is paid.
pub(crate) const SCHEMA: &str = "\
    CREATE TABLE IF NOT EXISTS credit (id TEXT PRIMARY KEY, account TEXT NOT NULL, \
        owed_cents BIGINT NOT NULL CHECK (owed_cents >= 0), opened_at BIGINT NOT NULL); \
    CREATE INDEX IF NOT EXISTS credit_by_account ON credit (account)";

/// What its owner may take along.
pub(crate) const EXPORT: Table = Table::new(
    "credits",
    &[
        Column::Text("id"),
        Column::Cents("owed"),
        Column::Time("opened"),
    ],
    "SELECT id, id, owed_cents, opened_at FROM credit WHERE account = $1 AND id > $2 ORDER BY id LIMIT $3",
);

/// The account owes so many hundredths of the currency from now on. Gives the credit's id.
///
/// Errors: [`seal::Error::Sealed`], [`seal::Error::Erased`].
pub async fn lend(store: &Store, account: &str, owed_cents: u32) -> Result<String, seal::Error> {
    let id = Uuid::now_v7().to_string();
    let mut tx = store.pool().begin().await?;
    seal::admit(&mut tx, account).await?;
    sqlx::query("INSERT INTO credit (id, account, owed_cents, opened_at) VALUES ($1, $2, $3, $4)")
        .bind(&id)
        .bind(account)
        .bind(i64::from(owed_cents))
        .bind(micros(SystemTime::now()))
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(id)
}

/// Pays so many hundredths of the currency back, and gives what is still owed. Also while sealed: it removes a blocker.
/// `None`: no such credit, or less is owed.
///
/// Errors: [`seal::Error::Erased`].
pub async fn pay_back(
    store: &Store,
    account: &str,
    id: &str,
    paid_cents: u32,
) -> Result<Option<i64>, seal::Error> {
    let mut tx = store.pool().begin().await?;
    seal::admit_though_sealed(&mut tx, account).await?;
    let left: Option<(i64,)> = sqlx::query_as(
        "UPDATE credit SET owed_cents = owed_cents - $3 WHERE id = $1 AND account = $2 AND owed_cents >= $3 \
         RETURNING owed_cents",
    )
    .bind(id)
    .bind(account)
    .bind(i64::from(paid_cents))
    .fetch_optional(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(left.map(|(cents,)| cents))
}

/// Who owes something under a credit agreement stays known by name until it is paid: a lender must know its debtor
/// (Directive (EU) 2015/849, Art. 13, and the Anti-Money Laundering Law of the PRC on customers' identity).
pub(crate) async fn needs_real_name(
    connection: &mut AnyConnection,
    account: &str,
) -> Result<Vec<String>, sqlx::Error> {
    let (owed,): (i64,) =
        sqlx::query_as("SELECT COUNT(*) FROM credit WHERE account = $1 AND owed_cents <> 0")
            .bind(account)
            .fetch_one(connection)
            .await?;
    Ok((owed > 0)
        .then(|| "DEBT_OR_CREDIT".to_owned())
        .into_iter()
        .collect())
}
