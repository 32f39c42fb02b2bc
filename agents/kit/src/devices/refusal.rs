//! Why nothing was changed for a caller of the registry.

use crate::home::NotHere;
use crate::participant::Fault;
use crate::seal;

/// Why a binding was not made, changed or ended. `Display` is for callers and holds nothing personal.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("a deletion of the account is under way or done, so it binds and changes no device")]
    AccountSealed,
    #[error("the account is frozen, so it binds and changes no device")]
    AccountFrozen,
    #[error("the device is bound to another account")]
    DeviceBound,
    #[error("the device's activation lock is on for another account")]
    DeviceLocked,
    #[error("the device is reported lost or stolen")]
    DeviceLost,
    #[error("{field}: {problem}")]
    InvalidField {
        field: &'static str,
        problem: &'static str,
    },
    #[error("the request id was used for something else")]
    RequestIdReused,
    #[error("the device has no such binding")]
    BindingNotFound,
    #[error("the device has another binding by now")]
    EpochMismatch,
    #[error("the hub has children: unbind them first")]
    HasChildren,
    #[error("the device has no key of its own to show that it is in hand")]
    NoAnswerKey,
    #[error("the device did not sign a challenge of the last 15 minutes")]
    NotInHand,
    #[error("the device can't be shared with this account")]
    NotShareable,
    #[error(transparent)]
    NotHere(#[from] NotHere),
    #[error("the agent's database")]
    Fault(#[from] Fault),
}

impl From<sqlx::Error> for Refusal {
    fn from(error: sqlx::Error) -> Self {
        Self::Fault(error.into())
    }
}

impl From<seal::Error> for Refusal {
    fn from(error: seal::Error) -> Self {
        match error {
            seal::Error::Sealed | seal::Error::Erased => Self::AccountSealed,
            seal::Error::Frozen => Self::AccountFrozen,
            seal::Error::Database(error) => error.into(),
        }
    }
}
