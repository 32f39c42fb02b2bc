//! What the coordinator has promised, durably: memory, SQLite and PostgreSQL behind one trait.
//!
//! This is the only crate of the coordinator that knows SQL, and it decides nothing: callers bring what
//! `farewell_core` decided as values, and every write is a compare-and-set or a merge. The unit is a transaction on a
//! *set*: the lanes of the coordinator hand over all that waits, one statement writes it, one commit makes it durable.
//! Every key begins with the deletion and no statement relates two deletions, so that a cluster can shard it.
//!
//! What is owed has no rows: it is the plan minus the done-mask. Receipts are appended, the mask is one column.

pub mod account;
mod columns;
mod event;
pub mod limit;
pub mod memory;
mod merge;
mod migrations;
pub mod postgres;
mod select;
pub mod sqlite;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use farewell_core::addendum::{self, Addendum};
use farewell_core::decision::Decision;
use farewell_core::policy::Policy;
use farewell_core::policy::retention::Identifier;
use farewell_core::receipt::{Kept, Receipt};
use farewell_core::replay::{self, Replayed};
use farewell_core::{AccountId, Deletion, DeletionId, Mask, RequestId, Slot, Time};
use futures_util::future::BoxFuture;

pub use account::Accounts;
pub use event::{Announcement, Answer, Event, Events, Heard, RefusedEvent};

/// Rows in one batch: more gains nothing and delays whoever comes next.
pub const BATCH_ROWS_MAX: usize = 1_000;

/// Opens the ledger of a URL: `memory:`, `sqlite:path` or `postgres://…`, and brings its schema up to date.
pub fn connect(url: &str) -> BoxFuture<'_, Result<Arc<dyn Ledger>, Error>> {
    Box::pin(async move {
        let ledger: Arc<dyn Ledger> = if url == "memory:" {
            Arc::new(memory::Memory::new())
        } else if url.starts_with("sqlite:") {
            Arc::new(sqlite::Sqlite::open(url).await?)
        } else if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            Arc::new(postgres::Postgres::open(url).await?)
        } else {
            return Err(Error::Url);
        };
        Ok(ledger)
    })
}

