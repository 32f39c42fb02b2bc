//! What is shown beside the state: derived from what is durable and the time.

use crate::deletion::{Deletion, ROUNDS_UNATTENDED_MAX, State};
use crate::leg::LegIndex;
use crate::plan::Plan;
use crate::time::Time;

/// Kinds of condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Blocked,
    Held,
    Stalled,
    OverdueSoon,
    Overdue,
    Conflict,
}

/// A fact beside the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    pub kind: Kind,
    /// Stable machine word.
    pub reason: String,
    pub message: String,
    pub remedy: String,
    /// Who it is about; empty if nobody.
    pub participant: String,
    pub since: Time,
}

/// Every condition of `deletion`. `progress_at` is when a leg was last settled, `connected` says whether a participant
/// has a session.
pub fn of(
    deletion: &Deletion,
    plan: &Plan,
    now: Time,
    progress_at: Option<Time>,
    connected: impl Fn(&str) -> bool,
) -> Vec<Condition> {
    let mut conditions = Vec::new();
    let phase_start = deletion.phase_start(plan);
    for blocker in &deletion.blockers {
        conditions.push(Condition {
            kind: Kind::Blocked,
            reason: blocker.code.clone(),
            message: blocker.message.clone(),
            remedy: blocker.remedy.clone(),
            participant: blocker.participant.clone(),
            since: match deletion.state {
                State::CoolingOff { ends_at } => ends_at,
                _ => deletion.requested_at,
            },
        });
    }
    let say =
        |kind, reason: &str, message: &str, remedy: &str, participant: &str, since| Condition {
            kind,
            reason: reason.to_owned(),
            message: message.to_owned(),
            remedy: remedy.to_owned(),
            participant: participant.to_owned(),
            since,
        };
    if deletion.held && !deletion.state.terminal() {
        let since = deletion.requested_at;
        conditions.push(say(
            Kind::Held,
            "LEGAL_HOLD",
            "A legal hold stops the deletion.",
            "Release the hold.",
            "",
            since,
        ));
    }
    // Shown after the purge too: what the certificate says is then disputed.
    if deletion.conflicts > 0 {
        let message = "A participant answered the same command in two ways.";
        conditions.push(say(
            Kind::Conflict,
            "EVIDENCE_CONFLICT",
            message,
            "Compare its evidence and decide.",
            "",
            phase_start,
        ));
    }
    let since = phase_start.max(progress_at.unwrap_or(deletion.requested_at));
    let patient = now.since(since) < plan.policy().stalled_after;
    let who = |leg: LegIndex| plan.leg(leg).map_or("", |leg| leg.participant.as_str());
    for leg in deletion.refusals(plan).iter() {
        let again = deletion.round > ROUNDS_UNATTENDED_MAX && plan.erases().has(leg);
        let (reason, message, remedy) = if again {
            let message = "The participant was erased many times and still holds something.";
            let remedy = "Find out what writes it, then have the leg asked again.";
            ("RESIDUE_AGAIN", message, remedy)
        } else {
            let message = "The participant refuses its leg.";
            (
                "LEG_REFUSED",
                message,
                "Clear the cause, then have the leg asked again.",
            )
        };
        conditions.push(say(Kind::Stalled, reason, message, remedy, who(leg), since));
    }
    if !patient {
        for leg in deletion.owes(plan).iter() {
            let participant = who(leg);
            conditions.push(if connected(participant) {
                let message = "The participant has not acknowledged its leg.";
                say(
                    Kind::Stalled,
                    "LEG_OWED",
                    message,
                    "Look at the participant's own queue.",
                    participant,
                    since,
                )
            } else {
                let message = "The participant is not connected.";
                let remedy = "Start it, and check its certificate and the coordinator's address.";
                say(
                    Kind::Stalled,
                    "PARTICIPANT_NOT_CONNECTED",
                    message,
                    remedy,
                    participant,
                    since,
                )
            });
        }
    }
    if deletion.closed_at.is_none() && !deletion.state.terminal() {
        let soon = Time::from_micros(
            deletion.deadline.micros()
                - i64::try_from(plan.policy().deadline_warning.as_micros())
                    .unwrap_or(i64::MAX)
                    .min(deletion.deadline.micros()),
        );
        if now >= deletion.deadline {
            let message = "The deadline has passed.";
            conditions.push(say(
                Kind::Overdue,
                "DEADLINE_PASSED",
                message,
                "Tell the person why.",
                "",
                deletion.deadline,
            ));
        } else if now >= soon {
            let message = "The deadline is near.";
            conditions.push(say(
                Kind::OverdueSoon,
                "DEADLINE_NEAR",
                message,
                "Find out who owes what.",
                "",
                soon,
            ));
        }
    }
    conditions
}
