use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use farewell_kit::devices::{
    Bells, Binding, DeviceLine, Duty, Handle, Line, Registry, Terms, Verb, Via, left_over,
};
use farewell_kit::{Answer, DeviceOutcome, DeviceTask, Done, Order, Participant as _, session};
use farewell_runtime::certs::DevCa;
use farewell_runtime::peer::Role;
use farewell_runtime::server::Security;
use farewell_runtime::shutdown::Shutdown;

use super::*;

const PATIENCE: Duration = Duration::from_secs(60);
const ACCOUNT: &str = "account-1";

struct Agents {
    phones: Handle,
    wearables: Handle,
    smarthome: Handle,
    ca_dir: PathBuf,
    shutdown: Shutdown,
}

impl Agents {
    async fn start() -> Self {
        let folder = std::env::temp_dir().join(format!("farewell-fleet-{}", uuid::Uuid::now_v7()));
        std::fs::create_dir_all(&folder).unwrap();
        let ca_dir = folder.join("ca");
        let ca = DevCa::open_or_create(&ca_dir).unwrap();
        let shutdown = Shutdown::new();
        let database = |line: &str| format!("sqlite:{}/{line}.db", folder.display());
        let security =
            |line: &str| Security::Mutual(ca.issue(Role::Participant, line, &[]).unwrap());
        let session = |line: &str| session::Config {
            participant: line.to_owned(),
            coordinators: Vec::new(),
            security: security(line),
            window_commands: 16,
        };
        let listen = ([127, 0, 0, 1], 0).into();
        let phones = farewell_phones::Config {
            database: database("phones"),
            devices_listen: listen,
            security: security("phones"),
            session: session("phones"),
            terms: Terms::default(),
        };
        let wearables = farewell_wearables::Config {
            database: database("wearables"),
            devices_listen: listen,
            security: security("wearables"),
            session: session("wearables"),
            terms: Terms::default(),
            manual_models: Default::default(),
        };
        let smarthome = farewell_smarthome::Config {
            database: database("smarthome"),
            devices_listen: listen,
            security: security("smarthome"),
            session: session("smarthome"),
            terms: Terms::default(),
            broker: farewell_smarthome::Broker::Embedded { listen },
        };
        Self {
            phones: farewell_phones::start(phones, shutdown.clone())
                .await
                .unwrap(),
            wearables: farewell_wearables::start(wearables, shutdown.clone())
                .await
                .unwrap(),
            smarthome: farewell_smarthome::start(smarthome, shutdown.clone())
                .await
                .unwrap(),
            ca_dir,
            shutdown,
        }
    }

    fn fleet(&self, scale: u32) -> FleetConfig {
        FleetConfig {
            accounts: vec![ACCOUNT.to_owned()],
            phones: 3 * scale,
            watches: 3 * scale,
            hubs: 2 * scale,
            children_per_hub: 3,
            offline: 0.3,
            offline_for: Duration::from_millis(700),
            flaky: 0.4,
            latency: Duration::from_millis(5),
            phones_agent: self.phones.devices_addr.to_string(),
            wearables_agent: self.wearables.devices_addr.to_string(),
            smarthome_agent: self.smarthome.devices_addr.to_string(),
            broker: Broker {
                host: "127.0.0.1".to_owned(),
                port: self.smarthome.broker_addr.unwrap().port(),
                ca_pem: None,
            },
            ca_dir: Some(self.ca_dir.clone()),
            seed: 7,
        }
    }

    fn handles(&self) -> [(&Handle, Via); 3] {
        [
            (&self.phones, Via::Never),
            (&self.wearables, Via::Companion),
            (&self.smarthome, Via::Hub),
        ]
    }
}

/// What the agents say of their lines, here to give the order behind their backs.
struct Stand(Via);

impl Line for Stand {
    fn name(&self) -> &'static str {
        "stand"
    }

    fn via(&self) -> Via {
        self.0
    }

    fn duty(&self, binding: &Binding) -> Duty {
        if self.0 == Via::Hub && binding.via.is_some() {
            Duty::ThroughHub
        } else {
            Duty::Own(Verb::Reset)
        }
    }
}

