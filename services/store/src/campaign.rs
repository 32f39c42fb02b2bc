//! Marketing campaigns that an account takes part in: prizes and discounts that are settled when they end.

use std::time::SystemTime;

use farewell_kit::export::{Column, Table};
use farewell_kit::store::{Store, micros};
use farewell_kit::{holder, seal};

pub(crate) const SCHEMA: &str = "\
    CREATE TABLE IF NOT EXISTS campaign_entry (account TEXT NOT NULL, campaign TEXT NOT NULL, ends_at BIGINT NOT NULL, \
        PRIMARY KEY (account, campaign))";

/// What its owner may take along.
pub(crate) const EXPORT: Table = Table::new(
    "campaigns",
    &[Column::Text("campaign"), Column::Time("ends")],
    "SELECT campaign, campaign, ends_at FROM campaign_entry WHERE account = $1 AND campaign > $2 ORDER BY campaign LIMIT $3",
);

/// Takes part in a campaign that runs until then; a second time changes nothing but the end.
///
/// Errors: [`seal::Error::Sealed`], [`seal::Error::Erased`].
pub async fn join_campaign(
    store: &Store,
    account: &str,
    campaign: &str,
    ends: SystemTime,
) -> Result<(), seal::Error> {
    let mut tx = store.pool().begin().await?;
    seal::admit(&mut tx, account).await?;
    sqlx::query(
        "INSERT INTO campaign_entry (account, campaign, ends_at) VALUES ($1, $2, $3) \
         ON CONFLICT (account, campaign) DO UPDATE SET ends_at = excluded.ends_at",
    )
    .bind(account)
    .bind(campaign)
    .bind(micros(ends))
    .execute(&mut *tx)
    .await?;
    Ok(tx.commit().await?)
}

/// Leaves every campaign, with all that could be won. Also while sealed: it removes a blocker.
///
/// Errors: [`seal::Error::Erased`].
pub async fn leave_campaigns(store: &Store, account: &str) -> Result<(), seal::Error> {
    let mut tx = store.pool().begin().await?;
    seal::admit_though_sealed(&mut tx, account).await?;
    holder::erase(&mut tx, "campaign_entry", account).await?;
    Ok(tx.commit().await?)
}
