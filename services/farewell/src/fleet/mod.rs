//! Simulated phones, watches, hubs and hub children that speak the real transports.
//!
//! A simulated device is as careful as a real one must be: it believes orders that a pinned key signed for it, acts once on
//! each and repeats its answer, says SUPERSEDED to another binding's, refuses what is not for it or not in time, reports
//! before it wipes itself, and comes back without the binding saying what it has done. Watches and hubs sign what they
//! say; hubs have no clock and ask for the time. Some are offline at first; some drop connections, answer twice or late.
//!
//! Some were reset by hand before they first appear: they know of no binding, hear from their agent that they have one, and
//! are locked.
//!
//! What is absent: any way for a test to tell a device that it was wiped. It is wiped by an order or not at all.

mod config;
mod grpc;
mod life;
mod link;
mod local;
mod mqtt;
mod provision;
mod snapshot;
mod trust;
mod voice;

use std::sync::Arc;
use std::time::Duration;

use farewell_runtime::certs::DevCa;
use farewell_runtime::shutdown::Shutdown;
use tokio::task::JoinSet;

pub use self::config::{Broker, Device, FleetConfig, Kind};
pub(crate) use self::link::{Heard, Link};
pub(crate) use self::local::{Local, Reaction};
pub use self::provision::provision;
pub use self::snapshot::{Counts, Holding, Snapshot};

use self::grpc::AttachLink;
use self::life::{Context, Life};
use self::mqtt::HubLink;

/// How often progress is told.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);

/// A running fleet. Dropping it ends nothing.
pub struct Fleet {
    lives: Vec<Arc<Life>>,
    devices: Arc<Vec<Device>>,
    tasks: JoinSet<()>,
}

impl Fleet {
    /// What each device holds now.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::of(&self.devices, &self.lives)
    }

    /// Waits until every device has ended, which they do at the shutdown.
    pub async fn join(mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Lets the devices live until `shutdown`.
///
/// Errors: certificates that can't be made, addresses that can't be dialled.
pub fn start(
    config: &FleetConfig,
    devices: Vec<Device>,
    shutdown: &Shutdown,
) -> anyhow::Result<Fleet> {
    let context = Arc::new(Context::new(config, shutdown.clone()));
    let devices = Arc::new(devices);
    let ca = config.authority()?;
    let mut lives = Vec::new();
    let mut tasks = JoinSet::new();
    // A child lives in its hub.
    for device in devices.iter().filter(|device| device.kind != Kind::Child) {
        let children = devices.iter().filter(|child| {
            child.kind == Kind::Child && child.via.as_deref() == Some(device.id.as_str())
        });
        let children = children.map(|child| (child.id.clone(), child.epoch));
        let local = Local::new(device, children, config.order_keys.clone());
        let life = Arc::new(Life::new(device, local));
        let link = link(config, ca.as_ref(), device, shutdown)?;
        tasks.spawn(life.clone().live(link, context.clone()));
        lives.push(life);
    }
    Ok(Fleet {
        lives,
        devices,
        tasks,
    })
}

/// How a device reaches its agent: a phone by itself, a watch through its phone, a hub through the broker.
///
/// Errors: a certificate that can't be made, an address that can't be dialled.
pub(crate) fn link(
    config: &FleetConfig,
    ca: Option<&DevCa>,
    device: &Device,
    shutdown: &Shutdown,
) -> anyhow::Result<Box<dyn Link>> {
    if device.kind == Kind::Hub {
        return Ok(Box::new(HubLink::new(
            &config.broker,
            device,
            shutdown.clone(),
        )));
    }
    let (agent, attached) = match &device.via {
        Some(phone) => (&config.wearables_agent, phone),
        None => (&config.phones_agent, &device.id),
    };
    let security = config.device_security(ca, attached)?;
    let relays = device.via.is_some();
    Ok(Box::new(AttachLink::new(
        agent, &security, attached, relays,
    )?))
}

/// [`start`], telling `progress` a few times a second until `shutdown`.
pub async fn run(
    config: &FleetConfig,
    devices: Vec<Device>,
    shutdown: Shutdown,
    progress: impl Fn(Counts),
) -> anyhow::Result<Snapshot> {
    let fleet = start(config, devices, &shutdown)?;
    let mut tick = tokio::time::interval(PROGRESS_INTERVAL);
    loop {
        tokio::select! {
            () = shutdown.wait() => break,
            _ = tick.tick() => progress(fleet.snapshot().counts()),
        }
    }
    let last = fleet.snapshot();
    fleet.join().await;
    Ok(last)
}

#[cfg(test)]
mod tests;
