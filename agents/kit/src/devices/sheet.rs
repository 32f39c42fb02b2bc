//! What a batch of the delivery lane is about: read at once at its beginning, written at once at its end.
//!
//! Every device that is spoken of is held from the beginning on, and with it its orders: nobody else moves them meanwhile.
//! What is decided in between is decided on what stands here.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::SystemTime;

use sqlx::AnyConnection;

use super::device::{self, Device};
use super::order::{Event, State};
use super::outbox::{self, Entry};
use super::{binding, returns};
use crate::participant::Fault;
use crate::store::{micros, time};

/// What a batch speaks of.
#[derive(Debug, Default)]
pub(super) struct Topics {
    pub devices: BTreeSet<String>,
    /// Orders by their ids.
    pub orders: BTreeSet<String>,
    /// Devices all of whose orders may move.
    pub contacts: BTreeSet<String>,
}

/// What is known of it.
#[derive(Debug)]
pub(super) struct Sheet {
    now: SystemTime,
    devices: BTreeMap<String, Device>,
    /// Devices that somebody has.
    bound: BTreeSet<String>,
    orders: HashMap<String, Entry>,
    /// Ids of orders by the device that is told.
    of_device: HashMap<String, Vec<String>>,
    /// What is to be written.
    moved: BTreeSet<String>,
    seen: BTreeMap<String, u64>,
    counted: BTreeMap<String, u64>,
}

impl Sheet {
    /// Holds the devices and reads what is known of them.
    pub async fn read(tx: &mut AnyConnection, topics: &Topics) -> Result<Self, Fault> {
        let devices = device::hold_all(tx, topics.devices.iter().map(String::as_str)).await?;
        let mut entries = outbox::of_ids(tx, &topics.orders).await?;
        entries.extend(outbox::moving(tx, &topics.contacts).await?);
        let orders: HashMap<_, _> = entries
            .into_iter()
            .map(|entry| (entry.order.id.clone(), entry))
            .collect();
        let mut of_device: HashMap<_, Vec<_>> = HashMap::new();
        for (id, entry) in &orders {
            let device = entry.order.device.clone();
            of_device.entry(device).or_default().push(id.clone());
        }
        Ok(Self {
            // As the database keeps it: what is read back is compared with it.
            now: time(micros(SystemTime::now())),
            bound: binding::bound(tx, &topics.devices).await?,
            devices,
            orders,
            of_device,
            moved: BTreeSet::new(),
            seen: BTreeMap::new(),
            counted: BTreeMap::new(),
        })
    }

    /// `None`: it was never bound here.
    pub fn device(&self, name: &str) -> Option<&Device> {
        self.devices.get(name)
    }

    /// Whether the device has a binding, unless it may have parted from it since.
    pub fn is_bound(&self, name: &str) -> bool {
        self.bound.contains(name)
    }

    /// The device may have parted from its binding.
    pub fn parted(&mut self, name: &str) {
        self.bound.remove(name);
    }

    /// The order of this id, if the batch speaks of it.
    pub fn order(&self, id: &str) -> Option<&Entry> {
        self.orders.get(id)
    }

    /// Orders of a device that made contact which may still move: to be confirmed, superseded or sent.
    pub fn moving(&self, device: &str) -> Vec<Entry> {
        let ids = self.of_device.get(device).into_iter().flatten();
        let moving = ids
            .filter_map(|id| self.orders.get(id))
            .filter(|entry| entry.order.state.may_move());
        let mut moving: Vec<_> = moving.cloned().collect();
        moving.sort_by(|a, b| (a.order.epoch, &a.order.id).cmp(&(b.order.epoch, &b.order.id)));
        moving
    }

    /// Notes a contact.
    pub fn see(&mut self, device: &str, epoch: u64) {
        self.seen.insert(device.to_owned(), epoch);
    }

    /// Devices that have made contact and named another binding than their newest, each with the one that it named.
    pub fn unaware(&self) -> BTreeMap<String, u64> {
        let newest = |device: &str| self.devices.get(device).map(|known| known.epoch);
        let seen = self.seen.iter();
        seen.filter(|(device, named)| newest(device) != Some(**named))
            .map(|(device, named)| (device.clone(), *named))
            .collect()
    }

    /// Notes the number of what a device has just said.
    pub fn count(&mut self, device: &str, sequence: u64) {
        if let Some(known) = self.devices.get_mut(device) {
            known.sequence = sequence;
            self.counted.insert(device.to_owned(), sequence);
        }
    }

    /// Applies `event`. `None` if it brings nothing new; otherwise the order as it was, and its state from now on. What was
    /// answered otherwise before is told: see [`returns`].
    pub async fn advance(
        &mut self,
        tx: &mut AnyConnection,
        id: &str,
        event: Event,
        reason: &str,
    ) -> Result<Option<(Entry, State)>, Fault> {
        let Some(entry) = self.orders.get_mut(id) else {
            return Ok(None);
        };
        let Some(next) = outbox::following(tx, entry, event).await? else {
            return Ok(None);
        };
        returns::note(tx, entry, next, self.now).await?;
        let before = entry.clone();
        entry.order.state = next;
        reason.clone_into(&mut entry.reason);
        entry.moved = self.now;
        self.moved.insert(id.to_owned());
        Ok(Some((before, next)))
    }

    /// Keeps the newest word of a device that goes on waiting.
    pub fn set_reason(&mut self, id: &str, reason: &str) {
        if let Some(entry) = self.orders.get_mut(id) {
            reason.clone_into(&mut entry.reason);
            self.moved.insert(id.to_owned());
        }
    }

    /// Orders of `device` were handed to a transport, so that the slow timer leaves them alone for a while. Those of one
    /// batch are given the same time.
    pub fn send(&mut self, device: &str, ids: &[String]) {
        for id in ids {
            let Some(entry) = self.orders.get_mut(id) else {
                continue;
            };
            if entry.order.device != device || !entry.order.state.is_owed() {
                continue;
            }
            entry.sent = self.now;
            if let Some(next) = entry.order.state.after(Event::Sent) {
                entry.order.state = next;
            }
            self.moved.insert(id.clone());
        }
    }

    /// Reads a device again, whose epochs have changed.
    pub async fn refresh(&mut self, tx: &mut AnyConnection, name: &str) -> Result<(), Fault> {
        if let Some(device) = device::find(tx, name).await? {
            let sequence = self.devices.get(name).map(|known| known.sequence);
            let sequence = sequence.unwrap_or(device.sequence);
            let device = Device { sequence, ..device };
            self.devices.insert(name.to_owned(), device);
        }
        Ok(())
    }

    /// Writes what has changed.
    pub async fn write(self, tx: &mut AnyConnection) -> Result<(), Fault> {
        let moved = self.moved.iter().filter_map(|id| self.orders.get(id));
        outbox::write(tx, moved).await?;
        device::seen(tx, &self.seen, self.now).await?;
        device::counted(tx, &self.counted).await
    }
}
