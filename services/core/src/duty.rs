//! What the owner of a deletion's slot must do next: derived, so that first try, retry and restart are one path.

use crate::deletion::{Deletion, State};
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
    /// The wait is over and the policy asks nobody: begin.
    Begin,
    /// Send the commands of these legs, and go on sending until they are settled.
    Send(Mask),
    /// Participants refused: a person must look.
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
        State::CoolingOff { .. } if !deletion.refused.is_empty() => Duty::NeedsPerson,
        State::CoolingOff { ends_at } if now < ends_at => Duty::Wait(ends_at),
        State::CoolingOff { .. } if deletion.held => Duty::NeedsPerson,
        State::CoolingOff { .. } if plan.policy().eligibility => {
            wait_or(deletion, now, Duty::AskEligibility)
        }
        State::CoolingOff { .. } => Duty::Begin,
        State::Erasing(_) | State::Verifying(_) => Duty::NeedsPerson,
        State::Revoked { .. } | State::Denied { .. } if deletion.closed_at.is_none() => {
            Duty::NeedsPerson
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
