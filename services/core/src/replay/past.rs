//! What the first time left on record of one participant: a replay brings it there, and no further.

use std::collections::BTreeSet;

use crate::deletion::{Deletion, State};
use crate::device::{DeviceOutcome, LockOutcome};
use crate::id::{DeviceId, ParticipantId};
use crate::leg::{LegIndex, Verb};
use crate::obligation;
use crate::plan::Plan;
use crate::policy::retention::{Class, StartingPoint};
use crate::receipt::{self, Evidence};
use crate::refusal::{Reason, Refusal};
use crate::time::Time;

/// A deletion that may have to be done again at a participant, and what of it is on record.
#[derive(Clone, Copy, Debug)]
pub struct Past<'a> {
    pub deletion: &'a Deletion,
    pub plan: &'a Plan,
    pub participant: &'a ParticipantId,
    /// All of the deletion's.
    pub receipts: &'a [receipt::Kept],
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

/// A class that is kept once more, from a backup as from the original, or that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule<'a> {
    pub name: &'a str,
    pub class: &'a Class,
    /// When it ends, where nothing in the backup says it: as it ended the first time.
    pub until: Option<Time>,
}

impl<'a> Past<'a> {
    /// What is to be done again at a participant whose backup is of `since`, in this order: of what was purged later everything, of
    /// what was purged before that what has ended since; of what isn't purged, what the participant has done since and won't be asked
    /// for.
    pub fn verbs(&self, since: Time) -> Vec<Verb> {
        let Self { deletion, plan, .. } = *self;
        if !super::concerns(deletion, plan, self.participant, since) {
            return Vec::new();
        }
        match deletion.state {
            State::Purged { at, .. } => self.verbs_of_the_purged(at, since),
            _ => self.verbs_of_the_living(since),
        }
    }

    /// Of a deletion that was purged `at`.
    fn verbs_of_the_purged(&self, at: Time, since: Time) -> Vec<Verb> {
        let purged = at >= since;
        let expiry = self.leg(Verb::Expire);
        let ended = |kept: &receipt::Kept| {
            Some(kept.receipt.leg) == expiry && (purged || kept.settled_at >= since)
        };
        let freed = expiry.is_some_and(|leg| self.deletion.is_freed(leg));
        let expires = freed || self.receipts.iter().any(ended);
        let probes = purged && self.leg(Verb::Probe).is_some();
        [
            (Verb::Erase, purged),
            (Verb::Expire, expires),
            (Verb::Probe, probes),
        ]
        .into_iter()
        .filter_map(|(verb, wanted)| wanted.then_some(verb))
        .collect()
    }

    /// Of a deletion that isn't purged: what was settled since, and is never asked for again. Whoever is still to be asked what it
    /// holds looks for itself, and finds what the backup brought.
    fn verbs_of_the_living(&self, since: Time) -> Vec<Verb> {
        let settled = |verb| {
            let leg = self.leg(verb);
            let later =
                |kept: &receipt::Kept| Some(kept.receipt.leg) == leg && kept.settled_at >= since;
            leg.is_some_and(|leg| self.deletion.done.has(leg)) && self.receipts.iter().any(later)
        };
        match self.deletion.state {
            State::CoolingOff { .. } if settled(Verb::Seal) => vec![Verb::Seal],
            State::Erasing(_) | State::Verifying(_) => {
                let probe = self.leg(Verb::Probe);
                let has_looked = probe.is_some_and(|leg| self.deletion.done.has(leg));
                match (settled(Verb::Erase), probe) {
                    (true, Some(_)) if has_looked => vec![Verb::Erase, Verb::Probe],
                    (true, None) => vec![Verb::Erase],
                    _ if settled(Verb::Seal) => vec![Verb::Seal],
                    _ => Vec::new(),
                }
            }
            State::Revoked { .. } | State::Denied { .. } if settled(Verb::Unseal) => {
                vec![Verb::Unseal]
            }
            _ => Vec::new(),
        }
    }

