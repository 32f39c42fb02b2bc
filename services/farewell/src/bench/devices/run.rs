//! One transport after the other: bare first, then with everything that makes a deletion.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use farewell_proto::deletion::v1::State;
use farewell_runtime::cose::KeyRing;
use uuid::Uuid;

use super::agent::Ports;
use super::field::{Attached, Did};
use super::mosquitto::Mosquitto;
use super::report::{self, Figures, Memory, Raw};
use super::{Load, Transport};
use crate::bench::driver::{Driver, Shape};
use crate::bench::meter::{self, Bill, Process};
use crate::bench::part::{Part, Place, START_MAX};
use crate::bench::rig::{self, Rig};
use crate::bench::speed::kind;
use crate::fleet::{self, Broker, Device, FleetConfig, Kind};
use crate::output::Output;

/// Devices of one process: each has a connection, and a process has so many open files.
const FIELD_DEVICES_MAX: usize = 8_000;
/// What a process has open beside connections of devices.
const OTHER_FILES: usize = 300;
/// Devices that are attached where nothing else is said and open files suffice.
const DEVICES: usize = 20_000;
/// How long all devices may take to attach.
const ATTACH_MAX: Duration = Duration::from_secs(300);
/// Until buffers of the connecting are given back.
const SETTLE: Duration = Duration::from_secs(3);
/// How long the bare transport may take to say what it did.
const BARE_MAX: Duration = Duration::from_secs(60);
/// Accounts that are deleted one at a time.
const ALONE: usize = 50;
/// One account in so many is deleted at half load.
const HALF_LOAD_SHARE: usize = 4;

/// Measures what was asked for, and prints it.
pub async fn run(load: &Load, output: Output) -> anyhow::Result<()> {
    let mut figures = Vec::new();
    for transport in Transport::ALL {
        if load.transport.is_none_or(|only| only == transport) {
            figures.push(measure(transport, load).await?);
        }
    }
    report::print(&figures, output)
}

async fn measure(transport: Transport, load: &Load) -> anyhow::Result<Figures> {
    let run = Run::new(transport, load)?;
    let raw = run.bare().await?;
    run.whole(raw).await
}

struct Run<'a> {
    transport: Transport,
    load: &'a Load,
    devices: usize,
}

impl<'a> Run<'a> {
    fn new(transport: Transport, load: &'a Load) -> anyhow::Result<Self> {
        anyhow::ensure!(
            load.each > 0 && load.in_flight >= load.each,
            "-c must be --each or more"
        );
        let postgres = load
            .ledger
            .as_ref()
            .is_some_and(|url| url.starts_with("postgres"));
        anyhow::ensure!(
            load.replicas == 1 || (postgres && load.replicas > 0 && transport == Transport::Grpc),
            "several replicas share a PostgreSQL (--ledger) and are for --transport grpc"
        );
        farewell_runtime::files::as_many_as_allowed();
        let most = (open_files()? - OTHER_FILES) * load.replicas;
        let devices = load.devices.unwrap_or_else(|| DEVICES.min(most));
        anyhow::ensure!(
            devices <= most,
            "a process may have {} open files here: at most {most} devices",
            open_files()?
        );
        // Whole accounts only.
        let devices = devices - devices % load.each;
        anyhow::ensure!(
            devices / load.each >= ALONE * HALF_LOAD_SHARE,
            "at least {} devices",
            ALONE * HALF_LOAD_SHARE * load.each
        );
        Ok(Self {
            transport,
            load,
            devices,
        })
    }

    /// Somebody else's broker, if there is one in this run.
    async fn broker(&self) -> anyhow::Result<Option<Mosquitto>> {
        let embedded = self.load.broker == Path::new("embedded");
        match self.transport {
            Transport::Mqtt if !embedded => Ok(Some(Mosquitto::start(&self.load.broker).await?)),
            Transport::Mqtt | Transport::Grpc => Ok(None),
        }
    }

    /// The transport without anything behind it. The embedded broker lets in nobody but the agent and its devices.
    async fn bare(&self) -> anyhow::Result<Option<Raw>> {
        let broker = self.broker().await?;
        if self.transport == Transport::Mqtt && broker.is_none() {
            return Ok(None);
        }
        let (_folder, place) = rig::place(self.transport.plan(), self.load.plain)?;
        let port = broker
            .as_ref()
            .map_or(0, |broker| broker.addr().port())
            .to_string();
        let in_flight = self.load.in_flight.to_string();
        let args = [
            "--transport",
            self.transport.word(),
            "--in-flight",
            &in_flight,
            "--broker",
            &port,
        ];
        let mut bare = Part::start("bare", &place, &args)?;
        let ports: Ports = bare.hear(START_MAX).await?;
        let holder = match &broker {
            Some(broker) => broker.process()?,
            None => bare.process()?,
        };
        // One process holds them all.
        let count = self.devices.min(open_files()? - OTHER_FILES);
        let devices: Vec<_> = (0..count).map(|place| self.nobody(place)).collect();
        let before = meter::resident_mebibytes(holder.pid);
        let (fields, attach) = self.attach(&place, &devices, &[ports], true).await?;
        let idle = meter::resident_mebibytes(holder.pid);
        eprintln!(
            "{}: bare, {} in flight",
            self.transport.word(),
            self.load.in_flight
        );
        bare.go_on().await?;
        let shape: Shape = bare.hear(BARE_MAX).await?;
        let after = meter::resident_mebibytes(holder.pid);
        for field in fields {
            field.end().await?;
        }
        bare.end().await?;
        Ok(Some(Raw {
            attach,
            shape,
            memory: Memory::of(holder.label, count, [before, idle, after]),
        }))
    }

