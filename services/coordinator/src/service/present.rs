//! From what is stored to what callers see.

use std::collections::HashMap;

use farewell_core::blocker::{Blocker, Class, Overrider};
use farewell_core::condition::{self, Condition, Kind};
use farewell_core::custody::Asked;
use farewell_core::obligation::Obligation;
use farewell_core::overridden::Overridden;
use farewell_core::receipt::{Evidence, Kept, Retention};
use farewell_core::{
    CommandName, Deletion, LegIndex, Mask, Plan, Policy, State, Time, Verb, obligation,
};
use farewell_proto::deletion::v1 as api;

use crate::board::{LegProgress, Stage};
use crate::center::Center;
use crate::sentences;
use crate::wire::{channel_to_wire, denial_to_wire, factor_to_wire, timestamp, why_to_wire};
use farewell_interpreter::Language;

/// The deletion without legs and conditions.
pub fn brief(deletion: &Deletion) -> api::Deletion {
    let (begun, rare) = (deletion.state.begun(), &deletion.rare);
    let cooling_off_end = match deletion.state {
        State::CoolingOff { ends_at } => Some(ends_at),
        _ => begun.map(|begun| begun.cooling_off_ended_at),
    };
    let purged = match deletion.state {
        State::Purged { at, .. } => Some(at),
        _ => None,
    };
    let factor = |factor| api::FactorProgress {
        factor: factor_to_wire(factor).into(),
        verified: deletion.factors_verified.has(factor),
        alternatives: deletion
            .factors_required
            .alternatives(factor)
            .map(|it| factor_to_wire(it).into())
            .collect(),
    };
    let consent = |consent: &farewell_core::deletion::Consent| api::Consent {
        text: consent.text.clone(),
        version: consent.version,
        time: Some(timestamp(consent.at)),
    };
    api::Deletion {
        name: format!("deletions/{}", deletion.id),
        account: format!("accounts/{}", deletion.account.as_str()),
        state: i32::from(deletion.state.code()),
        channel: channel_to_wire(deletion.channel).into(),
        factors: deletion.factors_required.iter().map(factor).collect(),
        policy_version: deletion.policy_version,
        create_time: Some(timestamp(deletion.requested_at)),
        cooling_off_end_time: cooling_off_end.map(timestamp),
        deadline: Some(timestamp(deletion.deadline)),
        erase_time: begun.map(|begun| timestamp(begun.at)),
        purge_time: purged.map(timestamp),
        close_time: deletion.closed_at.map(timestamp),
        consents: deletion.consents.iter().map(consent).collect(),
        traceparent: deletion.traceparent.clone(),
        working_days_left: None,
        deadline_provisional: false,
        raise_time: rare.raised.map(|raised| timestamp(raised.at)),
        deadline_extension: rare.extended.map(|extended| api::DeadlineExtension {
            time: Some(timestamp(extended.at)),
            earlier_deadline: Some(timestamp(extended.before)),
            reason: why_to_wire(extended.why).into(),
        }),
        denial: rare.denied.map(|denied| api::Denial {
            time: Some(timestamp(denied.at)),
            reason: denial_to_wire(denied.why).into(),
        }),
        overdue_reasons: rare
            .overdue
            .as_ref()
            .map_or_else(Vec::new, |overdue| overdue.reasons.clone()),
        overridden: rare.overridden.iter().map(overridden).collect(),
        conditions: Vec::new(),
        legs: Vec::new(),
        obligations: Vec::new(),
    }
}

fn overridden(overridden: &Overridden) -> api::OverriddenBlocker {
    api::OverriddenBlocker {
        code: overridden.code.clone(),
        participant: overridden.participant.clone(),
        count: overridden.count,
        until_time: overridden.until.map(timestamp),
        case: overridden.case.clone(),
        time: Some(timestamp(overridden.at)),
    }
}

