//! How large a fleet is, how well it behaves and where it connects.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use farewell_runtime::certs::DevCa;
use farewell_runtime::cose::{KeyRing, SigningKey};
use farewell_runtime::peer::Role;
use farewell_runtime::server::Security;

/// Devices of one fleet: each has a connection of its own, and one process has so many files.
pub const DEVICES_MAX: usize = 20_000;

/// A fleet: as many devices of each kind for each account.
#[derive(Clone, Debug, Default)]
pub struct FleetConfig {
    /// The accounts' ids, without `accounts/`.
    pub accounts: Vec<String>,
    pub phones: u32,
    /// Each is the companion of one of the phones in turn; without phones there are none.
    pub watches: u32,
    pub hubs: u32,
    pub children_per_hub: u32,
    /// Share of devices that are away at first, 0 to 1.
    pub offline: f64,
    /// When those appear.
    pub offline_for: Duration,
    /// Share of devices that drop connections, answer twice or late, 0 to 1.
    pub flaky: f64,
    /// Share of devices that were reset by hand before they first appear, 0 to 1.
    pub reset: f64,
    /// How long a device takes for a step.
    pub latency: Duration,
    /// Where the phones agent listens: `host:port`.
    pub phones_agent: String,
    /// Where the wearables agent listens.
    pub wearables_agent: String,
    /// Where the smart-home agent listens for binding calls.
    pub smarthome_agent: String,
    /// Where hubs connect.
    pub broker: Broker,
    /// Directory of the development authority; `None` for agents without TLS on loopback.
    pub ca_dir: Option<PathBuf>,
    /// Whose orders the devices carry out.
    pub order_keys: KeyRing,
    /// Decides who is away and who is flaky.
    pub seed: u64,
}

/// An MQTT broker.
#[derive(Clone, Debug, Default)]
pub struct Broker {
    pub host: String,
    pub port: u16,
    /// TLS, with the broker's authority in PEM.
    pub ca_pem: Option<Vec<u8>>,
}

/// What a device is.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Phone,
    Watch,
    Hub,
    /// Behind a hub.
    Child,
}

impl Kind {
    /// The product line that such devices are of.
    pub(super) fn line(self) -> &'static str {
        match self {
            Self::Phone => "phones",
            Self::Watch => "wearables",
            Self::Hub | Self::Child => "smarthome",
        }
    }
}

/// A device that was bound. Its `Debug` shows no secret.
#[derive(Clone, serde::Serialize, serde::Deserialize)]
pub struct Device {
    pub id: String,
    /// Whose it is, without `accounts/`.
    pub account: String,
    pub kind: Kind,
    /// Of the binding.
    pub epoch: u64,
    /// Companion phone or hub.
    pub via: Option<String>,
    /// For hubs: the password at the broker.
    pub secret: String,
    /// Of the key that a watch or hub signs its answers with.
    pub seed: [u8; 32],
    /// Away at first.
    pub offline: bool,
    pub flaky: bool,
    /// Reset by hand before it first appears.
    pub reset: bool,
}

impl Device {
    /// Hubs have no battery for a clock.
    pub(super) fn is_clockless(&self) -> bool {
        self.kind == Kind::Hub
    }

    /// What passes through others' hands is signed: a phone's by its certificate, a watch's and a hub's by themselves.
    pub(super) fn answer_key(&self) -> Option<SigningKey> {
        match self.kind {
            Kind::Phone | Kind::Child => None,
            Kind::Watch | Kind::Hub => SigningKey::from_seed(&self.seed).ok(),
        }
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Device")
            .field("id", &self.id)
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

impl FleetConfig {
    /// How many devices it has in all.
    pub fn total(&self) -> usize {
        let children = u64::from(self.hubs) * u64::from(self.children_per_hub);
        let watches = if self.phones == 0 { 0 } else { self.watches };
        let each = u64::from(self.phones) + u64::from(watches) + u64::from(self.hubs) + children;
        let accounts = u64::try_from(self.accounts.len()).unwrap_or(u64::MAX);
        usize::try_from(each.saturating_mul(accounts)).unwrap_or(usize::MAX)
    }

    pub(crate) fn authority(&self) -> anyhow::Result<Option<DevCa>> {
        self.ca_dir
            .as_ref()
            .map(|dir| {
                DevCa::open_or_create(dir).context("the fleet needs the development authority")
            })
            .transpose()
    }

    pub(super) fn device_security(
        &self,
        ca: Option<&DevCa>,
        device: &str,
    ) -> anyhow::Result<Security> {
        security(ca, Role::Device, device)
    }

    pub(super) fn caller_security(&self, ca: Option<&DevCa>) -> anyhow::Result<Security> {
        security(ca, Role::Caller, "fleet")
    }
}

fn security(ca: Option<&DevCa>, role: Role, name: &str) -> anyhow::Result<Security> {
    Ok(match ca {
        Some(ca) => Security::Mutual(ca.issue(role, name, &[])?),
        None => Security::PlainLoopback,
    })
}
