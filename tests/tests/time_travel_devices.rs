//! A deletion lives through more than two years: its owner is reminded, its devices are waited for, an alarm is raised and its
//! deadline passes; and two phones lie in drawers, of which one comes back a moment before its order's last day is over and the
//! other a moment after. Each on its day, each once, in three time zones; and whoever has to do it is dead on some of those days.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, anyhow, ensure};
use farewell_core::calendar::Calendar;
use farewell_kit::store::{Store, time};
use farewell_proto::deletion::v1::{Deletion, GetCertificateRequest, State};
use farewell_tests::agents::{AgentsSite, Ground};
use farewell_tests::caller::Caller;
use farewell_tests::process::{Process, database, needed};
use farewell_tests::town::Town;
use farewell_tests::{audit, foreign, wait};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use serde_json::Value;
use tokio::time::sleep;

const ZONES: [&str; 3] = ["Asia/Shanghai", "Europe/Berlin", "America/Los_Angeles"];
const ACCOUNT: &str = "a-1";
const PHONE: &str = "+86 138 0000 0000";
const MAIL: &str = "li.na@example.com";
/// Everybody who is told: the number and the address.
const TOLD: usize = 2;
const EARLY: &str = "early";
const LATE: &str = "late";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How long before the cooling-off period ends its owner is reminded, by the settings below.
const REMINDERS: [Duration; 2] = [DAY.saturating_mul(3), DAY];
/// What the policy `cn` says: how long before the deadline an alarm is raised, devices are waited for, and their orders hold.
const WARNING: Duration = DAY.saturating_mul(3);
const HORIZON: Duration = DAY.saturating_mul(7);
const ORDER_LIFE: Duration = DAY.saturating_mul(400);
/// What the agent does: of what is left to the deadline devices get one part in so many, and orders are kept so long afterwards.
const DEADLINE_SHARE: u32 = 3;
const ORDER_KEPT: Duration = DAY.saturating_mul(400);
/// Nothing may happen so shortly before its time.
const BEFORE: Duration = Duration::from_secs(120);
/// It is looked so shortly after it.
const AFTER: Duration = Duration::from_secs(5);
/// Long enough for a process to look at what is due, several times.
const LOOKS: Duration = Duration::from_secs(3);

/// What is due of a deletion that is erasing is seen when a coordinator starts, and at each sweep, every half minute.
const PATIENCE: Duration = Duration::from_secs(90);

struct Story {
    town: Town,
    agents: AgentsSite,
    python: String,
    zone: TimeZone,
    /// The phones' own file.
    phones: Store,
    caller: Caller,
    /// Of the one deletion.
    name: String,
    coordinator: Option<Process>,
    identity: Option<Process>,
    agent: Option<Process>,
}

impl Story {
    /// Two phones are bound, and their owner has asked. `None` if the story is to be skipped.
    async fn begin(zone: &str) -> Result<Option<(Self, [u64; 2], Process)>> {
        let stages: &[&[&str]] = &[&["phones"], &["store"], &["identity"]];
        let (Some(python), Some(mut town)) = (
            needed("FAREWELL_TEST_PYTHON"),
            Town::planned(zone, stages, "7d")?,
        ) else {
            return Ok(None);
        };
        let reminders = "FAREWELL_COORDINATOR__POLICY__NOTICES__REMINDERS";
        let before = "[\"3d\", \"1d\"]";
        town.site
            .env
            .push((reminders.to_owned(), before.to_owned()));
        let folder = town.folder.path();
        let mut agents = AgentsSite::new(&town.program, folder, &town.site, &Ground::default())?;
        agents.env = town.machine.env();
        let identity = farewell_identity::open(&database(folder, "identity")).await?;
        farewell_identity::sample(&identity, ACCOUNT, PHONE, MAIL, "a long password").await?;
        identity.pool().close().await;

        let coordinator = Some(town.site.start().await?);
        let store = town.service("store")?;
        let mut story = Self {
            identity: Some(town.service("identity")?),
            agent: Some(agents.launch("phones")?),
            caller: town.site.caller()?,
            zone: TimeZone::get(zone)?,
            name: String::new(),
            phones: Store::open(&database(folder, "phones"), "phones", &[]).await?,
            coordinator,
            python,
            agents,
            town,
        };
        let epochs = [story.bind(EARLY).await?, story.bind(LATE).await?];
        story.name = story.caller.delete(ACCOUNT).await?;
        Ok(Some((story, epochs, store)))
    }