    /// How a participant's devices ended. What can't be read says nothing of them.
    pub fn ended(&self) -> Ended {
        let erasure = self.leg(Verb::Erase);
        let own = self
            .receipts
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
    pub fn ended_by(&self) -> Option<Time> {
        let settled = |verb: Verb| {
            let leg = self.leg(verb)?;
            let own = self.receipts.iter().filter(|kept| kept.receipt.leg == leg);
            own.map(|kept| kept.settled_at).max().map(|at| (leg, at))
        };
        let Some((expiry, answered_at)) = settled(Verb::Expire) else {
            return settled(Verb::Erase).map(|(_, at)| at);
        };
        // What is asked for now isn't done, and somebody may hold it before it is.
        let asked = self
            .deletion
            .asked_of(expiry)
            .filter(|_| !self.deletion.outstanding().has(expiry));
        Some(asked.map_or(answered_at, |asked| asked.by))
    }

    /// What a participant keeps once more. What is counted from the erasure keeps the end that it has, if it is still kept; anything
    /// else has its own moment, in the backup as in the original.
    ///
    /// Errors: as [`obligation::of`].
    pub fn rules(&self) -> Result<Vec<Rule<'a>>, Refusal> {
        let owed = obligation::of(self.plan, self.receipts)?;
        let expiry = self.leg(Verb::Expire);
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
        Ok(self.classes().filter_map(rule).collect())
    }

    /// What a participant kept and keeps no longer by its last word, each class with its end, which was by `ended_by`: also what ended
    /// before its day, as a number does that is given back, and of which a backup still says the day. Of what is counted from the erasure
    /// only: anything else has its own moment, in the backup as in the original. A number whose hash is still to be erased ends `now`.
    ///
    /// Errors: as [`obligation::of`].
    pub fn expired(&self, ended_by: Time, now: Time) -> Result<Vec<Rule<'a>>, Refusal> {
        let kept = self.kept()?;
        let expiry = self.leg(Verb::Expire);
        let has_ended = |class: &Class| {
            let said = self
                .receipts
                .iter()
                .any(|kept| Some(kept.receipt.leg) == expiry);
            said && class.from == StartingPoint::Erasure
        };
        let expired = self
            .classes()
            .filter(|(name, class)| has_ended(class) && !kept.contains(*name));
        let rule = |(name, class), until| Rule {
            name,
            class,
            until: Some(until),
        };
        let freed = expiry.is_some_and(|leg| self.deletion.is_freed(leg));
        let given_back = obligation::given_back(self.plan, self.participant);
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
    pub fn stray(&self, verb: Verb, replayed: &Evidence) -> Result<Option<String>, Refusal> {
        let kept = match verb {
            Verb::Expire => self.kept()?,
            Verb::Seal | Verb::Unseal | Verb::Erase | Verb::Probe => self.ever_kept()?,
        };
        let mut classes = replayed.retained.iter().map(|kept| &kept.class);
        Ok(classes.find(|class| !kept.contains(*class)).cloned())
    }

    /// What it keeps by its last word.
    fn kept(&self) -> Result<BTreeSet<String>, Refusal> {
        let expiry = self.leg(Verb::Expire);
        let owed = obligation::of(self.plan, self.receipts)?.into_iter();
        let own = owed.filter(|owed| Some(owed.leg) == expiry);
        Ok(own.map(|owed| owed.kept.class).collect())
    }

    fn ever_kept(&self) -> Result<BTreeSet<String>, Refusal> {
        let mut kept = BTreeSet::new();
        for kept_once in self.receipts {
            let receipt = &kept_once.receipt;
            if self
                .plan
                .leg(receipt.leg)
                .is_some_and(|leg| leg.participant == *self.participant)
            {
                let evidence = receipt.read().map_err(|_| Reason::EvidenceConflict)?;
                kept.extend(evidence.retained.into_iter().map(|kept| kept.class));
            }
        }
        Ok(kept)
    }

