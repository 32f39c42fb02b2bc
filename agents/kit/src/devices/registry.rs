//! Which device belongs to which account.
//!
//! Every function is one transaction that begins with a write, so that SQLite takes its lock where it waits for it and
//! PostgreSQL holds the account's or the device's row against everybody else.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::time::{Duration, SystemTime};

use rand::Rng as _;
use sha2::{Digest as _, Sha256};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row as _};
use subtle::ConstantTimeEq as _;

use super::names::{self, ACCOUNT_BYTES_MAX, TEXT_BYTES_MAX};
use super::order::{State, Verb};
use super::outbox::{self, Draft};
use crate::participant::Fault;
use crate::seal;
use crate::store::{Store, micros};

/// How long a request id is remembered: longer than any caller keeps trying.
const REQUEST_LIFE: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Children of one hub, and wearables of one phone: what one order list and one session can carry.
pub const CHILDREN_MAX: usize = 256;
/// Randomness of a device secret. With 256 bits a plain hash is enough: there is nothing to guess.
const SECRET_BYTES: usize = 32;

/// How devices of a line are reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// By themselves.
    Never,
    /// Through a companion phone, which another agent knows.
    Companion,
    /// Some through a hub, which this agent knows: bound to the same account.
    Hub,
}

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

/// A binding to be made. No `Debug`: it names an account.
#[derive(Clone)]
pub struct NewBinding {
    pub request_id: uuid::Uuid,
    pub device: String,
    pub account: String,
    pub model: String,
    pub serial_number: String,
    pub via: Option<String>,
}

/// A binding that was made. No `Debug`: it holds a secret.
pub struct Bound {
    pub binding: Binding,
    /// Password for the broker. Kept nowhere: a repeated request gets a new one and the old stops working.
    pub secret: Option<String>,
    /// Commands that waited for an older binding of the device.
    pub settled: BTreeSet<String>,
}

/// Why a binding was not made or ended. `Display` is for callers and holds nothing personal.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("a deletion of the account is under way or done, so it binds no device")]
    AccountSealed,
    #[error("the device is bound to another account")]
    DeviceBound,
    #[error("{field}: {problem}")]
    InvalidField {
        field: &'static str,
        problem: &'static str,
    },
    #[error("the request id was used for something else")]
    RequestIdReused,
    #[error("the device has no such binding")]
    BindingNotFound,
    #[error("the device has another binding by now")]
    EpochMismatch,
    #[error("the hub has children: unbind them first")]
    HasChildren,
    #[error("the agent's database")]
    Fault(#[from] Fault),
}

impl From<sqlx::Error> for Refusal {
    fn from(error: sqlx::Error) -> Self {
        Self::Fault(error.into())
    }
}

impl From<seal::Error> for Refusal {
    fn from(error: seal::Error) -> Self {
        match error {
            seal::Error::Sealed | seal::Error::Erased => Self::AccountSealed,
            seal::Error::Database(error) => error.into(),
        }
    }
}

/// The bindings of a product line.
#[derive(Clone, Debug)]
pub struct Registry {
    store: Store,
    via: Via,
    broker: bool,
}

impl Registry {
    /// Opens the registry on a store with [`super::schema::SCHEMA`]. With `broker`, devices that are reached by
    /// themselves get a secret to log in with.
    pub fn new(store: Store, via: Via, broker: bool) -> Self {
        Self { store, via, broker }
    }

    /// The database.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Binds a device, and takes it from whoever had it before if that binding is ending.
    ///
    /// Errors: `AccountSealed`, `DeviceBound`, `InvalidField`, `RequestIdReused`.
    pub async fn bind(&self, new: &NewBinding) -> Result<Bound, Refusal> {
        self.check(new)?;
        let mut tx = self.store.pool().begin().await?;
        seal::admit(&mut tx, &new.account).await?;
        if let Some((device, epoch)) = repeated(&mut tx, new.request_id, &digest_of(new)).await? {
            let bound = self.bound_again(&mut tx, &device, epoch).await?;
            tx.commit().await?;
            return Ok(bound);
        }
        let last = hold_device(&mut tx, &new.device).await?;
        if let Some(binding) = find(&mut tx, &new.device).await?
            && !binding.ending
            && binding.account != new.account
        {
            return Err(Refusal::DeviceBound);
        }
        self.check_via(&mut tx, new).await?;

        let binding = Binding {
            device: new.device.clone(),
            account: new.account.clone(),
            epoch: last + 1,
            model: new.model.clone(),
            serial_number: new.serial_number.clone(),
            via: new.via.clone(),
            ending: false,
        };
        write(&mut tx, &binding).await?;
        let settled = outbox::supersede(&mut tx, &binding.device, binding.epoch).await?;
        let secret = self.new_secret(&mut tx, &binding).await?;
        remember(
            &mut tx,
            new.request_id,
            &digest_of(new),
            &binding.device,
            binding.epoch,
        )
        .await?;
        tx.commit().await?;
        Ok(Bound {
            binding,
            secret,
            settled,
        })
    }

