//! Activation locks: on while a device is bound, released when its account lets go of it, and never while it is
//! reported lost or stolen. A lock that is kept outlives the account; it names it by its mark.
//!
//! Everything here is a step in the transaction of whoever holds the device's row.

use sqlx::AnyConnection;

use super::device::Device;
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

/// The account that this mark stands for lets go of the device. `None`: it has no lock, or it is another's by now.
pub(super) async fn let_go(
    tx: &mut AnyConnection,
    name: &str,
    lost: bool,
    account_mark: &str,
) -> Result<Option<LockOutcome>, Fault> {
    let (sql, outcome) = if lost {
        (
            "UPDATE locks SET kept = 1 WHERE device = $1 AND locked_for = $2",
            LockOutcome::Kept,
        )
    } else {
        (
            "DELETE FROM locks WHERE device = $1 AND locked_for = $2",
            LockOutcome::Released,
        )
    };
    let changed = sqlx::query(sql)
        .bind(name)
        .bind(account_mark)
        .execute(&mut *tx)
        .await?;
    Ok((changed.rows_affected() > 0).then_some(outcome))
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
