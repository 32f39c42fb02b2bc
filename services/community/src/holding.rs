//! What the tables really hold of an account: for the inventory, the probe and the last look.

use farewell_kit::store::Store;
use farewell_kit::{Inventory, holder};
use sqlx::AnyConnection;

/// What is held of the account `$1`: a category, its items and their bytes in each row.
const HELD: &str = "SELECT 'posts', COUNT(*), CAST(COALESCE(SUM(OCTET_LENGTH(text)), 0) AS BIGINT) \
     FROM post WHERE account = $1 \
     UNION ALL SELECT 'comments', COUNT(*), CAST(COALESCE(SUM(OCTET_LENGTH(text)), 0) AS BIGINT) \
     FROM comment WHERE account = $1 \
     UNION ALL SELECT 'memberships', COUNT(*), CAST(COALESCE(SUM(OCTET_LENGTH(circle)), 0) AS BIGINT) \
     FROM membership WHERE account = $1 \
     UNION ALL SELECT 'interests', COUNT(*), CAST(COALESCE(SUM(OCTET_LENGTH(topic)), 0) AS BIGINT) \
     FROM interest WHERE account = $1 \
     UNION ALL SELECT 'bans', COUNT(*), CAST(COALESCE(SUM(OCTET_LENGTH(reason)), 0) AS BIGINT) \
     FROM ban WHERE account = $1";

/// What is held, by category; sizes are bytes of text. Categories without items are left out.
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