    /// Everything: accounts with devices, deleted.
    async fn whole(&self, raw: Option<Raw>) -> anyhow::Result<Figures> {
        let ledger = self.load.ledger.as_deref();
        let mut rig = Rig::up(self.transport.plan(), ledger, self.load.plain).await?;
        let broker = self.broker().await?;
        let mut agents = Vec::new();
        let mut ports = Vec::new();
        for _ in 0..self.load.replicas {
            let (agent, port) = self.agent(&rig, broker.as_ref()).await?;
            agents.push(agent);
            ports.push(port);
        }
        rig.everybody(u32::try_from(self.load.replicas)?).await?;
        eprintln!(
            "{}: binding {} devices",
            self.transport.word(),
            self.devices
        );
        let accounts: Vec<_> = (0..self.devices / self.load.each)
            .map(|_| format!("bench-{}", Uuid::now_v7().simple()))
            .collect();
        let devices = fleet::provision(&self.fleet(&rig.place, &ports[0], &accounts)?).await?;

        let mut holders: Vec<_> = agents.iter().map(Part::process).collect::<Result<_, _>>()?;
        if let Some(broker) = &broker {
            holders.push(broker.process()?);
        }
        let memory = || -> Vec<f64> {
            holders
                .iter()
                .map(|holder| meter::resident_mebibytes(holder.pid))
                .collect()
        };
        let before = memory();
        let (mut fields, attach) = self.attach(&rig.place, &devices, &ports, false).await?;
        let idle = memory();

        let (shapes, costs) = self.delete(&rig, &accounts, &holders, &fields).await?;
        let after = memory();
        let mut executed = 0;
        for field in &mut fields {
            field.close();
            let did: Did = field.hear(START_MAX).await?;
            anyhow::ensure!(
                did.twice == 0,
                "{} devices carried out an order twice",
                did.twice
            );
            executed += did.executed;
        }
        anyhow::ensure!(
            executed == u64::try_from(self.devices)?,
            "{executed} of {} devices carried out their order",
            self.devices
        );
        for part in fields.into_iter().chain(agents) {
            part.end().await?;
        }
        rig.down().await?;
        let share = self.devices / self.load.replicas;
        let memory = holders
            .iter()
            .zip(before.iter().zip(idle.iter().zip(&after)));
        let memory = memory.map(|(holder, (before, (idle, after)))| {
            let devices = if holder.label == "broker" {
                self.devices
            } else {
                share
            };
            Memory::of(holder.label, devices, [*before, *idle, *after])
        });
        let [alone, half_load, saturated] = shapes;
        Ok(Figures {
            transport: self.transport.word(),
            method: self.method(),
            replicas: self.load.replicas,
            devices: self.devices,
            each: self.load.each,
            in_flight: self.load.in_flight,
            attach,
            memory: memory.collect(),
            alone,
            half_load,
            saturated,
            costs,
            raw,
        })
    }

    fn method(&self) -> String {
        let database = self.load.ledger.as_deref().map_or(kind("sqlite:"), kind);
        let (wire, bare) = match (self.transport, &self.load.broker) {
            (Transport::Grpc, _) if self.load.plain => ("plain gRPC", "a bare server"),
            (Transport::Grpc, _) => ("gRPC over mutual TLS", "a bare server"),
            (Transport::Mqtt, broker) if broker == Path::new("embedded") => {
                ("MQTT to the embedded broker", "nothing")
            }
            (Transport::Mqtt, _) => ("MQTT to Mosquitto, QoS 1, plain", "a bare client"),
        };
        format!(
            "{wire} on loopback, {database}; devices, agent, coordinator, driver, broker and database share this machine. An \
             order counts when its device has checked the signature, said RECEIVED, EXECUTING and EXECUTED, and the account's \
             deletion is PURGED, its certificate written; latencies are those of whole deletions of {} devices. Beside it \
             {bare} that sends as many bytes and gets as many answers on as many connections, and keeps nothing.",
            self.load.each
        )
    }

    async fn agent(&self, rig: &Rig, broker: Option<&Mosquitto>) -> anyhow::Result<(Part, Ports)> {
        let database = match &self.load.ledger {
            Some(url) => url.clone(),
            None => rig.place.sqlite("agent"),
        };
        let port = broker.map(|broker| broker.addr().port().to_string());
        let mut args = vec![
            "--transport",
            self.transport.word(),
            "--coordinator",
            &rig.participants,
            "--database",
            &database,
        ];
        if let Some(port) = &port {
            args.extend(["--broker", port]);
        }
        let mut agent = Part::start("agent", &rig.place, &args)?;
        let mut ports: Ports = agent.hear(START_MAX).await?;
        ports.broker = ports.broker.or(broker.map(Mosquitto::addr));
        Ok((agent, ports))
    }

