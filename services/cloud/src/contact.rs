//! Contacts: other people's names and numbers, entrusted by the account.

use farewell_kit::export::{Part, Section};
use farewell_kit::store::Store;
use farewell_kit::{Fault, async_trait, holder, seal};
use sqlx::AnyConnection;
use uuid::Uuid;

use crate::vcard;

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
    holder::erase(connection, "contact", account).await
}

/// Contacts read at a time.
const ROWS_MAX: i64 = 200;

/// Contacts as one file that any address book takes.
pub(crate) struct Contacts<'a>(pub &'a Store);

#[async_trait]
impl Section for Contacts<'_> {
    fn name(&self) -> &str {
        "contacts"
    }

    async fn write(
        &self,
        account: &str,
        after: &str,
        part: &mut Part,
    ) -> Result<Option<String>, Fault> {
        let rows: Vec<(String, String, String)> = sqlx::query_as(
            "SELECT id, name, phone FROM contact WHERE account = $1 AND id > $2 ORDER BY id LIMIT $3",
        )
        .bind(account)
        .bind(after)
        .bind(ROWS_MAX)
        .fetch_all(self.0.pool())
        .await?;
        let mut last = after;
        for (id, name, phone) in &rows {
            if part.room_bytes() == 0 {
                return Ok(Some(last.to_owned()));
            }
            part.write("contacts.vcf", vcard::card(id, name, phone).as_bytes());
            part.tell("contacts");
            last = id;
        }
        Ok(rows.last().map(|(id, ..)| id.clone()))
    }
}
