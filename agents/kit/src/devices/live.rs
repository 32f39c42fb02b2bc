//! Devices that are bound and don't know it: they were reset by hand, or flashed anew. That ends no binding. They are told
//! at each contact until they name it, so that nobody can use what they found or took before its account lets go of it.
//!
//! What is told is what stands when it is read, under the device's row. A binding that is ending is not told: its device is
//! on the way out, and knows it or not.

use std::collections::BTreeMap;

use farewell_proto::device::v1 as wire;
use sqlx::{AnyConnection, Row as _};

use super::{names, outbox, set};
use crate::participant::Fault;

/// A binding that stands, as its device is told. Whose it is, is nothing for a device to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiveBinding {
    pub epoch: u64,
    /// The activation lock is on.
    pub activation_lock: bool,
}

impl LiveBinding {
    /// As `device` gets it.
    pub fn to_wire(self, device: &str) -> wire::LiveBinding {
        wire::LiveBinding {
            device: names::device(device),
            epoch: self.epoch,
            activation_lock: self.activation_lock,
        }
    }
}

/// The bindings of devices that have just named other ones, or 0 for none.
///
/// A device that names a later one than stands here knows more than this registry, which was restored: to talk it down would make
/// it obey orders for whoever had it before.
///
/// One that is still to be told of a transfer, by an order for the binding that it has, is told nothing here unless it has
/// forgotten that one, too.
pub(super) async fn unknown_to(
    tx: &mut AnyConnection,
    named: &BTreeMap<String, u64>,
) -> Result<BTreeMap<String, LiveBinding>, Fault> {
    let rows = set::fetch(tx, named.keys(), |places| {
        format!(
            "SELECT b.device, b.epoch, d.held_epoch, l.locked_for FROM bindings b \
             JOIN devices d ON d.device = b.device LEFT JOIN locks l ON l.device = b.device \
             WHERE b.device IN ({places}) AND b.state = 'BOUND'"
        )
    });
    let mut live = BTreeMap::new();
    for row in rows.await? {
        let device: String = row.try_get("device")?;
        let epoch = outbox::epoch(row.try_get("epoch")?)?;
        let held_epoch = outbox::epoch(row.try_get("held_epoch")?)?;
        let locked_for: Option<String> = row.try_get("locked_for")?;
        let named = named.get(&device).copied().unwrap_or(epoch);
        if named >= epoch || (named != 0 && held_epoch != 0) {
            continue;
        }
        let binding = LiveBinding {
            epoch,
            activation_lock: locked_for.is_some(),
        };
        live.insert(device, binding);
    }
    Ok(live)
}
