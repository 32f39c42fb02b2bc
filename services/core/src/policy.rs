//! What a region or a company wants of a deletion. Data, checked when it is loaded.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::ParticipantId;
use crate::leg::LEGS_MAX;
use crate::order::DevicePolicy;

/// Where a request comes from. It decides which factors are required.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    Phone,
    Web,
    Support,
    ServiceCentre,
    Legacy,
}

impl Channel {
    /// As stored.
    pub const fn code(self) -> i16 {
        match self {
            Self::Phone => 1,
            Self::Web => 2,
            Self::Support => 3,
            Self::ServiceCentre => 4,
            Self::Legacy => 5,
        }
    }

    /// From the stored code.
    pub const fn from_code(code: i16) -> Option<Self> {
        Some(match code {
            1 => Self::Phone,
            2 => Self::Web,
            3 => Self::Support,
            4 => Self::ServiceCentre,
            5 => Self::Legacy,
            _ => return None,
        })
    }
}

/// What a person shows to prove that the request is theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Factor {
    SmsCode,
    EmailCode,
    Password,
}

impl Factor {
    /// Every factor.
    pub const ALL: [Self; 3] = [Self::SmsCode, Self::EmailCode, Self::Password];

    const fn bit(self) -> u8 {
        match self {
            Self::SmsCode => 1,
            Self::EmailCode => 2,
            Self::Password => 4,
        }
    }
}

/// A set of factors, as stored in one small column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Factors(u8);

impl Factors {
    /// From the stored column.
    pub fn from_code(code: i16) -> Self {
        Self(u8::try_from(code & 7).unwrap_or(0))
    }

    /// As stored.
    pub fn code(self) -> i16 {
        i16::from(self.0)
    }

    /// Whether `factor` is in the set.
    pub const fn has(self, factor: Factor) -> bool {
        self.0 & factor.bit() != 0
    }

    /// The set with `factor`.
    #[must_use]
    pub const fn with(self, factor: Factor) -> Self {
        Self(self.0 | factor.bit())
    }

    /// Whether every factor of `other` is in the set.
    pub const fn covers(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The factors.
    pub fn iter(self) -> impl Iterator<Item = Factor> {
        Factor::ALL
            .into_iter()
            .filter(move |factor| self.has(*factor))
    }
}

impl FromIterator<Factor> for Factors {
    fn from_iter<I: IntoIterator<Item = Factor>>(factors: I) -> Self {
        factors.into_iter().fold(Self::default(), Self::with)
    }
}

/// Participants that may be reached at the same time; the stages run one after another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// For instance `DEVICES_AND_CONTENT`.
    pub name: String,
    /// Who erases in this stage.
    pub participants: Vec<ParticipantId>,
}

