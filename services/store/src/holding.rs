//! What the tables really hold of an account: for the inventory, the probe and the last look.

use farewell_kit::store::Store;
use farewell_kit::{Inventory, holder};
use sqlx::AnyConnection;

/// What is held of the account `$1`: a category, its items and their bytes in each row.
const HELD: &str = "SELECT 'orders', COUNT(*), CAST(COALESCE(SUM(OCTET_LENGTH(item) + OCTET_LENGTH(recipient) \
     + OCTET_LENGTH(address)), 0) AS BIGINT) FROM placed_order WHERE account = $1 \
     UNION ALL SELECT 'wallets', COUNT(*), CAST(0 AS BIGINT) FROM wallet WHERE account = $1 \
     UNION ALL SELECT 'coupons', COUNT(*), CAST(0 AS BIGINT) FROM coupon WHERE account = $1 \
     UNION ALL SELECT 'points', COUNT(*), CAST(0 AS BIGINT) FROM points WHERE account = $1 \
     UNION ALL SELECT 'subscriptions', COUNT(*), CAST(COALESCE(SUM(OCTET_LENGTH(plan)), 0) AS BIGINT) \
     FROM subscription WHERE account = $1 \
     UNION ALL SELECT 'credits', COUNT(*), CAST(0 AS BIGINT) FROM credit WHERE account = $1 \
     UNION ALL SELECT 'campaigns', COUNT(*), CAST(COALESCE(SUM(OCTET_LENGTH(campaign)), 0) AS BIGINT) \
     FROM campaign_entry WHERE account = $1 \
     UNION ALL SELECT 'support_cases', COUNT(*), CAST(COALESCE(SUM(OCTET_LENGTH(text)), 0) AS BIGINT) \
     FROM support_case WHERE account = $1 \
     UNION ALL SELECT 'entitlements', COUNT(*), CAST(COALESCE(SUM(OCTET_LENGTH(kind)), 0) AS BIGINT) \
     FROM entitlement WHERE account = $1 \
     UNION ALL SELECT 'transfers', COUNT(*), CAST(0 AS BIGINT) FROM book WHERE account = $1 \
     UNION ALL SELECT 'named_in_transfers', COUNT(*), CAST(0 AS BIGINT) FROM book WHERE counter_account = $1 \
     UNION ALL SELECT 'interests', COUNT(*), CAST(COALESCE(SUM(OCTET_LENGTH(topic)), 0) AS BIGINT) \
     FROM interest WHERE account = $1 \
     UNION ALL SELECT 'access_log', COUNT(*), CAST(COALESCE(SUM(OCTET_LENGTH(address) + OCTET_LENGTH(path)), 0) \
     AS BIGINT) FROM access_log WHERE account = $1";

/// What is held, by category; sizes are bytes of text. Categories without items are left out, and so is what is retained:
/// it is no longer the account's.
///
/// Errors: the database is away.
pub async fn left_over(store: &Store, account: &str) -> anyhow::Result<Inventory> {
    let mut connection = store.pool().acquire().await?;
    Ok(held(&mut connection, account).await?)
}

/// Every category that is looked for, whether anything is there or not.
///
/// Errors: the database is away.
pub async fn categories(store: &Store) -> anyhow::Result<Vec<String>> {
    let mut connection = store.pool().acquire().await?;
    Ok(holder::categories(&mut connection, HELD).await?)
}

pub(crate) async fn held(
    connection: &mut AnyConnection,
    account: &str,
) -> Result<Inventory, sqlx::Error> {
    holder::count(connection, HELD, account).await
}
