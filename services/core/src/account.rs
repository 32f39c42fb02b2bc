//! What becomes of an account besides its deletion: it is frozen, thawed or memorialised, or that is taken back, or its real
//! name or what advertising knows of it is cleared.
//!
//! An account of which such a thing was ever asked has one [`Account`], with its standing and its changes. Each that brings
//! another standing has a *generation* of its own, and participants keep the highest that they heard of: one that was away is told
//! the newest only, and a message that comes late changes nothing. A deletion's seal is another thing, beside it: whoever
//! takes a deletion back finds the account in the standing that it had.

mod hanging;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::id::{AccountId, ParticipantId, RequestId, SLOTS, Slot};
use crate::policy::{Channel, Factor, Factors};
use crate::time::Time;

/// Requests of one account that may be under way at a time.
pub const OPEN_MAX: usize = 8;
/// Requests of one account that are kept; of more, those that ended first are forgotten.
pub const KEPT_MAX: usize = 64;
/// How long the support desk may take.
const REVIEW_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Who knows people; of a real name it lets go last, when nobody needs it any more.
const IDENTITY: &str = "identity";
/// The support desk; of a memorial it hears last: what it hears ends what is in the way of a deletion, and by then everybody else
/// stops one.
const DESK: &str = "support";

/// Whether an account can be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Standing {
    /// As any other.
    #[default]
    Active,
    /// Everything is kept and nobody can log in, as its owner asked for.
    Frozen,
    /// Its owner has died: everything is kept and nobody can log in.
    Memorialized,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Kind {
    Freeze,
    Unfreeze,
    Memorialize,
    ClearRealName,
    /// The memorial was a mistake. It is frozen then, and its owner thaws it: nobody gets in by the desk's word alone.
    Unmemorialize,
    /// Nobody knows any more what could interest the person, for advertising, nor finds it out anew.
    StopPersonalization,
}

impl Kind {
    /// The standing that it brings, if that is what it is about.
    pub const fn standing(self) -> Option<Standing> {
        match self {
            Self::Freeze | Self::Unmemorialize => Some(Standing::Frozen),
            Self::Unfreeze => Some(Standing::Active),
            Self::Memorialize => Some(Standing::Memorialized),
            Self::ClearRealName | Self::StopPersonalization => None,
        }
    }

    /// Who is told when everybody else has it.
    const fn last(self) -> Option<&'static str> {
        match self {
            Self::ClearRealName => Some(IDENTITY),
            Self::Memorialize => Some(DESK),
            Self::Freeze | Self::Unfreeze | Self::Unmemorialize | Self::StopPersonalization => None,
        }
    }
}

/// An account, as far as anything but its deletion goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    pub account: AccountId,
    /// Grows by one with every change; 0: nothing is stored yet.
    pub revision: i32,
    /// Grows by one with every change of standing.
    pub generation: u64,
    pub standing: Standing,
    /// When the standing began; `None`: it was never changed.
    pub since: Option<Time>,
    /// When personalised advertising was stopped; `None`: it wasn't.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub personalization_stopped: Option<Time>,
    /// Oldest first.
    pub changes: Vec<Change>,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    pub id: RequestId,
    /// Of method and body.
    pub digest: [u8; 16],
    pub kind: Kind,
    pub state: State,
    pub requested_at: Time,
    pub state_at: Time,
    /// When operators were last alarmed of it in this state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alarmed_at: Option<Time>,
    pub channel: Option<Channel>,
    pub factors_required: Factors,
    pub factors_verified: Factors,
    /// The case of the support desk that it rests on.
    pub case: Option<String>,
    /// Version of the text about what lapses that the person agreed to.
    pub consent: Option<u32>,
    /// The account's generation since this change took effect; 0 for what changes no standing.
    pub generation: u64,
    /// What each participant owes or did. Until it takes effect: who owes an answer, of those who were asked whether it may.
    pub legs: BTreeMap<ParticipantId, Leg>,
}

/// How far a change is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// Factors are outstanding.
    AwaitingVerification { expires_at: Time },
    /// Everybody is asked if anything is in the way.
    Checking,
    /// The support desk must agree.
    InReview { expires_at: Time },
    /// It stands, and participants are told until each has it.
    Working,
    /// Everybody has it.
    Done,
    /// Nothing was changed.
    Refused { reasons: Vec<String> },
    /// It was never verified, and nothing was changed.
    Expired,
    /// A later change was told instead.
    Superseded,
}

