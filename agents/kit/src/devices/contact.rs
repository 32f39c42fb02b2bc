//! What a device says, and what follows from it in the database.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::time::SystemTime;

use farewell_proto::device::v1 as wire;
use prost::bytes::Bytes;
use sqlx::AnyConnection;

use super::counters::Odd;
use super::device::{self, Device};
use super::names;
use super::order::{Event, State};
use super::outbox::Entry;
use super::sheet::Sheet;
use super::{parting, returns};
use crate::participant::{DeviceVerb, Fault};

/// Done orders in one `Sync`.
pub(super) const DONE_ORDERS_MAX: usize = 64;
/// Longest machine word that is taken from a device.
const WORD_BYTES_MAX: usize = 64;
/// Bytes of a nonce.
const NONCE_BYTES: RangeInclusive<usize> = 16..=32;
/// What a device says that could not take what arrived for an order of ours. Somebody between us and it is at fault: it
/// refuses nothing that we asked.
const MISREAD: [&str; 6] = [
    "BAD_SIGNATURE",
    // While keys are changed over, a device may not have the new one yet.
    "UNKNOWN_KEY",
    "NOT_THIS_LINE",
    "NOT_THIS_DEVICE",
    "ORDER_CHANGED",
    "UNREADABLE",
];
/// What a device says that waits until it knows that the time has come.
pub(super) const UNTIMELY: [&str; 2] = ["TIME_UNKNOWN", "NOT_YET"];

/// A contact of a device.
#[derive(Clone, Debug)]
pub(super) struct Contact {
    pub device: String,
    /// The binding that the device believes in; 0 for none.
    pub epoch: u64,
    /// Orders that it has carried out.
    pub done: Vec<String>,
    /// From a device without a clock.
    pub nonce: Option<Bytes>,
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
        if !sync.nonce.is_empty() && !NONCE_BYTES.contains(&sync.nonce.len()) {
            return Err("INVALID_NONCE");
        }
        Ok(Self {
            device,
            epoch: sync.binding_epoch,
            done: done.ok_or("INVALID_ORDER")?,
            nonce: (!sync.nonce.is_empty()).then_some(sync.nonce),
        })
    }
}

/// A device's answer to an order.
#[derive(Clone, Debug)]
pub(super) struct Report {
    /// `None`: the device could not read it.
    pub order: Option<String>,
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
        let reason = word(report.reason);
        let order = match report.order.as_str() {
            "" if state == wire::OrderState::Refused && misread(&reason).is_some() => None,
            order => Some(names::order_of(order).ok_or("INVALID_ORDER")?.to_owned()),
        };
        Ok(Self {
            order,
            device: names::device_of(&report.device)
                .ok_or("INVALID_DEVICE")?
                .to_owned(),
            epoch: report.binding_epoch,
            state,
            reason,
        })
    }

    /// The order that the device won't carry out.
    pub fn refused(&self) -> Option<&str> {
        let order = self.order.as_deref();
        order.filter(|_| self.state == wire::OrderState::Refused)
    }

    /// Why what arrived was no order of ours, if that is what the device says.
    fn misread(&self) -> Option<&'static str> {
        misread(&self.reason).filter(|_| self.state == wire::OrderState::Refused)
    }
}

