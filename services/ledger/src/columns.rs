//! A deletion as both databases store it, and back.

use std::collections::HashMap;
use std::time::Duration;

use farewell_core::addendum::{self, Addendum, Ending};
use farewell_core::decision::Decision;
use farewell_core::deletion::Begun;
use farewell_core::device::DeviceOutcome;
use farewell_core::policy::{Channel, Factors, Policy};
use farewell_core::rare::Rare;
use farewell_core::receipt::{Kept, Receipt};
use farewell_core::replay::{self, Replayed};
use farewell_core::{
    AccountId, Deletion, DeletionId, LegIndex, Mask, RequestId, Slot, State, Time, Verb,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{
    Announcement, Answer, Coordinator, Cursor, Entry, Error, Event, Heard, Owed, Receiver,
    RefusedEvent,
};

/// As most deletions have it.
const NOTHING_RARE: &str = "{}";

/// What a state carries.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Times {
    pub expires_at: Option<i64>,
    pub cooling_off_end: Option<i64>,
    pub erase_at: Option<i64>,
    pub end_at: Option<i64>,
    pub sealed: bool,
}

impl From<&State> for Times {
    fn from(state: &State) -> Self {
        let (none, some) = (Self::default(), |at: Time| Some(at.micros()));
        match *state {
            State::AwaitingVerification { expires_at } => Self {
                expires_at: some(expires_at),
                ..none
            },
            State::CoolingOff { ends_at } => Self {
                cooling_off_end: some(ends_at),
                ..none
            },
            State::Erasing(begun) | State::Verifying(begun) => Self {
                cooling_off_end: some(begun.cooling_off_ended_at),
                erase_at: some(begun.at),
                ..none
            },
            State::Purged { begun, at } => Self {
                cooling_off_end: some(begun.cooling_off_ended_at),
                erase_at: some(begun.at),
                end_at: some(at),
                ..none
            },
            State::Revoked { at, sealed } | State::Denied { at, sealed } => Self {
                end_at: some(at),
                sealed,
                ..none
            },
            State::Expired { at } => Self {
                end_at: some(at),
                ..none
            },
        }
    }
}

impl Times {
    fn state(self, code: i16) -> Option<State> {
        let time = |micros: Option<i64>| micros.map(Time::from_micros);
        let begun = || {
            Some(Begun {
                cooling_off_ended_at: time(self.cooling_off_end)?,
                at: time(self.erase_at)?,
            })
        };
        let (at, sealed) = (time(self.end_at), self.sealed);
        Some(match code {
            1 => State::AwaitingVerification {
                expires_at: time(self.expires_at)?,
            },
            2 => State::CoolingOff {
                ends_at: time(self.cooling_off_end)?,
            },
            3 => State::Erasing(begun()?),
            4 => State::Verifying(begun()?),
            5 => State::Purged {
                begun: begun()?,
                at: at?,
            },
            6 => State::Revoked { at: at?, sealed },
            7 => State::Denied { at: at?, sealed },
            8 => State::Expired { at: at? },
            _ => return None,
        })
    }
}

/// A row of `deletion`.
#[derive(sqlx::FromRow)]
pub(crate) struct DeletionRow {
    id: Uuid,
    account: String,
    request: Uuid,
    request_digest: Uuid,
    channel: i16,
    policy_version: i32,
    consents: String,
    requested_at: i64,
    deadline: i64,
    state: i16,
    expires_at: Option<i64>,
    cooling_off_end: Option<i64>,
    erase_at: Option<i64>,
    end_at: Option<i64>,
    sealed: bool,
    factors_required: i16,
    factors_verified: i16,
    round: i32,
    done: i64,
    need: i64,
    refused: i64,
    retains: i64,
    expiring: i64,
    blockers: String,
    rare: String,
    held: bool,
    conflicts: i32,
    attention_at: Option<i64>,
    closed_at: Option<i64>,
    traceparent: String,
    revision: i32,
}

impl TryFrom<DeletionRow> for Deletion {
    type Error = Error;

