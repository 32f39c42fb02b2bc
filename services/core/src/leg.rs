//! What one participant owes, and the small set of which of them are settled.

use std::fmt;
use std::ops::{BitAnd, BitOr, Not};

use serde::{Deserialize, Serialize};

/// A plan's legs fit the positive half of a 64-bit integer, which is what SQL can store.
pub const LEGS_MAX: usize = 63;

/// What is asked of a participant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// Stop use, sync, orders and new bindings, reversibly.
    Seal,
    /// Lift the seal.
    Unseal,
    /// Erase, irreversibly: unbind and reset for agents.
    Erase,
    /// Look what is still held.
    Probe,
    /// Erase what law kept and has ended, irreversibly. Long after the purge.
    Expire,
}

impl Verb {
    /// Every verb.
    pub const ALL: [Self; 5] = [
        Self::Seal,
        Self::Unseal,
        Self::Erase,
        Self::Probe,
        Self::Expire,
    ];

    /// The word in a command name.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Seal => "seal",
            Self::Unseal => "unseal",
            Self::Erase => "erase",
            Self::Probe => "probe",
            Self::Expire => "expire",
        }
    }

    /// The verb of a word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verb| verb.word() == word)
    }

    /// Whether nothing undoes it. Never sent before the point of no return.
    pub const fn destructive(self) -> bool {
        matches!(self, Self::Erase | Self::Expire)
    }
}

/// A leg's place in its plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct LegIndex(u8);

impl From<LegIndex> for u8 {
    fn from(leg: LegIndex) -> Self {
        leg.0
    }
}

impl TryFrom<u8> for LegIndex {
    type Error = &'static str;

    fn try_from(place: u8) -> Result<Self, Self::Error> {
        Self::new(place.into()).ok_or("no plan has so many legs")
    }
}

impl LegIndex {
    /// The leg at this place; `None` past [`LEGS_MAX`].
    pub fn new(place: usize) -> Option<Self> {
        (place < LEGS_MAX)
            .then(|| u8::try_from(place).ok().map(Self))
            .flatten()
    }

    /// The place in the plan, from 0.
    pub const fn place(self) -> usize {
        self.0 as usize
    }
}

/// A set of legs, as stored in one column.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Mask(i64);

impl Mask {
    /// No leg.
    pub const EMPTY: Self = Self(0);

    /// From the stored column.
    pub const fn from_bits(bits: i64) -> Self {
        Self(bits & i64::MAX)
    }

    /// As stored.
    pub const fn bits(self) -> i64 {
        self.0
    }

    /// One leg.
    pub const fn of(leg: LegIndex) -> Self {
        Self(1 << leg.0)
    }

    /// Whether `leg` is in the set.
    pub const fn has(self, leg: LegIndex) -> bool {
        self.0 & (1 << leg.0) != 0
    }

    /// Whether every leg of `other` is in the set.
    pub const fn covers(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether there is no leg.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many legs.
    pub const fn len(self) -> u32 {
        self.0.count_ones()
    }

    /// The legs, in plan order.
    pub fn iter(self) -> impl Iterator<Item = LegIndex> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let leg =
                (rest != 0).then(|| LegIndex(u8::try_from(rest.trailing_zeros()).unwrap_or(0)))?;
            rest &= rest - 1;
            Some(leg)
        })
    }
}

impl FromIterator<LegIndex> for Mask {
    fn from_iter<I: IntoIterator<Item = LegIndex>>(legs: I) -> Self {
        legs.into_iter()
            .fold(Self::EMPTY, |mask, leg| mask | Self::of(leg))
    }
}

impl BitOr for Mask {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitAnd for Mask {
    type Output = Self;
    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl Not for Mask {
    type Output = Self;
    fn not(self) -> Self {
        Self(!self.0 & i64::MAX)
    }
}

impl fmt::Debug for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set()
            .entries(self.iter().map(LegIndex::place))
            .finish()
    }
}
