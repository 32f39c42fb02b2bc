//! The one transition, and what follows of itself from it.

use std::time::Duration;

use super::{Begun, Blocker, Deletion, Event, ROUNDS_UNATTENDED_MAX, State};
use crate::gate;
use crate::leg::Mask;
use crate::plan::Plan;
use crate::refusal::{Reason, Refusal};
use crate::time::Time;

/// The shortest pause before somebody who gave no answer is asked again.
const SILENCE_PAUSE_MIN: Duration = Duration::from_secs(15);

impl Deletion {
    /// The one transition: what the deletion is after `event`. The last arms refuse.
    ///
    /// `now` is the database's clock. Where it was set back, the latest moment on record stands in for it, so that no
    /// wait gets shorter and no history runs backwards.
    pub fn step(&self, event: &Event, plan: &Plan, now: Time) -> Result<Self, Refusal> {
        if plan.version() != self.policy_version {
            return Err(Reason::IllegalState.into());
        }
        let now = now.max(self.phase_start(plan));
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
                if next.verified() && !self.verified() {
                    next.attention_at = Some(now);
                    if !plan.policy().eligibility {
                        next.start_cooling_off(plan, now);
                        next.try_begin_unasked(plan, now);
                    }
                }
            }
            (State::AwaitingVerification { expires_at }, Event::Eligible) => {
                if now >= *expires_at {
                    return Err(Refusal::since(Reason::IllegalState, *expires_at));
                }
                if !self.verified() {
                    return Err(Reason::IllegalState.into());
                }
                next.start_cooling_off(plan, now);
            }
            (State::CoolingOff { ends_at }, Event::Eligible) => {
                self.may_begin(*ends_at, plan, now)?;
                next.begin(*ends_at, plan, now);
            }
            // Blocked by nothing that stops it is no answer.
            (_, Event::Blocked(blockers))
                if !blockers.iter().any(|blocker| blocker.stops(&self.consents)) =>
            {
                return Err(Reason::IllegalState.into());
            }
            (State::AwaitingVerification { expires_at }, Event::Blocked(blockers))
                if self.verified() =>
            {
                next.blockers.clone_from(blockers);
                let wait = pause(blockers, now.since(self.requested_at), plan);
                next.attention_at = Some((now + wait).min(*expires_at));
            }
            (State::CoolingOff { ends_at }, Event::Blocked(blockers)) if now >= *ends_at => {
                next.blockers.clone_from(blockers);
                next.attention_at = Some(now + pause(blockers, now.since(*ends_at), plan));
            }
            (State::AwaitingVerification { .. } | State::CoolingOff { .. }, Event::Revoke) => {
                let sealed = self.sealing(plan);
                next.end(State::Revoked { at: now, sealed }, now);
            }
            (State::AwaitingVerification { .. } | State::CoolingOff { .. }, Event::Deny) => {
                let sealed = self.sealing(plan);
                next.end(State::Denied { at: now, sealed }, now);
            }
            (State::AwaitingVerification { expires_at }, Event::Expire) if now >= *expires_at => {
                next.end(State::Expired { at: now }, now);
            }
            // Only what was asked can be settled: a leg that is done before its time would be skipped later.
            (_, Event::Settled(legs)) if self.asked(plan).covers(*legs) => {
                next.done = self.done | *legs;
                next.refused = self.refused & !*legs;
                next.follow(plan, now);
            }
            (_, Event::LegRefused(leg)) if (self.open_legs(plan) & !self.refused).has(*leg) => {
                next.refused = self.refused | Mask::of(*leg);
            }
            (_, Event::Retry(leg)) if self.refusals(plan).has(*leg) => {
                next.refused = self.refused & !Mask::of(*leg);
            }
            (State::Verifying(begun), Event::Residue(leg)) if plan.erases().has(*leg) => {
                let again = Mask::of(*leg) | plan.probes();
                next.state = State::Erasing(*begun);
                next.round = self.round.checked_add(1).ok_or(Reason::IllegalState)?;
                next.done = self.done & !again;
                next.refused = self.refused & !again;
                if next.round > ROUNDS_UNATTENDED_MAX {
                    next.refused = next.refused | Mask::of(*leg);
                }
            }
            // Where nobody was asked, nobody can contradict.
            (_, Event::Contradicted) if !self.asked(plan).is_empty() => {
                next.conflicts = self.conflicts.saturating_add(1);
            }
            (_, Event::Resolved) if self.conflicts > 0 => {
                next.conflicts = 0;
                next.follow(plan, now);
            }
            // A second hold would be lifted with the first, unseen: it is told.
            (state, Event::Hold) if !state.terminal() => {
                if self.held {
                    return Err(Reason::Held.into());
                }
                next.held = true;
            }
            (state, Event::Release) if !state.terminal() && self.held => {
                next.held = false;
                next.follow(plan, now);
            }
            (_, Event::Recounted) if self.due_again(plan) => {
                next.deadline = plan.policy().due(self.requested_at).at;
            }
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

    /// Whether seals may have been sent that somebody must lift.
    fn sealing(&self, plan: &Plan) -> bool {
        matches!(self.state, State::CoolingOff { .. }) && !plan.seals().is_empty()
    }

    pub(super) fn start_cooling_off(&mut self, plan: &Plan, now: Time) {
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
        // Nobody passes the point of no return on evidence that contradicts itself.
        if self.conflicts > 0 {
            return Err(Reason::EvidenceConflict.into());
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
    pub(super) fn try_begin_unasked(&mut self, plan: &Plan, now: Time) {
        if let State::CoolingOff { ends_at } = self.state
            && !plan.policy().eligibility
            && self.may_begin(ends_at, plan, now).is_ok()
        {
            self.begin(ends_at, plan, now);
        }
    }

    /// Goes where everything that is settled leads.
    fn follow(&mut self, plan: &Plan, now: Time) {
        match self.state {
            State::CoolingOff { ends_at } if self.done.covers(plan.seals()) => {
                self.attention_at = Some(ends_at);
                self.try_begin_unasked(plan, now);
            }
            State::Erasing(begun) if gate::verify(self, plan).is_ok() => {
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

    pub(super) fn end(&mut self, state: State, now: Time) {
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

/// How long a blocked deletion waits before everybody is asked again. If nobody is in the way and somebody only gave no
/// answer, not the policy's whole pause at first: half of the time that has been waited, `waited`, so that the tries of
/// one who stays away get rarer.
fn pause(blockers: &[Blocker], waited: Duration, plan: &Plan) -> Duration {
    let longest = plan.policy().recheck;
    if blockers.iter().all(Blocker::is_silence) {
        (waited / 2).max(SILENCE_PAUSE_MIN).min(longest)
    } else {
        longest
    }
}
