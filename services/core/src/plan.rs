//! The closed list of legs that a policy makes, by stages.

use crate::id::ParticipantId;
use crate::leg::{LegIndex, Mask, Verb};
use crate::policy::{Policy, Problem, Retention};

/// What one participant owes in one stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leg {
    /// Who owes it.
    pub participant: ParticipantId,
    /// What is owed.
    pub verb: Verb,
    /// For instance `DEVICES_AND_CONTENT`.
    pub stage: String,
}

/// Legs in the order of the plan: seals, the erasing stages, probes, the unseals that only a revoke needs, and the expiries that
/// follow years after the purge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    version: u32,
    policy: Policy,
    legs: Vec<Leg>,
    seals: Mask,
    stages: Vec<Mask>,
    erases: Mask,
    probes: Mask,
    unseals: Mask,
    expires: Mask,
    retention: Retention,
}

impl Plan {
    /// The plan of a policy. Errors: what is wrong with its stages. (Whether new deletions may follow it is another
    /// question: [`Policy::problems`].)
    pub fn new(version: u32, policy: Policy) -> Result<Self, Vec<Problem>> {
        let problems = policy.stage_problems();
        if !problems.is_empty() {
            return Err(problems);
        }
        let mut legs = Vec::new();
        let mut add = |participants: &[ParticipantId], verb: Verb, stage: &str| -> Mask {
            let mut mask = Mask::EMPTY;
            for participant in participants {
                if let Some(index) = LegIndex::new(legs.len()) {
                    mask = mask | Mask::of(index);
                    legs.push(Leg {
                        participant: participant.clone(),
                        verb,
                        stage: stage.to_owned(),
                    });
                }
            }
            mask
        };
        let everyone: Vec<_> = policy.participants().cloned().collect();
        let none: &[ParticipantId] = &[];
        let seals = add(
            if policy.seal { &everyone } else { none },
            Verb::Seal,
            "SEAL",
        );
        let stages: Vec<_> = policy
            .stages
            .iter()
            .map(|stage| add(&stage.participants, Verb::Erase, &stage.name))
            .collect();
        let probes = add(
            if policy.probe { &everyone } else { none },
            Verb::Probe,
            "PROBE",
        );
        let unseals = add(
            if policy.seal { &everyone } else { none },
            Verb::Unseal,
            "UNSEAL",
        );
        // After all others: the legs of plans that are older than expiries stay where they were.
        let retention = policy.kept();
        let custodians: Vec<_> = everyone
            .iter()
            .filter(|participant| retention.keeps(participant))
            .cloned()
            .collect();
        let expires = add(&custodians, Verb::Expire, "EXPIRE");
        let erases = stages.iter().fold(Mask::EMPTY, |all, stage| all | *stage);
        Ok(Self {
            version,
            policy,
            legs,
            seals,
            stages,
            erases,
            probes,
            unseals,
            expires,
            retention,
        })
    }

    /// The policy's version.
    pub const fn version(&self) -> u32 {
        self.version
    }

    /// The policy.
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The leg at `index`.
    pub fn leg(&self, index: LegIndex) -> Option<&Leg> {
        self.legs.get(index.place())
    }

    /// Every leg with its index, in plan order.
    pub fn legs(&self) -> impl Iterator<Item = (LegIndex, &Leg)> {
        self.legs
            .iter()
            .enumerate()
            .filter_map(|(place, leg)| LegIndex::new(place).map(|index| (index, leg)))
    }

    /// The leg that `participant` owes under `verb`.
    pub fn find(&self, participant: &ParticipantId, verb: Verb) -> Option<LegIndex> {
        self.legs()
            .find(|(_, leg)| leg.verb == verb && leg.participant == *participant)
            .map(|(index, _)| index)
    }

    /// Seals, owed from the start of the cooling-off period.
    pub const fn seals(&self) -> Mask {
        self.seals
    }

    /// All erasing legs.
    pub const fn erases(&self) -> Mask {
        self.erases
    }

    /// Probes, owed once everything is erased.
    pub const fn probes(&self) -> Mask {
        self.probes
    }

    /// Unseals, owed after a revoke.
    pub const fn unseals(&self) -> Mask {
        self.unseals
    }

    /// Expiries, each owed when something ends that its participant keeps under law.
    pub const fn expires(&self) -> Mask {
        self.expires
    }

    /// What participants may keep.
    pub const fn retention(&self) -> &Retention {
        &self.retention
    }

    /// What must be settled before the account may be purged: never empty.
    pub fn required(&self) -> Mask {
        self.erases | self.probes
    }

    /// The erasing legs that may be sent, given what is done: those of the first stage that is not finished.
    pub fn open_stage(&self, done: Mask) -> Mask {
        self.stages
            .iter()
            .find(|stage| !done.covers(**stage))
            .map_or(Mask::EMPTY, |stage| *stage & !done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        Plan::new(1, Policy::cn()).unwrap()
    }

    fn who(plan: &Plan, legs: Mask) -> Vec<&str> {
        legs.iter()
            .filter_map(|index| plan.leg(index))
            .map(|leg| leg.participant.as_str())
            .collect()
    }

    #[test]
    fn wearables_go_first_and_identity_goes_last() {
        let plan = plan();
        let mut done = plan.seals();
        let mut order = Vec::new();
        while !plan.open_stage(done).is_empty() {
            let open = plan.open_stage(done);
            order.push(who(&plan, open).join(" "));
            done = done | open;
        }
        assert_eq!(
            order,
            [
                "wearables",
                "phones smarthome cloud community",
                "store support",
                "identity"
            ]
        );
    }

    #[test]
    fn one_slow_leg_keeps_the_next_stage_closed() {
        let plan = plan();
        let first = plan.open_stage(Mask::EMPTY);
        let second = plan.open_stage(first);
        let all_but_one: Mask = second.iter().skip(1).collect();
        assert_eq!(plan.open_stage(first | all_but_one).len(), 1);
    }

    #[test]
    fn what_is_required_is_never_empty() {
        assert!(!plan().required().is_empty());
    }
}
