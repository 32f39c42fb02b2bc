//! Agents of two replicas each, on one PostgreSQL: a device is told wherever it is attached, a replica that is killed takes
//! nothing with it, and at a broker one of them speaks for both.

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use farewell_kit::devices::{left_over, schema::SCHEMA};
use farewell_kit::store::Store;
use farewell_proto::account::v1::account_service_client::AccountServiceClient;
use farewell_proto::account::v1::{
    DeviceUnbindingState, GetDeviceUnbindingRequest, UnbindDeviceRequest,
};
use farewell_proto::binding::v1::binding_service_client::BindingServiceClient;
use farewell_proto::binding::v1::{Binding, ListBindingsRequest};
use farewell_proto::deletion::v1::{LegState, State};
use farewell_runtime::client::endpoint;
use farewell_runtime::server::Security;
use farewell_tests::agents::{AgentsSite, Ground, Size};
use farewell_tests::audit;
use farewell_tests::balancer::Balancer;
use farewell_tests::broker::Mosquitto;
use farewell_tests::caller::{Caller, fresh};
use farewell_tests::cluster::Cluster;
use farewell_tests::process::{CoordinatorSite, Process, Told, needed};
use farewell_tests::wait;
use tempfile::TempDir;

/// Lines whose devices attach to a replica each, and the one behind a broker.
const LINES: [&str; 2] = ["phones", "wearables"];
const STAGES: &[&[&str]] = &[&["wearables"], &["phones"]];
const HUBS: [&str; 1] = ["smarthome"];
const HUB_STAGES: &[&[&str]] = &[&HUBS];
const REPLICAS: usize = 2;
/// Each session looks by itself as often as this; whoever is told sooner was rung for.
const SLOW_TIMER: Duration = Duration::from_secs(30);
/// What a device may wait that is attached to another replica than the one that was asked: far below the slow timer, far
/// above what it takes on a busy machine.
const PROMPT: Duration = Duration::from_secs(10);

/// Everything that runs. It ends when it is dropped.
struct Replicas {
    agents: Vec<AgentsSite>,
    running: BTreeMap<(&'static str, usize), Process>,
    balancers: BTreeMap<&'static str, Balancer>,
    caller: Caller,
    site: CoordinatorSite,
    ledger: String,
    database: Cluster,
    _broker: Option<Mosquitto>,
    _coordinator: Process,
    _folder: TempDir,
}

impl Replicas {
    /// Replicas of lines whose devices attach to them. `None` if the story is to be skipped.
    async fn start() -> Result<Option<Self>> {
        Self::settle(TempDir::new()?, &LINES, STAGES, None).await
    }

    /// Replicas of the smart home, at one broker. `None` if the story is to be skipped.
    async fn start_on_mosquitto() -> Result<Option<Self>> {
        let folder = TempDir::new()?;
        let Some(broker) = Mosquitto::start(folder.path()).await? else {
            return Ok(None);
        };
        Self::settle(folder, &HUBS, HUB_STAGES, Some(broker)).await
    }

    async fn settle(
        folder: TempDir,
        lines: &'static [&'static str],
        stages: &'static [&'static [&'static str]],
        broker: Option<Mosquitto>,
    ) -> Result<Option<Self>> {
        let (Some(program), Some(postgres)) =
            (needed("FAREWELL_BIN"), needed("FAREWELL_TEST_PG_BIN"))
        else {
            return Ok(None);
        };
        let database = Cluster::start(&postgres)?;
        let ledger = format!("sqlite:{}", folder.path().join("ledger.db").display());
        let told = Told {
            instance: "one",
            stages,
            ledger: &ledger,
            lease: "3s",
            cooling_off: "300ms",
            collector: "",
        };
        let site = CoordinatorSite::new(&program, folder.path(), &told)?;
        let url = database.url();
        let ground = Ground {
            database: Some(&url),
            broker: broker.as_ref(),
            ..Ground::default()
        };
        let (mut agents, mut running) = (Vec::new(), BTreeMap::new());
        for replica in 0..REPLICAS {
            // Devices find the coordinator's keys beside the first.
            let own = match replica {
                0 => folder.path().to_owned(),
                _ => folder.path().join(format!("replica-{replica}")),
            };
            std::fs::create_dir_all(&own)?;
            let agent = AgentsSite::new(&program, &own, &site, &ground)?;
            for line in lines {
                running.insert((*line, replica), agent.launch(line)?);
            }
            agents.push(agent);
        }
        let mut balancers = BTreeMap::new();
        for line in lines.iter().copied() {
            let nodes = agents.iter().filter_map(|agent| agent.devices(line));
            let nodes: Vec<&str> = nodes.collect();
            for node in &nodes {
                wait::until("a replica to listen", async || {
                    Ok(TcpStream::connect(node).ok())
                })
                .await?;
            }
            let balancer = Balancer::start(nodes).await?;
            agents[0].behind(line, &balancer.address());
            balancers.insert(line, balancer);
        }
        let coordinator = site.start().await?;
        Ok(Some(Self {
            agents,
            running,
            balancers,
            caller: site.caller()?,
            site,
            ledger,
            database,
            _broker: broker,
            _coordinator: coordinator,
            _folder: folder,
        }))
    }

