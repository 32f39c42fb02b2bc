//! What callers see of bindings: each with what is known of its device beside it.
//!
//! Everything here is a step in somebody's transaction, and asks as often for a page as for one.

use std::collections::HashMap;
use std::time::SystemTime;

use farewell_runtime::cose::PublicKey;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row as _};

use super::binding::Binding;
use super::outbox;
use super::share::{self, Share};
use crate::participant::Fault;
use crate::store::time;

/// A binding with what is known of its device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    pub binding: Binding,
    pub answer_key: Option<PublicKey>,
    /// The activation lock is on.
    pub locked: bool,
    pub lost: bool,
    /// The binding that the device named at its last contact; 0 if it named none.
    pub seen_epoch: u64,
    pub seen: Option<SystemTime>,
    pub shares: Vec<Share>,
}

/// One binding, as it stands in the database. `None`: it has gone meanwhile.
pub(super) async fn one(tx: &mut AnyConnection, binding: Binding) -> Result<Option<Shown>, Fault> {
    let shown = all(tx, vec![binding]).await?;
    Ok(shown.into_iter().next())
}

/// Bindings of one account that follow each other in the database's order of devices. What has gone since they were read is
/// left out.
pub(super) async fn all(
    tx: &mut AnyConnection,
    bindings: Vec<Binding>,
) -> Result<Vec<Shown>, Fault> {
    let (Some(first), Some(last)) = (bindings.first(), bindings.last()) else {
        return Ok(Vec::new());
    };
    let (account, devices) = (
        &first.account,
        (first.device.as_str(), last.device.as_str()),
    );
    let rows = sqlx::query(
        "SELECT d.device, d.answer_key, d.lost, d.seen_at, d.seen_epoch, l.locked_for FROM bindings b \
         JOIN devices d ON d.device = b.device LEFT JOIN locks l ON l.device = b.device \
         WHERE b.account = $1 AND b.device BETWEEN $2 AND $3",
    )
    .bind(account)
    .bind(devices.0)
    .bind(devices.1)
    .fetch_all(&mut *tx)
    .await?;
    let mut shares = share::of_devices(tx, account, devices).await?;
    let mut known = HashMap::with_capacity(rows.len());
    for row in &rows {
        let device: String = row.try_get("device")?;
        known.insert(device, row);
    }
    bindings
        .into_iter()
        .filter_map(|binding| {
            let row = known.get(&binding.device)?;
            let shares = shares.remove(&binding.device).unwrap_or_default();
            Some(read(row, binding, shares))
        })
        .collect()
}

fn read(row: &AnyRow, binding: Binding, shares: Vec<Share>) -> Result<Shown, Fault> {
    let key: Vec<u8> = row.try_get("answer_key")?;
    let lost: i64 = row.try_get("lost")?;
    let seen: i64 = row.try_get("seen_at")?;
    let locked: Option<String> = row.try_get("locked_for")?;
    Ok(Shown {
        binding,
        answer_key: key.try_into().ok(),
        locked: locked.is_some(),
        lost: lost != 0,
        seen_epoch: outbox::epoch(row.try_get("seen_epoch")?)?,
        seen: (seen > 0).then(|| time(seen)),
        shares,
    })
}
