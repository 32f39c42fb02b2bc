//! A device and its account part: the activation lock is released, the binding goes and the log-in is revoked, together and
//! in this order. Every device of an erasure parts when it has ended itself, whatever became of the others: a phone that
//! was wiped is somebody's again while a watch is still in a drawer.
//!
//! What went is written in the transaction in which it goes, and read when the erasure is answered. It can't be found out
//! then: the device may have its next owner, of whom nothing is looked at and nothing touched.
//!
//! Everything here is a step in the transaction of whoever holds the device's row.

use std::collections::BTreeMap;

use sqlx::{AnyConnection, AssertSqlSafe};

use super::device::{self, Device};
use super::order::State;
use super::outbox::{self, Entry};
use super::{binding, erasure, lock, set};
use crate::participant::{Fault, LockOutcome};

/// What went of a binding's server half.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Gone {
    pub lock: Option<LockOutcome>,
    pub bindings: u64,
    pub credentials: u64,
}

/// What becomes of the device's log-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LogIn {
    /// Nobody needs it any more.
    Revoked,
    /// It is the only way to the device, which is still to be told something.
    Kept,
}

/// Parted devices of an erasure, by binding.
pub(super) type Parted = BTreeMap<(String, u64), Gone>;

/// A binding that a device and its account part from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parting<'a> {
    pub binding: (&'a str, u64),
    /// `None`: it was never bound here.
    pub device: Option<&'a Device>,
    pub log_in: LogIn,
}

impl<'a> Parting<'a> {
    /// From a device of an erasure that has ended so.
    fn of(entry: &'a Entry, end: State, device: Option<&'a Device>) -> Self {
        Self {
            binding: (&entry.subject, entry.subject_epoch),
            device,
            log_in: if end == State::Detached {
                LogIn::Kept
            } else {
                LogIn::Revoked
            },
        }
    }
}

