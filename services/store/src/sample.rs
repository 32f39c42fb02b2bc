//! A believable account for the demo and the tests.

use std::time::{Duration, SystemTime};

use farewell_kit::seal;
use farewell_kit::store::Store;
use uuid::Uuid;

use crate::order::NewOrder;
use crate::support::SupportCase;
use crate::{access, coupon, holding, order, points, subscription, support, wallet};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What, for how much, and completed how many days ago. The last is past its three years.
const ORDERS: [(&str, i64, u32); 4] = [
    ("Phone 14, 256 GB", 499_900, 40),
    ("Watch S, graphite", 129_900, 300),
    ("Hub with four lamps", 89_900, 700),
    ("Earphones", 19_900, 1200),
];
/// What was asked for, and how many days ago. The last is past its six months.
const ACCESSES: [(&str, u32); 3] = [("/orders", 3), ("/wallet", 60), ("/cart", 250)];

/// Gives the account four completed orders (one past its retention), an empty wallet, a used coupon, points that were
/// given up, an ended subscription, an answered question to support and three log entries: much to erase, and nothing that stands in the way. An account that
/// holds anything is left as it is.
///
/// Errors: the account is sealed or erased; the database is away.
pub async fn sample(store: &Store, account: &str) -> anyhow::Result<()> {
    let now = SystemTime::now();
    let mut tx = store.pool().begin().await?;
    seal::admit(&mut tx, account).await?;
    if !holding::held(&mut tx, account).await?.categories.is_empty() {
        return Ok(());
    }
    for (item, amount_cents, days) in ORDERS {
        // Random, as real ones are: the id of what is retained must not lead back to the account.
        let id = Uuid::new_v4().to_string();
        let new = NewOrder {
            item,
            amount_cents,
            recipient: "Li Na",
            address: "88 Garden Road, Hangzhou",
        };
        order::insert(&mut tx, &id, account, &new, now - DAY * (days + 4)).await?;
        order::complete(&mut tx, account, &id, now - DAY * days).await?;
    }
    for (path, days) in ACCESSES {
        let id = Uuid::new_v4().to_string();
        access::insert(&mut tx, &id, account, "203.0.113.7", path, now - DAY * days).await?;
    }
    wallet::add(&mut tx, account, 0).await?;
    coupon::insert(&mut tx, &Uuid::new_v4().to_string(), account, "USED", 2_000).await?;
    points::insert_forfeited(&mut tx, account, 1_280).await?;
    subscription::insert_ended(&mut tx, account, "music").await?;
    let ticket = Uuid::new_v4().to_string();
    let (asked, text) = (SupportCase::Ticket, "Does the watch survive a swim?");
    support::insert(&mut tx, &ticket, account, asked, text, now - DAY * 20).await?;
    support::close(&mut tx, account, &ticket, now - DAY * 19).await?;
    Ok(tx.commit().await?)
}
