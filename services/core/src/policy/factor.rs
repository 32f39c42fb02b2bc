//! Where requests come from, and what people show to prove that a request is theirs.

use serde::{Deserialize, Serialize};

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
    /// As written in a policy.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Phone => "phone",
            Self::Web => "web",
            Self::Support => "support",
            Self::ServiceCentre => "service_centre",
            Self::Legacy => "legacy",
        }
    }

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
    /// A case of the support desk that two people have approved.
    Documents,
    /// A bound device that signs, and is not reported lost.
    DeviceInHand,
}

impl Factor {
    /// Every factor.
    pub const ALL: [Self; 5] = [
        Self::SmsCode,
        Self::EmailCode,
        Self::Password,
        Self::Documents,
        Self::DeviceInHand,
    ];

    const fn bit(self) -> u8 {
        match self {
            Self::SmsCode => 1,
            Self::EmailCode => 2,
            Self::Password => 4,
            Self::Documents => 16,
            Self::DeviceInHand => 32,
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
        Self(u8::try_from(code & 63).unwrap_or(0))
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
