//! Everything is killed without a word, again and again, and nothing that was promised is lost or done twice.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use farewell_tests::cluster::Cluster;
use farewell_tests::ledger::Place;
use farewell_tests::load::{Load, accounts, seed};
use farewell_tests::process::{CoordinatorSite, ParticipantsSite, STAGES, Told, needed};
use farewell_tests::{aftermath, wait};
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use tempfile::TempDir;
use tokio::time::sleep;

const DELETIONS: usize = 300;
const BYSTANDERS: usize = 20;
/// Between two requests of one caller, at most: the load lasts as long as the killing.
const PAUSE: Duration = Duration::from_millis(500);
/// Blows to each victim.
const ROUNDS: usize = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Coordinator,
    Participants,
    /// Coordinator and participants at the same time.
    Both,
    /// The database is told to end at once.
    DatabaseCrash,
    /// The database's first process is killed.
    DatabaseKill,
}

async fn story(ledger: &str, cluster: Option<&Cluster>, victims: &[Victim]) -> Result<()> {
    let Some(program) = needed("FAREWELL_BIN") else {
        return Ok(());
    };
    let seed = seed();
    let mut chance = StdRng::seed_from_u64(seed);
    let folder = TempDir::new()?;
    let (asked, bystanders) = (
        accounts("crash", DELETIONS),
        accounts("bystander", BYSTANDERS),
    );
    aftermath::furnish(folder.path(), &[&asked, &bystanders]).await?;
    let told = Told {
        instance: "one",
        stages: STAGES,
        ledger,
        lease: "3s",
        cooling_off: "400ms",
        collector: "",
    };
    let site = CoordinatorSite::new(&program, folder.path(), &told)?;
    let others = ParticipantsSite::new(
        env!("CARGO_BIN_EXE_story-participants"),
        folder.path(),
        &[&site],
    );
    let mut coordinator = site.start().await?;
    let mut participants = others.launch()?;
    let (caller, operator) = (site.caller()?, site.operator()?);
    let load = Load::start(std::slice::from_ref(&caller), &asked, PAUSE, seed);

    let mut blows: Vec<_> = victims
        .iter()
        .copied()
        .cycle()
        .take(victims.len() * ROUNDS)
        .collect();
    blows.shuffle(&mut chance);
    let mut hits = Vec::new();
    for victim in blows {
        sleep(Duration::from_millis(chance.random_range(200..900))).await;
        // A blow is for something on its way, as long as there is anything to come.
        let open = wait::until("a deletion in flight", async || {
            let open = operator.in_flight().await?;
            Ok((open > 0 || load.promised() == DELETIONS).then_some(open))
        });
        let open = open.await.with_context(|| site.words())?;
        hits.push((victim, open, load.promised()));
        let away = Duration::from_millis(chance.random_range(0..700));
        match victim {
            Victim::Coordinator => {
                coordinator.kill()?;
                sleep(away).await;
                coordinator = site.start().await?;
            }
            Victim::Participants => {
                participants.kill()?;
                sleep(away).await;
                participants = others.launch()?;
            }
            Victim::Both => {
                participants.kill()?;
                coordinator.kill()?;
                sleep(away).await;
                participants = others.launch()?;
                coordinator = site.start().await?;
            }
            Victim::DatabaseCrash | Victim::DatabaseKill => {
                let cluster = cluster.context("a database to kill")?;
                if victim == Victim::DatabaseKill {
                    cluster.kill()?
                } else {
                    cluster.crash()?
                };
                sleep(away).await;
                cluster.up()?;
            }
        }
        if !coordinator.is_running() || !participants.is_running() {
            bail!("somebody ended of itself: {}", site.words());
        }
    }
    eprintln!("victim, in flight, promised: {hits:?}");
    let promised = load.end().await.with_context(|| site.words())?;
    assert_eq!(promised.len(), DELETIONS);
    aftermath::finish(&caller, &promised)
        .await
        .with_context(|| site.words())?;
    let kept = farewell_ledger::connect(ledger).await?;
    aftermath::check(&caller, &*kept, folder.path(), &promised, &bystanders).await?;
    // A story of kills that hit nothing would show nothing.
    for victim in victims {
        let hit = hits
            .iter()
            .any(|(struck, open, _)| struck == victim && *open > 0);
        ensure!(
            hit,
            "no blow to {victim:?} met a deletion in flight: {hits:?}"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_of_everything_but_the_disk_lose_nothing_on_postgresql() -> Result<()> {
    let Some(programs) = needed("FAREWELL_TEST_PG_BIN") else {
        return Ok(());
    };
    let cluster = Cluster::start(&programs)?;
    let victims = [
        Victim::Coordinator,
        Victim::Participants,
        Victim::Both,
        Victim::DatabaseCrash,
        Victim::DatabaseKill,
    ];
    story(&cluster.url(), Some(&cluster), &victims).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_of_coordinator_and_participants_lose_nothing_on_sqlite() -> Result<()> {
    let place = Place::sqlite()?;
    let victims = [Victim::Coordinator, Victim::Participants, Victim::Both];
    story(&place.url, None, &victims).await
}
