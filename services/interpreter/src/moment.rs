//! A time, as people read it.

use jiff::Zoned;

use crate::language::Language;

/// To the minute, with its distance from UTC: whoever reads it may be elsewhere than where it counts.
pub fn moment(at: &Zoned, language: Language) -> String {
    let format = match (language, at.offset().is_zero()) {
        (Language::English, true) => "%-d %B %Y, %H:%M UTC",
        (Language::English, false) => "%-d %B %Y, %H:%M (UTC%:z)",
        (Language::Chinese, true) => "%Y年%-m月%-d日 %H:%M（UTC）",
        (Language::Chinese, false) => "%Y年%-m月%-d日 %H:%M（UTC%:z）",
    };
    at.strftime(format).to_string()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use jiff::tz::TimeZone;

    use super::*;

    #[test]
    fn a_moment_says_how_far_it_is_from_utc() {
        let [english, chinese] = Language::ALL;
        let then = Timestamp::from_second(1_800_000_000).unwrap();
        for (hours, language, expected) in [
            (0, english, "15 January 2027, 08:00 UTC"),
            (0, chinese, "2027年1月15日 08:00（UTC）"),
            (8, english, "15 January 2027, 16:00 (UTC+08:00)"),
            (8, chinese, "2027年1月15日 16:00（UTC+08:00）"),
            (-9, english, "14 January 2027, 23:00 (UTC-09:00)"),
        ] {
            let zone = TimeZone::fixed(jiff::tz::offset(hours));
            assert_eq!(moment(&then.to_zoned(zone), language), expected);
        }
    }
}
