//! A length of time as people write it.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::{Span, SpanRelativeTo};
use serde::{Deserialize, Serialize};

/// Longest length that can be written: ten years.
const SECONDS_MAX: i64 = 3_660 * DAY_SECONDS;
const DAY_SECONDS: i64 = 24 * 60 * 60;
/// No length is written in more.
const TEXT_BYTES_MAX: usize = 64;

/// A length of time, written as `7 days`, `90m` or `1h 30m`. A day is 24 hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Length(pub Duration);

/// A text that is no length. It doesn't repeat the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a length of time such as 30s, 90m, 12h or 7 days, at most 3660 days")]
pub struct NotALength;

impl FromStr for Length {
    type Err = NotALength;

    fn from_str(text: &str) -> Result<Self, NotALength> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(NotALength);
        }
        let span: Span = text.parse().map_err(|_| NotALength)?;
        // Months and years have no length of their own.
        let length = span.to_duration(SpanRelativeTo::days_are_24_hours());
        let length = length.map_err(|_| NotALength)?;
        if length.as_secs() > SECONDS_MAX {
            return Err(NotALength);
        }
        length.try_into().map(Self).map_err(|_| NotALength)
    }
}

impl TryFrom<String> for Length {
    type Error = NotALength;

    fn try_from(text: String) -> Result<Self, NotALength> {
        text.parse()
    }
}

/// In the largest unit that says it exactly.
impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.as_micros();
        let units = [
            ("day", 86_400_000_000),
            ("h", 3_600_000_000),
            ("m", 60_000_000),
            ("s", 1_000_000),
            ("ms", 1_000),
        ];
        let whole = |(_, unit): &(&str, u128)| micros != 0 && micros.is_multiple_of(*unit);
        match units.into_iter().find(whole) {
            Some(("day", unit)) if micros == unit => f.write_str("1 day"),
            Some(("day", unit)) => write!(f, "{} days", micros / unit),
            Some((name, unit)) => write!(f, "{}{name}", micros / unit),
            None if micros == 0 => f.write_str("0s"),
            None => write!(f, "{micros}us"),
        }
    }
}

impl From<Length> for String {
    fn from(length: Length) -> Self {
        length.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_length_is_written_in_many_ways_and_read_back_in_one() {
        for (text, seconds, again) in [
            ("7 days", 7 * 86_400, "7 days"),
            ("7d", 7 * 86_400, "7 days"),
            ("1 day", 86_400, "1 day"),
            ("24h", 86_400, "1 day"),
            ("1h 30m", 5_400, "90m"),
            ("2 weeks", 14 * 86_400, "14 days"),
            ("90s", 90, "90s"),
            ("0s", 0, "0s"),
        ] {
            let length: Length = text.parse().unwrap();
            assert_eq!(length.0, Duration::from_secs(seconds), "{text}");
            assert_eq!(length.to_string(), again);
        }
        assert_eq!("300ms".parse(), Ok(Length(Duration::from_millis(300))));
    }

    #[test]
    fn what_is_no_length_is_refused() {
        for text in [
            "",
            "7",
            "days",
            "-1 day",
            "1 month",
            "1 year",
            "3661 days",
            "7 working days",
            "soon",
        ] {
            assert_eq!(text.parse::<Length>(), Err(NotALength), "{text}");
        }
        assert_eq!("1s".repeat(40).parse::<Length>(), Err(NotALength));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(micros in 0_u64..316_000_000_000_000) {
            let length = Length(Duration::from_micros(micros));
            prop_assert_eq!(length.to_string().parse(), Ok(length));
        }
    }
}
