//! The trait that a team implements to take part in deletions.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;

use crate::export::Part;
use crate::store::time;

mod case;
mod custodian;
mod device;
mod eligibility;
mod notice;
mod possession;
mod retention;
mod standing;
mod transfer;

pub use case::{CaseAction, CaseStanding, CheckCase, DeskWork};
pub use custodian::{
    Custodian, Export, ExportRead, ExportSource, ExportState, NotExported, StartExport,
};
pub use eligibility::{CheckEligibility, RECENT_CHANGE_MAX};
pub use notice::{Letters, Notice, NoticeKind, NoticeReason};
pub use possession::{NotInHand, Possession, PossessionStep};

pub use device::{
    BoundDevice, Description, DeviceClass, DeviceDuty, DeviceEnding, DeviceFacts, DeviceOutcome,
    DeviceResult, DeviceReturn, DeviceTask, DeviceVerb, LockOutcome, NotUnbound, ReturnKept,
    UnbindDevice, Unbinding, UnbindingState,
};

pub use standing::{
    AccountDescription, ClearRealName, PersonalizationStopped, RealNameCleared, SetStanding,
    Standing, StandingKept, StopPersonalization,
};

pub use transfer::{Belonging, Moved, TransferBelongings, Transferred};

/// A product line or service that must let go of accounts.
///
/// The session calls these methods; none of them is ever called with an empty account or an unknown verb.
/// Every method may be called many times with the same order, from the first delivery, a retry or after a restart
/// on either side: keep the [`Answer`] in the same transaction as the work (see [`crate::journal`]) and give it again.
///
/// Errors: a [`Fault`] is trouble that passes (a database away); the session answers `DEFERRED` with a backoff.
/// What won't ever succeed without a person is [`Answer::Refused`]. A panic counts as a [`Fault`], and so does work that
/// takes longer than [`crate::session::Limits::work`]: it is dropped where it waits, and begun anew another time.
///
/// Methods are polled where commands arrive: work that computes for long without waiting belongs in
/// `tokio::task::spawn_blocking`.
#[cfg_attr(test, mockall::automock)]
#[async_trait]
pub trait Participant: Send + Sync + 'static {
    /// The answer given earlier for this command and account, if there is one. Asked before any work. A name that was
    /// answered for another account is refused with [`INVALID_COMMAND`], and never answered with what is another's.
    async fn recall(&self, order: &Order) -> Result<Option<Answer>, Fault>;

    /// Stop use, sync, orders and new bindings, reversibly. Agents answer with their roster.
    async fn seal(&self, order: &Order) -> Result<Answer, Fault>;

    /// Lift the seal: everything is exactly as before. Succeeds if there is no seal.
    async fn unseal(&self, order: &Order) -> Result<Answer, Fault>;

    /// Erase, irreversibly. For devices: unbind and reset those in `order.devices`, and no others.
    async fn act(&self, order: &Order) -> Result<Answer, Fault>;

    /// Look, without trusting earlier answers, what is still held.
    async fn probe(&self, order: &Order) -> Result<Answer, Fault>;

    /// Erase what was kept under law and has ended by `order.ended_by`, irreversibly, and say what is kept on. Comes long after
    /// `act`, and only to those who said then that they keep something.
    async fn expire(&self, _order: &Order) -> Result<Answer, Fault> {
        Err(Fault::unsupported("EXPIRE"))
    }

    /// Everything that is in the way of deleting the account, or to be known before; empty means nothing is. No side
    /// effects.
    async fn eligibility(&self, request: &CheckEligibility) -> Result<Vec<Blocker>, Fault>;

    /// What is held of the account. No side effects.
    async fn inventory(&self, account: &str) -> Result<Inventory, Fault>;

    /// The next part of what the account's owner may take along, after the cursor that the part before ended with; empty at
    /// the beginning. Nothing, unless said otherwise. No side effects, and no secrets: what proves who somebody is stays.
    /// [`crate::export`] makes parts of tables and files.
    async fn export_part(&self, _account: &str, _after: &str) -> Result<Part, Fault> {
        Ok(Part::default())
    }

    /// Who keeps archives. Only one participant does.
    fn custodian(&self) -> Option<Arc<dyn Custodian>> {
        None
    }

    /// Sends a verification code. Only the identity service can.
    async fn send_code(&self, _request: &SendCode) -> Result<CodeSent, Fault> {
        Err(Fault::unsupported("SEND_CODE"))
    }

    /// Checks a code or password. Only the identity service can.
    async fn check_proof(&self, _request: &CheckProof) -> Result<ProofChecked, Fault> {
        Err(Fault::unsupported("CHECK_PROOF"))
    }

    /// Whether a case approves what is to be done. One that does is used up by it. Only the support desk can.
    async fn check_case(&self, _request: &CheckCase) -> Result<CaseStanding, Fault> {
        Err(Fault::unsupported("CHECK_CASE"))
    }

    /// What waits at the desk. Only the support desk can. No side effects.
    async fn desk_work(&self) -> Result<DeskWork, Fault> {
        Err(Fault::unsupported("DESK"))
    }

    /// Tells the person something, durably and once for each name. Only the identity service can.
    async fn notify(&self, _notice: &Notice) -> Result<(), Fault> {
        Err(Fault::unsupported("NOTIFY"))
    }

    /// How many letters wait. Only the identity service can.
    async fn letters(&self) -> Result<Letters, Fault> {
        Err(Fault::unsupported("LETTERS"))
    }

    /// Where an identifier stands. Only the identity service can. No side effects.
    async fn check_identifier(
        &self,
        _kind: IdentifierKind,
        _value: &str,
    ) -> Result<IdentifierStanding, Fault> {
        Err(Fault::unsupported("CHECK_IDENTIFIER"))
    }

    /// Holds an identifier back no longer, whose present holder has shown that it is theirs. Only the identity service can.
    async fn release_identifier(&self, _request: &ReleaseIdentifier) -> Result<Released, Fault> {
        Err(Fault::unsupported("RELEASE_IDENTIFIER"))
    }

    /// What is held back under which key, and `page_size` releases from `page` on. Only the identity service can. No side effects.
    async fn quarantine(&self, _page_size: u32, _page: &str) -> Result<Quarantine, Fault> {
        Err(Fault::unsupported("QUARANTINE"))
    }

    /// What the account's device is, and what decides what it is told; `None` if the account has no such device. Only
    /// agents can. No side effects.
    async fn describe_device(
        &self,
        _account: &str,
        _device: &str,
    ) -> Result<Option<Description>, Fault> {
        Err(Fault::unsupported("DESCRIBE_DEVICE"))
    }

    /// Whether a device of the account is in hand: makes a challenge, or checks what the device made of it. Only agents can.
    async fn possession(&self, _request: &Possession) -> Result<Result<Vec<u8>, NotInHand>, Fault> {
        Err(Fault::unsupported("POSSESSION"))
    }

    /// Ends the server half of one binding and queues the device's order, durably. The same name again changes nothing
    /// and says how far it is. Only agents can.
    async fn unbind_device(
        &self,
        _request: &UnbindDevice,
    ) -> Result<Result<Unbinding, NotUnbound>, Fault> {
        Err(Fault::unsupported("UNBIND_DEVICE"))
    }

    /// How far an unbinding is. Only agents can.
    async fn device_unbinding(
        &self,
        _account: &str,
        _name: &str,
    ) -> Result<Result<Unbinding, NotUnbound>, Fault> {
        Err(Fault::unsupported("DEVICE_UNBINDING"))
    }

    /// Keeps the account in this standing, durably: see [`crate::standing`]. Of several the highest generation holds.
    async fn set_standing(&self, _request: &SetStanding) -> Result<StandingKept, Fault> {
        Err(Fault::unsupported("SET_STANDING"))
    }

    /// Clears the real name and lets lapse what is tied to it, or looks what that would be: see [`crate::clearing`].
    /// Whoever holds nothing of the kind need not say so.
    async fn clear_real_name(&self, request: &ClearRealName) -> Result<RealNameCleared, Fault> {
        Ok(RealNameCleared::nothing(request))
    }

    /// Moves what the account has to another one, all at once or nothing, or looks what that would be: see [`crate::transfer`].
    /// Only the store can.
    async fn transfer_belongings(
        &self,
        _request: &TransferBelongings,
    ) -> Result<Transferred, Fault> {
        Err(Fault::unsupported("TRANSFER_BELONGINGS"))
    }

    /// Erases what is known of the person for personalised advertising, and gathers no more of it, durably: see
    /// [`crate::interests`]. Whoever profiles nobody need not say so.
    async fn stop_personalization(
        &self,
        _request: &StopPersonalization,
    ) -> Result<PersonalizationStopped, Fault> {
        Ok(PersonalizationStopped::nothing())
    }

    /// Whose account it is. Only the identity service can. No side effects.
    async fn describe_account(&self, _account: &str) -> Result<AccountDescription, Fault> {
        Err(Fault::unsupported("DESCRIBE_ACCOUNT"))
    }
}

