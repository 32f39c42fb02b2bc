//! The store: orders, what an account has left to spend, and subscriptions.
//!
//! Completed orders and the access log outlive the account as law demands, and only as law demands: under a pseudonym, without name
//! and address, for as long as the policy says with each command to erase.

mod access;
mod book;
mod campaign;
mod coupon;
mod credit;
mod eligibility;
mod entitlement;
mod holding;
mod order;
mod participant;
mod points;
mod retention;
mod sample;
#[cfg(test)]
mod scratch;
mod subscription;
mod support;
mod transfer;
mod wallet;

use std::sync::Arc;

use anyhow::Context as _;
use farewell_kit::store::Store;
use farewell_kit::{clearing, interests, journal, seal, service, session};
use farewell_runtime::shutdown::Shutdown;

pub use self::access::log_access;
pub use self::campaign::{join_campaign, leave_campaigns};
pub use self::coupon::{forfeit_coupons, grant_coupon};
pub use self::credit::{lend, pay_back};
pub use self::eligibility::BLOCKERS;
pub use self::entitlement::{entitlements, grant_entitlement};
pub use self::holding::{categories, left_over};
pub use self::order::{NewOrder, close_dispute, complete_order, open_dispute, place_order};
pub use self::participant::Shop;
pub use self::points::{credit_points, forfeit_points};
pub use self::retention::kept;
pub use self::sample::sample;
pub use self::subscription::{cancel_subscriptions, subscribe};
pub use self::support::{SupportCase, close_support_case, open_support_case};
pub use self::wallet::{pay_out, top_up};

/// The tables: each file of a noun says what its own hold.
pub const SCHEMA: &[&str] = &[
    journal::SCHEMA,
    seal::SCHEMA,
    clearing::SCHEMA,
    farewell_kit::transfer::SCHEMA,
    order::SCHEMA,
    wallet::SCHEMA,
    coupon::SCHEMA,
    points::SCHEMA,
    subscription::SCHEMA,
    credit::SCHEMA,
    campaign::SCHEMA,
    support::SCHEMA,
    entitlement::SCHEMA,
    interests::SCHEMA,
    access::SCHEMA,
    retention::SCHEMA,
    book::SCHEMA,
];

/// The name space in a PostgreSQL that services share.
pub const NAMESPACE: &str = "farewell_store";

/// What the store needs to run.
#[derive(Clone, Debug)]
pub struct Config {
    /// `sqlite:path` or `postgres://…`.
    pub database: String,
    /// How coordinators are reached.
    pub session: session::Config,
}

/// Opens the database and puts the schema in place.
///
/// Errors: a URL that can't be used, or a database that stays away for 60 s.
pub async fn open(url: &str) -> Result<Store, sqlx::Error> {
    Store::open(url, NAMESPACE, SCHEMA).await
}

/// Takes part in deletions until `shutdown`, then lets commands end that are being carried out.
///
/// Errors: the database can't be opened. Everything later is retried.
pub async fn run(config: Config, shutdown: Shutdown) -> anyhow::Result<()> {
    let store = open(&config.database)
        .await
        .context("opening the store's database")?;
    let shop = Arc::new(Shop::new(store.clone()));
    service::run(store, shop, config.session, shutdown).await;
    Ok(())
}
