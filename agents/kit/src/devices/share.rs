//! Other accounts of the household that use a device.
//!
//! Everything here is a step in somebody's transaction.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::time::SystemTime;

use sqlx::AnyConnection;

use super::{outbox, set};
use crate::participant::Fault;
use crate::store::micros;

/// Accounts that may share one device: a large family.
pub const SHARES_MAX: usize = 16;

/// Another account of the household. Its `Debug` never shows the account.
#[derive(Clone, PartialEq, Eq)]
pub struct Share {
    pub account: String,
    pub role: Role,
}

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Share").field(&self.role).finish()
    }
}

/// What an account may do with a shared device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Everything; takes the device over when its owner's account is deleted.
    Admin,
    /// Use it.
    Member,
}

impl Role {
    /// As stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "ADMIN",
            Self::Member => "MEMBER",
        }
    }

    fn parse(text: &str) -> Result<Self, Fault> {
        [Self::Admin, Self::Member]
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| Fault::plain("a role in the shares table that is not known"))
    }
}

/// Who shares a device, those first who have done so longest.
pub(super) async fn of_device(tx: &mut AnyConnection, device: &str) -> Result<Vec<Share>, Fault> {
    let rows: Vec<(String, String)> = sqlx::query_as(
        "SELECT account, role FROM shares WHERE device = $1 ORDER BY shared_at, account",
    )
    .bind(device)
    .fetch_all(&mut *tx)
    .await?;
    rows.into_iter()
        .map(|(account, role)| {
            Ok(Share {
                account,
                role: Role::parse(&role)?,
            })
        })
        .collect()
}

/// Who shares those of an account's devices that lie between two in the database's order, both included: as [`of_device`],
/// by device.
pub(super) async fn of_devices(
    tx: &mut AnyConnection,
    account: &str,
    (first, last): (&str, &str),
) -> Result<HashMap<String, Vec<Share>>, Fault> {
    let rows: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT s.device, s.account, s.role FROM shares s JOIN bindings b ON b.device = s.device \
         WHERE b.account = $1 AND b.device BETWEEN $2 AND $3 ORDER BY s.device, s.shared_at, s.account",
    )
    .bind(account)
    .bind(first)
    .bind(last)
    .fetch_all(&mut *tx)
    .await?;
    let mut shares = HashMap::<String, Vec<Share>>::new();
    for (device, account, role) in rows {
        let role = Role::parse(&role)?;
        let of_device = shares.entry(device).or_default();
        of_device.push(Share { account, role });
    }
    Ok(shares)
}

/// The accounts that could take the device over, those first who have shared it longest.
pub(super) async fn admins(tx: &mut AnyConnection, device: &str) -> Result<Vec<String>, Fault> {
    let shares = of_device(tx, device).await?.into_iter();
    Ok(shares
        .filter(|share| share.role == Role::Admin)
        .map(|share| share.account)
        .collect())
}

/// Shares a binding, or changes the role.
pub(super) async fn write(
    tx: &mut AnyConnection,
    device: &str,
    epoch: u64,
    share: &Share,
) -> Result<(), Fault> {
    sqlx::query(
        "INSERT INTO shares (device, epoch, account, role, shared_at) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (device, account) DO UPDATE SET role = excluded.role, epoch = excluded.epoch",
    )
    .bind(device)
    .bind(outbox::stored(epoch)?)
    .bind(&share.account)
    .bind(share.role.as_str())
    .bind(micros(SystemTime::now()))
    .execute(&mut *tx)
    .await?;
    Ok(())
}

/// Ends one account's share.
pub(super) async fn remove(
    tx: &mut AnyConnection,
    device: &str,
    account: &str,
) -> Result<(), Fault> {
    sqlx::query("DELETE FROM shares WHERE device = $1 AND account = $2")
        .bind(device)
        .bind(account)
        .execute(&mut *tx)
        .await?;
    Ok(())
}

/// Ends every share of bindings that end, and of those before them.
pub(super) async fn remove_all(
    tx: &mut AnyConnection,
    bindings: &[(&str, u64)],
) -> Result<(), Fault> {
    let sql = |rows| {
        format!(
            "DELETE FROM shares WHERE device IN (SELECT v.column1 FROM (VALUES {rows}) AS v) \
             AND EXISTS (SELECT 1 FROM (VALUES {rows}) AS v WHERE v.column1 = device AND v.column2 >= epoch) \
             RETURNING device"
        )
    };
    set::touch(tx, bindings, sql).await.map(drop)
}

/// The household goes on living with the device under its new binding.
pub(super) async fn carry_over(
    tx: &mut AnyConnection,
    device: &str,
    epoch: u64,
) -> Result<(), Fault> {
    sqlx::query("UPDATE shares SET epoch = $2 WHERE device = $1")
        .bind(device)
        .bind(outbox::stored(epoch)?)
        .execute(&mut *tx)
        .await?;
    Ok(())
}

/// Ends what an account shares of others. Returns the rows removed.
pub(super) async fn remove_of_account(tx: &mut AnyConnection, account: &str) -> Result<u64, Fault> {
    let removed = sqlx::query("DELETE FROM shares WHERE account = $1")
        .bind(account)
        .execute(&mut *tx)
        .await?;
    Ok(removed.rows_affected())
}

/// What an account shares of others.
pub(super) async fn count_of_account(tx: &mut AnyConnection, account: &str) -> Result<i64, Fault> {
    let (count,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM shares WHERE account = $1")
        .bind(account)
        .fetch_one(&mut *tx)
        .await?;
    Ok(count)
}

/// The accounts that could take one of these devices over, in the order in which their fences are held.
pub(super) async fn admins_of(
    tx: &mut AnyConnection,
    devices: &BTreeSet<&str>,
) -> Result<BTreeSet<String>, Fault> {
    let mut accounts = BTreeSet::new();
    for device in devices {
        accounts.extend(admins(tx, device).await?);
    }
    Ok(accounts)
}
