//! Calendars and periods as text.

use super::*;

const SMALL: &str = "\
# A company of its own.
name: sa-riyadh
version: 2026-1
source: Human resources
weekend: Friday Saturday
covered: 2026-01-01 to 2026-12-31

2026-02-22 off  Founding Day
2026-02-27 work In exchange for the Day after
2026-09-23 off  国庆节
";

#[test]
fn a_company_has_its_own_weekend_and_days() {
    let own = Calendar::parse(SMALL).unwrap();
    assert_eq!(
        (own.name(), own.version(), own.source()),
        ("sa-riyadh", "2026-1", "Human resources")
    );
    assert_eq!(own.covered(), (date(2026, 1, 1), date(2026, 12, 31)));
    for (day, worked) in [
        (20, false),
        (21, false),
        (22, false),
        (23, true),
        (27, true),
        (28, false),
    ] {
        assert_eq!(own.is_working_day(date(2026, 2, day)), worked, "{day}");
    }
    assert_eq!(own.label(date(2026, 9, 23)), Some("国庆节"));
}

#[test]
fn line_ends_and_a_byte_order_mark_of_another_system_do_no_harm() {
    let windows = format!("\u{feff}{}", SMALL.replace('\n', "\r\n"));
    assert_eq!(Calendar::parse(&windows), Calendar::parse(SMALL));
}

#[test]
fn every_mistake_is_said_at_once_with_its_line() {
    let text = "\
name: China!
version: two words
weekend: Saturday Saturday Holiday
weekend: Sunday
covered: 2026-12-31 to 2026-01-01
colour: red
what is this
2026-02-30 off  No such day
2026-3-1 off  Not in full
2026-03-02 free A word of their own
2026-03-03 work A Tuesday
2026-03-04 off
2026-03-04 off  Twice
2026-03-01 off  Too late
name: below";
    let problems = Calendar::parse(text).unwrap_err();
    let said: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "line 1: a name is 1 to 32 of a-z, 0-9 and `-`",
            "line 2: a version is 1 to 64 visible ASCII characters",
            "line 3: Saturday is said twice",
            "line 3: `Holiday` is not a day of the week",
            "line 4: `weekend` is said twice",
            "line 5: must read like `2004-01-01 to 2026-12-24`, the first not after the last",
            "line 6: `colour` is unknown",
            "line 7: `what is this` is neither `KEY: VALUE` nor `YYYY-MM-DD off|work LABEL`",
            "line 8: `2026-02-30` is not a date",
            "line 9: `2026-3-1` is not a date",
            "line 10: `free` is neither `off` nor `work`",
            "line 11: 2026-03-03 is worked anyway",
            "line 12: a label is 1 to 200 bytes without control characters",
            "line 13: 2026-03-04 is said twice",
            "line 14: 2026-03-01 stands below a later date",
            "line 15: `name` stands below the first day",
            "line 15: `name` is said twice",
            "line 15: `source` is missing",
        ]
    );
}

#[test]
fn a_day_that_is_not_covered_is_a_mistake() {
    let text = format!("{SMALL}2027-01-01 off  Next year\n");
    let problems = Calendar::parse(&text).unwrap_err();
    let expected = Problem {
        line: 11,
        what: "2027-01-01 is outside of what is covered".to_owned(),
    };
    assert_eq!(problems, [expected]);
}

#[test]
fn a_week_without_a_working_day_is_refused() {
    let week = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday";
    for weekend in ["", week] {
        let text = SMALL.replace("Friday Saturday", weekend);
        let problems = Calendar::parse(&text).unwrap_err();
        assert!(
            problems.iter().any(|problem| problem.line == 5),
            "{problems:?}"
        );
        assert!(
            problems.iter().all(|problem| problem.line == 5),
            "{problems:?}"
        );
    }
}

