//! What the owner of a deletion's slot must do next: derived, so that first try, retry and restart are one path.

use crate::deletion::{Deletion, State};
use crate::gate;
use crate::leg::Mask;
use crate::notice;
use crate::plan::Plan;
use crate::time::Time;

/// What must happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Duty {
    /// Nothing before this moment.
    Wait(Time),
    /// Verification took too long.
    Expire,
    /// Ask every participant if anything is in the way; then cooling-off starts or erasing begins.
    AskEligibility,
    /// The wait is over and the policy asks nobody: step [`crate::Event::Eligible`].
    Begin,
    /// Send the commands of these legs, and go on sending until they are settled.
    Send(Mask),
    /// Everything is settled and the state or the time of the next look hasn't followed, because the last receipts were merged
    /// without a move: step [`crate::Event::Settled`] without legs.
    Advance,
    /// Read from the receipts what law still keeps: step [`crate::Event::Kept`], or [`crate::Event::Ended`] if something of it
    /// has ended.
    Oblige,
    /// Nothing goes on without a person: a participant refused, evidence contradicts itself, or a legal hold stands.
    /// [`crate::condition::of`] says which.
    NeedsPerson,
    /// Nothing, ever.
    Nothing,
}

/// The next duty.
pub fn next(deletion: &Deletion, plan: &Plan, now: Time) -> Duty {
    if deletion.keeps() {
        return of_what_is_kept(deletion, plan, now);
    }
    let owed = deletion.owes(plan);
    if !owed.is_empty() {
        return Duty::Send(owed);
    }
    match deletion.state {
        State::AwaitingVerification { expires_at } => {
            if now >= expires_at {
                Duty::Expire
            } else if deletion.verified() {
                wait_or(deletion, now, Duty::AskEligibility)
            } else {
                Duty::Wait(expires_at)
            }
        }
        State::CoolingOff { .. } if !deletion.refusals(plan).is_empty() => Duty::NeedsPerson,
        State::CoolingOff { ends_at } if now < ends_at => {
            // A notice that was told while the last seal came in knew nothing of that: nobody would look again in time.
            let look = notice::attention(deletion, plan, ends_at);
            if deletion.attention_at.is_some_and(|at| at < look) {
                Duty::Advance
            } else {
                Duty::Wait(ends_at)
            }
        }
        State::CoolingOff { .. } if deletion.held || deletion.conflicts > 0 => Duty::NeedsPerson,
        State::CoolingOff { .. } if plan.policy().eligibility => {
            wait_or(deletion, now, Duty::AskEligibility)
        }
        State::CoolingOff { .. } => Duty::Begin,
        State::Erasing(_) | State::Verifying(_) => {
            if gate::verify(deletion, plan).is_ok() || gate::purge(deletion, plan).is_ok() {
                Duty::Advance
            } else {
                Duty::NeedsPerson
            }
        }
        State::Revoked { .. } | State::Denied { .. } if deletion.closed_at.is_none() => {
            if deletion.done.covers(plan.unseals()) {
                Duty::Advance
            } else {
                Duty::NeedsPerson
            }
        }
        State::Revoked { .. }
        | State::Denied { .. }
        | State::Expired { .. }
        | State::Purged { .. } => Duty::Nothing,
    }
}

/// After the purge: what has ended is asked for on its day, whoever else still owes an answer.
fn of_what_is_kept(deletion: &Deletion, plan: &Plan, now: Time) -> Duty {
    let due = deletion.looks_at().filter(|at| *at <= now);
    if !deletion.answered().is_empty() || (due.is_some() && !deletion.held) {
        return Duty::Oblige;
    }
    let owed = deletion.owes(plan);
    if !owed.is_empty() {
        return Duty::Send(owed);
    }
    match deletion.looks_at() {
        Some(at) if at > now && deletion.refusals(plan).is_empty() => Duty::Wait(at),
        _ => Duty::NeedsPerson,
    }
}

/// A blocked deletion waits for its next look.
fn wait_or(deletion: &Deletion, now: Time, duty: Duty) -> Duty {
    match deletion.attention_at {
        Some(at) if at > now => Duty::Wait(at),
        _ => duty,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Event;
    use crate::fixture::*;
    use crate::notice::Notice;

    #[test]
    fn an_unverified_request_waits_until_it_expires() {
        let plan = cn();
        let end = start() + plan.policy().verification;
        assert_eq!(next(&opened(&plan), &plan, start()), Duty::Wait(end));
        assert_eq!(next(&opened(&plan), &plan, end), Duty::Expire);
        assert_eq!(next(&verified(&plan), &plan, end), Duty::Expire);
    }

    #[test]
    fn a_verified_request_is_asked_about_at_once_and_again_at_the_end_of_the_wait() {
        let plan = cn();
        assert_eq!(next(&verified(&plan), &plan, start()), Duty::AskEligibility);
        assert_eq!(next(&sealed(&plan), &plan, start()), Duty::Wait(over()));
        assert_eq!(next(&sealed(&plan), &plan, over()), Duty::AskEligibility);
    }

    #[test]
    fn a_seal_that_is_settled_beside_a_notice_is_looked_at_again_when_the_wait_is_over() {
        let plan = cn();
        let cooling = cooling(&plan);
        let told = Event::Told([Notice::Sealed].into_iter().collect());
        let told = cooling.step(&told, &plan, start()).unwrap();
        // The receipts are merged into what the notice wrote.
        let merged = Deletion {
            done: plan.seals(),
            ..told
        };
        assert_eq!(next(&merged, &plan, start()), Duty::Advance);
        let followed = merged
            .step(&Event::Settled(Mask::EMPTY), &plan, start())
            .unwrap();
        assert!(followed.attention_at > Some(start()));
        assert_eq!(next(&followed, &plan, start()), Duty::Wait(over()));
    }

    #[test]
    fn a_seal_is_sent_at_once_and_a_stage_when_it_opens() {
        let plan = cn();
        let first = plan.open_stage(Mask::EMPTY);
        assert_eq!(
            next(&cooling(&plan), &plan, start()),
            Duty::Send(plan.seals())
        );
        assert_eq!(next(&erasing(&plan), &plan, over()), Duty::Send(first));
        assert_eq!(
            next(&verifying(&plan), &plan, over()),
            Duty::Send(plan.probes())
        );
    }

    #[test]
    fn nothing_is_owed_once_everything_has_ended() {
        let plan = cn();
        let revoked = verified(&plan)
            .step(&Event::Revoke, &plan, start())
            .unwrap();
        for deletion in [purged(&plan), revoked] {
            assert_eq!(next(&deletion, &plan, over()), Duty::Nothing);
        }
    }

    #[test]
    fn whoever_acts_on_a_duty_is_not_refused() {
        let plan = unasked();
        let sealed = sealed(&plan);
        assert_eq!(next(&sealed, &plan, over()), Duty::Begin);
        assert!(sealed.step(&Event::Eligible, &plan, over()).is_ok());
    }
}