pub use retention::{
    BadIdentifier, IdentifierKind, IdentifierStanding, KeyVersion, Quarantine, Release,
    ReleaseIdentifier, Released, RetentionRule, Starting, StartingPoint, Term,
};

/// `REFUSED`: the command is empty, zero, unknown or somebody else's, or its name stands for another command.
pub const INVALID_COMMAND: &str = "INVALID_COMMAND";

/// What is asked: one command. Its `Debug` never shows the account.
#[derive(Clone, PartialEq, Eq)]
pub struct Order {
    /// `deletions/{deletion}/commands/{round}-{verb}-{participant}`: the idempotency key.
    pub command: String,
    /// The account's id, without `accounts/`. Never empty.
    pub account: String,
    /// The legal deadline, if the coordinator sent one.
    pub deadline: Option<SystemTime>,
    /// For agents, on `act`: the sealed roster.
    pub devices: Vec<DeviceTask>,
    /// On `act`: what is to be kept under law, and how long. Nothing else may be. On an `expire`: what ended before the day that was on
    /// record, each with its end; on one that is repeated after a restore, all that had ended by then.
    pub retention: Vec<RetentionRule>,
    /// On `expire`: whatever ends by then is to be erased; see [`crate::seal::ended_by`]. On an `act` that is repeated after a
    /// restore: what ends later is kept, though it may have ended by now; see [`crate::seal::erased_at`].
    pub ended_by: Option<SystemTime>,
    /// For agents, on `act`: how long a device that is away is waited for at most, if the policy says so.
    pub horizon: Option<Duration>,
    /// W3C trace context of the delivery; may be empty.
    pub traceparent: String,
}

