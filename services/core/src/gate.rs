//! The gate before `PURGED`. SQL holds the same truth with a CHECK.

use crate::deletion::{Deletion, State};
use crate::plan::Plan;
use crate::refusal::{Reason, Refusal};

/// Proof that everything required was settled. Only [`purge`] makes one.
#[derive(Debug)]
pub struct PurgePermit(());

/// Whether the account may be purged.
///
/// Errors: `ILLEGAL_STATE` before erasing or after the end, `EMPTY_PLAN`, `LEGS_OUTSTANDING`, `HELD`,
/// `EVIDENCE_CONFLICT`.
pub fn purge(deletion: &Deletion, plan: &Plan) -> Result<PurgePermit, Refusal> {
    let refuse = |reason: Reason| Err(Refusal::from(reason));
    if !matches!(deletion.state, State::Erasing(_) | State::Verifying(_)) {
        return refuse(Reason::IllegalState);
    }
    if deletion.need.is_empty() || plan.required().is_empty() {
        return refuse(Reason::EmptyPlan);
    }
    if !deletion.done.covers(deletion.need) || !deletion.done.covers(plan.required()) {
        return refuse(Reason::LegsOutstanding);
    }
    if deletion.held {
        return refuse(Reason::Held);
    }
    if deletion.conflicts > 0 {
        return refuse(Reason::EvidenceConflict);
    }
    Ok(PurgePermit(()))
}