    fn try_from(row: DeletionRow) -> Result<Self, Error> {
        let times = Times {
            expires_at: row.expires_at,
            cooling_off_end: row.cooling_off_end,
            erase_at: row.erase_at,
            end_at: row.end_at,
            sealed: row.sealed,
        };
        Ok(Self {
            id: DeletionId(row.id),
            account: account(&row.account)?,
            request: RequestId(row.request),
            request_digest: row.request_digest.into_bytes(),
            channel: Channel::from_code(row.channel).ok_or(Error::Corrupt { what: "channel" })?,
            policy_version: number(row.policy_version, "policy version")?,
            consents: read(&row.consents, "consent")?,
            requested_at: Time::from_micros(row.requested_at),
            deadline: Time::from_micros(row.deadline),
            state: times
                .state(row.state)
                .ok_or(Error::Corrupt { what: "state" })?,
            factors_required: Factors::from_code(row.factors_required),
            factors_verified: Factors::from_code(row.factors_verified),
            round: number(row.round, "round")?,
            done: Mask::from_bits(row.done),
            need: Mask::from_bits(row.need),
            refused: Mask::from_bits(row.refused),
            retains: Mask::from_bits(row.retains),
            expiring: Mask::from_bits(row.expiring),
            blockers: read(&row.blockers, "blocker")?,
            rare: read_rare(&row.rare)?,
            held: row.held,
            conflicts: number(row.conflicts, "count of conflicts")?,
            attention_at: row.attention_at.map(Time::from_micros),
            closed_at: row.closed_at.map(Time::from_micros),
            traceparent: row.traceparent,
            revision: row.revision,
        })
    }
}

/// A row of `receipt`.
#[derive(sqlx::FromRow)]
pub(crate) struct ReceiptRow {
    pub deletion: Uuid,
    round: i32,
    leg: i16,
    fingerprint: Uuid,
    evidence: String,
    settled_at: i64,
}

impl TryFrom<ReceiptRow> for Kept {
    type Error = Error;

    fn try_from(row: ReceiptRow) -> Result<Self, Error> {
        let leg = usize::try_from(row.leg).ok().and_then(LegIndex::new);
        Ok(Self {
            receipt: Receipt {
                leg: leg.ok_or(Error::Corrupt { what: "leg" })?,
                round: number(row.round, "round")?,
                evidence: row.evidence,
                fingerprint: row.fingerprint.into_bytes(),
            },
            settled_at: Time::from_micros(row.settled_at),
        })
    }
}

/// A row of `replay`.
#[derive(sqlx::FromRow)]
pub(crate) struct ReplayRow {
    deletion: Uuid,
    participant: String,
    round: i32,
    verb: String,
    evidence: String,
    recorded_at: i64,
    fingerprint: Uuid,
}

impl TryFrom<ReplayRow> for replay::Kept {
    type Error = Error;

    fn try_from(row: ReplayRow) -> Result<Self, Error> {
        let participant = row.participant.parse();
        Ok(Self {
            recorded_at: Time::from_micros(row.recorded_at),
            replayed: Replayed {
                deletion: DeletionId(row.deletion),
                participant: participant.map_err(|_| Error::Corrupt {
                    what: "participant",
                })?,
                round: number(row.round, "round")?,
                verb: Verb::from_word(&row.verb).ok_or(Error::Corrupt { what: "verb" })?,
                evidence: row.evidence,
                fingerprint: row.fingerprint.into_bytes(),
            },
        })
    }
}

/// Replays in order. Not sorted in SQL: text sorts there as the database was set up.
pub(crate) fn replays(rows: Vec<ReplayRow>) -> Result<Vec<replay::Kept>, Error> {
    let replays = rows.into_iter().map(replay::Kept::try_from);
    let mut replays: Vec<_> = replays.collect::<Result<_, _>>()?;
    replays.sort_by(replay::Kept::order);
    Ok(replays)
}

/// A row of `addendum`.
#[derive(sqlx::FromRow)]
pub(crate) struct AddendumRow {
    deletion: Uuid,
    round: i32,
    leg: i16,
    device: String,
    binding_epoch: i64,
    ending: String,
    was: String,
    returned_at: i64,
    recorded_at: i64,
    fingerprint: Uuid,
}

impl TryFrom<AddendumRow> for addendum::Kept {
    type Error = Error;

    fn try_from(row: AddendumRow) -> Result<Self, Error> {
        let leg = usize::try_from(row.leg).ok().and_then(LegIndex::new);
        let device = row.device.parse();
        Ok(Self {
            recorded_at: Time::from_micros(row.recorded_at),
            addendum: Addendum {
                deletion: DeletionId(row.deletion),
                round: number(row.round, "round")?,
                leg: leg.ok_or(Error::Corrupt { what: "leg" })?,
                device: device.map_err(|_| Error::Corrupt { what: "device" })?,
                binding_epoch: row.binding_epoch.cast_unsigned(),
                ending: Ending::from_word(&row.ending).ok_or(Error::Corrupt { what: "ending" })?,
                before: DeviceOutcome::from_word(&row.was)
                    .ok_or(Error::Corrupt { what: "outcome" })?,
                returned_at: Time::from_micros(row.returned_at),
                fingerprint: row.fingerprint.into_bytes(),
            },
        })
    }
}

