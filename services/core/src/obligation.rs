//! What is still owed once an account is purged: records that law kept, each to be erased when its time is over.
//!
//! Obligations have no rows. They follow from receipts: what a participant said last that it keeps. A purged deletion stays open
//! while there are any; when something ends, its participant gets a command to erase it, and what it answers is the evidence.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::deletion::Deletion;
use crate::leg::{LegIndex, Mask, Verb};
use crate::plan::Plan;
use crate::policy::retention::Identifier;
use crate::receipt::{Kept, Receipt, Retention};
use crate::refusal::{Reason, Refusal};
use crate::time::Time;

/// Version of the addendum's shape.
const FORMAT: u32 = 1;
/// How the text of evidence that keeps something can be told without reading it.
const RETAINED: &str = "\"retained\":";

/// What one participant keeps of one class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obligation {
    /// The expiry that ends it.
    pub leg: LegIndex,
    pub kept: Retention,
}

/// The expiries of those who say in these receipts that they keep something. Few do: what keeps nothing isn't read.
pub fn keepers<'a>(plan: &Plan, receipts: impl IntoIterator<Item = &'a Receipt>) -> Mask {
    let keeps = |receipt: &&Receipt| {
        receipt.evidence.contains(RETAINED)
            && receipt
                .read()
                .is_ok_and(|evidence| !evidence.retained.is_empty())
    };
    let kept = receipts.into_iter().filter(keeps);
    kept.filter_map(|receipt| expiry(plan, receipt.leg))
        .collect()
}

/// Everything that is kept, by participant and class. What was said last counts: of an expiry all of it, before that the newest
/// word of each class.
///
/// Errors: `EVIDENCE_CONFLICT` if kept evidence can't be read.
pub fn of(plan: &Plan, receipts: &[Kept]) -> Result<Vec<Obligation>, Refusal> {
    let mut said: BTreeMap<LegIndex, BTreeMap<String, Retention>> = BTreeMap::new();
    let mut in_order: Vec<_> = receipts.iter().map(|kept| &kept.receipt).collect();
    let verb = |receipt: &Receipt| plan.leg(receipt.leg).map(|leg| leg.verb);
    in_order.sort_by_key(|receipt| {
        (
            verb(receipt) == Some(Verb::Expire),
            receipt.round,
            receipt.leg,
        )
    });
    for receipt in in_order {
        let Some(leg) = expiry(plan, receipt.leg) else {
            continue;
        };
        let expires = leg == receipt.leg;
        if !expires && !receipt.evidence.contains(RETAINED) {
            continue;
        }
        let evidence = receipt.read().map_err(|_| Reason::EvidenceConflict)?;
        let classes = said.entry(leg).or_default();
        if expires {
            classes.clear();
        }
        for kept in evidence.retained {
            classes.insert(kept.class.clone(), kept);
        }
    }
    let obligations = said.into_iter().flat_map(|(leg, classes)| {
        let kept = classes.into_values();
        kept.map(move |kept| Obligation { leg, kept })
    });
    Ok(obligations.collect())
}

/// Whose obligations these are.
pub fn owing(obligations: &[Obligation]) -> Mask {
    obligations.iter().map(|owed| owed.leg).collect()
}

/// When something ends next.
pub fn next(obligations: &[Obligation]) -> Option<Time> {
    obligations.iter().map(|owed| owed.kept.ends_next()).min()
}

/// The expiries of what has ended by `now`.
pub fn ended(obligations: &[Obligation], now: Time) -> Mask {
    let over = |owed: &&Obligation| owed.kept.ends_next() <= now;
    obligations
        .iter()
        .filter(over)
        .map(|owed| owed.leg)
        .collect()
}

/// Identifiers that nobody holds back any more since the expiries of the deletion's present round: each was until then, and is
/// told once, as the round is decided on once.
///
/// Errors: as [`of`].
pub fn recycled(
    deletion: &Deletion,
    plan: &Plan,
    receipts: &[Kept],
) -> Result<Vec<Identifier>, Refusal> {
    if deletion.expiring.is_empty() {
        return Ok(Vec::new());
    }
    let earlier: Vec<Kept> = receipts
        .iter()
        .filter(|kept| {
            kept.receipt.round < deletion.round || !deletion.expiring.has(kept.receipt.leg)
        })
        .cloned()
        .collect();
    let held = |receipts: &[Kept]| -> Result<Vec<Identifier>, Refusal> {
        let kinds = of(plan, receipts)?;
        let kinds = kinds
            .iter()
            .filter_map(|owed| Identifier::of_class(&owed.kept.class));
        Ok(kinds.collect())
    };
    let still = held(receipts)?;
    let mut free = held(&earlier)?;
    free.retain(|kind| !still.contains(kind));
    free.dedup();
    Ok(free)
}

fn expiry(plan: &Plan, leg: LegIndex) -> Option<LegIndex> {
    let leg = plan.leg(leg)?;
    match leg.verb {
        Verb::Erase | Verb::Probe | Verb::Expire => plan.find(&leg.participant, Verb::Expire),
        Verb::Seal | Verb::Unseal => None,
    }
}

#[derive(Serialize)]
struct Document<'a> {
    format: u32,
    deletion: String,
    participant: &'a str,
    round: u16,
    /// What has ended and was erased, by class.
    expired: BTreeMap<String, i64>,
    /// What is kept on, and until when.
    retained: Vec<Retention>,
    recorded: String,
    /// Of the receipt that says so.
    fingerprint: String,
}

/// The addenda to a certificate that say what became of what it says is retained, oldest first: each JSON text on one line, the
/// same bytes each time.
///
/// Errors: `EVIDENCE_CONFLICT` if kept evidence can't be read.
pub fn addenda(
    deletion: &Deletion,
    plan: &Plan,
    receipts: &[Kept],
) -> Result<Vec<String>, Refusal> {
    let expiry = |kept: &&Kept| plan.expires().has(kept.receipt.leg);
    let mut expiries: Vec<_> = receipts.iter().filter(expiry).collect();
    expiries.sort_by_key(|kept| (kept.receipt.round, kept.receipt.leg));
    let text = |kept: &Kept| -> Result<String, Refusal> {
        let receipt = &kept.receipt;
        let leg = plan.leg(receipt.leg).ok_or(Reason::EvidenceConflict)?;
        let evidence = receipt.read().map_err(|_| Reason::EvidenceConflict)?;
        let fingerprint = receipt.fingerprint.iter();
        let document = Document {
            format: FORMAT,
            deletion: format!("deletions/{}", deletion.id),
            participant: leg.participant.as_str(),
            round: receipt.round,
            expired: evidence.counts,
            retained: evidence.retained,
            recorded: kept.settled_at.to_string(),
            fingerprint: fingerprint.map(|byte| format!("{byte:02x}")).collect(),
        };
        serde_json::to_string(&document).map_err(|_| Reason::EvidenceConflict.into())
    };
    expiries.into_iter().map(text).collect()
}

#[cfg(test)]
mod tests;
