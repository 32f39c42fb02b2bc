//! The same deletion lives through three years, in three time zones: what law kept ends record by record, each on its day, each
//! once, and the processes are killed on the way.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, anyhow, ensure};
use farewell_proto::deletion::v1::{Deletion, GetCertificateRequest, State};
use farewell_tests::caller::Caller;
use farewell_tests::process::{CoordinatorSite, Process, Told, database, needed};
use farewell_tests::time_machine::TimeMachine;
use farewell_tests::{audit, wait};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::sleep;

const ACCOUNT: &str = "a-1";
const ZONES: [&str; 3] = ["Asia/Shanghai", "Europe/Berlin", "America/Los_Angeles"];
/// What [`farewell_store::sample`] leaves to be kept: orders for three years, entries of the access log for six months, each from
/// so many days ago.
const KEPT: [(&str, u32, i64); 5] = [
    ("server_logs", 6, 60),
    ("server_logs", 6, 3),
    ("transactions", 36, 700),
    ("transactions", 36, 300),
    ("transactions", 36, 40),
];
/// Nothing may happen so shortly before its time, and must have happened so shortly after.
const BEFORE: Duration = Duration::from_secs(120);
const AFTER: Duration = Duration::from_secs(5);
/// Long enough for a process to look at what is due, several times.
const LOOKS: Duration = Duration::from_secs(4);

struct Town {
    folder: TempDir,
    program: String,
    site: CoordinatorSite,
    machine: TimeMachine,
}

impl Town {
    fn build(zone: &str) -> Result<Option<Self>> {
        let folder = TempDir::new()?;
        let (Some(program), Some(machine)) =
            (needed("FAREWELL_BIN"), TimeMachine::new(folder.path())?)
        else {
            return Ok(None);
        };
        let ledger = database(folder.path(), "ledger");
        let told = Told {
            instance: "one",
            stages: &[&["store"]],
            ledger: &ledger,
            lease: "2s",
            cooling_off: "300ms",
            collector: "",
        };
        let mut site = CoordinatorSite::new(&program, folder.path(), &told)?;
        site.env = machine.env();
        let zone = ("FAREWELL_COORDINATOR__POLICY__TIME_ZONE", zone);
        site.env.push((zone.0.to_owned(), zone.1.to_owned()));
        Ok(Some(Self {
            folder,
            program,
            site,
            machine,
        }))
    }

    fn store(&self) -> Result<Process> {
        let config = self.folder.path().join("store.toml");
        let text = format!(
            "[service.store]\nplain = true\ndrain = \"2s\"\ncoordinators = [\"{}\"]\ndatabase = \"{}\"\n",
            self.site.participants,
            database(self.folder.path(), "store")
        );
        std::fs::write(&config, text)?;
        let mut command = Command::new(&self.program);
        command.args(["service", "store", "--with-parent", "--config"]);
        command.arg(&config).envs(self.machine.env());
        Process::start(&mut command, &self.folder.path().join("store.log"))
    }

    fn words(&self) -> String {
        let store = std::fs::read_to_string(self.folder.path().join("store.log"));
        self.site.words() + &store.unwrap_or_default()
    }
}

/// When each of them ends: with the day, in that zone, that the calendar gives. In order.
fn ends(zone: &str, began: SystemTime) -> Result<Vec<(SystemTime, &'static str)>> {
    let zone = TimeZone::get(zone)?;
    let mut ends = Vec::new();
    for (class, months, days) in KEPT {
        let at = Timestamp::try_from(began)? - (days * 24).hours();
        let last = at
            .to_zoned(zone.clone())
            .date()
            .checked_add(i64::from(months).months())?;
        let end = last.tomorrow()?.to_zoned(zone.clone())?;
        ends.push((SystemTime::from(end.timestamp()), class));
    }
    ends.sort();
    Ok(ends)
}

async fn addenda(caller: &Caller, name: &str) -> Result<Vec<Value>> {
    let request = GetCertificateRequest {
        name: name.to_owned(),
    };
    let answer = caller.api.clone().get_certificate(request).await;
    let answer = answer.map_err(|status| anyhow!("{status:?}"))?.into_inner();
    let read = answer
        .addenda
        .iter()
        .map(|it| Ok(serde_json::from_str(it)?));
    read.collect()
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

    let mut coordinator = town.site.start().await?;
    let mut shop = town.store()?;
    let caller = town.site.caller()?;
    let name = caller.delete(ACCOUNT).await?;
    caller.until(&name, State::Purged).await?;
    let all = BTreeMap::from([("server_logs", 2), ("transactions", 3)]);
    caller
        .until_true(&name, "what is kept", |it| Ok(owed(it) == all))
        .await?;
    ensure!(held(folder, &name).await? == 5);

    for (place, (end, class)) in ends(zone, began)?.into_iter().enumerate() {
        town.machine.travel(end - BEFORE)?;
        sleep(LOOKS).await;
        ensure!(
            addenda(&caller, &name).await?.len() == place,
            "{class} ended before its day"
        );
        ensure!(held(folder, &name).await? == 5 - i64::try_from(place)?);
        // Whoever is dead on the day does it when it lives again.
        if place == 2 {
            coordinator.kill()?;
            shop.kill()?;
            town.machine.travel(end + AFTER)?;
            coordinator = town.site.start().await?;
            shop = town.store()?;
        } else {
            town.machine.travel(end + AFTER)?;
        }
        let told = wait::until("an end", async || {
            let told = addenda(&caller, &name).await?;
            Ok((told.len() > place).then_some(told))
        })
        .await?;
        ensure!(told.len() == place + 1, "{told:?}");
        let last = &told[place];
        ensure!(last["expired"] == json!({class: 1}), "{last}");
        let recorded: Timestamp = last["recorded"].as_str().context("a time")?.parse()?;
        let late = SystemTime::from(recorded).duration_since(end)?;
        ensure!(late < BEFORE, "{class} ended {late:?} late");
        ensure!(held(folder, &name).await? == 4 - i64::try_from(place)?);
    }
    let closed = |it: &Deletion| Ok(it.close_time.is_some() && it.obligations.is_empty());
    caller
        .until_true(&name, "the end of everything", closed)
        .await?;

    town.machine
        .travel(began + Duration::from_secs(5 * 365 * 24 * 3_600))?;
    sleep(LOOKS).await;
    ensure!(
        addenda(&caller, &name).await?.len() == 5,
        "an end came twice"
    );
    shop.end().await?;
    coordinator.end().await?;
    let ledger = farewell_ledger::connect(&database(folder, "ledger")).await?;
    ensure!(audit::sound(&*ledger).await? == 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_law_keeps_ends_on_its_day_and_once_in_three_time_zones() -> Result<()> {
    let [east, middle, west] = ZONES.map(live);
    tokio::try_join!(east, middle, west)?;
    Ok(())
}
