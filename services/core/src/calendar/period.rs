//! How long something may take, and when that ends.

use std::fmt;
use std::str::FromStr;

use jiff::civil::Date;
use jiff::{Span, ToSpan as _};
use serde::{Deserialize, Serialize};

use super::{Calendar, Zone};
use crate::time::Time;

/// More than a year and a half: a public duty in working days is weeks long.
pub const WORKING_DAYS_MAX: u16 = 400;
/// Ten years, and two days more.
pub const DAYS_MAX: u16 = 3660;
/// Ten years.
pub const MONTHS_MAX: u16 = 120;

/// A period of at least one day. As text `15 working days`, `45 days` or `1 month`; days and months may add
/// `ending on a working day`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Period {
    count: u16,
    unit: Unit,
    last_day: LastDay,
}

/// What a period is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unit {
    /// Days that the calendar says are worked.
    WorkingDays,
    /// Dates, one after another.
    Days,
    /// To the same date of a later month, or to the last of a month that is too short.
    Months,
}

/// What holds when a period would end on a day that isn't worked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LastDay {
    /// It ends there.
    AsCounted,
    /// It ends with the following working day. Source: Regulation (EEC, Euratom) 1182/71 Art. 3(4), for the one month of
    /// GDPR Art. 12(3). That a period of two days or more has at least two working days (Art. 3(5)) is not applied: it
    /// is about periods of a few days, which end early rather than late without it.
    WorkingDay,
}

/// When a period ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// The first instant that is too late: the start of the day after `last_day`.
    pub at: Time,
    /// The last day of the period.
    pub last_day: Date,
    /// Whether the answer asked for a day that the calendar doesn't cover, so that a newer calendar may say another.
    /// Also set where dates run out, at the end of the year 9999.
    pub provisional: bool,
}

/// Not a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPeriod {
    #[error("must read like `15 working days`, `45 days` or `1 month ending on a working day`")]
    Form,
    #[error("must not be zero")]
    Zero,
    #[error("must be at most {max} {unit}")]
    TooLong { max: u16, unit: Unit },
}

impl Period {
    /// 1 to [`WORKING_DAYS_MAX`] working days.
    pub const fn working_days(count: u16) -> Result<Self, BadPeriod> {
        Self::new(count, Unit::WorkingDays)
    }

    /// 1 to [`DAYS_MAX`] days.
    pub const fn days(count: u16) -> Result<Self, BadPeriod> {
        Self::new(count, Unit::Days)
    }

    /// 1 to [`MONTHS_MAX`] months.
    pub const fn months(count: u16) -> Result<Self, BadPeriod> {
        Self::new(count, Unit::Months)
    }

    const fn new(count: u16, unit: Unit) -> Result<Self, BadPeriod> {
        let max = unit.max();
        if count == 0 {
            Err(BadPeriod::Zero)
        } else if count > max {
            Err(BadPeriod::TooLong { max, unit })
        } else {
            Ok(Self {
                count,
                unit,
                last_day: LastDay::AsCounted,
            })
        }
    }

    /// The same period, moved on to a working day if it would end on another. Working days end on one anyway.
    #[must_use]
    pub const fn ending_on_a_working_day(mut self) -> Self {
        self.last_day = match self.unit {
            Unit::WorkingDays => LastDay::AsCounted,
            Unit::Days | Unit::Months => LastDay::WorkingDay,
        };
        self
    }

    /// How many of its unit.
    pub const fn count(self) -> u16 {
        self.count
    }

    /// What it is counted in.
    pub const fn unit(self) -> Unit {
        self.unit
    }

    /// What holds when it would end on a day that isn't worked.
    pub const fn last_day(self) -> LastDay {
        self.last_day
    }

