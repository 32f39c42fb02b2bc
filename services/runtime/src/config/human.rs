use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

/// A duration as a person writes it: `500ms`, `10s`, `15m`, `3h`, `15d`. One number, one unit, so
/// that there is one way to read it. A day is 24 hours.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct Human(pub Duration);

/// Milliseconds of each unit, largest first.
const UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// A text that is no duration. It does not repeat the text: a misplaced variable may be a password.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a duration such as 500ms, 10s, 15m, 3h or 15d")]
pub struct NotHuman;

impl Human {
    #[must_use]
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl FromStr for Human {
    type Err = NotHuman;

    fn from_str(text: &str) -> Result<Self, NotHuman> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let (_, unit_ms) = UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .ok_or(NotHuman)?;
        let number: u64 = number.parse().map_err(|_| NotHuman)?;
        number
            .checked_mul(*unit_ms)
            .map(|ms| Self(Duration::from_millis(ms)))
            .ok_or(NotHuman)
    }
}

impl TryFrom<String> for Human {
    type Error = NotHuman;

    fn try_from(text: String) -> Result<Self, NotHuman> {
        text.parse()
    }
}

/// In the largest unit that says it exactly, so that it reads back as the same duration. Parts of a
/// millisecond cannot be written and are cut off.
impl fmt::Display for Human {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.as_millis();
        let (unit, unit_ms) = UNITS
            .into_iter()
            .find(|(_, unit_ms)| ms != 0 && ms.is_multiple_of(u128::from(*unit_ms)))
            .unwrap_or(("s", 1_000));
        write!(f, "{}{unit}", ms / u128::from(unit_ms))
    }
}

impl From<Human> for String {
    fn from(human: Human) -> Self {
        human.to_string()
    }
}

impl From<Human> for Duration {
    fn from(human: Human) -> Self {
        human.0
    }
}

impl From<Duration> for Human {
    fn from(duration: Duration) -> Self {
        Self(duration)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_is_read_and_written_back() {
        for (text, duration) in [
            ("500ms", Duration::from_millis(500)),
            ("10s", Duration::from_secs(10)),
            ("15m", Duration::from_secs(900)),
            ("3h", Duration::from_secs(10_800)),
            ("15d", Duration::from_secs(15 * 86_400)),
            ("0s", Duration::ZERO),
        ] {
            assert_eq!(text.parse(), Ok(Human(duration)));
            assert_eq!(Human(duration).to_string(), text);
        }
        assert_eq!(Human(Duration::from_millis(1_500)).to_string(), "1500ms");
        assert_eq!(Human(Duration::from_secs(90)).to_string(), "90s");
    }

    #[test]
    fn what_could_be_misread_is_refused() {
        for text in [
            "",
            "10",
            "s",
            "1.5s",
            "-1s",
            "1h30m",
            "10 s",
            "10S",
            "10w",
            "٣s",
            "99999999999999999999d",
            "18446744073709551615d",
        ] {
            assert_eq!(text.parse::<Human>(), Err(NotHuman));
        }
    }
}