/// Everything durable of the coordinator. Each verb is one transaction on the whole set it is given.
///
/// Errors: [`Error::Unknown`] means that the answer to COMMIT was lost: read by key, then decide. After any other error
/// nothing was changed.
#[async_trait]
pub trait Ledger: Accounts + Events + Send + Sync + 'static {
    /// The database's clock.
    async fn now(&self) -> Result<Time, Error>;

    /// The version of this policy's content: a new one if this content was never adopted.
    async fn adopt(&self, policy: &Policy) -> Result<u32, Error>;

    /// Every policy ever adopted that this program can read, by version.
    async fn policies(&self) -> Result<Vec<(u32, Policy)>, Error>;

    /// Inserts new deletions with their request ids, history and one-live-deletion-per-account keys. Not fenced: a
    /// request may reach any coordinator. Answers are in the order of the batch.
    async fn open(&self, batch: Vec<Opening>) -> Result<Vec<Opened>, Error>;

    /// Compare-and-sets on the revision; an unknown deletion is [`Turned::Lost`], and so is the second turn of one deletion in a batch. With a fence, nothing is changed unless it still stands ([`Error::Fenced`]).
    /// Answers are in the order of the batch.
    async fn turn(&self, fence: Option<&Fence>, batch: Vec<Turn>) -> Result<Vec<Turned>, Error>;

    /// Appends receipts and merges their legs into the done-masks, and moves those deletions that carry an `advance`
    /// whose condition holds. Repeats are seen by the receipt's key. Fenced. Answers are in the order of the batch;
    /// a batch names each deletion at most once. Of an unknown deletion nothing is kept: its revision is answered as 0.
    async fn settle(&self, fence: &Fence, batch: Vec<Settlement>) -> Result<Vec<Settled>, Error>;

    /// Appends addenda, each with the database's time. Not fenced: they decide nothing and unwrite nothing, so that any
    /// coordinator may. Of repeats the first stands; of an unknown deletion nothing is kept.
    async fn amend(&self, batch: Vec<Addendum>) -> Result<(), Error>;

    /// Remembers a request id for a mutation other than `open`.
    async fn remember(
        &self,
        request: RequestId,
        digest: [u8; 16],
        deletion: DeletionId,
    ) -> Result<Remembered, Error>;

    /// What a request id was used for, by `open` or `remember`. Changes nothing.
    async fn seen(&self, request: RequestId) -> Result<Option<Seen>, Error>;

    /// Joins as a coordinator under a new fencing epoch, with a lease of `ttl` and no slots.
    async fn join(&self, holder: &str, ttl: Duration) -> Result<Fence, Error>;

    /// Extends the lease and tells who holds what. [`Error::Fenced`] if somebody took over.
    async fn renew(&self, fence: &Fence, ttl: Duration) -> Result<Leases, Error>;

    /// Takes those of `slots` that nobody holds or whose holder's lease has ended, fencing that holder. Answers with the
    /// slots that were got.
    async fn claim(&self, fence: &Fence, slots: &[Slot]) -> Result<Vec<Slot>, Error>;

    /// Gives slots back. Whoever keeps none ends its lease, so that it counts no more as live; [`Ledger::renew`] begins it again.
    async fn release(&self, fence: &Fence, slots: &[Slot]) -> Result<(), Error>;

    /// Deletions of `slots` that want attention by now, after the cursor, by attention time: the one way in which memory is
    /// filled, after a commit, at take-over and after a crash alike.
    async fn owed(
        &self,
        slots: &[Slot],
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<Vec<Owed>, Error>;

    /// The deletions of these ids with their seals, in the order asked; unknown ones are left out.
    async fn get(&self, ids: &[DeletionId]) -> Result<Vec<Owed>, Error>;

    /// A deletion's receipts, by round and leg.
    async fn receipts(&self, id: DeletionId) -> Result<Vec<Kept>, Error>;

    /// A deletion's addenda, oldest first.
    async fn addenda(&self, id: DeletionId) -> Result<Vec<addendum::Kept>, Error>;

    /// Appends what was done again after a purge, each with the database's time. Not fenced, as addenda aren't. Of repeats the
    /// first stands; of an unknown deletion nothing is kept.
    async fn keep_replays(&self, batch: Vec<Replayed>) -> Result<(), Error>;

    /// What was done again of a deletion, by participant, round and verb.
    async fn replays(&self, id: DeletionId) -> Result<Vec<replay::Kept>, Error>;

    /// A deletion's history after this revision, oldest first. The first revision is 1.
    async fn history(&self, id: DeletionId, after: i32, limit: u32) -> Result<Vec<Entry>, Error>;

    /// Deletions, newest first.
    async fn list(
        &self,
        filter: &Filter,
        before: Option<DeletionId>,
        limit: u32,
    ) -> Result<Vec<Deletion>, Error>;

    /// Counts by state, the oldest unfinished deletion, who holds the slots, what is not announced, and what is late or will be
    /// within `warning`; and what law keeps, late where somebody has owed its end for longer than `patience`.
    async fn overview(&self, warning: Duration, patience: Duration) -> Result<Overview, Error>;
}

/// A deletion that is to be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    pub deletion: Deletion,
    /// Who asked for it, for its history.
    pub decision: Option<Decision>,
}

/// What became of a request to open a deletion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    /// It is durable.
    Created(Deletion),
    /// The same request was taken before: this is that deletion as it stands.
    Repeat(Deletion),
    /// The request id was used for something else.
    RequestIdReused,
    /// The account's live deletion.
    AccountHasLive(DeletionId),
}

