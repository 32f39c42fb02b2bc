//! What a device says, and what follows from it in the database.

use std::collections::BTreeSet;
use std::time::SystemTime;

use farewell_proto::device::v1 as wire;
use sqlx::AnyConnection;

use super::binding;
use super::names;
use super::order::{Event, State, Verb};
use super::outbox::{self, Entry};
use crate::participant::Fault;
use crate::store::micros;

/// Done orders in one `Sync`.
pub(super) const DONE_ORDERS_MAX: usize = 64;
/// Longest machine word that is taken from a device.
const WORD_BYTES_MAX: usize = 64;

/// A contact of a device.
#[derive(Clone, Debug)]
pub(super) struct Contact {
    pub device: String,
    /// The binding that the device believes in; 0 for none.
    pub epoch: u64,
    /// Orders that it has carried out.
    pub done: Vec<String>,
}

impl Contact {
    /// Errors: a stable machine word.
    pub fn parse(sync: wire::Sync) -> Result<Self, &'static str> {
        let device = names::device_of(&sync.device)
            .ok_or("INVALID_DEVICE")?
            .to_owned();
        if sync.done_orders.len() > DONE_ORDERS_MAX {
            return Err("TOO_MANY_DONE_ORDERS");
        }
        let done: Option<Vec<_>> = sync
            .done_orders
            .iter()
            .map(|name| names::order_of(name).map(str::to_owned))
            .collect();
        Ok(Self {
            device,
            epoch: sync.binding_epoch,
            done: done.ok_or("INVALID_ORDER")?,
        })
    }
}

/// A device's answer to an order.
#[derive(Clone, Debug)]
pub(super) struct Report {
    pub order: String,
    pub device: String,
    pub epoch: u64,
    pub state: wire::OrderState,
    pub reason: String,
}

impl Report {
    /// Errors: a stable machine word.
    pub fn parse(report: wire::OrderReport) -> Result<Self, &'static str> {
        let state =
            wire::OrderState::try_from(report.state).unwrap_or(wire::OrderState::Unspecified);
        if state == wire::OrderState::Unspecified {
            return Err("STATE_MISSING");
        }
        Ok(Self {
            order: names::order_of(&report.order)
                .ok_or("INVALID_ORDER")?
                .to_owned(),
            device: names::device_of(&report.device)
                .ok_or("INVALID_DEVICE")?
                .to_owned(),
            epoch: report.binding_epoch,
            state,
            reason: word(report.reason),
        })
    }
}

/// What has moved in a transaction, for those who wait.
#[derive(Debug, Default)]
pub(super) struct Effects {
    /// Commands with an order that ended.
    pub commands: BTreeSet<String>,
    /// … of those, with one that has just been executed.
    pub executed: BTreeSet<String>,
    /// Devices that may be sent more now.
    pub devices: BTreeSet<String>,
}

impl Effects {
    fn note(&mut self, entry: &Entry, next: State) {
        if next.is_open() {
            return;
        }
        self.commands.insert(entry.command.clone());
        if next == State::Executed {
            self.executed.insert(entry.command.clone());
        }
        if entry.order.verb == Verb::RemoveChild {
            self.devices.insert(entry.order.device.clone());
        }
    }
}

/// Settles what the device says it has done. What it is still owed is read afterwards.
pub(super) async fn settle(
    tx: &mut AnyConnection,
    contact: &Contact,
    effects: &mut Effects,
) -> Result<(), Fault> {
    let Some(current) = seen(tx, contact).await? else {
        // Never bound here: a companion phone, for instance.
        return Ok(());
    };
    for id in &contact.done {
        let Some(entry) = outbox::find(tx, id).await? else {
            continue;
        };
        if entry.order.device != contact.device {
            continue;
        }
        // A device that has done it and still names the binding is at work; seen without it, it is confirmed.
        let gone = entry.order.verb.unbinds() && contact.epoch != entry.order.epoch;
        advance(
            tx,
            &entry,
            if gone {
                Event::SeenUnbound
            } else {
                Event::Executed
            },
            "",
            effects,
        )
        .await?;
    }
    for entry in outbox::moving(tx, &contact.device).await? {
        let gone = contact.epoch == 0 || contact.epoch > entry.order.epoch;
        if entry.order.state == State::Executed {
            if entry.order.verb.unbinds() && gone {
                advance(tx, &entry, Event::SeenUnbound, "", effects).await?;
            }
        } else if entry.order.epoch < current {
            advance(tx, &entry, Event::NewBinding, "", effects).await?;
        }
    }
    Ok(())
}

