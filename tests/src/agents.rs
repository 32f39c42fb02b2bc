//! The agents as processes of the product, and simulated devices that speak the real transports to them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use farewell_proto::binding::v1::binding_service_client::BindingServiceClient;
use farewell_proto::binding::v1::{BindRequest, BindResponse, Binding};
use farewell_runtime::client::endpoint;
use farewell_runtime::server::Security;
use serde::Deserialize;
use tonic::Status;
use tonic::transport::Channel;

use crate::broker::Mosquitto;
use crate::caller::fresh;
use crate::process::{CoordinatorSite, Process, free_port};
use crate::wait;

/// Every product line.
pub const LINES: [&str; 3] = ["phones", "wearables", "smarthome"];
/// A plan for them: a phone is not wiped while its watch still needs it.
pub const STAGES: &[&[&str]] = &[&["wearables"], &["phones", "smarthome"]];

/// How many devices each account has, how many of them are away at first, and how many drop connections and answer twice.
#[derive(Clone, Copy, Debug)]
pub struct Size<'a> {
    pub phones: &'a str,
    pub watches: &'a str,
    pub hubs: &'a str,
    pub children_per_hub: &'a str,
    pub offline: &'a str,
    pub offline_for: &'a str,
    pub flaky: &'a str,
    /// How long a device takes for a step.
    pub latency: &'a str,
}

/// How long a fleet may take to be bound: there are some of a thousand devices.
const BOUND_MAX: Duration = Duration::from_secs(180);

/// A phone, a watch, a hub and two lamps.
pub const SMALL: Size<'_> = Size {
    phones: "1",
    watches: "1",
    hubs: "1",
    children_per_hub: "2",
    offline: "0.2",
    offline_for: "4s",
    flaky: "0.3",
    latency: "20ms",
};

/// Where the agents are found, however often they are started.
#[derive(Debug)]
pub struct AgentsSite {
    program: String,
    folder: PathBuf,
    config: PathBuf,
    /// Where devices attach, by line.
    devices: [String; LINES.len()],
    broker: String,
    /// Whose certificates the broker shows, if it speaks TLS.
    broker_ca: Option<PathBuf>,
    /// What its agents find in their environment besides.
    pub env: Vec<(String, String)>,
}

/// What agents stand on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ground<'a> {
    /// Lines that each agent gets, for instance how long devices are waited for.
    pub terms: &'a str,
    /// What all of them share. `None`: a file for each.
    pub database: Option<&'a str>,
    /// Whom hubs connect to. `None`: the smart home's own.
    pub broker: Option<&'a Mosquitto>,
}

/// What a device of a fleet held in the end.
#[derive(Clone, Debug, Deserialize)]
pub struct Device {
    pub device: String,
    pub account: String,
    pub kind: String,
    pub bound_epoch: u64,
    pub user_data: bool,
    pub executions: u32,
    /// Orders that came again in one session.
    pub repeats: u32,
}

#[derive(Deserialize)]
struct Snapshot {
    devices: Vec<Device>,
}

impl AgentsSite {
    /// Writes the settings into `folder`, where the agents' databases lie too if they have none elsewhere.
    pub fn new(
        program: &str,
        folder: &Path,
        coordinator: &CoordinatorSite,
        ground: &Ground<'_>,
    ) -> Result<Self> {
        let address = || anyhow::Ok(format!("127.0.0.1:{}", free_port()?));
        let devices = [address()?, address()?, address()?];
        let broker = ground.broker.map_or_else(address, |it| Ok(it.address()))?;
        let broker_ca = ground.broker.map(Mosquitto::authority);
        let terms = ground.terms;
        let mut text = String::new();
        for (line, devices) in LINES.iter().zip(&devices) {
            let file = || format!("sqlite:{}", folder.join(format!("{line}.db")).display());
            let database = ground.database.map_or_else(file, str::to_owned);
            text.push_str(&format!(
                "[agent.{line}]\ndatabase = \"{database}\"\ncoordinators = [\"{}\"]\nplain = true\n\
                 confirm_wait = \"2s\"\nlisten.devices = \"{devices}\"\n{terms}\n",
                coordinator.participants,
            ));
        }
        // The last section is the one with the broker.
        text.push_str(&match &broker_ca {
            None => format!("listen.mqtt = \"{broker}\"\n"),
            Some(ca) => format!(
                "broker.url = \"mqtts://{broker}\"\nbroker.ca = \"{}\"\nbroker.username = \"farewell~agent\"\n\
                 broker.password = \"not asked for\"\n",
                ca.display()
            ),
        });
        let config = folder.join("agents.toml");
        fs::write(&config, text)?;
        Ok(Self {
            program: program.to_owned(),
            folder: folder.to_owned(),
            config,
            devices,
            broker,
            broker_ca,
            env: Vec::new(),
        })
    }

