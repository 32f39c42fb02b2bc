//! Doing again what was done: at a participant that was restored from a backup, and holds what had gone.
//!
//! A replay brings a participant to where it was, and no further: what was purged since the backup is erased once more, what had
//! ended since is ended, and what was kept is kept until its own day. The ends are those that the receipts say, so that no
//! period begins anew; what has ended since anybody was last asked, also under a legal hold, is left to its own command. Only a number
//! that was given back is free again at once: it was free for everybody who asked, whatever held up the erasure of its hash.
//!
//! A purge is final and stays as it is: nothing here moves a deletion, adds to its receipts or changes its certificate. What
//! is done again is evidence of its own, under rounds that the deletion never has, so that a journal that was restored with
//! the data recalls no old answer, and none that is given now is taken for a later one.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::time::Duration;

use crate::deletion::{Deletion, State};
use crate::device::{Device, DeviceOutcome, LockOutcome};
use crate::id::{AccountId, CommandName, DeletionId, DeviceId, ParticipantId};
use crate::leg::Verb;
use crate::obligation;
use crate::plan::Plan;
use crate::policy::retention::{Class, StartingPoint};
use crate::receipt::{self, Evidence, Outcome, Receipt};
use crate::refusal::{Reason, Refusal};
use crate::report::{self, Answer};
use crate::time::Time;

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

/// Whether a deletion may have to be replayed at a participant: it was purged since then, or something of it may have ended.
/// [`verbs`] knows more, by the receipts.
pub fn concerns(
    deletion: &Deletion,
    plan: &Plan,
    participant: &ParticipantId,
    since: Time,
) -> bool {
    let State::Purged { at, .. } = deletion.state else {
        return false;
    };
    let has_ended = plan.find(participant, Verb::Expire).is_some_and(|leg| {
        deletion.done.has(leg) || deletion.expiring.has(leg) || deletion.is_freed(leg)
    });
    plan.find(participant, Verb::Erase).is_some() && (at >= since || has_ended)
}

/// What is to be done again at a participant whose backup is of `since`, in this order: of what was purged later everything, of
/// what was purged before that what has ended since.
pub fn verbs(
    deletion: &Deletion,
    plan: &Plan,
    participant: &ParticipantId,
    since: Time,
    receipts: &[receipt::Kept],
) -> Vec<Verb> {
    if !concerns(deletion, plan, participant, since) {
        return Vec::new();
    }
    let purged = matches!(deletion.state, State::Purged { at, .. } if at >= since);
    let expiry = plan.find(participant, Verb::Expire);
    let ended = |kept: &receipt::Kept| {
        Some(kept.receipt.leg) == expiry && (purged || kept.settled_at >= since)
    };
    let probed = plan.find(participant, Verb::Probe).is_some();
    [
        (Verb::Erase, purged),
        (
            Verb::Expire,
            receipts.iter().any(ended) || expiry.is_some_and(|leg| deletion.is_freed(leg)),
        ),
        (Verb::Probe, purged && probed),
    ]
    .into_iter()
    .filter_map(|(verb, wanted)| wanted.then_some(verb))
    .collect()
}

/// What the first time made of devices, as far as the second must know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// Bindings of devices that others have taken over: of them alone it is wanted again. One that nobody took is wiped or let
    /// go of the second time as the first, whoever could take it now.
    pub taken_over: BTreeSet<(DeviceId, u64)>,
    /// Bindings of devices that were reported lost, whose locks were kept.
    pub lost: BTreeSet<(DeviceId, u64)>,
}

