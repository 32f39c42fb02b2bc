//! The question whether anything is in the way of a deletion.

use std::fmt;
use std::time::Duration;

/// The longest that a policy lets a change count as recent. What is asked for more is no question.
pub const RECENT_CHANGE_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// "Is anything in the way of deleting the account?" Its `Debug` never shows the account.
#[derive(Clone, PartialEq, Eq)]
pub struct CheckEligibility {
    /// The account's id.
    pub account: String,
    /// How long after it a change of a password, a number or an address counts as recent: above zero, at most
    /// [`RECENT_CHANGE_MAX`]. The policy that the deletion follows says it.
    pub recent_change: Duration,
}

impl fmt::Debug for CheckEligibility {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckEligibility")
            .field("recent_change", &self.recent_change)
            .finish_non_exhaustive()
    }
}
