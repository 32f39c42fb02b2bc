//! The real-name record: who the person is to the state.

use farewell_kit::export::{Column, Table};
use farewell_kit::store::Store;
use farewell_kit::{holder, seal};
use sqlx::AnyConnection;

pub(crate) const SCHEMA: &str = "\
    CREATE TABLE IF NOT EXISTS real_name (account TEXT PRIMARY KEY, name TEXT NOT NULL, document TEXT NOT NULL)";

/// What its owner may take along.
pub(crate) const EXPORT: Table = Table::new(
    "real_name",
    &[Column::Text("name"), Column::Text("document")],
    "SELECT account, name, document FROM real_name WHERE account = $1 AND account > $2 ORDER BY account LIMIT $3",
)
.counted_as("real_names");

/// Records name and document number, instead of earlier ones.
///
/// Errors: [`seal::Error::Sealed`], [`seal::Error::Erased`].
pub async fn set_real_name(
    store: &Store,
    account: &str,
    name: &str,
    document: &str,
) -> Result<(), seal::Error> {
    let mut tx = store.pool().begin().await?;
    seal::admit(&mut tx, account).await?;
    put(&mut tx, account, name, document).await?;
    Ok(tx.commit().await?)
}

/// What the record is needed for, as stable words: whoever answers for a child must be known (PIPL Art. 31), and evidence isn't
/// destroyed while a case is open (GDPR Art. 17(3)(e)).
pub(crate) async fn needed_for(
    connection: &mut AnyConnection,
    account: &str,
) -> Result<Vec<String>, sqlx::Error> {
    let rows: Vec<(String, i64)> = sqlx::query_as(
        "SELECT 'UNKNOWN_ACCOUNT', CASE WHEN COUNT(*) = 0 THEN CAST(1 AS BIGINT) ELSE CAST(0 AS BIGINT) END \
             FROM account WHERE account = $1 \
         UNION ALL SELECT 'NO_REAL_NAME', CASE WHEN COUNT(*) = 0 THEN CAST(1 AS BIGINT) ELSE CAST(0 AS BIGINT) END \
             FROM real_name WHERE account = $1 \
         UNION ALL SELECT 'GUARDIAN_OF_CHILD_ACCOUNT', COUNT(*) FROM guardianship WHERE guardian = $1 \
         UNION ALL SELECT 'ACCOUNT_FROZEN', COUNT(*) FROM account WHERE account = $1 AND frozen <> 0 \
         UNION ALL SELECT 'RISK_CONTROL_LOCK', COUNT(*) FROM account WHERE account = $1 AND risk_locked <> 0 \
         UNION ALL SELECT kind, COUNT(*) FROM open_case WHERE account = $1 GROUP BY kind",
    )
    .bind(account)
    .fetch_all(connection)
    .await?;
    let stands = rows.into_iter().filter(|(_, count)| *count > 0);
    Ok(stands.map(|(word, _)| word).collect())
}

pub(crate) async fn put(
    connection: &mut AnyConnection,
    account: &str,
    name: &str,
    document: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO real_name (account, name, document) VALUES ($1, $2, $3) \
         ON CONFLICT (account) DO UPDATE SET name = excluded.name, document = excluded.document",
    )
    .bind(account)
    .bind(name)
    .bind(document)
    .execute(connection)
    .await
    .map(drop)
}

pub(crate) async fn erase(
    connection: &mut AnyConnection,
    account: &str,
) -> Result<u64, sqlx::Error> {
    holder::erase(connection, "real_name", account).await
}