    async fn bind(&self, device: &str) -> Result<u64> {
        let binding = foreign::binding(device, ACCOUNT);
        let (epoch, _) = foreign::bind(&self.agents, "phones", binding).await?;
        Ok(epoch)
    }

    /// The phone asks what time it is, and attaches at once.
    fn switch_on(&self, device: &str, epoch: u64) -> Result<Process> {
        let agent = self.agents.devices("phones").context("phones")?;
        let mut phone = foreign::device(&self.python, &self.agents, "phone", device, epoch);
        phone.args(["--agent", agent, "--clockless"]);
        Process::start_apart(&mut phone, &self.told(device), &self.town.log("python"))
    }

    /// Where it says what it does.
    fn told(&self, device: &str) -> PathBuf {
        self.town.path(&format!("{device}.json"))
    }

    /// Letters of a kind, each by its id: one that came twice under one is one.
    fn letters(&self, kind: &str) -> Result<usize> {
        let text = std::fs::read_to_string(self.town.path("codes")).unwrap_or_default();
        let mut ids = BTreeSet::new();
        for line in text.lines() {
            let letter: Value = serde_json::from_str(line)?;
            if letter["kind"] == kind {
                ids.insert(letter["id"].to_string());
            }
        }
        Ok(ids.len())
    }

    async fn until_letters(&self, kind: &str, count: usize) -> Result<()> {
        let all = wait::until_within(PATIENCE, "letters", async || {
            let there = self.letters(kind)?;
            ensure!(there <= count, "{there} letters {kind}");
            Ok((there == count).then_some(()))
        });
        all.await.with_context(|| format!("{count} letters {kind}"))
    }

    /// How often operators were alarmed by this word.
    fn alarms(&self, word: &str) -> usize {
        let words = self.town.site.words();
        let alarm =
            |line: &&str| line.contains("farewell::alarm") && line.split(' ').any(|it| it == word);
        words.lines().filter(alarm).count()
    }

    /// Deletions whose deadline has passed, and whose is near.
    async fn late(&self) -> Result<(i64, i64)> {
        let overview = self.town.site.operator()?.overview().await?;
        Ok((overview.overdue, overview.overdue_soon))
    }

    /// kill -9 of the coordinator, and another; what it had put off in its memory is asked for again.
    async fn restart_coordinator(&mut self) -> Result<()> {
        self.coordinator.take().context("a coordinator")?.kill()?;
        self.coordinator = Some(self.town.site.start().await?);
        Ok(())
    }

    /// kill -9 of who tells people; returns when both are back and know of one another.
    async fn restart_tellers(&mut self) -> Result<()> {
        self.coordinator.take().context("a coordinator")?.kill()?;
        self.identity.take().context("identity")?.kill()?;
        self.identity = Some(self.town.service("identity")?);
        self.coordinator = Some(self.town.site.start().await?);
        let operator = self.town.site.operator()?;
        wait::until("identity", async || {
            let overview = operator.overview().await?;
            let mut identity = overview.participants.iter();
            let there = identity.any(|it| it.participant == "identity" && it.sessions > 0);
            Ok(there.then_some(()))
        })
        .await
    }

    /// The agent looks at what is due when it starts, and once a minute.
    fn restart_agent(&mut self) -> Result<()> {
        self.agent.take().context("an agent")?.kill()?;
        self.agent = Some(self.agents.launch("phones")?);
        Ok(())
    }

    /// What the agent's own file says of each device's order.
    async fn orders(&self) -> Result<Vec<(String, String)>> {
        let states = "SELECT device, state FROM orders ORDER BY device";
        Ok(sqlx::query_as(states).fetch_all(self.phones.pool()).await?)
    }

    async fn until_orders(&self, states: &[(&str, &str)]) -> Result<()> {
        let mut last = Vec::new();
        let found = wait::until("orders", async || {
            last = self.orders().await?;
            Ok(are(&last, states).then_some(()))
        });
        let found = found.await;
        found.with_context(|| format!("wanted {states:?}, last seen {last:?}"))
    }

    /// A time that the agent's own file holds.
    async fn of_phones(&self, query: &'static str) -> Result<SystemTime> {
        let (micros,): (i64,) = sqlx::query_as(query).fetch_one(self.phones.pool()).await?;
        Ok(time(micros))
    }

