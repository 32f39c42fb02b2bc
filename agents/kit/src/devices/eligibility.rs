//! What is to be known of an account's devices before it is deleted. None of it stops a deletion: devices are unbound and
//! reset by it, a lost one keeps its lock, and one that others live with goes on for them.

use std::time::{Duration, SystemTime};

use sqlx::AnyConnection;

use super::facts;
use super::participant::Line;
use crate::participant::{Blocker, DeviceClass, Fault};
use crate::store::micros;

/// Every code that a product line gives.
pub const BLOCKERS: [&str; 4] = [BOUND, UNREACHABLE, LOST, SOLE_ADMIN];
const BOUND: &str = "DEVICES_BOUND";
const UNREACHABLE: &str = "DEVICE_BOUND_UNREACHABLE";
const LOST: &str = "DEVICE_IN_LOST_MODE";
const SOLE_ADMIN: &str = "SOLE_ADMIN_OF_SHARED_HOME";

/// A device that was not in touch for so long is switched off or away: whatever it is told comes late.
const AWAY_MIN: Duration = Duration::from_secs(24 * 60 * 60);

/// What the account's person should know, with how many devices each is about.
pub(super) async fn blockers(
    tx: &mut AnyConnection,
    line: &dyn Line,
    account: &str,
) -> Result<Vec<Blocker>, Fault> {
    let (lost,): (i64,) = sqlx::query_as(
        "SELECT COUNT(*) FROM bindings b JOIN devices d ON d.device = b.device \
         WHERE b.account = $1 AND b.state = 'BOUND' AND d.lost <> 0",
    )
    .bind(account)
    .fetch_one(&mut *tx)
    .await?;
    // What is behind a hub has no contact of its own.
    let (away,): (i64,) = sqlx::query_as(
        "SELECT COUNT(*) FROM bindings b JOIN devices d ON d.device = b.device \
         WHERE b.account = $1 AND b.state = 'BOUND' AND b.via = '' AND b.bound_at < $2 AND d.seen_at < $2",
    )
    .bind(account)
    .bind(micros(SystemTime::now() - AWAY_MIN))
    .fetch_one(&mut *tx)
    .await?;
    // By the same facts as an order is made of: what is told here is what happens.
    let mut bound = facts::of_account(tx, line, account).await?;
    bound.retain(|(binding, _)| !binding.ending);
    let alone = bound.iter().filter(|(_, facts)| {
        facts.class == DeviceClass::Home && facts.household && !facts.co_admin
    });
    let counts = [
        (BOUND, items(bound.len())),
        (UNREACHABLE, away),
        (LOST, lost),
        (SOLE_ADMIN, items(alone.count())),
    ];
    Ok(counts
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(code, count)| Blocker::new(code).count(count))
        .collect())
}

fn items(count: usize) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}
