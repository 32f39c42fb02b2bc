//! The same deletion lives through three years, in three time zones: what law kept ends record by record, and names and numbers
//! are held back no longer, each on its day, each once; and the processes are killed on the way.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, anyhow, ensure};
use farewell_proto::deletion::v1::{Deletion, GetCertificateRequest, State};
use farewell_proto::identifier::v1::{IdentifierKind, IdentifierStanding};
use farewell_tests::caller::Caller;
use farewell_tests::process::database;
use farewell_tests::time_machine::TimeMachine;
use farewell_tests::town::Town;
use farewell_tests::{audit, wait};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use serde_json::Value;
use tokio::time::sleep;

/// By class.
type Counts = BTreeMap<String, i64>;

const ACCOUNT: &str = "a-1";
const ZONES: [&str; 3] = ["Asia/Shanghai", "Europe/Berlin", "America/Los_Angeles"];
/// What [`farewell_store::sample`] leaves to be kept: orders for three years, entries of the access log for six months, each from
/// so many days ago.
const KEPT: [(&str, i64, i64); 5] = [
    ("server_logs", 6, 60),
    ("server_logs", 6, 3),
    ("transactions", 36, 700),
    ("transactions", 36, 300),
    ("transactions", 36, 40),
];
/// What is held back, for so many days from now.
const HELD_BACK: [(&str, i64); 3] = [
    ("quarantined_email", 30),
    ("quarantined_phone", 30),
    ("quarantined_user_name", 180),
];
const PHONE: &str = "+86 138 0000 0000";
const MAIL: &str = "li.na@example.com";
/// In the same order, and not as they were written then.
const IDENTIFIERS: [(IdentifierKind, &str); 3] = [
    (IdentifierKind::Email, "Li.Na@Example.com"),
    (IdentifierKind::Phone, "+86-138-0000-0000"),
    (IdentifierKind::UserName, "Lina_In_The_Hills"),
];
/// Nothing may happen so shortly before its time, and must have happened so shortly after.
const BEFORE: Duration = Duration::from_secs(120);
const AFTER: Duration = Duration::from_secs(5);
/// Long enough for a process to look at what is due, several times.
const LOOKS: Duration = Duration::from_secs(4);

/// Whether each identifier is held back until its day, and no longer.
async fn judge(town: &Town, ends: &BTreeMap<SystemTime, Counts>, now: SystemTime) -> Result<()> {
    for ((kind, value), (class, _)) in IDENTIFIERS.into_iter().zip(HELD_BACK) {
        let end = ends.iter().find(|(_, ending)| ending.contains_key(class));
        let (end, _) = end.context("its end")?;
        let expected = if *end > now {
            (IdentifierStanding::Quarantined, Some(*end))
        } else {
            (IdentifierStanding::Free, None)
        };
        let standing = town.standing(kind, value).await?;
        ensure!(standing == expected, "{class}: {standing:?}");
    }
    Ok(())
}

/// What ends when, by class: with the day, in that zone, that the calendar gives.
fn ends(zone: &str, began: SystemTime) -> Result<BTreeMap<SystemTime, Counts>> {
    let zone = TimeZone::get(zone)?;
    let began = Timestamp::try_from(began)?;
    let day = |at: Timestamp| at.to_zoned(zone.clone()).date();
    let mut last = Vec::new();
    for (class, months, days) in KEPT {
        let completed = day(began - (days * 24).hours());
        last.push((class, completed.checked_add(months.months())?));
    }
    for (class, days) in HELD_BACK {
        last.push((class, day(began).checked_add(days.days())?));
    }
    let mut ends = BTreeMap::<_, Counts>::new();
    for (class, last) in last {
        let end = last.tomorrow()?.to_zoned(zone.clone())?.timestamp();
        let ending = ends.entry(SystemTime::from(end)).or_default();
        *ending.entry(class.to_owned()).or_default() += 1;
    }
    Ok(ends)
}

/// Everything that has ended so far, by class, and when the last of it was recorded.
async fn ended(caller: &Caller, name: &str) -> Result<(Counts, Option<SystemTime>)> {
    let request = GetCertificateRequest {
        name: name.to_owned(),
    };
    let answer = caller.api.clone().get_certificate(request).await;
    let answer = answer.map_err(|status| anyhow!("{status:?}"))?.into_inner();
    let (mut ended, mut last) = (Counts::new(), None);
    for addendum in &answer.addenda {
        let addendum: Value = serde_json::from_str(addendum)?;
        let expired: Counts = serde_json::from_value(addendum["expired"].clone())?;
        for (class, count) in expired {
            *ended.entry(class).or_default() += count;
        }
        let recorded: Timestamp = addendum["recorded"].as_str().context("a time")?.parse()?;
        last = last.max(Some(recorded.into()));
    }
    Ok((ended, last))
}

/// What is still owed, by class.
fn owed(deletion: &Deletion) -> BTreeMap<&str, i64> {
    let kept = deletion
        .obligations
        .iter()
        .filter_map(|it| it.retention.as_ref());
    kept.map(|kept| (kept.class.as_str(), kept.count)).collect()
}