/// How a participant's devices ended. What can't be read says nothing of them.
pub fn ended(plan: &Plan, participant: &ParticipantId, receipts: &[receipt::Kept]) -> Ended {
    let erasure = plan.find(participant, Verb::Erase);
    let own = receipts
        .iter()
        .filter(|kept| Some(kept.receipt.leg) == erasure);
    let mut ended = Ended::default();
    for evidence in own.filter_map(|kept| kept.receipt.read().ok()) {
        for device in evidence.devices {
            let binding = (device.device, device.binding_epoch);
            if device.lock == Some(LockOutcome::Kept) {
                ended.lost.insert(binding.clone());
            }
            if device.outcome == Some(DeviceOutcome::Transferred) {
                ended.taken_over.insert(binding);
            }
        }
    }
    ended
}

/// By when something has ended, as the participant was last told and said that it did: what ends later is still kept.
pub fn ended_by(
    deletion: &Deletion,
    plan: &Plan,
    participant: &ParticipantId,
    receipts: &[receipt::Kept],
) -> Option<Time> {
    let settled = |verb: Verb| {
        let leg = plan.find(participant, verb)?;
        let own = receipts.iter().filter(|kept| kept.receipt.leg == leg);
        own.map(|kept| kept.settled_at).max().map(|at| (leg, at))
    };
    let Some((expiry, answered_at)) = settled(Verb::Expire) else {
        return settled(Verb::Erase).map(|(_, at)| at);
    };
    // What is asked for now isn't done, and somebody may hold it before it is.
    let asked = deletion
        .asked_of(expiry)
        .filter(|_| !deletion.outstanding().has(expiry));
    Some(asked.map_or(answered_at, |asked| asked.by))
}

/// A class that is kept once more, from a backup as from the original, or that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule<'a> {
    pub name: &'a str,
    pub class: &'a Class,
    /// When it ends, where nothing in the backup says it: as it ended the first time.
    pub until: Option<Time>,
}

/// What a participant keeps once more. What is counted from the erasure keeps the end that it has, if it is still kept; anything
/// else has its own moment, in the backup as in the original.
///
/// Errors: as [`obligation::of`].
pub fn rules<'a>(
    plan: &'a Plan,
    participant: &'a ParticipantId,
    receipts: &[receipt::Kept],
) -> Result<Vec<Rule<'a>>, Refusal> {
    let owed = obligation::of(plan, receipts)?;
    let expiry = plan.find(participant, Verb::Expire);
    let kept = |name: &str| {
        owed.iter()
            .find(|owed| Some(owed.leg) == expiry && owed.kept.class == name)
    };
    let rule = |(name, class): (&'a str, &'a Class)| {
        let until = match class.from {
            StartingPoint::Erasure => Some(kept(name)?.kept.until),
            StartingPoint::Completion | StartingPoint::Entry | StartingPoint::YearEnd => None,
        };
        Some(Rule { name, class, until })
    };
    Ok(plan.retention().of(participant).filter_map(rule).collect())
}

/// What a participant kept and keeps no longer by its last word, each class with its end, which was by `ended_by`: also what ended
/// before its day, as a number does that is given back, and of which a backup still says the day. Of what is counted from the erasure
/// only: anything else has its own moment, in the backup as in the original. A number whose hash is still to be erased ends `now`.
///
/// Errors: as [`obligation::of`].
pub fn expired<'a>(
    (deletion, plan): (&Deletion, &'a Plan),
    participant: &'a ParticipantId,
    receipts: &[receipt::Kept],
    (ended_by, now): (Time, Time),
) -> Result<Vec<Rule<'a>>, Refusal> {
    let kept = owed(plan, participant, receipts)?;
    let expiry = plan.find(participant, Verb::Expire);
    let has_ended = |class: &Class| {
        let said = receipts.iter().any(|kept| Some(kept.receipt.leg) == expiry);
        said && class.from == StartingPoint::Erasure
    };
    let classes = plan.retention().of(participant);
    let expired = classes.filter(|(name, class)| has_ended(class) && !kept.contains(*name));
    let rule = |(name, class), until| Rule {
        name,
        class,
        until: Some(until),
    };
    let freed = expiry.is_some_and(|leg| deletion.is_freed(leg));
    let given_back = obligation::given_back(plan, participant);
    let given_back = given_back.filter(|(name, _)| freed && kept.contains(*name));
    Ok(expired
        .map(|class| rule(class, ended_by))
        .chain(given_back.map(|class| rule(class, now)))
        .collect())
}