    fn leg(&self, verb: Verb) -> Option<LegIndex> {
        self.plan.find(self.participant, verb)
    }

    fn classes(&self) -> impl Iterator<Item = (&'a str, &'a Class)> {
        self.plan.retention().of(self.participant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deletion::Event;
    use crate::device::Device;
    use crate::fixture::*;
    use crate::leg::Mask;
    use crate::receipt::{Outcome, Receipt};

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
        let deletion = purged(&plan);
        let of = |name: &str| {
            let past = Past {
                deletion: &deletion,
                plan: &plan,
                participant: &who(name),
                receipts: &receipts,
            };
            past.ended()
        };
        let own = of("wearables");
        let only = |name: &str| BTreeSet::from([(name.parse().unwrap(), 3)]);
        assert_eq!(
            (own.taken_over, own.lost),
            (only("watch-1"), only("watch-2"))
        );
        assert_eq!(of("phones"), Ended::default());
    }

    fn receipts(plan: &Plan, legs: &[(Verb, Time)]) -> Vec<receipt::Kept> {
        let settled = legs.iter().map(|(verb, at)| receipt::Kept {
            receipt: Receipt::new(
                leg(plan, *verb, "store"),
                1,
                Evidence::of(match verb {
                    Verb::Seal => Outcome::Sealed,
                    Verb::Unseal => Outcome::Unsealed,
                    Verb::Probe => Outcome::Clean,
                    Verb::Erase | Verb::Expire => Outcome::NotFound,
                }),
            ),
            settled_at: *at,
        });
        settled.collect()
    }

    fn again(deletion: &Deletion, plan: &Plan, since: Time, legs: &[(Verb, Time)]) -> Vec<Verb> {
        let past = Past {
            deletion,
            plan,
            participant: &who("store"),
            receipts: &receipts(plan, legs),
        };
        past.verbs(since)
    }

    #[test]
    fn a_seal_that_the_backup_does_not_know_is_asked_for_again_and_one_that_it_brought_is_lifted() {
        let plan = cn();
        let at = start();
        let later = at + SECOND;
        let seal = [(Verb::Seal, at)];
        assert_eq!(again(&sealed(&plan), &plan, at, &seal), [Verb::Seal]);
        assert_eq!(again(&sealed(&plan), &plan, later, &seal), []);
        assert_eq!(again(&erasing(&plan), &plan, at, &seal), [Verb::Seal]);
        let revoked = sealed(&plan).step(&Event::Revoke, &plan, later).unwrap();
        let both = [(Verb::Seal, at), (Verb::Unseal, later)];
        assert_eq!(
            again(&revoked, &plan, at, &seal),
            [],
            "it is asked for anyway"
        );
        let lifted = settle(&revoked, plan.unseals(), &plan, later).unwrap();
        assert_eq!(again(&lifted, &plan, at, &both), [Verb::Unseal]);
        assert_eq!(again(&lifted, &plan, later + SECOND, &both), []);
    }

    #[test]
    fn who_has_looked_before_the_purge_erases_again_and_who_has_not_looks_for_itself() {
        let plan = cn();
        let legs = [(Verb::Seal, start()), (Verb::Erase, over())];
        let looked = [legs[0], legs[1], (Verb::Probe, over())];
        let verifying = verifying(&plan);
        let since = over();
        assert_eq!(again(&verifying, &plan, since, &legs), []);
        let own = Mask::of(leg(&plan, Verb::Probe, "store"));
        let told = settle(&verifying, own, &plan, over()).unwrap();
        assert!(matches!(told.state, State::Verifying(_)));
        assert_eq!(
            again(&told, &plan, since, &looked),
            [Verb::Erase, Verb::Probe]
        );
        let late = again(&told, &plan, since + SECOND, &looked);
        assert_eq!(late, [], "its backup has nothing of it");
    }
}