/// What the store's file holds of it, whatever anybody says.
async fn held(folder: &Path, name: &str) -> Result<i64> {
    let store = farewell_store::open(&database(folder, "store")).await?;
    let id = name.trim_start_matches("deletions/");
    let kept = farewell_store::kept(&store, id).await?;
    store.pool().close().await;
    Ok(kept.iter().map(|kept| kept.count).sum())
}

async fn live(zone: &str) -> Result<()> {
    let Some(town) = Town::build(zone)? else {
        return Ok(());
    };
    TimeMachine::away_from_midnight(zone).await?;
    years(&town, zone)
        .await
        .with_context(|| format!("{zone}\n{}", town.words()))
}

async fn years(town: &Town, zone: &str) -> Result<()> {
    let folder = town.folder.path();
    let store = farewell_store::open(&database(folder, "store")).await?;
    let began = SystemTime::now();
    farewell_store::sample(&store, ACCOUNT).await?;
    store.pool().close().await;
    let identity = farewell_identity::open(&database(folder, "identity")).await?;
    farewell_identity::sample(&identity, ACCOUNT, PHONE, MAIL, "a long password").await?;
    identity.pool().close().await;

    let mut coordinator = town.site.start().await?;
    let mut services = [town.service("store")?, town.service("identity")?];
    let caller = town.site.caller()?;
    for (kind, value) in IDENTIFIERS {
        let standing = town.standing(kind, value).await?;
        ensure!(standing == (IdentifierStanding::InUse, None), "{value}");
    }
    let name = caller.delete(ACCOUNT).await?;
    caller.until(&name, State::Purged).await?;
    let mut all = BTreeMap::from([("server_logs", 2), ("transactions", 3)]);
    all.extend(HELD_BACK.map(|(class, _)| (class, 1)));
    let kept = |it: &Deletion| Ok(owed(it) == all);
    caller.until_true(&name, "what is kept", kept).await?;
    let ends = ends(zone, began)?;

    let mut so_far = Counts::new();
    for (place, (end, ending)) in ends.iter().enumerate() {
        town.machine.travel(*end - BEFORE)?;
        sleep(LOOKS).await;
        let (early, _) = ended(&caller, &name).await?;
        ensure!(early == so_far, "before {ending:?}: {early:?}");
        judge(town, &ends, *end - BEFORE).await?;
        // Whoever is dead on the day does it when it lives again.
        if place == 2 {
            coordinator.kill()?;
            for service in services {
                service.kill()?;
            }
            town.machine.travel(*end + AFTER)?;
            coordinator = town.site.start().await?;
            services = [town.service("store")?, town.service("identity")?];
        } else {
            town.machine.travel(*end + AFTER)?;
        }
        for (class, count) in ending {
            *so_far.entry(class.clone()).or_default() += count;
        }
        let last = wait::until("an end", async || {
            let (now, last) = ended(&caller, &name).await?;
            Ok((now == so_far).then_some(last))
        })
        .await
        .with_context(|| format!("{ending:?}"))?;
        let late = last.context("a time")?.duration_since(*end)?;
        ensure!(late < BEFORE, "{ending:?} {late:?} late");
        let left = ORDERS_AND_ENTRIES - of_the_store(&so_far);
        ensure!(held(folder, &name).await? == left, "the store's file");
        judge(town, &ends, *end + AFTER).await?;
    }
    let closed = |it: &Deletion| Ok(it.close_time.is_some() && it.obligations.is_empty());
    caller
        .until_true(&name, "the end of everything", closed)
        .await?;

    town.machine
        .travel(began + Duration::from_secs(5 * 365 * 24 * 3_600))?;
    sleep(LOOKS).await;
    ensure!(
        ended(&caller, &name).await?.0 == so_far,
        "an end came twice"
    );
    for service in services {
        service.end().await?;
    }
    coordinator.end().await?;
    let ledger = farewell_ledger::connect(&database(folder, "ledger")).await?;
    ensure!(audit::sound(&*ledger).await? == 1);
    // Of each that was held back, others were told once.
    let words = town.site.words();
    for kind in ["user_name", "phone", "email"] {
        let told = words.lines().filter(|line| {
            line.contains("identifier-recycled") && line.contains(&format!("kind=\"{kind}\""))
        });
        ensure!(told.count() == 1, "{kind}");
    }
    Ok(())
}

/// Orders and entries that the store keeps at first, and how many of what has ended were its own.
const ORDERS_AND_ENTRIES: i64 = 5;

fn of_the_store(ended: &Counts) -> i64 {
    let own = ended
        .iter()
        .filter(|(class, _)| !class.starts_with("quarantined"));
    own.map(|(_, count)| count).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_law_keeps_ends_on_its_day_and_once_in_three_time_zones() -> Result<()> {
    let [east, middle, west] = ZONES.map(live);
    tokio::try_join!(east, middle, west)?;
    Ok(())
}
