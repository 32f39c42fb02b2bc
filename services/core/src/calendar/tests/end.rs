//! When periods end.

use super::*;

#[test]
fn a_period_does_not_count_the_day_it_starts_on_and_counts_its_last_day_whole() {
    let (none, shanghai) = (calendar("none"), zone("Asia/Shanghai"));
    let day = Period::days(1).unwrap();
    for start in [
        "2026-03-10T00:00:00+08:00",
        "2026-03-10T23:59:59.999999+08:00",
    ] {
        let end = day.end(at(start), none, &shanghai);
        assert_eq!(end.last_day, date(2026, 3, 11));
        assert_eq!(end.at, at("2026-03-12T00:00:00+08:00"));
    }
}

#[test]
fn fifteen_working_days_over_the_spring_festival() {
    let (cn, shanghai) = (calendar("cn"), zone("Asia/Shanghai"));
    let fifteen: Period = "15 working days".parse().unwrap();
    let end = fifteen.end(at("2026-02-10T09:30:00+08:00"), cn, &shanghai);
    // 11 to 14 February, 24 to 28 February, 2 to 6 March, 9 March.
    assert_eq!(end.last_day, date(2026, 3, 9));
    assert_eq!(end.at, at("2026-03-10T00:00:00+08:00"));
    assert!(!end.provisional);
}

#[test]
fn a_month_ends_on_the_same_date_or_the_last_of_a_shorter_month() {
    let none = calendar("none");
    for (period, start, last) in [
        ("1 month", date(2026, 3, 5), date(2026, 4, 5)),
        ("1 month", date(2026, 8, 31), date(2026, 9, 30)),
        ("1 month", date(2026, 1, 31), date(2026, 2, 28)),
        ("1 month", date(2028, 1, 31), date(2028, 2, 29)),
        ("1 month", date(2028, 2, 29), date(2028, 3, 29)),
        ("3 months", date(2026, 11, 30), date(2027, 2, 28)),
        ("12 months", date(2028, 2, 29), date(2029, 2, 28)),
    ] {
        assert_eq!(last_day(period, start, none), last, "{start} + {period}");
    }
}

#[test]
fn a_period_that_may_not_end_on_a_holiday_ends_on_the_next_working_day() {
    let (de, cn) = (calendar("de"), calendar("cn"));
    for (period, start, plain, moved) in [
        // Saturday, Sunday.
        (
            "1 month",
            date(2026, 1, 31),
            date(2026, 2, 28),
            date(2026, 3, 2),
        ),
        (
            "1 month",
            date(2026, 2, 1),
            date(2026, 3, 1),
            date(2026, 3, 2),
        ),
        // Good Friday to Easter Monday.
        (
            "1 month",
            date(2026, 3, 3),
            date(2026, 4, 3),
            date(2026, 4, 7),
        ),
        // Christmas, on Friday and Saturday.
        (
            "45 days",
            date(2026, 11, 10),
            date(2026, 12, 25),
            date(2026, 12, 28),
        ),
        // Already a working day.
        (
            "1 month",
            date(2026, 4, 7),
            date(2026, 5, 7),
            date(2026, 5, 7),
        ),
    ] {
        assert_eq!(last_day(period, start, de), plain);
        let rolled = format!("{period} ending on a working day");
        assert_eq!(last_day(&rolled, start, de), moved, "{start} + {rolled}");
    }
    // A Saturday that China works ends a period.
    let rolled = "1 month ending on a working day";
    assert_eq!(last_day(rolled, date(2026, 1, 14), cn), date(2026, 2, 14));
}

#[test]
fn an_answer_is_provisional_if_it_asked_for_a_day_beyond_the_calendar() {
    let cn = calendar("cn");
    let (_, last) = cn.covered();
    let before = last - jiff::Span::new().days(60);
    let beyond = last.tomorrow().unwrap();
    assert!(!period_end("15 working days", before, cn).provisional);
    assert!(period_end("60 working days", before, cn).provisional);
    assert!(period_end("1 working day", beyond, cn).provisional);
    // Dates alone ask no calendar, unless the last of them must be worked.
    assert!(!period_end("3 months", before, cn).provisional);
    assert!(period_end("3 months ending on a working day", before, cn).provisional);
    assert!(!period_end("45 days ending on a working day", before, cn).provisional);
    // A calendar that has not begun knows as little.
    assert!(period_end("1 working day", date(2003, 6, 2), cn).provisional);
}

#[test]
fn a_day_of_a_clock_change_is_a_day_like_any_other() {
    const HOUR: i64 = 3_600_000_000;
    for (name, start, hours) in [
        ("Europe/Berlin", "2026-03-28T00:00:00+01:00", 47),
        ("Europe/Berlin", "2026-10-24T00:00:00+02:00", 49),
        ("America/Los_Angeles", "2026-03-07T00:00:00-08:00", 47),
        ("America/Los_Angeles", "2026-10-31T00:00:00-07:00", 49),
        ("Asia/Shanghai", "2026-03-28T00:00:00+08:00", 48),
    ] {
        let from = at(start);
        let end = Period::days(1)
            .unwrap()
            .end(from, calendar("none"), &zone(name));
        assert_eq!(end.at.micros() - from.micros(), hours * HOUR, "{name}");
    }
    // Half an hour.
    let from = at("2026-04-04T00:00:00+11:00");
    let end = Period::days(1)
        .unwrap()
        .end(from, calendar("none"), &zone("Australia/Lord_Howe"));
    assert_eq!(2 * (end.at.micros() - from.micros()), 97 * HOUR);
}

