//! Another admin of the home gets the device when its owner's account is deleted: the server half at once, the device by
//! the signed order, which is for the binding that it still has.

use std::collections::BTreeSet;

use sqlx::AnyConnection;

use super::binding::{self, Binding};
use super::device::{self, Device};
use super::signed::SignedOrder;
use super::{lock, outbox, parting, share};
use crate::participant::{DeviceVerb, Fault};
use crate::seal;

/// The accounts that may take something over now: admins of these devices that are neither sealed nor erased. They are
/// held against sealing until the transaction ends, and are asked before any device's row is held, as binding does.
///
/// Two owners who are each other's admins and are erased at the same moment wait for each other; PostgreSQL ends one of
/// the two, which begins anew.
pub(super) async fn takers(
    tx: &mut AnyConnection,
    devices: &BTreeSet<&str>,
) -> Result<BTreeSet<String>, Fault> {
    let mut takers = BTreeSet::new();
    for account in share::admins_of(tx, devices).await? {
        if seal::is_open(tx, &account).await? {
            takers.insert(account);
        }
    }
    Ok(takers)
}

/// Passes the device on, if there is somebody. Returns the commands that waited for an older order of it; `None`: nobody
/// takes it, and nothing has changed.
///
/// Not while it is reported lost: then it is wiped like any other. A hub's child goes where its hub is.
pub(super) async fn take_over(
    tx: &mut AnyConnection,
    device: &Device,
    binding: &Binding,
    order: &SignedOrder,
    takers: &BTreeSet<String>,
) -> Result<Option<BTreeSet<String>>, Fault> {
    let current = device.epoch == binding.epoch && order.new_epoch > device.epoch;
    if order.verb != DeviceVerb::Transfer || !current || device.lost {
        return Ok(None);
    }
    let mut admins = share::admins(tx, &binding.device).await?;
    if let Some(hub) = &binding.via
        && let Some(hub) = binding::find(tx, hub).await?
    {
        // Passed on before its children: whoever has it by now gets them, too.
        admins = vec![hub.account];
    }
    admins.retain(|account| takers.contains(account));
    let Some(account) = admins.into_iter().next() else {
        return Ok(None);
    };
    let (name, epoch) = (binding.device.as_str(), order.new_epoch);
    binding::pass_on(tx, name, epoch, &account).await?;
    share::remove(tx, name, &account).await?;
    share::carry_over(tx, name, epoch).await?;
    if lock::pass_on(tx, name, &account).await? {
        parting::passed_on(tx, &order.command, (name, binding.epoch)).await?;
    }
    device::passed_on(tx, name, epoch).await?;
    Ok(Some(outbox::supersede_own(tx, name, epoch).await?))
}
