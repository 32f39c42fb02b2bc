//! What is known of a device itself, whoever has it: this outlives every binding.
//!
//! Everything here is a step in somebody's transaction. Whoever changes a device, its binding, its orders or its log-in
//! holds its row first, and whoever holds several takes them in the order of their ids.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};

use farewell_runtime::cose::PublicKey;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Row as _};

use super::{outbox, set};
use crate::participant::Fault;
use crate::store::{POSTGRES, micros};

macro_rules! columns {
    ($head:literal, $tail:literal) => {
        concat!(
            $head,
            " epoch, held_epoch, answer_key, sequence, lost",
            $tail
        )
    };
}

/// A device's row.
#[derive(Clone, Debug)]
pub(super) struct Device {
    /// The highest epoch that it ever had; 0 if it was never bound.
    pub epoch: u64,
    /// While a transfer is still to be told: the epoch that the device itself has. 0 otherwise.
    pub held_epoch: u64,
    /// Its own key: what it says must be signed with it.
    pub answer_key: Option<PublicKey>,
    /// The greatest number that it has given to something it said.
    pub sequence: u64,
    /// Reported lost or stolen.
    pub lost: bool,
}

impl Device {
    /// The oldest epoch whose orders the device may still be told.
    pub fn oldest_epoch(&self) -> u64 {
        if self.held_epoch == 0 {
            self.epoch
        } else {
            self.held_epoch
        }
    }
}

/// Holds the device's row until the transaction ends, and makes it if there is none.
pub(super) async fn hold(tx: &mut AnyConnection, device: &str) -> Result<Device, Fault> {
    let row = sqlx::query(columns!(
        "INSERT INTO devices (device, epoch, held_epoch, answer_key, sequence, lost, seen_at, seen_epoch) \
         VALUES ($1, 0, 0, $2, 0, 0, 0, 0) ON CONFLICT (device) DO UPDATE SET epoch = devices.epoch RETURNING",
        ""
    ))
    .bind(device)
    .bind(Vec::new())
    .fetch_one(&mut *tx)
    .await?;
    read(&row)
}

/// Holds the device's row until the transaction ends. `None`: it was never bound here.
pub(super) async fn hold_known(
    tx: &mut AnyConnection,
    device: &str,
) -> Result<Option<Device>, Fault> {
    Ok(hold_all(tx, [device]).await?.remove(device))
}

/// Holds the rows of devices in the order of their ids, as everybody does. Those that were never bound are left out.
pub(super) async fn hold_all<'a>(
    tx: &mut AnyConnection,
    names: impl IntoIterator<Item = &'a str>,
) -> Result<BTreeMap<String, Device>, Fault> {
    let names: BTreeSet<&str> = names.into_iter().collect();
    let is_shared = tx.backend_name() == POSTGRES;
    let sql = |places| {
        if is_shared {
            format!(
                "SELECT device, epoch, held_epoch, answer_key, sequence, lost FROM devices WHERE device IN ({places}) \
                 ORDER BY device COLLATE \"C\" FOR UPDATE"
            )
        } else {
            // It has one writer, and whoever changes nothing is none.
            format!(
                "UPDATE devices SET epoch = epoch WHERE device IN ({places}) \
                 RETURNING device, epoch, held_epoch, answer_key, sequence, lost"
            )
        }
    };
    let mut devices = BTreeMap::new();
    for row in set::fetch(tx, names, sql).await? {
        devices.insert(row.try_get("device")?, read(&row)?);
    }
    Ok(devices)
}

/// What is known of a device, without holding it.
pub(super) async fn find(tx: &mut AnyConnection, device: &str) -> Result<Option<Device>, Fault> {
    let row = sqlx::query(columns!("SELECT", " FROM devices WHERE device = $1"))
        .bind(device)
        .fetch_optional(&mut *tx)
        .await?;
    row.as_ref().map(read).transpose()
}

/// The epoch of a new binding, after `last`: seconds since 1970. A database that was restored has forgotten its newest
/// epochs, and a device that has one would believe an order for it; but they are not above the time at which they were
/// made, so that none is made again.
pub(super) fn next_epoch(last: u64, now: SystemTime) -> u64 {
    let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    seconds.max(last + 1)
}

/// A new binding, of which the device hears from its app: orders for an older one are told no more.
pub(super) async fn bound(tx: &mut AnyConnection, device: &str, epoch: u64) -> Result<(), Fault> {
    sqlx::query("UPDATE devices SET epoch = $2, held_epoch = 0 WHERE device = $1")
        .bind(device)
        .bind(outbox::stored(epoch)?)
        .execute(&mut *tx)
        .await?;
    Ok(())
}

