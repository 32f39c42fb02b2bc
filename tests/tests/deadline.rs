//! When a deletion must be complete, as a caller sees it: by the working days, months and time zone of its policy.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use farewell_core::calendar::{Calendar, Zone};
use farewell_core::policy::{Deadline, Document};
use farewell_core::{Policy, Time};
use farewell_proto::deletion::v1::Deletion;
use farewell_tests::caller::request;
use farewell_tests::coordinator::Coordinator;
use farewell_tests::wait;
use jiff::civil::Date;
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
    let coordinator = Coordinator::start(Policy::cn(), &ledger).await?;
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

    let coordinator = Coordinator::start(Policy::cn(), &ledger).await?;
    let caller = coordinator.caller()?;
    wait::until("the deadline to be counted again", async || {
        let found = caller.get(&asked.name).await?;
        Ok((found.deadline == asked.deadline).then_some(()))
    })
    .await?;
    coordinator.stop().await
}