impl Order {
    /// Of an `act`: whether it was done before, and is done again because its participant was restored from a backup. What is
    /// held now may be older than what was erased then.
    pub fn is_repeated(&self) -> bool {
        self.ended_by.is_some()
    }
}

impl fmt::Debug for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Order")
            .field("command", &self.command)
            .field("devices", &self.devices)
            .finish_non_exhaustive()
    }
}

/// What comes back for a command.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum Answer {
    /// Carried out. Final: the same command must be answered the same for ever.
    Done(Done),
    /// Not yet; ask again after `retry_after`. Not kept in the journal.
    Deferred(Deferred),
    /// Never without a person.
    Refused {
        /// Stable machine word.
        reason: String,
        /// For operators, without personal data.
        detail: String,
    },
}

/// A finished command.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Done {
    /// What was done.
    pub outcome: Outcome,
    /// Items by category.
    pub counts: BTreeMap<String, i64>,
    /// What is kept under law.
    pub retained: Vec<Retained>,
    /// For agents: the roster on `Sealed`, the results on `Erased`.
    pub devices: Vec<DeviceResult>,
}

impl Done {
    /// A finished command without counts, retention or devices.
    pub fn new(outcome: Outcome) -> Self {
        Self {
            outcome,
            counts: BTreeMap::new(),
            retained: Vec::new(),
            devices: Vec::new(),
        }
    }

