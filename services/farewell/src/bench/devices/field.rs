//! Devices under measurement. They attach, stay, and answer what they get: after having checked it, as a device of the
//! fleet does, or at once, where the bare transport is measured.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clap::Args;
use farewell_proto::device::v1 as wire;
use farewell_proto::device::v1::OrderState;
use farewell_runtime::cose::KeyRing;
use farewell_runtime::shutdown::Shutdown;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::bench::part::{Place, end_of_input, say};
use crate::fleet::{self, Broker, Device, FleetConfig, Heard, Link, Local, Reaction};

/// Devices that connect at a time.
const CONNECTING_MAX: usize = 64;
/// Pause before a device that did not get in tries again.
const RECONNECT_WAIT: Duration = Duration::from_millis(500);
/// Bytes of an answer, as a report is large.
const ANSWER_BYTES: usize = 120;
/// Answers to one order: received, executing, executed.
pub const ANSWERS: u32 = 3;

/// What the devices' process is told.
#[derive(Debug, Args)]
pub struct FieldArgs {
    #[command(flatten)]
    place: Place,
    /// A file of the folder, with the devices in JSON
    #[arg(long)]
    devices: String,
    /// Where phones attach
    #[arg(long, default_value = "")]
    agent: String,
    /// The port of the hubs' broker
    #[arg(long, default_value_t = 0)]
    broker: u16,
    /// Answer without looking
    #[arg(long)]
    bare: bool,
}

/// All devices are there.
#[derive(Debug, Serialize, Deserialize)]
pub struct Attached {
    pub devices: u64,
}

/// What the devices did.
#[derive(Debug, Serialize, Deserialize)]
pub struct Did {
    /// Orders that were carried out.
    pub executed: u64,
    /// Devices that carried out more than one: there must be none.
    pub twice: u64,
}

#[derive(Default)]
struct Counts {
    attached: AtomicU64,
    executed: AtomicU64,
    twice: AtomicU64,
}

/// Lets devices live until the input ends. Says when all are attached, and what they have done.
pub async fn field(args: FieldArgs) -> anyhow::Result<()> {
    let shutdown = Shutdown::new();
    let devices: Vec<Device> = serde_json::from_slice(&args.place.read(&args.devices)?)?;
    let keys = KeyRing::from_pem(&args.place.read("orders.pub")?)?;
    let config = config(&args, keys.clone());
    let ca = config.authority()?;
    let counts = Arc::new(Counts::default());
    let room = Arc::new(Semaphore::new(CONNECTING_MAX));
    let mut lives = JoinSet::new();
    for device in &devices {
        let life = Life {
            link: fleet::link(&config, ca.as_ref(), device, &shutdown)?,
            local: Local::new(device, std::iter::empty(), keys.clone()),
            bare: args.bare,
            counts: counts.clone(),
            room: room.clone(),
        };
        lives.spawn(life.live());
    }
    let all = u64::try_from(devices.len())?;
    while counts.attached.load(Ordering::Relaxed) < all {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    say(&Attached { devices: all })?;
    end_of_input().await;
    let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
    say(&Did {
        executed: count(&counts.executed),
        twice: count(&counts.twice),
    })?;
    shutdown.trigger();
    lives.shutdown().await;
    Ok(())
}

fn config(args: &FieldArgs, order_keys: KeyRing) -> FleetConfig {
    FleetConfig {
        phones_agent: args.agent.clone(),
        broker: Broker {
            host: "127.0.0.1".to_owned(),
            port: args.broker,
            ca_pem: None,
        },
        ca_dir: (!args.place.plain).then(|| args.place.dir.clone()),
        order_keys,
        ..FleetConfig::default()
    }
}

struct Life {
    link: Box<dyn Link>,
    local: Local,
    bare: bool,
    counts: Arc<Counts>,
    room: Arc<Semaphore>,
}

impl Life {
    async fn live(mut self) {
        let mut before = false;
        loop {
            self.attach().await;
            if !before {
                self.counts.attached.fetch_add(1, Ordering::Relaxed);
                before = true;
            }
            while let Heard::Orders(envelope) = self.link.hear().await {
                if self.bare {
                    self.echo(&envelope).await;
                } else {
                    self.obey(envelope).await;
                }
            }
        }
    }

    async fn attach(&mut self) {
        loop {
            let permit = self.room.acquire().await;
            let sync = self.local.sync();
            if self.link.open(sync).await.is_ok() {
                return;
            }
            drop(permit);
            tokio::time::sleep(RECONNECT_WAIT).await;
        }
    }

    /// As much as a real device says, without a look at what came.
    async fn echo(&mut self, envelope: &wire::OrderEnvelope) {
        for _ in 0..ANSWERS as usize * envelope.orders.len() {
            let said = vec![0x5a; ANSWER_BYTES].into();
            self.link
                .answer(wire::Answer {
                    answer: Some(wire::answer::Answer::Signed(said)),
                })
                .await;
        }
    }

    async fn obey(&mut self, envelope: wire::OrderEnvelope) {
        self.local.learn(&envelope.time_proof);
        let heard_of = envelope.binding.as_ref();
        let mut again = heard_of.is_some_and(|binding| self.local.take_on(binding));
        for order in &envelope.orders {
            match self.local.consider(order) {
                Reaction::Answer(report) => self.say(report).await,
                Reaction::AskTime => again = true,
                Reaction::Execute(signed) => {
                    for state in [OrderState::Received, OrderState::Executing] {
                        let report = self.local.report(&signed.order, state);
                        self.say(report).await;
                    }
                    let report = self.local.execute(signed);
                    self.counts.executed.fetch_add(1, Ordering::Relaxed);
                    if self.local.executions() > 1 {
                        self.counts.twice.fetch_add(1, Ordering::Relaxed);
                    }
                    self.say(report).await;
                }
            }
        }
        if again {
            let sync = self.local.sync();
            self.link.say_again(sync).await;
        }
    }

    async fn say(&mut self, report: wire::OrderReport) {
        let answer = self.local.say(report);
        self.link.answer(answer).await;
    }
}