/// What has moved in a transaction, for those who wait.
#[derive(Debug, Default)]
pub(super) struct Effects {
    /// Commands with an order that ended.
    pub commands: BTreeSet<String>,
    /// … of those, with one that has just been executed.
    pub executed: BTreeSet<String>,
    /// Hubs' children that have ended, with their commands.
    pub children: BTreeSet<(String, String)>,
    /// Hubs that may be sent more now, each with the time at which it got the order that it has answered.
    pub hubs: BTreeMap<String, SystemTime>,
    /// Something may have to be told of a device that has returned.
    pub returned: bool,
    /// What was odd.
    pub odd: Vec<(Odd, &'static str)>,
}

impl Effects {
    fn note(&mut self, entry: &Entry, next: State) {
        // What a hub has refused opens nothing, but it is no longer waited for either.
        if next.is_open() {
            return;
        }
        self.commands.insert(entry.command.clone());
        if entry.subject != entry.order.device {
            let child = (entry.command.clone(), entry.subject.clone());
            self.children.insert(child);
        }
        self.returned |= returns::returns(entry, next);
        if next == State::Executed {
            self.executed.insert(entry.command.clone());
        }
        if matches!(
            entry.order.verb,
            DeviceVerb::RemoveChild | DeviceVerb::Transfer
        ) {
            let sent = self
                .hubs
                .entry(entry.order.device.clone())
                .or_insert(entry.sent);
            *sent = entry.sent.max(*sent);
        }
    }
}

/// Settles what the device says it has done. What it is still owed is read afterwards.
pub(super) async fn settle(
    tx: &mut AnyConnection,
    sheet: &mut Sheet,
    contact: &Contact,
    device: &Device,
    effects: &mut Effects,
) -> Result<(), Fault> {
    sheet.see(&contact.device, contact.epoch);
    for id in &contact.done {
        let Some(entry) = sheet.order(id) else {
            continue;
        };
        if entry.order.device != contact.device {
            effects.odd.push((Odd::Refused, "NOT_YOUR_ORDER"));
            continue;
        }
        // A device that has done it and still names the binding is at work; seen without it, it is confirmed.
        let gone = entry.order.verb.unbinds() && contact.epoch != entry.order.epoch;
        let event = if gone || took_on(entry, contact.epoch) {
            Event::SeenUnbound
        } else {
            Event::Executed
        };
        advance(tx, sheet, id, event, "", effects).await?;
    }
    for entry in sheet.moving(&contact.device) {
        let id = &entry.order.id;
        let gone = contact.epoch == 0 || contact.epoch > entry.order.epoch;
        if took_on(&entry, contact.epoch) {
            advance(tx, sheet, id, Event::SeenUnbound, "", effects).await?;
        } else if entry.order.state == State::Executed {
            if entry.order.verb.unbinds() && gone {
                advance(tx, sheet, id, Event::SeenUnbound, "", effects).await?;
            }
        } else if entry.order.epoch < device.oldest_epoch() {
            advance(tx, sheet, id, Event::NewBinding, "", effects).await?;
        }
    }
    Ok(())
}

/// Whether the device names the binding that a transfer has given it.
fn took_on(entry: &Entry, epoch: u64) -> bool {
    entry.order.verb == DeviceVerb::Transfer
        && entry.order.child.is_none()
        && epoch == entry.order.new_epoch
}

/// Takes a report. `Some` is the stable machine word of a report that was not accepted.
pub(super) async fn report(
    tx: &mut AnyConnection,
    sheet: &mut Sheet,
    report: &Report,
    effects: &mut Effects,
) -> Result<Option<&'static str>, Fault> {
    let Some(id) = &report.order else {
        effects
            .odd
            .extend(report.misread().map(|word| (Odd::Misread, word)));
        return Ok(None);
    };
    let Some(entry) = sheet.order(id) else {
        return Ok(Some("UNKNOWN_ORDER"));
    };
    if entry.order.device != report.device {
        return Ok(Some("NOT_YOUR_ORDER"));
    }
    if let Some(word) = report.misread() {
        // The order is still owed, and the slow timer sends it again.
        effects.odd.push((Odd::Misread, word));
        return Ok(None);
    }
    let meant = report.epoch == entry.order.epoch || took_on(entry, report.epoch);
    let event = match report.state {
        wire::OrderState::Unspecified => return Ok(Some("STATE_MISSING")),
        // Without any binding there is nothing to unbind: the aim is reached. But whether anything was wiped, or a child
        // forgotten, nobody knows, unless the device had begun with it.
        wire::OrderState::Superseded if report.epoch == 0 => {
            let begun = matches!(entry.order.state, State::Executing | State::Executed);
            if entry.order.verb == DeviceVerb::Unbind || begun {
                Event::SeenUnbound
            } else {
                Event::Horizon
            }
        }
        // It has the binding that the transfer was to give it.
        wire::OrderState::Superseded if took_on(entry, report.epoch) => Event::SeenUnbound,
        // The device's word alone ends nothing: the registry must know of the newer binding.
        wire::OrderState::Superseded => {
            if !is_superseded(tx, entry).await? {
                return Ok(Some("EPOCH_UNKNOWN"));
            }
            Event::NewBinding
        }
        _ if !meant => return Ok(Some("EPOCH_MISMATCH")),
        wire::OrderState::Received => Event::Received,
        wire::OrderState::DeferredSafe => Event::DeferredSafe,
        wire::OrderState::Executing => Event::Executing,
        wire::OrderState::Executed => Event::Executed,
        wire::OrderState::Refused if UNTIMELY.contains(&report.reason.as_str()) => {
            Event::DeferredSafe
        }
        wire::OrderState::Refused => Event::Refused,
    };
    if event == Event::DeferredSafe && entry.order.state == State::DeferredSafe {
        sheet.set_reason(id, &report.reason);
    }
    advance(tx, sheet, id, event, &report.reason, effects).await?;
    Ok(None)
}

/// Whether the registry knows of a newer binding of the device, or of the hub's child, than the order's.
async fn is_superseded(tx: &mut AnyConnection, entry: &Entry) -> Result<bool, Fault> {
    for (device, epoch) in [
        (&entry.order.device, entry.order.epoch),
        (&entry.subject, entry.subject_epoch),
    ] {
        let known = device::find(tx, device).await?;
        if known.is_some_and(|known| known.epoch > epoch) {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn advance(
    tx: &mut AnyConnection,
    sheet: &mut Sheet,
    id: &str,
    event: Event,
    reason: &str,
    effects: &mut Effects,
) -> Result<(), Fault> {
    let Some((entry, next)) = sheet.advance(tx, id, event, reason).await? else {
        return Ok(());
    };
    effects.note(&entry, next);
    let done = matches!(next, State::Executed | State::Confirmed);
    match entry.order.verb {
        // One that has only said so, and is bound, is waited for, to be seen without its binding.
        DeviceVerb::Unbind | DeviceVerb::Reset
            if next == State::Executed && sheet.is_bound(&entry.order.device) => {}
        DeviceVerb::Unbind | DeviceVerb::Reset if done || next == State::Detached => {
            parting::answered(tx, &entry, next).await?;
            sheet.parted(&entry.order.device);
        }
        // A child is told nothing itself: it has no epoch of its own that orders would wait for.
        DeviceVerb::Transfer if done && entry.order.child.is_none() => {
            device::took_on(tx, &entry.order.device, entry.order.new_epoch).await?;
            sheet.refresh(tx, &entry.order.device).await?;
        }
        // A child's row is not held, only its hub's: the erasure lets go of it, which holds all of them.
        DeviceVerb::Unbind | DeviceVerb::Reset | DeviceVerb::Transfer | DeviceVerb::RemoveChild => {
        }
    }
    Ok(())
}

fn misread(reason: &str) -> Option<&'static str> {
    MISREAD.into_iter().find(|word| *word == reason)
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