/// A decided change of one deletion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// The revision that the decision was made on.
    pub before: i32,
    /// The deletion as decided. Its `done` is not written: only `clear` changes it, receipts are never unwritten. Nor is
    /// what a request fixed: account, request, channel, consents, the time of the request and its trace.
    /// A leg that is done is not stored as refused, whatever was decided before its receipt came.
    pub after: Deletion,
    /// Legs to be done again.
    pub clear: Mask,
    /// For the history, a machine word.
    pub note: &'static str,
    /// Who decided it and why, for the history; `None` where it follows from policy and time alone.
    pub decision: Option<Decision>,
    /// When the account was sealed, if this turn does it: others are told. (That a deletion ends they are told anyway.)
    pub sealed_at: Option<Time>,
    /// Identifiers that are held back no longer, and since when: others are told of each once.
    pub recycled: Vec<(Identifier, Time)>,
}

/// What became of a turn.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every turn is done: a box would be one more allocation each"
)]
pub enum Turned {
    /// It is durable; the deletion as it stands now.
    Done(Deletion),
    /// Somebody else was first: read and decide again.
    Lost,
}

/// Receipts of one deletion, and where they lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    pub deletion: DeletionId,
    /// When the receipts are taken, by the caller's copy of the database's clock: the one that times in `advance` are of, so
    /// that nothing is purged before its last receipt. Of a batch the latest counts.
    pub at: Time,
    pub receipts: Vec<Receipt>,
    /// The round that the legs were asked in. Of a deletion that is in another round by now the receipts are kept, but
    /// neither legs nor `advance` are taken: what was true before residue was found is asked again.
    pub round: u16,
    /// Legs to merge into the done-mask: usually those of the receipts.
    pub legs: Mask,
    /// Who says in these receipts that something is kept under law ([`farewell_core::obligation::keepers`]), to merge with those
    /// who did before, whatever round it is.
    pub retains: Mask,
    /// The deletion after these receipts, if they move it. Taken only if the stored revision is `advance.revision - 1` and
    /// the merged mask covers `advance.done`; for `PURGED` also not held, without conflicts, without one in these very
    /// receipts, and if it knows of everybody who keeps something. Of it, what a settlement can move is written: state, round, need, blockers, attention, closing. Times in it that mean
    /// "now" are the caller's copy of the database's clock.
    pub advance: Option<Deletion>,
}

/// What became of a settlement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The merged done-mask.
    pub done: Mask,
    /// The stored revision.
    pub revision: i32,
    /// Whether `advance` was taken. Always false without one.
    pub advanced: bool,
    /// Receipts that were there before with another fingerprint. The stored ones stand.
    pub conflicts: Vec<Receipt>,
}

/// Whether a request id was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remembered {
    New,
    Repeat,
    Reused,
}

/// What a request id was used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Of the request's content.
    pub digest: [u8; 16],
    pub deletion: DeletionId,
}

impl Remembered {
    /// Of a request that was kept with this content, if it was kept.
    pub fn of<T: PartialEq>(kept: Option<T>, content: T) -> Self {
        match kept {
            None => Self::New,
            Some(kept) if kept == content => Self::Repeat,
            Some(_) => Self::Reused,
        }
    }
}

/// A coordinator's right to write on behalf of its slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    pub holder: String,
    pub epoch: i64,
}

/// Who holds what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leases {
    pub now: Time,
    /// Slots of the asking coordinator.
    pub mine: Vec<Slot>,
    /// Slots that nobody holds or whose holder's lease has ended.
    pub free: Vec<Slot>,
    /// Coordinators whose lease stands, the asking one included.
    pub live: u32,
}

/// A place in the order of attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    pub attention_at: Time,
    pub id: DeletionId,
}

/// A deletion and what was sealed with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owed {
    pub deletion: Deletion,
    /// Receipts of outcome `SEALED` that name devices, by round and leg. Whose they are only the plan knows.
    pub seals: Vec<Kept>,
}