impl State {
    /// Whether nothing more will happen.
    pub const fn is_over(&self) -> bool {
        match self {
            Self::AwaitingVerification { .. }
            | Self::Checking
            | Self::InReview { .. }
            | Self::Working => false,
            Self::Done | Self::Refused { .. } | Self::Expired | Self::Superseded => true,
        }
    }
}

/// What one participant owes a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Leg {
    /// It has not said that it has it; with its word, if it said why.
    Owed { waits_for: Option<String> },
    /// It has it durably.
    Told { at: Time, outcome: Outcome },
}

/// What a participant did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// As asked, with what lapsed or was erased, by category.
    Done { lapsed: BTreeMap<String, i64> },
    /// The account was erased here, so that nothing is left to be done.
    Gone,
}

/// What is asked, before it is judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    pub id: RequestId,
    pub digest: [u8; 16],
    pub kind: Kind,
    pub channel: Option<Channel>,
    pub case: Option<String>,
    pub consent: Option<u32>,
    /// What must be proved before it takes effect. Empty: whoever asks answers for it.
    pub factors: Factors,
    /// When it ends if it isn't proved.
    pub expires_at: Time,
    /// Who is told if it takes effect at once.
    pub participants: Vec<ParticipantId>,
}

/// What happens to a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    FactorVerified(Factor),
    /// What everybody said to the question whether anything is in the way.
    Checked(Findings),
    /// The support desk agrees, in this case.
    Approved {
        case: String,
    },
    /// One participant has it.
    Told(ParticipantId, Outcome),
    /// One participant can't do it yet.
    Waits(ParticipantId, String),
    /// These gave no answer to what they were asked before anything is done.
    Unanswered(Vec<ParticipantId>),
    /// Operators were alarmed that it hangs.
    Alarmed,
    /// Time is over.
    Tick,
}

/// What stands in the way of a change, and who is told if nothing does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Stable words. Any of them refuses the change.
    pub obstacles: Vec<String>,
    pub participants: Vec<ParticipantId>,
    /// Whether a person must agree.
    pub review: bool,
}

/// Why nothing was changed. Stable machine words, never renamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    ChangeNotFound,
    RequestIdReused,
    TooManyOpen,
    ClearingOpen,
    Memorialized,
    FactorNotRequired,
    IllegalState,
    NotFrozen,
    NotMemorialized,
    NobodyToTell,
}

impl Refusal {
    /// Every refusal.
    pub const ALL: [Self; 10] = [
        Self::ChangeNotFound,
        Self::RequestIdReused,
        Self::TooManyOpen,
        Self::ClearingOpen,
        Self::Memorialized,
        Self::FactorNotRequired,
        Self::IllegalState,
        Self::NotFrozen,
        Self::NotMemorialized,
        Self::NobodyToTell,
    ];

    const fn entry(self) -> (&'static str, &'static str) {
        match self {
            Self::ChangeNotFound => ("ACCOUNT_CHANGE_NOT_FOUND", "the account has no such change"),
            Self::RequestIdReused => (
                "REQUEST_ID_REUSED",
                "this request_id was used for another request: make a new one for a new request",
            ),
            Self::TooManyOpen => (
                "TOO_MANY_ACCOUNT_CHANGES",
                "the account has as many changes under way as it may have",
            ),
            Self::ClearingOpen => (
                "REAL_NAME_CLEARING_OPEN",
                "the real name is being cleared already: follow that change",
            ),
            Self::Memorialized => (
                "ACCOUNT_MEMORIALIZED",
                "the account is memorialised: only the support desk can change anything about it",
            ),
            Self::FactorNotRequired => (
                "FACTOR_NOT_REQUIRED",
                "the change does not ask for this factor",
            ),
            Self::IllegalState => (
                "ILLEGAL_STATE",
                "the change is in a state that does not allow this",
            ),
            Self::NotFrozen => ("ACCOUNT_NOT_FROZEN", "its owner has not frozen the account"),
            Self::NotMemorialized => (
                "ACCOUNT_NOT_MEMORIALIZED",
                "the account is not memorialised: there is nothing to take back",
            ),
            Self::NobodyToTell => (
                "EMPTY_PLAN",
                "the policy names nobody who could be told of it",
            ),
        }
    }

