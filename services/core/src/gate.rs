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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::*;

    fn ready(plan: &Plan) -> Deletion {
        let mut deletion = verifying(plan);
        deletion.done = deletion.done | plan.probes();
        deletion
    }

    fn reason(deletion: &Deletion, plan: &Plan) -> Reason {
        purge(deletion, plan).unwrap_err().reason
    }

    #[test]
    fn the_gate_opens_when_everything_required_is_settled() {
        assert!(purge(&ready(&cn()), &cn()).is_ok());
    }

    #[test]
    fn every_single_outstanding_leg_keeps_the_gate_shut() {
        let plan = cn();
        for leg in plan.required().iter() {
            let mut deletion = ready(&plan);
            deletion.done = deletion.done & !Mask::of(leg);
            assert_eq!(reason(&deletion, &plan), Reason::LegsOutstanding);
        }
    }

    #[test]
    fn a_refused_leg_keeps_the_gate_shut() {
        let plan = cn();
        let probe = plan.probes().iter().next().unwrap();
        let mut deletion = verifying(&plan);
        deletion.refused = Mask::of(probe);
        assert_eq!(reason(&deletion, &plan), Reason::LegsOutstanding);
    }

    #[test]
    fn an_empty_plan_a_hold_and_a_contradiction_keep_the_gate_shut() {
        let plan = cn();
        let mut empty = ready(&plan);
        empty.need = Mask::EMPTY;
        assert_eq!(reason(&empty, &plan), Reason::EmptyPlan);
        let mut held = ready(&plan);
        held.held = true;
        assert_eq!(reason(&held, &plan), Reason::Held);
        let mut disputed = ready(&plan);
        disputed.conflicts = 1;
        assert_eq!(reason(&disputed, &plan), Reason::EvidenceConflict);
    }

    #[test]
    fn before_everyone_was_asked_what_it_still_holds_the_gate_is_shut() {
        let plan = cn();
        let mut deletion = erasing(&plan);
        deletion.done = deletion.done | plan.required();
        assert_eq!(reason(&deletion, &plan), Reason::IllegalState);
        for other in [opened(&plan), sealed(&plan), purged(&plan)] {
            assert_eq!(reason(&other, &plan), Reason::IllegalState);
        }
    }

    #[test]
    fn a_permit_opens_one_deletion_as_it_stood_and_nothing_else() {
        let plan = cn();
        let ready = ready(&plan);
        let begun = ready.state.begun().unwrap();
        let mut other = verifying(&plan);
        other.id = DeletionId(uuid::Uuid::from_u128(2));
        other.purge(purge(&ready, &plan).unwrap(), begun, &plan, over());
        assert_eq!(other.state.word(), "VERIFYING");
        let mut later = ready.clone();
        later.revision += 1;
        later.purge(purge(&ready, &plan).unwrap(), begun, &plan, over());
        assert_eq!(later.state.word(), "VERIFYING");
    }
}
