//! The account's devices: bound over the agents' API, alive on the real transports.

use std::time::Duration;

use farewell_runtime::shutdown::Shutdown;

use super::Args;
use super::account::Account;
use super::stage::Stage;
use crate::fleet::{self, Broker, Fleet, FleetConfig, Kind, Snapshot};

/// How long a device takes for a step: to be seen and not to be waited for.
const LATENCY: Duration = Duration::from_millis(150);

/// A running fleet.
pub struct Devices {
    fleet: Fleet,
    shutdown: Shutdown,
    away: String,
    flaky: String,
}

impl Devices {
    /// Binds them and lets them live. A watch is away at first, as watches are; a phone drops its connections.
    ///
    /// Errors: an agent that can't be reached, a binding that is refused.
    pub async fn start(
        args: &Args,
        stage: &Stage,
        account: &Account,
        shutdown: &Shutdown,
    ) -> anyhow::Result<Self> {
        let config = FleetConfig {
            accounts: vec![account.id.clone()],
            phones: args.phones,
            watches: args.watches,
            hubs: args.hubs,
            children_per_hub: args.children,
            offline: 0.0,
            offline_for: args.away.get(),
            flaky: 0.0,
            reset: 0.0,
            latency: LATENCY,
            phones_agent: stage.phones(),
            wearables_agent: stage.wearables(),
            smarthome_agent: stage.smarthome(),
            broker: Broker {
                host: "127.0.0.1".to_owned(),
                port: stage.broker_port(),
                ca_pem: None,
            },
            ca_dir: Some(stage.certs()),
            order_keys: stage.order_keys()?,
            seed: 1,
        };
        let mut devices = fleet::provision(&config).await?;
        let mut away = "none".to_owned();
        if let Some(watch) = devices.iter_mut().find(|device| device.kind == Kind::Watch) {
            watch.offline = true;
            away.clone_from(&watch.id);
        }
        let mut flaky = "none".to_owned();
        if let Some(phone) = devices.iter_mut().find(|device| device.kind == Kind::Phone) {
            phone.flaky = true;
            flaky.clone_from(&phone.id);
        }
        let shutdown = shutdown.child();
        let fleet = fleet::start(&config, devices, &shutdown)?;
        Ok(Self {
            fleet,
            shutdown,
            away,
            flaky,
        })
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.snapshot().devices.len()
    }

    /// Which one is away at first.
    pub fn away(&self) -> &str {
        &self.away
    }

    /// Which one has a bad connection.
    pub fn flaky(&self) -> &str {
        &self.flaky
    }

    /// What each holds now: the devices' own state, not what anybody says of them.
    pub fn snapshot(&self) -> Snapshot {
        self.fleet.snapshot()
    }

    /// Ends them.
    pub async fn end(self) {
        self.shutdown.trigger();
        self.fleet.join().await;
    }
}
