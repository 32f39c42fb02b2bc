//! A deletion, and what can happen to it. The one transition is [`Deletion::step`].

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::blocker;
pub use crate::blocker::Blocker;
use crate::gate::PurgePermit;
use crate::id::{AccountId, DeletionId, RequestId};
use crate::leg::{LegIndex, Mask};
use crate::notice::Notices;
use crate::plan::Plan;
use crate::policy::{Channel, Due, Factor, Factors};
use crate::rare::{Denial, Rare, Why};
use crate::refusal::{Reason, Refusal};
use crate::time::Time;

mod step;
#[cfg(test)]
mod tests;

/// Longest W3C `traceparent`.
pub const TRACEPARENT_BYTES_MAX: usize = 55;
/// Rounds of erasing that need nobody. A participant that still holds something after so many erasures won't get rid of
/// it by being asked once more: each further round waits for [`Event::Retry`].
pub const ROUNDS_UNATTENDED_MAX: u16 = 5;

/// One run of erasing one account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deletion {
    pub id: DeletionId,
    pub account: AccountId,
    pub request: RequestId,
    /// Digest of the request's body: the same id with another body is refused.
    pub request_digest: [u8; 16],
    pub channel: Channel,
    pub policy_version: u32,
    pub consents: Vec<Consent>,
    pub requested_at: Time,
    pub deadline: Time,
    pub state: State,
    pub factors_required: Factors,
    pub factors_verified: Factors,
    /// Grows when residue is found; part of every command's name; at least 1.
    pub round: u16,
    /// Legs that are settled durably.
    pub done: Mask,
    /// Legs that must be settled before a purge. Empty until the plan is fixed at the point of no return.
    pub need: Mask,
    /// Legs that their participant refuses to do: a person must look.
    pub refused: Mask,
    /// Expiries ([`Plan::expires`]) of those who said that they keep something under law.
    pub retains: Mask,
    /// Those of them that are asked for, because something has ended: until their answers are on record. Empty before the
    /// purge.
    pub expiring: Mask,
    /// What stops the deletion, as last asked.
    pub blockers: Vec<Blocker>,
    /// A legal hold stands.
    pub held: bool,
    /// Contradictions in evidence that nobody has looked at.
    pub conflicts: u32,
    /// What is on record of some deletions only.
    pub rare: Rare,
    /// When the slot's owner must look at the deletion; `None` once nothing more is owed, nor to be told. Acknowledgements never
    /// move it.
    pub attention_at: Option<Time>,
    /// When nothing was owed any more.
    pub closed_at: Option<Time>,
    /// Trace context of the request; may be empty.
    pub traceparent: String,
    /// Grows with every turn: what a compare-and-set compares.
    pub revision: i32,
}

/// A text that the person agreed to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consent {
    pub text: String,
    pub version: u32,
    pub at: Time,
}

/// Where a deletion stands. There is no failed state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Factors are outstanding, or the account isn't eligible yet.
    AwaitingVerification { expires_at: Time },
    /// Sealed and revocable.
    CoolingOff { ends_at: Time },
    /// Past the point of no return.
    Erasing(Begun),
    /// Everything is erased; everyone is asked what it still holds.
    Verifying(Begun),
    /// Nothing of the account is processed anywhere.
    Purged { begun: Begun, at: Time },
    /// Taken back. `sealed` says whether seals must be lifted.
    Revoked { at: Time, sealed: bool },
    /// Refused by a decision.
    Denied { at: Time, sealed: bool },
    /// Not verified in time.
    Expired { at: Time },
}

/// When the point of no return was passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begun {
    pub cooling_off_ended_at: Time,
    pub at: Time,
}

impl State {
    /// The codes of the states that something follows.
    pub const LIVE_CODES: [i16; 4] = [1, 2, 3, 4];

    /// Whether nothing destructive can follow any more.
    pub const fn terminal(&self) -> bool {
        matches!(
            self,
            Self::Purged { .. } | Self::Revoked { .. } | Self::Denied { .. } | Self::Expired { .. }
        )
    }

