//! Periods as law and custom count them: working days with public holidays and make-up working days, days, months.
//!
//! A [`Calendar`] says which days are worked, a [`Zone`] when a day begins, and a [`Period`] when it ends. All of it is
//! data and arithmetic. Counting is done in dates; the zone is asked only at both ends, so clock changes never lengthen or
//! shorten a count, and a date that a zone skipped (Pacific/Apia, 2011-12-30) counts like any other.
//!
//! What is absent: a clock, and a guess. Beyond what its source has published a calendar knows weekends only, and
//! [`End::provisional`] says it: holidays that are published later make such an end later, make-up working days earlier.

mod file;
mod period;
mod zone;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::OnceLock;

use jiff::civil::Weekday;
use serde::{Deserialize, Serialize};

use crate::time::Time;

pub use file::{
    BYTES_MAX, LABEL_BYTES_MAX, LINES_MAX, NAME_BYTES_MAX, NotACalendar, Problem, SOURCE_BYTES_MAX,
    VERSION_BYTES_MAX,
};
pub use jiff::civil::Date;
pub use period::{BadPeriod, DAYS_MAX, End, LastDay, MONTHS_MAX, Period, Unit, WORKING_DAYS_MAX};
pub use zone::{BadZone, Zone};

/// The names of the calendars that come with the product.
pub const BUILT_IN: [&str; 4] = ["cn", "de", "us", "none"];

const DAYS_OF_A_WEEK: i64 = 7;

/// Which days are worked, for the dates that a source is known to have published. Read from text with [`Calendar::parse`], and
/// written as one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Calendar {
    name: String,
    version: String,
    source: String,
    /// Never the whole week, or counting working days would not end.
    weekend: Vec<Weekday>,
    first: Date,
    last: Date,
    /// Only days that differ from their weekday or have a name, all of them covered.
    special: BTreeMap<Date, Special>,
}

/// What is special about a date.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Special {
    worked: bool,
    label: String,
}

impl Calendar {
    /// Reads a calendar. The format is described in `services/core/data/calendars/README.md`. Errors: everything that is
    /// wrong with it, in the order of its lines.
    pub fn parse(text: &str) -> Result<Self, Vec<Problem>> {
        file::parse(text, false)
    }

    /// Reads a calendar that somebody else made, and that is called otherwise than those that come with the product. Errors:
    /// as [`Calendar::parse`].
    pub fn parse_own(text: &str) -> Result<Self, Vec<Problem>> {
        file::parse(text, true)
    }

    /// A calendar that comes with the product, by one of [`BUILT_IN`].
    pub fn built_in(name: &str) -> Option<&'static Self> {
        static CN: OnceLock<Option<Calendar>> = OnceLock::new();
        static DE: OnceLock<Option<Calendar>> = OnceLock::new();
        static US: OnceLock<Option<Calendar>> = OnceLock::new();
        static NONE: OnceLock<Option<Calendar>> = OnceLock::new();
        let (calendar, text) = match name {
            "cn" => (&CN, include_str!("../data/calendars/cn.txt")),
            "de" => (&DE, include_str!("../data/calendars/de.txt")),
            "us" => (&US, include_str!("../data/calendars/us.txt")),
            "none" => (&NONE, include_str!("../data/calendars/none.txt")),
            _ => return None,
        };
        calendar.get_or_init(|| Self::parse(text).ok()).as_ref()
    }

    /// Every day that differs from its weekday or has a name: whether it is worked, and what it is called.
    pub fn special_days(&self) -> impl Iterator<Item = (Date, bool, &str)> {
        let days = self.special.iter();
        days.map(|(date, special)| (*date, special.worked, special.label.as_str()))
    }

    /// For policies, for instance `cn`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Changes whenever a day does.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Who says so, for people.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The first and the last date that the calendar knows for sure.
    pub const fn covered(&self) -> (Date, Date) {
        (self.first, self.last)
    }

    /// Whether the calendar knows for sure if `date` is worked.
    pub fn covers(&self, date: Date) -> bool {
        self.first <= date && date <= self.last
    }

    /// Whether `date` is worked. Where the calendar doesn't cover it, whether it is no weekend.
    pub fn is_working_day(&self, date: Date) -> bool {
        self.special
            .get(&date)
            .map_or_else(|| !self.is_weekend(date), |special| special.worked)
    }

    /// What a date is called, if it is special: a holiday, or a weekend day that is worked.
    pub fn label(&self, date: Date) -> Option<&str> {
        self.special
            .get(&date)
            .map(|special| special.label.as_str())
    }

    /// Working days after `after`, up to and with `through`; none if that is not later.
    pub fn working_days_between(&self, after: Date, through: Date) -> i64 {
        if through <= after {
            return 0;
        }
        let days = i64::from((through - after).get_days());
        let worked_of_a_week = DAYS_OF_A_WEEK - i64::try_from(self.weekend.len()).unwrap_or(0);
        // The last days, fewer than seven, of a span of whole weeks and a rest.
        let rest = std::iter::successors(Some(through), |date| date.yesterday().ok())
            .take(usize::try_from(days % DAYS_OF_A_WEEK).unwrap_or(0))
            .filter(|date| !self.is_weekend(*date));
        let special: i64 = self
            .special
            .range((Bound::Excluded(after), Bound::Included(through)))
            .map(
                |(date, special)| match (special.worked, self.is_weekend(*date)) {
                    (true, true) => 1,
                    (false, false) => -1,
                    _ => 0,
                },
            )
            .sum();
        days / DAYS_OF_A_WEEK * worked_of_a_week
            + i64::try_from(rest.count()).unwrap_or(0)
            + special
    }

    /// Working days that are left at `now` of a time that is over at `until` ([`End::at`]). Today isn't counted, as in
    /// [`Period::end`]: a period of 15 working days has 15 left on the day that it starts, and none on its last.
    /// Negative from `until` on, and then today counts: -1 on the first day that is overdue.
    pub fn working_days_left(&self, now: Time, until: Time, zone: &Zone) -> i64 {
        let today = zone.date_of(now);
        let last = zone.date_before(until);
        if now < until {
            self.working_days_between(today, last)
        } else {
            -self.working_days_between(last, today).max(1)
        }
    }

    fn is_weekend(&self, date: Date) -> bool {
        self.weekend.contains(&date.weekday())
    }
}

#[cfg(test)]
mod tests;