    /// When the period ends that runs from an instant. The day of that instant isn't counted, and the last day counts
    /// whole, to local midnight.
    ///
    /// Source: Regulation 1182/71 Art. 3(1) and (2)(c); EDPB Guidelines 01/2022, section 5.3: received on 5 March, due by the
    /// end of 5 April; received on 31 August, due by the end of 30 September. The Civil Code of the People's Republic of
    /// China, Art. 201 to 203, counts days and months in the same way.
    pub fn end(self, from: Time, calendar: &Calendar, zone: &Zone) -> End {
        let start = zone.date_of(from);
        let mut count = Count::from(start);
        match self.unit {
            Unit::WorkingDays => count.working_days(self.count, calendar),
            Unit::Days => count.add(i64::from(self.count).days()),
            Unit::Months => count.add(i64::from(self.count).months()),
        }
        if self.last_day == LastDay::WorkingDay {
            count.on_to_a_working_day(calendar);
        }
        End {
            at: zone.end_of(count.date),
            last_day: count.date,
            provisional: count.provisional,
        }
    }
}

/// A date on its way to the end of a period.
struct Count {
    date: Date,
    provisional: bool,
}

impl Count {
    const fn from(start: Date) -> Self {
        Self {
            date: start,
            provisional: false,
        }
    }

    fn add(&mut self, span: Span) {
        match self.date.checked_add(span) {
            Ok(date) => self.date = date,
            Err(_) => self.run_out(),
        }
    }

    /// Ends: a calendar has a weekday that is worked, and a limit to its holidays.
    fn working_days(&mut self, count: u16, calendar: &Calendar) {
        for _ in 0..count {
            self.add(1.day());
            self.on_to_a_working_day(calendar);
        }
    }

    fn on_to_a_working_day(&mut self, calendar: &Calendar) {
        loop {
            self.provisional |= !calendar.covers(self.date);
            if calendar.is_working_day(self.date) || self.date == Date::MAX {
                return;
            }
            self.add(1.day());
        }
    }

    fn run_out(&mut self) {
        self.date = Date::MAX;
        self.provisional = true;
    }
}

impl Unit {
    const fn max(self) -> u16 {
        match self {
            Self::WorkingDays => WORKING_DAYS_MAX,
            Self::Days => DAYS_MAX,
            Self::Months => MONTHS_MAX,
        }
    }

    const fn one(self) -> &'static str {
        match self {
            Self::WorkingDays => "working day",
            Self::Days => "day",
            Self::Months => "month",
        }
    }

    const fn many(self) -> &'static str {
        match self {
            Self::WorkingDays => "working days",
            Self::Days => "days",
            Self::Months => "months",
        }
    }
}

/// In the plural.
impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.many())
    }
}

const ENDING: &str = " ending on a working day";

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = if self.count == 1 {
            self.unit.one()
        } else {
            self.unit.many()
        };
        let ending = match self.last_day {
            LastDay::AsCounted => "",
            LastDay::WorkingDay => ENDING,
        };
        write!(f, "{} {unit}{ending}", self.count)
    }
}

impl FromStr for Period {
    type Err = BadPeriod;

    fn from_str(text: &str) -> Result<Self, BadPeriod> {
        let (counted, last_day) = match text.strip_suffix(ENDING) {
            Some(counted) => (counted, LastDay::WorkingDay),
            None => (text, LastDay::AsCounted),
        };
        let (count, unit) = counted.split_once(' ').ok_or(BadPeriod::Form)?;
        let unit = [Unit::WorkingDays, Unit::Days, Unit::Months]
            .into_iter()
            .find(|known| [known.one(), known.many()].contains(&unit))
            .ok_or(BadPeriod::Form)?;
        if count.is_empty() || !count.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(BadPeriod::Form);
        }
        // Digits that are no number of 16 bits are too many.
        let period = Self::new(count.parse().unwrap_or(u16::MAX), unit)?;
        match (last_day, unit) {
            (LastDay::AsCounted, _) => Ok(period),
            (LastDay::WorkingDay, Unit::Days | Unit::Months) => {
                Ok(period.ending_on_a_working_day())
            }
            (LastDay::WorkingDay, Unit::WorkingDays) => Err(BadPeriod::Form),
        }
    }
}

impl TryFrom<String> for Period {
    type Error = BadPeriod;

    fn try_from(text: String) -> Result<Self, BadPeriod> {
        text.parse()
    }
}

impl From<Period> for String {
    fn from(period: Period) -> Self {
        period.to_string()
    }
}
