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
    /// Whether requests come through the support desk.
    pub const fn is_of_desk(self) -> bool {
        matches!(self, Self::Support | Self::Legacy)
    }

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
    /// A link, followed from the bound mail address. It shows what [`Factor::EmailCode`] does.
    EmailLink,
    Password,
    /// A case of the support desk that two people have approved.
    Documents,
    /// A bound device that signs, and is not reported lost.
    DeviceInHand,
}

impl Factor {
    /// Every factor.
    pub const ALL: [Self; 6] = [
        Self::SmsCode,
        Self::EmailCode,
        Self::EmailLink,
        Self::Password,
        Self::Documents,
        Self::DeviceInHand,
    ];

    const fn bit(self) -> u8 {
        match self {
            Self::SmsCode => 1,
            Self::EmailCode => 2,
            Self::Password => 4,
            Self::EmailLink => 8,
            Self::Documents => 16,
            Self::DeviceInHand => 32,
        }
    }
}

/// A set of factors, as stored in one small column.
///
/// A code and a link by mail show the same: that somebody reads the bound address. Where both are required, either is enough.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Factors(u8);

impl Factors {
    const BY_MAIL: Self = Self(Factor::EmailCode.bit() | Factor::EmailLink.bit());

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

    /// Whether these, once shown, are what `required` asks for.
    pub const fn satisfy(self, required: Self) -> bool {
        let either = Self::BY_MAIL.0;
        let chosen = required.0 & either == either && self.0 & either != 0;
        let needed = if chosen {
            required.0 & !either
        } else {
            required.0
        };
        self.0 & needed == needed
    }

    /// The factors of the set that are enough in place of `factor`.
    pub fn alternatives(self, factor: Factor) -> impl Iterator<Item = Factor> {
        let either = if Self::BY_MAIL.has(factor) {
            Self::BY_MAIL.0 & !factor.bit()
        } else {
            0
        };
        Self(self.0 & either).iter()
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

#[cfg(test)]
mod tests {
    use super::*;

    fn set(factors: &[Factor]) -> Factors {
        factors.iter().copied().collect()
    }

    #[test]
    fn a_code_or_a_link_by_mail_is_enough_where_both_are_named_and_stands_for_nothing_else() {
        use Factor::{EmailCode, EmailLink, Password, SmsCode};
        let web = set(&[Password, EmailCode, EmailLink]);
        for (shown, enough) in [
            (set(&[Password, EmailCode]), true),
            (set(&[Password, EmailLink]), true),
            (web, true),
            (set(&[Password]), false),
            (set(&[EmailCode, EmailLink]), false),
            (set(&[Password, SmsCode]), false),
        ] {
            assert_eq!(shown.satisfy(web), enough, "{shown:?}");
        }
        assert!(!set(&[EmailLink]).satisfy(set(&[EmailCode])));
        assert!(!set(&[EmailCode]).satisfy(set(&[EmailLink])));
        let others = |of: Factors, factor| of.alternatives(factor).collect::<Vec<_>>();
        assert_eq!(others(web, EmailCode), [EmailLink]);
        assert_eq!(others(web, EmailLink), [EmailCode]);
        assert_eq!(others(web, Password), []);
        assert_eq!(others(set(&[EmailCode]), EmailCode), []);
    }

    #[test]
    fn a_set_is_stored_and_read_again() {
        for factor in Factor::ALL {
            let one = set(&[factor]);
            assert_eq!(Factors::from_code(one.code()), one);
            assert_eq!(one.iter().collect::<Vec<_>>(), [factor]);
        }
    }
}
