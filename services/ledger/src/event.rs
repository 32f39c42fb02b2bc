//! What becomes of accounts, to be told to others: announcements, written with the change, and of them what each receiver is
//! still to hear.

use async_trait::async_trait;
use farewell_core::{AccountId, DeletionId, Slot, Time};

use crate::{Error, Fence};

/// The outbox, and what receivers wait for.
///
/// Both lie in the slot of the account ([`farewell_core::account::Account::slot`]), not of the deletion: one coordinator tells
/// what becomes of an account, also where its deletions that follow each other are several coordinators'.
#[async_trait]
pub trait Events {
    /// Changes of state of accounts in these slots that are not announced, in their order.
    async fn outbox(&self, slots: &[Slot], limit: u32) -> Result<Vec<Announcement>, Error>;

    /// Forgets what has been announced, and keeps what receivers are to be told of it: of those that were still to be announced,
    /// by [`Event::seq`]. A repeat therefore keeps nothing, also if a receiver has heard of it meanwhile. Fenced.
    async fn announced(
        &self,
        fence: &Fence,
        told: &[Announcement],
        events: &[Event],
    ) -> Result<(), Error>;

    /// What a receiver is to be told now, longest due first: of accounts in these slots, or of all; of these kinds only, as one
    /// that this program doesn't know may not keep others waiting. Of each account the first: what comes after it waits until
    /// the receiver has said something of it.
    async fn events(
        &self,
        receiver: &str,
        slots: Option<&[Slot]>,
        kinds: &[i16],
        limit: u32,
    ) -> Result<Vec<Event>, Error>;

    /// Forgets what a receiver says that it has, remembers what it refused, and puts off what it is to be told again. What is not
    /// there is no error: it may say so twice. Not fenced.
    async fn heard(&self, receiver: &str, heard: &[Heard]) -> Result<(), Error>;

    /// What a receiver has refused, after this place in the order of [`Event::seq`].
    async fn refused(
        &self,
        receiver: &str,
        after: Option<i64>,
        limit: u32,
    ) -> Result<Vec<RefusedEvent>, Error>;

    /// Has a receiver told again of what it refused. False: it refuses no such event.
    async fn resend(&self, receiver: &str, deletion: DeletionId, kind: i16) -> Result<bool, Error>;

    /// Forgets what was refused at this time or before, and says how much. Not fenced.
    async fn forget_refused(&self, until: Time) -> Result<u64, Error>;
}

/// A change of state that others want to know of: an account was sealed, or a deletion has ended. Written with the change,
/// forgotten when told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    pub deletion: DeletionId,
    /// State code, or that of an identifier which is held back no longer
    /// ([`farewell_core::policy::retention::Identifier::code`]).
    pub state: i16,
    pub at: Time,
    /// Its place in the order in which this ledger wrote them. Whatever happens to one account later has a later one.
    pub seq: i64,
}

/// What one receiver is to be told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub receiver: String,
    pub account: AccountId,
    pub deletion: DeletionId,
    /// What happened, in the words of whoever tells it: each is told once of a deletion.
    pub kind: i16,
    pub at: Time,
    /// The announcement's.
    pub seq: i64,
    /// How often the receiver was told and did not take it. Of one that is only now to be kept: not looked at.
    pub tries: u32,
}

/// What a receiver says of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    pub deletion: DeletionId,
    pub kind: i16,
    pub answer: Answer,
}

/// What became of an event at its receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It has it.
    Taken,
    /// Its word for not taking it, ever.
    Refused(String),
    /// It did not take it, and is told again at this time: until then, nothing more of the account.
    Later(Time),
}

/// An event that its receiver never takes, unless somebody has it told again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedEvent {
    pub event: Event,
    /// The receiver's word.
    pub word: String,
    pub at: Time,
}
