//! Where an account can be reached: one phone number, one mail address.

use std::time::{Duration, SystemTime};

use farewell_kit::export::{Column, Table};
use farewell_kit::store::{Store, micros};
use farewell_kit::{BadIdentifier, CodeChannel, RECENT_CHANGE_MAX, holder, seal};
use sqlx::AnyConnection;

use crate::courier::Way;
use crate::identifier;

/// `normal`: see [`crate::identifier`].
pub(crate) const SCHEMA: &str = "\
    CREATE TABLE IF NOT EXISTS contact (account TEXT NOT NULL, channel TEXT NOT NULL CHECK (channel IN ('SMS', 'EMAIL')), \
        address TEXT NOT NULL, normal TEXT, PRIMARY KEY (account, channel)); \
    CREATE TABLE IF NOT EXISTS contact_change (account TEXT NOT NULL, channel TEXT NOT NULL, changed_at BIGINT NOT NULL, \
        PRIMARY KEY (account, channel)); \
    CREATE TABLE IF NOT EXISTS contact_earlier (account TEXT NOT NULL, channel TEXT NOT NULL, address TEXT NOT NULL, \
        changed_at BIGINT NOT NULL, PRIMARY KEY (account, channel, address))";

/// What its owner may take along.
pub(crate) const EXPORT: Table = Table::new(
    "contacts",
    &[Column::Text("channel"), Column::Text("address")],
    "SELECT channel, channel, address FROM contact WHERE account = $1 AND channel > $2 ORDER BY channel LIMIT $3",
);

/// Addresses that the account had before.
pub(crate) const EARLIER: Table = Table::new(
    "earlier_contacts",
    &[
        Column::Text("channel"),
        Column::Text("address"),
        Column::Time("changed"),
    ],
    "SELECT channel || '/' || address, channel, address, changed_at FROM contact_earlier \
     WHERE account = $1 AND channel || '/' || address > $2 ORDER BY 1 LIMIT $3",
)
.counted_as("contacts");

/// When an address was changed last.
pub(crate) const CHANGES: Table = Table::new(
    "contact_changes",
    &[Column::Text("channel"), Column::Time("changed")],
    "SELECT channel, channel, changed_at FROM contact_change WHERE account = $1 AND channel > $2 ORDER BY channel LIMIT $3",
);