    async fn fleet(&self, accounts: &[String], size: &Size<'_>) -> Result<Process> {
        self.agents[0].fleet(&[accounts], size, 17).await
    }

    async fn store(&self, line: &str) -> Result<Store> {
        Ok(Store::open(&self.database.url(), line, SCHEMA).await?)
    }

    /// What an account has of a line.
    async fn list(&self, line: &str, account: &str) -> Result<Vec<Binding>> {
        let address = self.agents[0].devices(line).context("a line")?;
        let channel = endpoint(address, &Security::PlainLoopback)?.connect_lazy();
        let request = ListBindingsRequest {
            account: format!("accounts/{account}"),
            page_size: 500,
            ..ListBindingsRequest::default()
        };
        let mut client = BindingServiceClient::new(channel);
        Ok(client.list_bindings(request).await?.into_inner().bindings)
    }

    /// Unbinds and wipes one device, and says how long that took.
    async fn unbind(&self, line: &str, binding: &Binding) -> Result<Duration> {
        let channel = endpoint(&self.site.callers, &Security::PlainLoopback)?.connect_lazy();
        let mut accounts = AccountServiceClient::new(channel);
        let began = Instant::now();
        let request = UnbindDeviceRequest {
            request_id: fresh(),
            account: binding.account.clone(),
            line: format!("lines/{line}"),
            device: binding.device.clone(),
            epoch: binding.epoch,
            wipe: true,
            channel: 0,
            case: String::new(),
        };
        let begun = accounts.unbind_device(request).await;
        let begun = begun.map_err(|status| anyhow!("{status:?}"))?.into_inner();
        let name = begun.device_unbinding.context("an unbinding")?.name;
        wait::until("the device to be unbound", async || {
            let request = GetDeviceUnbindingRequest {
                name: name.clone(),
                account: binding.account.clone(),
            };
            let found = AccountServiceClient::clone(&accounts)
                .get_device_unbinding(request)
                .await?
                .into_inner();
            let state = found.device_unbinding.context("an unbinding")?.state();
            let ended = [
                DeviceUnbindingState::Executed,
                DeviceUnbindingState::Confirmed,
            ];
            Ok(ended.contains(&state).then_some(()))
        })
        .await
        .with_context(|| self.words())?;
        Ok(began.elapsed())
    }

    /// Waits until several devices of the line are in the middle of something.
    async fn executing(&self, line: &str) -> Result<()> {
        let store = self.store(line).await?;
        wait::until("devices that carry out orders", async || {
            let executing = sqlx::query_as("SELECT COUNT(*) FROM orders WHERE state = 'EXECUTING'");
            let (executing,): (i64,) = executing.fetch_one(store.pool()).await?;
            Ok((executing >= 3).then_some(()))
        })
        .await
        .with_context(|| self.words())
    }

    /// Waits until the fleet says this of itself last.
    async fn fleet_says(&self, words: &str) -> Result<()> {
        wait::until(words, async || {
            let said = self.agents[0].words("fleet");
            let last = said.lines().last().unwrap_or_default();
            Ok(last.contains(words).then_some(()))
        })
        .await
        .with_context(|| self.words())
    }

