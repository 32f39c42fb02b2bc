//! The two gates: before `VERIFYING`, and before `PURGED`. SQL holds the second truth with a CHECK.

use crate::deletion::{Deletion, State};
use crate::id::DeletionId;
use crate::leg::Mask;
use crate::plan::Plan;
use crate::refusal::{Reason, Refusal};

/// Proof that everything required of one deletion was settled. Only [`purge`] makes one.
#[derive(Debug)]
pub struct PurgePermit {
    deletion: DeletionId,
    revision: i32,
}

impl PurgePermit {
    /// Whether this is the permit of that deletion as it stands.
    pub(crate) fn opens(&self, deletion: &Deletion) -> bool {
        self.deletion == deletion.id && self.revision == deletion.revision
    }
}

/// Gate 1: whether everything is erased, so that everyone is asked what it still holds.
///
/// Errors: `ILLEGAL_STATE` unless erasing or if nobody is to be asked, and those of [`purge`].
pub fn verify(deletion: &Deletion, plan: &Plan) -> Result<(), Refusal> {
    if !matches!(deletion.state, State::Erasing(_)) || plan.probes().is_empty() {
        return Err(Reason::IllegalState.into());
    }
    settled(deletion, plan, plan.erases())
}

/// Gate 2: whether the account may be purged.
///
/// Errors: `ILLEGAL_STATE` before erasing, before everyone was asked what it still holds, and after the end;
/// `EMPTY_PLAN`, `LEGS_OUTSTANDING`, `HELD`, `EVIDENCE_CONFLICT`.
pub fn purge(deletion: &Deletion, plan: &Plan) -> Result<PurgePermit, Refusal> {
    let asked = match deletion.state {
        State::Erasing(_) => plan.probes().is_empty(),
        State::Verifying(_) => true,
        _ => false,
    };
    if !asked {
        return Err(Reason::IllegalState.into());
    }
    settled(deletion, plan, deletion.need | plan.required())?;
    Ok(PurgePermit {
        deletion: deletion.id,
        revision: deletion.revision,
    })
}

fn settled(deletion: &Deletion, plan: &Plan, legs: Mask) -> Result<(), Refusal> {
    let refuse = |reason: Reason| Err(Refusal::from(reason));
    if plan.version() != deletion.policy_version {
        return refuse(Reason::IllegalState);
    }
    if deletion.need.is_empty() || plan.required().is_empty() || legs.is_empty() {
        return refuse(Reason::EmptyPlan);
    }
    if !deletion.done.covers(legs) {
        return refuse(Reason::LegsOutstanding);
    }
    if deletion.held {
        return refuse(Reason::Held);
    }
    if deletion.conflicts > 0 {
        return refuse(Reason::EvidenceConflict);
    }
    Ok(())
}
