//! What in the store stands in the way of a deletion.

use farewell_kit::Blocker;
use sqlx::AnyConnection;

/// Every blocker at once. Points and coupons that were given up are none.
pub(crate) async fn blockers(
    connection: &mut AnyConnection,
    account: &str,
) -> Result<Vec<Blocker>, sqlx::Error> {
    let rows: Vec<(String, i64)> = sqlx::query_as(
        "SELECT 'UNFINISHED_ORDER', COUNT(*) FROM placed_order WHERE account = $1 AND state = 'PLACED' \
         UNION ALL SELECT 'OPEN_DISPUTE', COUNT(*) FROM placed_order WHERE account = $1 AND disputed <> 0 \
         UNION ALL SELECT 'WALLET_BALANCE', COUNT(*) FROM wallet WHERE account = $1 AND balance_cents <> 0 \
         UNION ALL SELECT 'COUPONS_LEFT', COUNT(*) FROM coupon WHERE account = $1 AND state = 'LEFT' \
         UNION ALL SELECT 'POINTS_LEFT', COUNT(*) FROM points WHERE account = $1 AND points > 0 AND forfeited = 0 \
         UNION ALL SELECT 'ACTIVE_SUBSCRIPTION', COUNT(*) FROM subscription WHERE account = $1 AND active <> 0",
    )
    .bind(account)
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
        "UNFINISHED_ORDER" => (
            format!("{count} order(s) have not arrived yet."),
            "Wait until they arrive, or cancel them in the store.",
        ),
        "OPEN_DISPUTE" => (
            format!("{count} order(s) are disputed."),
            "Settle the dispute with the store, or ask support to delete the account with it.",
        ),
        "WALLET_BALANCE" => (
            "There is money in the wallet.".to_owned(),
            "Spend it or have it paid out to your bank.",
        ),
        "COUPONS_LEFT" => (
            format!("{count} coupon(s) are left."),
            "Use them, or give them up in the store.",
        ),
        "POINTS_LEFT" => (
            "Loyalty points are left.".to_owned(),
            "Use them, transfer them, or give them up in the store.",
        ),
        _ => (
            format!("{count} subscription(s) are active."),
            "Cancel them in the store.",
        ),
    };
    Blocker {
        code,
        message,
        remedy: remedy.to_owned(),
    }
}