    fn date(&self, at: SystemTime) -> Result<Date> {
        Ok(Timestamp::try_from(at)?.to_zoned(self.zone.clone()).date())
    }

    /// The certificate, and what addenda say of a device: how it ended, and when.
    async fn certified(&self, device: &str) -> Result<(Value, Vec<(String, SystemTime)>)> {
        let request = GetCertificateRequest {
            name: self.name.clone(),
        };
        let answer = self.caller.api.clone().get_certificate(request).await;
        let answer = answer.map_err(|status| anyhow!("{status:?}"))?.into_inner();
        let mut ends = Vec::new();
        for addendum in &answer.addenda {
            let addendum: Value = serde_json::from_str(addendum)?;
            if addendum["device"] == format!("devices/{device}") {
                let outcome = addendum["outcome"].as_str().context("an outcome")?;
                let returned = addendum["returned"].as_str().context("a time")?;
                let returned: Timestamp = returned.parse()?;
                ends.push((outcome.to_owned(), returned.into()));
            }
        }
        Ok((serde_json::from_slice(&answer.document)?, ends))
    }

    /// Until addenda say that a device ended so, and within that time.
    async fn until_ended(
        &self,
        device: &str,
        within: Range<SystemTime>,
        outcomes: &[&str],
    ) -> Result<()> {
        let mut last = Vec::new();
        let found = wait::until("addenda", async || {
            last = self.certified(device).await?.1;
            let ended = last.iter().map(|(outcome, _)| &**outcome);
            Ok(ended.eq(outcomes.iter().copied()).then_some(()))
        });
        let found = found.await;
        found.with_context(|| format!("wanted {outcomes:?} of {device}, last seen {last:?}"))?;
        let timely = last.iter().all(|(_, at)| within.contains(at));
        ensure!(timely, "{device}: {last:?}, and not within {within:?}");
        Ok(())
    }

    fn words(&self) -> String {
        let logs = ["phones", "python"].map(|name| std::fs::read_to_string(self.town.log(name)));
        logs.into_iter().flatten().collect::<String>() + &self.town.words()
    }
}

fn are(orders: &[(String, String)], states: &[(&str, &str)]) -> bool {
    let orders = orders.iter().map(|(device, state)| (&**device, &**state));
    orders.eq(states.iter().copied())
}

fn both(state: &str) -> [(&str, &str); 2] {
    [(EARLY, state), (LATE, state)]
}

fn at(time: Option<prost_types::Timestamp>) -> Result<SystemTime> {
    Ok(time.context("a time")?.try_into()?)
}

/// When the fifteenth working day after the request is over: counted day by day.
fn fifteen_days(story: &Story, asked: SystemTime) -> Result<SystemTime> {
    let calendar = Calendar::built_in("cn").context("a calendar")?;
    let later = story.date(asked)?.series(1.day()).skip(1);
    let last = later.filter(|date| calendar.is_working_day(*date)).nth(14);
    let end = last
        .context("a day")?
        .tomorrow()?
        .to_zoned(story.zone.clone())?;
    Ok(end.timestamp().into())
}

async fn live(zone: &str) -> Result<()> {
    let Some((mut story, epochs, store)) = Story::begin(zone).await? else {
        return Ok(());
    };
    let lived = async {
        let (end, deadline) = reminded(&mut story).await?;
        overdue(&mut story, store, end, deadline).await?;
        drawers(&mut story, epochs).await?;
        once(&mut story, deadline).await
    };
    let lived = lived.await;
    lived.with_context(|| format!("{zone}\n{}", story.words()))
}

/// The cooling-off period. Gives its end and the deadline.
async fn reminded(story: &mut Story) -> Result<(SystemTime, SystemTime)> {
    let deletion = story.caller.until(&story.name, State::CoolingOff).await?;
    story.until_letters("SEALED", TOLD).await?;
    let deadline = at(deletion.deadline)?;
    let expected = fifteen_days(story, at(deletion.create_time)?)?;
    ensure!(deadline == expected, "{deadline:?} and not {expected:?}");
    let end = at(deletion.cooling_off_end_time)?;
    for (place, before) in REMINDERS.into_iter().enumerate() {
        story.town.machine.travel(end - before - BEFORE)?;
        sleep(LOOKS).await;
        ensure!(story.letters("REMINDER")? == place * TOLD, "too early");
        if place == 1 {
            story.restart_tellers().await?;
        }
        story.town.machine.travel(end - before + AFTER)?;
        story.until_letters("REMINDER", (place + 1) * TOLD).await?;
    }
    story.town.machine.travel(end - BEFORE)?;
    sleep(LOOKS).await;
    let still = story.caller.get(&story.name).await?;
    ensure!(still.state() == State::CoolingOff, "{still:?}");
    Ok((end, deadline))
}