/// The device had this binding, which is not known here any more: no binding is given its number again, and an order for it is
/// one that the device may be told.
pub(super) async fn had(tx: &mut AnyConnection, name: &str, epoch: u64) -> Result<Device, Fault> {
    let device = hold(tx, name).await?;
    let device = Device {
        epoch: device.epoch.max(epoch),
        held_epoch: 0,
        ..device
    };
    bound(tx, name, device.epoch).await?;
    Ok(device)
}

/// A new binding, of which the device is still to be told by an order for the one before.
pub(super) async fn passed_on(
    tx: &mut AnyConnection,
    device: &str,
    new_epoch: u64,
) -> Result<(), Fault> {
    // Transfers may follow each other while the device is away: it has the oldest one's.
    sqlx::query(
        "UPDATE devices SET held_epoch = CASE WHEN held_epoch = 0 THEN epoch ELSE held_epoch END, epoch = $2 \
         WHERE device = $1",
    )
    .bind(device)
    .bind(outbox::stored(new_epoch)?)
    .execute(&mut *tx)
    .await?;
    Ok(())
}

/// The device has taken on a binding that it was told of.
pub(super) async fn took_on(
    tx: &mut AnyConnection,
    device: &str,
    new_epoch: u64,
) -> Result<(), Fault> {
    sqlx::query(
        "UPDATE devices SET held_epoch = CASE WHEN epoch > $2 THEN $2 ELSE 0 END \
         WHERE device = $1 AND held_epoch > 0 AND held_epoch < $2",
    )
    .bind(device)
    .bind(outbox::stored(new_epoch)?)
    .execute(&mut *tx)
    .await?;
    Ok(())
}

/// Keeps the device's own key. A new key counts from nothing: what was signed with the old one is believed no more.
pub(super) async fn set_answer_key(
    tx: &mut AnyConnection,
    device: &str,
    key: &PublicKey,
) -> Result<(), Fault> {
    sqlx::query(
        "UPDATE devices SET sequence = CASE WHEN answer_key = $2 THEN sequence ELSE 0 END, answer_key = $2 \
         WHERE device = $1",
    )
    .bind(device)
    .bind(key.to_vec())
    .execute(&mut *tx)
    .await?;
    Ok(())
}

/// Keeps the numbers of what devices have just said.
pub(super) async fn counted(
    tx: &mut AnyConnection,
    sequences: &BTreeMap<String, u64>,
) -> Result<(), Fault> {
    let sequences: Vec<_> = sequences.iter().collect();
    for rows in set::handfuls(&sequences) {
        let sql = format!(
            "UPDATE devices SET sequence = v.column2 FROM (VALUES {}) AS v WHERE device = v.column1",
            set::rows(1, rows.len(), 2)
        );
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for (device, sequence) in rows {
            query = query.bind(device).bind(outbox::stored(*sequence)?);
        }
        query.execute(&mut *tx).await?;
    }
    Ok(())
}

/// Notes contacts, each with the epoch that the device named.
pub(super) async fn seen(
    tx: &mut AnyConnection,
    epochs: &BTreeMap<String, u64>,
    at: SystemTime,
) -> Result<(), Fault> {
    let epochs: Vec<_> = epochs.iter().collect();
    for rows in set::handfuls(&epochs) {
        let sql = format!(
            "UPDATE devices SET seen_at = $1, seen_epoch = v.column2 FROM (VALUES {}) AS v WHERE device = v.column1",
            set::rows(2, rows.len(), 2)
        );
        let mut query = sqlx::query(AssertSqlSafe(sql)).bind(micros(at));
        for (device, epoch) in rows {
            // A device may claim any number; one that doesn't fit is no epoch of ours.
            let epoch = i64::try_from(*epoch).unwrap_or(i64::MAX);
            query = query.bind(device).bind(epoch);
        }
        query.execute(&mut *tx).await?;
    }
    Ok(())
}

fn read(row: &AnyRow) -> Result<Device, Fault> {
    let key: Vec<u8> = row.try_get("answer_key")?;
    let lost: i64 = row.try_get("lost")?;
    Ok(Device {
        epoch: outbox::epoch(row.try_get("epoch")?)?,
        held_epoch: outbox::epoch(row.try_get("held_epoch")?)?,
        answer_key: key.try_into().ok(),
        sequence: outbox::epoch(row.try_get("sequence")?)?,
        lost: lost != 0,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_epoch_is_the_time_and_greater_than_the_last_whatever_the_clock_says() {
        let now = UNIX_EPOCH + Duration::from_millis(1_790_000_000_900);
        for (last, next) in [
            (0, 1_790_000_000),
            (7, 1_790_000_000),
            (1_789_999_999, 1_790_000_000),
            (1_790_000_000, 1_790_000_001),
            (2_000_000_000, 2_000_000_001),
        ] {
            assert_eq!(next_epoch(last, now), next, "{last}");
        }
        let early = UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(next_epoch(3, early), 4);
    }
}
