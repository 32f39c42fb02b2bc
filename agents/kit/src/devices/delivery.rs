//! Between devices and the database: reports go in, owed orders come out, many devices in one transaction.
//!
//! One task owns the writing. While a transaction is being flushed the next ones queue up, and go together: a fleet
//! that comes back after a power cut costs a few flushes and not one for each device.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use farewell_proto::device::v1 as wire;
use farewell_runtime::shutdown::Shutdown;
use sqlx::AnyConnection;
use tokio::sync::{mpsc, oneshot};

use super::bells::Bells;
use super::contact::{self, Contact, Effects, Report};
use super::order::{Order, State};
use super::outbox;
use super::registry::Registry;
use crate::participant::Fault;

/// Entries of one transaction: a few milliseconds of work.
const BATCH_ENTRIES_MAX: usize = 256;
/// Entries that wait; beyond it, sessions wait to hand theirs in.
const WAITING_ENTRIES_MAX: usize = 1024;
/// Devices that the slow timer rings for at a time.
const FORGOTTEN_DEVICES_MAX: u32 = 512;

/// Called with a command whose last order has ended. A hint.
pub type Settled = Arc<dyn Fn(&str) + Send + Sync>;

/// A handle to the lane. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Delivery {
    entries: mpsc::Sender<Entry>,
    bells: Bells,
}

enum Entry {
    Contact(Contact, oneshot::Sender<Result<Vec<Order>, ()>>),
    Report(Report, oneshot::Sender<Result<Option<&'static str>, ()>>),
    Owed(String, oneshot::Sender<Result<Vec<Order>, ()>>),
    Sent(Vec<String>),
    Forgotten(SystemTime, oneshot::Sender<Result<Vec<String>, ()>>),
}

/// What an entry of a batch is told once the batch is committed.
enum Reply {
    Orders(oneshot::Sender<Result<Vec<Order>, ()>>, Vec<Order>),
    Word(
        oneshot::Sender<Result<Option<&'static str>, ()>>,
        Option<&'static str>,
    ),
    Devices(oneshot::Sender<Result<Vec<String>, ()>>, Vec<String>),
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
    /// Starts the lane.
    pub fn start(registry: Registry, bells: Bells, settled: Settled, shutdown: &Shutdown) -> Self {
        let (entries, waiting) = mpsc::channel(WAITING_ENTRIES_MAX);
        let lane = Lane {
            registry,
            bells: bells.clone(),
            settled,
        };
        shutdown.spawn(lane.run(waiting));
        Self { entries, bells }
    }

    /// A device is there: settles what it says it has done and returns what it is still owed.
    pub async fn contact(&self, sync: wire::Sync) -> Result<Vec<Order>, Trouble> {
        let contact = Contact::parse(sync).map_err(Trouble::Word)?;
        self.ask(|reply| Entry::Contact(contact, reply)).await
    }

    /// A device answers an order.
    pub async fn report(&self, report: wire::OrderReport) -> Result<(), Trouble> {
        let report = Report::parse(report).map_err(Trouble::Word)?;
        match self.ask(|reply| Entry::Report(report, reply)).await? {
            None => Ok(()),
            Some(word) => Err(Trouble::Word(word)),
        }
    }

    /// What a device is owed now.
    pub async fn owed(&self, device: &str) -> Result<Vec<Order>, Trouble> {
        self.ask(|reply| Entry::Owed(device.to_owned(), reply))
            .await
    }

    /// Orders were handed to a transport that took them. Nothing is acknowledged by that.
    pub async fn sent(&self, orders: Vec<String>) {
        // A lost mark only means that they are sent once more.
        let _ = self.entries.send(Entry::Sent(orders)).await;
    }

    /// Rings for devices whose open orders no transport was given for `age`. Returns how many.
    pub async fn remind(&self, age: Duration) -> Result<usize, Trouble> {
        let devices = self
            .ask(|reply| Entry::Forgotten(SystemTime::now() - age, reply))
            .await?;
        devices.iter().for_each(|device| self.bells.ring(device));
        Ok(devices.len())
    }

