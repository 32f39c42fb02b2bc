//! When a deletion must be complete, as a caller sees it: by the working days, months and time zone of its policy.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use farewell_core::calendar::{Calendar, Zone};
use farewell_core::policy::{Deadline, Document};
use farewell_core::{Policy, Time};
use farewell_proto::deletion::v1::Deletion;
use farewell_tests::caller::request;
use farewell_tests::coordinator::Coordinator;
use farewell_tests::process::{CoordinatorSite, Told, needed};
use farewell_tests::wait;
use jiff::civil::{Date, Weekday};
use jiff::{Timestamp, ToSpan as _};
use sqlx::SqlitePool;
use tempfile::TempDir;

fn time(at: Option<&prost_types::Timestamp>) -> Result<Timestamp> {
    let at = at.context("a time")?;
    Ok(Timestamp::new(at.seconds, at.nanos)?)
}

/// The day on which the deletion was asked for, and the last on which it may be complete.
fn days(deletion: &Deletion, zone: &Zone) -> Result<(Date, Date)> {
    let local = |at: Timestamp| at.in_tz(zone.name());
    let end = local(time(deletion.deadline.as_ref())?)?;
    ensure!(
        end.time() == jiff::civil::Time::midnight(),
        "a day ends at midnight: {end}"
    );
    let asked = local(time(deletion.create_time.as_ref())?)?;
    Ok((asked.date(), end.date().yesterday()?))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_policy_counts_its_own_days() -> Result<()> {
    for name in Document::SHIPPED {
        let policy = Policy::shipped(name).context("a policy that is shipped")?;
        let coordinator = Coordinator::start(policy.clone(), "memory:").await?;
        let caller = coordinator.caller()?;
        let asked = caller.ask(request("alice")).await?;
        let shown = caller.get(&asked.name).await?;
        ensure!(shown.deadline == asked.deadline, "{shown:?}");
        let (first, last) = days(&shown, &policy.time_zone)?;
        let calendar = Calendar::built_in(&policy.calendar).context("a calendar")?;
        // Day by day, by nothing but which days are worked.
        let worked = |date: &Date| calendar.is_working_day(*date);
        let later = first.series(1.day()).skip(1);
        let expected = match name {
            "cn" => later.filter(worked).nth(14),
            "eu" => {
                let month = first.checked_add(1.month())?;
                month.series(1.day()).find(worked)
            }
            "us" => first.checked_add(45.days()).ok(),
            _ => first.checked_add(1.month()).ok(),
        };
        assert_eq!(Some(last), expected, "{name}");
        let left = later_of(first)
            .take_while(|date| *date <= last)
            .filter(worked);
        assert_eq!(
            shown.working_days_left,
            i32::try_from(left.count()).ok(),
            "{name}"
        );
        // All dates on the way are asked for, and with days alone none is.
        let sure = name == "us" || name == "default" || calendar.covers(last);
        assert_eq!(shown.deadline_provisional, !sure, "{name}");
        coordinator.stop().await?;
    }
    Ok(())
}

fn later_of(first: Date) -> impl Iterator<Item = Date> {
    first.series(1.day()).skip(1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_keeps_the_policy_that_it_started_with() -> Result<()> {
    let folder = TempDir::new()?;
    let ledger = format!("sqlite:{}", folder.path().join("ledger.db").display());
    let cn = Policy::cn();
    let coordinator = Coordinator::start(cn.clone(), &ledger).await?;
    let old = coordinator.caller()?.ask(request("alice")).await?;
    coordinator.stop().await?;

    let hasty = Policy {
        name: "hasty".to_owned(),
        deadline: "30 days".parse::<Deadline>()?,
        cooling_off: Duration::from_secs(60),
        ..cn
    };
    let coordinator = Coordinator::start(hasty.clone(), &ledger).await?;
    let caller = coordinator.caller()?;
    let new = caller.ask(request("bob")).await?;
    let kept = caller.get(&old.name).await?;
    assert_eq!(
        (kept.policy_version, kept.deadline),
        (old.policy_version, old.deadline)
    );
    ensure!(new.policy_version > old.policy_version, "{new:?}");
    let asked = time(new.create_time.as_ref())?;
    let due = hasty.due(Time::from_micros(asked.as_microsecond()));
    assert_eq!(
        time(new.deadline.as_ref())?.as_microsecond(),
        due.at.micros()
    );
    coordinator.stop().await
}

/// As if it had been set by a program that knew less of the holidays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_calendar_counts_deadlines_again() -> Result<()> {
    let folder = TempDir::new()?;
    let file = folder.path().join("ledger.db");
    let ledger = format!("sqlite:{}", file.display());
    // Whoever runs this in which year: a deadline moves only to where all days are known.
    let today = Timestamp::now()
        .in_tz(Policy::cn().time_zone.name())?
        .date();
    let known = Days {
        version: 1,
        covered: [today.checked_sub(30.days())?, today.checked_add(90.days())?],
        off: Vec::new(),
        work: Vec::new(),
    };
    let calendar = Calendar::parse(&known.text()).map_err(|wrong| anyhow!("{wrong:?}"))?;
    let policy = Policy {
        calendar: calendar.name().to_owned(),
        own_calendar: Some(calendar),
        ..Policy::cn()
    };
    let coordinator = Coordinator::start(policy.clone(), &ledger).await?;
    let asked = coordinator.caller()?.ask(request("alice")).await?;
    coordinator.stop().await?;

    let pool = SqlitePool::connect(&ledger).await?;
    let day = Duration::from_secs(24 * 60 * 60).as_micros();
    let earlier = sqlx::query("UPDATE deletion SET deadline = deadline - $1")
        .bind(i64::try_from(day)?)
        .execute(&pool)
        .await?;
    assert_eq!(earlier.rows_affected(), 1);
    pool.close().await;

    let coordinator = Coordinator::start(policy, &ledger).await?;
    let caller = coordinator.caller()?;
    wait::until("the deadline to be counted again", async || {
        let found = caller.get(&asked.name).await?;
        Ok((found.deadline == asked.deadline).then_some(()))
    })
    .await?;
    coordinator.stop().await
}

/// A calendar of the story's own: what is covered, and which of it differs from the week.
struct Days {
    version: u32,
    covered: [Date; 2],
    off: Vec<Date>,
    work: Vec<Date>,
}

impl Days {
    fn works(&self, date: Date) -> bool {
        let weekend = matches!(date.weekday(), Weekday::Saturday | Weekday::Sunday);
        self.work.contains(&date) || !weekend && !self.off.contains(&date)
    }

    /// The end of the fifteenth working day, counted one by one.
    fn due(&self, asked: Date) -> Result<Date> {
        let last = later_of(asked).filter(|date| self.works(*date)).nth(14);
        last.context("fifteen days")
    }

    /// As a calendar's file.
    fn text(&self) -> String {
        let [from, to] = self.covered;
        let off = self.off.iter().map(|date| (*date, "off A holiday"));
        let work = self.work.iter().map(|date| (*date, "work In its place"));
        let special: BTreeMap<_, _> = off.chain(work).collect();
        let special = special
            .iter()
            .map(|(date, what)| format!("{date} {what}\n"));
        format!(
            "name: story-days\nversion: {}\nsource: a story\nweekend: Saturday Sunday\ncovered: {from} to {to}\n\n{}",
            self.version,
            special.collect::<String>()
        )
    }

    fn write(&self, file: &Path) -> Result<()> {
        Ok(fs::write(file, self.text())?)
    }
}

/// How often it is on record that a deadline was counted again.
async fn recounted(ledger: &str, name: &str) -> Result<usize> {
    let ledger = farewell_ledger::connect(ledger).await?;
    let id = name.trim_start_matches("deletions/").parse()?;
    let history = ledger.history(id, 0, 1_000).await?;
    let again = history.iter().filter(|it| it.note == "DEADLINE_RECOUNTED");
    Ok(again.count())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_regions_own_calendar_counts_deadlines_and_a_later_one_counts_them_again_once()
-> Result<()> {
    let Some(program) = needed("FAREWELL_BIN") else {
        return Ok(());
    };
    let folder = TempDir::new()?;
    let ledger = format!("sqlite:{}", folder.path().join("ledger.db").display());
    let told = Told {
        instance: "one",
        stages: &[&["store"]],
        ledger: &ledger,
        lease: "2s",
        cooling_off: "1h",
        collector: "",
    };
    let mut site = CoordinatorSite::new(&program, folder.path(), &told)?;
    let file = folder.path().join("story-days.txt");
    for (key, value) in [
        ("CALENDAR", file.display().to_string()),
        ("DEADLINE", "15 working days".to_owned()),
        ("TIME_ZONE", "Europe/Berlin".to_owned()),
    ] {
        let key = format!("FAREWELL_COORDINATOR__POLICY__{key}");
        site.env.push((key, value));
    }
    let zone: Zone = "Europe/Berlin".parse()?;
    let today = Timestamp::now().in_tz(zone.name())?.date();
    // Next year's holidays are not published: it is known what is worked for a week.
    let mut known = Days {
        version: 1,
        covered: [today.checked_sub(30.days())?, today.checked_add(7.days())?],
        off: Vec::new(),
        work: Vec::new(),
    };
    known.write(&file)?;
    let coordinator = site.start().await?;
    let caller = site.caller()?;
    let early = caller.ask(request("alice")).await?;
    let (asked, last) = days(&early, &zone)?;
    assert_eq!(last, known.due(asked)?);
    ensure!(caller.get(&early.name).await?.deadline_provisional);
    // The same once more says nothing new.
    coordinator.kill()?;
    let coordinator = site.start().await?;
    ensure!(caller.get(&early.name).await?.deadline_provisional);
    coordinator.kill()?;

    // They are: two days off in the second week, and a Saturday that is worked for one of them.
    let second_week = |weekday| -> Result<Date> {
        let mut dates = today.checked_add(7.days())?.series(1.day()).skip(1);
        dates
            .find(|date| date.weekday() == weekday)
            .context("a day of a week")
    };
    known = Days {
        version: 2,
        covered: [known.covered[0], today.checked_add(90.days())?],
        off: vec![
            second_week(Weekday::Tuesday)?,
            second_week(Weekday::Wednesday)?,
        ],
        work: vec![second_week(Weekday::Saturday)?],
    };
    known.write(&file)?;
    let due = known.due(asked)?;
    ensure!(due != last, "{due}: the story's holidays change nothing");
    // Whoever starts first with it is killed at once, whether it has counted or not.
    site.launch()?.kill()?;
    let coordinator = site.start().await?;
    let again = caller
        .until_true(&early.name, "the deadline to be counted again", |it| {
            Ok(days(it, &zone)?.1 == due && !it.deadline_provisional)
        })
        .await?;
    assert_eq!(
        again.policy_version, early.policy_version,
        "the law that it began with"
    );
    let new = caller.ask(request("bob")).await?.name;
    let new = caller.get(&new).await?;
    let (asked, last) = days(&new, &zone)?;
    assert_eq!((last, new.deadline_provisional), (known.due(asked)?, false));
    ensure!(new.policy_version > early.policy_version);
    coordinator.kill()?;

    // A coordinator that is started with the old file knows less, and says so; what was counted stays.
    Days {
        version: 1,
        covered: [today.checked_sub(30.days())?, today.checked_add(7.days())?],
        off: Vec::new(),
        work: Vec::new(),
    }
    .write(&file)?;
    let coordinator = site.start().await?;
    let shown = caller.get(&early.name).await?;
    ensure!(
        shown.deadline == again.deadline && shown.deadline_provisional,
        "{shown:?}"
    );
    coordinator.kill()?;
    known.write(&file)?;
    let coordinator = site.start().await?;
    let shown = caller.get(&early.name).await?;
    ensure!(
        shown.deadline == again.deadline && !shown.deadline_provisional,
        "{shown:?}"
    );
    coordinator.end().await?;
    assert_eq!(recounted(&ledger, &early.name).await?, 1);
    assert_eq!(recounted(&ledger, &new.name).await?, 0);
    Ok(())
}