    /// Where devices of a line attach, and callers bind them.
    pub fn devices(&self, line: &str) -> Option<&str> {
        let place = LINES.iter().position(|name| *name == line)?;
        self.devices.get(place).map(String::as_str)
    }

    /// Who binds devices of a line.
    pub fn bindings(&self, line: &str) -> Result<BindingServiceClient<Channel>> {
        let address = self.devices(line).context("a line")?;
        let channel = endpoint(address, &Security::PlainLoopback)?.connect_lazy();
        Ok(BindingServiceClient::new(channel))
    }

    /// Binds a device.
    pub async fn bind(&self, line: &str, binding: Binding) -> Result<BindResponse, Status> {
        let request = BindRequest {
            request_id: fresh(),
            binding: Some(binding),
        };
        let mut client = self
            .bindings(line)
            .map_err(|error| Status::internal(format!("{error:#}")))?;
        Ok(client.bind(request).await?.into_inner())
    }

    /// Devices of a line dial what stands before it from now on, and so do callers.
    pub fn behind(&mut self, line: &str, address: &str) {
        for (name, own) in LINES.iter().zip(&mut self.devices) {
            if *name == line {
                *own = address.to_owned();
            }
        }
    }

    /// Where hubs connect.
    pub fn broker(&self) -> &str {
        &self.broker
    }

    /// The public halves of the keys whose orders devices carry out.
    pub fn order_keys(&self) -> PathBuf {
        self.folder.join("orders.pub")
    }

    /// Starts the agent of a line and returns at once.
    pub fn launch(&self, line: &str) -> Result<Process> {
        let mut command = Command::new(&self.program);
        command.args(["agent", line, "--with-parent", "--config"]);
        command.arg(&self.config).envs(self.env.iter().cloned());
        Process::start(&mut command, &self.log(line))
    }

    /// Binds devices to each account and lets them live. Returns when all are bound.
    pub async fn fleet(
        &self,
        accounts: &[&[String]],
        size: &Size<'_>,
        seed: u64,
    ) -> Result<Process> {
        let [phones, wearables, smarthome] = &self.devices;
        let mut command = Command::new(&self.program);
        command.args(["fleet", "-o", "json"]);
        for account in accounts.iter().flat_map(|some| some.iter()) {
            command.args(["--account", account]);
        }
        for (flag, value) in [
            ("--phones", size.phones),
            ("--watches", size.watches),
            ("--hubs", size.hubs),
            ("--children-per-hub", size.children_per_hub),
            ("--offline", size.offline),
            ("--offline-for", size.offline_for),
            ("--flaky", size.flaky),
            ("--latency", size.latency),
        ] {
            command.args([flag, value]);
        }
        command
            .args(["--phones-agent", phones, "--wearables-agent", wearables])
            .args(["--smarthome-agent", smarthome, "--broker", &self.broker])
            .arg("--order-keys")
            .arg(self.order_keys())
            .args(["--seed", &seed.to_string()]);
        if let Some(ca) = &self.broker_ca {
            command.arg("--broker-ca").arg(ca);
        }
        let mut fleet = Process::start_apart(&mut command, &self.told(), &self.log("fleet"))?;
        wait::until_within(BOUND_MAX, "the devices to be bound", async || {
            ensure!(fleet.is_running(), "the fleet has ended");
            Ok(self.words("fleet").contains(" bound").then_some(()))
        })
        .await
        .with_context(|| self.words("fleet"))?;
        Ok(fleet)
    }

    /// Ends the fleet and returns what its devices hold.
    pub async fn holdings(&self, fleet: Process) -> Result<Vec<Device>> {
        fleet.end().await?;
        let told = fs::read_to_string(self.told())?;
        let snapshot: Snapshot = serde_json::from_str(&told).context(told)?;
        Ok(snapshot.devices)
    }

    /// What somebody has written, for a message.
    pub fn words(&self, name: &str) -> String {
        fs::read_to_string(self.log(name)).unwrap_or_default()
    }

    fn log(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.log"))
    }

    fn told(&self) -> PathBuf {
        self.folder.join("fleet.json")
    }
}
