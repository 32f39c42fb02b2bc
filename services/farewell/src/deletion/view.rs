//! A deletion in words: for tables, for JSON, and as the news between two looks.

use std::collections::BTreeMap;

use farewell_proto::deletion::v1::{
    Channel, Condition, ConditionKind, Deletion, ExtensionReason, Factor, FactorProgress, Leg,
    LegState, State,
};
use prost_types::Timestamp;
use serde_json::{Value, json};

use super::kept;
use crate::output::Rows;

/// RFC 3339; empty if it hasn't come.
pub fn time(at: Option<&Timestamp>) -> String {
    at.map(ToString::to_string).unwrap_or_default()
}

/// `ERASING`.
pub fn state(deletion: &Deletion) -> &'static str {
    state_name(deletion.state())
}

/// `ERASING`.
pub fn state_name(state: State) -> &'static str {
    bare(state.as_str_name(), "STATE_")
}

/// Whether somebody must do something for a leg.
pub fn is_owed(state: LegState) -> bool {
    match state {
        LegState::Owed
        | LegState::Sent
        | LegState::Received
        | LegState::InProgress
        | LegState::Deferred
        | LegState::Refused => true,
        LegState::Unspecified | LegState::Planned | LegState::Done | LegState::Waived => false,
    }
}

/// `DEFERRED`.
pub fn leg_state(leg: &Leg) -> &'static str {
    bare(leg.state().as_str_name(), "LEG_STATE_")
}

pub fn bare(name: &'static str, prefix: &str) -> &'static str {
    name.strip_prefix(prefix).unwrap_or(name)
}

/// Whether the deletion has come to one of its ends.
pub fn has_ended(state: State) -> bool {
    match state {
        State::Purged | State::Revoked | State::Denied | State::Expired => true,
        State::Unspecified
        | State::AwaitingVerification
        | State::CoolingOff
        | State::Erasing
        | State::Verifying => false,
    }
}

/// Whether erasing has begun.
pub fn is_past_no_return(state: State) -> bool {
    match state {
        State::Erasing | State::Verifying | State::Purged => true,
        State::Unspecified
        | State::AwaitingVerification
        | State::CoolingOff
        | State::Revoked
        | State::Denied
        | State::Expired => false,
    }
}

/// How a leg stands, in one cell: its outcome with counts, or the last thing that was said.
pub fn answer(leg: &Leg) -> String {
    if leg.state() != LegState::Done {
        return match leg.progress.as_str() {
            "" => leg_state(leg).to_owned(),
            said => format!("{} {said}", leg_state(leg)),
        };
    }
    let mut text = outcome(leg);
    for kept in &leg.retained {
        text.push_str(&format!(
            " retains {} {} until {}",
            kept.count,
            kept.class,
            time(kept.until_time.as_ref())
        ));
    }
    text
}

/// What was done, with its counts: `ERASED notes=3 photos=12`.
pub fn outcome(leg: &Leg) -> String {
    let mut text = leg.outcome.clone();
    let counts: BTreeMap<_, _> = leg.counts.iter().collect();
    for (category, count) in counts {
        text.push_str(&format!(" {category}={count}"));
    }
    text
}

/// One row for each deletion.
pub fn heads<'a>(title: &'static str, deletions: impl Iterator<Item = &'a Deletion>) -> Rows {
    let mut rows = Rows::new(
        title,
        &[
            "deletion",
            "state",
            "created",
            "deadline",
            "conditions",
            "account",
        ],
    );
    for deletion in deletions {
        let conditions: Vec<String> = deletion.conditions.iter().map(condition).collect();
        rows.push([
            deletion.name.clone(),
            state(deletion).to_owned(),
            time(deletion.create_time.as_ref()),
            time(deletion.deadline.as_ref()),
            conditions.join(", "),
            deletion.account.clone(),
        ]);
    }
    rows
}

