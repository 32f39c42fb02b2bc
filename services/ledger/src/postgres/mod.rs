//! A ledger in PostgreSQL: shared by coordinators, of which none is special.
//!
//! Each verb that writes deletions is one set statement and so one round trip and one commit. It has a connection of its
//! own, so that verbs don't queue behind each other; everything else goes through a small pool.

mod account;
mod addendum;
mod connection;
mod lease;
mod open;
mod outbox;
mod owed;
mod policy;
mod read;
mod replay;
mod settle;
mod turn;

use std::time::Duration;

use async_trait::async_trait;
use farewell_core::account::Account;
use farewell_core::addendum::{Addendum, Kept as KeptAddendum};
use farewell_core::policy::Policy;
use farewell_core::receipt::Kept;
use farewell_core::replay::{Kept as KeptReplay, Replayed};
use farewell_core::{AccountId, Deletion, DeletionId, RequestId, Slot, Time};
use sqlx::Executor;
use sqlx::PgPool;
use sqlx::postgres::PgConnectOptions;

use crate::account::{Accounts, Place};
use crate::migrations::{Step, migrator};
use crate::{
    Announcement, Cursor, Entry, Error, Event, Events, Fence, Filter, Heard, Leases, Ledger,
    Opened, Opening, Overview, Owed, RefusedEvent, Remembered, Seen, Settled, Settlement, Turn,
    Turned,
};
use connection::Lane;

/// Statements of the lanes, for a test that asks PostgreSQL how it would run them.
#[doc(hidden)]
pub const LANE_STATEMENTS: [(&str, &str); 3] = [
    ("open", open::OPEN),
    ("turn", turn::TURN),
    ("settle", settle::SETTLE),
];

const MIGRATIONS: [Step; 9] = [
    (
        1,
        "ledger",
        include_str!("../../migrations/postgres/0001_ledger.sql"),
    ),
    (
        2,
        "replay",
        include_str!("../../migrations/postgres/0002_replay.sql"),
    ),
    (
        3,
        "retention",
        include_str!("../../migrations/postgres/0003_retention.sql"),
    ),
    (
        5,
        "rare",
        include_str!("../../migrations/postgres/0005_rare.sql"),
    ),
    (
        7,
        "account",
        include_str!("../../migrations/postgres/0007_account.sql"),
    ),
    (
        8,
        "events",
        include_str!("../../migrations/postgres/0008_events.sql"),
    ),
    (
        9,
        "afterlife",
        include_str!("../../migrations/postgres/0009_afterlife.sql"),
    ),
    (
        10,
        "events in order",
        include_str!("../../migrations/postgres/0010_events_in_order.sql"),
    ),
    (
        12,
        "decision",
        include_str!("../../migrations/postgres/0012_decision.sql"),
    ),
];

/// A ledger in PostgreSQL.
#[derive(Debug)]
pub struct Postgres {
    open: Lane,
    turn: Lane,
    settle: Lane,
    pool: PgPool,
}

impl Postgres {
    /// Connects and brings the schema up to date. Errors: `Url`, `Unreachable`, `Migration`.
    pub async fn open(url: &str) -> Result<Self, Error> {
        let options: PgConnectOptions = url.parse().map_err(|_| Error::Url)?;
        let pool = connection::pool(&options);
        let mut connection = pool.acquire().await.map_err(connection::unread)?;
        // Migrating may take longer than a statement may.
        connection
            .execute("SET statement_timeout = 0")
            .await
            .map_err(connection::unread)?;
        migrator(&MIGRATIONS)
            .run_direct(None, &mut *connection, false)
            .await
            .map_err(Error::Migration)?;
        connection.close().await.map_err(connection::unread)?;
        Ok(Self {
            open: Lane::new(&options, "farewell open"),
            turn: Lane::new(&options, "farewell turn"),
            settle: Lane::new(&options, "farewell settle"),
            pool,
        })
    }
}

#[async_trait]
impl Accounts for Postgres {
    async fn account(&self, account: &AccountId) -> Result<Option<Account>, Error> {
        account::get(&self.pool, account).await
    }

    async fn keep_account(&self, account: &Account) -> Result<bool, Error> {
        account::keep(&self.pool, account).await
    }

    async fn accounts_owed(
        &self,
        slots: &[Slot],
        after: Option<&Place>,
        limit: u32,
    ) -> Result<Vec<Account>, Error> {
        account::owed(&self.pool, slots, after, limit).await
    }

    async fn accounts(&self, after: Option<&AccountId>, limit: u32) -> Result<Vec<Account>, Error> {
        account::all(&self.pool, after, limit).await
    }
}

#[async_trait]
impl Ledger for Postgres {
    async fn now(&self) -> Result<Time, Error> {
        read::now(&self.pool).await
    }

    async fn adopt(&self, policy: &Policy) -> Result<u32, Error> {
        policy::adopt(&self.pool, policy).await
    }

