//! Between devices and the database: reports go in, owed orders come out, many devices in one transaction.
//!
//! One task owns the writing. While a transaction is being flushed the next ones queue up, and go together: a fleet
//! that comes back after a power cut costs a few flushes and not one for each device.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use farewell_proto::device::v1 as wire;
use farewell_runtime::shutdown::Shutdown;
use prost::bytes::Bytes;
use sqlx::AnyConnection;
use tokio::sync::{mpsc, oneshot};

use super::bells::Bells;
use super::clock::Clock;
use super::companion::is_companion;
use super::contact::{self, Contact, Effects, Report};
use super::counters::{Counters, Odd};
use super::live::{self, LiveBinding};
use super::lock;
use super::order::{Order, State};
use super::outbox;
use super::registry::{Registry, Via};
use super::said::Said;
use super::sheet::{Sheet, Topics};
use crate::participant::Fault;

/// Entries of one transaction: a few milliseconds of work.
const BATCH_ENTRIES_MAX: usize = 256;
/// Entries that wait; beyond it, sessions wait to hand theirs in.
const WAITING_ENTRIES_MAX: usize = 1024;
/// Devices that the slow timer rings for at a time.
const FORGOTTEN_DEVICES_MAX: u32 = 2048;

/// Called with a command whose last order has ended. A hint.
pub type Settled = Arc<dyn Fn(&str) + Send + Sync>;

/// A handle to the lane. Cheap to clone.
#[derive(Clone)]
pub struct Delivery {
    entries: mpsc::Sender<Entry>,
    bells: Bells,
    clock: Arc<dyn Clock>,
    counters: Counters,
    /// The device after which the slow timer goes on.
    round: Arc<Mutex<String>>,
}

/// What goes to a device now.
#[derive(Clone, Debug, Default)]
pub struct Parcel {
    /// Who gets it.
    pub device: String,
    /// What it is owed, in the order it has to be carried out.
    pub orders: Vec<Order>,
    /// What time it is, signed; empty if the device didn't ask or nobody knows.
    pub time_proof: Bytes,
    /// The binding that it has and didn't name.
    pub binding: Option<LiveBinding>,
}

impl Parcel {
    /// Whether there is nothing to be told.
    pub fn is_empty(&self) -> bool {
        self.orders.is_empty() && self.binding.is_none()
    }

    /// As the device gets it. An activity's trace goes with the first of its orders.
    pub fn to_wire(&self) -> wire::OrderEnvelope {
        let first = self.orders.first();
        wire::OrderEnvelope {
            orders: self
                .orders
                .iter()
                .map(|order| order.signed.clone())
                .collect(),
            time_proof: self.time_proof.clone(),
            traceparent: first
                .map(|order| order.traceparent.clone())
                .unwrap_or_default(),
            binding: self.binding.map(|binding| binding.to_wire(&self.device)),
        }
    }

    /// The orders' ids.
    pub fn ids(&self) -> Vec<String> {
        self.orders.iter().map(|order| order.id.clone()).collect()
    }
}

/// The answer to an entry, or the machine word of one that was not accepted. Dropped: the database is away.
type Reply<T> = oneshot::Sender<Result<T, &'static str>>;

type Answer<T> = oneshot::Receiver<Result<T, &'static str>>;

/// What a contact brings the device: its orders, and the binding that it has and didn't name.
type Brought = (Vec<Order>, Option<LiveBinding>);

enum Entry {
    Contact(Said<Contact>, Option<String>, Reply<Brought>),
    Report(Said<Report>, Option<String>, Reply<()>),
    Owed(String, Option<String>, Reply<Vec<Order>>),
    Unsent(String, Reply<Vec<Order>>),
    Sent(String, Vec<String>),
    Forgotten(SystemTime, String, Reply<Vec<String>>),
}

