//! What is shown beside the state: derived from what is durable and the time.

use crate::blocker::Blocker;
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

/// The words of the conditions that are not a blocker's code.
pub const REASONS: [&str; 9] = [
    "LEGAL_HOLD",
    "RETENTION_HELD",
    "EVIDENCE_CONFLICT",
    "RESIDUE_AGAIN",
    "LEG_REFUSED",
    "LEG_OWED",
    "PARTICIPANT_NOT_CONNECTED",
    "DEADLINE_PASSED",
    "DEADLINE_NEAR",
];

/// A fact beside the state. Its sentences are absent: they depend on who reads them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    pub kind: Kind,
    /// Stable machine word: one of [`REASONS`], or a blocker's code.
    pub reason: String,
    /// Who it is about; empty if nobody.
    pub participant: String,
    pub since: Time,
    /// For [`Kind::Blocked`]: what is in the way.
    pub blocker: Option<Blocker>,
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
            participant: blocker.participant.clone(),
            since: match deletion.state {
                State::CoolingOff { ends_at } => ends_at,
                _ => deletion.requested_at,
            },
            blocker: Some(blocker.clone()),
        });
    }
    let mut say = |kind, reason: &str, participant: &str, since| {
        conditions.push(Condition {
            kind,
            reason: reason.to_owned(),
            participant: participant.to_owned(),
            since,
            blocker: None,
        });
    };
    if deletion.held && (!deletion.state.terminal() || deletion.keeps()) {
        let hold = deletion.rare.holds.last();
        let since = hold.map_or(deletion.requested_at, |hold| hold.placed);
        let reason = if deletion.keeps() {
            "RETENTION_HELD"
        } else {
            "LEGAL_HOLD"
        };
        say(Kind::Held, reason, "", since);
    }
    // Shown after the purge too: what the certificate says is then disputed.
    if deletion.conflicts > 0 {
        say(Kind::Conflict, "EVIDENCE_CONFLICT", "", phase_start);
    }
    let owed_since = deletion.owed_since(plan);
    // After the purge each is asked for itself: what others answer is no progress of its own.
    let progress_at = progress_at.filter(|_| !deletion.keeps());
    let since = owed_since.max(progress_at.unwrap_or(deletion.requested_at));
    let patient = now.since(since) < plan.policy().stalled_after;
    let who = |leg: LegIndex| plan.leg(leg).map_or("", |leg| leg.participant.as_str());
    for leg in deletion.refusals(plan).iter() {
        let again = deletion.round > ROUNDS_UNATTENDED_MAX && plan.erases().has(leg);
        let reason = if again {
            "RESIDUE_AGAIN"
        } else {
            "LEG_REFUSED"
        };
        say(Kind::Stalled, reason, who(leg), since);
    }
    if !patient {
        for leg in deletion.owes(plan).iter() {
            let participant = who(leg);
            let reason = if connected(participant) {
                "LEG_OWED"
            } else {
                "PARTICIPANT_NOT_CONNECTED"
            };
            say(Kind::Stalled, reason, participant, since);
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
            say(Kind::Overdue, "DEADLINE_PASSED", "", deletion.deadline);
        } else if now >= soon {
            say(Kind::OverdueSoon, "DEADLINE_NEAR", "", soon);
        }
    }
    conditions
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Event;
    use crate::fixture::*;
    use crate::leg::Verb;

    fn words(deletion: &Deletion, now: Time, connected: bool) -> Vec<String> {
        let conditions = of(deletion, &cn(), now, None, |_| connected);
        for condition in &conditions {
            let listed = REASONS.contains(&condition.reason.as_str());
            assert!(listed || condition.blocker.is_some(), "{condition:?}");
        }
        conditions.into_iter().map(|c| c.reason).collect()
    }

    #[test]
    fn a_healthy_deletion_has_no_condition() {
        for deletion in [opened(&cn()), cooling(&cn()), erasing(&cn()), purged(&cn())] {
            assert_eq!(words(&deletion, start(), true), Vec::<String>::new());
        }
    }

    #[test]
    fn somebody_who_owes_for_long_is_named_with_what_to_do() {
        let late = over() + cn().policy().stalled_after;
        assert_eq!(words(&erasing(&cn()), late, true), ["LEG_OWED"]);
        assert_eq!(
            words(&erasing(&cn()), late, false),
            ["PARTICIPANT_NOT_CONNECTED"]
        );
        let conditions = of(&erasing(&cn()), &cn(), late, Some(late), |_| true);
        assert!(conditions.is_empty(), "progress starts the patience again");
    }

    #[test]
    fn patience_with_seals_starts_with_the_cooling_off_period() {
        let plan = cn();
        let later = start() + 2 * DAY;
        let cooling = verified(&plan)
            .step(&Event::Eligible, &plan, later)
            .unwrap();
        assert_eq!(words(&cooling, later, true), Vec::<String>::new());
    }

    #[test]
    fn a_refusal_shows_at_once_and_only_while_its_leg_is_wanted() {
        let plan = cn();
        let seal = leg(&plan, Verb::Seal, "store");
        let refused = cooling(&plan)
            .step(&Event::LegRefused(seal), &plan, start())
            .unwrap();
        assert_eq!(words(&refused, start(), true), ["LEG_REFUSED"]);
        let revoked = refused.step(&Event::Revoke, &plan, start()).unwrap();
        assert_eq!(words(&revoked, start(), true), Vec::<String>::new());
    }

    #[test]
    fn blockers_holds_and_contradictions_show_since_a_moment_that_stands_still() {
        let plan = cn();
        let events = [
            Event::Blocked(vec![blocker()]),
            Event::Hold,
            Event::Contradicted,
        ];
        for (event, word) in
            events
                .into_iter()
                .zip(["OPEN_ORDER", "LEGAL_HOLD", "EVIDENCE_CONFLICT"])
        {
            let deletion = sealed(&plan).step(&event, &plan, over()).unwrap();
            let see = |now| of(&deletion, &plan, now, None, |_| true).swap_remove(0);
            assert_eq!(see(over()).reason, word);
            assert_eq!(see(over()).since, see(over() + DAY).since);
            assert_eq!(see(over()).blocker, (word == "OPEN_ORDER").then(blocker));
        }
    }

    #[test]
    fn a_contradiction_after_the_purge_still_shows() {
        let plan = cn();
        let disputed = purged(&plan)
            .step(&Event::Contradicted, &plan, over())
            .unwrap();
        assert_eq!(words(&disputed, over(), true), ["EVIDENCE_CONFLICT"]);
    }

    #[test]
    fn the_deadline_warns_before_it_passes() {
        let deletion = opened(&cn());
        let warning = i64::try_from((3 * DAY).as_micros()).unwrap();
        let soon = Time::from_micros(deletion.deadline.micros() - warning);
        assert!(words(&deletion, Time::from_micros(soon.micros() - 1), true).is_empty());
        assert_eq!(words(&deletion, soon, true), ["DEADLINE_NEAR"]);
        assert_eq!(
            words(&deletion, deletion.deadline, true),
            ["DEADLINE_PASSED"]
        );
    }
}
