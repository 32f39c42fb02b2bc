//! Where an account can be reached: one phone number, one mail address.

use farewell_kit::store::Store;
use farewell_kit::{CodeChannel, seal};
use sqlx::AnyConnection;

pub(crate) const SCHEMA: &str = "\
    CREATE TABLE IF NOT EXISTS contact (account TEXT NOT NULL, channel TEXT NOT NULL CHECK (channel IN ('SMS', 'EMAIL')), \
        address TEXT NOT NULL, PRIMARY KEY (account, channel))";

/// Binds a phone number or a mail address, instead of an earlier one.
///
/// Errors: [`seal::Error::Sealed`], [`seal::Error::Erased`].
pub async fn set_contact(
    store: &Store,
    account: &str,
    channel: CodeChannel,
    address: &str,
) -> Result<(), seal::Error> {
    let mut tx = store.pool().begin().await?;
    seal::admit(&mut tx, account).await?;
    put(&mut tx, account, channel, address).await?;
    Ok(tx.commit().await?)
}

pub(crate) async fn put(
    connection: &mut AnyConnection,
    account: &str,
    channel: CodeChannel,
    address: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO contact (account, channel, address) VALUES ($1, $2, $3) \
         ON CONFLICT (account, channel) DO UPDATE SET address = excluded.address",
    )
    .bind(account)
    .bind(word(channel))
    .bind(address)
    .execute(connection)
    .await
    .map(drop)
}

pub(crate) async fn address(
    connection: &mut AnyConnection,
    account: &str,
    channel: CodeChannel,
) -> Result<Option<String>, sqlx::Error> {
    let row: Option<(String,)> =
        sqlx::query_as("SELECT address FROM contact WHERE account = $1 AND channel = $2")
            .bind(account)
            .bind(word(channel))
            .fetch_optional(connection)
            .await?;
    Ok(row.map(|(address,)| address))
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

/// How a channel is stored.
pub(crate) fn word(channel: CodeChannel) -> &'static str {
    match channel {
        CodeChannel::Sms => "SMS",
        CodeChannel::Email => "EMAIL",
    }
}