/// When it must be over, and what is left of that.
fn deadline(deletion: &Deletion) -> String {
    let mut text = time(deletion.deadline.as_ref());
    if let Some(left) = deletion.working_days_left {
        let days = if left.abs() == 1 { "day" } else { "days" };
        let when = if left < 0 { "ago" } else { "left" };
        text.push_str(&format!(", {} working {days} {when}", left.abs()));
    }
    if let Some(extension) = &deletion.deadline_extension {
        let why = extension_reason(extension.reason());
        let earlier = time(extension.earlier_deadline.as_ref());
        text.push_str(&format!(", extended from {earlier} ({why})"));
    }
    if deletion.deadline_provisional {
        text.push_str(", until its calendar knows all days to then");
    }
    text
}

/// Why it was denied; empty if it wasn't.
fn denied(deletion: &Deletion) -> &'static str {
    let denial = deletion.denial.as_ref();
    denial.map_or("", |denial| {
        bare(denial.reason().as_str_name(), "DENIAL_REASON_")
    })
}

fn extension_reason(reason: ExtensionReason) -> &'static str {
    bare(reason.as_str_name(), "EXTENSION_REASON_")
}

/// Everything about one deletion.
pub fn tables(deletion: &Deletion) -> Vec<Rows> {
    let mut facts = Rows::new("", &["", ""]);
    let mut fact = |what: &str, value: String| {
        if !value.is_empty() {
            facts.push([what.to_owned(), value]);
        }
    };
    fact("deletion", deletion.name.clone());
    fact("account", deletion.account.clone());
    fact("state", state(deletion).to_owned());
    // Who confirms by a link is told no more than that.
    if deletion.channel() != Channel::Unspecified {
        let channel = bare(deletion.channel().as_str_name(), "CHANNEL_");
        fact("channel", channel.to_owned());
    }
    for factor in &deletion.factors {
        let instead = |other: &&FactorProgress| factor.alternatives.contains(&other.factor);
        let word = if factor.verified {
            "verified"
        } else if deletion
            .factors
            .iter()
            .filter(instead)
            .any(|it| it.verified)
        {
            "not needed"
        } else {
            "outstanding"
        };
        let name = bare(factor.factor().as_str_name(), "FACTOR_");
        let or: Vec<&str> = factor
            .alternatives()
            .map(|it| bare(it.as_str_name(), "FACTOR_"))
            .collect();
        let or = match or.is_empty() {
            true => String::new(),
            false => format!(" (or {})", or.join(", ")),
        };
        fact("factor", format!("{name} {word}{or}"));
    }
    for consent in &deletion.consents {
        fact(
            "consent",
            format!("{} version {}", consent.text, consent.version),
        );
    }
    fact("created", time(deletion.create_time.as_ref()));
    fact(
        "cooling-off ends",
        time(deletion.cooling_off_end_time.as_ref()),
    );
    fact("point of no return", time(deletion.erase_time.as_ref()));
    fact("deadline", deadline(deletion));
    fact("asks for more since", time(deletion.raise_time.as_ref()));
    fact("denied because of", denied(deletion).to_owned());
    fact("late because of", deletion.overdue_reasons.join(", "));
    fact("purged", time(deletion.purge_time.as_ref()));
    fact("closed", time(deletion.close_time.as_ref()));
    fact("trace", deletion.traceparent.clone());

    let mut conditions = Rows::new("conditions", &["condition", "what", "what to do", "since"]);
    for found in &deletion.conditions {
        conditions.push([
            condition(found),
            found.message.clone(),
            found.remedy.clone(),
            time(found.since_time.as_ref()),
        ]);
    }

    let mut overridden = Rows::new(
        "overridden",
        &["code", "participant", "count", "case", "decided"],
    );
    for decided in &deletion.overridden {
        overridden.push([
            decided.code.clone(),
            decided.participant.clone(),
            decided.count.to_string(),
            decided.case.clone(),
            time(decided.time.as_ref()),
        ]);
    }

    let mut legs = Rows::new(
        "legs",
        &["stage", "participant", "verb", "answer", "settled"],
    );
    let mut devices = Rows::new(
        "devices",
        &["participant", "device", "epoch", "outcome", "lock"],
    );
    for leg in &deletion.legs {
        legs.push([
            leg.stage.clone(),
            leg.participant.clone(),
            leg.verb.clone(),
            answer(leg),
            time(leg.settle_time.as_ref()),
        ]);
        for device in leg
            .devices
            .iter()
            .filter(|device| !device.outcome.is_empty())
        {
            devices.push([
                leg.participant.clone(),
                device.device.clone(),
                device.binding_epoch.to_string(),
                device.outcome.clone(),
                device.lock.clone(),
            ]);
        }
    }
    vec![
        facts,
        conditions,
        overridden,
        legs,
        devices,
        kept::rows(deletion),
    ]
}

