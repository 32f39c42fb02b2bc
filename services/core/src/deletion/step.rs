//! The one transition, and what follows of itself from it.

use std::time::Duration;

use super::{Begun, Blocker, Deletion, Event, ROUNDS_UNATTENDED_MAX, State};
use crate::custody::Asked;
use crate::gate;
use crate::leg::Mask;
use crate::notice::{self, Notice};
use crate::plan::Plan;
use crate::policy::Channel;
use crate::rare::{Denied, Extended, HOLDS_MAX, Hold, Overdue, Raised};
use crate::refusal::{Reason, Refusal};
use crate::replay;
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
                if !blockers.iter().any(|blocker| self.is_stopped_by(blocker)) =>
            {
                return Err(Reason::IllegalState.into());
            }
            (State::AwaitingVerification { expires_at }, Event::Blocked(blockers))
                if self.verified() =>
            {
                next.blockers.clone_from(blockers);
                let expires_at = self.outlives(blockers, *expires_at, (plan, now));
                next.state = State::AwaitingVerification { expires_at };
                let wait = pause(blockers, now.since(self.requested_at), plan);
                next.attention_at = Some((now + wait).min(expires_at));
            }
            (State::AwaitingVerification { expires_at }, Event::Raised)
                if self.raisable(plan) && now < *expires_at =>
            {
                next.raise(*expires_at, plan, now);
            }
            (State::CoolingOff { ends_at }, Event::Blocked(blockers)) if now >= *ends_at => {
                next.blockers.clone_from(blockers);
                next.attention_at = Some(now + pause(blockers, now.since(*ends_at), plan));
            }
            (
                State::AwaitingVerification { .. } | State::CoolingOff { .. },
                Event::Overridden {
                    codes,
                    case,
                    request,
                },
            ) => {
                if let State::AwaitingVerification { expires_at } = self.state
                    && now >= expires_at
                {
                    return Err(Refusal::since(Reason::IllegalState, expires_at));
                }
                self.approvals_to_override(codes, plan)?;
                next.override_blockers(codes, (case, *request), now)?;
            }
            (State::AwaitingVerification { .. } | State::CoolingOff { .. }, Event::Revoke) => {
                let sealed = self.sealing(plan);
                next.end(State::Revoked { at: now, sealed }, plan, now);
            }
            (State::AwaitingVerification { .. } | State::CoolingOff { .. }, Event::Deny(why)) => {
                let sealed = self.sealing(plan);
                next.rare.denied = Some(Denied { at: now, why: *why });
                next.end(State::Denied { at: now, sealed }, plan, now);
            }
            (State::AwaitingVerification { expires_at }, Event::Expire) if now >= *expires_at => {
                next.end(State::Expired { at: now }, plan, now);
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
            (state, Event::Hold) if !state.terminal() || self.keeps() => {
                if self.held {
                    return Err(Reason::Held.into());
                }
                if self.rare.holds.len() >= HOLDS_MAX {
                    return Err(Reason::IllegalState.into());
                }
                next.held = true;
                next.rare.holds.push(Hold {
                    placed: now,
                    released: None,
                });
            }
            (state, Event::Release) if self.held && (!state.terminal() || self.keeps()) => {
                next.held = false;
                if let Some(hold) = next.rare.holds.last_mut() {
                    hold.released = hold.released.or(Some(now));
                }
                next.follow(plan, now);
                next.look_at_once(now);
            }
            (State::Purged { .. }, Event::Kept { owing, next: ends })
                if self.keeps() && owing.covers(self.outstanding()) =>
            {
                next.expiring = self.outstanding();
                next.retains = *owing;
                next.rest((self.asked_so_far(), self.freed() & *owing), *ends, now);
            }
            (State::Purged { .. }, Event::Freed(legs))
                if self.keeps() && !legs.is_empty() && plan.expires().covers(*legs) =>
            {
                next.free_early(*legs, now);
            }
            // Erased, and not purged yet: it is looked at with the purge.
            (State::Erasing(_) | State::Verifying(_), Event::Freed(legs))
                if !legs.is_empty() && plan.expires().covers(*legs) =>
            {
                next.free_early(*legs, now);
            }
            (State::Purged { .. }, Event::Ended { legs, next: ends })
                if self.may_ask(*legs, now) && plan.expires().covers(*legs) =>
            {
                let round = self.round.checked_add(1);
                let own = round.filter(|round| *round < replay::ROUNDS_FROM);
                next.round = own.ok_or(Reason::IllegalState)?;
                next.expiring = self.expiring | *legs;
                next.done = self.done & !*legs;
                next.refused = self.refused & !*legs;
                let (round, by) = (next.round, now);
                let ask = |leg| {
                    let freed = self.freed().has(leg);
                    (leg, Asked { round, by, freed })
                };
                let mut asked = self.asked_so_far();
                asked.extend(legs.iter().map(ask));
                next.rest((asked, self.freed() & !*legs), *ends, now);
            }
            (_, Event::Recounted) if self.due_again(plan) => {
                next.deadline = self.due(plan).at;
            }
            (state, Event::Extended(why)) if !state.terminal() => {
                if let Some(extended) = self.rare.extended {
                    return Err(Refusal::since(Reason::AlreadyExtended, extended.at));
                }
                if plan.policy().extension.is_none() {
                    return Err(Reason::NotExtendable.into());
                }
                // The reason is given inside the first period: GDPR Art. 12(3), CCPA § 1798.130(a)(2)(A).
                if now >= self.deadline {
                    return Err(Refusal::since(Reason::DeadlinePassed, self.deadline));
                }
                next.rare.extended = Some(Extended {
                    at: now,
                    before: self.deadline,
                    why: *why,
                });
                next.deadline = next.due(plan).at.max(self.deadline);
                next.rare.told = self.rare.told.without(Notice::OverdueSoon);
            }
            (_, Event::Overdue(reasons)) if notice::overdue_unexplained(self, now) => {
                next.rare.overdue = Some(Overdue::new(now, reasons.clone()));
            }
            (_, Event::Told(notices)) if !notices.is_empty() => {
                next.note_told(*notices);
                next.attend_to_notices(plan, now);
            }
            (
                State::Erasing(begun) | State::Verifying(begun) | State::Purged { begun, .. },
                Event::Revoke | Event::Deny(_) | Event::Overridden { .. },
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

    /// Whether a changed contact would ask for more than it does already. Not where people look at documents or at the device:
    /// who has lost access, or has died, knows no password.
    pub(super) fn raisable(&self, plan: &Plan) -> bool {
        matches!(self.state, State::AwaitingVerification { .. })
            && matches!(self.channel, Channel::Phone | Channel::Web)
            && self.verified()
            && self.rare.raised.is_none()
            && plan.policy().recent_contact.is_some()
    }

    /// Asks for what the policy asks for after a change of contact, and gives time to show it.
    fn raise(&mut self, expires_at: Time, plan: &Plan, now: Time) {
        let policy = plan.policy();
        let Some(recent) = &policy.recent_contact else {
            return;
        };
        self.rare.raised = Some(Raised { at: now });
        self.factors_required = recent
            .factors
            .iter()
            .fold(self.factors_required, |all, factor| all.with(*factor));
        let expires_at = expires_at.max((now + policy.verification).min(self.deadline));
        self.state = State::AwaitingVerification { expires_at };
        self.blockers.clear();
        self.attention_at = Some(if self.verified() { now } else { expires_at });
    }

    /// When a blocked request expires: not before what ends by itself has ended, and some time after that, so that a person
    /// can wait for it; nor as long as nothing but somebody's silence is in the way, as what has been proved isn't lost by trouble of
    /// ours. Within the deadline.
    fn outlives(&self, blockers: &[Blocker], expires_at: Time, (plan, now): (&Plan, Time)) -> Time {
        let stops = blockers
            .iter()
            .filter(|blocker| self.is_stopped_by(blocker) && !blocker.is_silence());
        let ends: Option<Vec<Time>> = stops.map(|blocker| blocker.until).collect();
        let last = ends.map(|ends| ends.into_iter().max().unwrap_or(now));
        let longer = last.map(|last| (last + plan.policy().verification).min(self.deadline));
        longer.map_or(expires_at, |longer| longer.max(expires_at))
    }

    /// When somebody must look at it again, where only notices made that so soon.
    fn attend_to_notices(&mut self, plan: &Plan, now: Time) {
        match self.state {
            State::CoolingOff { ends_at }
                if self.done.covers(plan.seals()) && self.blockers.is_empty() =>
            {
                self.attention_at = Some(notice::attention(self, plan, ends_at));
            }
            _ if self.closed_at.is_some() => {
                let untold = !notice::due(self, plan, now).is_empty();
                self.attention_at = untold.then_some(now);
            }
            _ => {}
        }
    }

    pub(super) fn start_cooling_off(&mut self, plan: &Plan, now: Time) {
        let ends_at = now + self.cooling_off(plan);
        self.state = State::CoolingOff { ends_at };
        self.blockers.clear();
        self.attention_at = Some(now);
        self.attend_to_notices(plan, now);
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
                self.attention_at = Some(notice::attention(self, plan, ends_at));
                self.try_begin_unasked(plan, now);
            }
            State::Erasing(begun) if gate::verify(self, plan).is_ok() => {
                self.state = State::Verifying(begun);
            }
            State::Erasing(begun) | State::Verifying(begun) => {
                if let Ok(permit) = gate::purge(self, plan) {
                    self.purge(permit, begun, plan, now);
                }
            }
            State::Revoked { .. } | State::Denied { .. }
                if self.closed_at.is_none() && self.done.covers(plan.unseals()) =>
            {
                self.closed_at = Some(now);
                self.attend_to_notices(plan, now);
            }
            _ => {}
        }
    }

    pub(super) fn end(&mut self, state: State, plan: &Plan, now: Time) {
        self.state = state;
        self.blockers.clear();
        let unsealing = matches!(
            state,
            State::Revoked { sealed: true, .. } | State::Denied { sealed: true, .. }
        );
        let keeping = matches!(state, State::Purged { .. }) && !self.retains.is_empty();
        (self.attention_at, self.closed_at) = if unsealing || keeping {
            (Some(now), None)
        } else {
            (None, Some(now))
        };
        self.attend_to_notices(plan, now);
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