    /// The machine word.
    pub const fn word(self) -> &'static str {
        self.entry().0
    }

    /// A line of help.
    pub const fn help(self) -> &'static str {
        self.entry().1
    }
}

impl Account {
    /// An account that was never asked anything.
    pub const fn new(account: AccountId) -> Self {
        Self {
            account,
            revision: 0,
            generation: 0,
            standing: Standing::Active,
            since: None,
            personalization_stopped: None,
            changes: Vec::new(),
        }
    }

    /// The slot that the account hashes into: ids of accounts may have any pattern.
    pub fn slot(account: &AccountId) -> Slot {
        let digest = Sha256::digest(account.as_str());
        Slot::new(digest[0] % SLOTS).unwrap_or_else(|| unreachable!("below the number of slots"))
    }

    /// A change by its id.
    pub fn change(&self, id: RequestId) -> Option<&Change> {
        self.changes.iter().find(|change| change.id == id)
    }

    /// Whether a change is somewhere else than it was before. That others are silent about it is no progress: who is asked in
    /// vain is asked ever more seldom.
    pub fn went_on_since(&self, before: &Self) -> bool {
        let moved = |change: &Change| match before.change(change.id) {
            None => true,
            Some(known) if known.state != change.state => true,
            Some(known) => change.state != State::Checking && known.legs != change.legs,
        };
        self.revision != before.revision && self.changes.iter().any(moved)
    }

    /// What a participant has forgotten that was restored from a backup of `since`: the standing of now, if it has heard of any
    /// since then and the change that brought it is still kept, and each clearing that it did since then. What it was not told yet it
    /// is told anyway.
    pub fn forgotten(&self, participant: &ParticipantId, since: Time) -> Vec<&Change> {
        let told = |change: &&Change| {
            let leg = change.legs.get(participant);
            matches!(leg, Some(Leg::Told { at, .. }) if *at >= since)
        };
        let of_standing = |change: &&Change| change.kind.standing().is_some();
        let told: Vec<_> = self.changes.iter().filter(told).collect();
        let standing = told.iter().copied().any(|it| of_standing(&it)).then(|| {
            // An earlier one that is kept longer would tell what is over.
            self.changes.iter().find(|it| self.has_brought(it))
        });
        let others = told.iter().copied().filter(|it| !of_standing(it));
        standing.flatten().into_iter().chain(others).collect()
    }

    /// When somebody must look next; `None`: never, unless something is asked.
    pub fn attention_at(&self) -> Option<Time> {
        let each = self.changes.iter().filter_map(|change| {
            match change.state {
                State::AwaitingVerification { expires_at } | State::InReview { expires_at } => {
                    Some(expires_at)
                }
                // Since it began, and not since somebody last answered: acknowledgements move nobody in the order.
                State::Checking | State::Working => Some(change.requested_at),
                State::Done | State::Refused { .. } | State::Expired | State::Superseded => None,
            }
        });
        each.min()
    }

    /// Takes a change. One that is known by its id is not asked a second time; see [`Account::change`].
    ///
    /// What needs a proof is refused for nothing but its shape: whoever asks has not shown yet that the account is theirs, and
    /// is told nothing about it.
    pub fn ask(&self, ask: Ask, now: Time) -> Result<Self, Refusal> {
        if let Some(known) = self.change(ask.id) {
            return if known.digest == ask.digest {
                Ok(self.clone())
            } else {
                Err(Refusal::RequestIdReused)
            };
        }
        let under_way = self.changes.iter().filter(|change| !change.state.is_over());
        let waits = |change: &Change| matches!(change.state, State::AwaitingVerification { .. });
        // What nobody has proved gives way: it must not keep the owner out.
        let gives_way = if under_way.count() < OPEN_MAX {
            None
        } else {
            Some(
                self.changes
                    .iter()
                    .position(waits)
                    .ok_or(Refusal::TooManyOpen)?,
            )
        };
        let at_once = ask.factors == Factors::default();
        if at_once && let Some(refusal) = self.obstacle(ask.id, ask.kind) {
            return Err(refusal);
        }
        let mut next = self.clone();
        next.revision += 1;
        if let Some(place) = gives_way {
            next.changes[place].enter(State::Superseded, now);
        }
        next.changes.push(Change {
            id: ask.id,
            digest: ask.digest,
            kind: ask.kind,
            state: State::AwaitingVerification {
                expires_at: ask.expires_at,
            },
            requested_at: now,
            state_at: now,
            alarmed_at: None,
            channel: ask.channel,
            factors_required: ask.factors,
            factors_verified: Factors::default(),
            case: ask.case,
            consent: ask.consent,
            generation: 0,
            legs: BTreeMap::new(),
        });
        let last = next.changes.len() - 1;
        if at_once {
            next.take_effect(last, ask.participants, now)?;
        }
        next.forget();
        Ok(next)
    }