/// Takes a report. `Some` is the stable machine word of a report that was not accepted.
pub(super) async fn report(
    tx: &mut AnyConnection,
    report: &Report,
    effects: &mut Effects,
) -> Result<Option<&'static str>, Fault> {
    let Some(entry) = outbox::find(tx, &report.order).await? else {
        return Ok(Some("UNKNOWN_ORDER"));
    };
    if entry.order.device != report.device {
        return Ok(Some("NOT_YOUR_ORDER"));
    }
    let event = match report.state {
        wire::OrderState::Unspecified => return Ok(Some("STATE_MISSING")),
        // Without any binding there is nothing to undo: the aim is reached.
        wire::OrderState::Superseded if report.epoch == 0 => Event::SeenUnbound,
        // The device's word alone ends nothing: the registry must know of the newer binding.
        wire::OrderState::Superseded => {
            if binding::last_epoch(tx, &report.device).await? <= entry.order.epoch {
                return Ok(Some("EPOCH_UNKNOWN"));
            }
            Event::NewBinding
        }
        _ if report.epoch != entry.order.epoch => return Ok(Some("EPOCH_MISMATCH")),
        wire::OrderState::Received | wire::OrderState::DeferredSafe => Event::Received,
        wire::OrderState::Executing => Event::Executing,
        wire::OrderState::Executed => Event::Executed,
        wire::OrderState::Refused => Event::Refused,
    };
    advance(tx, &entry, event, &report.reason, effects).await?;
    Ok(None)
}

async fn advance(
    tx: &mut AnyConnection,
    entry: &Entry,
    event: Event,
    reason: &str,
    effects: &mut Effects,
) -> Result<(), Fault> {
    let Some(next) = outbox::advance(tx, entry, event, reason).await? else {
        return Ok(());
    };
    effects.note(entry, next);
    // Where the server half is gone already (a tombstone, a plain unbinding) nobody else will revoke the log-in.
    let done = matches!(next, State::Executed | State::Confirmed);
    if done && entry.order.verb.unbinds() {
        let bound = binding::find(tx, &entry.order.device).await?;
        if bound.is_none() {
            binding::revoke(tx, &entry.order.device, entry.order.epoch).await?;
        }
    }
    Ok(())
}

/// Notes the contact and holds the device's row. The highest epoch of the device, if it was ever bound.
async fn seen(tx: &mut AnyConnection, contact: &Contact) -> Result<Option<u64>, Fault> {
    // A device may claim any number; one that doesn't fit is no epoch of ours.
    let epoch = i64::try_from(contact.epoch).unwrap_or(i64::MAX);
    let row: Option<(i64,)> = sqlx::query_as(
        "UPDATE devices SET seen_at = $2, seen_epoch = $3 WHERE device = $1 RETURNING epoch",
    )
    .bind(&contact.device)
    .bind(micros(SystemTime::now()))
    .bind(epoch)
    .fetch_optional(&mut *tx)
    .await?;
    row.map(|(epoch,)| outbox::epoch(epoch)).transpose()
}

/// Free text from a device may hold anything; only a machine word is kept.
fn word(text: String) -> String {
    let sound = text.len() <= WORD_BYTES_MAX
        && text
            .bytes()
            .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
    if sound {
        text
    } else {
        "UNREADABLE_REASON".to_owned()
    }
}
