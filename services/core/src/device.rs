//! A device of an account: what its roster says of it, and how it ended.

use serde::{Deserialize, Serialize};

use crate::id::DeviceId;

/// One device of a roster or result.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Device {
    pub device: DeviceId,
    pub binding_epoch: u64,
    /// In a roster: what decides what becomes of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facts: Option<Facts>,
    /// In a result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<DeviceOutcome>,
    /// In a result, for a device with an activation lock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<LockOutcome>,
}

impl Device {
    /// The binding that is meant.
    pub fn binding(&self) -> (&DeviceId, u64) {
        (&self.device, self.binding_epoch)
    }
}

/// What a policy must know of a device to say what becomes of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Facts {
    pub class: Class,
    /// What it can be told. Nothing: it is re-activated by hand.
    pub verbs: Vec<DeviceVerb>,
    /// Another account is an admin of its home and can take it over.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub co_admin: bool,
    /// Other accounts live with it: it must go on working for them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub household: bool,
    /// For a hub's child.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hub: Option<Hub>,
}

/// The hub that a child is reached through: a device of the same roster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Hub {
    pub device: DeviceId,
    pub binding_epoch: u64,
}

/// Whom a device serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Class {
    /// One person: a phone, a watch.
    Personal,
    /// A home: a hub, a lamp, a door lock.
    Home,
}

/// What a device can be told. There is no single "delete".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum DeviceVerb {
    /// Drop account credentials, keep local data.
    Unbind,
    /// Unbind and wipe.
    Reset,
    /// A hub forgets one child.
    RemoveChild,
    /// Another admin of the home has the device now.
    Transfer,
}

impl DeviceVerb {
    /// The machine word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unbind => "UNBIND",
            Self::Reset => "RESET",
            Self::RemoveChild => "REMOVE_CHILD",
            Self::Transfer => "TRANSFER",
        }
    }
}

/// How a device ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum DeviceOutcome {
    Confirmed,
    Executed,
    Detached,
    Superseded,
    Transferred,
    Unsupported,
}

impl DeviceOutcome {
    /// Every outcome.
    pub const ALL: [Self; 6] = [
        Self::Confirmed,
        Self::Executed,
        Self::Detached,
        Self::Superseded,
        Self::Transferred,
        Self::Unsupported,
    ];

    /// The outcome of a word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.word() == word)
    }

    /// The machine word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Confirmed => "CONFIRMED",
            Self::Executed => "EXECUTED",
            Self::Detached => "DETACHED",
            Self::Superseded => "SUPERSEDED",
            Self::Transferred => "TRANSFERRED",
            Self::Unsupported => "UNSUPPORTED",
        }
    }
}

/// What became of an activation lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum LockOutcome {
    /// Whoever has the device may activate it.
    Released,
    /// Reported lost or stolen: deleting an account launders no device.
    Kept,
    /// On for the admin of the home who has the device now.
    PassedOn,
}

impl LockOutcome {
    /// The machine word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Released => "RELEASED",
            Self::Kept => "KEPT",
            Self::PassedOn => "PASSED_ON",
        }
    }
}
