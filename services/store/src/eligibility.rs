//! What in the store stands in the way of a deletion.

use std::time::SystemTime;

use farewell_kit::Blocker;
use farewell_kit::store::{micros, time};
use sqlx::AnyConnection;

/// Every code that the store gives.
pub const BLOCKERS: [&str; 10] = [
    "UNFINISHED_ORDER",
    "OPEN_DISPUTE",
    "WALLET_BALANCE",
    "DEBT_OR_CREDIT",
    "COUPONS_LEFT",
    "POINTS_LEFT",
    "ACTIVE_SUBSCRIPTION",
    "CAMPAIGN_ACTIVE",
    "SAFETY_OR_INSURANCE_CASE",
    "SUPPORT_TICKET_OPEN",
];

/// Every blocker at once. Points and coupons that were given up are none, nor is a campaign that is over.
pub(crate) async fn blockers(
    connection: &mut AnyConnection,
    account: &str,
    now: SystemTime,
) -> Result<Vec<Blocker>, sqlx::Error> {
    // Code, how many, and when it ends by itself.
    let rows: Vec<(String, i64, i64)> = sqlx::query_as(
        "SELECT 'UNFINISHED_ORDER', COUNT(*), CAST(0 AS BIGINT) \
             FROM placed_order WHERE account = $1 AND state = 'PLACED' \
         UNION ALL SELECT 'OPEN_DISPUTE', COUNT(*), CAST(0 AS BIGINT) \
             FROM placed_order WHERE account = $1 AND disputed <> 0 \
         UNION ALL SELECT 'WALLET_BALANCE', CAST(COALESCE(SUM(ABS(balance_cents)), 0) AS BIGINT), CAST(0 AS BIGINT) \
             FROM wallet WHERE account = $1 AND balance_cents <> 0 \
         UNION ALL SELECT 'DEBT_OR_CREDIT', COUNT(*), CAST(0 AS BIGINT) \
             FROM credit WHERE account = $1 AND owed_cents <> 0 \
         UNION ALL SELECT 'COUPONS_LEFT', COUNT(*), CAST(0 AS BIGINT) \
             FROM coupon WHERE account = $1 AND state = 'LEFT' \
         UNION ALL SELECT 'POINTS_LEFT', CAST(COALESCE(SUM(points), 0) AS BIGINT), CAST(0 AS BIGINT) \
             FROM points WHERE account = $1 AND points > 0 AND forfeited = 0 \
         UNION ALL SELECT 'ACTIVE_SUBSCRIPTION', COUNT(*), CAST(0 AS BIGINT) \
             FROM subscription WHERE account = $1 AND active <> 0 \
         UNION ALL SELECT 'CAMPAIGN_ACTIVE', COUNT(*), COALESCE(MAX(ends_at), 0) \
             FROM campaign_entry WHERE account = $1 AND ends_at > $2 \
         UNION ALL SELECT 'SAFETY_OR_INSURANCE_CASE', COUNT(*), CAST(0 AS BIGINT) \
             FROM support_case WHERE account = $1 AND closed_at = 0 AND kind <> 'TICKET' \
         UNION ALL SELECT 'SUPPORT_TICKET_OPEN', COUNT(*), CAST(0 AS BIGINT) \
             FROM support_case WHERE account = $1 AND closed_at = 0 AND kind = 'TICKET'",
    )
    .bind(account)
    .bind(micros(now))
    .fetch_all(connection)
    .await?;
    let blocker = |(code, count, until): (String, i64, i64)| {
        let until = (until > 0).then(|| time(until));
        Blocker::new(code).count(count).until(until)
    };
    Ok(rows
        .into_iter()
        .filter(|(_, count, _)| *count > 0)
        .map(blocker)
        .collect())
}