/// What an entry of a batch is told once the batch is committed.
enum Told {
    /// What the device is owed by then and which binding it has, or why it gets nothing.
    Contact(Reply<Brought>, Result<String, &'static str>),
    /// What the device is owed by then, or why it gets nothing.
    Owed(Reply<Vec<Order>>, Result<String, &'static str>),
    /// The same, or nothing if all of it was sent.
    Unsent(Reply<Vec<Order>>, String),
    Report(Reply<()>, Result<(), &'static str>),
    /// The devices after this one that were given nothing since then.
    Forgotten(Reply<Vec<String>>, SystemTime, String, Vec<String>),
    Nobody,
}

/// A contact or report that brought nothing.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// What the device said makes no sense: a stable machine word.
    #[error("{0}")]
    Word(&'static str),
    /// The database is away. The device keeps its answer and gives it again.
    #[error("the agent's database is away")]
    Away,
}

impl Delivery {
    /// Starts the lane. `clock` is asked for devices that have none.
    pub fn start(
        registry: Registry,
        bells: Bells,
        settled: Settled,
        clock: Arc<dyn Clock>,
        shutdown: &Shutdown,
    ) -> Self {
        let (entries, waiting) = mpsc::channel(WAITING_ENTRIES_MAX);
        let counters = Counters::default();
        let lane = Lane {
            registry,
            bells: bells.clone(),
            settled,
            counters: counters.clone(),
        };
        shutdown.spawn(lane.run(waiting));
        Self {
            entries,
            bells,
            clock,
            counters,
            round: Arc::default(),
        }
    }

    /// What was odd so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// A device is there: settles what it says it has done and returns what it is still owed, and the binding that it has
    /// if it named none or another. `through` is the phone that carries its words, if it doesn't come by itself.
    pub(super) async fn contact(
        &self,
        said: Said<Contact>,
        through: Option<&str>,
    ) -> Result<Parcel, Trouble> {
        let (device, nonce) = (said.device.clone(), said.word.nonce.clone());
        let through = through.map(str::to_owned);
        let (orders, binding) = self
            .ask(|reply| Entry::Contact(said, through, reply))
            .await?;
        let time_proof = match nonce {
            Some(nonce) if !orders.is_empty() => self.clock.prove(&device, nonce).await,
            Some(_) | None => None,
        };
        Ok(Parcel {
            device,
            orders,
            time_proof: time_proof.unwrap_or_default(),
            binding,
        })
    }

    /// Answers to orders, each with the phone that carries it, if it doesn't come by itself. They are kept in this order,
    /// and all at once if the lane has room.
    pub(super) async fn reports(
        &self,
        answers: Vec<(Said<Report>, Option<String>)>,
    ) -> Vec<Result<(), Trouble>> {
        let mut kept = Vec::with_capacity(answers.len());
        for (said, through) in answers {
            let entry = |reply| Entry::Report(said, through, reply);
            kept.push(self.hand_in(entry).await);
        }
        let mut results = Vec::with_capacity(kept.len());
        for answer in kept {
            results.push(self.wait(answer).await);
        }
        results
    }

    /// What a device is owed now. A phone that is its companion no longer gets nothing for it.
    pub async fn owed(&self, device: &str, through: Option<&str>) -> Result<Parcel, Trouble> {
        let through = through.map(str::to_owned);
        let orders = self
            .ask(|reply| Entry::Owed(device.to_owned(), through, reply))
            .await?;
        Ok(Parcel {
            device: device.to_owned(),
            orders,
            ..Parcel::default()
        })
    }

    /// What a device is owed now, if there is something in it that no transport was given yet; otherwise nothing.
    pub(super) async fn unsent(&self, device: &str) -> Result<Parcel, Trouble> {
        let orders = self
            .ask(|reply| Entry::Unsent(device.to_owned(), reply))
            .await?;
        Ok(Parcel {
            device: device.to_owned(),
            orders,
            ..Parcel::default()
        })
    }

    /// A parcel was handed to a transport that took it. Nothing is acknowledged by that.
    pub async fn sent(&self, parcel: &Parcel) {
        // A lost mark only means that they are sent once more.
        let entry = Entry::Sent(parcel.device.clone(), parcel.ids());
        let _ = self.entries.send(entry).await;
    }

    /// Rings for devices whose open orders no transport was given for `age`. Returns how many.
    pub async fn remind(&self, age: Duration) -> Result<usize, Trouble> {
        let after = self.round().clone();
        let devices = self
            .ask(|reply| Entry::Forgotten(SystemTime::now() - age, after, reply))
            .await?;
        // A page that isn't full is the last of a round.
        let full = devices.len() >= FORGOTTEN_DEVICES_MAX as usize;
        let next = devices.last().filter(|_| full).cloned();
        *self.round() = next.unwrap_or_default();
        devices.iter().for_each(|device| self.bells.ring(device));
        Ok(devices.len())
    }

    fn round(&self) -> MutexGuard<'_, String> {
        self.round.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts what was not accepted before it came here.
    pub(super) fn refuse(&self, word: &'static str) -> Trouble {
        self.counters.count(Odd::Refused, word);
        Trouble::Word(word)
    }

    async fn ask<T>(&self, entry: impl FnOnce(Reply<T>) -> Entry) -> Result<T, Trouble> {
        let answer = self.hand_in(entry).await;
        self.wait(answer).await
    }

    /// Once there is room.
    async fn hand_in<T>(&self, entry: impl FnOnce(Reply<T>) -> Entry) -> Answer<T> {
        let (reply, answer) = oneshot::channel();
        // A lane that has ended drops the entry, and with it the reply.
        let _ = self.entries.send(entry(reply)).await;
        answer
    }

    async fn wait<T>(&self, answer: Answer<T>) -> Result<T, Trouble> {
        answer
            .await
            .map_err(|_| Trouble::Away)?
            .map_err(|word| self.refuse(word))
    }
}

struct Lane {
    registry: Registry,
    bells: Bells,
    settled: Settled,
    counters: Counters,
}

impl Lane {
    /// Ends when the last handle is gone, so that every report that came in before the end is kept.
    async fn run(self, mut waiting: mpsc::Receiver<Entry>) {
        let mut batch = Vec::with_capacity(BATCH_ENTRIES_MAX);
        while waiting.recv_many(&mut batch, BATCH_ENTRIES_MAX).await > 0 {
            // Every device's row is held until the commit, and an order's row is touched under its device's only: two
            // agents on one database take them in the same order. The sort is stable, so that what one device said
            // stays in its order.
            batch.sort_by(|a, b| a.place().cmp(&b.place()));
            if let Err(fault) = self.flush(&mut batch).await {
                tracing::warn!(
                    error = &fault as &dyn std::error::Error,
                    "device reports are not kept, devices repeat them"
                );
                // Dropping the reply channels tells everybody.
                batch.clear();
            }
        }
    }

    async fn flush(&self, batch: &mut Vec<Entry>) -> Result<(), Fault> {
        let mut effects = Effects::default();
        let mut replies = Vec::with_capacity(batch.len());
        let topics = topics(batch);
        let mut tx = self.registry.store().pool().begin().await?;
        let mut sheet = Sheet::read(&mut tx, &topics).await?;
        for entry in batch.drain(..) {
            let told = self.apply(entry, &mut tx, &mut sheet, &mut effects);
            replies.push(told.await?);
        }
        let named = sheet.unaware();
        sheet.write(&mut tx).await?;
        let live = live::unknown_to(&mut tx, &named).await?;
        let askers = replies.iter().filter_map(Told::asker).collect();
        let owed = outbox::owed(&mut tx, &askers).await?;
        for told in &mut replies {
            if let Told::Forgotten(_, before, after, devices) = told {
                let found = outbox::forgotten(&mut tx, *before, after, FORGOTTEN_DEVICES_MAX);
                *devices = found.await?;
            }
        }
        let settled = settled(&mut tx, &effects).await?;
        let unlocked = unlocked(&mut tx, &effects).await?;
        tx.commit().await?;

        for (odd, word) in effects.odd {
            self.counters.count(odd, word);
        }
        replies.into_iter().for_each(|told| told.send(&owed, &live));
        if effects.returned {
            self.registry.returned();
        }
        unlocked.iter().for_each(|device| self.bells.ring(device));
        settled.iter().for_each(|command| (self.settled)(command));
        Ok(())
    }

    async fn apply(
        &self,
        entry: Entry,
        tx: &mut AnyConnection,
        sheet: &mut Sheet,
        effects: &mut Effects,
    ) -> Result<Told, Fault> {
        Ok(match entry {
            Entry::Contact(said, through, reply) => {
                let device = self.contact(&said, through.as_deref(), tx, sheet, effects);
                Told::Contact(reply, device.await?)
            }
            Entry::Report(said, through, reply) => {
                let word = match said.believe(tx, sheet, through.as_deref()).await? {
                    Ok(_) => contact::report(tx, sheet, &said.word, effects).await?,
                    Err(word) => Some(word),
                };
                Told::Report(reply, word.map_or(Ok(()), Err))
            }
            Entry::Owed(device, through, reply) => {
                let device = match through {
                    Some(phone) if !is_companion(tx, &phone, &device).await? => {
                        Err("NOT_THE_COMPANION")
                    }
                    Some(_) | None => Ok(device),
                };
                Told::Owed(reply, device)
            }
            Entry::Unsent(device, reply) => Told::Unsent(reply, device),
            Entry::Sent(device, orders) => {
                sheet.send(&device, &orders);
                Told::Nobody
            }
            Entry::Forgotten(before, after, reply) => {
                Told::Forgotten(reply, before, after, Vec::new())
            }
        })
    }

    async fn contact(
        &self,
        said: &Said<Contact>,
        through: Option<&str>,
        tx: &mut AnyConnection,
        sheet: &mut Sheet,
        effects: &mut Effects,
    ) -> Result<Result<String, &'static str>, Fault> {
        Ok(match said.believe(tx, sheet, through).await? {
            Ok(Some(device)) => {
                contact::settle(tx, sheet, &said.word, &device, effects).await?;
                Ok(said.device.clone())
            }
            Ok(None) => {
                // A companion phone is another agent's device, and no stranger.
                if self.registry.via() != Via::Companion {
                    effects.odd.push((Odd::Stranger, "UNKNOWN_DEVICE"));
                }
                Ok(said.device.clone())
            }
            Err(word) => Err(word),
        })
    }
}

/// Commands that have an answer now: nothing is open, and what was executed is confirmed, or was executed just now. And
/// those with a child that is gone and still locked: its next owner waits for nothing else.
async fn settled(tx: &mut AnyConnection, effects: &Effects) -> Result<BTreeSet<String>, Fault> {
    let mut settled = BTreeSet::new();
    for (command, left) in outbox::unsettled(tx, &effects.commands).await? {
        if left.open == 0 && (left.unconfirmed == 0 || effects.executed.contains(&command)) {
            settled.insert(command);
        }
    }
    let children = effects.children.iter();
    let locked = lock::on(tx, &children.map(|(_, child)| child.as_str()).collect()).await?;
    let children = effects.children.iter();
    let locked = children.filter(|(_, child)| locked.contains(child));
    settled.extend(locked.map(|(command, _)| command.clone()));
    Ok(settled)
}

/// Hubs that may be sent something new, now that children are gone: something that was never sent, or not since the hub
/// got what it has answered. That it is a tombstone by now makes no difference.
async fn unlocked(tx: &mut AnyConnection, effects: &Effects) -> Result<Vec<String>, Fault> {
    let hubs = effects.hubs.keys().cloned().collect();
    let owed = outbox::owed(tx, &hubs).await?.into_iter();
    let unlocked = owed.filter(|(hub, owed)| {
        owed.iter().any(|entry| {
            let answered = effects.hubs.get(hub);
            entry.order.state == State::Queued
                || answered.is_some_and(|answered| entry.sent < *answered)
        })
    });
    Ok(unlocked.map(|(hub, _)| hub).collect())
}

/// What the entries speak of.
fn topics(batch: &[Entry]) -> Topics {
    let mut topics = Topics::default();
    for entry in batch {
        match entry {
            Entry::Contact(said, ..) => {
                topics.devices.insert(said.device.clone());
                topics.contacts.insert(said.device.clone());
                topics.orders.extend(said.word.done.iter().cloned());
            }
            Entry::Report(said, ..) => {
                topics.devices.insert(said.device.clone());
                topics.orders.extend(said.word.order.clone());
            }
            Entry::Sent(device, orders) => {
                topics.devices.insert(device.clone());
                topics.orders.extend(orders.iter().cloned());
            }
            Entry::Owed(..) | Entry::Unsent(..) | Entry::Forgotten(..) => {}
        }
    }
    topics
}

impl Entry {
    /// Devices by their ids, and who asks about all of them last.
    fn place(&self) -> (bool, &str) {
        match self {
            Self::Contact(said, ..) => (false, &said.device),
            Self::Report(said, ..) => (false, &said.device),
            Self::Owed(device, ..) | Self::Unsent(device, _) | Self::Sent(device, _) => {
                (false, device)
            }
            Self::Forgotten(..) => (true, ""),
        }
    }
}

impl Told {
    /// Who is told what it is owed.
    fn asker(&self) -> Option<String> {
        match self {
            Self::Contact(_, Ok(device)) | Self::Owed(_, Ok(device)) | Self::Unsent(_, device) => {
                Some(device.clone())
            }
            Self::Contact(_, Err(_))
            | Self::Owed(_, Err(_))
            | Self::Report(..)
            | Self::Forgotten(..)
            | Self::Nobody => None,
        }
    }

    fn send(
        self,
        owed: &BTreeMap<String, Vec<outbox::Entry>>,
        live: &BTreeMap<String, LiveBinding>,
    ) {
        // Whoever asked may be gone; what they said is kept all the same.
        let of = |device: &str| owed.get(device).map_or(&[][..], Vec::as_slice);
        let orders = |entries: &[outbox::Entry]| -> Vec<Order> {
            entries.iter().map(|entry| entry.order.clone()).collect()
        };
        match self {
            Self::Contact(reply, device) => {
                let brought = |device: String| (orders(of(&device)), live.get(&device).copied());
                drop(reply.send(device.map(brought)));
            }
            Self::Owed(reply, device) => {
                drop(reply.send(device.map(|device| orders(of(&device)))));
            }
            Self::Unsent(reply, device) => {
                let owed = of(&device);
                let unsent = owed.iter().any(|entry| entry.sent == UNIX_EPOCH);
                drop(reply.send(Ok(if unsent { orders(owed) } else { Vec::new() })));
            }
            Self::Report(reply, result) => drop(reply.send(result)),
            Self::Forgotten(reply, _, _, devices) => drop(reply.send(Ok(devices))),
            Self::Nobody => {}
        }
    }
}