#[test]
fn nothing_and_too_much_are_refused() {
    assert_eq!(Calendar::parse("").unwrap_err().len(), 5);
    let lines = format!("{SMALL}{}", "\n".repeat(LINES_MAX));
    let problems = Calendar::parse(&lines).unwrap_err();
    assert_eq!(problems[0].line, LINES_MAX + 1);
    let bytes = format!("{SMALL}#{}", "x".repeat(BYTES_MAX));
    assert_eq!(Calendar::parse(&bytes).unwrap_err().len(), 1);
    let label = format!(
        "{SMALL}2026-12-01 off {}\n",
        "x".repeat(LABEL_BYTES_MAX + 1)
    );
    assert_eq!(Calendar::parse(&label).unwrap_err().len(), 1);
}

#[test]
fn somebody_elses_text_is_repeated_short_and_without_control_characters() {
    let problems = Calendar::parse(&format!("\u{1b}[2J{}", "x".repeat(500))).unwrap_err();
    let said = problems[0].to_string();
    assert!(said.len() < 150 && !said.contains('\u{1b}'), "{said}");
}

#[test]
fn a_period_reads_as_it_is_written() {
    for text in [
        "1 working day",
        "15 working days",
        "400 working days",
        "1 day",
        "45 days",
        "1 month",
        "120 months",
        "1 month ending on a working day",
        "3660 days ending on a working day",
    ] {
        let period: Period = text.parse().unwrap();
        assert_eq!(period.to_string(), text);
        let stored = serde_json::to_string(&period).unwrap();
        assert_eq!(stored, format!("\"{text}\""));
        assert_eq!(serde_json::from_str::<Period>(&stored).unwrap(), period);
    }
    assert_eq!("1 days".parse(), Period::days(1));
}

#[test]
fn what_is_no_period_is_refused() {
    for (text, error) in [
        ("", BadPeriod::Form),
        ("15", BadPeriod::Form),
        ("month", BadPeriod::Form),
        ("1 year", BadPeriod::Form),
        ("+1 day", BadPeriod::Form),
        ("-1 day", BadPeriod::Form),
        ("1.5 days", BadPeriod::Form),
        (" 1 day", BadPeriod::Form),
        ("1  day", BadPeriod::Form),
        ("15 working days ending on a working day", BadPeriod::Form),
        ("0 days", BadPeriod::Zero),
        ("0 working days", BadPeriod::Zero),
        (
            "401 working days",
            BadPeriod::TooLong {
                max: 400,
                unit: Unit::WorkingDays,
            },
        ),
        (
            "3661 days",
            BadPeriod::TooLong {
                max: 3660,
                unit: Unit::Days,
            },
        ),
        (
            "99999999999999999999 months",
            BadPeriod::TooLong {
                max: 120,
                unit: Unit::Months,
            },
        ),
    ] {
        assert_eq!(text.parse::<Period>(), Err(error), "{text}");
    }
    let too_long = Period::working_days(401).unwrap_err();
    assert_eq!(too_long.to_string(), "must be at most 400 working days");
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "(?s).{0,400}") {
        let _ = Calendar::parse(&text);
        let _ = text.parse::<Period>();
        let _ = text.parse::<Zone>();
    }

    #[test]
    fn any_line_in_a_good_file_is_read_or_refused(line in "[0-9]{4}-[0-9]{2}-[0-9]{2} (off|work|x) .{0,20}") {
        if let Err(problems) = Calendar::parse(&format!("{SMALL}{line}\n")) {
            prop_assert!(problems.iter().all(|problem| problem.line >= 11));
        }
    }
}

#[test]
fn a_calendar_is_written_as_it_is_read() {
    for name in BUILT_IN {
        let calendar = Calendar::built_in(name).unwrap();
        assert_eq!(
            Calendar::parse(&calendar.to_string()).as_ref(),
            Ok(calendar)
        );
        let stored = serde_json::to_string(calendar).unwrap();
        let read: Calendar = serde_json::from_str(&stored).unwrap();
        assert_eq!(&read, calendar);
    }
    assert!(serde_json::from_str::<Calendar>("\"name: odd\"").is_err());
}
