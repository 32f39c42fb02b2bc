//! The real-name record: who the person is to the state.

use farewell_kit::export::{Column, Table};
use farewell_kit::seal;
use farewell_kit::store::Store;
use sqlx::AnyConnection;

pub(crate) const SCHEMA: &str = "\
    CREATE TABLE IF NOT EXISTS real_name (account TEXT PRIMARY KEY, name TEXT NOT NULL, document TEXT NOT NULL)";

/// What its owner may take along.
pub(crate) const EXPORT: Table = Table::new(
    "real_name",
    &[Column::Text("name"), Column::Text("document")],
    "SELECT account, name, document FROM real_name WHERE account = $1 AND account > $2 ORDER BY account LIMIT $3",
);

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

/// Clears the record and nothing else: the account stays. `false`: there was none.
///
/// Errors: [`seal::Error::Sealed`], [`seal::Error::Erased`].
pub async fn clear_real_name(store: &Store, account: &str) -> Result<bool, seal::Error> {
    let mut tx = store.pool().begin().await?;
    seal::admit(&mut tx, account).await?;
    let cleared = erase(&mut tx, account).await?;
    tx.commit().await?;
    Ok(cleared > 0)
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
    let deleted = sqlx::query("DELETE FROM real_name WHERE account = $1")
        .bind(account)
        .execute(connection)
        .await?;
    Ok(deleted.rows_affected())
}
