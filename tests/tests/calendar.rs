//! Holds the calendars to what others say: two packages for China that were made apart from one another, statutes for
//! Germany and the United States, and Python's own zones, each by `tests/calendar/independent.py`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use farewell_core::calendar::{Calendar, Date, Period, Zone};
use farewell_tests::process::needed;

const NOON: Duration = Duration::from_secs(12 * 3600);
/// So many differences are shown.
const SHOWN_MAX: usize = 20;

/// How many facts of a kind were compared, and which of them the product sees otherwise.
#[derive(Default)]
struct Comparison {
    compared: BTreeMap<String, usize>,
    dates: BTreeSet<Date>,
    different: Vec<String>,
}

impl Comparison {
    fn add(&mut self, kind: String, same: bool, fact: &str) {
        *self.compared.entry(kind).or_default() += 1;
        if !same {
            self.different.push(fact.replace('\t', " "));
        }
    }
}

#[test]
fn calendars_and_periods_agree_with_independent_sources() -> Result<()> {
    let Some(python) = needed("FAREWELL_TEST_PYTHON") else {
        return Ok(());
    };
    let facts = run(Command::new(python).arg(root().join("tests/calendar/independent.py")))?;
    let utc: Zone = "UTC".parse()?;
    let mut comparison = Comparison::default();
    for fact in facts.lines() {
        let words: Vec<&str> = fact.split('\t').collect();
        match words[..] {
            ["source", name, date, source, says] => {
                let date: Date = date.parse()?;
                let works = calendar(name)?.is_working_day(date);
                comparison.add(
                    format!("days of {name} by {source}"),
                    works == (says == "work"),
                    fact,
                );
                comparison.dates.insert(date);
            }
            ["end", name, start, period, last] => {
                let kind = format!(
                    "ends by {name}, {}",
                    period.trim_start_matches(|c: char| !c.is_alphabetic())
                );
                let period: Period = period.parse()?;
                let from = utc.start_of(start.parse()?) + NOON;
                let end = period.end(from, calendar(name)?, &utc);
                let last: Date = last.parse()?;
                let same = end.last_day == last && end.at == utc.start_of(last.tomorrow()?);
                comparison.add(kind, same, fact);
            }
            ["midnight", zone, date, seconds] => {
                let start = zone.parse::<Zone>()?.start_of(date.parse()?);
                let seconds: i64 = seconds.parse()?;
                comparison.add(
                    format!("midnights in {zone}"),
                    start.micros() == seconds * 1_000_000,
                    fact,
                );
            }
            _ => bail!("unknown: {fact}"),
        }
    }

    println!("compared {} dates:", comparison.dates.len());
    for (kind, count) in &comparison.compared {
        println!("{count:>8}  {kind}");
    }
    let shown = &comparison.different[..comparison.different.len().min(SHOWN_MAX)];
    ensure!(
        shown.is_empty(),
        "{} differ, such as\n{}",
        comparison.different.len(),
        shown.join("\n")
    );
    ensure!(comparison.dates.len() > 8000, "too few dates");
    for name in ["cn", "de", "us"] {
        let sources = comparison
            .compared
            .keys()
            .filter(|kind| kind.starts_with(&format!("days of {name} ")));
        ensure!(sources.count() == 2, "{name} needs two sources");
    }
    Ok(())
}

#[test]
fn the_files_of_the_calendars_are_what_their_source_gives() -> Result<()> {
    let Some(python) = needed("FAREWELL_TEST_PYTHON") else {
        return Ok(());
    };
    let generate = root().join("services/core/data/calendars/generate.py");
    run(Command::new(python).arg(generate).arg("--check"))?;
    Ok(())
}

fn calendar(name: &str) -> Result<&'static Calendar> {
    Calendar::built_in(name).with_context(|| format!("no calendar {name}"))
}

/// What a program says on standard output, once it has ended well.
fn run(command: &mut Command) -> Result<String> {
    let Output {
        status,
        stdout,
        stderr,
    } = command
        .output()
        .with_context(|| format!("starting {command:?}"))?;
    ensure!(
        status.success(),
        "{command:?}: {status}\n{}",
        String::from_utf8_lossy(&stderr)
    );
    Ok(String::from_utf8(stdout)?)
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
