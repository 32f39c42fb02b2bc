//! The community's part in a deletion.

use std::time::SystemTime;

use async_trait::async_trait;
use farewell_kit::export::{Part, Table, Tables};
use farewell_kit::seal::{self, Work};
use farewell_kit::store::Store;
use farewell_kit::{
    Answer, Blocker, Fault, Holder, Inventory, Order, PersonalizationStopped, StopPersonalization,
    interests,
};
use sqlx::AnyConnection;

use crate::{ban, comment, holding, membership, post};

/// Every code that the community gives.
pub const BLOCKERS: [&str; 1] = [BANNED];
const BANNED: &str = "COMMUNITY_BANNED";

/// What an account's owner may take along, in this order.
const EXPORTED: &[&Table] = &[
    &post::EXPORT,
    &comment::EXPORT,
    &membership::EXPORT,
    &interests::EXPORT,
    &ban::EXPORT,
];

/// Takes part in deletions for the community.
#[derive(Clone, Debug)]
pub struct Community {
    store: Store,
}

impl Community {
    /// On an open database.
    pub fn new(store: Store) -> Self {
        Self { store }
    }
}

#[async_trait]
impl Holder for Community {
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

    async fn erase(&self, mut work: Work, order: &Order) -> Result<Answer, Fault> {
        let counts = erase(work.tx(), &order.account).await?;
        work.finish(seal::erased(counts, Vec::new())).await
    }

    async fn export(&self, account: &str, after: &str) -> Result<Part, Fault> {
        Tables::new(&self.store, EXPORTED)
            .part(account, after)
            .await
    }

    async fn stop_personalization(
        &self,
        request: &StopPersonalization,
    ) -> Result<PersonalizationStopped, Fault> {
        interests::stop(&self.store, request).await
    }

    // Told and no more: a ban never stops a deletion.
    async fn blockers(&self, account: &str) -> Result<Vec<Blocker>, Fault> {
        let mut connection = self.store.pool().acquire().await?;
        let until = ban::until(&mut connection, account, SystemTime::now()).await?;
        Ok(until
            .map(|until| Blocker::new(BANNED).until(Some(until)))
            .into_iter()
            .collect())
    }
}

/// Comments go before posts: a post only leaves an empty place if somebody else's comment hangs on it.
async fn erase(
    connection: &mut AnyConnection,
    account: &str,
) -> Result<[(&'static str, u64); 5], sqlx::Error> {
    Ok([
        ("comments", comment::erase(connection, account).await?),
        ("posts", post::erase(connection, account).await?),
        ("memberships", membership::erase(connection, account).await?),
        (
            interests::CATEGORY,
            interests::erase(connection, account).await?,
        ),
        ("bans", ban::erase(connection, account).await?),
    ])
}

#[cfg(test)]
mod tests;
