//! Blockers in spite of which one deletion goes on, because the support desk decided so.
//!
//! The desk's case names codes; what is overridden is what stands in the way under them when its approval is used, and the record says
//! what that was. So an override is for a code *of a participant*, for as many as there were, and for the end that was known. One more
//! dispute, a password that is changed once more, or the same code by somebody else is a new fact that nobody has looked at,
//! and stops the deletion again until another case is decided. (What takes the place of what was settled meanwhile, one for
//! one, can't be told apart from it: participants say how many, and not which.)
//!
//! Silence is overridden only where a policy says so, and it is the silence alone: whatever its participant names once it is
//! back stops as ever, and its erasure and its evidence are owed in any case.
//!
//! It belongs to its deletion and ends with it. The record stays on what has ended, for whoever asks why; a later deletion of
//! the same account begins without it, and its case is used up.

use serde::{Deserialize, Serialize};

use crate::blocker::{Blocker, Overrider};
use crate::deletion::Deletion;
use crate::id::RequestId;
use crate::plan::Plan;
use crate::refusal::{Reason, Refusal};
use crate::time::Time;

/// Blockers that one deletion keeps as overridden.
pub const OVERRIDDEN_MAX: usize = 64;

/// A blocker that was overridden, as it stood then. Nothing in it is personal: the case says who decided, at the desk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overridden {
    pub code: String,
    /// Who named it.
    pub participant: String,
    #[serde(default)]
    pub count: i64,
    #[serde(default)]
    pub until: Option<Time>,
    /// `cases/{case}`.
    pub case: String,
    /// The request that asked: a repeat is known by it.
    pub request: RequestId,
    pub at: Time,
}

impl Overridden {
    /// Whether this is no more than what was decided on.
    pub fn covers(&self, blocker: &Blocker) -> bool {
        let ends_no_later = match (self.until, blocker.until) {
            (None, _) => true,
            (Some(was), Some(is)) => is <= was,
            (Some(_), None) => false,
        };
        self.code == blocker.code
            && self.participant == blocker.participant
            && blocker.count <= self.count
            && ends_no_later
    }
}

impl Deletion {
    /// Whether it must wait for this to go: neither the person's consents nor the desk's decisions speak for it.
    pub fn is_stopped_by(&self, blocker: &Blocker) -> bool {
        blocker.stops(&self.consents)
            && !self
                .rare
                .overridden
                .iter()
                .any(|overridden| overridden.covers(blocker))
    }

    /// How many of the desk must have approved that it goes on in spite of what stands in its way under these codes.
    ///
    /// Errors: `BLOCKER_NOT_OVERRIDABLE`, `OVERRIDE_BY_LEGAL_ONLY`, `BLOCKER_NOT_IN_THE_WAY`, also for no code at all.
    pub fn approvals_to_override(&self, codes: &[String], plan: &Plan) -> Result<u32, Refusal> {
        let mut approvals = 0;
        for code in codes {
            let needed = match plan.policy().overridable_by(code) {
                Overrider::Nobody => return Err(Reason::NotOverridable.into()),
                Overrider::Legal => return Err(Reason::OverrideByLegal.into()),
                Overrider::Support => 1,
                Overrider::SupportWithSecondPerson => 2,
            };
            approvals = approvals.max(needed);
        }
        let in_the_way = |code: &String| self.blockers.iter().any(|it| it.code == *code);
        if codes.is_empty() || !codes.iter().all(in_the_way) {
            return Err(Reason::NotInTheWay.into());
        }
        Ok(approvals)
    }

