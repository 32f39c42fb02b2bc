//! When all must be done.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Length;
use crate::calendar::{Calendar, Period, Unit, Zone};
use crate::time::Time;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Weeks in which hardly anybody works, as around the Spring Festival, that a period may meet.
const HOLIDAYS_MAX: u32 = 30;

/// How long a deletion may take: a period of the law, counted in days, or a length of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "String")]
pub enum Deadline {
    /// To the end of a day.
    Period(Period),
    /// To the second, for trying things out.
    Within(Length),
}

/// As it stands in a file, or in a ledger that is older than periods.
#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "a period such as 15 working days, 45 days or 1 month, or a length of time"
)]
enum Written {
    Text(String),
    Length(Duration),
}

/// When a deadline is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// The first instant that is too late.
    pub at: Time,
    /// Whether a newer calendar may say another.
    pub provisional: bool,
}

/// A text that is no deadline. It doesn't repeat the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be a period such as 15 working days, 45 days or 1 month, or a length of time such as 12h"
)]
pub struct NotADeadline;

impl Deadline {
    /// When it is for what was requested at that time.
    pub fn due(self, requested: Time, calendar: &Calendar, zone: &Zone) -> Due {
        match self {
            Self::Period(period) => {
                let end = period.end(requested, calendar, zone);
                Due {
                    at: end.at,
                    provisional: end.provisional,
                }
            }
            Self::Within(Length(length)) => Due {
                at: requested + length,
                provisional: false,
            },
        }
    }

    /// It is never shorter than this.
    pub(super) fn shortest(self) -> Duration {
        match self {
            // What a clock change takes, and the day that it begins on, which is not counted and may be over.
            Self::Period(period) => days(period, 28).saturating_sub(DAY / 12),
            Self::Within(Length(length)) => length,
        }
    }

    /// It is hardly ever longer than this.
    pub(super) fn longest(self) -> Duration {
        match self {
            Self::Period(period) if period.unit() == Unit::WorkingDays => {
                days(period, 31) * 2 + DAY * HOLIDAYS_MAX
            }
            Self::Period(period) => days(period, 31) + DAY * 2 + DAY * HOLIDAYS_MAX,
            Self::Within(Length(length)) => length,
        }
    }
}

fn days(period: Period, days_of_a_month: u32) -> Duration {
    let of_one = match period.unit() {
        Unit::Months => days_of_a_month,
        Unit::Days | Unit::WorkingDays => 1,
    };
    DAY * (u32::from(period.count()) * of_one)
}

impl FromStr for Deadline {
    type Err = NotADeadline;

    fn from_str(text: &str) -> Result<Self, NotADeadline> {
        if let Ok(period) = text.parse() {
            return Ok(Self::Period(period));
        }
        match text.parse() {
            Ok(Length(length)) if !length.is_zero() => Ok(Self::Within(Length(length))),
            Ok(_) | Err(_) => Err(NotADeadline),
        }
    }
}

impl TryFrom<Written> for Deadline {
    type Error = NotADeadline;

    fn try_from(written: Written) -> Result<Self, NotADeadline> {
        match written {
            Written::Text(text) => text.parse(),
            Written::Length(length) => Ok(Self::Within(Length(length))),
        }
    }
}

impl fmt::Display for Deadline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Period(period) => period.fmt(f),
            // In days it would be a period.
            Self::Within(Length(length)) if length.as_micros().is_multiple_of(DAY.as_micros()) => {
                write!(f, "{}h", length.as_secs() / 3600)
            }
            Self::Within(length) => length.fmt(f),
        }
    }
}

impl From<Deadline> for String {
    fn from(deadline: Deadline) -> Self {
        deadline.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn instant(text: &str) -> Time {
        let timestamp: jiff::Timestamp = text.parse().unwrap();
        Time::from_micros(timestamp.as_microsecond())
    }

    #[test]
    fn the_law_counts_days_and_a_trial_counts_hours() {
        let cn = Calendar::built_in("cn").unwrap();
        let zone: Zone = "Asia/Shanghai".parse().unwrap();
        let due = |text: &str, at: &str| {
            let deadline: Deadline = text.parse().unwrap();
            deadline.due(instant(at), cn, &zone)
        };
        // Over the Spring Festival, with a Saturday on both sides that is worked.
        let spring = due("15 working days", "2026-02-02T01:00:00Z");
        assert_eq!(spring.at, instant("2026-02-28T16:00:00Z"));
        assert!(!spring.provisional);
        // Nobody knows the next year's holidays yet.
        assert!(due("15 working days", "2026-12-15T01:00:00Z").provisional);
        let hour = due("1h", "2026-12-31T23:30:00Z");
        assert_eq!(
            (hour.at, hour.provisional),
            (instant("2027-01-01T00:30:00Z"), false)
        );
        for odd in ["", "soon", "0 days", "15 working hours", "-1h"] {
            assert_eq!(odd.parse::<Deadline>(), Err(NotADeadline), "{odd}");
        }
    }

    proptest! {
        #[test]
        fn a_deadline_is_between_its_shortest_and_its_longest(
            text in prop_oneof![
                (1..40_u16).prop_map(|n| format!("{n} working days")),
                (1..100_u16).prop_map(|n| format!("{n} days")),
                (1..5_u16).prop_map(|n| format!("{n} months ending on a working day")),
                (1..100_u16).prop_map(|n| format!("{n}h")),
                (1..100_000_u32).prop_map(|n| format!("{n}s")),
            ],
            requested in 1_577_836_800_000_000_i64..1_767_225_600_000_000,
            calendar in prop::sample::select(vec!["cn", "de", "us", "none"]),
            zone in prop::sample::select(vec!["Asia/Shanghai", "Europe/Berlin", "America/New_York"]),
        ) {
            let deadline: Deadline = text.parse().unwrap();
            let requested = Time::from_micros(requested);
            let calendar = Calendar::built_in(calendar).unwrap();
            let due = deadline.due(requested, calendar, &zone.parse().unwrap());
            let length = due.at.since(requested);
            prop_assert!(deadline.shortest() <= length, "{length:?}");
            prop_assert!(length <= deadline.longest(), "{length:?}");
            prop_assert_eq!(deadline.to_string().parse(), Ok(deadline));
        }
    }
}
