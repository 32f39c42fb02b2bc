//! How long things last at the desk. How long a decision is kept once its account is erased is law's, and so the policy's.

use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The periods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Periods {
    /// How long an open case waits to be decided on.
    pub case_open: Duration,
    /// How long an approval waits to be used, and how long what it is used for stands in the way of a deletion until it is done.
    pub approval_valid: Duration,
    /// How long documents are kept after their case has ended: no longer than somebody may still object (GDPR Art. 5(1)(e),
    /// PIPL Art. 19).
    pub evidence_kept: Duration,
}

impl Default for Periods {
    fn default() -> Self {
        Self {
            case_open: DAY * 30,
            approval_valid: DAY * 14,
            evidence_kept: DAY * 30,
        }
    }
}
