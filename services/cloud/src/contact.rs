//! Contacts: other people's names and numbers, entrusted by the account.

use farewell_kit::seal;
use farewell_kit::store::Store;
use sqlx::AnyConnection;
use uuid::Uuid;

pub(crate) const SCHEMA: &str = "\
    CREATE TABLE IF NOT EXISTS contact (id TEXT PRIMARY KEY, account TEXT NOT NULL, name TEXT NOT NULL, \
        phone TEXT NOT NULL); \
    CREATE INDEX IF NOT EXISTS contact_by_account ON contact (account)";

/// Adds a contact and gives its id.
///
/// Errors: [`seal::Error::Sealed`], [`seal::Error::Erased`].
pub async fn add_contact(
    store: &Store,
    account: &str,
    name: &str,
    phone: &str,
) -> Result<String, seal::Error> {
    let id = Uuid::now_v7().to_string();
    let mut tx = store.pool().begin().await?;
    seal::admit(&mut tx, account).await?;
    insert(&mut tx, &id, account, name, phone).await?;
    tx.commit().await?;
    Ok(id)
}

/// Writes the row; the same id again changes nothing.
pub(crate) async fn insert(
    connection: &mut AnyConnection,
    id: &str,
    account: &str,
    name: &str,
    phone: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO contact (id, account, name, phone) VALUES ($1, $2, $3, $4) ON CONFLICT (id) DO NOTHING")
        .bind(id)
        .bind(account)
        .bind(name)
        .bind(phone)
        .execute(connection)
        .await
        .map(drop)
}

pub(crate) async fn erase(
    connection: &mut AnyConnection,
    account: &str,
) -> Result<u64, sqlx::Error> {
    let deleted = sqlx::query("DELETE FROM contact WHERE account = $1")
        .bind(account)
        .execute(connection)
        .await?;
    Ok(deleted.rows_affected())
}