    /// Adds a count.
    #[must_use]
    pub fn count(mut self, category: &str, items: i64) -> Self {
        self.counts.insert(category.to_owned(), items);
        self
    }
}

/// What was done. There is no unknown outcome: unknown is never an acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Outcome {
    Erased,
    Anonymised,
    CryptoShredded,
    Retained,
    NotFound,
    Transferred,
    Sealed,
    Unsealed,
    Clean,
    Residue,
}

/// Something kept under law, de-identified and restricted.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Retained {
    /// For instance `transactions`.
    pub class: String,
    /// The law.
    pub legal_basis: String,
    /// Number of records; at least 1.
    pub count: i64,
    /// When the last record must be erased.
    pub until: SystemTime,
    /// When the first one must be, if that is earlier: the coordinator asks for it then.
    #[serde(default)]
    pub next: Option<SystemTime>,
}

impl Retained {
    /// Of one class's records as a database sums them up: class, law, how many, and the first and the last end, in microseconds.
    pub fn of((class, legal_basis, count, first, last): (String, String, i64, i64, i64)) -> Self {
        Self {
            class,
            legal_basis,
            count,
            until: time(last),
            next: (first < last).then(|| time(first)),
        }
    }
}

/// "Ask again later."
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Deferred {
    /// When to ask again; 1 ms to 7 days.
    pub retry_after: Duration,
    /// Stable machine word, for instance `WAITING_FOR_DEVICES`.
    pub reason: String,
    /// Units done.
    pub done: i64,
    /// Units in all; 0 if unknown.
    pub total: i64,
}

/// Something in the way of a deletion, or to be known before it. How strongly it is in the way, and the sentences that
/// people read, are the coordinator's: one catalogue for everybody. A code that it doesn't know stops the deletion, and is
/// shown with the sentences given here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocker {
    /// Stable code of `A-Z` and `_`, for instance `UNFINISHED_ORDER`.
    pub code: String,
    /// Plain sentence without personal data, at most 1,024 bytes; empty for codes of the catalogue.
    pub message: String,
    /// What removes it; as `message`.
    pub remedy: String,
    /// How many, for instance orders; 0 where that says nothing.
    pub count: i64,
    /// When it ends by itself, if it does.
    pub until: Option<SystemTime>,
}

impl Blocker {
    /// A blocker of the catalogue.
    pub fn new(code: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            message: String::new(),
            remedy: String::new(),
            count: 0,
            until: None,
        }
    }

    /// With its own sentences, for a code that is only this participant's.
    #[must_use]
    pub fn saying(mut self, message: &str, remedy: &str) -> Self {
        message.clone_into(&mut self.message);
        remedy.clone_into(&mut self.remedy);
        self
    }

    /// With how many there are.
    #[must_use]
    pub fn count(mut self, count: i64) -> Self {
        self.count = count;
        self
    }

    /// With its end.
    #[must_use]
    pub fn until(mut self, until: Option<SystemTime>) -> Self {
        self.until = until;
        self
    }
}

/// What is held of an account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// By category.
    pub categories: Vec<Category>,
    /// Bound devices.
    pub devices: Vec<BoundDevice>,
}

/// A category of data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Category {
    /// For instance `photos`.
    pub category: String,
    /// Items.
    pub count: i64,
    /// Bytes.
    pub size_bytes: i64,
}