/// The deletion with legs and conditions.
pub fn full(
    center: &Center,
    deletion: &Deletion,
    plan: &Plan,
    receipts: &[Kept],
    language: Language,
) -> api::Deletion {
    let progress = center.board().progress(deletion.id);
    let last = receipts.iter().map(|kept| kept.settled_at).max();
    let connected = |participant: &str| center.board().connected(participant);
    let now = center.clock.now();
    let conditions = condition::of(deletion, plan, now, last, connected);
    let policy = plan.policy();
    let under_way = !deletion.state.terminal();
    let left = policy.working_days_left(now, deletion.deadline);
    let due = deletion.due(plan);
    api::Deletion {
        working_days_left: under_way.then(|| saturated(left)),
        // Another than ours was counted by a program that knows more holidays, or less.
        deadline_provisional: under_way && (due.provisional || due.at != deletion.deadline),
        legs: legs(deletion, plan, receipts, &progress),
        obligations: obligations(deletion, plan, receipts),
        conditions: conditions
            .into_iter()
            .map(|condition| present_condition(condition, language))
            .collect(),
        ..brief(deletion)
    }
}

fn saturated(days: i64) -> i32 {
    let bound = i64::from(i32::MAX);
    i32::try_from(days.clamp(-bound, bound)).unwrap_or(0)
}

fn legs(
    deletion: &Deletion,
    plan: &Plan,
    receipts: &[Kept],
    progress: &[LegProgress],
) -> Vec<api::Leg> {
    let sealed = matches!(
        deletion.state,
        State::Revoked { sealed: true, .. } | State::Denied { sealed: true, .. }
    );
    let expiries = plan.expires() & (deletion.expiring | deletion.done);
    let shown = if sealed {
        plan.seals() | plan.unseals()
    } else {
        plan.seals() | plan.required() | expiries
    };
    let owed = deletion.owes(plan);
    plan.legs()
        .filter(|(index, _)| shown.has(*index))
        .map(|(index, leg)| {
            // A leg that was cleared is owed in this round: its older receipts speak of earlier commands.
            let kept = receipts
                .iter()
                .rfind(|kept| kept.receipt.leg == index)
                .filter(|_| deletion.done.has(index));
            let asked = || deletion.round_of(index, leg.verb);
            let round = kept.map_or_else(asked, |kept| kept.receipt.round);
            let command = CommandName {
                deletion: deletion.id,
                round,
                verb: leg.verb,
                participant: leg.participant.clone(),
            };
            let progress = progress.get(index.place());
            let state = leg_state(
                deletion.done.has(index),
                deletion.refused,
                owed,
                index,
                progress,
            );
            let base = api::Leg {
                command: command.to_string(),
                participant: leg.participant.to_string(),
                verb: word(leg.verb),
                stage: leg.stage.clone(),
                state: state.into(),
                progress: progress
                    .map(|progress| progress.note.clone())
                    .unwrap_or_default(),
                ..api::Leg::default()
            };
            match kept.and_then(|kept| Some((kept, kept.receipt.read().ok()?))) {
                Some((kept, evidence)) => with_evidence(base, kept.settled_at, evidence),
                None => base,
            }
        })
        .collect()
}

fn word(verb: Verb) -> String {
    verb.word().to_uppercase()
}

fn leg_state(
    done: bool,
    refused: Mask,
    owed: Mask,
    index: LegIndex,
    progress: Option<&LegProgress>,
) -> api::LegState {
    if done {
        return api::LegState::Done;
    }
    if refused.has(index) {
        return api::LegState::Refused;
    }
    if !owed.has(index) {
        return api::LegState::Planned;
    }
    match progress.map(|progress| progress.stage) {
        None | Some(Stage::Idle | Stage::Ready) => api::LegState::Owed,
        Some(Stage::Sent) => api::LegState::Sent,
        Some(Stage::Received) => api::LegState::Received,
        Some(Stage::InProgress | Stage::Settling | Stage::Unsettled) => api::LegState::InProgress,
        Some(Stage::Deferred) => api::LegState::Deferred,
    }
}

fn with_evidence(leg: api::Leg, settled_at: Time, evidence: Evidence) -> api::Leg {
    let retained = evidence.retained.into_iter().map(present_retention);
    let devices = evidence.devices.into_iter().map(|device| api::LegDevice {
        device: format!("devices/{}", device.device.as_str()),
        binding_epoch: device.binding_epoch,
        outcome: device
            .outcome
            .map_or("", |outcome| outcome.word())
            .to_owned(),
        lock: device.lock.map_or("", |lock| lock.word()).to_owned(),
    });
    api::Leg {
        outcome: evidence.outcome.word().to_owned(),
        counts: evidence.counts.into_iter().collect::<HashMap<_, _>>(),
        retained: retained.collect(),
        devices: devices.collect(),
        settle_time: Some(timestamp(settled_at)),
        progress: String::new(),
        ..leg
    }
}

