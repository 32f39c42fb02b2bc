//! Where days begin.

use super::*;

/// Zones with something about them: no clock change, one of an hour, of half an hour, at midnight, a skipped date.
pub(super) const ZONES: [&str; 10] = [
    "UTC",
    "Asia/Shanghai",
    "Europe/Berlin",
    "America/Los_Angeles",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "America/Sao_Paulo",
    "Asia/Beirut",
    "America/St_Johns",
    "America/Havana",
];

#[test]
fn a_zone_is_known_by_its_name_alone() {
    assert_eq!(zone("asia/shanghai").name(), "Asia/Shanghai");
    assert_eq!(zone("UTC").to_string(), "UTC");
    for bad in [
        "",
        "Shanghai",
        "+08:00",
        "Etc/Unknown",
        "CST",
        "Asia/Shanghai ",
    ] {
        assert_eq!(bad.parse::<Zone>(), Err(BadZone), "{bad}");
    }
    let stored = serde_json::to_string(&zone("Europe/Berlin")).unwrap();
    assert_eq!(stored, r#""Europe/Berlin""#);
    assert_eq!(
        serde_json::from_str::<Zone>(&stored).unwrap(),
        zone("Europe/Berlin")
    );
    assert!(serde_json::from_str::<Zone>(r#""Mars/Olympus_Mons""#).is_err());
}

#[test]
fn a_day_starts_when_its_first_instant_does() {
    for (name, day, start) in [
        (
            "Asia/Shanghai",
            date(2026, 2, 14),
            "2026-02-14T00:00:00+08:00",
        ),
        (
            "Europe/Berlin",
            date(2026, 3, 29),
            "2026-03-29T00:00:00+01:00",
        ),
        (
            "Europe/Berlin",
            date(2026, 3, 30),
            "2026-03-30T00:00:00+02:00",
        ),
        (
            "Australia/Lord_Howe",
            date(2026, 4, 6),
            "2026-04-06T00:00:00+10:30",
        ),
        // Clocks skip midnight.
        (
            "America/Sao_Paulo",
            date(2015, 10, 18),
            "2015-10-18T01:00:00-02:00",
        ),
        // Clocks skip the half hours before and after midnight.
        (
            "America/Toronto",
            date(1919, 3, 31),
            "1919-03-31T00:30:00-04:00",
        ),
        // Midnight comes twice.
        (
            "America/Havana",
            date(2025, 11, 2),
            "2025-11-02T00:00:00-04:00",
        ),
        // The date doesn't exist.
        (
            "Pacific/Apia",
            date(2011, 12, 30),
            "2011-12-31T00:00:00+14:00",
        ),
        (
            "Pacific/Apia",
            date(2011, 12, 31),
            "2011-12-31T00:00:00+14:00",
        ),
    ] {
        assert_eq!(zone(name).start_of(day), at(start), "{name} {day}");
    }
}

#[test]
fn a_date_that_has_begun_does_not_end_because_clocks_go_back() {
    // A minute after midnight clocks went back to 23:01 of the day before.
    let st_johns = zone("America/St_Johns");
    for (time, day) in [
        ("2006-10-28T23:59:59-02:30", 28),
        ("2006-10-29T00:00:30-02:30", 29),
        ("2006-10-28T23:30:00-03:30", 29),
        ("2006-10-29T00:00:30-03:30", 29),
    ] {
        assert_eq!(st_johns.date_of(at(time)), date(2006, 10, day), "{time}");
    }
}

proptest! {
    #[test]
    fn an_instant_lies_in_its_day(seconds in -2_000_000_000i64..4_000_000_000, name in prop::sample::select(&ZONES[..])) {
        let zone = zone(name);
        let time = Time::from_micros(seconds * 1_000_000);
        let day = zone.date_of(time);
        prop_assert!(zone.start_of(day) <= time && time < zone.end_of(day), "{} {}", time, day);
    }

    #[test]
    fn days_follow_one_another(day in -25_000i32..60_000, name in prop::sample::select(&ZONES[..])) {
        let zone = zone(name);
        let day = date(1970, 1, 1) + jiff::Span::new().days(day);
        let hours = zone.end_of(day).since(zone.start_of(day)).as_secs() / 3600;
        prop_assert!(hours == 0 || (22..=26).contains(&hours), "{} {}", day, hours);
    }
}