    /// Ends a binding: the server half at once, the device's by an order. Returns the device that is told.
    ///
    /// Errors: `BindingNotFound`, `EpochMismatch`, `HasChildren`, `RequestIdReused`.
    pub async fn unbind(
        &self,
        request_id: uuid::Uuid,
        device: &str,
        epoch: u64,
    ) -> Result<String, Refusal> {
        let digest = hex(&Sha256::digest(format!("unbind\n{device}\n{epoch}")));
        let mut tx = self.store.pool().begin().await?;
        let last = hold_device(&mut tx, device).await?;
        if repeated(&mut tx, request_id, &digest).await?.is_some() {
            tx.commit().await?;
            return Ok(device.to_owned());
        }
        let binding = find(&mut tx, device)
            .await?
            .filter(|binding| !binding.ending)
            .ok_or(Refusal::BindingNotFound)?;
        if binding.epoch != epoch || last != epoch {
            return Err(Refusal::EpochMismatch);
        }
        if self.via == Via::Hub && !children(&mut tx, device).await?.is_empty() {
            return Err(Refusal::HasChildren);
        }
        let command = format!("requests/{request_id}");
        let hub = match (&binding.via, self.via) {
            (Some(hub), Via::Hub) => Some((hub.as_str(), last_epoch(&mut tx, hub).await?)),
            (Some(_) | None, Via::Never | Via::Companion | Via::Hub) => None,
        };
        let (told, told_epoch, verb, child) = match hub {
            Some((hub, hub_epoch)) => (hub, hub_epoch, Verb::RemoveChild, device),
            None => (device, epoch, Verb::Unbind, ""),
        };
        let draft = Draft {
            device: told,
            epoch: told_epoch,
            verb,
            child,
            subject: device,
            subject_epoch: epoch,
            via: binding.via.as_deref().unwrap_or_default(),
            command: &command,
            traceparent: "",
            state: State::Queued,
        };
        outbox::queue(&mut tx, &draft).await?;
        remove(&mut tx, device, epoch).await?;
        remember(&mut tx, request_id, &digest, device, epoch).await?;
        tx.commit().await?;
        Ok(told.to_owned())
    }

    /// An account's usable bindings by device, after `after`.
    pub async fn list(
        &self,
        account: &str,
        after: &str,
        bindings_max: u32,
    ) -> Result<Vec<Binding>, Fault> {
        let rows = sqlx::query(
            "SELECT device, account, epoch, model, serial_number, via, state FROM bindings \
             WHERE account = $1 AND device > $2 AND state = 'BOUND' ORDER BY device LIMIT $3",
        )
        .bind(account)
        .bind(after)
        .bind(i64::from(bindings_max))
        .fetch_all(self.store.pool())
        .await?;
        rows.iter().map(read).collect()
    }

    /// Whether `phone` may speak for `device`: it is the companion of the current binding or, if there is none any
    /// more, of the last one that still has an order.
    pub async fn is_companion(&self, phone: &str, device: &str) -> Result<bool, Fault> {
        let current: Option<(String,)> =
            sqlx::query_as("SELECT via FROM bindings WHERE device = $1")
                .bind(device)
                .fetch_optional(self.store.pool())
                .await?;
        if let Some((via,)) = current {
            return Ok(via == phone);
        }
        let last: Option<(String,)> = sqlx::query_as(
            "SELECT via FROM orders WHERE device = $1 ORDER BY epoch DESC, queued_at DESC LIMIT 1",
        )
        .bind(device)
        .fetch_optional(self.store.pool())
        .await?;
        Ok(last.is_some_and(|(via,)| via == phone))
    }

    /// Whether `secret` is the device's.
    pub async fn is_secret(&self, device: &str, secret: &[u8]) -> Result<bool, Fault> {
        let kept: Option<(String,)> =
            sqlx::query_as("SELECT secret_hash FROM credentials WHERE device = $1")
                .bind(device)
                .fetch_optional(self.store.pool())
                .await?;
        Ok(
            kept.is_some_and(|(hash,)| {
                hash.as_bytes().ct_eq(secret_hash(secret).as_bytes()).into()
            }),
        )
    }

    fn check(&self, new: &NewBinding) -> Result<(), Refusal> {
        let invalid = |field, problem| Err(Refusal::InvalidField { field, problem });
        if !names::is_device_id(&new.device) {
            return invalid("binding.device", "is 1 to 64 characters of A-Z a-z 0-9 _ -");
        }
        if !(1..=ACCOUNT_BYTES_MAX).contains(&new.account.len()) {
            return invalid("binding.account", "must be given, and be at most 128 bytes");
        }
        if new.model.len() > TEXT_BYTES_MAX {
            return invalid("binding.model", "is at most 128 bytes");
        }
        if new.serial_number.len() > TEXT_BYTES_MAX {
            return invalid("binding.serial_number", "is at most 128 bytes");
        }
        match (self.via, &new.via) {
            (Via::Never, Some(_)) => invalid(
                "binding.via",
                "must be empty: devices of this line come by themselves",
            ),
            (Via::Companion, None) => invalid("binding.via", "must be the companion phone"),
            (Via::Companion | Via::Hub, Some(via))
                if !names::is_device_id(via) || *via == new.device =>
            {
                invalid("binding.via", "must be another device")
            }
            (Via::Never, None) | (Via::Companion, Some(_)) | (Via::Hub, Some(_) | None) => Ok(()),
        }
    }