fn present_retention(kept: Retention) -> api::Retention {
    api::Retention {
        class: kept.class,
        legal_basis: kept.legal_basis,
        count: kept.count,
        until_time: Some(timestamp(kept.until)),
    }
}

/// What its custodian was asked and has not answered, if this is of it.
fn asked(deletion: &Deletion, owed: &Obligation) -> Option<Asked> {
    let asked = deletion.asked_of(owed.leg)?;
    let open = deletion.outstanding().has(owed.leg) && owed.kept.ends_next() <= asked.by;
    open.then_some(asked)
}

fn obligation_state(deletion: &Deletion, owed: &Obligation) -> api::ObligationState {
    if deletion.held {
        api::ObligationState::Held
    } else if asked(deletion, owed).is_none() {
        api::ObligationState::Waiting
    } else if deletion.refused.has(owed.leg) {
        api::ObligationState::Refused
    } else {
        api::ObligationState::Asked
    }
}

/// What law still keeps. Nothing before the purge: it may yet change.
fn obligations(deletion: &Deletion, plan: &Plan, receipts: &[Kept]) -> Vec<api::Obligation> {
    let open = matches!(deletion.state, State::Purged { .. }) && deletion.closed_at.is_none();
    let owed = open.then(|| obligation::of(plan, receipts).ok()).flatten();
    let owed = owed.into_iter().flatten().map(|owed| {
        let leg = plan.leg(owed.leg);
        api::Obligation {
            participant: leg.map_or_else(String::new, |leg| leg.participant.to_string()),
            next_time: Some(timestamp(owed.kept.ends_next())),
            state: obligation_state(deletion, &owed).into(),
            ask_time: asked(deletion, &owed).map(|asked| timestamp(asked.by)),
            retention: Some(present_retention(owed.kept)),
        }
    });
    owed.collect()
}

/// Something in the way of a deletion under this policy.
pub fn blocker(blocker: Blocker, policy: &Policy, language: Language) -> api::Blocker {
    let said = sentences::of_blocker(&blocker, language);
    let class = match blocker.class {
        Class::Hard => api::BlockerClass::Hard,
        Class::Fixable => api::BlockerClass::Fixable,
        Class::Forfeitable => api::BlockerClass::Forfeitable,
        Class::Advisory => api::BlockerClass::Advisory,
    };
    let overrider = match policy.overridable_by(&blocker.code) {
        Overrider::Nobody => api::Overrider::Nobody,
        Overrider::Support => api::Overrider::Support,
        Overrider::SupportWithSecondPerson => api::Overrider::SupportWithSecondPerson,
        Overrider::Legal => api::Overrider::Legal,
    };
    api::Blocker {
        class: class.into(),
        overridable_by: overrider.into(),
        count: blocker.count,
        until_time: blocker.until.map(timestamp),
        forfeit_consent: blocker.forfeit_consent().unwrap_or_default(),
        message: said.message,
        remedy: said.remedy,
        code: blocker.code,
        participant: blocker.participant,
    }
}

fn present_condition(condition: Condition, language: Language) -> api::Condition {
    let said = sentences::of_condition(&condition, language);
    let kind = match condition.kind {
        Kind::Blocked => api::ConditionKind::Blocked,
        Kind::Held => api::ConditionKind::Held,
        Kind::Stalled => api::ConditionKind::Stalled,
        Kind::OverdueSoon => api::ConditionKind::OverdueSoon,
        Kind::Overdue => api::ConditionKind::Overdue,
        Kind::Conflict => api::ConditionKind::Conflict,
    };
    api::Condition {
        kind: kind.into(),
        reason: condition.reason,
        message: said.message,
        remedy: said.remedy,
        participant: condition.participant,
        since_time: Some(timestamp(condition.since)),
        until_time: condition
            .blocker
            .and_then(|blocker| blocker.until)
            .map(timestamp),
    }
}