    /// The account after something happened to one of its changes. What changes nothing is answered with an equal account.
    pub fn step(&self, id: RequestId, event: Event, now: Time) -> Result<Self, Refusal> {
        let place = self.changes.iter().position(|change| change.id == id);
        let place = place.ok_or(Refusal::ChangeNotFound)?;
        let mut next = self.clone();
        let change = &mut next.changes[place];
        match (&change.state, event) {
            (
                State::AwaitingVerification { expires_at } | State::InReview { expires_at },
                Event::Tick,
            ) => {
                if now < *expires_at {
                    return Ok(self.clone());
                }
                change.enter(State::Expired, now);
            }
            (State::AwaitingVerification { expires_at }, Event::FactorVerified(factor)) => {
                if now >= *expires_at {
                    return Err(Refusal::IllegalState);
                }
                if !change.factors_required.has(factor) {
                    return Err(Refusal::FactorNotRequired);
                }
                change.factors_verified = change.factors_verified.with(factor);
                if change.factors_verified.satisfy(change.factors_required) {
                    change.enter(State::Checking, now);
                }
            }
            // The same proof again.
            (_, Event::FactorVerified(factor)) if change.factors_verified.has(factor) => {
                return Ok(self.clone());
            }
            (State::Checking, Event::Unanswered(silent)) => {
                let owed = |participant| (participant, Leg::Owed { waits_for: None });
                let legs = silent.into_iter().map(owed).collect();
                if change.legs == legs {
                    return Ok(self.clone());
                }
                change.legs = legs;
            }
            (State::Checking, Event::Checked(findings)) => {
                change.legs.clear();
                let mut reasons = findings.obstacles;
                if let Some(refusal) = self.obstacle(change.id, change.kind) {
                    reasons.insert(0, refusal.word().to_owned());
                }
                if !reasons.is_empty() {
                    reasons.dedup();
                    change.enter(State::Refused { reasons }, now);
                } else if findings.review && change.case.is_none() {
                    let expires_at = now + REVIEW_MAX;
                    change.enter(State::InReview { expires_at }, now);
                } else {
                    next.take_effect(place, findings.participants, now)?;
                }
            }
            // What everybody said before the review may have changed since.
            (State::InReview { expires_at }, Event::Approved { case }) => {
                if now >= *expires_at {
                    return Err(Refusal::IllegalState);
                }
                change.case = Some(case);
                change.enter(State::Checking, now);
            }
            // The same approval again.
            (_, Event::Approved { case }) if change.case.as_ref() == Some(&case) => {
                return Ok(self.clone());
            }
            (State::Working, Event::Told(participant, outcome)) => {
                match change.legs.get_mut(&participant) {
                    Some(leg @ Leg::Owed { .. }) => *leg = Leg::Told { at: now, outcome },
                    // The first answer stands.
                    Some(Leg::Told { .. }) => return Ok(self.clone()),
                    None => return Err(Refusal::IllegalState),
                }
                if change.owing().next().is_none() {
                    change.enter(State::Done, now);
                }
            }
            (State::Working, Event::Waits(participant, word)) => {
                let waits_for = Some(word);
                match change.legs.get_mut(&participant) {
                    Some(leg @ Leg::Owed { .. })
                        if *leg
                            != (Leg::Owed {
                                waits_for: waits_for.clone(),
                            }) =>
                    {
                        *leg = Leg::Owed { waits_for };
                    }
                    Some(_) => return Ok(self.clone()),
                    None => return Err(Refusal::IllegalState),
                }
            }
            (State::Checking | State::Working, Event::Alarmed) => change.alarmed_at = Some(now),
            // Late, and of no use any more.
            (
                State::Done | State::Superseded,
                Event::Told(..)
                | Event::Waits(..)
                | Event::Tick
                | Event::Checked(_)
                | Event::Alarmed,
            )
            | (State::Checking | State::Working, Event::Tick) => {
                return Ok(self.clone());
            }
            _ => return Err(Refusal::IllegalState),
        }
        next.revision = self.revision + 1;
        Ok(next)
    }