/// Lets go of bindings' server halves. Newer bindings and whatever belongs to them stay.
pub(super) async fn let_go(
    tx: &mut AnyConnection,
    partings: &[Parting<'_>],
    account_mark: &str,
) -> Result<Parted, Fault> {
    let locked = partings.iter().filter_map(|parting| {
        let (name, epoch) = parting.binding;
        let device = parting.device.filter(|device| device.epoch <= epoch)?;
        Some((name, device.lost))
    });
    let mut locks = lock::let_go(tx, locked, account_mark).await?;
    let all: Vec<_> = partings.iter().map(|parting| parting.binding).collect();
    let mut bindings = binding::remove(tx, &all).await?;
    let revoked = partings
        .iter()
        .filter(|parting| parting.log_in == LogIn::Revoked);
    let revoked: Vec<_> = revoked.map(|parting| parting.binding).collect();
    let mut credentials = binding::revoke(tx, &revoked).await?;
    let parted = all.into_iter().map(|(name, epoch)| {
        // What a device has once is counted once.
        let gone = Gone {
            lock: locks.remove(name),
            bindings: u64::from(bindings.remove(name)),
            credentials: u64::from(credentials.remove(name)),
        };
        ((name.to_owned(), epoch), gone)
    });
    Ok(parted.collect())
}

/// Lets go of an erasure's devices that have ended, and writes what went. Done again, it adds nothing.
pub(super) async fn part(
    tx: &mut AnyConnection,
    command: &str,
    entries: impl IntoIterator<Item = &Entry>,
    devices: &BTreeMap<String, Device>,
    account_mark: &str,
) -> Result<(), Fault> {
    let partings: Vec<_> = entries
        .into_iter()
        .map(|entry| Parting::of(entry, entry.order.state, devices.get(&entry.subject)))
        .collect();
    part_all(tx, command, &partings, account_mark).await
}

/// Lets go of these bindings for an erasure, and writes what went.
pub(super) async fn part_all(
    tx: &mut AnyConnection,
    command: &str,
    partings: &[Parting<'_>],
    account_mark: &str,
) -> Result<(), Fault> {
    let parted = let_go(tx, partings, account_mark).await?;
    write(tx, command, &parted).await
}

/// A device has answered an order that drops its binding: what its own word lets go.
///
/// One that has only said so is waited for, to be seen without the binding, and keeps its log-in so long.
pub(super) async fn answered(
    tx: &mut AnyConnection,
    entry: &Entry,
    end: State,
) -> Result<(), Fault> {
    let (name, epoch) = (&entry.order.device, entry.order.epoch);
    let gone = binding::find(tx, name).await?.is_none();
    match erasure::account_mark(tx, &entry.command).await? {
        Some(mark) if gone || end != State::Executed => {
            let device = device::find(tx, name).await?;
            let parting = Parting::of(entry, end, device.as_ref());
            let parted = let_go(tx, &[parting], &mark).await?;
            write(tx, &entry.command, &parted).await
        }
        Some(_) => Ok(()),
        // The server half went before (a tombstone, an unbinding): nobody else will revoke the log-in.
        None if gone && end != State::Detached => {
            binding::revoke(tx, &[(name, epoch)]).await.map(drop)
        }
        None => Ok(()),
    }
}

/// The device's lock is on for whoever has it now.
pub(super) async fn passed_on(
    tx: &mut AnyConnection,
    command: &str,
    (name, epoch): (&str, u64),
) -> Result<(), Fault> {
    let gone = Gone {
        lock: Some(LockOutcome::PassedOn),
        ..Gone::default()
    };
    let parted = Parted::from([((name.to_owned(), epoch), gone)]);
    write(tx, command, &parted).await
}

/// A lost device was found before its erasure is answered: its lock is released with that.
pub(super) async fn found(tx: &mut AnyConnection, device: &str) -> Result<(), Fault> {
    sqlx::query("UPDATE partings SET lock_outcome = $2 WHERE device = $1 AND lock_outcome = $3")
        .bind(device)
        .bind(stored(Some(LockOutcome::Released)))
        .bind(stored(Some(LockOutcome::Kept)))
        .execute(&mut *tx)
        .await?;
    Ok(())
}

/// Devices of an erasure that have parted.
pub(super) async fn of_command(tx: &mut AnyConnection, command: &str) -> Result<Parted, Fault> {
    let rows: Vec<(String, i64, String, i64, i64)> = sqlx::query_as(
        "SELECT device, epoch, lock_outcome, bindings, credentials FROM partings WHERE command = $1",
    )
    .bind(command)
    .fetch_all(&mut *tx)
    .await?;
    rows.into_iter()
        .map(|(device, epoch, lock, bindings, credentials)| {
            let gone = Gone {
                lock: outcome(&lock)?,
                bindings: count(bindings)?,
                credentials: count(credentials)?,
            };
            Ok(((device, outbox::epoch(epoch)?), gone))
        })
        .collect()
}

/// The erasure is answered: its answer says it from now on.
pub(super) async fn forget(tx: &mut AnyConnection, command: &str) -> Result<(), Fault> {
    sqlx::query("DELETE FROM partings WHERE command = $1")
        .bind(command)
        .execute(&mut *tx)
        .await?;
    Ok(())
}

async fn write(tx: &mut AnyConnection, command: &str, parted: &Parted) -> Result<(), Fault> {
    let parted: Vec<_> = parted.iter().collect();
    for rows in set::exact_handfuls(&parted) {
        let places: Vec<_> = (0..rows.len())
            .map(|row| format!("($1, {})", set::places(2 + row * 5, 5)))
            .collect();
        let sql = format!(
            "INSERT INTO partings (command, device, epoch, lock_outcome, bindings, credentials) VALUES {} \
             ON CONFLICT (command, device, epoch) DO UPDATE SET \
             lock_outcome = CASE WHEN excluded.lock_outcome = '' THEN partings.lock_outcome ELSE excluded.lock_outcome END, \
             bindings = partings.bindings + excluded.bindings, \
             credentials = partings.credentials + excluded.credentials",
            places.join(", ")
        );
        let mut query = sqlx::query(AssertSqlSafe(sql)).bind(command);
        for ((device, epoch), gone) in rows {
            query = query
                .bind(device)
                .bind(outbox::stored(*epoch)?)
                .bind(stored(gone.lock))
                .bind(i64::try_from(gone.bindings).unwrap_or(i64::MAX))
                .bind(i64::try_from(gone.credentials).unwrap_or(i64::MAX));
        }
        query.execute(&mut *tx).await?;
    }
    Ok(())
}

fn stored(lock: Option<LockOutcome>) -> &'static str {
    match lock {
        None => "",
        Some(LockOutcome::Released) => "RELEASED",
        Some(LockOutcome::Kept) => "KEPT",
        Some(LockOutcome::PassedOn) => "PASSED_ON",
    }
}

fn outcome(text: &str) -> Result<Option<LockOutcome>, Fault> {
    [
        None,
        Some(LockOutcome::Released),
        Some(LockOutcome::Kept),
        Some(LockOutcome::PassedOn),
    ]
    .into_iter()
    .find(|lock| stored(*lock) == text)
    .ok_or_else(|| Fault::plain("a lock's end in the partings table that is not known"))
}

fn count(stored: i64) -> Result<u64, Fault> {
    u64::try_from(stored)
        .map_err(|error| Fault::new("a negative count in the partings table", error))
}
