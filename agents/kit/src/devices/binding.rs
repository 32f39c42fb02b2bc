//! A device belongs to an account: the rows that say so.
//!
//! Everything here is a step in somebody's transaction.

use std::collections::HashMap;
use std::fmt;
use std::time::SystemTime;

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row as _};

use super::outbox;
use crate::participant::Fault;
use crate::store::micros;

/// A device belongs to an account. Its `Debug` never shows the account.
#[derive(Clone, PartialEq, Eq)]
pub struct Binding {
    pub device: String,
    pub account: String,
    /// Greater than any epoch that the device ever had.
    pub epoch: u64,
    pub model: String,
    pub serial_number: String,
    /// Companion phone or hub.
    pub via: Option<String>,
    /// Suspended by an erasure: the server half is on its way out.
    pub ending: bool,
}

impl fmt::Debug for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Binding")
            .field("device", &self.device)
            .field("epoch", &self.epoch)
            .field("ending", &self.ending)
            .finish_non_exhaustive()
    }
}

/// Holds the device's row until the transaction ends. Returns the highest epoch that the device ever had.
pub(super) async fn hold_device(tx: &mut AnyConnection, device: &str) -> Result<u64, Fault> {
    let (epoch,): (i64,) = sqlx::query_as(
        "INSERT INTO devices (device, epoch, seen_at, seen_epoch) VALUES ($1, 0, 0, 0) \
         ON CONFLICT (device) DO UPDATE SET epoch = devices.epoch RETURNING epoch",
    )
    .bind(device)
    .fetch_one(&mut *tx)
    .await?;
    outbox::epoch(epoch)
}

/// The highest epoch that the device ever had; 0 if it is unknown.
pub(super) async fn last_epoch(tx: &mut AnyConnection, device: &str) -> Result<u64, Fault> {
    let epoch: Option<(i64,)> = sqlx::query_as("SELECT epoch FROM devices WHERE device = $1")
        .bind(device)
        .fetch_optional(&mut *tx)
        .await?;
    epoch.map_or(Ok(0), |(epoch,)| outbox::epoch(epoch))
}

/// The device's binding, ending or not.
pub(super) async fn find(tx: &mut AnyConnection, device: &str) -> Result<Option<Binding>, Fault> {
    let row =
        sqlx::query("SELECT device, account, epoch, model, serial_number, via, state FROM bindings WHERE device = $1")
            .bind(device)
            .fetch_optional(&mut *tx)
            .await?;
    row.as_ref().map(read).transpose()
}

/// Every binding of an account, ending or not, by device.
pub(super) async fn of_account(
    tx: &mut AnyConnection,
    account: &str,
) -> Result<Vec<Binding>, Fault> {
    let rows = sqlx::query(
        "SELECT device, account, epoch, model, serial_number, via, state FROM bindings WHERE account = $1 \
         ORDER BY device",
    )
    .bind(account)
    .fetch_all(&mut *tx)
    .await?;
    rows.iter().map(read).collect()
}

/// Marks a binding as ending: it is no longer usable, but the way to the device stays.
pub(super) async fn suspend(tx: &mut AnyConnection, device: &str, epoch: u64) -> Result<(), Fault> {
    sqlx::query("UPDATE bindings SET state = 'ENDING' WHERE device = $1 AND epoch = $2")
        .bind(device)
        .bind(outbox::stored(epoch)?)
        .execute(&mut *tx)
        .await?;
    Ok(())
}

/// Removes the server half of a binding, unless a newer one has taken its place. Returns the rows removed.
pub(super) async fn remove(tx: &mut AnyConnection, device: &str, epoch: u64) -> Result<u64, Fault> {
    let removed = sqlx::query("DELETE FROM bindings WHERE device = $1 AND epoch = $2")
        .bind(device)
        .bind(outbox::stored(epoch)?)
        .execute(&mut *tx)
        .await?;
    Ok(removed.rows_affected())
}

/// Revokes the device's log-in, unless a newer binding has another one. Returns the rows removed.
pub(super) async fn revoke(tx: &mut AnyConnection, device: &str, epoch: u64) -> Result<u64, Fault> {
    let removed = sqlx::query("DELETE FROM credentials WHERE device = $1 AND epoch <= $2")
        .bind(device)
        .bind(outbox::stored(epoch)?)
        .execute(&mut *tx)
        .await?;
    Ok(removed.rows_affected())
}

/// Log-ins of an account's devices.
pub(super) async fn credentials_of(tx: &mut AnyConnection, account: &str) -> Result<i64, Fault> {
    let (count,): (i64,) = sqlx::query_as(
        "SELECT COUNT(*) FROM credentials c JOIN bindings b ON b.device = c.device AND b.epoch = c.epoch \
         WHERE b.account = $1",
    )
    .bind(account)
    .fetch_one(&mut *tx)
    .await?;
    Ok(count)
}

/// For look-ups by device.
pub(super) fn by_device(bindings: Vec<Binding>) -> HashMap<String, Binding> {
    bindings
        .into_iter()
        .map(|binding| (binding.device.clone(), binding))
        .collect()
}

/// The usable children of a hub.
pub(super) async fn children(tx: &mut AnyConnection, hub: &str) -> Result<Vec<(String,)>, Fault> {
    Ok(sqlx::query_as(
        "SELECT device FROM bindings WHERE via = $1 AND state = 'BOUND' ORDER BY device",
    )
    .bind(hub)
    .fetch_all(&mut *tx)
    .await?)
}

/// Writes a binding in the place of any older one of the device.
pub(super) async fn write(tx: &mut AnyConnection, binding: &Binding) -> Result<(), Fault> {
    sqlx::query("UPDATE devices SET epoch = $2 WHERE device = $1")
        .bind(&binding.device)
        .bind(outbox::stored(binding.epoch)?)
        .execute(&mut *tx)
        .await?;
    sqlx::query(
        "INSERT INTO bindings (device, epoch, account, model, serial_number, via, state, bound_at) \
         VALUES ($1, $2, $3, $4, $5, $6, 'BOUND', $7) ON CONFLICT (device) DO UPDATE SET epoch = excluded.epoch, \
         account = excluded.account, model = excluded.model, serial_number = excluded.serial_number, \
         via = excluded.via, state = excluded.state, bound_at = excluded.bound_at",
    )
    .bind(&binding.device)
    .bind(outbox::stored(binding.epoch)?)
    .bind(&binding.account)
    .bind(&binding.model)
    .bind(&binding.serial_number)
    .bind(binding.via.as_deref().unwrap_or_default())
    .bind(micros(SystemTime::now()))
    .execute(&mut *tx)
    .await?;
    Ok(())
}

/// Reads the columns that every query of bindings selects.
pub(super) fn read(row: &AnyRow) -> Result<Binding, Fault> {
    let via: String = row.try_get("via")?;
    let state: String = row.try_get("state")?;
    Ok(Binding {
        device: row.try_get("device")?,
        account: row.try_get("account")?,
        epoch: outbox::epoch(row.try_get("epoch")?)?,
        model: row.try_get("model")?,
        serial_number: row.try_get("serial_number")?,
        via: (!via.is_empty()).then_some(via),
        ending: state != "BOUND",
    })
}