    /// What everybody has written, for a message.
    fn words(&self) -> String {
        let mut words = self.site.words();
        for name in ["phones", "wearables", "smarthome", "fleet"] {
            for agent in &self.agents {
                words.push_str(&agent.words(name));
            }
        }
        words
    }

    /// Waits until the line's devices are attached, some to each replica.
    async fn spread(&self, line: &str, each_min: usize) -> Result<()> {
        let balancer = self.balancers.get(line).context("a line")?;
        wait::until("devices at every replica", async || {
            let open = balancer.open();
            Ok(open.iter().all(|open| *open >= each_min).then_some(()))
        })
        .await
        .with_context(|| format!("{line}: {:?}\n{}", balancer.open(), self.words()))?;
        eprintln!("{line}: {:?} connections by replica", balancer.open());
        Ok(())
    }
}

fn told_once(devices: &[farewell_tests::agents::Device]) {
    for device in devices {
        assert!(device.bound_epoch == 0 && !device.user_data, "{device:?}");
        assert_eq!((device.executions, device.repeats), (1, 0), "{device:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_is_told_at_once_whichever_replica_it_is_attached_to() -> Result<()> {
    let Some(replicas) = Replicas::start().await? else {
        return Ok(());
    };
    const ALONE: usize = 4;
    let size = Size {
        phones: "12",
        watches: "12",
        hubs: "0",
        children_per_hub: "0",
        offline: "0",
        offline_for: "1s",
        flaky: "0",
        latency: "20ms",
    };
    let account = ["owner".to_owned()];
    let fleet = replicas.fleet(&account, &size).await?;
    replicas.fleet_says("24 online").await?;
    for line in LINES {
        replicas.spread(line, 4).await?;
    }

    // One by one: each is asked of one replica.
    for phone in replicas.list("phones", "owner").await?.iter().take(ALONE) {
        let waited = replicas.unbind("phones", phone).await?;
        eprintln!("one phone: unbound after {waited:?}");
        ensure!(waited < PROMPT, "{waited:?}");
    }

    // All at once.
    let began = Instant::now();
    let name = replicas.caller.delete("owner").await?;
    replicas.fleet_says("24 wiped").await?;
    let told = began.elapsed();
    replicas.caller.until(&name, State::Purged).await?;
    eprintln!(
        "an account: all devices wiped after {told:?}, purged after {:?}",
        began.elapsed()
    );
    // Two stages, and the answer to each.
    ensure!(told < 2 * PROMPT && 2 * PROMPT < SLOW_TIMER, "{told:?}");
    told_once(&replicas.agents[0].holdings(fleet).await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_is_killed_takes_no_order_with_it_and_nobody_is_told_twice() -> Result<()> {
    let Some(mut replicas) = Replicas::start().await? else {
        return Ok(());
    };
    const EACH: usize = 2 * 8;
    let size = Size {
        phones: "8",
        watches: "8",
        hubs: "0",
        children_per_hub: "0",
        offline: "0.2",
        offline_for: "5s",
        flaky: "0",
        // Long enough to be struck in the middle.
        latency: "600ms",
    };
    // Whoever was asked for which of them: both have devices at the replica that is killed, and at the one that stays.
    let accounts = ["owner-1".to_owned(), "owner-2".to_owned()];
    let fleet = replicas.fleet(&accounts, &size).await?;
    for line in LINES {
        replicas.spread(line, 4).await?;
    }
    let mut bound = BTreeMap::new();
    for account in &accounts {
        for line in LINES {
            for binding in replicas.list(line, account).await? {
                bound.insert(binding.device, account.clone());
            }
        }
    }
    let began = Instant::now();
    let mut names = BTreeMap::new();
    for account in &accounts {
        names.insert(account.clone(), replicas.caller.delete(account).await?);
    }
    for line in ["wearables", "phones"] {
        replicas.executing(line).await?;
        let struck = replicas.running.remove(&(line, 0)).context("a replica")?;
        struck.kill()?;
        eprintln!("{line}: one of two is killed after {:?}", began.elapsed());
    }
    for (account, name) in &names {
        let purged = replicas.caller.until(name, State::Purged).await;
        let purged = purged.with_context(|| replicas.words())?;
        eprintln!("{account}: purged after {:?}", began.elapsed());
        let mut named = BTreeMap::new();
        for leg in purged.legs.iter().filter(|leg| leg.verb == "ERASE") {
            assert_eq!(leg.state(), LegState::Done);
            for device in &leg.devices {
                let done = ["CONFIRMED", "EXECUTED"].contains(&device.outcome.as_str());
                ensure!(done, "{device:?}");
                named.insert(device.device.clone(), account.clone());
            }
        }
        let own = bound.iter().filter(|(_, owner)| *owner == account);
        let own: BTreeMap<_, _> = own.map(|(it, owner)| (it.clone(), owner.clone())).collect();
        assert_eq!((named.len(), &named), (EACH, &own));
        for line in LINES {
            let left = left_over(&replicas.store(line).await?, account).await?;
            ensure!(left.is_clean(), "{line}: {left:?}");
        }
    }
    let kept = farewell_ledger::connect(&replicas.ledger).await?;
    assert_eq!(audit::sound(&*kept).await?, accounts.len());
    let devices = replicas.agents[0].holdings(fleet).await?;
    assert_eq!(devices.len(), accounts.len() * EACH);
    told_once(&devices);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hubs_are_told_through_one_replica_and_by_the_other_once_it_is_killed() -> Result<()> {
    let Some(mut replicas) = Replicas::start_on_mosquitto().await? else {
        return Ok(());
    };
    const HUBS_EACH: usize = 4;
    let size = Size {
        phones: "0",
        watches: "0",
        hubs: "4",
        children_per_hub: "2",
        offline: "0",
        offline_for: "1s",
        flaky: "0",
        // Long enough to be struck in the middle.
        latency: "600ms",
    };
    let accounts = ["owner-1".to_owned(), "owner-2".to_owned()];
    let fleet = replicas.fleet(&accounts, &size).await?;
    replicas.fleet_says("24 online").await?;

    // One by one: each is asked of one replica, and told by the one that speaks.
    let speakers = || -> Vec<usize> {
        let speaks = |agent: &AgentsSite| agent.words("smarthome").contains("this replica speaks");
        let all = replicas.agents.iter().enumerate();
        all.filter(|(_, agent)| speaks(agent))
            .map(|(at, _)| at)
            .collect()
    };
    let [speaker] = speakers()[..] else {
        bail!("{:?} speak\n{}", speakers(), replicas.words());
    };
    let bound = replicas.list("smarthome", "owner-1").await?;
    for lamp in bound.iter().filter(|it| !it.via.is_empty()).take(4) {
        let waited = replicas.unbind("smarthome", lamp).await?;
        eprintln!("one lamp: unbound after {waited:?}");
        ensure!(waited < PROMPT, "{waited:?}");
    }

    let began = Instant::now();
    let mut names = Vec::new();
    for account in &accounts {
        names.push(replicas.caller.delete(account).await?);
    }
    replicas.executing("smarthome").await?;
    let struck = replicas.running.remove(&("smarthome", speaker));
    struck.context("a replica")?.kill()?;
    eprintln!("the one that speaks is killed after {:?}", began.elapsed());
    for name in &names {
        let purged = replicas.caller.until(name, State::Purged).await;
        let purged = purged.with_context(|| replicas.words())?;
        eprintln!("purged after {:?}", began.elapsed());
        let legs = purged.legs.iter().filter(|leg| leg.verb == "ERASE");
        for device in legs.flat_map(|leg| &leg.devices) {
            let done = ["CONFIRMED", "EXECUTED"].contains(&device.outcome.as_str());
            ensure!(done, "{device:?}");
        }
    }
    assert_eq!(speakers().len(), REPLICAS, "one after the other");
    let devices = replicas.agents[0].holdings(fleet).await?;
    assert_eq!(devices.len(), accounts.len() * HUBS_EACH * 3);
    for device in devices {
        ensure!(device.bound_epoch == 0 && !device.user_data, "{device:?}");
        // Each of its lamps, and itself.
        let own = if device.kind == "hub" { 3 } else { 0 };
        assert_eq!(device.executions, own, "{device:?}");
    }
    let store = replicas.store("smarthome").await?;
    for account in &accounts {
        let left = left_over(&store, account).await?;
        ensure!(left.is_clean(), "{left:?}");
    }
    Ok(())
}
