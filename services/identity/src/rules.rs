//! The limits that identity works under.

use std::time::Duration;

use crate::code;

/// What holds for codes, passwords and eligibility.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Limits of codes.
    pub codes: code::Limits,
    /// How many proofs of one kind are compared for one account in 24 hours, whatever deletion or code they are for.
    pub tries_per_day_max: u32,
    /// How many passwords are compared for one deletion in 24 hours.
    pub password_tries_max: u32,
    /// How long a change of the password stands in the way.
    pub recent_change: Duration,
}

/// The `cn` policy.
impl Default for Rules {
    fn default() -> Self {
        Self {
            codes: code::Limits::default(),
            tries_per_day_max: 10,
            password_tries_max: 5,
            recent_change: Duration::from_secs(7 * 24 * 60 * 60),
        }
    }
}
