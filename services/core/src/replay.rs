//! Doing again what was done: at a participant that was restored from a backup, and holds what had gone.
//!
//! A replay brings a participant to where it was, and no further: what was purged since the backup is erased once more, what had
//! ended since is ended, and what was kept is kept until its own day. The ends are those that the receipts say, so that no
//! period begins anew; what has ended since anybody was last asked, also under a legal hold, is left to its own command. Only a number
//! that was given back is free again at once: it was free for everybody who asked, whatever held up the erasure of its hash.
//!
//! What is under way, or was taken back, is brought to where it is as well: a seal that the backup doesn't know is asked for once more,
//! one that it brought back is lifted, and what its holder has erased and looked for already, so that nobody would look there again
//! before the purge, is erased as if it were purged.
//!
//! A purge is final and stays as it is: nothing here moves a deletion, adds to its receipts or changes its certificate. What
//! is done again is evidence of its own, under rounds that the deletion never has, so that a journal that was restored with
//! the data recalls no old answer, and none that is given now is taken for a later one.

mod past;

use std::cmp::Ordering;
use std::time::Duration;

use crate::deletion::{Deletion, State};
use crate::device::Device;
use crate::id::{AccountId, CommandName, DeletionId, ParticipantId};
use crate::leg::Verb;
use crate::plan::Plan;
use crate::receipt::{Evidence, Outcome, Receipt};
use crate::refusal::Reason;
use crate::report::{self, Answer};
use crate::time::Time;

pub use past::{Ended, Past, Rule};

/// Rounds from here on are replays' alone.
pub const ROUNDS_FROM: u16 = 1 << 15;

/// What was done again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replayed {
    pub deletion: DeletionId,
    pub participant: ParticipantId,
    /// From [`ROUNDS_FROM`] on; of what was kept before that was said, greater than any that the deletion had then.
    pub round: u16,
    /// [`Verb::Erase`], [`Verb::Expire`] or [`Verb::Probe`].
    pub verb: Verb,
    /// Canonical evidence as JSON.
    pub evidence: String,
    pub fingerprint: [u8; 16],
}

/// As the ledger keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    pub replayed: Replayed,
    pub recorded_at: Time,
}

impl Kept {
    /// By participant, round and verb.
    pub fn order(&self, other: &Self) -> Ordering {
        let key = |kept: &Self| {
            let replayed = &kept.replayed;
            (
                replayed.participant.clone(),
                replayed.round,
                replayed.verb.word(),
            )
        };
        key(self).cmp(&key(other))
    }
}

impl Replayed {
    /// Whether it stands under the same key.
    pub fn is_repeat(&self, other: &Self) -> bool {
        (self.deletion, &self.participant, self.round, self.verb)
            == (other.deletion, &other.participant, other.round, other.verb)
    }
}

/// What a participant's answer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// It is at it.
    Waits,
    /// It goes on by itself, and has to be asked again.
    Deferred(Duration, String),
    /// A person must look.
    Refused(String),
    /// Done: to be kept.
    Done(Replayed, Evidence),
}

/// Whether a deletion may have to be replayed at a participant: it was purged since then, or something of it may have ended; or it
/// is under way there, or the seal was lifted since then. [`Past::verbs`] knows more, by the receipts.
pub fn concerns(
    deletion: &Deletion,
    plan: &Plan,
    participant: &ParticipantId,
    since: Time,
) -> bool {
    let is_done = |verb| {
        let leg = plan.find(participant, verb);
        leg.is_some_and(|leg| deletion.done.has(leg))
    };
    match deletion.state {
        State::Purged { at, .. } => {
            let has_ended = plan.find(participant, Verb::Expire).is_some_and(|leg| {
                deletion.done.has(leg) || deletion.expiring.has(leg) || deletion.is_freed(leg)
            });
            plan.find(participant, Verb::Erase).is_some() && (at >= since || has_ended)
        }
        State::CoolingOff { .. } => is_done(Verb::Seal),
        State::Erasing(_) | State::Verifying(_) => is_done(Verb::Seal) || is_done(Verb::Erase),
        State::Revoked { sealed, .. } | State::Denied { sealed, .. } => {
            sealed && is_done(Verb::Unseal) && deletion.closed_at.is_none_or(|at| at >= since)
        }
        State::AwaitingVerification { .. } | State::Expired { .. } => false,
    }
}

/// The command that has it done once more. `kept` is what was replayed of this deletion before: what was begun and has no
/// evidence yet is asked under the same name. A seal and its end happen once, whoever has forgotten them: they keep their own names, so
/// that who has not is not asked for anything new.
pub fn next(
    deletion: &Deletion,
    participant: &ParticipantId,
    verb: Verb,
    kept: &[Kept],
) -> CommandName {
    if matches!(verb, Verb::Seal | Verb::Unseal) {
        return CommandName {
            deletion: deletion.id,
            round: 1,
            verb,
            participant: participant.clone(),
        };
    }
    let own = kept
        .iter()
        .map(|kept| &kept.replayed)
        .filter(|replayed| replayed.participant == *participant && replayed.verb == verb);
    let last = own.map(|replayed| replayed.round).max();
    CommandName {
        deletion: deletion.id,
        round: last.unwrap_or(0).max(ROUNDS_FROM).saturating_add(1),
        verb,
        participant: participant.clone(),
    }
}

