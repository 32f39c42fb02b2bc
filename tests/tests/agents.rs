//! Agents are killed without a word while many deletions reset devices, and every device is told once, none by mistake.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use farewell_proto::deletion::v1::LegState;
use farewell_tests::agents::{AgentsSite, Ground, LINES, SMALL, STAGES};
use farewell_tests::load::{Load, accounts, seed};
use farewell_tests::process::{CoordinatorSite, Told, needed};
use farewell_tests::{aftermath, audit, wait};
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use tempfile::TempDir;
use tokio::time::sleep;

const DELETIONS: usize = 40;
const BYSTANDERS: usize = 5;
/// A phone, a watch, a hub and its two lamps.
const DEVICES: usize = 5;
/// Between two requests of one caller, at most.
const PAUSE: Duration = Duration::from_millis(600);
/// Blows to each agent.
const ROUNDS: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_of_agents_under_many_deletions_reset_every_device_once_and_nobody_elses()
-> Result<()> {
    let Some(program) = needed("FAREWELL_BIN") else {
        return Ok(());
    };
    let seed = seed();
    let mut chance = StdRng::seed_from_u64(seed);
    let folder = TempDir::new()?;
    let ledger = format!("sqlite:{}", folder.path().join("ledger.db").display());
    let told = Told {
        instance: "one",
        stages: STAGES,
        ledger: &ledger,
        lease: "3s",
        cooling_off: "300ms",
        collector: "",
    };
    let site = CoordinatorSite::new(&program, folder.path(), &told)?;
    let others = AgentsSite::new(&program, folder.path(), &site, &Ground::default())?;
    let _coordinator = site.start().await?;
    let mut agents = BTreeMap::new();
    for line in LINES {
        agents.insert(line, others.launch(line)?);
    }
    let (asked, bystanders) = (
        accounts("owner", DELETIONS),
        accounts("bystander", BYSTANDERS),
    );
    let fleet = others.fleet(&[&asked, &bystanders], &SMALL, seed).await?;
    let (caller, operator) = (site.caller()?, site.operator()?);
    let load = Load::start(std::slice::from_ref(&caller), &asked, PAUSE, seed);

    let mut blows = LINES.repeat(ROUNDS);
    blows.shuffle(&mut chance);
    let mut hits = Vec::new();
    for line in blows {
        sleep(Duration::from_millis(chance.random_range(100..600))).await;
        // A blow is for something on its way, as long as there is anything to come.
        let open = wait::until("a deletion in flight", async || {
            let open = operator.in_flight().await?;
            Ok((open > 0 || load.promised() == DELETIONS).then_some(open))
        });
        hits.push((line, open.await?, load.promised()));
        let agent = agents.remove(line).context("a running agent")?;
        agent.kill().with_context(|| others.words(line))?;
        sleep(Duration::from_millis(chance.random_range(0..500))).await;
        agents.insert(line, others.launch(line)?);
    }
    eprintln!("victim, in flight, promised: {hits:?}");
    let promised = load.end().await?;
    aftermath::finish(&caller, &promised).await?;
    // A story of kills that hit nothing would show nothing.
    for line in LINES {
        let hit = hits
            .iter()
            .any(|(struck, open, _)| *struck == line && *open > 0);
        ensure!(hit, "no blow to {line} met a deletion in flight: {hits:?}");
    }

    let kept = farewell_ledger::connect(&ledger).await?;
    assert_eq!(audit::sound(&*kept).await?, DELETIONS);
    let devices = others.holdings(fleet).await?;
    assert_eq!(devices.len(), (DELETIONS + BYSTANDERS) * DEVICES);
    for device in &devices {
        if bystanders.contains(&device.account) {
            let kept = (device.bound_epoch > 0, device.executions);
            assert_eq!(kept, (true, 0), "nobody asked for that: {device:?}");
            assert_eq!(device.user_data, device.kind != "child", "{device:?}");
        } else {
            assert!(device.bound_epoch == 0 && !device.user_data, "{device:?}");
            // A lamp is unbound by its hub, which counts.
            let times = if device.kind == "child" { 0 } else { 1 };
            let own = if device.kind == "hub" { 1 + 2 } else { times };
            assert_eq!(device.executions, own, "told once: {device:?}");
        }
    }
    // And the legs name exactly these.
    for (account, (_, name)) in &promised {
        let deletion = caller.get(name).await?;
        let erased = deletion.legs.iter().filter(|leg| leg.verb == "ERASE");
        let named: Vec<_> = erased
            .inspect(|leg| assert_eq!(leg.state(), LegState::Done))
            .flat_map(|leg| leg.devices.iter().map(|it| it.device.clone()))
            .collect();
        let own = devices.iter().filter(|device| device.account == *account);
        let own: BTreeSet<_> = own.map(|it| format!("devices/{}", it.device)).collect();
        assert_eq!(named.len(), DEVICES);
        assert_eq!(named.into_iter().collect::<BTreeSet<_>>(), own);
    }
    Ok(())
}
