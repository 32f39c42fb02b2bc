//! Judges what a participant says. Whatever is not a complete and fitting answer is refused and changes nothing.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use crate::deletion::{Deletion, State};
use crate::device::Device;
use crate::id::{AccountId, CommandName, ParticipantId};
use crate::leg::{LegIndex, Verb};
use crate::plan::Plan;
use crate::receipt::{Evidence, Outcome, Receipt, Retention};
use crate::refusal::Reason;
use crate::time::Time;

/// Longest deferral.
pub const DEFERRAL_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Longest machine word from a participant.
pub const REASON_BYTES_MAX: usize = 64;

/// How far a participant's clock may be ahead of ours when it counts a period.
const CLOCK_AHEAD_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// What a participant answered to a command, already well-formed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Received,
    InProgress {
        done: i64,
        total: i64,
    },
    Deferred {
        retry_after: Duration,
        reason: String,
        done: i64,
        total: i64,
    },
    Done(Evidence),
    Refused {
        reason: String,
    },
}

/// What follows from a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Progress to show, nothing to keep.
    Progress(LegIndex),
    /// To be asked again later; frees the window.
    Defer(LegIndex, Duration),
    /// To be kept: the leg is settled by this receipt.
    Settle(Receipt),
    /// A probe that found something: to be kept, and the leg erased again.
    Residue { probe: Receipt, erase: LegIndex },
    /// The participant won't, for a reason of this word: a person must look.
    NeedsPerson { leg: LegIndex, reason: String },
    /// The leg was settled before: equal evidence is a repeat, other evidence a conflict. The ledger knows.
    Compare(Receipt),
}

/// Judges one report of `sender` for the command `name`, given the deletion that it names and the sealed roster; `now` is the
/// database's clock.
///
/// Errors: a reason to refuse it; then nothing changes. Source: design invariants S7, S16, S17, S23.
pub fn judge(
    sender: &ParticipantId,
    name: &CommandName,
    account: &AccountId,
    answer: &Answer,
    (deletion, plan): (&Deletion, &Plan),
    roster: &[Device],
    now: Time,
) -> Result<Verdict, Reason> {
    if name.participant != *sender {
        return Err(Reason::NotYourLeg);
    }
    if plan.version() != deletion.policy_version {
        return Err(Reason::UnknownCommand);
    }
    let leg = plan.find(sender, name.verb).ok_or(Reason::UnknownCommand)?;
    // Sealing and unsealing happen once, and each expiry has rounds of its own.
    let rounds = deletion.round_of(leg, name.verb);
    if name.deletion != deletion.id || name.round == 0 || name.round > rounds {
        return Err(Reason::UnknownCommand);
    }
    if *account != deletion.account {
        return Err(Reason::AccountMismatch);
    }
    let earlier = name.round < rounds || deletion.done.has(leg);
    if !earlier && !deletion.asked(plan).has(leg) {
        return Err(Reason::NotAsked);
    }
    // Asked and no longer wanted: a seal that was on its way when the request was taken back.
    let wanted = !earlier && deletion.open_legs(plan).has(leg);
    match answer {
        Answer::Done(evidence) => {
            check(name.verb, evidence, roster)?;
            let asked = deletion.asked_of(leg).filter(|_| !earlier);
            let ended_by = asked.map(|asked| asked.by);
            check_retention((name, ended_by), evidence, deletion, plan, now)?;
            let receipt = Receipt::new(leg, name.round, evidence.clone());
            Ok(if earlier {
                Verdict::Compare(receipt)
            } else if evidence.outcome == Outcome::Residue {
                let erase = plan
                    .find(sender, Verb::Erase)
                    .ok_or(Reason::UnknownCommand)?;
                Verdict::Residue {
                    probe: receipt,
                    erase,
                }
            } else {
                Verdict::Settle(receipt)
            })
        }
        // What comes late and isn't evidence says nothing about a settled leg: a refusal may be older than the retry.
        _ if !wanted => Ok(Verdict::Progress(leg)),
        Answer::Received | Answer::InProgress { .. } => Ok(Verdict::Progress(leg)),
        Answer::Deferred {
            retry_after,
            reason,
            ..
        } => {
            word(reason)?;
            if *retry_after < Duration::from_millis(1) || *retry_after > DEFERRAL_MAX {
                return Err(Reason::DeferralOutOfRange);
            }
            Ok(Verdict::Defer(leg, *retry_after))
        }
        Answer::Refused { reason } => {
            word(reason)?;
            Ok(if deletion.refused.has(leg) {
                Verdict::Progress(leg)
            } else {
                let reason = reason.clone();
                Verdict::NeedsPerson { leg, reason }
            })
        }
    }
}

