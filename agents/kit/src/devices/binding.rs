//! A device belongs to an account: the rows that say so.
//!
//! Everything here is a step in somebody's transaction.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::time::SystemTime;

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row as _};

use super::{device, outbox, set};
use crate::participant::{DeviceClass, DeviceVerb, Fault};
use crate::store::{micros, time};

macro_rules! select_bindings {
    ($tail:literal) => {
        concat!(
            "SELECT device, account, epoch, model, serial_number, via, home, class, verbs, safety_relevant, \
             warranty_end_at, state FROM bindings ",
            $tail
        )
    };
}

/// Between the verbs of a binding, as stored.
const VERB_SEPARATOR: &str = ",";

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
    /// The household.
    pub home: Option<String>,
    /// Whom the device serves; `None`: what the product line says.
    pub class: Option<DeviceClass>,
    /// What it can be told; empty: what the product line says of the model.
    pub verbs: Vec<DeviceVerb>,
    /// Whether its orders wait for a safe moment.
    pub safety_relevant: bool,
    pub warranty_end: Option<SystemTime>,
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

/// The device's binding, ending or not.
pub(super) async fn find(tx: &mut AnyConnection, device: &str) -> Result<Option<Binding>, Fault> {
    let row = sqlx::query(select_bindings!("WHERE device = $1"))
        .bind(device)
        .fetch_optional(&mut *tx)
        .await?;
    row.as_ref().map(read).transpose()
}

/// Those of the devices that have a binding, ending or not.
pub(super) async fn bound(
    tx: &mut AnyConnection,
    devices: &BTreeSet<String>,
) -> Result<BTreeSet<String>, Fault> {
    set::devices_in(tx, "bindings", devices).await
}

/// Every binding of an account, ending or not, by device.
pub(super) async fn of_account(
    tx: &mut AnyConnection,
    account: &str,
) -> Result<Vec<Binding>, Fault> {
    let rows = sqlx::query(select_bindings!("WHERE account = $1 ORDER BY device"))
        .bind(account)
        .fetch_all(&mut *tx)
        .await?;
    rows.iter().map(read).collect()
}

/// An account's usable bindings by device, after `after`.
pub(super) async fn page(
    tx: &mut AnyConnection,
    account: &str,
    after: &str,
    bindings_max: u32,
) -> Result<Vec<Binding>, Fault> {
    let rows = sqlx::query(select_bindings!(
        "WHERE account = $1 AND device > $2 AND state = 'BOUND' ORDER BY device LIMIT $3"
    ))
    .bind(account)
    .bind(after)
    .bind(i64::from(bindings_max))
    .fetch_all(&mut *tx)
    .await?;
    rows.iter().map(read).collect()
}

/// Gives the binding to another account under a new epoch. The device's log-in stays.
pub(super) async fn pass_on(
    tx: &mut AnyConnection,
    device: &str,
    epoch: u64,
    account: &str,
) -> Result<(), Fault> {
    sqlx::query(
        "UPDATE bindings SET account = $3, epoch = $2, state = 'BOUND', bound_at = $4 WHERE device = $1",
    )
    .bind(device)
    .bind(outbox::stored(epoch)?)
    .bind(account)
    .bind(micros(SystemTime::now()))
    .execute(&mut *tx)
    .await?;
    sqlx::query("UPDATE credentials SET epoch = $2 WHERE device = $1")
        .bind(device)
        .bind(outbox::stored(epoch)?)
        .execute(&mut *tx)
        .await?;
    Ok(())
}

/// Marks a binding as ending: it is no longer usable, but the way to the device stays.
pub(super) async fn suspend(tx: &mut AnyConnection, bindings: &[(&str, u64)]) -> Result<(), Fault> {
    let sql = |rows| {
        format!(
            "UPDATE bindings SET state = 'ENDING' WHERE (device, epoch) IN (VALUES {rows}) RETURNING device"
        )
    };
    set::touch(tx, bindings, sql).await.map(drop)
}

