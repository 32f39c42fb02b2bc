//! What in identity stands in the way of a deletion.

use std::time::SystemTime;

use farewell_kit::store::{micros, time};
use farewell_kit::{Blocker, CheckEligibility, seal};
use sqlx::AnyConnection;

/// Every code that identity gives.
pub const BLOCKERS: [&str; 11] = [
    "RECENT_PASSWORD_CHANGE",
    "RECENT_CONTACT_CHANGE",
    "RISK_CONTROL_LOCK",
    "ACCOUNT_FROZEN",
    "ACCOUNT_MEMORIALIZED",
    "THIRD_PARTY_GRANTS",
    "LEGAL_HOLD",
    "FRAUD_CASE",
    "GUARDIAN_OF_CHILD_ACCOUNT",
    "CHILD_NEEDS_GUARDIAN",
    "UNKNOWN_ACCOUNT",
];

/// Every blocker at once. An account that nobody knows is not eligible: a slip of the pen must not look like "go on".
pub(crate) async fn blockers(
    connection: &mut AnyConnection,
    request: &CheckEligibility,
    now: SystemTime,
) -> Result<Vec<Blocker>, sqlx::Error> {
    let account = request.account.as_str();
    let recent_since = now.checked_sub(request.recent_change).map_or(0, micros);
    // Code, how many, and the moment that the end is counted from.
    let rows: Vec<(String, i64, i64)> = sqlx::query_as(
        "SELECT 'RECENT_PASSWORD_CHANGE', COUNT(*), COALESCE(MAX(changed_at), 0) \
             FROM credential WHERE account = $1 AND changed_at > $2 \
         UNION ALL SELECT 'RECENT_CONTACT_CHANGE', COUNT(*), COALESCE(MAX(changed_at), 0) \
             FROM contact_change WHERE account = $1 AND changed_at > $2 \
         UNION ALL SELECT 'RISK_CONTROL_LOCK', COUNT(*), CAST(0 AS BIGINT) \
             FROM account WHERE account = $1 AND risk_locked <> 0 \
         UNION ALL SELECT 'ACCOUNT_FROZEN', COUNT(*), CAST(0 AS BIGINT) \
             FROM account WHERE account = $1 AND frozen <> 0 \
         UNION ALL SELECT 'ACCOUNT_MEMORIALIZED', COUNT(*), CAST(0 AS BIGINT) \
             FROM standing WHERE account = $3 AND word = 'MEMORIALIZED' \
         UNION ALL SELECT 'THIRD_PARTY_GRANTS', COUNT(*), CAST(0 AS BIGINT) \
             FROM app_grant WHERE account = $1 AND revoked_at = 0 \
         UNION ALL SELECT 'LEGAL_HOLD', COUNT(*), CAST(0 AS BIGINT) \
             FROM open_case WHERE account = $1 AND kind = 'LEGAL_HOLD' \
         UNION ALL SELECT 'FRAUD_CASE', COUNT(*), CAST(0 AS BIGINT) \
             FROM open_case WHERE account = $1 AND kind = 'FRAUD_CASE' \
         UNION ALL SELECT 'GUARDIAN_OF_CHILD_ACCOUNT', COUNT(*), CAST(0 AS BIGINT) \
             FROM guardianship WHERE guardian = $1 \
         UNION ALL SELECT 'CHILD_NEEDS_GUARDIAN', COUNT(*), CAST(0 AS BIGINT) \
             FROM guardianship WHERE child = $1 AND agreed_at = 0 \
         UNION ALL SELECT 'UNKNOWN_ACCOUNT', CASE WHEN COUNT(*) = 0 THEN CAST(1 AS BIGINT) ELSE CAST(0 AS BIGINT) END, \
             CAST(0 AS BIGINT) FROM account WHERE account = $1",
    )
    .bind(account)
    .bind(recent_since)
    .bind(seal::mark(account))
    .fetch_all(connection)
    .await?;
    let blocker = |(code, count, since): (String, i64, i64)| {
        let until = (since > 0).then(|| time(since) + request.recent_change);
        Blocker::new(code).count(count).until(until)
    };
    Ok(rows
        .into_iter()
        .filter(|(_, count, _)| *count > 0)
        .map(blocker)
        .collect())
}