#[test]
fn the_zone_decides_which_day_an_instant_belongs_to() {
    let none = calendar("none");
    let from = at("2026-06-30T20:00:00Z");
    let month = Period::months(1).unwrap();
    for (name, last) in [
        ("Asia/Shanghai", date(2026, 8, 1)),
        ("Europe/Berlin", date(2026, 7, 30)),
        ("America/Los_Angeles", date(2026, 7, 30)),
    ] {
        assert_eq!(month.end(from, none, &zone(name)).last_day, last, "{name}");
    }
}

#[test]
fn a_date_that_a_zone_skipped_counts_like_any_other() {
    let (none, apia) = (calendar("none"), zone("Pacific/Apia"));
    let from = at("2011-12-29T12:00:00-10:00");
    let new_year = at("2011-12-31T00:00:00+14:00");
    let end = |days| Period::days(days).unwrap().end(from, none, &apia);
    // The day has no hour, so it is over when the day before is.
    assert_eq!((end(1).last_day, end(1).at), (date(2011, 12, 30), new_year));
    assert_eq!(end(2).last_day, date(2011, 12, 31));
}

fn periods() -> impl Strategy<Value = Period> {
    let counted = prop_oneof![
        (1..=WORKING_DAYS_MAX).prop_map(Period::working_days),
        (1..=DAYS_MAX).prop_map(Period::days),
        (1..=MONTHS_MAX).prop_map(Period::months),
    ];
    (counted, any::<bool>()).prop_map(|(period, rolls)| {
        let period = period.unwrap();
        if rolls {
            period.ending_on_a_working_day()
        } else {
            period
        }
    })
}

/// 2004 to 2026.
fn times() -> impl Strategy<Value = Time> {
    (1_073_000_000_000_000i64..1_798_000_000_000_000).prop_map(Time::from_micros)
}

proptest! {
    #[test]
    fn who_starts_later_never_ends_earlier(
        period in periods(), from in times(), later in 0i64..100 * 86_400_000_000,
        calendar_name in prop::sample::select(&BUILT_IN[..]),
        zone_name in prop::sample::select(&zones::ZONES[..]),
    ) {
        let (calendar, zone) = (calendar(calendar_name), zone(zone_name));
        let end = period.end(from, calendar, &zone);
        let later = period.end(Time::from_micros(from.micros() + later), calendar, &zone);
        prop_assert!(end.at <= later.at);
        prop_assert!(end.last_day <= later.last_day);
        // The last day of a period is over when it ends, and not before.
        prop_assert!(zone.start_of(end.last_day) <= end.at && zone.date_of(end.at) > end.last_day);
    }

    #[test]
    fn more_never_ends_earlier(from in times(), count in 1..MONTHS_MAX, name in prop::sample::select(&BUILT_IN[..])) {
        let (calendar, berlin) = (calendar(name), zone("Europe/Berlin"));
        for new in [Period::working_days, Period::days, Period::months] {
            let (less, more) = (new(count).unwrap(), new(count + 1).unwrap());
            prop_assert!(less.end(from, calendar, &berlin).at < more.end(from, calendar, &berlin).at);
            let (less, more) = (less.ending_on_a_working_day(), more.ending_on_a_working_day());
            prop_assert!(less.end(from, calendar, &berlin).at <= more.end(from, calendar, &berlin).at);
        }
    }

    #[test]
    fn days_add_up(
        start in dates(), first in 1u16..200, then in 1u16..200, name in prop::sample::select(&BUILT_IN[..]),
    ) {
        let calendar = calendar(name);
        for unit in ["working days", "days"] {
            let middle = last_day(&format!("{first} {unit}"), start, calendar);
            let apart = last_day(&format!("{then} {unit}"), middle, calendar);
            prop_assert_eq!(apart, last_day(&format!("{} {unit}", first + then), start, calendar));
        }
    }

    #[test]
    fn months_add_up_but_for_the_days_that_a_short_month_takes(start in dates(), first in 1u16..60, then in 1u16..60) {
        let none = calendar("none");
        let middle = last_day(&format!("{first} months"), start, none);
        let apart = last_day(&format!("{then} months"), middle, none);
        let whole = last_day(&format!("{} months", first + then), start, none);
        prop_assert!(apart <= whole);
        prop_assert_eq!((apart.year(), apart.month()), (whole.year(), whole.month()));
        if start.day() <= 28 {
            prop_assert_eq!(apart, whole);
        }
    }

    #[test]
    fn what_must_end_on_a_working_day_does_and_is_moved_over_none(
        period in periods(), start in dates(), name in prop::sample::select(&BUILT_IN[..]),
    ) {
        let calendar = calendar(name);
        let plain = match period.unit() {
            Unit::WorkingDays => Period::working_days(period.count()),
            Unit::Days => Period::days(period.count()),
            Unit::Months => Period::months(period.count()),
        }
        .unwrap();
        let before = last_day(&plain.to_string(), start, calendar);
        let moved = last_day(&plain.ending_on_a_working_day().to_string(), start, calendar);
        prop_assert!(calendar.is_working_day(moved));
        prop_assert!(before <= moved);
        if before < moved {
            prop_assert!(!calendar.is_working_day(before));
            prop_assert_eq!(calendar.working_days_between(before, moved), 1);
        }
    }

    #[test]
    fn an_answer_is_provisional_just_if_a_day_that_it_asked_for_is_not_covered(
        count in 1..=WORKING_DAYS_MAX, start in dates(),
    ) {
        let cn = calendar("cn");
        let end = period_end(&format!("{count} working days"), start, cn);
        prop_assert_eq!(end.provisional, !cn.covers(end.last_day));
    }
}
