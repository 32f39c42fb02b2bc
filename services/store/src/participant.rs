//! The store's part in a deletion.

use std::time::SystemTime;

use async_trait::async_trait;
use farewell_kit::export::{LeftOut, Part, Table, Tables, why};
use farewell_kit::seal::{self, Work};
use farewell_kit::store::Store;
use farewell_kit::{
    Answer, Blocker, ClearRealName, Done, Fault, Holder, Inventory, Order, PersonalizationStopped,
    RealNameCleared, Retained, StopPersonalization, TransferBelongings, Transferred, holder,
};
use farewell_kit::{clearing, interests};
use sqlx::AnyConnection;

use crate::{
    access, book, campaign, coupon, credit, eligibility, entitlement, holding, order, points,
    retention, subscription, support, transfer, wallet,
};

/// What an account's owner may take along, in this order.
const EXPORTED: &[&Table] = &[
    &order::EXPORT,
    &subscription::EXPORT,
    &entitlement::EXPORT,
    &coupon::EXPORT,
    &wallet::EXPORT,
    &points::EXPORT,
    &credit::EXPORT,
    &campaign::EXPORT,
    &support::EXPORT,
    &book::EXPORT,
    &interests::EXPORT,
    &access::EXPORT,
];

/// What is in none of them. What moved to or from another account stands in the account's own lines as well.
const LEFT_OUT: &[LeftOut] = &[("named_in_transfers", why::OF_ANOTHER_ACCOUNT)];

/// Tables whose rows go with their account, by the category that they are counted in.
const TABLES: &[(&str, &str)] = &[
    ("orders", order::TABLE),
    ("wallets", "wallet"),
    ("coupons", "coupon"),
    ("points", "points"),
    ("subscriptions", "subscription"),
    ("credits", "credit"),
    ("campaigns", "campaign_entry"),
    ("support_cases", "support_case"),
    ("entitlements", "entitlement"),
    ("access_log", access::TABLE),
];

/// Takes part in deletions for the store.
#[derive(Clone, Debug)]
pub struct Shop {
    store: Store,
}

impl Shop {
    /// On an open database.
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// Erases at a time: what is past its period then is not retained, and what was retained before is erased.
    async fn erase_at(
        &self,
        mut work: Work,
        order: &Order,
        now: SystemTime,
    ) -> Result<Answer, Fault> {
        // Opened past the point of no return: what would be erased is somebody's evidence.
        if support::is_claimed(work.tx(), &order.account).await? {
            return Ok(Answer::Refused {
                reason: "SAFETY_OR_INSURANCE_CASE".to_owned(),
                detail: "a report or claim is open: close it, then ask again".to_owned(),
            });
        }
        if let Err(refused) = retention::countable(&order.retention) {
            return Ok(refused);
        }
        let done = erase(work.tx(), order, now).await?;
        work.finish(done).await
    }

    /// Erases what has ended by then.
    async fn expire_at(
        &self,
        mut work: Work,
        order: &Order,
        now: SystemTime,
    ) -> Result<Answer, Fault> {
        let ended_by = match seal::ended_by(order, now) {
            Ok(ended_by) => ended_by,
            Err(not_yet) => return Ok(not_yet),
        };
        let deletion = deletion(order);
        let ended = retention::expire(work.tx(), deletion, ended_by).await?;
        let retained = retention::retained(work.tx(), deletion).await?;
        work.finish(seal::expired(ended.classes(), retained)).await
    }
}

#[async_trait]
impl Holder for Shop {
    fn store(&self) -> &Store {
        &self.store
    }

    async fn held(
        &self,
        connection: &mut AnyConnection,
        account: &str,
    ) -> Result<Inventory, Fault> {
        Ok(holding::held(connection, account).await?)
    }

    async fn erase(&self, work: Work, order: &Order) -> Result<Answer, Fault> {
        let now = seal::erased_at(order, SystemTime::now());
        self.erase_at(work, order, now).await
    }

    async fn retained(
        &self,
        connection: &mut AnyConnection,
        order: &Order,
    ) -> Result<Vec<Retained>, Fault> {
        Ok(retention::retained(connection, deletion(order)).await?)
    }

    async fn expire(&self, work: Work, order: &Order) -> Result<Answer, Fault> {
        self.expire_at(work, order, SystemTime::now()).await
    }

    async fn export(&self, account: &str, after: &str) -> Result<Part, Fault> {
        Tables::new(&self.store, EXPORTED)
            .leaving_out(LEFT_OUT)
            .part(account, after)
            .await
    }

    async fn clear_real_name(&self, request: &ClearRealName) -> Result<RealNameCleared, Fault> {
        let mut work = match clearing::begin(&self.store, request).await? {
            clearing::Begun::Answered(answer) => return Ok(answer),
            clearing::Begun::Open(work) => work,
        };
        let obstacles = credit::needs_real_name(work.tx(), &request.account).await?;
        let lapsed = entitlement::lapse(work.tx(), &request.account).await?;
        work.finish([("entitlements", lapsed)], obstacles).await
    }

    async fn transfer_belongings(
        &self,
        request: &TransferBelongings,
    ) -> Result<Transferred, Fault> {
        transfer::transfer(&self.store, request).await
    }

    async fn stop_personalization(
        &self,
        request: &StopPersonalization,
    ) -> Result<PersonalizationStopped, Fault> {
        interests::stop(&self.store, request).await
    }

    async fn blockers(&self, account: &str) -> Result<Vec<Blocker>, Fault> {
        let mut connection = self.store.pool().acquire().await?;
        Ok(eligibility::blockers(&mut connection, account, SystemTime::now()).await?)
    }
}

/// Moves what must be kept, erases the rest, and erases what was kept before and has ended. The counts are of what is
/// gone for good: a retained record stands in `retained` and nowhere else.
async fn erase(
    connection: &mut AnyConnection,
    order: &Order,
    now: SystemTime,
) -> Result<Done, Fault> {
    let (account, deletion) = (order.account.as_str(), deletion(order));
    let moved = retention::keep(connection, &order.retention, deletion, account, now).await?;
    let ended = retention::expire(connection, deletion, now).await?;
    let mut counts = Vec::new();
    for (category, table) in TABLES {
        let kept = match *table {
            order::TABLE => moved.orders,
            access::TABLE => moved.entries,
            _ => 0,
        };
        let rows = holder::erase(connection, table, account).await?;
        counts.push((*category, rows - kept));
    }
    let (lines, named) = book::erase(connection, account).await?;
    counts.extend([
        ("transfers", lines),
        ("named_in_transfers", named),
        (
            interests::CATEGORY,
            interests::erase(connection, account).await?,
        ),
        ("retained_transactions", ended.orders),
        ("retained_server_logs", ended.entries),
    ]);
    Ok(seal::erased(
        counts,
        retention::retained(connection, deletion).await?,
    ))
}

/// Work is only begun for commands that say their deletion.
fn deletion(order: &Order) -> &str {
    seal::deletion_of(&order.command).unwrap_or_default()
}

#[cfg(test)]
mod tests;