/// One step of a deletion's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub revision: i32,
    pub at: Time,
    /// State code after the step.
    pub state: i16,
    pub note: String,
    /// `None` where it followed from policy and time alone, and of steps that were made before decisions were kept.
    pub decision: Option<Decision>,
}

/// Which deletions to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// State codes; empty means all.
    pub states: Vec<i16>,
    pub account: Option<AccountId>,
    /// Only those that have wanted attention since before this time, or that somebody stands in the way of: blocked, held,
    /// contradicted or refused.
    pub unmoved_since: Option<Time>,
}

/// What is going on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overview {
    /// State code and count.
    pub states: Vec<(i16, i64)>,
    pub oldest_unfinished: Option<Time>,
    pub coordinators: Vec<Coordinator>,
    pub outbox: i64,
    /// Receivers of events that have not heard everything.
    pub receivers: Vec<Receiver>,
    /// Live, and the deadline has passed.
    pub overdue: i64,
    /// Live, and it passes soon.
    pub overdue_soon: i64,
    pub kept: KeptUnderLaw,
}

/// Purged deletions of which something is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeptUnderLaw {
    pub deletions: i64,
    /// Of them, those whose custodians have owed the end of something for too long.
    pub late: i64,
    /// Of them, those under a legal hold.
    pub held: i64,
}

/// A receiver of events that has not heard everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receiver {
    pub receiver: String,
    /// Events that it is still to be told of.
    pub waiting: i64,
    /// When the oldest of them happened.
    pub oldest: Option<Time>,
    /// Events that it will never take.
    pub refused: i64,
}

/// A coordinator and its lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coordinator {
    pub holder: String,
    pub slots: u32,
    pub lease_until: Time,
}

impl Settled {
    /// What is answered for a deletion that isn't there.
    const UNKNOWN: Self = Self {
        done: Mask::EMPTY,
        revision: 0,
        advanced: false,
        conflicts: Vec::new(),
    };
}

impl Filter {
    fn takes(&self, deletion: &Deletion) -> bool {
        (self.states.is_empty() || self.states.contains(&deletion.state.code()))
            && self
                .account
                .as_ref()
                .is_none_or(|account| *account == deletion.account)
            && self.unmoved_since.is_none_or(|time| {
                deletion.attention_at.is_some_and(|at| at < time)
                    || !deletion.blockers.is_empty()
                    || deletion.held
                    || deletion.conflicts > 0
                    || !deletion.refused.is_empty()
            })
    }
}

/// This process's clock: that of the database, where the database runs in this process.
fn clock() -> Time {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Time::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// A page's limit, within [`BATCH_ROWS_MAX`].
fn rows(limit: u32) -> usize {
    usize::try_from(limit).map_or(BATCH_ROWS_MAX, |limit| limit.min(BATCH_ROWS_MAX))
}

/// Errors: `Refused` for a batch that names a deletion twice, of which a set statement would lose one.
fn named_once(ids: impl Iterator<Item = DeletionId>) -> Result<(), Error> {
    let mut seen = HashSet::new();
    for id in ids {
        if !seen.insert(id) {
            let what = "the batch names a deletion twice".to_owned();
            return Err(Error::Refused(sqlx::Error::Protocol(what)));
        }
    }
    Ok(())
}

/// Why the ledger did not answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("a ledger is memory:, sqlite:PATH or postgres://…")]
    Url,
    #[error("another coordinator has taken over")]
    Fenced,
    #[error("the database is not reachable")]
    Unreachable(#[source] sqlx::Error),
    #[error("the answer to COMMIT was lost: the outcome is unknown")]
    Unknown(#[source] sqlx::Error),
    #[error("the database refused")]
    Refused(#[source] sqlx::Error),
    #[error("the schema could not be brought up to date")]
    Migration(#[source] sqlx::migrate::MigrateError),
    #[error("a stored {what} can't be read")]
    Corrupt { what: &'static str },
}