    /// Goes on in spite of what stands in the way under these codes: everybody is asked again at once.
    pub(crate) fn override_blockers(
        &mut self,
        codes: &[String],
        (case, request): (&str, RequestId),
        now: Time,
    ) -> Result<(), Refusal> {
        let (overridden, others) = std::mem::take(&mut self.blockers)
            .into_iter()
            .partition(|blocker| codes.contains(&blocker.code));
        self.blockers = others;
        let overridden: Vec<Blocker> = overridden;
        let overridden = overridden.into_iter().map(|blocker| Overridden {
            code: blocker.code,
            participant: blocker.participant,
            count: blocker.count,
            until: blocker.until,
            case: case.to_owned(),
            request,
            at: now,
        });
        self.rare.overridden.extend(overridden);
        if self.rare.overridden.len() > OVERRIDDEN_MAX {
            return Err(Reason::TooManyOverrides.into());
        }
        self.attention_at = Some(now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use uuid::Uuid;

    use super::*;
    use crate::blocker::{DEBT_OR_CREDIT, LEGAL_HOLD, OPEN_DISPUTE, SUPPORT_TICKET_OPEN};
    use crate::deletion::{Event, State};
    use crate::duty::{self, Duty};
    use crate::fixture::*;
    use crate::policy::Policy;

    const CASE: &str = "cases/01900000-0000-7000-8000-00000000000a";

    fn named(code: &str, participant: &str, count: i64) -> Blocker {
        Blocker {
            count,
            ..Blocker::named(code, &who(participant), &Policy::cn())
        }
    }

    fn disputes(count: i64) -> Blocker {
        named(OPEN_DISPUTE.code, "store", count)
    }

    fn codes(codes: &[&str]) -> Vec<String> {
        codes.iter().map(|code| (*code).to_owned()).collect()
    }

    fn overridden(what: &[&str]) -> Event {
        Event::Overridden {
            codes: codes(what),
            case: CASE.to_owned(),
            request: RequestId(Uuid::from_u128(9)),
        }
    }

    /// At the end of its wait, with these in its way.
    fn stopped(blockers: Vec<Blocker>) -> Deletion {
        let sealed = sealed(&cn());
        sealed
            .step(&Event::Blocked(blockers), &cn(), over())
            .unwrap()
    }

    #[test]
    fn it_goes_on_at_once_and_the_same_is_in_its_way_no_more() {
        let plan = cn();
        let stopped = stopped(vec![disputes(1)]);
        let waits = duty::next(&stopped, &plan, over());
        assert!(matches!(waits, Duty::Wait(_)), "{waits:?}");
        let decided = stopped
            .step(&overridden(&["OPEN_DISPUTE"]), &plan, over())
            .unwrap();
        assert_eq!(decided.blockers, []);
        assert_eq!(duty::next(&decided, &plan, over()), Duty::AskEligibility);
        assert_eq!(decided.judge(&plan, vec![disputes(1)]), Event::Eligible);
        let begun = decided.step(&Event::Eligible, &plan, over()).unwrap();
        assert!(matches!(begun.state, State::Erasing(_)));
        assert_eq!(begun.rare.overridden[0].case, CASE);
    }

    #[test]
    fn before_the_wait_it_holds_for_the_look_at_its_end_as_well() {
        let plan = cn();
        let asked = verified(&plan);
        let asked = asked
            .step(&Event::Blocked(vec![disputes(2)]), &plan, start())
            .unwrap();
        let decided = asked
            .step(&overridden(&["OPEN_DISPUTE"]), &plan, start())
            .unwrap();
        let cooling = decided.step(&Event::Eligible, &plan, start()).unwrap();
        assert!(matches!(cooling.state, State::CoolingOff { .. }));
        assert_eq!(cooling.judge(&plan, vec![disputes(1)]), Event::Eligible);
        let more = cooling.judge(&plan, vec![disputes(3)]);
        assert_eq!(more, Event::Blocked(vec![disputes(3)]));
    }

    #[test]
    fn more_of_it_a_later_end_and_somebody_else_s_are_new() {
        let at = over();
        let seen = Overridden {
            code: "RECENT_PASSWORD_CHANGE".to_owned(),
            participant: "identity".to_owned(),
            count: 1,
            until: Some(at),
            case: CASE.to_owned(),
            request: RequestId(Uuid::from_u128(9)),
            at: start(),
        };
        let blocker = |participant: &str, count, until| Blocker {
            until,
            ..named("RECENT_PASSWORD_CHANGE", participant, count)
        };
        assert!(seen.covers(&blocker("identity", 1, Some(at))));
        assert!(seen.covers(&blocker("identity", 0, Some(start()))));
        let later = at + Duration::from_secs(1);
        for new in [
            blocker("identity", 2, Some(at)),
            blocker("identity", 1, Some(later)),
            blocker("identity", 1, None),
            blocker("store", 1, Some(at)),
            named("RISK_CONTROL_LOCK", "identity", 1),
        ] {
            assert!(!seen.covers(&new), "{new:?}");
        }
        let endless = Overridden {
            until: None,
            ..seen
        };
        assert!(endless.covers(&blocker("identity", 1, Some(later))));
    }

    #[test]
    fn others_that_stand_beside_it_still_stop() {
        let plan = cn();
        let stopped = stopped(vec![disputes(1), named("UNFINISHED_ORDER", "store", 1)]);
        let decided = stopped
            .step(&overridden(&["OPEN_DISPUTE"]), &plan, over())
            .unwrap();
        assert_eq!(decided.blockers.len(), 1);
        let judged = decided.judge(
            &plan,
            vec![disputes(1), named("UNFINISHED_ORDER", "store", 1)],
        );
        assert_eq!(
            judged,
            Event::Blocked(vec![named("UNFINISHED_ORDER", "store", 1)])
        );
    }

    #[test]
    fn who_must_approve_follows_from_the_strictest_code_and_some_are_not_the_desk_s() {
        let plan = cn();
        let stopped = stopped(vec![
            disputes(1),
            named(SUPPORT_TICKET_OPEN.code, "store", 1),
            named(DEBT_OR_CREDIT.code, "store", 1),
            named(LEGAL_HOLD.code, "identity", 1),
            named("KARMA_TOO_LOW", "notes", 1),
            Blocker::unreachable(&who("cloud"), &Policy::cn()),
        ]);
        let approvals = |what: &[&str]| {
            let asked = stopped.approvals_to_override(&codes(what), &plan);
            asked.map_err(|refusal| refusal.reason)
        };
        assert_eq!(approvals(&["SUPPORT_TICKET_OPEN"]), Ok(1));
        assert_eq!(approvals(&["SUPPORT_TICKET_OPEN", "OPEN_DISPUTE"]), Ok(2));
        for nobodys in ["DEBT_OR_CREDIT", "KARMA_TOO_LOW", "PARTICIPANT_UNREACHABLE"] {
            assert_eq!(approvals(&[nobodys]), Err(Reason::NotOverridable));
            let step = stopped.step(&overridden(&["OPEN_DISPUTE", nobodys]), &plan, over());
            assert_eq!(step.unwrap_err().reason, Reason::NotOverridable);
        }
        assert_eq!(approvals(&["LEGAL_HOLD"]), Err(Reason::OverrideByLegal));
        for absent in [&["UNFINISHED_ORDER"][..], &[]] {
            assert_eq!(approvals(absent), Err(Reason::NotInTheWay));
        }
    }

    #[test]
    fn nothing_is_overridden_too_early_too_late_or_without_end() {
        let plan = cn();
        let event = overridden(&["OPEN_DISPUTE"]);
        let refused = |deletion: &Deletion, now| {
            let step = deletion.step(&event, &plan, now);
            step.unwrap_err().reason
        };
        assert_eq!(refused(&opened(&plan), start()), Reason::NotInTheWay);
        assert_eq!(refused(&sealed(&plan), over()), Reason::NotInTheWay);
        assert_eq!(refused(&erasing(&plan), over()), Reason::PastNoReturn);
        let stops = stopped(vec![disputes(1)]);
        let revoked = stops.step(&Event::Revoke, &plan, over()).unwrap();
        assert_eq!(refused(&revoked, over()), Reason::AlreadyEnded);
        let asked = verified(&plan)
            .step(&Event::Blocked(vec![disputes(1)]), &plan, start())
            .unwrap();
        let State::AwaitingVerification { expires_at } = asked.state else {
            panic!("{:?}", asked.state);
        };
        assert_eq!(refused(&asked, expires_at), Reason::IllegalState);
        let mut full = stops.clone();
        let one = stops.step(&event, &plan, over()).unwrap().rare.overridden;
        full.rare.overridden = one.into_iter().cycle().take(OVERRIDDEN_MAX).collect();
        assert_eq!(refused(&full, over()), Reason::TooManyOverrides);
    }

    #[test]
    fn silence_is_overridden_where_a_policy_says_so_and_what_it_hid_still_stops() {
        let mut policy = Policy::cn();
        let two = Overrider::SupportWithSecondPerson;
        policy
            .overriders
            .insert("PARTICIPANT_UNREACHABLE".to_owned(), two);
        assert_eq!(policy.problems(), []);
        let plan = Plan::new(1, policy).unwrap();
        let silence = Blocker::unreachable(&who("cloud"), plan.policy());
        let decided = sealed(&plan)
            .step(&Event::Blocked(vec![silence.clone()]), &plan, over())
            .unwrap()
            .step(&overridden(&["PARTICIPANT_UNREACHABLE"]), &plan, over())
            .unwrap();
        assert_eq!(decided.judge(&plan, vec![silence]), Event::Eligible);
        let export = named("EXPORT_RUNNING", "cloud", 1);
        let judged = decided.judge(&plan, vec![export.clone()]);
        assert_eq!(judged, Event::Blocked(vec![export]));
    }
}