    /// Whether the point of no return has been passed, and when.
    pub const fn begun(&self) -> Option<Begun> {
        match self {
            Self::Erasing(begun) | Self::Verifying(begun) | Self::Purged { begun, .. } => {
                Some(*begun)
            }
            _ => None,
        }
    }

    /// As stored, and as the API numbers it.
    pub const fn code(&self) -> i16 {
        match self {
            Self::AwaitingVerification { .. } => 1,
            Self::CoolingOff { .. } => 2,
            Self::Erasing(_) => 3,
            Self::Verifying(_) => 4,
            Self::Purged { .. } => 5,
            Self::Revoked { .. } => 6,
            Self::Denied { .. } => 7,
            Self::Expired { .. } => 8,
        }
    }

    /// The machine word.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::AwaitingVerification { .. } => "AWAITING_VERIFICATION",
            Self::CoolingOff { .. } => "COOLING_OFF",
            Self::Erasing(_) => "ERASING",
            Self::Verifying(_) => "VERIFYING",
            Self::Purged { .. } => "PURGED",
            Self::Revoked { .. } => "REVOKED",
            Self::Denied { .. } => "DENIED",
            Self::Expired { .. } => "EXPIRED",
        }
    }
}

/// What can happen to a deletion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A factor was verified by the identity service.
    FactorVerified(Factor),
    /// Everyone was asked and nothing stops the deletion.
    Eligible,
    /// Somebody named what stops the deletion, or gave no answer. Made by [`Deletion::judge`].
    Blocked(Vec<Blocker>),
    /// The support desk decided, in this case, that it goes on in spite of what stands in its way under these codes: see
    /// [`crate::overridden`].
    Overridden {
        codes: Vec<String>,
        case: String,
        request: RequestId,
    },
    /// The person takes the request back.
    Revoke,
    /// A number or address was changed lately: the policy asks for more, and for longer.
    Raised,
    /// A decision refuses the request, for a reason that the person is told.
    Deny(Denial),
    /// Time is up for verification.
    Expire,
    /// Receipts for these legs are durable. Without legs: look again whether the state follows ([`crate::Duty::Advance`]).
    Settled(Mask),
    /// A participant will not do its leg.
    LegRefused(LegIndex),
    /// A probe found that the participant of this erasing leg still holds something.
    Residue(LegIndex),
    /// A participant contradicted its own evidence.
    Contradicted,
    /// A person has compared the evidence: the kept receipts stand.
    Resolved,
    /// A legal hold is placed: nothing irreversible goes on; after the purge, nothing ends that is kept.
    Hold,
    /// The legal hold is released.
    Release,
    /// A person has cleared the cause of a refusal: the leg is asked again.
    Retry(LegIndex),
    /// What the receipts say that is still kept after the purge: by whom, and when something of it ends that nobody is being
    /// asked for; nobody and never once everything has ended. See [`crate::obligation`].
    Kept { owing: Mask, next: Option<Time> },
    /// Something has ended that these keep: they are asked to erase it. `next`: when something ends that others keep.
    Ended { legs: Mask, next: Option<Time> },
    /// By their own word these keep something no longer that would have ended later: a number was given back to who has it now. It may
    /// have been before the purge, which waits for others.
    Freed(Mask),
    /// Public holidays were published: the deadline is another by the calendar of today ([`Deletion::due_again`]).
    Recounted,
    /// A person with that right moves the deadline, once, for a reason that the owner is told.
    Extended(Why),
    /// The deadline has passed, for these reasons.
    Overdue(Vec<String>),
    /// These notices are with whoever carries them, durably.
    Told(Notices),
}

/// What a request to delete brings.
#[derive(Clone, Debug)]
pub struct Request {
    pub id: DeletionId,
    pub account: AccountId,
    pub request: RequestId,
    pub request_digest: [u8; 16],
    pub channel: Channel,
    pub consents: Vec<Consent>,
    pub traceparent: String,
}

