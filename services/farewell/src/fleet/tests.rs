use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use farewell_coordinator::{Limits, Listener, Pace};
use farewell_core::Policy;
use farewell_core::policy::{Channel, Stage};
use farewell_kit::devices::{Handle, Terms, left_over};
use farewell_kit::session;
use farewell_proto::deletion::v1 as deletion;
use farewell_proto::deletion::v1::deletion_service_client::DeletionServiceClient;
use farewell_proto::deletion::v1::{Consent, CreateDeletionRequest, GetDeletionRequest, LegDevice};
use farewell_runtime::certs::DevCa;
use farewell_runtime::client;
use farewell_runtime::cose::{KeyRing, SigningKey};
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
    /// The coordinator's port and who asks there.
    callers: String,
    caller: Security,
    order_keys: KeyRing,
    ca_dir: PathBuf,
    shutdown: Shutdown,
}

/// Erases at once: no factors, no wait, nobody is asked.
fn coordinator(ca: &DevCa, orders: SigningKey) -> farewell_coordinator::Config {
    let listener = || Listener {
        address: ([127, 0, 0, 1], 0).into(),
        security: Security::Mutual(ca.issue(Role::Coordinator, "coordinator", &[]).unwrap()),
    };
    let stage = |name: &str, participants: &[&str]| Stage {
        name: name.to_owned(),
        participants: participants
            .iter()
            .map(|name| name.parse().unwrap())
            .collect(),
    };
    farewell_coordinator::Config {
        instance: "fleet".to_owned(),
        ledger: "memory:".to_owned(),
        region: farewell_coordinator::Region::default(),
        policy: Policy {
            stages: vec![
                stage("RELAYED", &["wearables"]),
                stage("DEVICES", &["phones", "smarthome"]),
            ],
            eligibility: false,
            channels: BTreeMap::from([(Channel::Phone, Vec::new())]),
            cooling_off: Duration::ZERO,
            ..Policy::cn()
        },
        callers: listener(),
        participants: listener(),
        operators: listener(),
        orders,
        events: None,
        pace: Pace::default(),
        limits: Limits::default(),
        custodian: "cloud".parse().unwrap(),
    }
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
        let key = SigningKey::from_seed(&[7; 32]).unwrap();
        let order_keys = KeyRing::new([key.public()]);
        let coordinator = coordinator(&ca, key);
        let coordinator = farewell_coordinator::start(coordinator, shutdown.clone()).await;
        let coordinator = coordinator.unwrap();
        let session = |line: &str| session::Config {
            participant: line.to_owned(),
            coordinators: vec![coordinator.participants.to_string()],
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
            callers: coordinator.callers.to_string(),
            caller: Security::Mutual(ca.issue(Role::Caller, "app", &[]).unwrap()),
            order_keys,
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
            reset: 0.0,
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
            order_keys: self.order_keys.clone(),
            seed: 7,
        }
    }
}

/// Asks for the account's deletion and waits until it is purged; what became of each device.
async fn deleted(agents: &Agents) -> Vec<LegDevice> {
    let channel = client::endpoint(&agents.callers, &agents.caller)
        .unwrap()
        .connect_lazy();
    let mut callers = DeletionServiceClient::new(channel);
    let consent = Consent {
        text: "device-reset".to_owned(),
        version: 1,
        time: Some(SystemTime::now().into()),
    };
    let request = CreateDeletionRequest {
        request_id: uuid::Uuid::new_v4().to_string(),
        account: format!("accounts/{ACCOUNT}"),
        channel: deletion::Channel::Phone.into(),
        consents: vec![consent],
    };
    let created = callers.create_deletion(request).await.unwrap();
    let name = created.into_inner().deletion.unwrap().name;
    loop {
        let request = GetDeletionRequest { name: name.clone() };
        let found = callers.get_deletion(request).await.unwrap();
        let found = found.into_inner().deletion.unwrap();
        if found.state() == deletion::State::Purged {
            let erased = found.legs.into_iter().filter(|leg| leg.verb == "ERASE");
            return erased.flat_map(|leg| leg.devices).collect();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
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
    let started = Instant::now();
    let devices = provision(&config).await.unwrap();
    println!("{} devices bound in {:?}", devices.len(), started.elapsed());
    assert_eq!(devices.len(), config.total());

    let started = Instant::now();
    let devices_end = Shutdown::new();
    let fleet = start(&config, devices.clone(), &devices_end).unwrap();
    let ends = tokio::time::timeout(PATIENCE, deleted(&agents))
        .await
        .unwrap();
    let mut outcomes = BTreeMap::<&str, usize>::new();
    for device in &ends {
        *outcomes.entry(&device.outcome).or_default() += 1;
    }
    println!("{outcomes:?} after {:?}", started.elapsed());
    assert_eq!(ends.len(), devices.len());
    assert!(
        outcomes
            .keys()
            .all(|end| ["CONFIRMED", "EXECUTED"].contains(end))
    );
    for handle in [&agents.phones, &agents.wearables, &agents.smarthome] {
        assert!(left_over(&handle.store, ACCOUNT).await.unwrap().is_clean());
    }

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn devices_that_were_reset_by_hand_hear_that_they_are_bound_and_are_wiped_by_order() {
    let agents = Agents::start().await;
    let config = FleetConfig {
        offline: 0.0,
        flaky: 0.0,
        reset: 1.0,
        ..agents.fleet(1)
    };
    let devices = provision(&config).await.unwrap();
    let end = Shutdown::new();
    let fleet = start(&config, devices.clone(), &end).unwrap();
    let own: BTreeMap<_, _> = devices
        .iter()
        .filter(|device| device.kind != Kind::Child)
        .map(|device| (device.id.clone(), device.epoch))
        .collect();
    let held = || -> Vec<Holding> {
        let holdings = fleet.snapshot().devices.into_iter();
        holdings
            .filter(|holding| own.contains_key(&holding.device))
            .collect()
    };
    let heard = async {
        let waits = |holding: &Holding| holding.user_data || holding.bound_epoch == 0;
        while held().iter().any(waits) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, heard).await.unwrap();
    for holding in held() {
        assert_eq!(holding.bound_epoch, own[&holding.device], "{holding:?}");
        // Phones and watches are bound with a lock, hubs without.
        assert_eq!(holding.locked, holding.kind != Kind::Hub, "{holding:?}");
        assert_eq!((holding.user_data, holding.executions), (false, 0));
    }

    let ends = tokio::time::timeout(PATIENCE, deleted(&agents)).await;
    for device in ends.unwrap() {
        let done = ["CONFIRMED", "EXECUTED"].contains(&device.outcome.as_str());
        assert!(done, "{device:?}");
    }
    for holding in held() {
        assert_eq!((holding.bound_epoch, holding.locked), (0, false));
        let orders = match holding.kind {
            Kind::Hub => 1 + config.children_per_hub,
            Kind::Phone | Kind::Watch | Kind::Child => 1,
        };
        assert_eq!(holding.executions, orders, "{holding:?}");
    }
    assert!(end.drain(PATIENCE).await);
    fleet.join().await;
    assert!(agents.shutdown.drain(PATIENCE).await);
}