fn word(reason: &str) -> Result<(), Reason> {
    let legal = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
    if reason.is_empty() || reason.len() > REASON_BYTES_MAX || !reason.bytes().all(legal) {
        return Err(Reason::ReasonMissing);
    }
    Ok(())
}

pub(crate) fn check(verb: Verb, evidence: &Evidence, roster: &[Device]) -> Result<(), Reason> {
    if !evidence.outcome.answers(verb) {
        return Err(Reason::OutcomeNotAllowed);
    }
    let counted = matches!(
        evidence.outcome,
        Outcome::Erased | Outcome::Anonymised | Outcome::CryptoShredded | Outcome::Residue
    );
    if (counted && evidence.counts.is_empty()) || evidence.counts.values().any(|count| *count < 0) {
        return Err(Reason::OutcomeEmpty);
    }
    // Residue of nothing would be erased again and again.
    if evidence.outcome == Outcome::Residue && evidence.counts.values().all(|count| *count == 0) {
        return Err(Reason::OutcomeEmpty);
    }
    let kept = |r: &Retention| {
        !r.class.is_empty() && !r.legal_basis.is_empty() && r.count > 0 && r.until.micros() > 0
    };
    if !evidence.retained.iter().all(kept)
        || (evidence.outcome == Outcome::Retained && evidence.retained.is_empty())
    {
        return Err(Reason::RetentionIncomplete);
    }
    if evidence
        .devices
        .iter()
        .any(|device| device.binding_epoch == 0)
    {
        return Err(Reason::DeviceOutcomeMissing);
    }
    match verb {
        Verb::Seal => check_roster(&evidence.devices),
        Verb::Erase => check_devices(&evidence.devices, roster),
        Verb::Unseal | Verb::Probe | Verb::Expire => Ok(()),
    }
}

/// A certificate says nothing is kept that no law allows: each class is the policy's, under its law, with the participant that
/// it names, and ends in time; and what an expiry was to end, by `ended_by`, is there no longer.
pub(crate) fn check_retention(
    (name, ended_by): (&CommandName, Option<Time>),
    evidence: &Evidence,
    deletion: &Deletion,
    plan: &Plan,
    now: Time,
) -> Result<(), Reason> {
    let policy = plan.policy();
    // No record is younger than the purge.
    let latest = match deletion.state {
        State::Purged { at, .. } => at.min(now),
        _ => now,
    };
    let mut classes = HashSet::new();
    for kept in &evidence.retained {
        if !classes.insert(&kept.class) || kept.next.is_some_and(|next| next > kept.until) {
            return Err(Reason::RetentionIncomplete);
        }
        let ended_by = ended_by.filter(|_| name.verb == Verb::Expire);
        if ended_by.is_some_and(|ended_by| kept.ends_next() <= ended_by) {
            return Err(Reason::RetentionOver);
        }
        // Stored before policies said it: what was agreed on then is not known here.
        if policy.retention.is_none() {
            continue;
        }
        let class = plan.retention().class(&kept.class);
        let class = class
            .filter(|class| class.custodian == name.participant)
            .filter(|class| class.legal_basis == kept.legal_basis)
            .ok_or(Reason::RetentionUnknown)?;
        let end = class
            .period
            .end(latest + CLOCK_AHEAD_MAX, class.from, &policy.time_zone);
        if kept.until > end {
            return Err(Reason::RetentionTooLong);
        }
    }
    Ok(())
}

/// Every device of a roster stands there once, with what decides what becomes of it. A child's hub is of the same roster:
/// no order is ever signed for a hub that nobody sealed.
fn check_roster(roster: &[Device]) -> Result<(), Reason> {
    let bindings: HashMap<_, _> = roster.iter().map(Device::binding).collect();
    if bindings.len() != roster.len() {
        return Err(Reason::DeviceUnknown);
    }
    for device in roster {
        let facts = device.facts.as_ref().ok_or(Reason::DeviceFactsMissing)?;
        let hub = facts.hub.as_ref();
        if hub.is_some_and(|hub| bindings.get(&hub.device) != Some(&hub.binding_epoch)) {
            return Err(Reason::DeviceUnknown);
        }
    }
    Ok(())
}

/// Every device of the roster has one result, and nothing else has.
fn check_devices(results: &[Device], roster: &[Device]) -> Result<(), Reason> {
    if results.iter().any(|result| result.outcome.is_none()) {
        return Err(Reason::DeviceOutcomeMissing);
    }
    let sealed: HashSet<_> = roster.iter().map(Device::binding).collect();
    let answered: HashSet<_> = results.iter().map(Device::binding).collect();
    if !answered.is_subset(&sealed) {
        return Err(Reason::DeviceUnknown);
    }
    if results.len() != roster.len() || answered != sealed {
        return Err(Reason::DeviceMissing);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
