//! What a deletion should be, said once more in sets of names: no masks, no revisions, no ledger.

use std::collections::{BTreeMap, BTreeSet};

use farewell_core::Time;
use farewell_core::leg::Verb;
use farewell_core::policy::Policy;
use farewell_core::receipt::Outcome;
use farewell_core::report::Answer;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Awaiting,
    Cooling,
    Erasing,
    Verifying,
    Purged,
    Revoked,
    Denied,
    Expired,
}

use Phase::{Awaiting, Cooling, Denied, Erasing, Expired, Purged, Revoked, Verifying};

pub type Owed = (Verb, String);

#[derive(Clone, Debug)]
pub struct Run {
    policy: Policy,
    pub phase: Phase,
    pub done: BTreeSet<Owed>,
    pub refused: BTreeSet<Owed>,
    pub round: u16,
    pub held: bool,
    pub disputed: bool,
    verified: bool,
    sealed: bool,
    since: Time,
    ends: Time,
    look: Time,
    said: BTreeMap<(Owed, u16), String>,
}

impl Run {
    pub fn opened(policy: Policy, now: Time) -> Self {
        let ends = now + policy.verification;
        Self {
            policy,
            phase: Awaiting,
            done: BTreeSet::new(),
            refused: BTreeSet::new(),
            round: 1,
            held: false,
            disputed: false,
            verified: false,
            sealed: false,
            since: now,
            ends,
            look: ends,
            said: BTreeMap::new(),
        }
    }

    fn everyone(&self, verb: Verb) -> BTreeSet<Owed> {
        let asked = match verb {
            Verb::Seal | Verb::Unseal => self.policy.seal,
            Verb::Probe => self.policy.probe,
            Verb::Erase => true,
            Verb::Expire => false,
        };
        let owed = |name: &farewell_core::ParticipantId| (verb, name.as_str().to_owned());
        self.policy
            .participants()
            .filter(|_| asked)
            .map(owed)
            .collect()
    }

    fn stage(&self) -> BTreeSet<Owed> {
        let stages = self.policy.stages.iter();
        let mut stages = stages.map(|stage| {
            let owed = stage
                .participants
                .iter()
                .map(|name| (Verb::Erase, name.as_str().to_owned()));
            owed.collect::<BTreeSet<_>>()
        });
        stages
            .find(|stage| !stage.is_subset(&self.done))
            .unwrap_or_default()
    }

    fn enter(&mut self, phase: Phase, now: Time) {
        (self.phase, self.since) = (phase, now);
    }

    fn cool(&mut self, now: Time) {
        self.ends = now + self.policy.cooling_off;
        self.look = if self.policy.seal { now } else { self.ends };
        self.enter(Cooling, now);
    }

    fn free(&self) -> bool {
        !self.held && !self.disputed
    }

    fn may_begin(&self, now: Time) -> bool {
        self.free() && now >= self.ends && self.everyone(Verb::Seal).is_subset(&self.done)
    }

    fn begin(&mut self, now: Time) {
        self.look = now;
        self.enter(Erasing, now);
    }

    fn follow(&mut self, now: Time) {
        if self.phase == Cooling && self.everyone(Verb::Seal).is_subset(&self.done) {
            self.look = self.ends;
            if !self.policy.eligibility && self.may_begin(now) {
                self.begin(now);
            }
        } else if self.phase == Erasing && self.free() && self.stage().is_empty() {
            self.phase = if self.policy.probe { Verifying } else { Purged };
        } else if self.phase == Verifying
            && self.free()
            && self.everyone(Verb::Probe).is_subset(&self.done)
        {
            self.phase = Purged;
        }
    }

    pub fn verify(&mut self, now: Time) -> bool {
        let now = now.max(self.since);
        if self.phase != Awaiting || now >= self.ends {
            return false;
        }
        if !self.verified {
            (self.verified, self.look) = (true, now);
            if !self.policy.eligibility {
                self.cool(now);
                if self.may_begin(now) {
                    self.begin(now);
                }
            }
        }
        true
    }

