//! What in identity stands in the way of a deletion.

use std::time::{Duration, SystemTime};

use farewell_kit::Blocker;
use farewell_kit::store::micros;
use sqlx::AnyConnection;

/// Every blocker at once. An account that nobody knows is not eligible: a slip of the pen must not look like "go on".
pub(crate) async fn blockers(
    connection: &mut AnyConnection,
    account: &str,
    recent_change: Duration,
    now: SystemTime,
) -> Result<Vec<Blocker>, sqlx::Error> {
    let recent_since = now.checked_sub(recent_change).map_or(0, micros);
    let rows: Vec<(String, i64)> = sqlx::query_as(
        "SELECT 'RECENT_PASSWORD_CHANGE', COUNT(*) FROM credential WHERE account = $1 AND changed_at > $2 \
         UNION ALL SELECT 'RISK_CONTROL_LOCK', COUNT(*) FROM account WHERE account = $1 AND risk_locked <> 0 \
         UNION ALL SELECT 'ACCOUNT_FROZEN', COUNT(*) FROM account WHERE account = $1 AND frozen <> 0 \
         UNION ALL SELECT 'THIRD_PARTY_GRANTS', COUNT(*) FROM app_grant WHERE account = $1 AND revoked_at = 0 \
         UNION ALL SELECT 'UNKNOWN_ACCOUNT', CASE WHEN COUNT(*) = 0 THEN CAST(1 AS BIGINT) ELSE CAST(0 AS BIGINT) END \
             FROM account WHERE account = $1",
    )
    .bind(account)
    .bind(recent_since)
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(code, count)| blocker(code, count))
        .collect())
}

fn blocker(code: String, count: i64) -> Blocker {
    let (message, remedy) = match code.as_str() {
        "RECENT_PASSWORD_CHANGE" => (
            "The password was changed a short time ago.".to_owned(),
            "Wait some days: this protects you from somebody who has just learned your password.",
        ),
        "RISK_CONTROL_LOCK" => (
            "The account is locked because of unusual use.".to_owned(),
            "Change your password first.",
        ),
        "ACCOUNT_FROZEN" => (
            "The account is frozen.".to_owned(),
            "Ask support to lift that.",
        ),
        "THIRD_PARTY_GRANTS" => (
            format!("{count} app(s) of other companies may still use the account."),
            "Revoke their access in the account centre.",
        ),
        _ => (
            "There is no such account.".to_owned(),
            "Check which account is meant.",
        ),
    };
    Blocker {
        code,
        message,
        remedy: remedy.to_owned(),
    }
}