/// Addenda, oldest first. Not sorted in SQL: text sorts there as the database was set up.
pub(crate) fn addenda(rows: Vec<AddendumRow>) -> Result<Vec<addendum::Kept>, Error> {
    let mut addenda: Vec<_> = rows
        .into_iter()
        .map(addendum::Kept::try_from)
        .collect::<Result<_, _>>()?;
    addenda.sort();
    Ok(addenda)
}

/// A row of `history`.
#[derive(sqlx::FromRow)]
pub(crate) struct HistoryRow {
    revision: i32,
    at: i64,
    state: i16,
    note: String,
    decision: Option<String>,
}

impl TryFrom<HistoryRow> for Entry {
    type Error = Error;

    fn try_from(row: HistoryRow) -> Result<Self, Error> {
        let decision = row.decision.as_deref();
        Ok(Self {
            revision: row.revision,
            at: Time::from_micros(row.at),
            state: row.state,
            note: row.note,
            decision: decision.map(|text| read(text, "decision")).transpose()?,
        })
    }
}

/// A row of `outbox`.
#[derive(sqlx::FromRow)]
pub(crate) struct OutboxRow {
    deletion: Uuid,
    state: i16,
    at: i64,
    seq: i64,
}

impl From<OutboxRow> for Announcement {
    fn from(row: OutboxRow) -> Self {
        Self {
            deletion: DeletionId(row.deletion),
            state: row.state,
            at: Time::from_micros(row.at),
            seq: row.seq,
        }
    }
}

/// A row of `event`.
#[derive(sqlx::FromRow)]
pub(crate) struct EventRow {
    account: String,
    deletion: Uuid,
    kind: i16,
    at: i64,
    seq: i64,
    tries: i32,
}

impl EventRow {
    pub fn of(self, receiver: &str) -> Result<Event, Error> {
        let account = self.account.parse();
        Ok(Event {
            receiver: receiver.to_owned(),
            account: account.map_err(|_| Error::Corrupt { what: "account" })?,
            deletion: DeletionId(self.deletion),
            kind: self.kind,
            at: Time::from_micros(self.at),
            seq: self.seq,
            tries: u32::try_from(self.tries).unwrap_or(0),
        })
    }
}

/// A row of `event` that was refused.
#[derive(sqlx::FromRow)]
pub(crate) struct RefusedRow {
    #[sqlx(flatten)]
    event: EventRow,
    refused: String,
    refused_at: i64,
}

impl RefusedRow {
    pub fn of(self, receiver: &str) -> Result<RefusedEvent, Error> {
        Ok(RefusedEvent {
            event: self.event.of(receiver)?,
            word: self.refused,
            at: Time::from_micros(self.refused_at),
        })
    }
}

/// What a receiver said, by column: taken is what has neither a word nor a time.
#[derive(Default)]
pub(crate) struct HeardRows<'a> {
    pub deletions: Vec<Uuid>,
    pub kinds: Vec<i16>,
    pub words: Vec<Option<&'a str>>,
    pub later: Vec<Option<i64>>,
}

impl<'a> HeardRows<'a> {
    pub fn of(heard: &'a [Heard]) -> Self {
        let mut set = Self::default();
        for heard in heard {
            let (word, later) = match &heard.answer {
                Answer::Taken => (None, None),
                Answer::Refused(word) => (Some(word.as_str()), None),
                Answer::Later(time) => (None, Some(time.micros())),
            };
            set.deletions.push(heard.deletion.0);
            set.kinds.push(heard.kind);
            set.words.push(word);
            set.later.push(later);
        }
        set
    }

    /// The same by row.
    pub fn zipped(&self) -> Vec<(Uuid, i16, Option<&'a str>, Option<i64>)> {
        let ids = self.deletions.iter().zip(&self.kinds);
        ids.zip(self.words.iter().zip(&self.later))
            .map(|((id, kind), (word, later))| (*id, *kind, *word, *later))
            .collect()
    }
}

#[derive(sqlx::FromRow)]
pub(crate) struct ReceiverRow {
    receiver: String,
    waiting: i64,
    oldest: Option<i64>,
    refused: i64,
}

impl From<ReceiverRow> for Receiver {
    fn from(row: ReceiverRow) -> Self {
        Self {
            receiver: row.receiver,
            waiting: row.waiting,
            oldest: row.oldest.map(Time::from_micros),
            refused: row.refused,
        }
    }
}

/// A page's limit, as a statement takes it.
pub(crate) fn rows(limit: u32) -> i64 {
    i64::try_from(crate::rows(limit)).unwrap_or(i64::MAX)
}

