//! Two coordinators share one database; one dies, sleeps or leaves, and the other goes on in its place.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use farewell_proto::deletion::v1::State;
use farewell_tests::caller::{Caller, Operator};
use farewell_tests::cluster::Cluster;
use farewell_tests::load::{Load, Promised, accounts, seed};
use farewell_tests::process::{CoordinatorSite, ParticipantsSite, Process, STAGES, Told, needed};
use farewell_tests::wait::{until, until_within};
use farewell_tests::{aftermath, ledger};
use tempfile::TempDir;
use tokio::time::sleep;

const DELETIONS: usize = 160;
const BYSTANDERS: usize = 10;
const PAUSE: Duration = Duration::from_millis(250);
const SLOTS: u32 = 64;

/// Two coordinators on one database, with participants that see both.
struct Pair {
    cluster: Cluster,
    folder: TempDir,
    sites: [CoordinatorSite; 2],
    /// Until it is killed.
    one: Option<Process>,
    _two: Process,
    _participants: Process,
    asked: Vec<String>,
    bystanders: Vec<String>,
}

impl Pair {
    /// `None` if the story is to be skipped.
    async fn start(lease: &str, with_parent: bool) -> Result<Option<Self>> {
        let (Some(program), Some(programs)) =
            (needed("FAREWELL_BIN"), needed("FAREWELL_TEST_PG_BIN"))
        else {
            return Ok(None);
        };
        let cluster = Cluster::start(&programs)?;
        let folder = TempDir::new()?;
        let (asked, bystanders) = (
            accounts("takeover", DELETIONS),
            accounts("bystander", BYSTANDERS),
        );
        aftermath::furnish(folder.path(), &[&asked, &bystanders]).await?;
        let url = cluster.url();
        let site = |instance: &str| {
            let told = Told {
                instance,
                stages: STAGES,
                ledger: &url,
                lease,
                cooling_off: "400ms",
                collector: "",
            };
            let mut site = CoordinatorSite::new(&program, folder.path(), &told)?;
            site.with_parent = with_parent;
            anyhow::Ok(site)
        };
        let sites = [site("one")?, site("two")?];
        let one = sites[0].start().await?;
        let two = sites[1].start().await?;
        let program = env!("CARGO_BIN_EXE_story-participants");
        let participants = ParticipantsSite::new(program, folder.path(), &[&sites[0], &sites[1]]);
        let pair = Self {
            _participants: participants.launch()?,
            cluster,
            folder,
            sites,
            one: Some(one),
            _two: two,
            asked,
            bystanders,
        };
        pair.shared().await?;
        Ok(Some(pair))
    }

    /// Waits until both hold half of the slots.
    async fn shared(&self) -> Result<()> {
        let operator = self.sites[1].operator()?;
        until("both to hold their share", async || {
            let mut held: Vec<_> = slots(&operator)
                .await?
                .into_iter()
                .map(|(_, slots)| slots)
                .collect();
            held.sort_unstable();
            Ok((held == [SLOTS / 2, SLOTS / 2]).then_some(()))
        })
        .await
    }

    fn callers(&self) -> Result<[Caller; 2]> {
        Ok([self.sites[0].caller()?, self.sites[1].caller()?])
    }

    /// Waits until the load is really on its way through both.
    async fn busy(&self, load: &Load) -> Result<()> {
        let operator = self.sites[1].operator()?;
        until("deletions in flight", async || {
            let overview = operator.overview().await?;
            let open = [State::CoolingOff, State::Erasing, State::Verifying];
            let counts = overview
                .states
                .iter()
                .filter(|count| open.contains(&count.state()));
            let open: i64 = counts.map(|count| count.count).sum();
            Ok((open > 4 && load.promised() > DELETIONS / 6).then_some(()))
        })
        .await
    }

    async fn check(&self, promised: &Promised) -> Result<()> {
        let caller = self.sites[1].caller()?;
        assert_eq!(promised.len(), DELETIONS);
        let words = || format!("{}\n----\n{}", self.sites[0].words(), self.sites[1].words());
        aftermath::finish(&caller, promised)
            .await
            .with_context(words)?;
        let kept = farewell_ledger::connect(&self.cluster.url()).await?;
        let folder: &Path = self.folder.path();
        aftermath::check(&caller, &*kept, folder, promised, &self.bystanders).await
    }
}