    async fn policies(&self) -> Result<Vec<(u32, Policy)>, Error> {
        policy::all(&self.pool).await
    }

    async fn open(&self, batch: Vec<Opening>) -> Result<Vec<Opened>, Error> {
        open::open(&self.open, &self.pool, batch).await
    }

    async fn turn(&self, fence: Option<&Fence>, batch: Vec<Turn>) -> Result<Vec<Turned>, Error> {
        turn::turn(&self.turn, fence, batch).await
    }

    async fn settle(&self, fence: &Fence, batch: Vec<Settlement>) -> Result<Vec<Settled>, Error> {
        settle::settle(&self.settle, fence, batch).await
    }

    async fn amend(&self, batch: Vec<Addendum>) -> Result<(), Error> {
        addendum::amend(&self.pool, batch).await
    }

    async fn remember(
        &self,
        request: RequestId,
        digest: [u8; 16],
        deletion: DeletionId,
    ) -> Result<Remembered, Error> {
        open::remember(&self.pool, request, digest, deletion).await
    }

    async fn seen(&self, request: RequestId) -> Result<Option<Seen>, Error> {
        open::seen(&self.pool, request).await
    }

    async fn join(&self, holder: &str, ttl: Duration) -> Result<Fence, Error> {
        lease::join(&self.pool, holder, ttl).await
    }

    async fn renew(&self, fence: &Fence, ttl: Duration) -> Result<Leases, Error> {
        lease::renew(&self.pool, fence, ttl).await
    }

    async fn claim(&self, fence: &Fence, slots: &[Slot]) -> Result<Vec<Slot>, Error> {
        lease::claim(&self.pool, fence, slots).await
    }

    async fn release(&self, fence: &Fence, slots: &[Slot]) -> Result<(), Error> {
        lease::release(&self.pool, fence, slots).await
    }

    async fn owed(
        &self,
        slots: &[Slot],
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<Vec<Owed>, Error> {
        owed::owed(&self.pool, slots, after, limit).await
    }

    async fn get(&self, ids: &[DeletionId]) -> Result<Vec<Owed>, Error> {
        owed::get(&self.pool, ids).await
    }

    async fn receipts(&self, id: DeletionId) -> Result<Vec<Kept>, Error> {
        read::receipts(&self.pool, id).await
    }

    async fn keep_replays(&self, batch: Vec<Replayed>) -> Result<(), Error> {
        replay::keep(&self.pool, batch).await
    }

    async fn replays(&self, id: DeletionId) -> Result<Vec<KeptReplay>, Error> {
        replay::replays(&self.pool, id).await
    }

    async fn addenda(&self, id: DeletionId) -> Result<Vec<KeptAddendum>, Error> {
        addendum::addenda(&self.pool, id).await
    }

    async fn history(&self, id: DeletionId, after: i32, limit: u32) -> Result<Vec<Entry>, Error> {
        read::history(&self.pool, id, (after, limit)).await
    }

    async fn list(
        &self,
        filter: &Filter,
        before: Option<DeletionId>,
        limit: u32,
    ) -> Result<Vec<Deletion>, Error> {
        read::list(&self.pool, filter, before, limit).await
    }

    async fn overview(&self, warning: Duration, patience: Duration) -> Result<Overview, Error> {
        read::overview(&self.pool, (warning, patience)).await
    }
}

#[async_trait]
impl Events for Postgres {
    async fn outbox(&self, slots: &[Slot], limit: u32) -> Result<Vec<Announcement>, Error> {
        outbox::outbox(&self.pool, slots, limit).await
    }

    async fn announced(
        &self,
        fence: &Fence,
        told: &[Announcement],
        events: &[Event],
    ) -> Result<(), Error> {
        outbox::announced(&self.pool, fence, told, events).await
    }

    async fn events(
        &self,
        receiver: &str,
        slots: Option<&[Slot]>,
        kinds: &[i16],
        limit: u32,
    ) -> Result<Vec<Event>, Error> {
        outbox::events(&self.pool, receiver, slots, kinds, limit).await
    }

    async fn heard(&self, receiver: &str, heard: &[Heard]) -> Result<(), Error> {
        outbox::heard(&self.pool, receiver, heard).await
    }

    async fn refused(
        &self,
        receiver: &str,
        after: Option<i64>,
        limit: u32,
    ) -> Result<Vec<RefusedEvent>, Error> {
        outbox::refused(&self.pool, receiver, after, limit).await
    }

    async fn resend(&self, receiver: &str, deletion: DeletionId, kind: i16) -> Result<bool, Error> {
        outbox::resend(&self.pool, receiver, deletion, kind).await
    }

    async fn forget_refused(&self, until: Time) -> Result<u64, Error> {
        outbox::forget_refused(&self.pool, until).await
    }
}