/// `STALLED PARTICIPANT_NOT_CONNECTED phones`.
pub fn condition(condition: &Condition) -> String {
    let kind = bare(
        ConditionKind::as_str_name(&condition.kind()),
        "CONDITION_KIND_",
    );
    [kind, &condition.reason, &condition.participant]
        .into_iter()
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

/// With the names of the wire, enums without their prefix.
pub fn json(deletion: &Deletion) -> Value {
    let factors: Vec<Value> = deletion
        .factors
        .iter()
        .map(|factor| {
            let name = bare(Factor::as_str_name(&factor.factor()), "FACTOR_");
            let instead: Vec<&str> = factor
                .alternatives()
                .map(|it| bare(it.as_str_name(), "FACTOR_"))
                .collect();
            json!({"factor": name, "verified": factor.verified, "alternatives": instead})
        })
        .collect();
    let conditions: Vec<Value> = deletion
        .conditions
        .iter()
        .map(|condition| {
            json!({
                "kind": bare(condition.kind().as_str_name(), "CONDITION_KIND_"),
                "reason": condition.reason,
                "message": condition.message,
                "remedy": condition.remedy,
                "participant": condition.participant,
                "since_time": time(condition.since_time.as_ref()),
                "until_time": time(condition.until_time.as_ref()),
            })
        })
        .collect();
    let consents: Vec<Value> = deletion
        .consents
        .iter()
        .map(|consent| {
            json!({
                "text": consent.text,
                "version": consent.version,
                "time": time(consent.time.as_ref()),
            })
        })
        .collect();
    json!({
        "name": deletion.name,
        "account": deletion.account,
        "state": state(deletion),
        "channel": bare(Channel::as_str_name(&deletion.channel()), "CHANNEL_"),
        "conditions": conditions,
        "factors": factors,
        "consents": consents,
        "legs": deletion.legs.iter().map(leg_json).collect::<Vec<_>>(),
        "obligations": deletion.obligations.iter().map(kept::json).collect::<Vec<_>>(),
        "policy_version": deletion.policy_version,
        "create_time": time(deletion.create_time.as_ref()),
        "cooling_off_end_time": time(deletion.cooling_off_end_time.as_ref()),
        "deadline": time(deletion.deadline.as_ref()),
        "working_days_left": deletion.working_days_left,
        "deadline_provisional": deletion.deadline_provisional,
        "deadline_extension": deletion.deadline_extension.as_ref().map(|extension| json!({
            "time": time(extension.time.as_ref()),
            "earlier_deadline": time(extension.earlier_deadline.as_ref()),
            "reason": extension_reason(extension.reason()),
        })),
        "denial": deletion.denial.as_ref().map(|denial| json!({
            "time": time(denial.time.as_ref()),
            "reason": denied(deletion),
        })),
        "overdue_reasons": deletion.overdue_reasons,
        "overridden": deletion.overridden.iter().map(|decided| json!({
            "code": decided.code,
            "participant": decided.participant,
            "count": decided.count,
            "until_time": time(decided.until_time.as_ref()),
            "case": decided.case,
            "time": time(decided.time.as_ref()),
        })).collect::<Vec<_>>(),
        "raise_time": time(deletion.raise_time.as_ref()),
        "erase_time": time(deletion.erase_time.as_ref()),
        "purge_time": time(deletion.purge_time.as_ref()),
        "close_time": time(deletion.close_time.as_ref()),
        "traceparent": deletion.traceparent,
    })
}

fn leg_json(leg: &Leg) -> Value {
    let retained: Vec<Value> = leg
        .retained
        .iter()
        .map(|kept| {
            json!({
                "class": kept.class,
                "legal_basis": kept.legal_basis,
                "count": kept.count,
                "until_time": time(kept.until_time.as_ref()),
            })
        })
        .collect();
    let devices: Vec<Value> = leg
        .devices
        .iter()
        .map(|device| {
            json!({
                "device": device.device,
                "binding_epoch": device.binding_epoch,
                "outcome": device.outcome,
                "lock": device.lock,
            })
        })
        .collect();
    json!({
        "command": leg.command,
        "participant": leg.participant,
        "verb": leg.verb,
        "stage": leg.stage,
        "state": leg_state(leg),
        "outcome": leg.outcome,
        "counts": leg.counts.iter().collect::<BTreeMap<_, _>>(),
        "retained": retained,
        "devices": devices,
        "progress": leg.progress,
        "settle_time": time(leg.settle_time.as_ref()),
    })
}

/// What was seen of deletions before, to say only what is new.
#[derive(Debug, Default)]
pub struct Seen {
    told: BTreeMap<String, String>,
}

impl Seen {
    /// The news: rows of what, and how it stands now.
    pub fn news(&mut self, deletion: &Deletion) -> Rows {
        let mut now = vec![(deletion.name.clone(), state(deletion).to_owned())];
        for found in &deletion.conditions {
            now.push((
                format!("{} {}", deletion.name, condition(found)),
                found.message.clone(),
            ));
        }
        for leg in &deletion.legs {
            if leg.state() != LegState::Planned {
                now.push((leg.command.clone(), answer(leg)));
            }
        }
        // News come again and again, and headings would stand between them.
        let mut rows = Rows::new("", &["", ""]);
        for (what, stands) in now {
            if self.told.get(&what) != Some(&stands) {
                rows.push([what.clone(), stands.clone()]);
                self.told.insert(what, stands);
            }
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn erasing() -> Deletion {
        let leg = Leg {
            command: "deletions/1/commands/1-erase-cloud".to_owned(),
            state: LegState::Done.into(),
            outcome: "ERASED".to_owned(),
            counts: [("photos".to_owned(), 2), ("notes".to_owned(), 1)].into(),
            ..Leg::default()
        };
        Deletion {
            name: "deletions/1".to_owned(),
            state: State::Erasing.into(),
            legs: vec![leg],
            ..Deletion::default()
        }
    }

    #[test]
    fn an_answer_is_the_outcome_with_its_counts_in_order() {
        assert_eq!(answer(&erasing().legs[0]), "ERASED notes=1 photos=2");
    }

    #[test]
    fn news_are_said_once() {
        let mut seen = Seen::default();
        let mut deletion = erasing();
        assert_eq!(seen.news(&deletion).rows.len(), 2);
        assert_eq!(seen.news(&deletion).rows.len(), 0);
        deletion.state = State::Verifying.into();
        assert_eq!(
            seen.news(&deletion).rows,
            [["deletions/1".to_owned(), "VERIFYING".to_owned()]]
        );
    }

    #[test]
    fn json_has_words_and_no_numbers_for_enums() {
        let value = json(&erasing());
        assert_eq!(value["state"], "ERASING");
        assert_eq!(value["legs"][0]["counts"]["photos"], 2);
    }
}
