//! Activation locks: on while a device is bound, released when its account lets go of it, and never while it is
//! reported lost or stolen. A lock that is kept outlives the account; it names it by its mark.
//!
//! Everything here is a step in the transaction of whoever holds the device's row.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{AnyConnection, AssertSqlSafe};

use super::device::Device;
use super::set;
use crate::participant::{Fault, LockOutcome};
use crate::seal;

/// Whether `account` may bind a device. `bound`: the device is bound to it now.
///
/// A lost device that has no lock is given to nobody either: whoever found it gives it back.
pub(super) async fn admits(
    tx: &mut AnyConnection,
    name: &str,
    device: &Device,
    account: &str,
    bound: bool,
) -> Result<bool, Fault> {
    Ok(match locked_for(tx, name).await? {
        Some(mark) => mark == seal::mark(account),
        None => !device.lost || bound,
    })
}

/// Puts the lock on for an account.
pub(super) async fn put_on(
    tx: &mut AnyConnection,
    device: &str,
    account: &str,
) -> Result<(), Fault> {
    sqlx::query(
        "INSERT INTO locks (device, locked_for, kept) VALUES ($1, $2, 0) \
         ON CONFLICT (device) DO UPDATE SET locked_for = excluded.locked_for, kept = 0",
    )
    .bind(device)
    .bind(seal::mark(account))
    .execute(&mut *tx)
    .await?;
    Ok(())
}

/// The lock, if there is one, is another account's from now on. Returns whether there is one.
pub(super) async fn pass_on(
    tx: &mut AnyConnection,
    device: &str,
    account: &str,
) -> Result<bool, Fault> {
    let passed = sqlx::query("UPDATE locks SET locked_for = $2, kept = 0 WHERE device = $1")
        .bind(device)
        .bind(seal::mark(account))
        .execute(&mut *tx)
        .await?;
    Ok(passed.rows_affected() > 0)
}

/// The account that this mark stands for lets go of devices; those that are lost keep their locks. Returns what became of
/// each one's: none that has no lock, or whose lock is another's by now.
pub(super) async fn let_go(
    tx: &mut AnyConnection,
    devices: impl IntoIterator<Item = (&str, bool)>,
    account_mark: &str,
) -> Result<BTreeMap<String, LockOutcome>, Fault> {
    let (lost, own): (Vec<_>, Vec<_>) = devices.into_iter().partition(|(_, lost)| *lost);
    let mut outcomes = BTreeMap::new();
    for (devices, verb, outcome) in [
        (lost, "UPDATE locks SET kept = 1", LockOutcome::Kept),
        (own, "DELETE FROM locks", LockOutcome::Released),
    ] {
        for devices in set::handfuls(&devices) {
            let places = set::places(2, devices.len());
            let sql =
                format!("{verb} WHERE locked_for = $1 AND device IN ({places}) RETURNING device");
            let mut query = sqlx::query_as::<_, (String,)>(AssertSqlSafe(sql)).bind(account_mark);
            for (device, _) in devices {
                query = query.bind(device);
            }
            let rows = query.fetch_all(&mut *tx).await?;
            outcomes.extend(rows.into_iter().map(|(device,)| (device, outcome)));
        }
    }
    Ok(outcomes)
}

/// Those of the devices whose locks are on.
pub(super) async fn on(
    tx: &mut AnyConnection,
    devices: &BTreeSet<&str>,
) -> Result<BTreeSet<String>, Fault> {
    set::devices_in(tx, "locks", devices).await
}

/// Releases a lock that was kept when its account went.
pub(super) async fn release_kept(tx: &mut AnyConnection, device: &str) -> Result<(), Fault> {
    sqlx::query("DELETE FROM locks WHERE device = $1 AND kept = 1")
        .bind(device)
        .execute(&mut *tx)
        .await?;
    Ok(())
}

async fn locked_for(tx: &mut AnyConnection, device: &str) -> Result<Option<String>, Fault> {
    let row: Option<(String,)> = sqlx::query_as("SELECT locked_for FROM locks WHERE device = $1")
        .bind(device)
        .fetch_optional(&mut *tx)
        .await?;
    Ok(row.map(|(mark,)| mark))
}