/// "Send a code." Its `Debug` never shows the account.
#[derive(Clone, PartialEq, Eq)]
pub struct SendCode {
    /// The account's id.
    pub account: String,
    /// `deletions/{deletion}`.
    pub deletion: String,
    /// What is sent, and where to.
    pub kind: CodeKind,
    /// The caller's request id: the same id sends no second code.
    pub request_id: String,
}

impl fmt::Debug for SendCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendCode")
            .field("deletion", &self.deletion)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// How a code travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeChannel {
    Sms,
    Email,
}

/// What is sent to somebody who has to show that they got it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeKind {
    /// Digits, to the bound phone number.
    Sms,
    /// Digits, to the bound mail address.
    Email,
    /// A link, to the bound mail address.
    EmailLink,
}

impl CodeKind {
    /// How it travels.
    pub const fn channel(self) -> CodeChannel {
        match self {
            Self::Sms => CodeChannel::Sms,
            Self::Email | Self::EmailLink => CodeChannel::Email,
        }
    }
}

/// What became of a code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CodeSent {
    /// It is on its way: also said of an account that nobody knows, so that nobody finds out by asking.
    Sent {
        expires: SystemTime,
        next_send: SystemTime,
    },
    /// Another was sent a moment ago.
    TooSoon { next_send: SystemTime },
    /// The account has no such address. Says that there is one: only for an identity whose callers know that already.
    NoAddress,
    /// A link was asked for, of an identity that knows no page which one could lead to. Said of every account.
    NoLinks,
}

/// "Is this proof right?" Its `Debug` never shows the proof.
#[derive(Clone)]
pub struct CheckProof {
    /// The account's id.
    pub account: String,
    /// `deletions/{deletion}`.
    pub deletion: String,
    /// What kind.
    pub kind: ProofKind,
    /// The proof itself.
    pub proof: String,
    /// The caller's request id: counted once.
    pub request_id: String,
}

impl fmt::Debug for CheckProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckProof")
            .field("deletion", &self.deletion)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// Kinds of proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProofKind {
    SmsCode,
    EmailCode,
    EmailLink,
    Password,
    /// Takes a deletion back, and proves nothing else.
    RevokeLink,
}

/// Whether a proof holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProofChecked {
    Right,
    /// Also said of whatever an account that nobody knows shows, as often as of any other's.
    Wrong {
        tries_left: u32,
    },
    /// The code is too old, was used, or none was sent.
    Expired,
    /// Not compared: too many were.
    Locked {
        /// When another is compared.
        next_try: SystemTime,
    },
}

/// Trouble that passes. Its text goes to logs and must hold no personal data.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct Fault {
    what: String,
    unsupported: bool,
    lasting: bool,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Fault {
    /// Trouble with a cause.
    pub fn new(what: &str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self {
            what: what.to_owned(),
            unsupported: false,
            lasting: false,
            source: Some(source.into()),
        }
    }

    /// The same, where asking again soon is of no use: somebody has to mend something first.
    #[must_use]
    pub fn lasting(self) -> Self {
        Self {
            lasting: true,
            ..self
        }
    }

    /// Trouble that says enough without a cause.
    pub fn plain(what: &str) -> Self {
        Self {
            what: what.to_owned(),
            unsupported: false,
            lasting: false,
            source: None,
        }
    }

    /// A question that this participant can't answer, now or later.
    pub fn unsupported(question: &str) -> Self {
        Self {
            what: format!("{question} is not supported by this participant"),
            unsupported: true,
            lasting: true,
            source: None,
        }
    }

    /// Whether asking again soon is of no use.
    pub fn is_lasting(&self) -> bool {
        self.lasting
    }

    /// Whether waiting is of no use because the question isn't this participant's to answer.
    pub fn is_unsupported(&self) -> bool {
        self.unsupported
    }
}

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        Self::new("the participant's database", error)
    }
}
