//! What the owner of a deletion's slot must do next: derived, so that first try, retry and restart are one path.

use crate::deletion::{Deletion, State};
use crate::gate;
use crate::leg::Mask;
use crate::plan::Plan;
use crate::time::Time;

/// What must happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// Everything is settled and the state hasn't followed, because the last receipts were merged without a move: step
    /// [`crate::Event::Settled`] without legs.
    Advance,
    /// Nothing goes on without a person: a participant refused, evidence contradicts itself, or a legal hold stands.
    /// [`crate::condition::of`] says which.
    NeedsPerson,
    /// Nothing, ever.
    Nothing,
}

/// The next duty.
pub fn next(deletion: &Deletion, plan: &Plan, now: Time) -> Duty {
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
        State::CoolingOff { ends_at } if now < ends_at => Duty::Wait(ends_at),
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

/// A blocked deletion waits for its next look.
fn wait_or(deletion: &Deletion, now: Time, duty: Duty) -> Duty {
    match deletion.attention_at {
        Some(at) if at > now => Duty::Wait(at),
        _ => duty,
    }
}
