//! An erasure that is repeated at an agent which was restored from a backup: the database is older than what it erases.
//!
//! Bindings were made since, which it doesn't know; the account let go of others, which it has again; devices were reported lost;
//! and an erasure that was under way by then is never asked for again. The roster says what was sealed, and the coordinator's word that this is a
//! repetition is the only reason to believe it further than the registry goes.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sqlx::AnyConnection;

use super::binding::Binding;
use super::device::{self, Device};
use super::order::Event;
use super::parting::{self, LogIn, Parting};
use super::task::Task;
use super::{binding, lost, outbox};
use crate::participant::{Fault, Order};
use crate::seal;

/// Brings the registry to where it was when the account was erased, as far as its devices go: before anything is queued, under
/// every device's row.
pub(super) async fn catch_up(
    tx: &mut AnyConnection,
    order: &Order,
    tasks: &[Task],
    devices: &mut BTreeMap<String, Device>,
    bindings: &HashMap<String, Binding>,
) -> Result<(), Fault> {
    end_earlier(tx, order).await?;
    let sealed: BTreeSet<_> = tasks
        .iter()
        .map(|task| (&*task.device, task.epoch))
        .collect();
    let gone: Vec<_> = bindings
        .values()
        .filter(|binding| !sealed.contains(&(&*binding.device, binding.epoch)))
        .collect();
    // The account had let go of these: nobody is told anything.
    let partings = gone.iter().map(|binding| Parting {
        binding: (&binding.device, binding.epoch),
        device: devices.get(&binding.device),
        log_in: LogIn::Revoked,
    });
    let partings: Vec<_> = partings.collect();
    parting::part_all(tx, &order.command, &partings, &seal::mark(&order.account)).await?;
    let names = tasks.iter().map(|task| task.device.clone()).collect();
    let bound = binding::bound(tx, &names).await?;
    for task in tasks {
        let known = devices.get(&task.device).map_or(0, |device| device.epoch);
        // Where somebody has the device by what is known here, that stands.
        if known < task.epoch && !bound.contains(&task.device) {
            let device = device::had(tx, &task.device, task.epoch).await?;
            devices.insert(task.device.clone(), device);
        }
        // Whoever found it since says so once more. Who has it by now is none of those who lost it.
        if let Some(device) = devices.get_mut(&task.device)
            && task.lost
            && device.epoch == task.epoch
        {
            lost::set(tx, &task.device, true).await?;
            device.lost = true;
        }
    }
    Ok(())
}

/// Ends what was under way for the account by the time of the backup. What its devices were owed stays, as tombstones.
async fn end_earlier(tx: &mut AnyConnection, order: &Order) -> Result<(), Fault> {
    let rows: Vec<(String,)> = sqlx::query_as(
        "DELETE FROM erasures WHERE account_mark = $1 AND command <> $2 RETURNING command",
    )
    .bind(seal::mark(&order.account))
    .bind(&order.command)
    .fetch_all(&mut *tx)
    .await?;
    for (command,) in rows {
        parting::forget(tx, &command).await?;
        for entry in outbox::of_command(tx, &command).await? {
            outbox::advance(tx, &entry, Event::Horizon, "").await?;
        }
    }
    Ok(())
}
