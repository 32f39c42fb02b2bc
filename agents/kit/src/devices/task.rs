//! What is owed to one device of a command: read and checked before anything is changed.

use super::names;
use super::signed::SignedOrder;
use crate::participant::{DeviceDuty, DeviceTask, DeviceVerb};

/// One device, one binding of it, and what it may be told.
#[derive(Clone, Debug)]
pub(super) struct Task {
    pub device: String,
    pub epoch: u64,
    /// The wanted one first. Empty: it can't be told.
    pub orders: Vec<SignedOrder>,
    /// Known to be lost, whatever is known here.
    pub lost: bool,
}

/// Why a command can't be carried out: a stable machine word, and the device for operators.
#[derive(Debug)]
pub(super) struct Refused {
    pub reason: &'static str,
    pub detail: String,
}

/// Not a word of ours, or not for this device: whatever it is, nobody is told it.
pub(super) const INVALID_ORDER: &str = "INVALID_ORDER";

impl Task {
    /// Reads a task of `command` for a device of `line`. `hub` is the one that the device is bound through, if that is
    /// known.
    pub fn read(
        line: &str,
        command: &str,
        task: &DeviceTask,
        hub: Option<&str>,
    ) -> Result<Self, Refused> {
        if !names::is_device_id(&task.device) {
            return Err(refuse("INVALID_DEVICE", "?"));
        }
        if task.binding_epoch == 0 || i64::try_from(task.binding_epoch).is_err() {
            return Err(refuse("INVALID_EPOCH", &task.device));
        }
        let orders = match &task.duty {
            DeviceDuty::Manual => Vec::new(),
            DeviceDuty::Orders(signed) => signed
                .iter()
                .map(SignedOrder::read)
                .collect::<Option<Vec<_>>>()
                .filter(|orders| {
                    // A transfer may find nobody: without anything behind it, nothing would hold.
                    orders
                        .iter()
                        .all(|order| order.concerns(line, command, task, hub))
                        && orders
                            .last()
                            .is_some_and(|last| last.verb != DeviceVerb::Transfer)
                })
                .ok_or_else(|| refuse(INVALID_ORDER, &task.device))?,
        };
        Ok(Self {
            device: task.device.clone(),
            epoch: task.binding_epoch,
            orders,
            lost: task.lost,
        })
    }

    /// Everybody whose row is held while it is decided what the device is told.
    pub fn devices(&self) -> impl Iterator<Item = &str> {
        let told = self.orders.iter().map(|order| order.device.as_str());
        std::iter::once(self.device.as_str()).chain(told)
    }

    /// Whether another account may get the device.
    pub fn may_pass_on(&self) -> bool {
        self.orders
            .iter()
            .any(|order| order.verb == DeviceVerb::Transfer)
    }
}

pub(super) fn refuse(reason: &'static str, device: &str) -> Refused {
    Refused {
        reason,
        detail: names::device(device),
    }
}
