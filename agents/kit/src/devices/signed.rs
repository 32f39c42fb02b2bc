//! An order as the coordinator signed it.
//!
//! Only its bytes travel on. They are read here to know whom they are for; whether they are believed is the device's to
//! say, which has the coordinator's key.

use std::time::{SystemTime, UNIX_EPOCH};

use farewell_proto::device::v1 as wire;
use farewell_runtime::cose;
use prost::Message as _;
use prost::bytes::Bytes;

use super::names;
use crate::participant::{DeviceTask, DeviceVerb};

/// The signed message.
pub(super) const ORDER: &str = "farewell.device.v1.Order";

/// A signed order and what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SignedOrder {
    pub bytes: Bytes,
    pub id: String,
    /// The product line whose device is meant.
    pub line: String,
    /// Who is told.
    pub device: String,
    pub epoch: u64,
    pub verb: DeviceVerb,
    /// For `RemoveChild`, and for the `Transfer` of a child: the hub's child and its binding.
    pub child: Option<(String, u64)>,
    /// For `Transfer`: the binding from then on. Zero otherwise.
    pub new_epoch: u64,
    pub not_before: SystemTime,
    pub expires: SystemTime,
    /// What it belongs to.
    pub command: String,
}

impl SignedOrder {
    /// `None`: not a signed order, or one in which something is missing, zero or unknown.
    pub fn read(bytes: &Bytes) -> Option<Self> {
        let payload = cose::payload(ORDER, bytes).ok()?;
        let order = wire::Order::decode(payload.as_slice()).ok()?;
        let verb = DeviceVerb::of_wire(order.verb)?;
        let child = match verb {
            // A hub's child hears nothing itself: its hub is told.
            DeviceVerb::Transfer if order.child.is_empty() => None,
            DeviceVerb::RemoveChild | DeviceVerb::Transfer => {
                let child = names::device_of(&order.child)?.to_owned();
                Some((child, epoch(order.child_epoch)?))
            }
            DeviceVerb::Unbind | DeviceVerb::Reset => None,
        };
        let signed = Self {
            bytes: bytes.clone(),
            id: names::order_of(&order.name)?.to_owned(),
            line: order.line,
            device: names::device_of(&order.device)?.to_owned(),
            epoch: epoch(order.binding_epoch)?,
            verb,
            child,
            new_epoch: order.new_epoch,
            not_before: moment(order.not_before_time)?,
            expires: moment(order.expire_time)?,
            command: order.command,
        };
        let before = signed.child.as_ref().map_or(signed.epoch, |child| child.1);
        let later = verb != DeviceVerb::Transfer || epoch(signed.new_epoch)? > before;
        (later && signed.expires > signed.not_before).then_some(signed)
    }

    /// Whether it is this command's, for this very device and binding of this line. `hub` is the one that the device is
    /// bound through; without one known, an order through any hub is.
    pub fn concerns(
        &self,
        line: &str,
        command: &str,
        task: &DeviceTask,
        hub: Option<&str>,
    ) -> bool {
        let meant = match &self.child {
            Some((child, epoch)) => {
                *child == task.device
                    && *epoch == task.binding_epoch
                    && self.device != task.device
                    && hub.is_none_or(|hub| hub == self.device)
            }
            None => self.device == task.device && self.epoch == task.binding_epoch,
        };
        meant && self.line == line && self.command == command
    }
}

/// An epoch is at least 1, and fits the database.
fn epoch(epoch: u64) -> Option<u64> {
    (epoch > 0 && i64::try_from(epoch).is_ok()).then_some(epoch)
}

fn moment(time: Option<prost_types::Timestamp>) -> Option<SystemTime> {
    SystemTime::try_from(time?)
        .ok()
        .filter(|time| *time > UNIX_EPOCH)
}
