//! What is on record of some deletions only: kept together, so that the others pay nothing for it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::custody::Custody;
use crate::notice::Notices;
use crate::overridden::Overridden;
use crate::time::Time;

/// Words of reasons that an overdue deletion keeps.
pub const OVERDUE_REASONS_MAX: usize = 32;

/// Legal holds that one deletion can have had: each leaves a trace for ever.
pub const HOLDS_MAX: usize = 64;

/// See the module. Acknowledgements never change it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rare {
    /// What the person and the operators have been told.
    #[serde(skip_serializing_if = "Notices::is_empty")]
    pub told: Notices,
    /// Codes of what was in the way when the person was told so.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub told_in_the_way: BTreeSet<String>,
    /// Why more must be shown, and for longer, than the policy usually asks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raised: Option<Raised>,
    /// The one extension of the deadline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extended: Option<Extended>,
    /// It was refused by a decision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub denied: Option<Denied>,
    /// The deadline has passed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overdue: Option<Overdue>,
    /// In spite of what it goes on, oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub overridden: Vec<Overridden>,
    /// Legal holds, oldest first; the last may stand.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub holds: Vec<Hold>,
    /// What is known of those who keep something after the purge; `None` until somebody has looked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub custody: Option<Custody>,
}

/// A legal hold. For whom and why stands with whoever placed it: a text here might name a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    pub placed: Time,
    /// `None`: it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released: Option<Time>,
}

/// A number or an address of the account was changed a short time ago: whoever gets codes there may not be the owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Raised {
    pub at: Time,
}

/// The deadline was moved once, by a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extended {
    pub at: Time,
    /// What the deadline was.
    pub before: Time,
    pub why: Why,
}

/// Why a deadline may be extended: the two grounds of GDPR Art. 12(3), which cover what CCPA § 1798.130(a)(2)(A) calls
/// reasonably necessary. Codes only: a free text might name a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Why {
    /// What is to be erased is complex, for instance because devices are away.
    Complexity,
    /// Many requests came at a time.
    NumberOfRequests,
}

impl Why {
    /// The stable machine word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Complexity => "COMPLEXITY",
            Self::NumberOfRequests => "NUMBER_OF_REQUESTS",
        }
    }
}

/// A request was refused by a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Denied {
    pub at: Time,
    pub why: Denial,
}

/// Why a request is denied. GDPR Art. 12(4) has the person told, and Art. 12(5) and (6) and 17(3) say when it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Denial {
    /// The documents can't be read.
    DocumentsUnreadable,
    /// The documents are not genuine, or somebody else's.
    DocumentsNotAccepted,
    /// Who asks may not speak for the account.
    NotTheOwner,
    /// The support desk doesn't grant it, for a reason that stands in its case.
    NotGranted,
    /// Manifestly unfounded or excessive.
    Unfounded,
    /// A law forbids it now.
    LegalObligation,
}

impl Denial {
    /// Every reason.
    pub const ALL: [Self; 6] = [
        Self::DocumentsUnreadable,
        Self::DocumentsNotAccepted,
        Self::NotTheOwner,
        Self::NotGranted,
        Self::Unfounded,
        Self::LegalObligation,
    ];

    /// The stable machine word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::DocumentsUnreadable => "DOCUMENTS_UNREADABLE",
            Self::DocumentsNotAccepted => "DOCUMENTS_NOT_ACCEPTED",
            Self::NotTheOwner => "NOT_THE_OWNER",
            Self::NotGranted => "NOT_GRANTED",
            Self::Unfounded => "UNFOUNDED",
            Self::LegalObligation => "LEGAL_OBLIGATION",
        }
    }

    /// What the support desk's word for a rejected case means for the request.
    pub fn of_rejection(word: &str) -> Option<Self> {
        match word {
            "UNREADABLE" => Some(Self::DocumentsUnreadable),
            "FORGED" => Some(Self::DocumentsNotAccepted),
            "NOT_THE_OWNER" => Some(Self::NotTheOwner),
            "NOT_GRANTED" => Some(Self::NotGranted),
            _ => None,
        }
    }
}

/// What kept the deletion from being done in time, as it stood when the deadline passed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overdue {
    pub at: Time,
    /// `LEG_OWED:cloud`, or `LEGAL_HOLD` where it is nobody's in particular; sorted, each once.
    pub reasons: Vec<String>,
}

impl Overdue {
    /// From words, however many.
    pub fn new(at: Time, mut reasons: Vec<String>) -> Self {
        reasons.sort_unstable();
        reasons.dedup();
        reasons.truncate(OVERDUE_REASONS_MAX);
        Self { at, reasons }
    }
}
