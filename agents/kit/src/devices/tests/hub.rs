//! A hub that speaks MQTT: remembers what it did, says everything twice, and keeps its session at the broker.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use farewell_proto::device::v1 as wire;
use farewell_runtime::shutdown::Shutdown;
use prost::Message as _;
use prost::bytes::Bytes;
use tokio::sync::{mpsc, watch};

use crate::devices::mqtt::topic::{self, Channel};
use crate::devices::mqtt::{Client, Endpoint, Incoming, Options, Standing, connect};
use crate::devices::names;
use crate::devices::testing::{plain, said};

/// How often a hub says that it is there.
const SYNC_INTERVAL: Duration = Duration::from_millis(500);
/// The broker keeps its session for so long.
const SESSION_LIFE: Duration = Duration::from_secs(3600);
/// How long switching off may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a hub remembers, switched off or on.
#[derive(Default)]
pub struct Memory {
    /// How often each order was carried out.
    pub executed: BTreeMap<String, u32>,
    /// How often one was delivered, first time included.
    pub deliveries: u32,
    answers: Vec<wire::OrderReport>,
}

/// Whether a hub answers orders or keeps its answers for later.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    Answers,
    Silent,
}

pub struct Hub {
    pub memory: Arc<Mutex<Memory>>,
    mood: watch::Sender<Mood>,
    endpoint: Endpoint,
    id: String,
    epoch: u64,
    on: Option<(Client, Shutdown)>,
}

impl Hub {
    pub fn new(id: &str, epoch: u64, endpoint: Endpoint) -> Self {
        Self {
            memory: Arc::default(),
            mood: watch::channel(Mood::Answers).0,
            endpoint,
            id: id.to_owned(),
            epoch,
            on: None,
        }
    }

    /// Connects with the session that it had, syncs, and does as it is told from now on.
    pub fn switch_on(&mut self, mood: Mood) -> watch::Receiver<Option<Standing>> {
        let shutdown = Shutdown::new();
        let own = vec![topic::of("test", &self.id, Channel::Cmd)];
        let (client, incoming) = dial(&self.endpoint, own, Some(SESSION_LIFE), &shutdown);
        self.mood.send_replace(mood);
        let life = Life {
            client: client.clone(),
            id: self.id.clone(),
            epoch: self.epoch,
            mood: self.mood.subscribe(),
            memory: self.memory.clone(),
        };
        shutdown.spawn(life.run(incoming, shutdown.clone()));
        let standing = client.standing();
        self.on = Some((client, shutdown));
        standing
    }

    pub fn set_mood(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }

    pub async fn switch_off(&mut self) {
        if let Some((_, shutdown)) = self.on.take() {
            assert!(shutdown.drain(PATIENCE).await);
        }
    }

    /// Lets the broker forget the session, as a broker does that lost its store.
    pub async fn lose_session(&self) {
        let shutdown = Shutdown::new();
        let (_client, mut incoming) = dial(&self.endpoint, Vec::new(), None, &shutdown);
        loop {
            let said = tokio::time::timeout(PATIENCE, incoming.recv()).await;
            match said.unwrap().unwrap() {
                Incoming::Connected => break,
                Incoming::Lost => {}
                other => panic!("{other:?}"),
            }
        }
        assert!(shutdown.drain(PATIENCE).await);
    }

    /// Says every answer again that it ever gave.
    pub async fn repeat_everything(&self) {
        let answers = self.memory.lock().unwrap().answers.clone();
        assert!(!answers.is_empty());
        let (client, _) = self.on.as_ref().unwrap();
        for answer in answers {
            client
                .publish(
                    topic::of("test", &self.id, Channel::Ack),
                    reports(vec![answer]),
                )
                .await
                .unwrap();
        }
    }
}

fn dial(
    endpoint: &Endpoint,
    filters: Vec<String>,
    session_life: Option<Duration>,
    shutdown: &Shutdown,
) -> (Client, mpsc::Receiver<Incoming>) {
    connect(
        Options {
            endpoint: endpoint.clone(),
            filters,
            session_life,
            queue: 16,
        },
        shutdown,
    )
}

/// A hub while it is on.
struct Life {
    client: Client,
    id: String,
    epoch: u64,
    mood: watch::Receiver<Mood>,
    memory: Arc<Mutex<Memory>>,
}

impl Life {
    async fn run(mut self, mut incoming: mpsc::Receiver<Incoming>, shutdown: Shutdown) {
        let mut again = tokio::time::interval(SYNC_INTERVAL);
        loop {
            tokio::select! {
                () = shutdown.wait() => return,
                said = incoming.recv() => match said {
                    Some(Incoming::Connected) => self.sync().await,
                    Some(Incoming::Message { payload, .. }) => self.obey(payload).await,
                    Some(Incoming::Lost | Incoming::Refused) => {}
                    None => return,
                },
                Ok(()) = self.mood.changed() => {}
                _ = again.tick() => self.sync().await,
            }
        }
    }

    async fn sync(&self) {
        // A silent one says nothing of what it has done, either.
        let done = match *self.mood.borrow() {
            Mood::Silent => Vec::new(),
            Mood::Answers => self
                .memory
                .lock()
                .unwrap()
                .executed
                .keys()
                .cloned()
                .collect(),
        };
        let sync = sync(&self.id, self.epoch, done);
        self.publish(Channel::Sync, sync).await;
    }

    /// Does what it has not done yet, and answers everything, twice.
    async fn obey(&self, payload: Bytes) {
        let answers: Vec<_> = orders(payload)
            .into_iter()
            .filter(|order| {
                (names::device_of(&order.device), order.binding_epoch)
                    == (Some(self.id.as_str()), self.epoch)
            })
            .map(|order| {
                let mut memory = self.memory.lock().unwrap();
                memory.deliveries += 1;
                if !memory.executed.contains_key(&order.name) {
                    *memory.executed.entry(order.name.clone()).or_default() += 1;
                }
                let answer = wire::OrderReport {
                    order: order.name,
                    device: order.device,
                    binding_epoch: order.binding_epoch,
                    state: wire::OrderState::Executed.into(),
                    reason: String::new(),
                    sequence: 0,
                };
                memory.answers.push(answer.clone());
                answer
            })
            .collect();
        if *self.mood.borrow() == Mood::Answers {
            for _ in 0..2 {
                self.publish(Channel::Ack, reports(answers.clone())).await;
            }
        }
    }

    async fn publish(&self, channel: Channel, payload: Vec<u8>) {
        // What gets lost is said again.
        let _ = self
            .client
            .publish(topic::of("test", &self.id, channel), payload)
            .await;
    }
}

/// The orders in a `cmd` message.
pub fn orders(payload: Bytes) -> Vec<wire::Order> {
    let signed = wire::OrderEnvelope::decode(payload).unwrap().orders;
    signed.iter().map(said).collect()
}

/// An `ack` message.
pub fn reports(reports: Vec<wire::OrderReport>) -> Vec<u8> {
    let answers = reports.into_iter().map(|report| wire::Answer {
        answer: Some(wire::answer::Answer::Plain(report)),
    });
    wire::ReportEnvelope {
        answers: answers.collect(),
    }
    .encode_to_vec()
}

/// A `sync` message.
pub fn sync(device: &str, epoch: u64, done_orders: Vec<String>) -> Vec<u8> {
    let sync = wire::Sync {
        device: names::device(device),
        binding_epoch: epoch,
        done_orders,
        ..wire::Sync::default()
    };
    plain(sync).encode_to_vec()
}
