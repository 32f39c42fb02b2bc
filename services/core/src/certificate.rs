//! The certificate of deletion: says only what the ledger holds, byte-identical when issued again.

use serde::Serialize;

use crate::deletion::{Deletion, State};
use crate::device::DeviceOutcome;
use crate::leg::Verb;
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
    /// The region where all this was done; absent where there is only one.
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<&'a str>,
    policy: &'a str,
    policy_version: u32,
    requested: String,
    point_of_no_return: String,
    purged: String,
    /// The one extension, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    deadline_extended: Option<Extension>,
    /// What was owed when the deadline passed, if it did.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    overdue_reasons: &'a [String],
    /// In spite of what the support desk let it go on, and in which case.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    blockers_overridden: Vec<OverriddenBlocker<'a>>,
    legs: Vec<SettledLeg<'a>>,
    /// Devices whose own word is missing: their server half is gone, and they are told when they return.
    devices_not_confirmed: Vec<NotConfirmed<'a>>,
}

#[derive(Serialize)]
struct Extension {
    decided: String,
    earlier_deadline: String,
    deadline: String,
    reason: &'static str,
}

#[derive(Serialize)]
struct OverriddenBlocker<'a> {
    code: &'a str,
    participant: &'a str,
    case: &'a str,
    decided: String,
}

#[derive(Serialize)]
struct NotConfirmed<'a> {
    participant: &'a str,
    device: String,
    binding_epoch: u64,
    outcome: DeviceOutcome,
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
        // What ends later stands beside it: `obligation::addenda`.
        if leg.verb == Verb::Expire {
            continue;
        }
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
    let devices_not_confirmed = legs
        .iter()
        .flat_map(|(_, leg)| not_confirmed(leg))
        .collect();
    let document = Document {
        format: FORMAT,
        deletion: format!("deletions/{}", deletion.id),
        account: deletion.account.as_str(),
        region: plan.policy().region.as_deref(),
        policy: &plan.policy().name,
        policy_version: plan.version(),
        requested: deletion.requested_at.to_string(),
        point_of_no_return: begun.at.to_string(),
        purged: at.to_string(),
        deadline_extended: deletion.rare.extended.map(|extended| Extension {
            decided: extended.at.to_string(),
            earlier_deadline: extended.before.to_string(),
            deadline: deletion.deadline.to_string(),
            reason: extended.why.word(),
        }),
        overdue_reasons: deletion
            .rare
            .overdue
            .as_ref()
            .map_or(&[], |overdue| overdue.reasons.as_slice()),
        blockers_overridden: deletion
            .rare
            .overridden
            .iter()
            .map(|it| OverriddenBlocker {
                code: &it.code,
                participant: &it.participant,
                case: &it.case,
                decided: it.at.to_string(),
            })
            .collect(),
        devices_not_confirmed,
        legs: legs.into_iter().map(|(_, leg)| leg).collect(),
    };
    serde_json::to_string_pretty(&document).map_err(|_| Reason::EvidenceConflict.into())
}

fn not_confirmed<'a>(leg: &SettledLeg<'a>) -> Vec<NotConfirmed<'a>> {
    let silent = |outcome: &DeviceOutcome| match outcome {
        DeviceOutcome::Detached | DeviceOutcome::Unsupported => true,
        DeviceOutcome::Confirmed
        | DeviceOutcome::Executed
        | DeviceOutcome::Superseded
        | DeviceOutcome::Transferred => false,
    };
    let devices = leg.evidence.devices.iter().filter_map(|device| {
        Some(NotConfirmed {
            participant: leg.participant,
            device: format!("devices/{}", device.device.as_str()),
            binding_epoch: device.binding_epoch,
            outcome: device.outcome.filter(silent)?,
        })
    });
    devices.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Device;
    use crate::fixture::*;
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
    fn a_device_that_said_nothing_is_named() {
        let plan = cn();
        let device = |name: &str, outcome| Device {
            device: name.parse().unwrap(),
            binding_epoch: 2,
            facts: None,
            outcome: Some(outcome),
            lock: None,
        };
        let wearables = leg(&plan, Verb::Erase, "wearables");
        let evidence = Evidence {
            devices: vec![
                device("watch-1", DeviceOutcome::Detached),
                device("watch-2", DeviceOutcome::Confirmed),
            ],
            ..counted(Outcome::Erased, 2)
        };
        let mut kept = receipts(&plan);
        kept.retain(|kept| kept.receipt.leg != wearables);
        kept.push(Kept {
            receipt: Receipt::new(wearables, 1, evidence),
            settled_at: over(),
        });
        let text = issue(&purged(&plan), &plan, &kept).unwrap();
        let document: serde_json::Value = serde_json::from_str(&text).unwrap();
        let named = document["devices_not_confirmed"].as_array().unwrap();
        assert_eq!(named.len(), 1);
        assert_eq!(named[0]["device"], "devices/watch-1");
        assert_eq!(named[0]["outcome"], "DETACHED");
    }

    #[test]
    fn why_it_took_longer_stands_on_it() {
        let plan = cn();
        let plain = issue(&purged(&plan), &plan, &receipts(&plan)).unwrap();
        assert!(!plain.contains("deadline_extended") && !plain.contains("overdue"));
        let mut late = purged(&plan);
        late.rare.extended = Some(crate::rare::Extended {
            at: start(),
            before: over(),
            why: crate::rare::Why::Complexity,
        });
        late.rare.overdue = Some(crate::rare::Overdue::new(over(), vec!["LEGAL_HOLD".into()]));
        let text = issue(&late, &plan, &receipts(&plan)).unwrap();
        let document: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(document["deadline_extended"]["reason"], "COMPLEXITY");
        assert_eq!(document["overdue_reasons"][0], "LEGAL_HOLD");
    }

    #[test]
    fn the_region_that_erased_stands_on_it() {
        let plan = cn();
        let only = issue(&purged(&plan), &plan, &receipts(&plan)).unwrap();
        assert!(!only.contains("region"));
        let eu = of_region("eu");
        let text = issue(&purged(&eu), &eu, &receipts(&eu)).unwrap();
        let document: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(document["region"], "eu");
    }

    #[test]
    fn what_the_desk_let_it_go_on_in_spite_of_stands_on_it_with_its_case() {
        let plan = cn();
        let plain = issue(&purged(&plan), &plan, &receipts(&plan)).unwrap();
        assert!(!plain.contains("overridden"));
        let mut purged = purged(&plan);
        purged.rare.overridden = vec![crate::overridden::Overridden {
            code: "OPEN_DISPUTE".to_owned(),
            participant: "store".to_owned(),
            count: 1,
            until: None,
            case: "cases/c-1".to_owned(),
            request: crate::RequestId(uuid::Uuid::from_u128(9)),
            at: over(),
        }];
        let text = issue(&purged, &plan, &receipts(&plan)).unwrap();
        let document: serde_json::Value = serde_json::from_str(&text).unwrap();
        let stated = &document["blockers_overridden"][0];
        assert_eq!(stated["code"], "OPEN_DISPUTE");
        assert_eq!(stated["participant"], "store");
        assert_eq!(stated["case"], "cases/c-1");
        assert_eq!(stated["decided"], over().to_string());
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