impl Deletion {
    /// Takes a request. Where policy asks for nothing, the deletion is opened as far as it can go at once.
    ///
    /// Errors: `ILLEGAL_STATE` if the policy takes no requests from this channel.
    pub fn open(request: Request, plan: &Plan, now: Time) -> Result<Self, Refusal> {
        let policy = plan.policy();
        let factors = policy
            .channels
            .get(&request.channel)
            .ok_or(Reason::IllegalState)?;
        let expires_at = now + policy.verification_of(request.channel);
        let mut deletion = Self {
            id: request.id,
            account: request.account,
            request: request.request,
            request_digest: request.request_digest,
            channel: request.channel,
            policy_version: plan.version(),
            consents: request.consents,
            requested_at: now,
            deadline: policy.due(now).at,
            state: State::AwaitingVerification { expires_at },
            factors_required: factors.iter().copied().collect(),
            factors_verified: Factors::default(),
            round: 1,
            done: Mask::EMPTY,
            need: Mask::EMPTY,
            refused: Mask::EMPTY,
            retains: Mask::EMPTY,
            expiring: Mask::EMPTY,
            blockers: Vec::new(),
            held: false,
            conflicts: 0,
            rare: Rare::default(),
            attention_at: Some(expires_at),
            closed_at: None,
            traceparent: request.traceparent,
            revision: 1,
        };
        if deletion.verified() {
            deletion.attention_at = Some(now);
            if !policy.eligibility {
                deletion.start_cooling_off(plan, now);
                deletion.try_begin_unasked(plan, now);
            }
        }
        Ok(deletion)
    }

    /// Whether the deadline is another by a calendar that knows all of its days. One that doesn't says nothing: it may be that of
    /// an older program.
    pub fn due_again(&self, plan: &Plan) -> bool {
        let due = self.due(plan);
        !self.state.terminal() && !due.provisional && due.at != self.deadline
    }

    /// When it must be complete by the calendar of today, an extension included.
    pub fn due(&self, plan: &Plan) -> Due {
        let policy = plan.policy();
        let extended = self.rare.extended.and(policy.extension.as_ref());
        extended.map_or_else(
            || policy.due(self.requested_at),
            |extension| policy.due_within(extension.deadline, self.requested_at),
        )
    }

    /// How long it can be taken back once it is verified.
    pub fn cooling_off(&self, plan: &Plan) -> Duration {
        let policy = plan.policy();
        let raised = self.rare.raised.and(policy.recent_contact.as_ref());
        raised.map_or(policy.cooling_off, |recent| {
            recent.cooling_off.max(policy.cooling_off)
        })
    }

    /// Whether it was asked for at the support desk.
    pub const fn at_desk(&self) -> bool {
        self.channel.is_of_desk()
    }

    /// Whether every required factor is verified.
    pub const fn verified(&self) -> bool {
        self.factors_verified.satisfy(self.factors_required)
    }

    /// What everybody's answers mean: [`Event::Raised`] if a changed contact asks for more than was shown; otherwise
    /// [`Event::Blocked`] by what stops this deletion, and by nothing else; otherwise [`Event::Eligible`].
    pub fn judge(&self, plan: &Plan, mut blockers: Vec<Blocker>) -> Event {
        let recent = |it: &Blocker| it.code == blocker::RECENT_CONTACT_CHANGE.code;
        if self.raisable(plan) && blockers.iter().any(recent) {
            return Event::Raised;
        }
        blockers.retain(|blocker| self.is_stopped_by(blocker));
        if blockers.is_empty() {
            Event::Eligible
        } else {
            Event::Blocked(blockers)
        }
    }

    /// The same with what these are known to keep: what is settled together is seen together.
    #[must_use]
    pub fn keeping(&self, retains: Mask) -> Self {
        Self {
            retains: self.retains | retains,
            ..self.clone()
        }
    }

    /// Whether a ledger must move the deletion from `before` to this, because more changed than the done-mask: otherwise
    /// merging receipts says it all. A refusal that a receipt overtook needs no move either, as `done` outranks it.
    pub fn moved_from(&self, before: &Self) -> bool {
        let same_but_mask = Self {
            done: self.done,
            refused: self.refused,
            retains: self.retains,
            revision: self.revision,
            ..before.clone()
        };
        *self != same_but_mask
    }