pub(crate) fn slot(number: i16) -> Result<Slot, Error> {
    u8::try_from(number)
        .ok()
        .and_then(Slot::new)
        .ok_or(Error::Corrupt { what: "slot" })
}

pub(crate) fn slots(numbers: impl IntoIterator<Item = i16>) -> Result<Vec<Slot>, Error> {
    numbers.into_iter().map(slot).collect()
}

pub(crate) fn slot_numbers(slots: &[Slot]) -> Vec<i16> {
    slots.iter().map(|slot| i16::from(slot.number())).collect()
}

/// Small lists are JSON text: nothing is ever looked up in them.
pub(crate) fn text<T: Serialize>(list: &[T]) -> String {
    if list.is_empty() {
        return "[]".to_owned();
    }
    serde_json::to_string(list).unwrap_or_default()
}

pub(crate) fn micros(time: Option<Time>) -> Option<i64> {
    time.map(Time::micros)
}

/// A whole number that the database keeps as a signed one.
pub(crate) fn stored(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

pub(crate) fn number<N, M: TryFrom<N>>(number: N, what: &'static str) -> Result<M, Error> {
    M::try_from(number).map_err(|_| Error::Corrupt { what })
}

pub(crate) fn leg(leg: LegIndex) -> i16 {
    i16::try_from(leg.place()).unwrap_or(i16::MAX)
}

pub(crate) fn read<T: DeserializeOwned>(text: &str, what: &'static str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|_| Error::Corrupt { what })
}

/// Who decided a step and why, as JSON. Most steps nobody decided.
pub(crate) fn decision(decision: Option<&Decision>) -> Option<String> {
    decision.and_then(|decision| serde_json::to_string(decision).ok())
}

/// What few deletions have on record, as JSON.
pub(crate) fn rare(rare: &Rare) -> String {
    if *rare == Rare::default() {
        return NOTHING_RARE.to_owned();
    }
    serde_json::to_string(rare).unwrap_or_else(|_| NOTHING_RARE.to_owned())
}

fn read_rare(text: &str) -> Result<Rare, Error> {
    if text == NOTHING_RARE {
        return Ok(Rare::default());
    }
    read(text, "record of what is rare")
}

pub(crate) fn account(text: &str) -> Result<AccountId, Error> {
    text.parse().map_err(|_| Error::Corrupt { what: "account" })
}

/// A row of `coordinator` with the count of its slots.
#[derive(sqlx::FromRow)]
pub(crate) struct CoordinatorRow {
    holder: String,
    lease_until: i64,
    slots: i64,
}

impl CoordinatorRow {
    pub fn coordinator(self) -> Coordinator {
        Coordinator {
            holder: self.holder,
            slots: u32::try_from(self.slots).unwrap_or(u32::MAX),
            lease_until: Time::from_micros(self.lease_until),
        }
    }
}

/// A place that everything comes after, if there is no cursor.
pub(crate) fn cursor(after: Option<Cursor>) -> (i64, Uuid) {
    after.map_or((i64::MIN, Uuid::nil()), |after| {
        (after.attention_at.micros(), after.id.0)
    })
}

/// Deletions with their seals, which come by deletion.
pub(crate) fn owed(deletions: Vec<Deletion>, seals: Vec<ReceiptRow>) -> Result<Vec<Owed>, Error> {
    let mut by_deletion: HashMap<DeletionId, Vec<Kept>> = HashMap::new();
    for row in seals {
        by_deletion
            .entry(DeletionId(row.deletion))
            .or_default()
            .push(Kept::try_from(row)?);
    }
    Ok(deletions
        .into_iter()
        .map(|deletion| Owed {
            seals: by_deletion.get(&deletion.id).cloned().unwrap_or_default(),
            deletion,
        })
        .collect())
}

/// A policy's one text, and its digest.
pub(crate) fn document(policy: &Policy) -> (String, [u8; 32]) {
    let doc = serde_json::to_string(policy).unwrap_or_default();
    let digest = Sha256::digest(doc.as_bytes()).into();
    (doc, digest)
}

/// Those that can be read: what a newer program has adopted is of no use to an older one, and keeps it from nothing else.
pub(crate) fn policies(rows: Vec<(i32, String)>) -> Result<Vec<(u32, Policy)>, Error> {
    let readable = |(version, doc): (i32, String)| {
        let policy = read(&doc, "policy").ok()?;
        Some(number(version, "policy version").map(|version| (version, policy)))
    };
    rows.into_iter().filter_map(readable).collect()
}

pub(crate) fn span(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX / 2)
}