    /// What the account itself has against a change that is proved.
    fn obstacle(&self, id: RequestId, kind: Kind) -> Option<Refusal> {
        let clears = |other: &&Change| {
            other.id != id
                && other.kind == Kind::ClearRealName
                && matches!(other.state, State::InReview { .. } | State::Working)
        };
        if kind == Kind::ClearRealName && self.changes.iter().any(|other| clears(&other)) {
            return Some(Refusal::ClearingOpen);
        }
        match (self.standing, kind) {
            (
                Standing::Memorialized,
                Kind::Freeze | Kind::Unfreeze | Kind::ClearRealName | Kind::StopPersonalization,
            ) => Some(Refusal::Memorialized),
            (Standing::Active, Kind::Unfreeze) => Some(Refusal::NotFrozen),
            (Standing::Active | Standing::Frozen, Kind::Unmemorialize) => {
                Some(Refusal::NotMemorialized)
            }
            (Standing::Active | Standing::Frozen, _)
            | (Standing::Memorialized, Kind::Memorialize | Kind::Unmemorialize) => None,
        }
    }

    /// From here on it stands, and everybody is told.
    fn take_effect(
        &mut self,
        place: usize,
        participants: Vec<ParticipantId>,
        now: Time,
    ) -> Result<(), Refusal> {
        if participants.is_empty() {
            return Err(Refusal::NobodyToTell);
        }
        if let Some(standing) = self.changes[place].kind.standing() {
            self.generation += 1;
            if self.standing != standing || self.since.is_none() {
                self.since = Some(now);
            }
            self.standing = standing;
            for earlier in &mut self.changes {
                if earlier.kind.standing().is_some() && earlier.state == State::Working {
                    earlier.enter(State::Superseded, now);
                }
            }
            self.changes[place].generation = self.generation;
        }
        if self.changes[place].kind == Kind::StopPersonalization {
            self.personalization_stopped.get_or_insert(now);
        }
        let change = &mut self.changes[place];
        let owed = |participant| (participant, Leg::Owed { waits_for: None });
        change.legs = participants.into_iter().map(owed).collect();
        change.enter(State::Working, now);
        Ok(())
    }

    /// Whether the account stands as it does since this change.
    const fn has_brought(&self, change: &Change) -> bool {
        change.generation > 0 && change.generation == self.generation
    }

    /// Forgets those that were asked for first of those that have ended, beyond what is kept. That by which the account stands as it
    /// does stays: whoever comes back from a backup is told of it once more.
    fn forget(&mut self) {
        while self.changes.len() > KEPT_MAX {
            let over = |change: &Change| change.state.is_over() && !self.has_brought(change);
            let Some(place) = self.changes.iter().position(over) else {
                return;
            };
            self.changes.remove(place);
        }
    }
}

impl Change {
    fn enter(&mut self, state: State, now: Time) {
        self.state = state;
        self.state_at = now;
        self.alarmed_at = None;
    }

    /// Who is to be told now: one that comes last not before the others.
    pub fn owing(&self) -> impl Iterator<Item = &ParticipantId> {
        let last = self.kind.last();
        let is_last = move |it: &ParticipantId| last == Some(it.as_str());
        let owes = |(_, leg): &(&ParticipantId, &Leg)| matches!(leg, Leg::Owed { .. });
        let owing = self.legs.iter().filter(owes).map(|(it, _)| it);
        let others = owing.clone().any(|it| !is_last(it));
        owing.filter(move |it| !(others && is_last(it)))
    }
}

#[cfg(test)]
mod tests;