    /// A coordinator looks at the deletion as it stands.
    pub fn visit(&mut self, now: Time, obstructed: bool) {
        if now < self.look {
            return;
        }
        let now = now.max(self.since);
        match self.phase {
            Awaiting if now >= self.ends => self.enter(Expired, now),
            Awaiting if !self.verified => {}
            Awaiting if obstructed => self.look = (now + self.policy.recheck).min(self.ends),
            Awaiting => self.cool(now),
            Cooling if !self.may_begin(now) => {}
            Cooling if obstructed && self.policy.eligibility => {
                self.look = now + self.policy.recheck
            }
            Cooling => self.begin(now),
            Erasing | Verifying => self.follow(now),
            Purged | Revoked | Denied | Expired => {}
        }
    }

    pub fn take_back(&mut self, phase: Phase, now: Time) -> bool {
        if !matches!(self.phase, Awaiting | Cooling) {
            return false;
        }
        self.sealed = self.phase == Cooling && self.policy.seal;
        self.enter(phase, now.max(self.since));
        true
    }

    pub fn hold(&mut self) -> bool {
        let may = !self.held && matches!(self.phase, Awaiting | Cooling | Erasing | Verifying);
        self.held |= may;
        may
    }

    pub fn release(&mut self, now: Time) -> bool {
        let may = self.held && matches!(self.phase, Awaiting | Cooling | Erasing | Verifying);
        if may {
            self.held = false;
            self.follow(now.max(self.since));
        }
        may
    }

    pub fn resolve(&mut self, now: Time) -> bool {
        let may = std::mem::take(&mut self.disputed);
        if may {
            self.follow(now.max(self.since));
        }
        may
    }

    pub fn retry(&mut self, leg: &Owed) -> bool {
        self.open().contains(leg) && self.refused.remove(leg)
    }

    /// What the phase still wants.
    pub fn open(&self) -> BTreeSet<Owed> {
        let all = match self.phase {
            Cooling => self.everyone(Verb::Seal),
            Erasing => self.stage(),
            Verifying => self.everyone(Verb::Probe),
            Revoked | Denied if self.sealed => self.everyone(Verb::Unseal),
            _ => BTreeSet::new(),
        };
        &all - &self.done
    }

    /// A participant answers to its own command. `torn`: the coordinator dies after its first write; `behind`: it had not
    /// seen the deletion as it stands, and so could not move it in that write.
    pub fn hear(
        &mut self,
        leg: Owed,
        round: u16,
        answer: &Answer,
        now: Time,
        torn: bool,
        behind: bool,
    ) {
        let now = now.max(self.since);
        let repeats = matches!(leg.0, Verb::Erase | Verb::Probe);
        let earlier = self.done.contains(&leg) || (repeats && round < self.round);
        let late_seal =
            leg.0 == Verb::Seal && matches!(self.phase, Revoked | Denied) && self.sealed;
        let wanted = !earlier && self.open().contains(&leg);
        match answer {
            Answer::Done(evidence) if earlier => {
                let text = format!("{evidence:?}");
                let first = self
                    .said
                    .entry((leg, round))
                    .or_insert_with(|| text.clone());
                self.disputed |= *first != text && !torn;
            }
            Answer::Done(evidence) if wanted || late_seal => {
                let first = self
                    .said
                    .entry((leg.clone(), round))
                    .or_insert(format!("{evidence:?}"));
                assert_eq!(
                    *first,
                    format!("{evidence:?}"),
                    "a participant repeats itself"
                );
                if evidence.outcome != Outcome::Residue {
                    self.refused.remove(&leg);
                    self.done.insert(leg);
                    if !(torn && behind) {
                        self.follow(now);
                    }
                } else if !torn {
                    self.erase_again(leg.1);
                }
            }
            Answer::Refused { .. } if wanted => {
                self.refused.insert(leg);
            }
            _ => {}
        }
    }

    fn erase_again(&mut self, name: String) {
        let erase = (Verb::Erase, name);
        let probe = |leg: &Owed| leg.0 == Verb::Probe || *leg == erase;
        self.done.retain(|leg| !probe(leg));
        self.refused.retain(|leg| !probe(leg));
        self.round += 1;
        if self.round > 5 {
            self.refused.insert(erase);
        }
        self.phase = Erasing;
    }
}