    /// Legs that a ledger must clear when it moves the deletion from `before` to this, because a new round does them
    /// again: whatever has been merged meanwhile, too.
    pub fn clears(&self, before: &Self, plan: &Plan) -> Mask {
        if self.round == before.round {
            return Mask::EMPTY;
        }
        if matches!(before.state, State::Purged { .. }) {
            return self.expiring & !before.expiring;
        }
        (plan.erases() & !self.done) | plan.probes()
    }

    /// Legs that may be sent now: derived from state and done-mask, never stored. Under a legal hold nothing is asked of
    /// anybody past the point of no return.
    pub fn owes(&self, plan: &Plan) -> Mask {
        if self.held && self.state.begun().is_some() {
            return Mask::EMPTY;
        }
        self.open_legs(plan) & !self.refused
    }

    /// Legs that wait for a person, because their participant refuses them.
    pub fn refusals(&self, plan: &Plan) -> Mask {
        self.open_legs(plan) & self.refused
    }

    /// Legs that the state still wants settled, whether or not they can be sent.
    pub(crate) fn open_legs(&self, plan: &Plan) -> Mask {
        if plan.version() != self.policy_version {
            return Mask::EMPTY;
        }
        let legs = match &self.state {
            State::AwaitingVerification { .. } | State::Expired { .. } => Mask::EMPTY,
            State::Purged { .. } => self.expiring,
            State::CoolingOff { .. } => plan.seals(),
            State::Erasing(_) => plan.open_stage(self.done),
            State::Verifying(_) => plan.probes(),
            State::Revoked { sealed, .. } | State::Denied { sealed, .. } => {
                if *sealed {
                    plan.unseals()
                } else {
                    Mask::EMPTY
                }
            }
        };
        legs & !self.done
    }

    /// Legs whose commands may have been sent by now: whatever comes back for them counts, however late.
    pub(crate) fn asked(&self, plan: &Plan) -> Mask {
        if plan.version() != self.policy_version {
            return Mask::EMPTY;
        }
        match &self.state {
            State::AwaitingVerification { .. } | State::Expired { .. } => Mask::EMPTY,
            State::CoolingOff { .. } => plan.seals(),
            State::Erasing(_) => {
                let earlier = self.done & plan.erases();
                plan.seals() | earlier | plan.open_stage(self.done)
            }
            State::Verifying(_) => plan.seals() | plan.required(),
            State::Purged { .. } => plan.seals() | plan.required() | self.expiring,
            // A seal may have been on its way when the request was taken back.
            State::Revoked { sealed: true, .. } | State::Denied { sealed: true, .. } => {
                plan.seals() | plan.unseals()
            }
            State::Revoked { .. } | State::Denied { .. } => Mask::EMPTY,
        }
    }

    /// Since when somebody owes what is owed now, as far as it is on record.
    pub(crate) fn owed_since(&self, plan: &Plan) -> Time {
        let start = self.phase_start(plan);
        self.outstanding_since()
            .map_or(start, |ended| start.max(ended))
    }

    /// Since when the deletion has been in this phase, as far as it is on record.
    pub(crate) fn phase_start(&self, plan: &Plan) -> Time {
        let at = match self.state {
            State::AwaitingVerification { .. } => self.requested_at,
            State::CoolingOff { ends_at } => ends_at.before(self.cooling_off(plan)),
            State::Erasing(begun) | State::Verifying(begun) => begun.at,
            State::Purged { at, .. }
            | State::Revoked { at, .. }
            | State::Denied { at, .. }
            | State::Expired { at } => at,
        };
        at.max(self.requested_at)
    }

    /// Moves to `PURGED`. Only [`crate::gate::purge`] makes the permit, for one deletion; another's permit opens nothing.
    pub fn purge(&mut self, permit: PurgePermit, begun: Begun, plan: &Plan, now: Time) {
        if permit.opens(self) {
            self.end(State::Purged { begun, at: now }, plan, now);
        }
    }
}
