//! What is still owed once an account is purged: records that law kept, each to be erased when its time is over.
//!
//! Obligations have no rows. They follow from receipts: what a participant said last that it keeps. A purged deletion stays open
//! while there are any; when something ends, its participant gets a command to erase it, and what it answers is the evidence.
//! Nobody waits for anybody else: who doesn't answer, or won't, is shown, and the others' records end on their day.
//!
//! A number that was given back to its present holder has ended before its day: its custodian says so when it gives it back, and
//! is asked at once ([`Event::Freed`]). Where that has to wait, for a legal hold or for the custodian, the command says it: nobody
//! else would know it if the custodian were restored from a backup meanwhile ([`given_back`]).
//!
//! Under a legal hold nothing ends. What would have ended meanwhile ends with the hold, and addenda say from when to when it
//! stood. A hold is for records: a name or a number that was held back is free on its own day, and only its hash stays.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::addendum::Head;
use crate::deletion::{Deletion, Event, State};
use crate::id::ParticipantId;
use crate::leg::{LegIndex, Mask, Verb};
use crate::plan::Plan;
use crate::policy::retention::{Class, Identifier, StartingPoint};
use crate::receipt::{Kept, Receipt, Retention};
use crate::refusal::{Reason, Refusal};
use crate::time::Time;

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

/// What follows from the receipts at `now`: [`Event::Ended`] if something has ended that nobody is asked for, and nothing holds
/// it; otherwise [`Event::Kept`]. Answers are put on record first.
///
/// Errors: as [`of`].
pub fn look(
    deletion: &Deletion,
    plan: &Plan,
    receipts: &[Kept],
    now: Time,
) -> Result<Event, Refusal> {
    let owed = of(plan, receipts)?;
    // Also of one who is answering: what it says now may be older than its word. If it keeps the number no longer, that was its word.
    let freed = deletion.freed();
    let end = |owed: &Obligation| {
        let own = owed.kept.ends_next();
        let kind = Identifier::of_class(&owed.kept.class);
        if freed.has(owed.leg) && kind.is_some_and(Identifier::can_be_given_back) {
            own.min(now)
        } else {
            own
        }
    };
    let ends = |but: Mask| {
        let others = owed.iter().filter(|owed| !but.has(owed.leg));
        others.map(end).min()
    };
    let asked = deletion.outstanding();
    let over = |owed: &&Obligation| end(owed) <= now && !asked.has(owed.leg);
    let ended: Mask = owed.iter().filter(over).map(|owed| owed.leg).collect();
    Ok(if deletion.may_ask(ended, now) {
        Event::Ended {
            legs: ended,
            next: ends(asked | ended),
        }
    } else {
        Event::Kept {
            owing: owing(&owed) | asked,
            next: ends(asked),
        }
    })
}

/// Identifiers that nobody holds back any more since the answers that are put on record now: each was until then, and is told
/// once, as an answer is put on record once.
///
/// Errors: as [`of`].
pub fn recycled(
    deletion: &Deletion,
    plan: &Plan,
    receipts: &[Kept],
) -> Result<Vec<Identifier>, Refusal> {
    let answered = deletion.answered();
    if answered.is_empty() {
        return Ok(Vec::new());
    }
    let new = |receipt: &Receipt| {
        answered.has(receipt.leg) && receipt.round == deletion.round_of(receipt.leg, Verb::Expire)
    };
    let earlier: Vec<Kept> = receipts
        .iter()
        .filter(|kept| !new(&kept.receipt))
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

/// What a participant holds back and gives back on request: an account has one number, so that one which was given back is all of it.
pub fn given_back<'a>(
    plan: &'a Plan,
    participant: &'a ParticipantId,
) -> impl Iterator<Item = (&'a str, &'a Class)> {
    let classes = plan.retention().of(participant);
    classes.filter(|(name, class)| {
        let kind = Identifier::of_class(name);
        kind.is_some_and(Identifier::can_be_given_back) && class.from == StartingPoint::Erasure
    })
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
    #[serde(flatten)]
    head: Head<'a>,
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

/// That nothing of what is kept ends while somebody in the right forbids it, or that it ends again.
#[derive(Serialize)]
struct Hold<'a> {
    #[serde(flatten)]
    head: Head<'a>,
    hold_placed: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hold_released: Option<String>,
}

/// The addenda to a certificate that say what became of what it says is retained, with the time of each, oldest first: each JSON
/// text on one line, the same bytes each time. A legal hold has one when it is placed and one when it is released.
///
/// Errors: `EVIDENCE_CONFLICT` if kept evidence can't be read.
pub fn addenda(
    deletion: &Deletion,
    plan: &Plan,
    receipts: &[Kept],
) -> Result<Vec<(Time, String)>, Refusal> {
    let head = || Head::of(deletion.id, plan);
    let expiry = |kept: &&Kept| plan.expires().has(kept.receipt.leg);
    let mut expiries: Vec<_> = receipts.iter().filter(expiry).collect();
    expiries.sort_by_key(|kept| (kept.receipt.round, kept.receipt.leg));
    let text = |kept: &Kept| -> Result<(Time, String), Refusal> {
        let receipt = &kept.receipt;
        let leg = plan.leg(receipt.leg).ok_or(Reason::EvidenceConflict)?;
        let evidence = receipt.read().map_err(|_| Reason::EvidenceConflict)?;
        let fingerprint = receipt.fingerprint.iter();
        let document = Document {
            head: head(),
            participant: leg.participant.as_str(),
            round: receipt.round,
            expired: evidence.counts,
            retained: evidence.retained,
            recorded: kept.settled_at.to_string(),
            fingerprint: fingerprint.map(|byte| format!("{byte:02x}")).collect(),
        };
        Ok((kept.settled_at, json(&document)?))
    };
    let mut addenda = expiries
        .into_iter()
        .map(text)
        .collect::<Result<Vec<_>, _>>()?;
    for hold in &deletion.rare.holds {
        let told = [
            Some((hold.placed, None)),
            hold.released.map(|at| (at, Some(at))),
        ];
        // What stood before the purge is none of the certificate's.
        let after = matches!(deletion.state, State::Purged { at, .. } if at <= hold.placed);
        for (at, released) in told.into_iter().flatten().filter(|_| after) {
            let document = Hold {
                head: head(),
                hold_placed: hold.placed.to_string(),
                hold_released: released.map(|at| at.to_string()),
            };
            addenda.push((at, json(&document)?));
        }
    }
    addenda.sort_by_key(|(at, _)| *at);
    Ok(addenda)
}

fn json(document: &impl Serialize) -> Result<String, Refusal> {
    serde_json::to_string(document).map_err(|_| Reason::EvidenceConflict.into())
}

#[cfg(test)]
mod tests;