/// Why nothing was bound.
#[derive(Debug, thiserror::Error)]
pub enum ContactError {
    /// No address, or a number without its country code: nobody could say whose it is, or hold it back.
    #[error(transparent)]
    Malformed(#[from] BadIdentifier),
    /// [`seal::Error::Sealed`], [`seal::Error::Erased`], or the database is away.
    #[error(transparent)]
    Write(#[from] seal::Error),
}

impl From<sqlx::Error> for ContactError {
    fn from(error: sqlx::Error) -> Self {
        Self::Write(error.into())
    }
}

/// Binds a phone number or a mail address, instead of an earlier one. For a while deleting the account asks for more then: codes
/// that go to a new address don't say who bound it; and the earlier one hears of it. The same address again changes nothing, and
/// the first one changes none.
///
/// Errors: [`ContactError`].
pub async fn set_contact(
    store: &Store,
    account: &str,
    channel: CodeChannel,
    address: &str,
) -> Result<(), ContactError> {
    let mut tx = store.pool().begin().await?;
    seal::admit(&mut tx, account).await?;
    normal(channel, address)?;
    let earlier = self::address(&mut tx, account, channel).await?;
    if earlier.as_deref() == Some(address) {
        return Ok(());
    }
    put(&mut tx, account, channel, address).await?;
    if let Some(earlier) = earlier {
        let now = SystemTime::now();
        keep_earlier(&mut tx, account, channel, &earlier, now).await?;
        changed(&mut tx, account, channel, now).await?;
    }
    Ok(tx.commit().await?)
}

/// Keeps what was bound before, for as long as any policy may call its change recent and no longer.
async fn keep_earlier(
    connection: &mut AnyConnection,
    account: &str,
    channel: CodeChannel,
    address: &str,
    now: SystemTime,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO contact_earlier (account, channel, address, changed_at) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (account, channel, address) DO UPDATE SET changed_at = excluded.changed_at",
    )
    .bind(account)
    .bind(word(channel))
    .bind(address)
    .bind(micros(now))
    .execute(connection)
    .await
    .map(drop)
}

/// Every number and address, and those that were changed not longer ago than `recent`.
pub(crate) async fn everywhere(
    connection: &mut AnyConnection,
    account: &str,
    recent: Duration,
    now: SystemTime,
) -> Result<Vec<(Way, String)>, sqlx::Error> {
    let rows: Vec<(String, String)> = sqlx::query_as(
        "SELECT channel, address FROM contact WHERE account = $1 \
         UNION SELECT channel, address FROM contact_earlier WHERE account = $1 AND changed_at > $2",
    )
    .bind(account)
    .bind(now.checked_sub(recent).map_or(0, micros))
    .fetch_all(connection)
    .await?;
    let way = |(channel, address): (String, String)| Some((Way::from_word(&channel)?, address));
    Ok(rows.into_iter().filter_map(way).collect())
}

/// How long a deletion that was told of, and not of its end, keeps who was told.
const OPEN_MAX: Duration = Duration::from_secs(2 * 365 * 24 * 60 * 60);

/// Forgets what was bound before longer ago than any policy asks for, unless a deletion that was told of is still open: who hears of one
/// at its beginning hears of its end, however long something holds it.
pub(crate) async fn sweep(
    connection: &mut AnyConnection,
    now: SystemTime,
) -> Result<u64, sqlx::Error> {
    let long_ago = "DELETE FROM contact_earlier WHERE changed_at <= $1 AND account NOT IN \
                        (SELECT told.account FROM notice told WHERE told.made_at > $2 AND told.deletion LIKE 'deletions/%' \
                         AND NOT EXISTS (SELECT 1 FROM notice ended WHERE ended.deletion = told.deletion \
                                         AND ended.name IN ('revoked', 'denied', 'expired')))";
    let deleted = sqlx::query(long_ago)
        .bind(now.checked_sub(RECENT_CHANGE_MAX).map_or(0, micros))
        .bind(now.checked_sub(OPEN_MAX).map_or(0, micros))
        .execute(connection)
        .await?;
    Ok(deleted.rows_affected())
}

/// Remembers when a number or address was changed, if no later change is known.
pub(crate) async fn changed(
    connection: &mut AnyConnection,
    account: &str,
    channel: CodeChannel,
    at: SystemTime,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO contact_change (account, channel, changed_at) VALUES ($1, $2, $3) \
         ON CONFLICT (account, channel) DO UPDATE SET changed_at = excluded.changed_at \
             WHERE contact_change.changed_at < excluded.changed_at",
    )
    .bind(account)
    .bind(word(channel))
    .bind(micros(at))
    .execute(connection)
    .await
    .map(drop)
}

pub(crate) async fn put(
    connection: &mut AnyConnection,
    account: &str,
    channel: CodeChannel,
    address: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO contact (account, channel, address, normal) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (account, channel) DO UPDATE SET address = excluded.address, normal = excluded.normal",
    )
    .bind(account)
    .bind(word(channel))
    .bind(address)
    .bind(normal(channel, address).unwrap_or_default())
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
    let earlier = sqlx::query("DELETE FROM contact_earlier WHERE account = $1")
        .bind(account)
        .execute(&mut *connection)
        .await?;
    let deleted = sqlx::query("DELETE FROM contact WHERE account = $1")
        .bind(account)
        .execute(connection)
        .await?;
    Ok(earlier.rows_affected() + deleted.rows_affected())
}

pub(crate) async fn erase_changes(
    connection: &mut AnyConnection,
    account: &str,
) -> Result<u64, sqlx::Error> {
    holder::erase(connection, "contact_change", account).await
}

/// How a channel is stored.
pub(crate) fn word(channel: CodeChannel) -> &'static str {
    match channel {
        CodeChannel::Sms => "SMS",
        CodeChannel::Email => "EMAIL",
    }
}

/// The form by which a number or an address is compared.
pub(crate) fn normal(channel: CodeChannel, address: &str) -> Result<String, BadIdentifier> {
    identifier::normal(identifier::kind_of(word(channel)), address)
}