async fn ask(handle: &Handle, via: Via, tasks: &[DeviceTask]) -> Answer {
    let registry = Registry::new(handle.store.clone(), via, via == Via::Hub);
    let order = Order {
        command: "deletions/d1/commands/1-erase-line".to_owned(),
        account: ACCOUNT.to_owned(),
        deadline: None,
        devices: tasks.to_vec(),
        traceparent: String::new(),
    };
    let line = DeviceLine::new(
        registry,
        Arc::new(Stand(via)),
        Terms::default(),
        Bells::default(),
    );
    line.act(&order).await.unwrap()
}

async fn done(handle: &Handle, via: Via, tasks: &[DeviceTask]) -> Done {
    loop {
        match ask(handle, via, tasks).await {
            Answer::Done(done) => return done,
            Answer::Deferred(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            Answer::Refused { reason, detail } => panic!("{reason} {detail}"),
        }
    }
}

fn scale() -> u32 {
    // `FAREWELL_TEST_FLEET_SCALE=100` is 1,400 devices.
    std::env::var("FAREWELL_TEST_FLEET_SCALE")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(2)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flaky_fleet_with_absent_devices_is_wiped_exactly_once() {
    let agents = Agents::start().await;
    let config = agents.fleet(scale());
    let started = std::time::Instant::now();
    let devices = provision(&config).await.unwrap();
    println!("{} devices bound in {:?}", devices.len(), started.elapsed());
    assert_eq!(devices.len(), config.total());

    let kinds = |kinds: &[Kind]| -> Vec<DeviceTask> {
        let of_kind = devices.iter().filter(|device| kinds.contains(&device.kind));
        of_kind
            .map(|device| DeviceTask {
                device: device.id.clone(),
                binding_epoch: device.epoch,
            })
            .collect()
    };
    let rosters = [
        kinds(&[Kind::Phone]),
        kinds(&[Kind::Watch]),
        kinds(&[Kind::Hub, Kind::Child]),
    ];
    for ((handle, via), roster) in agents.handles().iter().zip(&rosters) {
        assert!(matches!(
            ask(handle, *via, roster).await,
            Answer::Deferred(_)
        ));
    }

    let started = std::time::Instant::now();
    let devices_end = Shutdown::new();
    let fleet = start(&config, devices.clone(), &devices_end).unwrap();
    let erased = async {
        for ((handle, via), roster) in agents.handles().iter().zip(&rosters) {
            let done = done(handle, *via, roster).await;
            let mut outcomes = BTreeMap::<String, usize>::new();
            for result in &done.devices {
                assert!(matches!(
                    result.outcome,
                    Some(DeviceOutcome::Confirmed | DeviceOutcome::Executed)
                ));
                *outcomes.entry(format!("{:?}", result.outcome)).or_default() += 1;
            }
            println!("{via:?} {outcomes:?} after {:?}", started.elapsed());
            assert_eq!(done.devices.len(), roster.len());
            assert!(left_over(&handle.store, ACCOUNT).await.unwrap().is_clean());
        }
    };
    tokio::time::timeout(PATIENCE, erased).await.unwrap();

    let snapshot = fleet.snapshot();
    let counts = snapshot.counts();
    assert_eq!((counts.bound, counts.wiped), (0, devices.len()));
    for holding in &snapshot.devices {
        let expected = match holding.kind {
            Kind::Phone | Kind::Watch => 1,
            Kind::Hub => 1 + config.children_per_hub,
            Kind::Child => 0,
        };
        assert_eq!(holding.executions, expected, "{}", holding.device);
    }
    assert!(devices_end.drain(PATIENCE).await);
    fleet.join().await;
    assert!(agents.shutdown.drain(PATIENCE).await);
}

#[tokio::test]
async fn devices_without_an_order_keep_everything() {
    let agents = Agents::start().await;
    let config = FleetConfig {
        offline: 0.0,
        ..agents.fleet(1)
    };
    let devices = provision(&config).await.unwrap();
    let end = Shutdown::new();
    let fleet = start(&config, devices.clone(), &end).unwrap();
    let reached = async {
        // A child's hub answers for it, so every device counts as being there.
        while fleet.snapshot().counts().online < devices.len() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, reached).await.unwrap();
    let counts = fleet.snapshot().counts();
    assert_eq!((counts.bound, counts.wiped), (devices.len(), 0));
    assert!(end.drain(PATIENCE).await);
    fleet.join().await;
    assert!(agents.shutdown.drain(PATIENCE).await);
}
