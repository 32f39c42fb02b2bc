//! Where a day begins and ends.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};
use serde::{Deserialize, Serialize};

use crate::time::Time;

/// Not a time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be the name of an IANA time zone, like Asia/Shanghai")]
pub struct BadZone;

/// An IANA time zone by its name. The data come with the program: replicas agree whatever their machines have installed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Zone(TimeZone);

/// UTC.
impl Default for Zone {
    fn default() -> Self {
        Self(TimeZone::UTC)
    }
}

impl Zone {
    /// The name, spelt as IANA does.
    pub fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }

    /// The date on which an instant lies: the latest that has begun. Never goes back, even where clocks do at midnight.
    pub fn date_of(&self, time: Time) -> Date {
        let date = self.0.to_datetime(timestamp(time)).date();
        match date.tomorrow() {
            Ok(next) if self.start_of(next) <= time => next,
            _ => date,
        }
    }

    /// The date that is over at an instant which ends it: that of the microsecond before.
    pub(super) fn date_before(&self, end: Time) -> Date {
        self.date_of(Time::from_micros(end.micros().saturating_sub(1)))
    }

    /// The first instant of a date. That is the first midnight of two, the end of the gap if clocks skip midnight, and
    /// the start of the next date if they skip the whole day.
    pub fn start_of(&self, date: Date) -> Time {
        let midnight = self.0.to_ambiguous_timestamp(date.at(0, 0, 0, 0));
        let offset = midnight.offset();
        let Ok(start) = midnight.compatible() else {
            return saturated(date);
        };
        let start = match offset {
            // A gap that began before midnight: the day starts where it ends, and not at midnight by the old offset.
            AmbiguousOffset::Gap { .. } => self
                .0
                .preceding(start.checked_add(NANOSECOND).unwrap_or(start))
                .next()
                .map_or(start, |transition| transition.timestamp()),
            AmbiguousOffset::Unambiguous { .. } | AmbiguousOffset::Fold { .. } => start,
        };
        Time::from_micros(start.as_microsecond())
    }

    /// The first instant after a date.
    pub fn end_of(&self, date: Date) -> Time {
        date.tomorrow()
            .map_or_else(|_| saturated(date), |next| self.start_of(next))
    }
}

impl FromStr for Zone {
    type Err = BadZone;

    fn from_str(text: &str) -> Result<Self, BadZone> {
        static ZONES: OnceLock<TimeZoneDatabase> = OnceLock::new();
        let zones = ZONES.get_or_init(TimeZoneDatabase::bundled);
        match zones.get(text) {
            // `Etc/Unknown` is found and has no name.
            Ok(zone) if zone.iana_name().is_some() => Ok(Self(zone)),
            _ => Err(BadZone),
        }
    }
}

impl TryFrom<String> for Zone {
    type Error = BadZone;

    fn try_from(text: String) -> Result<Self, BadZone> {
        text.parse()
    }
}

impl From<Zone> for String {
    fn from(zone: Zone) -> Self {
        zone.name().to_owned()
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

const NANOSECOND: jiff::SignedDuration = jiff::SignedDuration::from_nanos(1);

/// The nearest instant of the years -9999 to 9999.
fn timestamp(time: Time) -> Timestamp {
    Timestamp::from_microsecond(time.micros()).unwrap_or(if time.micros() < 0 {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    })
}

/// The last or the first instant that has a date, for the days at the ends of it.
fn saturated(date: Date) -> Time {
    Time::from_micros(if date.year() < 0 {
        Timestamp::MIN.as_microsecond()
    } else {
        Timestamp::MAX.as_microsecond()
    })
}
