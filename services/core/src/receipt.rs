//! Evidence that a leg was settled.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::device::Device;
use crate::id::ParticipantId;
use crate::leg::{LegIndex, Verb};
use crate::time::Time;

/// What was done. There is no unknown outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Outcome {
    Erased,
    Anonymised,
    CryptoShredded,
    Retained,
    NotFound,
    Transferred,
    Sealed,
    Unsealed,
    Clean,
    Residue,
}

impl Outcome {
    /// The machine word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Erased => "ERASED",
            Self::Anonymised => "ANONYMISED",
            Self::CryptoShredded => "CRYPTO_SHREDDED",
            Self::Retained => "RETAINED",
            Self::NotFound => "NOT_FOUND",
            Self::Transferred => "TRANSFERRED",
            Self::Sealed => "SEALED",
            Self::Unsealed => "UNSEALED",
            Self::Clean => "CLEAN",
            Self::Residue => "RESIDUE",
        }
    }

    /// Whether this outcome answers this verb.
    pub const fn answers(self, verb: Verb) -> bool {
        match verb {
            Verb::Seal => matches!(self, Self::Sealed | Self::NotFound),
            Verb::Unseal => matches!(self, Self::Unsealed | Self::NotFound),
            Verb::Erase => matches!(
                self,
                Self::Erased
                    | Self::Anonymised
                    | Self::CryptoShredded
                    | Self::Retained
                    | Self::NotFound
                    | Self::Transferred
            ),
            Verb::Probe => matches!(self, Self::Clean | Self::Residue | Self::NotFound),
            Verb::Expire => matches!(self, Self::Erased | Self::NotFound),
        }
    }
}

/// Something kept under law.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Retention {
    pub class: String,
    pub legal_basis: String,
    pub count: i64,
    /// When the last record must be erased.
    pub until: Time,
    /// When the first one must be, if that is earlier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Time>,
}

impl Retention {
    /// When something of it must be erased next.
    pub fn ends_next(&self) -> Time {
        self.next.unwrap_or(self.until).min(self.until)
    }
}

/// What a participant says it did: the content of a receipt, in one canonical form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    pub outcome: Outcome,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub counts: BTreeMap<String, i64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retained: Vec<Retention>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<Device>,
}

impl Evidence {
    /// An outcome without details.
    pub const fn of(outcome: Outcome) -> Self {
        Self {
            outcome,
            counts: BTreeMap::new(),
            retained: Vec::new(),
            devices: Vec::new(),
        }
    }

    /// The canonical text: the same evidence has the same text, whatever order it was told in.
    pub fn canonical(mut self) -> (Self, String) {
        self.retained.sort();
        self.devices.sort();
        let text = serde_json::to_string(&self).unwrap_or_default();
        (self, text)
    }
}

/// A settled leg.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    pub leg: LegIndex,
    pub round: u16,
    /// Canonical evidence as JSON.
    pub evidence: String,
    /// Of the evidence: two answers are the same if and only if their fingerprints are.
    pub fingerprint: [u8; 16],
}

impl Receipt {
    /// The receipt for this evidence.
    pub fn new(leg: LegIndex, round: u16, evidence: Evidence) -> Self {
        let (_, text) = evidence.canonical();
        let digest = Sha256::digest(text.as_bytes());
        let mut fingerprint = [0; 16];
        fingerprint.copy_from_slice(&digest[..16]);
        Self {
            leg,
            round,
            evidence: text,
            fingerprint,
        }
    }

    /// The evidence, read back. Errors: text that this version doesn't know.
    pub fn read(&self) -> Result<Evidence, serde_json::Error> {
        serde_json::from_str(&self.evidence)
    }
}

/// A receipt as the ledger keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    pub receipt: Receipt,
    pub settled_at: Time,
}

/// The devices that a participant sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roster {
    pub participant: ParticipantId,
    pub devices: Vec<Device>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::DeviceOutcome;

    #[test]
    fn the_same_evidence_in_another_order_is_the_same_receipt() {
        let device = |name: &str| Device {
            device: name.parse().unwrap(),
            binding_epoch: 1,
            facts: None,
            outcome: Some(DeviceOutcome::Confirmed),
            lock: None,
        };
        let evidence = |devices| Evidence {
            devices,
            ..Evidence::of(Outcome::NotFound)
        };
        let leg = LegIndex::new(0).unwrap();
        let one = Receipt::new(leg, 1, evidence(vec![device("a"), device("b")]));
        let two = Receipt::new(leg, 1, evidence(vec![device("b"), device("a")]));
        assert_eq!(one, two);
        let other = Receipt::new(leg, 1, evidence(vec![device("a")]));
        assert_ne!(one.fingerprint, other.fingerprint);
    }

    #[test]
    fn every_verb_has_an_outcome_and_none_answers_everything() {
        let all = [
            Outcome::Erased,
            Outcome::NotFound,
            Outcome::Sealed,
            Outcome::Unsealed,
            Outcome::Clean,
        ];
        for verb in Verb::ALL {
            assert!(all.iter().any(|outcome| outcome.answers(verb)));
            assert!(all.iter().any(|outcome| !outcome.answers(verb)));
        }
    }
}