/// Judges an answer to such a command, as strictly as any report: what is kept longer than the law of the first time allows, or
/// had ended, is no evidence. `ended_by` is what the command said.
///
/// Errors: a reason to refuse it; then nothing is kept.
pub fn judge(
    name: &CommandName,
    account: &AccountId,
    answer: &Answer,
    (deletion, plan): (&Deletion, &Plan),
    roster: &[Device],
    (ended_by, now): (Option<Time>, Time),
) -> Result<Said, Reason> {
    if name.deletion != deletion.id {
        return Err(Reason::UnknownCommand);
    }
    if *account != deletion.account {
        return Err(Reason::AccountMismatch);
    }
    let leg = plan
        .find(&name.participant, name.verb)
        .ok_or(Reason::UnknownCommand)?;
    Ok(match answer {
        Answer::Received | Answer::InProgress { .. } => Said::Waits,
        Answer::Deferred {
            retry_after,
            reason,
            ..
        } => Said::Deferred(*retry_after, reason.clone()),
        Answer::Refused { reason } => Said::Refused(reason.clone()),
        Answer::Done(evidence) => {
            report::check(name.verb, evidence, roster)?;
            report::check_retention((name, ended_by), evidence, deletion, plan, now)?;
            let receipt = Receipt::new(leg, name.round, evidence.clone());
            let replayed = Replayed {
                deletion: deletion.id,
                participant: name.participant.clone(),
                round: name.round,
                verb: name.verb,
                evidence: receipt.evidence,
                fingerprint: receipt.fingerprint,
            };
            Said::Done(replayed, evidence.clone())
        }
    })
}

/// Whether nothing is held any more, by the answer to a probe.
pub fn is_clean(evidence: &Evidence) -> bool {
    matches!(evidence.outcome, Outcome::Clean | Outcome::NotFound)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deletion::Event;
    use crate::fixture::*;

    fn kept(replayed: Replayed) -> Kept {
        Kept {
            replayed,
            recorded_at: over(),
        }
    }

    fn erased(name: &CommandName, deletion: &Deletion, plan: &Plan) -> Replayed {
        let answer = Answer::Done(counted(Outcome::Erased, 3));
        let whose = (deletion, plan);
        let said = judge(name, &deletion.account, &answer, whose, &[], (None, over()));
        match said.unwrap() {
            Said::Done(replayed, _) => replayed,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_what_was_purged_since_then_concerns_whoever_had_to_erase_it() {
        let plan = cn();
        let deletion = purged(&plan);
        let State::Purged { at, .. } = deletion.state else {
            panic!("not purged");
        };
        let hour = Duration::from_secs(3_600);
        assert!(concerns(&deletion, &plan, &who("store"), at));
        assert!(concerns(&deletion, &plan, &who("store"), start()));
        assert!(!concerns(&deletion, &plan, &who("store"), at + hour));
        assert!(!concerns(&deletion, &plan, &who("notes"), at));
        let unsealed = verified(&plan)
            .step(&Event::Revoke, &plan, start())
            .unwrap();
        for other in [verified(&plan), cooling(&plan), unsealed] {
            assert!(!concerns(&other, &plan, &who("store"), Time::default()));
        }
    }

    #[test]
    fn each_time_has_a_name_that_no_journal_knows_and_what_has_no_evidence_keeps_its_own() {
        let plan = cn();
        let deletion = purged(&plan);
        let first = next(&deletion, &who("store"), Verb::Erase, &[]);
        assert!(first.round > ROUNDS_FROM && deletion.round < ROUNDS_FROM);
        assert_eq!(next(&deletion, &who("store"), Verb::Erase, &[]), first);
        let before = [kept(erased(&first, &deletion, &plan))];
        let second = next(&deletion, &who("store"), Verb::Erase, &before);
        assert_eq!(second.round, first.round + 1);
        let probe = next(&deletion, &who("store"), Verb::Probe, &before);
        assert_eq!(probe.round, first.round, "a probe that was never answered");
        let cloud = next(&deletion, &who("cloud"), Verb::Erase, &before);
        assert_eq!(cloud.round, first.round, "another's rounds are its own");
        let seal = next(&deletion, &who("store"), Verb::Seal, &before);
        assert_eq!(seal.round, 1, "it has a name already");
    }

    #[test]
    fn what_is_no_evidence_is_not_kept() {
        let plan = cn();
        let deletion = purged(&plan);
        let name = next(&deletion, &who("store"), Verb::Erase, &[]);
        let (whose, when) = ((&deletion, &plan), (None, over()));
        let said = |answer: &Answer| judge(&name, &deletion.account, answer, whose, &[], when);
        let empty = Answer::Done(Evidence::of(Outcome::Erased));
        assert_eq!(said(&empty), Err(Reason::OutcomeEmpty));
        let other = Answer::Done(Evidence::of(Outcome::Clean));
        assert_eq!(said(&other), Err(Reason::OutcomeNotAllowed));
        assert_eq!(said(&Answer::Received), Ok(Said::Waits));
        let done = Answer::Done(counted(Outcome::Erased, 3));
        let foreign = judge(&name, &account("mallory"), &done, whose, &[], when);
        assert_eq!(foreign, Err(Reason::AccountMismatch));
        let notes = CommandName {
            participant: who("notes"),
            ..name.clone()
        };
        let nobody = judge(&notes, &deletion.account, &done, whose, &[], when);
        assert_eq!(nobody, Err(Reason::UnknownCommand));
    }
}