/// A class that a replay keeps and the erasure did not, or, of an expiry, one that had ended: nobody would ever have it end. It comes
/// from a backup in which the account still had what was another's by the time of the purge, or from a custodian that goes by what
/// its backup says.
///
/// Errors: a receipt that can't be read.
pub fn stray(
    plan: &Plan,
    participant: &ParticipantId,
    receipts: &[receipt::Kept],
    (verb, replayed): (Verb, &Evidence),
) -> Result<Option<String>, Refusal> {
    let kept = match verb {
        Verb::Expire => owed(plan, participant, receipts)?,
        Verb::Seal | Verb::Unseal | Verb::Erase | Verb::Probe => {
            ever_kept(plan, participant, receipts)?
        }
    };
    let mut classes = replayed.retained.iter().map(|kept| &kept.class);
    Ok(classes.find(|class| !kept.contains(*class)).cloned())
}

/// What it keeps by its last word.
fn owed(
    plan: &Plan,
    participant: &ParticipantId,
    receipts: &[receipt::Kept],
) -> Result<BTreeSet<String>, Refusal> {
    let expiry = plan.find(participant, Verb::Expire);
    let owed = obligation::of(plan, receipts)?.into_iter();
    let own = owed.filter(|owed| Some(owed.leg) == expiry);
    Ok(own.map(|owed| owed.kept.class).collect())
}

fn ever_kept(
    plan: &Plan,
    participant: &ParticipantId,
    receipts: &[receipt::Kept],
) -> Result<BTreeSet<String>, Refusal> {
    let mut kept = BTreeSet::new();
    for kept_once in receipts {
        let receipt = &kept_once.receipt;
        if plan
            .leg(receipt.leg)
            .is_some_and(|leg| leg.participant == *participant)
        {
            let evidence = receipt.read().map_err(|_| Reason::EvidenceConflict)?;
            kept.extend(evidence.retained.into_iter().map(|kept| kept.class));
        }
    }
    Ok(kept)
}

/// The command that has it done once more. `kept` is what was replayed of this deletion before: what was begun and has no
/// evidence yet is asked under the same name.
pub fn next(
    deletion: &Deletion,
    participant: &ParticipantId,
    verb: Verb,
    kept: &[Kept],
) -> CommandName {
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
        for other in [cooling(&plan), erasing(&plan), verifying(&plan)] {
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
    }

    #[test]
    fn who_has_a_device_by_now_and_whose_lock_was_kept_is_what_the_receipts_say() {
        let plan = cn();
        let device = |name: &str, outcome, lock| Device {
            device: name.parse().unwrap(),
            binding_epoch: 3,
            facts: None,
            outcome: Some(outcome),
            lock,
        };
        let mut evidence = counted(Outcome::Erased, 3);
        evidence.devices = vec![
            device(
                "watch-1",
                DeviceOutcome::Transferred,
                Some(LockOutcome::PassedOn),
            ),
            device("watch-2", DeviceOutcome::Detached, Some(LockOutcome::Kept)),
            device(
                "watch-3",
                DeviceOutcome::Confirmed,
                Some(LockOutcome::Released),
            ),
        ];
        let receipts = [receipt::Kept {
            receipt: Receipt::new(leg(&plan, Verb::Erase, "wearables"), 1, evidence),
            settled_at: over(),
        }];
        let own = ended(&plan, &who("wearables"), &receipts);
        let only = |name: &str| BTreeSet::from([(name.parse().unwrap(), 3)]);
        assert_eq!(
            (own.taken_over, own.lost),
            (only("watch-1"), only("watch-2"))
        );
        let others = ended(&plan, &who("phones"), &receipts);
        assert_eq!(others, Ended::default());
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