/// Who holds how many slots.
async fn slots(operator: &Operator) -> Result<Vec<(String, u32)>> {
    let overview = operator.overview().await?;
    let held = overview.coordinators.into_iter().filter(|it| it.slots > 0);
    Ok(held.map(|it| (it.coordinator, it.slots)).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_coordinator_is_replaced_within_its_lease_and_nothing_is_settled_twice()
-> Result<()> {
    let Some(mut pair) = Pair::start("3s", true).await? else {
        return Ok(());
    };
    let load = Load::start(&pair.callers()?, &pair.asked, PAUSE, seed());
    pair.busy(&load).await?;
    pair.one.take().context("the first")?.kill()?;
    let operator = pair.sites[1].operator()?;
    // The lease is 3 s; the rest is for a busy machine.
    until_within(
        Duration::from_secs(15),
        "the other to hold everything",
        async || Ok((slots(&operator).await? == [("two".to_owned(), SLOTS)]).then_some(())),
    )
    .await?;
    let promised = load.end().await?;
    pair.check(&promised).await?;

    // It comes back and has its share again.
    pair.one = Some(pair.sites[0].start().await?);
    pair.shared().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coordinator_that_slept_through_its_lease_changes_nothing_stale() -> Result<()> {
    let Some(pair) = Pair::start("3s", true).await? else {
        return Ok(());
    };
    let one = pair.one.as_ref().context("the first")?;
    let load = Load::start(&pair.callers()?, &pair.asked, PAUSE, seed());
    pair.busy(&load).await?;
    one.signal("STOP")?;
    let operator = pair.sites[1].operator()?;
    until_within(
        Duration::from_secs(15),
        "the other to hold everything",
        async || {
            let held = slots(&operator).await?;
            Ok(held.contains(&("two".to_owned(), SLOTS)).then_some(()))
        },
    )
    .await?;
    let promised = load.end().await?;
    pair.check(&promised).await?;
    let kept = farewell_ledger::connect(&pair.cluster.url()).await?;
    let settled = until("everything to be announced", async || {
        let rows = ledger::rows(&*kept).await?;
        Ok((kept.overview(Duration::ZERO, Duration::ZERO).await?.outbox == 0).then_some(rows))
    })
    .await?;

    one.signal("CONT")?;
    // It wakes up with commands sent, answers heard and leases that it believes in.
    sleep(Duration::from_secs(1)).await;
    let first = pair.sites[0].operator()?;
    until("the sleeper to join again", async || {
        let overview = first.overview().await;
        Ok(overview
            .is_ok_and(|it| it.coordinators.len() == 2)
            .then_some(()))
    })
    .await?;
    pair.shared().await?;
    ensure!(
        ledger::rows(&*kept).await? == settled,
        "the sleeper changed what was settled"
    );
    let slept = pair.sites[0].caller()?;
    let late = slept.delete("after.the.sleep").await?;
    slept.until(&late, State::Purged).await?;
    slept
        .list(&[State::Erasing, State::Verifying, State::CoolingOff])
        .await?
        .is_empty()
        .then_some(())
        .context("all done")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coordinator_that_leaves_in_order_gives_its_slots_back_before_it_ends() -> Result<()> {
    let Some(mut pair) = Pair::start("15s", false).await? else {
        return Ok(());
    };
    let load = Load::start(&pair.callers()?, &pair.asked, PAUSE, seed());
    pair.busy(&load).await?;
    let mut one = pair.one.take().context("the first")?;
    one.signal("TERM")?;
    let kept = farewell_ledger::connect(&pair.cluster.url()).await?;
    until("the first to end", async || {
        Ok((!one.is_running()).then_some(()))
    })
    .await
    .with_context(|| pair.sites[0].words())?;
    let held = kept
        .overview(Duration::ZERO, Duration::ZERO)
        .await?
        .coordinators;
    let left = held
        .iter()
        .filter(|it| it.holder == "one")
        .map(|it| it.slots)
        .sum::<u32>();
    assert_eq!(
        left, 0,
        "nobody waits for the lease of one that has left: {held:?}"
    );
    let promised = load.end().await?;
    pair.check(&promised).await
}
