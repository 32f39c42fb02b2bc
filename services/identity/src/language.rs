//! The language that letters to an account's owner are written in.

pub use farewell_interpreter::Language;
use farewell_kit::export::{Column, Table};
use farewell_kit::store::Store;
use farewell_kit::{holder, seal};
use sqlx::AnyConnection;

pub(crate) const SCHEMA: &str = "\
    CREATE TABLE IF NOT EXISTS account_language (account TEXT PRIMARY KEY, language TEXT NOT NULL)";

/// What its owner may take along.
pub(crate) const EXPORT: Table = Table::new(
    "language",
    &[Column::Text("language")],
    "SELECT account, language FROM account_language WHERE account = $1 AND account > $2 ORDER BY account LIMIT $3",
)
.counted_as("languages");

/// Says which language the owner reads.
///
/// Errors: [`seal::Error::Sealed`], [`seal::Error::Erased`].
pub async fn set_language(
    store: &Store,
    account: &str,
    language: Language,
) -> Result<(), seal::Error> {
    let mut tx = store.pool().begin().await?;
    seal::admit(&mut tx, account).await?;
    sqlx::query(
        "INSERT INTO account_language (account, language) VALUES ($1, $2) \
         ON CONFLICT (account) DO UPDATE SET language = excluded.language",
    )
    .bind(account)
    .bind(language.tag())
    .execute(&mut *tx)
    .await?;
    Ok(tx.commit().await?)
}

/// The language of an account, if it said one.
pub(crate) async fn of(
    connection: &mut AnyConnection,
    account: &str,
) -> Result<Option<Language>, sqlx::Error> {
    let row: Option<(String,)> =
        sqlx::query_as("SELECT language FROM account_language WHERE account = $1")
            .bind(account)
            .fetch_optional(connection)
            .await?;
    Ok(row.and_then(|(tag,)| Language::from_tag(&tag)))
}

pub(crate) async fn erase(
    connection: &mut AnyConnection,
    account: &str,
) -> Result<u64, sqlx::Error> {
    holder::erase(connection, "account_language", account).await
}