    async fn ask<T>(
        &self,
        entry: impl FnOnce(oneshot::Sender<Result<T, ()>>) -> Entry,
    ) -> Result<T, Trouble> {
        let (reply, answer) = oneshot::channel();
        self.entries
            .send(entry(reply))
            .await
            .map_err(|_| Trouble::Away)?;
        answer
            .await
            .map_err(|_| Trouble::Away)?
            .map_err(|()| Trouble::Away)
    }
}

struct Lane {
    registry: Registry,
    bells: Bells,
    settled: Settled,
}

impl Lane {
    /// Ends when the last handle is gone, so that every report that came in before the end is kept.
    async fn run(self, mut waiting: mpsc::Receiver<Entry>) {
        let mut batch = Vec::with_capacity(BATCH_ENTRIES_MAX);
        while waiting.recv_many(&mut batch, BATCH_ENTRIES_MAX).await > 0 {
            // Every device's row is held until the commit: two agents on one database take them in the same order.
            // The sort is stable, so that what one device said stays in its order.
            batch.sort_by(|a, b| a.device().cmp(b.device()));
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
        let mut tx = self.registry.store().pool().begin().await?;
        for entry in batch.drain(..) {
            replies.push(entry.apply(&mut tx, &mut effects).await?);
        }
        let settled = settled(&mut tx, &effects).await?;
        let unlocked = unlocked(&mut tx, &effects).await?;
        tx.commit().await?;

        replies.into_iter().for_each(Reply::send);
        unlocked.iter().for_each(|device| self.bells.ring(device));
        settled.iter().for_each(|command| (self.settled)(command));
        Ok(())
    }
}

/// Commands that have an answer now: nothing is open, and what was executed is confirmed, or was executed just now.
async fn settled(tx: &mut AnyConnection, effects: &Effects) -> Result<BTreeSet<String>, Fault> {
    let mut settled = BTreeSet::new();
    for command in &effects.commands {
        let (open, unconfirmed) = outbox::open_and_unconfirmed(tx, command).await?;
        if open == 0 && (unconfirmed == 0 || effects.executed.contains(command)) {
            settled.insert(command.clone());
        }
    }
    Ok(settled)
}

/// Hubs that may be sent something new, now that children are gone.
async fn unlocked(tx: &mut AnyConnection, effects: &Effects) -> Result<Vec<String>, Fault> {
    let mut unlocked = Vec::new();
    for device in &effects.devices {
        if owed(tx, device)
            .await?
            .iter()
            .any(|order| order.state == State::Queued)
        {
            unlocked.push(device.clone());
        }
    }
    Ok(unlocked)
}

impl Entry {
    fn device(&self) -> &str {
        match self {
            Self::Contact(contact, _) => &contact.device,
            Self::Report(report, _) => &report.device,
            Self::Owed(device, _) => device,
            Self::Sent(_) | Self::Forgotten(..) => "",
        }
    }

    async fn apply(self, tx: &mut AnyConnection, effects: &mut Effects) -> Result<Reply, Fault> {
        Ok(match self {
            Self::Contact(contact, reply) => {
                contact::settle(tx, &contact, effects).await?;
                Reply::Orders(reply, owed(tx, &contact.device).await?)
            }
            Self::Report(report, reply) => {
                Reply::Word(reply, contact::report(tx, &report, effects).await?)
            }
            Self::Owed(device, reply) => Reply::Orders(reply, owed(tx, &device).await?),
            Self::Sent(orders) => {
                for id in &orders {
                    outbox::mark_sent(tx, id).await?;
                }
                Reply::Nobody
            }
            Self::Forgotten(before, reply) => Reply::Devices(
                reply,
                outbox::forgotten(tx, before, FORGOTTEN_DEVICES_MAX).await?,
            ),
        })
    }
}

async fn owed(tx: &mut AnyConnection, device: &str) -> Result<Vec<Order>, Fault> {
    Ok(outbox::owed(tx, device)
        .await?
        .into_iter()
        .map(|entry| entry.order)
        .collect())
}

impl Reply {
    fn send(self) {
        // Whoever asked may be gone; what they said is kept all the same.
        match self {
            Self::Orders(reply, orders) => drop(reply.send(Ok(orders))),
            Self::Word(reply, word) => drop(reply.send(Ok(word))),
            Self::Devices(reply, devices) => drop(reply.send(Ok(devices))),
            Self::Nobody => {}
        }
    }
}