    async fn check_via(&self, tx: &mut AnyConnection, new: &NewBinding) -> Result<(), Refusal> {
        let (Via::Hub, Some(hub)) = (self.via, &new.via) else {
            return Ok(());
        };
        let invalid = |problem| {
            Err(Refusal::InvalidField {
                field: "binding.via",
                problem,
            })
        };
        let Some(binding) = find(tx, hub).await? else {
            return invalid("the hub is not bound");
        };
        if binding.account != new.account || binding.ending {
            return invalid("the hub is not bound to this account");
        }
        if binding.via.is_some() {
            return invalid("must be a hub, not another hub's child");
        }
        if children(tx, hub).await?.len() >= CHILDREN_MAX {
            return invalid("the hub has 256 children already");
        }
        Ok(())
    }

    /// The answer to a repeated request: the binding it made, if that still stands.
    async fn bound_again(
        &self,
        tx: &mut AnyConnection,
        device: &str,
        epoch: u64,
    ) -> Result<Bound, Refusal> {
        hold_device(tx, device).await?;
        let binding = find(tx, device)
            .await?
            .filter(|binding| binding.epoch == epoch)
            .ok_or(Refusal::BindingNotFound)?;
        let secret = self.new_secret(tx, &binding).await?;
        Ok(Bound {
            binding,
            secret,
            settled: BTreeSet::new(),
        })
    }

    async fn new_secret(
        &self,
        tx: &mut AnyConnection,
        binding: &Binding,
    ) -> Result<Option<String>, Fault> {
        if !self.broker || binding.via.is_some() {
            return Ok(None);
        }
        let secret = hex(&rand::rng().random::<[u8; SECRET_BYTES]>());
        sqlx::query(
            "INSERT INTO credentials (device, epoch, secret_hash) VALUES ($1, $2, $3) \
             ON CONFLICT (device) DO UPDATE SET epoch = excluded.epoch, secret_hash = excluded.secret_hash",
        )
        .bind(&binding.device)
        .bind(outbox::stored(binding.epoch)?)
        .bind(secret_hash(secret.as_bytes()))
        .execute(&mut *tx)
        .await?;
        Ok(Some(secret))
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

async fn children(tx: &mut AnyConnection, hub: &str) -> Result<Vec<(String,)>, Fault> {
    Ok(sqlx::query_as(
        "SELECT device FROM bindings WHERE via = $1 AND state = 'BOUND' ORDER BY device",
    )
    .bind(hub)
    .fetch_all(&mut *tx)
    .await?)
}

async fn write(tx: &mut AnyConnection, binding: &Binding) -> Result<(), Fault> {
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

/// What an earlier request of this id made.
async fn repeated(
    tx: &mut AnyConnection,
    request_id: uuid::Uuid,
    digest: &str,
) -> Result<Option<(String, u64)>, Refusal> {
    let earlier: Option<(String, String, i64)> =
        sqlx::query_as("SELECT body_digest, device, epoch FROM requests WHERE request_id = $1")
            .bind(request_id.to_string())
            .fetch_optional(&mut *tx)
            .await?;
    match earlier {
        None => Ok(None),
        Some((body, device, epoch)) if body == digest => Ok(Some((device, outbox::epoch(epoch)?))),
        Some(_) => Err(Refusal::RequestIdReused),
    }
}

async fn remember(
    tx: &mut AnyConnection,
    request_id: uuid::Uuid,
    digest: &str,
    device: &str,
    epoch: u64,
) -> Result<(), Fault> {
    let now = SystemTime::now();
    sqlx::query("DELETE FROM requests WHERE made_at < $1")
        .bind(micros(now - REQUEST_LIFE))
        .execute(&mut *tx)
        .await?;
    sqlx::query("INSERT INTO requests (request_id, body_digest, device, epoch, made_at) VALUES ($1, $2, $3, $4, $5)")
        .bind(request_id.to_string())
        .bind(digest)
        .bind(device)
        .bind(outbox::stored(epoch)?)
        .bind(micros(now))
        .execute(&mut *tx)
        .await?;
    Ok(())
}

/// The body is kept as a digest only: it names the account, and requests outlive it.
fn digest_of(new: &NewBinding) -> String {
    let via = new.via.as_deref().unwrap_or_default();
    let body = [
        "bind",
        &new.device,
        &new.account,
        &new.model,
        &new.serial_number,
        via,
    ];
    let mut digest = Sha256::new();
    for part in body {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    hex(&digest.finalize())
}

/// Lower case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            // Writing to a String can't fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

fn secret_hash(secret: &[u8]) -> String {
    hex(&Sha256::digest(secret))
}

fn read(row: &AnyRow) -> Result<Binding, Fault> {
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
