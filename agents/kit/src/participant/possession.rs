//! Whether a device is in hand.

use std::fmt;

/// "Is this device in hand?" Its `Debug` never shows the account.
#[derive(Clone, PartialEq, Eq)]
pub struct Possession {
    /// The account's id: whose device it must be.
    pub account: String,
    /// The device's id, without `devices/`.
    pub device: String,
    /// `deletions/{deletion}`: what is signed for one is nothing to another.
    pub deletion: String,
    /// What is asked.
    pub step: PossessionStep,
}

impl fmt::Debug for Possession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Possession")
            .field("device", &self.device)
            .field("deletion", &self.deletion)
            .finish_non_exhaustive()
    }
}

/// What is asked. The answer to the first is the challenge, to the second nothing.
#[derive(Clone, PartialEq, Eq)]
pub enum PossessionStep {
    /// Make a challenge.
    Challenge,
    /// Check what the device made of it.
    Check(Vec<u8>),
}

/// Why a device doesn't count as in hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotInHand {
    /// The account has no such device.
    BindingNotFound,
    /// It is reported lost or stolen: whoever has it may have stolen it.
    DeviceLost,
    /// It was bound without a key of its own.
    NoAnswerKey,
    /// It did not sign a challenge for this deletion in time.
    NotInHand,
}

impl NotInHand {
    /// The machine word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::BindingNotFound => "BINDING_NOT_FOUND",
            Self::DeviceLost => "DEVICE_LOST",
            Self::NoAnswerKey => "NO_ANSWER_KEY",
            Self::NotInHand => "NOT_IN_HAND",
        }
    }
}