    /// What is bound to the accounts.
    fn fleet(
        &self,
        place: &Place,
        ports: &Ports,
        accounts: &[String],
    ) -> anyhow::Result<FleetConfig> {
        let each = u32::try_from(self.load.each)?;
        let (phones, hubs) = match self.transport {
            Transport::Grpc => (each, 0),
            Transport::Mqtt => (0, each),
        };
        Ok(FleetConfig {
            accounts: accounts.to_vec(),
            phones,
            hubs,
            phones_agent: ports.url(),
            wearables_agent: ports.url(),
            smarthome_agent: ports.url(),
            broker: Broker::default(),
            ca_dir: (!place.plain).then(|| place.dir.clone()),
            order_keys: KeyRing::from_pem(&place.read("orders.pub")?)?,
            ..FleetConfig::default()
        })
    }

    /// A device that is bound to nobody, for who doesn't ask.
    fn nobody(&self, place: usize) -> Device {
        let kind = match self.transport {
            Transport::Grpc => Kind::Phone,
            Transport::Mqtt => Kind::Hub,
        };
        Device {
            id: format!("bare-{place:05}"),
            account: String::new(),
            kind,
            epoch: 0,
            via: None,
            secret: String::new(),
            seed: [0; 32],
            offline: false,
            flaky: false,
            reset: false,
        }
    }

    /// Attaches the devices, each to one of the ends. Returns their processes and how many there were a second.
    async fn attach(
        &self,
        place: &Place,
        devices: &[Device],
        ends: &[Ports],
        bare: bool,
    ) -> anyhow::Result<(Vec<Part>, f64)> {
        let processes = devices
            .len()
            .div_ceil(FIELD_DEVICES_MAX)
            .next_multiple_of(ends.len());
        let started = Instant::now();
        let mut fields = Vec::new();
        for (number, devices) in devices
            .chunks(devices.len().div_ceil(processes))
            .enumerate()
        {
            let end = &ends[number % ends.len()];
            let file = format!("devices-{number}.json");
            std::fs::write(place.dir.join(&file), serde_json::to_vec(devices)?)?;
            let (agent, broker) = (
                end.url(),
                end.broker.map_or(0, |broker| broker.port()).to_string(),
            );
            let mut args = vec!["--devices", &file, "--agent", &agent, "--broker", &broker];
            if bare {
                args.push("--bare");
            }
            fields.push(Part::start("field", place, &args)?);
        }
        let mut attached = 0;
        for field in &mut fields {
            attached += field.hear::<Attached>(ATTACH_MAX).await?.devices;
        }
        let per_second = crate::bench::as_f64(attached) / started.elapsed().as_secs_f64();
        eprintln!(
            "{}: {attached} devices attached, {per_second:.0}/s",
            self.transport.word()
        );
        tokio::time::sleep(SETTLE).await;
        Ok((fields, per_second))
    }

    /// Deletes all accounts, in the three shapes of load.
    async fn delete(
        &self,
        rig: &Rig,
        accounts: &[String],
        holders: &[Process],
        fields: &[Part],
    ) -> anyhow::Result<([Shape; 3], Vec<meter::Cost>)> {
        let left = Mutex::new(VecDeque::from(accounts.to_vec()));
        let next = move || {
            left.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pop_front()
        };
        let security = rig.security("driver")?;
        let driver = Driver::connect(&rig.callers, &security, State::Purged, Box::new(next));
        let driver = Arc::new(driver.await?);
        let half = accounts.len() / HALF_LOAD_SHARE;
        let most = accounts.len() - ALONE - half;
        let word = self.transport.word();
        eprintln!(
            "{word}: {ALONE} deletions of {} devices one at a time",
            self.load.each
        );
        let alone = driver.closed(u64::try_from(ALONE)?, 1).await?;
        let in_flight = self.load.in_flight / self.load.each;
        eprintln!("{word}: {most} deletions, {in_flight} in flight");
        let mut processes = holders.to_vec();
        processes.push(rig.coordinator.process()?);
        for field in fields {
            processes.push(field.process()?);
        }
        processes.extend(meter::postmaster(&rig.ledger).await);
        let bill = Bill::open(processes);
        let most = u64::try_from(most)?;
        let saturated = driver.closed(most, in_flight).await?;
        let costs = bill.close(most * u64::try_from(self.load.each)?);
        let rate = saturated.per_second() / 2.0;
        eprintln!("{word}: {half} deletions at {rate:.0}/s");
        let half_load = driver.open(u64::try_from(half)?, rate).await?;
        Ok(([alone, half_load, saturated], costs))
    }
}

impl Ports {
    fn url(&self) -> String {
        format!("https://localhost:{}", self.devices.port())
    }
}

/// How many files one process may have open.
fn open_files() -> anyhow::Result<usize> {
    let limits = std::fs::read_to_string("/proc/self/limits")?;
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    soft.context("no limit of open files")
}