/// From where there is no return: phones are away, and the store is from the moment they are waited for.
async fn overdue(
    story: &mut Story,
    store: Process,
    end: SystemTime,
    deadline: SystemTime,
) -> Result<()> {
    story.town.machine.travel(end + AFTER)?;
    story.caller.until(&story.name, State::Erasing).await?;
    story.until_orders(&both("QUEUED")).await?;
    story.until_letters("ERASING", TOLD).await?;
    store.kill()?;

    let begun = story.of_phones("SELECT begun_at FROM erasures").await?;
    let queued = story.of_phones("SELECT MAX(queued_at) FROM orders").await?;
    let horizon = queued + HORIZON.min(deadline.duration_since(begun)? / DEADLINE_SHARE);
    let warned = deadline - WARNING;
    ensure!(horizon + BEFORE < warned, "{horizon:?} {warned:?}");
    story.town.machine.travel(horizon - BEFORE)?;
    story.restart_coordinator().await?;
    sleep(LOOKS).await;
    let orders = story.orders().await?;
    ensure!(are(&orders, &both("QUEUED")), "too early: {orders:?}");
    story.town.machine.travel(horizon + AFTER)?;
    story.restart_coordinator().await?;
    story.until_orders(&both("DETACHED")).await?;

    story.town.machine.travel(warned - BEFORE)?;
    story.restart_coordinator().await?;
    sleep(LOOKS).await;
    ensure!((story.late().await?, story.alarms("OVERDUE_SOON")) == ((0, 0), 0));
    story.town.machine.travel(warned + AFTER)?;
    story.restart_coordinator().await?;
    wait::until_within(PATIENCE, "an alarm", async || {
        let alarmed = (story.late().await?, story.alarms("OVERDUE_SOON"));
        ensure!(alarmed.1 <= 1, "{alarmed:?}");
        Ok((alarmed == ((0, 1), 1)).then_some(()))
    })
    .await?;

    story.town.machine.travel(deadline - BEFORE)?;
    story.restart_tellers().await?;
    sleep(LOOKS).await;
    ensure!((story.late().await?, story.alarms("OVERDUE")) == ((0, 1), 0));
    story.town.machine.travel(deadline + AFTER)?;
    story.until_letters("OVERDUE", TOLD).await?;
    ensure!(story.late().await? == (1, 0));

    // The store is back: late, and done.
    let store = story.town.service("store")?;
    let purged = story.caller.until(&story.name, State::Purged).await?;
    ensure!(purged.overdue_reasons == ["LEG_OWED:store"], "{purged:?}");
    store.end().await?;
    let (certificate, ends) = story.certified(EARLY).await?;
    ensure!(certificate["overdue_reasons"] == serde_json::json!(["LEG_OWED:store"]));
    let silent = certificate["devices_not_confirmed"].as_array();
    ensure!(silent.context("devices")?.len() == 2 && ends.is_empty());
    Ok(())
}

