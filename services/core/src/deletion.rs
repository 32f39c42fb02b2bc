//! A deletion and its one transition.

use serde::{Deserialize, Serialize};

use crate::gate::{self, PurgePermit};
use crate::id::{AccountId, DeletionId, RequestId};
use crate::leg::{LegIndex, Mask};
use crate::plan::Plan;
use crate::policy::{Channel, Factor, Factors};
use crate::refusal::{Reason, Refusal};
use crate::time::Time;

/// Longest W3C `traceparent`.
pub const TRACEPARENT_BYTES_MAX: usize = 55;

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
    /// What is in the way, as last asked.
    pub blockers: Vec<Blocker>,
    /// A legal hold.
    pub held: bool,
    /// Contradictions in evidence that nobody has looked at.
    pub conflicts: u32,
    /// When the slot's owner must look at the deletion; `None` once nothing more is owed. Acknowledgements never move it.
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

/// Something in the way of a deletion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blocker {
    pub code: String,
    pub message: String,
    pub remedy: String,
    pub participant: String,
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
    /// Everyone was asked and nothing is in the way.
    Eligible,
    /// Somebody named a blocker, or gave no answer.
    Blocked(Vec<Blocker>),
    /// The person takes the request back.
    Revoke,
    /// A decision refuses the request.
    Deny,
    /// Time is up for verification.
    Expire,
    /// Receipts for these legs are durable.
    Settled(Mask),
    /// A participant will not do its leg.
    LegRefused(LegIndex),
    /// A probe found that the participant of this erasing leg still holds something.
    Residue(LegIndex),
    /// A participant contradicted its own evidence.
    Contradicted,
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
    /// Errors: `FACTOR_NOT_REQUIRED` never, `ILLEGAL_STATE` if the policy takes no requests from this channel.
    pub fn open(request: Request, plan: &Plan, now: Time) -> Result<Self, Refusal> {
        let policy = plan.policy();
        let factors = policy
            .channels
            .get(&request.channel)
            .ok_or(Reason::IllegalState)?;
        let expires_at = now + policy.verification;
        let mut deletion = Self {
            id: request.id,
            account: request.account,
            request: request.request,
            request_digest: request.request_digest,
            channel: request.channel,
            policy_version: plan.version(),
            consents: request.consents,
            requested_at: now,
            deadline: now + policy.deadline,
            state: State::AwaitingVerification { expires_at },
            factors_required: factors.iter().copied().collect(),
            factors_verified: Factors::default(),
            round: 1,
            done: Mask::EMPTY,
            need: Mask::EMPTY,
            refused: Mask::EMPTY,
            blockers: Vec::new(),
            held: false,
            conflicts: 0,
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

    /// Whether every required factor is verified.
    pub const fn verified(&self) -> bool {
        self.factors_verified.covers(self.factors_required)
    }

    /// The one transition: what the deletion is after `event`. The last arms refuse.
    pub fn step(&self, event: &Event, plan: &Plan, now: Time) -> Result<Self, Refusal> {
        let mut next = self.clone();
        next.revision = self.revision.wrapping_add(1);
        match (&self.state, event) {
            (State::AwaitingVerification { expires_at }, Event::FactorVerified(factor)) => {
                if now >= *expires_at {
                    return Err(Refusal::since(Reason::IllegalState, *expires_at));
                }
                if !self.factors_required.has(*factor) {
                    return Err(Reason::FactorNotRequired.into());
                }
                next.factors_verified = self.factors_verified.with(*factor);
                if next.verified() {
                    next.attention_at = Some(now);
                    if !plan.policy().eligibility {
                        next.start_cooling_off(plan, now);
                        next.try_begin_unasked(plan, now);
                    }
                }
            }
            (State::AwaitingVerification { expires_at }, Event::Eligible) => {
                if !self.verified() || now >= *expires_at {
                    return Err(Reason::IllegalState.into());
                }
                next.start_cooling_off(plan, now);
            }
            (State::CoolingOff { ends_at }, Event::Eligible) => {
                self.may_begin(*ends_at, plan, now)?;
                next.begin(*ends_at, plan, now);
            }
            (State::AwaitingVerification { expires_at }, Event::Blocked(blockers))
                if self.verified() =>
            {
                next.blockers.clone_from(blockers);
                next.attention_at = Some((now + plan.policy().recheck).min(*expires_at));
            }
            (State::CoolingOff { ends_at }, Event::Blocked(blockers)) if now >= *ends_at => {
                next.blockers.clone_from(blockers);
                next.attention_at = Some(now + plan.policy().recheck);
            }
            (State::AwaitingVerification { .. }, Event::Revoke) => {
                next.end(
                    State::Revoked {
                        at: now,
                        sealed: false,
                    },
                    now,
                );
            }
            (State::CoolingOff { .. }, Event::Revoke) => {
                let sealed = !plan.seals().is_empty();
                next.end(State::Revoked { at: now, sealed }, now);
            }
            (State::AwaitingVerification { .. }, Event::Deny) => {
                next.end(
                    State::Denied {
                        at: now,
                        sealed: false,
                    },
                    now,
                );
            }
            (State::CoolingOff { .. }, Event::Deny) => {
                let sealed = !plan.seals().is_empty();
                next.end(State::Denied { at: now, sealed }, now);
            }
            (State::AwaitingVerification { expires_at }, Event::Expire) if now >= *expires_at => {
                next.end(State::Expired { at: now }, now);
            }
            (_, Event::Settled(legs)) => next.settle(*legs, plan, now),
            (_, Event::LegRefused(leg)) if self.owes(plan).has(*leg) => {
                next.refused = self.refused | Mask::of(*leg);
            }
            (State::Verifying(begun), Event::Residue(leg)) if plan.erases().has(*leg) => {
                next.state = State::Erasing(*begun);
                next.round = self.round.checked_add(1).ok_or(Reason::IllegalState)?;
                next.done = self.done & !Mask::of(*leg) & !plan.probes();
            }
            (_, Event::Contradicted) => next.conflicts = self.conflicts.saturating_add(1),
            (
                State::Erasing(begun) | State::Verifying(begun) | State::Purged { begun, .. },
                Event::Revoke | Event::Deny,
            ) => {
                return Err(Refusal::since(Reason::PastNoReturn, begun.at));
            }
            (
                State::Revoked { at, .. }
                | State::Denied { at, .. }
                | State::Expired { at }
                | State::Purged { at, .. },
                _,
            ) => {
                return Err(Refusal::since(Reason::AlreadyEnded, *at));
            }
            _ => return Err(Reason::IllegalState.into()),
        }
        Ok(next)
    }

    /// Legs that may be sent now: derived from state and done-mask, never stored.
    pub fn owes(&self, plan: &Plan) -> Mask {
        let open = match &self.state {
            State::AwaitingVerification { .. } | State::Purged { .. } | State::Expired { .. } => {
                Mask::EMPTY
            }
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
        open & !self.done & !self.refused
    }

    /// Moves to `PURGED`. Only [`gate::purge`] makes the permit.
    pub fn purge(&mut self, permit: PurgePermit, begun: Begun, now: Time) {
        let PurgePermit { .. } = permit;
        self.end(State::Purged { begun, at: now }, now);
    }

    fn start_cooling_off(&mut self, plan: &Plan, now: Time) {
        let ends_at = now + plan.policy().cooling_off;
        self.state = State::CoolingOff { ends_at };
        self.blockers.clear();
        self.attention_at = Some(if plan.seals().is_empty() {
            ends_at
        } else {
            now
        });
    }

    fn may_begin(&self, ends_at: Time, plan: &Plan, now: Time) -> Result<(), Refusal> {
        if now < ends_at {
            return Err(Reason::CoolingOff.into());
        }
        if self.held {
            return Err(Reason::Held.into());
        }
        if !self.done.covers(plan.seals()) {
            return Err(Reason::SealOutstanding.into());
        }
        Ok(())
    }

    fn begin(&mut self, ends_at: Time, plan: &Plan, now: Time) {
        self.state = State::Erasing(Begun {
            cooling_off_ended_at: ends_at,
            at: now,
        });
        self.need = plan.required();
        self.blockers.clear();
        self.attention_at = Some(now);
    }

    /// Begins without asking anybody, where the policy asks nobody.
    fn try_begin_unasked(&mut self, plan: &Plan, now: Time) {
        if let State::CoolingOff { ends_at } = self.state
            && !plan.policy().eligibility
            && self.may_begin(ends_at, plan, now).is_ok()
        {
            self.begin(ends_at, plan, now);
        }
    }

    fn settle(&mut self, legs: Mask, plan: &Plan, now: Time) {
        self.done = self.done | legs;
        self.refused = self.refused & !legs;
        match self.state {
            State::CoolingOff { ends_at } if self.done.covers(plan.seals()) => {
                self.attention_at = Some(ends_at);
                self.try_begin_unasked(plan, now);
            }
            State::Erasing(begun)
                if self.done.covers(plan.erases()) && !plan.probes().is_empty() =>
            {
                self.state = State::Verifying(begun);
            }
            State::Erasing(begun) | State::Verifying(begun) => {
                if let Ok(permit) = gate::purge(self, plan) {
                    self.purge(permit, begun, now);
                }
            }
            State::Revoked { .. } | State::Denied { .. }
                if self.closed_at.is_none() && self.done.covers(plan.unseals()) =>
            {
                self.closed_at = Some(now);
                self.attention_at = None;
            }
            _ => {}
        }
    }

    fn end(&mut self, state: State, now: Time) {
        self.state = state;
        self.blockers.clear();
        let unsealing = matches!(
            state,
            State::Revoked { sealed: true, .. } | State::Denied { sealed: true, .. }
        );
        (self.attention_at, self.closed_at) = if unsealing {
            (Some(now), None)
        } else {
            (None, Some(now))
        };
    }
}
