//! Binds a fleet to its account, as the app's back end would.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, bail, ensure};
use farewell_proto::binding::v1::binding_service_client::BindingServiceClient;
use farewell_proto::binding::v1::{BindRequest, Binding};
use farewell_runtime::{backoff, client};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tonic::Code;
use tonic::transport::Channel;
use uuid::Uuid;

use super::config::{DEVICES_MAX, Device, FleetConfig, Kind};

/// Bindings under way at a time.
const BINDING_MAX: usize = 64;
/// How long one may take.
const BIND_TIMEOUT: Duration = Duration::from_secs(30);
/// Tries while the agent is starting or its database is away, with the same request id.
const TRIES_MAX: u32 = 6;
const RETRY_BASE: Duration = Duration::from_millis(200);
const RETRY_CAP: Duration = Duration::from_secs(3);

/// What is left of every device's warranty.
const WARRANTY_LEFT: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Binds every device of the fleet. Phones before their watches and hubs before their children.
pub async fn provision(config: &FleetConfig) -> anyhow::Result<Vec<Device>> {
    ensure!(
        config.total() <= DEVICES_MAX,
        "a fleet has at most {DEVICES_MAX} devices"
    );
    let ca = config.authority()?;
    let security = config.caller_security(ca.as_ref())?;
    let dial = |url: &str| {
        anyhow::Ok(BindingServiceClient::new(
            client::endpoint(url, &security)?.connect_lazy(),
        ))
    };
    let mut draw = Draw::new(config);
    let [mut phones, mut watches, mut hubs, mut children] = [const { Vec::new() }; 4];
    for account in &config.accounts {
        let own_phones = draw.devices(account, Kind::Phone, config.phones, None);
        let companions = own_phones.iter().cycle().take(if own_phones.is_empty() {
            0
        } else {
            config.watches as usize
        });
        for phone in companions {
            watches.extend(draw.devices(account, Kind::Watch, 1, Some(&phone.id)));
        }
        let own_hubs = draw.devices(account, Kind::Hub, config.hubs, None);
        for hub in &own_hubs {
            let behind = config.children_per_hub;
            children.extend(draw.devices(account, Kind::Child, behind, Some(&hub.id)));
        }
        phones.extend(own_phones);
        hubs.extend(own_hubs);
    }

    let smarthome = dial(&config.smarthome_agent)?;
    let mut bound = bind_all(dial(&config.phones_agent)?, phones).await?;
    bound.extend(bind_all(dial(&config.wearables_agent)?, watches).await?);
    bound.extend(bind_all(smarthome.clone(), hubs).await?);
    bound.extend(bind_all(smarthome, children).await?);
    Ok(bound)
}

/// Makes devices up.
struct Draw {
    rng: StdRng,
    run: String,
    offline: f64,
    flaky: f64,
    reset: f64,
    made: u32,
}

impl Draw {
    fn new(config: &FleetConfig) -> Self {
        Self {
            rng: StdRng::seed_from_u64(config.seed),
            // Two fleets never share a device, and no id says whose it is.
            run: Uuid::new_v4().simple().to_string()[..8].to_owned(),
            offline: config.offline.clamp(0.0, 1.0),
            flaky: config.flaky.clamp(0.0, 1.0),
            reset: config.reset.clamp(0.0, 1.0),
            made: 0,
        }
    }

    fn devices(&mut self, account: &str, kind: Kind, count: u32, via: Option<&str>) -> Vec<Device> {
        (0..count)
            .map(|_| self.device(account, kind, via))
            .collect()
    }

    fn device(&mut self, account: &str, kind: Kind, via: Option<&str>) -> Device {
        self.made += 1;
        Device {
            id: format!("{}-{}-{:05}", word(kind), self.run, self.made),
            account: account.to_owned(),
            kind,
            epoch: 0,
            via: via.map(str::to_owned),
            secret: String::new(),
            seed: self.rng.random(),
            offline: self.rng.random_bool(self.offline),
            flaky: self.rng.random_bool(self.flaky),
            reset: self.reset > 0.0 && self.rng.random_bool(self.reset),
        }
    }
}

async fn bind_all(
    client: BindingServiceClient<Channel>,
    devices: Vec<Device>,
) -> anyhow::Result<Vec<Device>> {
    let room = Arc::new(Semaphore::new(BINDING_MAX));
    let mut tasks = JoinSet::new();
    for device in devices {
        let permit = room.clone().acquire_owned().await?;
        let client = client.clone();
        tasks.spawn(async move {
            let bound = bind(client, device).await;
            drop(permit);
            bound
        });
    }
    let mut bound = Vec::with_capacity(tasks.len());
    while let Some(device) = tasks.join_next().await {
        bound.push(device??);
    }
    bound.sort_by(|a: &Device, b| a.id.cmp(&b.id));
    Ok(bound)
}

async fn bind(
    mut client: BindingServiceClient<Channel>,
    mut device: Device,
) -> anyhow::Result<Device> {
    let request = BindRequest {
        request_id: Uuid::now_v7().to_string(),
        binding: Some(Binding {
            device: format!("devices/{}", device.id),
            account: format!("accounts/{}", device.account),
            model: model(device.kind).to_owned(),
            serial_number: format!("SN-{}", device.id.to_uppercase()),
            via: device
                .via
                .as_ref()
                .map(|via| format!("devices/{via}"))
                .unwrap_or_default(),
            warranty_end_time: Some((SystemTime::now() + WARRANTY_LEFT).into()),
            answer_key: device
                .answer_key()
                .map(|key| key.public().to_vec().into())
                .unwrap_or_default(),
            activation_lock: matches!(device.kind, Kind::Phone | Kind::Watch),
            ..Binding::default()
        }),
    };
    for attempt in 0..TRIES_MAX {
        match client
            .bind(client::request(request.clone(), BIND_TIMEOUT))
            .await
        {
            Ok(response) => {
                let response = response.into_inner();
                device.epoch = response
                    .binding
                    .context("a binding without a binding")?
                    .epoch;
                device.secret = response.device_secret;
                return Ok(device);
            }
            Err(status) if status.code() == Code::Unavailable => {
                let random = rand::rng().random();
                tokio::time::sleep(backoff::jittered(attempt, RETRY_BASE, RETRY_CAP, random)).await;
            }
            Err(status) => {
                return Err(status).with_context(|| format!("cannot bind devices/{}", device.id));
            }
        }
    }
    bail!("the agent of devices/{} is away", device.id)
}

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Phone => "phone",
        Kind::Watch => "watch",
        Kind::Hub => "hub",
        Kind::Child => "child",
    }
}

fn model(kind: Kind) -> &'static str {
    match kind {
        Kind::Phone => "Aurora 9",
        Kind::Watch => "Aurora Watch 3",
        Kind::Hub => "Hearth Hub",
        Kind::Child => "Hearth Lamp",
    }
}
