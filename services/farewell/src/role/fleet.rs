//! `farewell fleet`: simulated devices against running agents, until a signal.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::builder::NonEmptyStringValueParser;
use farewell_runtime::config::Human;
use farewell_runtime::cose::KeyRing;
use farewell_runtime::shutdown::Shutdown;
use farewell_runtime::{files, telemetry};
use serde_json::json;

use crate::fleet::{self, Broker, Counts, FleetConfig};
use crate::output::{Output, Rows};

/// What a fleet is told.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The account that the devices are bound to; several have as many devices each
    #[arg(long = "account", required = true, value_parser = NonEmptyStringValueParser::new())]
    accounts: Vec<String>,
    /// Phones of each account
    #[arg(long, default_value_t = 2)]
    phones: u32,
    /// Each is the companion of one of the phones in turn
    #[arg(long, default_value_t = 2)]
    watches: u32,
    /// Hubs of each account's home
    #[arg(long, default_value_t = 1)]
    hubs: u32,
    /// Lamps behind each hub
    #[arg(long, default_value_t = 3)]
    children_per_hub: u32,
    /// Share of devices that are away at first, 0 to 1
    #[arg(long, default_value_t = 0.0, value_parser = share)]
    offline: f64,
    /// When those appear
    #[arg(long, default_value = "10s")]
    offline_for: Human,
    /// Share of devices that drop connections, answer twice or late, 0 to 1
    #[arg(long, default_value_t = 0.0, value_parser = share)]
    flaky: f64,
    /// Share of devices that were reset by hand before they first appear, 0 to 1
    #[arg(long, default_value_t = 0.0, value_parser = share)]
    reset: f64,
    /// How long a device takes for a step
    #[arg(long, default_value = "20ms")]
    latency: Human,
    /// host:port of the agent of phones
    #[arg(long, default_value = "127.0.0.1:7410")]
    phones_agent: String,
    /// host:port of the agent of wearables
    #[arg(long, default_value = "127.0.0.1:7411")]
    wearables_agent: String,
    /// host:port of the agent of the smart home
    #[arg(long, default_value = "127.0.0.1:7412")]
    smarthome_agent: String,
    /// host:port of the hubs' broker
    #[arg(long, default_value = "127.0.0.1:7483")]
    broker: String,
    /// The broker's authority, if it speaks TLS
    #[arg(long, value_name = "FILE")]
    broker_ca: Option<PathBuf>,
    /// Folder of the development authority, which issues the devices' certificates; none: plain text on this machine
    #[arg(long, value_name = "DIR")]
    ca_dir: Option<PathBuf>,
    /// Public halves of the keys whose orders the devices carry out; default: orders.pub of the authority's folder
    #[arg(long, value_name = "FILE")]
    order_keys: Option<PathBuf>,
    /// Decides who is away and who is flaky
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

/// A share of all devices.
fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok();
    let share = share.filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "must be a number from 0 to 1".to_owned())
}

/// Binds the devices and lets them live until a signal.
///
/// Errors: an agent that can't be reached, a binding that is refused.
pub async fn run(args: Args, output: Output) -> anyhow::Result<()> {
    // Thousands of devices have too much to say.
    let log = telemetry::Config {
        log: "warn".to_owned(),
        ..telemetry::Config::default()
    };
    let _telemetry = telemetry::init("farewell-fleet", "fleet", &log)?;
    files::as_many_as_allowed();
    let shutdown = Shutdown::new();
    shutdown.on_signals().context("signals")?;
    let config = args.config()?;
    let devices = fleet::provision(&config).await?;
    let last = fleet::run(&config, devices, shutdown, teller()).await?;
    let mut rows = Rows::new("", &["device", "account", "epoch", "data", "executions"]);
    for device in &last.devices {
        rows.push([
            device.device.clone(),
            device.account.clone(),
            device.bound_epoch.to_string(),
            if device.user_data { "kept" } else { "none" }.to_owned(),
            device.executions.to_string(),
        ]);
    }
    output.write(&json!(last), &[rows])
}

/// Tells of a change only.
fn teller() -> impl Fn(Counts) {
    let told = std::cell::Cell::new(None);
    move |counts| {
        if told.replace(Some(counts)) != Some(counts) {
            eprintln!(
                "{} devices: {} online, {} bound, {} wiped",
                counts.total, counts.online, counts.bound, counts.wiped
            );
        }
    }
}

impl Args {
    fn config(&self) -> anyhow::Result<FleetConfig> {
        let (host, port) = self
            .broker
            .rsplit_once(':')
            .context("--broker is host:port")?;
        let ca_pem = match &self.broker_ca {
            Some(file) => {
                Some(std::fs::read(file).with_context(|| format!("reading {}", file.display()))?)
            }
            None => None,
        };
        Ok(FleetConfig {
            accounts: self.accounts.clone(),
            phones: self.phones,
            watches: self.watches,
            hubs: self.hubs,
            children_per_hub: self.children_per_hub,
            offline: self.offline,
            offline_for: Duration::from(self.offline_for),
            flaky: self.flaky,
            reset: self.reset,
            latency: Duration::from(self.latency),
            phones_agent: self.phones_agent.clone(),
            wearables_agent: self.wearables_agent.clone(),
            smarthome_agent: self.smarthome_agent.clone(),
            broker: Broker {
                host: host.to_owned(),
                port: port.parse().context("--broker is host:port")?,
                ca_pem,
            },
            ca_dir: self.ca_dir.clone(),
            order_keys: self.order_keys()?,
            seed: self.seed,
        })
    }

    fn order_keys(&self) -> anyhow::Result<KeyRing> {
        let beside = || self.ca_dir.as_ref().map(|dir| dir.join("orders.pub"));
        let path = self
            .order_keys
            .clone()
            .or_else(beside)
            .context("--order-keys: devices must know whose orders they carry out")?;
        let pem = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        KeyRing::from_pem(&pem).with_context(|| format!("reading {}", path.display()))
    }
}
