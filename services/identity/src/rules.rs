//! The limits that identity works under.

use crate::code;

/// What holds for codes and passwords.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Limits of codes.
    pub codes: code::Limits,
    /// How many proofs of one kind are compared for one account in 24 hours, whatever deletion or code they are for.
    pub tries_per_day_max: u32,
    /// How many passwords are compared for one deletion in 24 hours.
    pub password_tries_max: u32,
}

/// The `cn` policy.
impl Default for Rules {
    fn default() -> Self {
        Self {
            codes: code::Limits::default(),
            tries_per_day_max: 10,
            password_tries_max: 5,
        }
    }
}