/// One phone is switched on on the last day of its order, the other on the day after.
async fn drawers(story: &mut Story, epochs: [u64; 2]) -> Result<()> {
    let (certificate, _) = story.certified(EARLY).await?;
    let begun: Timestamp = certificate["point_of_no_return"]
        .as_str()
        .context("a time")?
        .parse()?;
    let last = story
        .of_phones("SELECT MIN(expires_at) FROM orders")
        .await?;
    ensure!(
        last == story
            .of_phones("SELECT MAX(expires_at) FROM orders")
            .await?
    );
    let signed = last - ORDER_LIFE;
    ensure!(signed.duration_since(begun.into())? < DAY, "{signed:?}");
    story.town.machine.travel(last - BEFORE)?;
    story.restart_agent()?;
    sleep(LOOKS).await;
    let orders = story.orders().await?;
    ensure!(are(&orders, &both("DETACHED")), "too early: {orders:?}");
    let early = story.switch_on(EARLY, epochs[0])?;
    let executed = ["EXECUTED", "CONFIRMED"];
    story
        .until_ended(EARLY, last - BEFORE..last, &executed)
        .await?;

    story.agent.take().context("an agent")?.kill()?;
    story.town.machine.travel(last + AFTER)?;
    story.agent = Some(story.agents.launch("phones")?);
    let ended = [(EARLY, "CONFIRMED"), (LATE, "NEVER_RETURNED")];
    story.until_orders(&ended).await?;
    story
        .until_ended(LATE, last..last + DAY, &["NEVER_RETURNED"])
        .await?;
    let late = story.switch_on(LATE, epochs[1])?;
    wait::until("the late phone to be seen", async || {
        let seen = "SELECT seen_at FROM devices WHERE device = 'late'";
        Ok((story.of_phones(seen).await? > last).then_some(()))
    })
    .await?;
    let closed = |it: &Deletion| Ok(it.close_time.is_some() && it.obligations.is_empty());
    story
        .caller
        .until_true(&story.name, "the end of everything", closed)
        .await?;
    sleep(LOOKS).await;
    let deeds = |device| anyhow::Ok(foreign::deeds(&story.told(device))?.len());
    let deeds = (deeds(EARLY)?, deeds(LATE)?);
    ensure!(
        deeds == (1, 0),
        "nothing is obeyed after its day: {deeds:?}"
    );
    for phone in [early, late] {
        phone.kill()?;
    }
    let (same, _) = story.certified(LATE).await?;
    ensure!(same == certificate, "{same}");

    // What is left of both orders goes on its day, too.
    let moved = "SELECT MIN(moved_at) FROM orders";
    let first = story.of_phones(moved).await?.max(last) + ORDER_KEPT;
    let moved = "SELECT MAX(moved_at) FROM orders";
    let second = story.of_phones(moved).await?.max(last) + ORDER_KEPT;
    story.town.machine.travel(first - BEFORE)?;
    story.restart_agent()?;
    sleep(LOOKS).await;
    let orders = story.orders().await?;
    ensure!(are(&orders, &ended), "too early: {orders:?}");
    story.agent.take().context("an agent")?.kill()?;
    story.town.machine.travel(second + AFTER)?;
    story.agent = Some(story.agents.launch("phones")?);
    story.until_orders(&[]).await
}

/// Nothing of all that came twice.
async fn once(story: &mut Story, deadline: SystemTime) -> Result<()> {
    sleep(LOOKS).await;
    for (kind, count) in [
        ("SEALED", 1),
        ("REMINDER", 2),
        ("ERASING", 1),
        ("OVERDUE", 1),
    ] {
        ensure!(story.letters(kind)? == count * TOLD, "{kind} came twice");
    }
    for word in ["OVERDUE_SOON", "OVERDUE"] {
        ensure!(story.alarms(word) == 1, "{word}: {}", story.alarms(word));
    }
    let day = story.date(deadline)?;
    let ended = [(EARLY, 2), (LATE, 1)];
    for (device, count) in ended {
        ensure!(story.certified(device).await?.1.len() == count, "{device}");
    }
    for process in [
        &mut story.agent,
        &mut story.identity,
        &mut story.coordinator,
    ] {
        process.take().context("a process")?.end().await?;
    }
    let folder = story.town.folder.path();
    let ledger = farewell_ledger::connect(&database(folder, "ledger")).await?;
    ensure!(audit::sound(&*ledger).await? == 1);
    let id = story.name.trim_start_matches("deletions/").parse()?;
    let history = ledger.history(id, 0, 1_000).await?;
    let overdue = history.iter().filter(|entry| entry.note == "OVERDUE");
    let days: Vec<_> = overdue
        .map(|entry| Timestamp::from_microsecond(entry.at.micros()))
        .collect::<Result<_, _>>()?;
    let [at] = days[..] else {
        anyhow::bail!("overdue on {days:?}");
    };
    ensure!(story.date(at.into())? == day, "{at} and not {day}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reminders_a_deadline_and_devices_in_drawers_come_due_on_their_day_and_once() -> Result<()>
{
    let [east, middle, west] = ZONES.map(live);
    tokio::try_join!(east, middle, west)?;
    Ok(())
}
