//! The certificate of deletion: says only what the ledger holds, byte-identical when issued again.

use serde::Serialize;

use crate::deletion::{Deletion, State};
use crate::plan::Plan;
use crate::receipt::{Evidence, Kept};
use crate::refusal::{Reason, Refusal};

/// Version of the document's shape.
const FORMAT: u32 = 1;

#[derive(Serialize)]
struct Document<'a> {
    format: u32,
    deletion: String,
    account: &'a str,
    policy: &'a str,
    policy_version: u32,
    requested: String,
    point_of_no_return: String,
    purged: String,
    legs: Vec<SettledLeg<'a>>,
}

#[derive(Serialize)]
struct SettledLeg<'a> {
    participant: &'a str,
    verb: &'a str,
    stage: &'a str,
    round: u16,
    settled: String,
    fingerprint: String,
    evidence: Evidence,
}

/// The certificate as JSON text.
///
/// Errors: `NOT_PURGED`; `EVIDENCE_CONFLICT` if kept evidence can't be read.
pub fn issue(deletion: &Deletion, plan: &Plan, receipts: &[Kept]) -> Result<String, Refusal> {
    let State::Purged { begun, at } = deletion.state else {
        return Err(Reason::NotPurged.into());
    };
    let mut legs = Vec::with_capacity(receipts.len());
    for kept in receipts {
        let leg = plan.leg(kept.receipt.leg).ok_or(Reason::EvidenceConflict)?;
        legs.push((
            (kept.receipt.round, kept.receipt.leg),
            SettledLeg {
                participant: leg.participant.as_str(),
                verb: leg.verb.word(),
                stage: &leg.stage,
                round: kept.receipt.round,
                settled: kept.settled_at.to_string(),
                fingerprint: kept
                    .receipt
                    .fingerprint
                    .iter()
                    .map(|byte| format!("{byte:02x}"))
                    .collect(),
                evidence: kept.receipt.read().map_err(|_| Reason::EvidenceConflict)?,
            },
        ));
    }
    legs.sort_by_key(|(order, _)| *order);
    let document = Document {
        format: FORMAT,
        deletion: format!("deletions/{}", deletion.id),
        account: deletion.account.as_str(),
        policy: &plan.policy().name,
        policy_version: plan.version(),
        requested: deletion.requested_at.to_string(),
        point_of_no_return: begun.at.to_string(),
        purged: at.to_string(),
        legs: legs.into_iter().map(|(_, leg)| leg).collect(),
    };
    serde_json::to_string_pretty(&document).map_err(|_| Reason::EvidenceConflict.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::*;
    use crate::leg::Verb;
    use crate::receipt::{Outcome, Receipt};

    fn receipts(plan: &Plan) -> Vec<Kept> {
        let kept = |leg| Kept {
            receipt: Receipt::new(leg, 1, counted(Outcome::Erased, 2)),
            settled_at: over(),
        };
        plan.erases().iter().map(kept).collect()
    }

    #[test]
    fn nothing_is_certified_before_it_is_purged() {
        let plan = cn();
        for deletion in [opened(&plan), erasing(&plan), verifying(&plan)] {
            let refusal = issue(&deletion, &plan, &receipts(&plan)).unwrap_err();
            assert_eq!(refusal.reason, Reason::NotPurged);
        }
    }

    #[test]
    fn a_certificate_issued_again_is_the_same_to_the_byte() {
        let plan = cn();
        let mut shuffled = receipts(&plan);
        shuffled.reverse();
        let first = issue(&purged(&plan), &plan, &receipts(&plan)).unwrap();
        assert_eq!(issue(&purged(&plan), &plan, &shuffled).unwrap(), first);
        let legs = plan.legs().filter(|(_, leg)| leg.verb == Verb::Erase);
        for (_, leg) in legs {
            assert!(first.contains(leg.participant.as_str()));
        }
    }
}
