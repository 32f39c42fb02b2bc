use jiff::Timestamp;
use jiff::civil::date;
use proptest::prelude::*;

use super::*;

mod end;
mod text;
mod zones;

fn calendar(name: &str) -> &'static Calendar {
    Calendar::built_in(name).unwrap()
}

fn zone(name: &str) -> Zone {
    name.parse().unwrap()
}

/// RFC 3339.
fn at(text: &str) -> Time {
    Time::from_micros(text.parse::<Timestamp>().unwrap().as_microsecond())
}

/// The date that a period ends on which runs from noon of `start`.
fn last_day(period: &str, start: Date, calendar: &Calendar) -> Date {
    period_end(period, start, calendar).last_day
}

fn period_end(period: &str, start: Date, calendar: &Calendar) -> End {
    let utc = zone("UTC");
    let noon = utc.start_of(start) + std::time::Duration::from_secs(12 * 3600);
    period.parse::<Period>().unwrap().end(noon, calendar, &utc)
}

/// What calendars of these tests cover.
fn dates() -> impl Strategy<Value = Date> {
    (0..365 * 22).prop_map(|days: i32| date(2004, 1, 1) + jiff::Span::new().days(days))
}

#[test]
fn every_built_in_calendar_can_be_read_and_has_its_own_name() {
    for name in BUILT_IN {
        assert_eq!(calendar(name).name(), name);
        assert!(!calendar(name).source().is_empty());
    }
    assert_eq!(Calendar::built_in("eu"), None);
}

#[test]
fn china_works_on_the_weekend_for_days_off() {
    let cn = calendar("cn");
    for (day, worked) in [
        (date(2026, 2, 13), true),
        (date(2026, 2, 14), true),  // Saturday, worked
        (date(2026, 2, 15), false), // Sunday
        (date(2026, 2, 16), false), // Monday, New Year's Eve
        (date(2026, 2, 23), false), // Monday, off for Saturday the 28th
        (date(2026, 2, 24), true),
        (date(2026, 2, 28), true),
        (date(2005, 12, 31), true), // see the data
    ] {
        assert_eq!(cn.is_working_day(day), worked, "{day}");
    }
    let label = "In exchange for 2026-02-20";
    assert_eq!(cn.label(date(2026, 2, 14)), Some(label));
    assert_eq!(cn.label(date(2026, 2, 15)), None);
}

#[test]
fn a_year_that_was_not_published_is_not_covered_and_has_weekends_only() {
    let cn = calendar("cn");
    let (_, last) = cn.covered();
    assert!(cn.covers(last) && !cn.covers(last.tomorrow().unwrap()));
    let next = date(last.year() + 1, 10, 1);
    assert_eq!(
        cn.is_working_day(next),
        next.weekday().to_monday_zero_offset() < 5
    );
    assert_eq!(cn.label(next), None);
}

#[test]
fn the_last_days_of_the_last_published_year_are_not_for_sure() {
    let (_, last) = calendar("cn").covered();
    assert_eq!((last.month(), last.day()), (12, 24));
}

#[test]
fn what_is_left_is_counted_down_to_nothing_and_then_below() {
    let (cn, shanghai) = (calendar("cn"), zone("Asia/Shanghai"));
    let start = at("2026-02-12T20:00:00+08:00");
    let end = Period::working_days(3).unwrap().end(start, cn, &shanghai);
    // Friday the 13th, Saturday the 14th, and after the Spring Festival the 24th.
    assert_eq!(end.last_day, date(2026, 2, 24));
    for (now, left) in [
        ("2026-02-12T20:00:00+08:00", 3),
        ("2026-02-14T00:00:00+08:00", 1),
        ("2026-02-23T23:59:59+08:00", 1),
        ("2026-02-24T00:00:00+08:00", 0),
        ("2026-02-24T23:59:59+08:00", 0),
        ("2026-02-25T00:00:00+08:00", -1),
        ("2026-02-28T09:00:00+08:00", -4), // a Saturday that is worked
        ("2026-03-01T09:00:00+08:00", -4),
    ] {
        assert_eq!(
            cn.working_days_left(at(now), end.at, &shanghai),
            left,
            "{now}"
        );
    }
}

#[test]
fn what_is_overdue_is_so_even_on_a_holiday() {
    let (none, utc) = (calendar("none"), zone("UTC"));
    let friday_night = at("2026-05-09T00:00:00Z");
    assert_eq!(none.working_days_left(friday_night, friday_night, &utc), -1);
}

#[test]
fn the_ends_of_time_are_answered_too() {
    let (none, utc) = (calendar("none"), zone("UTC"));
    let (first, last) = (Time::from_micros(i64::MIN), Time::from_micros(i64::MAX));
    let left = none.working_days_left(first, last, &utc);
    assert!(left > 5_000_000, "{left}");
    assert_eq!(none.working_days_left(last, first, &utc), -left);
    for period in [
        "400 working days",
        "3660 days",
        "120 months ending on a working day",
    ] {
        let period: Period = period.parse().unwrap();
        assert!(period.end(last, none, &utc).provisional);
        assert!(period.end(first, none, &utc).at > first);
    }
}

proptest! {
    #[test]
    fn working_days_between_two_dates_are_those_that_one_counts(
        after in dates(), days in 0i64..800, name in prop::sample::select(&BUILT_IN[..]),
    ) {
        let calendar = calendar(name);
        let mut day = after;
        let mut counted = 0;
        for _ in 0..days {
            day = day.tomorrow().unwrap();
            counted += i64::from(calendar.is_working_day(day));
        }
        prop_assert_eq!(calendar.working_days_between(after, day), counted);
        prop_assert_eq!(calendar.working_days_between(day, after), 0);
    }

    #[test]
    fn at_the_start_of_a_period_all_of_it_is_left(
        start in dates(), seconds in 0u64..86_400, count in 1..=WORKING_DAYS_MAX,
        name in prop::sample::select(&BUILT_IN[..]),
    ) {
        let (calendar, berlin) = (calendar(name), zone("Europe/Berlin"));
        let now = berlin.start_of(start) + std::time::Duration::from_secs(seconds);
        let end = Period::working_days(count).unwrap().end(now, calendar, &berlin);
        prop_assert_eq!(calendar.working_days_left(now, end.at, &berlin), i64::from(count));
        prop_assert_eq!(calendar.working_days_left(end.at, end.at, &berlin), -1);
    }
}
