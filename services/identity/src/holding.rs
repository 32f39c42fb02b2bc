//! What the tables really hold of an account: for the inventory, the probe and the last look.

use farewell_kit::store::Store;
use farewell_kit::{Inventory, holder};
use sqlx::AnyConnection;

/// What is held of the account `$1`: a category, its items and their bytes in each row.
const HELD: &str = "SELECT 'accounts', COUNT(*), CAST(COALESCE(SUM(OCTET_LENGTH(user_name)), 0) AS BIGINT) \
     FROM account WHERE account = $1 \
     UNION ALL SELECT 'credentials', COUNT(*), CAST(COALESCE(SUM(OCTET_LENGTH(hash)), 0) AS BIGINT) \
     FROM credential WHERE account = $1 \
     UNION ALL SELECT 'contacts', COUNT(*), CAST(COALESCE(SUM(OCTET_LENGTH(address)), 0) AS BIGINT) \
     FROM (SELECT account, address FROM contact UNION ALL SELECT account, address FROM contact_earlier) held \
     WHERE account = $1 \
     UNION ALL SELECT 'notices', (SELECT COUNT(*) FROM notice WHERE account = $1) \
     + (SELECT COUNT(*) FROM letter WHERE account = $1), CAST(0 AS BIGINT) \
     UNION ALL SELECT 'revoke_links', COUNT(*), CAST(0 AS BIGINT) FROM revoke_link WHERE account = $1 \
     UNION ALL SELECT 'languages', COUNT(*), CAST(0 AS BIGINT) FROM account_language WHERE account = $1 \
     UNION ALL SELECT 'contact_changes', COUNT(*), CAST(0 AS BIGINT) FROM contact_change WHERE account = $1 \
     UNION ALL SELECT 'cases', COUNT(*), CAST(COALESCE(SUM(OCTET_LENGTH(reference)), 0) AS BIGINT) \
     FROM open_case WHERE account = $1 \
     UNION ALL SELECT 'guardianships', COUNT(*), CAST(0 AS BIGINT) \
     FROM guardianship WHERE child = $1 OR guardian = $1 \
     UNION ALL SELECT 'logins', COUNT(*), CAST(COALESCE(SUM(OCTET_LENGTH(agent)), 0) AS BIGINT) \
     FROM login WHERE account = $1 \
     UNION ALL SELECT 'third_party_grants', COUNT(*), CAST(COALESCE(SUM(OCTET_LENGTH(app)), 0) AS BIGINT) \
     FROM app_grant WHERE account = $1 \
     UNION ALL SELECT 'real_names', COUNT(*), \
     CAST(COALESCE(SUM(OCTET_LENGTH(name) + OCTET_LENGTH(document)), 0) AS BIGINT) \
     FROM real_name WHERE account = $1 \
     UNION ALL SELECT 'codes', COUNT(*), CAST(COALESCE(SUM(OCTET_LENGTH(mac)), 0) AS BIGINT) \
     FROM code WHERE account = $1 \
     UNION ALL SELECT 'proofs', (SELECT COUNT(*) FROM proof WHERE account = $1) \
     + (SELECT COUNT(*) FROM attempt WHERE account = $1), CAST(0 AS BIGINT)";

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