/// Removes the server halves of bindings, unless a newer one has taken its place. Returns the devices that had one.
pub(super) async fn remove(
    tx: &mut AnyConnection,
    bindings: &[(&str, u64)],
) -> Result<BTreeSet<String>, Fault> {
    let sql = |rows| {
        format!("DELETE FROM bindings WHERE (device, epoch) IN (VALUES {rows}) RETURNING device")
    };
    set::touch(tx, bindings, sql).await
}

/// Revokes devices' log-ins, unless a newer binding has another one. Returns the devices that had one.
pub(super) async fn revoke(
    tx: &mut AnyConnection,
    bindings: &[(&str, u64)],
) -> Result<BTreeSet<String>, Fault> {
    let sql = |rows| {
        format!(
            "DELETE FROM credentials WHERE device IN (SELECT v.column1 FROM (VALUES {rows}) AS v) \
             AND EXISTS (SELECT 1 FROM (VALUES {rows}) AS v WHERE v.column1 = device AND v.column2 >= epoch) \
             RETURNING device"
        )
    };
    set::touch(tx, bindings, sql).await
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
    device::bound(tx, &binding.device, binding.epoch).await?;
    let verbs: Vec<&str> = binding.verbs.iter().map(|verb| verb.as_str()).collect();
    sqlx::query(
        "INSERT INTO bindings (device, epoch, account, model, serial_number, via, home, class, verbs, safety_relevant, \
         warranty_end_at, state, bound_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 'BOUND', $12) \
         ON CONFLICT (device) DO UPDATE SET epoch = excluded.epoch, account = excluded.account, model = excluded.model, \
         serial_number = excluded.serial_number, via = excluded.via, home = excluded.home, class = excluded.class, \
         verbs = excluded.verbs, safety_relevant = excluded.safety_relevant, \
         warranty_end_at = excluded.warranty_end_at, state = excluded.state, bound_at = excluded.bound_at",
    )
    .bind(&binding.device)
    .bind(outbox::stored(binding.epoch)?)
    .bind(&binding.account)
    .bind(&binding.model)
    .bind(&binding.serial_number)
    .bind(binding.via.as_deref().unwrap_or_default())
    .bind(binding.home.as_deref().unwrap_or_default())
    .bind(binding.class.map_or("", stored_class))
    .bind(verbs.join(VERB_SEPARATOR))
    .bind(i64::from(binding.safety_relevant))
    .bind(binding.warranty_end.map_or(0, micros))
    .bind(micros(SystemTime::now()))
    .execute(&mut *tx)
    .await?;
    Ok(())
}

/// Reads the columns that every query of bindings selects.
fn read(row: &AnyRow) -> Result<Binding, Fault> {
    let given = |column| -> Result<Option<String>, sqlx::Error> {
        let text: String = row.try_get(column)?;
        Ok((!text.is_empty()).then_some(text))
    };
    let state: String = row.try_get("state")?;
    let safety_relevant: i64 = row.try_get("safety_relevant")?;
    let warranty_end: i64 = row.try_get("warranty_end_at")?;
    let verbs = given("verbs")?.unwrap_or_default();
    let verbs = verbs.split(VERB_SEPARATOR).filter(|verb| !verb.is_empty());
    let verbs = verbs
        .map(DeviceVerb::parse)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| Fault::new("the bindings table", error))?;
    Ok(Binding {
        device: row.try_get("device")?,
        account: row.try_get("account")?,
        epoch: outbox::epoch(row.try_get("epoch")?)?,
        model: row.try_get("model")?,
        serial_number: row.try_get("serial_number")?,
        via: given("via")?,
        home: given("home")?,
        class: given("class")?.as_deref().map(class).transpose()?,
        verbs,
        safety_relevant: safety_relevant != 0,
        warranty_end: (warranty_end > 0).then(|| time(warranty_end)),
        ending: state != "BOUND",
    })
}

fn stored_class(class: DeviceClass) -> &'static str {
    match class {
        DeviceClass::Personal => "PERSONAL",
        DeviceClass::Home => "HOME",
    }
}

fn class(text: &str) -> Result<DeviceClass, Fault> {
    [DeviceClass::Personal, DeviceClass::Home]
        .into_iter()
        .find(|class| stored_class(*class) == text)
        .ok_or_else(|| Fault::plain("a class in the bindings table that is not known"))
}