/// A policy. A deletion keeps the version that fixed its plan; a version's content never changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// For people, for instance `cn`.
    pub name: String,
    /// The stages of erasing, in order.
    pub stages: Vec<Stage>,
    /// Whether every participant seals the account on entering the cooling-off period.
    pub seal: bool,
    /// Whether every participant is asked again after erasing what it still holds.
    pub probe: bool,
    /// Whether every participant is asked, before the cooling-off period and again at its end, if anything is in the way.
    pub eligibility: bool,
    /// Factors by channel. A channel that isn't named takes no requests.
    pub channels: BTreeMap<Channel, Vec<Factor>>,
    /// How long a request may wait to be verified.
    pub verification: Duration,
    /// How long a verified request can be taken back.
    pub cooling_off: Duration,
    /// How long the whole may take.
    pub deadline: Duration,
    /// How long before the deadline an alarm is raised.
    pub deadline_warning: Duration,
    /// How long somebody may owe something before the deletion shows as stalled.
    pub stalled_after: Duration,
    /// How often a blocked deletion is looked at again; where somebody only gave no answer, sooner at first.
    pub recheck: Duration,
    /// What becomes of devices.
    #[serde(default)]
    pub devices: DevicePolicy,
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl Policy {
    /// The default for mainland China: seven participants in four stages, 7 days of cooling-off within 15 working days.
    ///
    /// Working days are counted as 21 calendar days, the shortest span that 15 of them take without public holidays.
    pub fn cn() -> Self {
        let stage = |name: &str, participants: &[&str]| Stage {
            name: name.to_owned(),
            participants: participants
                .iter()
                .filter_map(|name| name.parse().ok())
                .collect(),
        };
        Self {
            name: "cn".to_owned(),
            stages: vec![
                stage("RELAYED", &["wearables"]),
                stage(
                    "DEVICES_AND_CONTENT",
                    &["phones", "smarthome", "cloud", "community"],
                ),
                stage("COMMERCE", &["store"]),
                stage("IDENTITY", &["identity"]),
            ],
            seal: true,
            probe: true,
            eligibility: true,
            channels: BTreeMap::from([
                (Channel::Phone, vec![Factor::SmsCode]),
                (Channel::Web, vec![Factor::Password, Factor::EmailCode]),
            ]),
            verification: 3 * DAY,
            cooling_off: 7 * DAY,
            deadline: 21 * DAY,
            deadline_warning: 3 * DAY,
            stalled_after: DAY / 24,
            recheck: DAY / 24,
            devices: DevicePolicy::default(),
        }
    }

    /// Everything that is wrong with the policy; empty means it may be used.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut seen = BTreeSet::new();
        if self
            .stages
            .iter()
            .all(|stage| stage.participants.is_empty())
        {
            problems.push("stages: a plan without participants never purges".to_owned());
        }
        for stage in &self.stages {
            if stage.name.is_empty()
                || !stage
                    .name
                    .bytes()
                    .all(|b| b.is_ascii_uppercase() || b == b'_')
            {
                problems.push(format!(
                    "stages: `{}` is not a name of A-Z and _",
                    stage.name
                ));
            }
            if stage.participants.is_empty() {
                problems.push(format!("stages: {} has no participant", stage.name));
            }
            for participant in &stage.participants {
                if !seen.insert(participant) {
                    problems.push(format!(
                        "stages: {participant} stands in two places, so the order is a cycle"
                    ));
                }
            }
        }
        let phases = 1 + usize::from(self.probe) + 2 * usize::from(self.seal);
        if seen.len() * phases > LEGS_MAX {
            problems.push(format!(
                "stages: {} legs are more than {LEGS_MAX}",
                seen.len() * phases
            ));
        }
        if self.channels.is_empty() {
            problems.push("channels: no channel takes requests".to_owned());
        }
        if self.verification.is_zero() {
            problems.push("verification: a request needs time to be verified".to_owned());
        }
        if self.eligibility && self.recheck.is_zero() {
            problems
                .push("recheck: whoever is in the way would be asked without a pause".to_owned());
        }
        if self.devices.order_life < self.deadline {
            problems.push(
                "devices.order_life: must not end before the deadline of the deletion".to_owned(),
            );
        }
        if self.deadline <= self.cooling_off {
            problems.push("deadline: must be longer than the cooling-off period".to_owned());
        }
        problems
    }

    /// Every participant, in plan order.
    pub fn participants(&self) -> impl Iterator<Item = &ParticipantId> {
        self.stages.iter().flat_map(|stage| &stage.participants)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_policy_has_no_problem() {
        assert_eq!(Policy::cn().problems(), Vec::<String>::new());
        assert_eq!(Policy::cn().participants().count(), 7);
    }

    #[test]
    fn a_plan_without_participants_is_refused_at_load() {
        let empty = Policy {
            stages: vec![],
            ..Policy::cn()
        };
        assert!(
            empty
                .problems()
                .iter()
                .any(|problem| problem.contains("never purges"))
        );
    }

    #[test]
    fn a_participant_in_two_stages_is_refused_at_load() {
        let mut policy = Policy::cn();
        policy.stages.push(policy.stages[0].clone());
        assert!(
            policy
                .problems()
                .iter()
                .any(|problem| problem.contains("cycle"))
        );
    }
}
