//! How long things last at the desk.

use std::time::{Duration, SystemTime};

use farewell_kit::Fault;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

use farewell_kit::store::{micros, time};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The periods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Periods {
    /// How long an open case waits to be decided on.
    pub case_open: Duration,
    /// How long an approval waits to be used.
    pub approval_valid: Duration,
    /// How long documents are kept after their case has ended: no longer than somebody may still object (GDPR Art. 5(1)(e),
    /// PIPL Art. 19).
    pub evidence_kept: Duration,
    /// How long the decision is kept, without account and documents, after the account is erased: calendar months from the
    /// case's end; 0 keeps nothing.
    pub decisions_months: u16,
    /// The law that wants it.
    pub decisions_basis: String,
}

/// The `cn` policy. Who erased an account on documents bears the burden of proof (PIPL Art. 69) for as long as somebody may
/// sue (Civil Code Art. 188: three years).
impl Default for Periods {
    fn default() -> Self {
        Self {
            case_open: DAY * 30,
            approval_valid: DAY * 14,
            evidence_kept: DAY * 30,
            decisions_months: 36,
            decisions_basis: "Personal Information Protection Law of the PRC, Art. 69; Civil Code of the PRC, Art. 188"
                .to_owned(),
        }
    }
}

impl Periods {
    /// Until when the decision of a case that ended `at` is kept, by the calendar in UTC.
    pub(crate) fn decision_until(&self, at: SystemTime) -> Result<SystemTime, Fault> {
        let until = Timestamp::from_microsecond(micros(at)).and_then(|at| {
            at.to_zoned(TimeZone::UTC)
                .checked_add(i64::from(self.decisions_months).months())
        });
        let until = until.map_err(|error| Fault::new("the end of a retention period", error))?;
        Ok(time(until.timestamp().as_microsecond()))
    }
}
