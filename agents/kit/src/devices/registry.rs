//! Which device belongs to which account.
//!
//! Every function is one transaction that begins with a write, so that SQLite takes its lock where it waits for it and
//! PostgreSQL holds the account's or the device's row against everybody else.

use std::collections::BTreeSet;

use rand::Rng as _;
use sha2::{Digest as _, Sha256};
use sqlx::AnyConnection;
use subtle::ConstantTimeEq as _;

use super::binding::{self, Binding};
use super::names::{self, ACCOUNT_BYTES_MAX, TEXT_BYTES_MAX};
use super::order::{State, Verb};
use super::outbox::{self, Draft};
use super::request::{digest_of, remember, repeated};
use crate::participant::Fault;
use crate::seal;
use crate::store::Store;

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
        let last = binding::hold_device(&mut tx, &new.device).await?;
        if let Some(binding) = binding::find(&mut tx, &new.device).await?
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
        binding::write(&mut tx, &binding).await?;
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
        let last = binding::hold_device(&mut tx, device).await?;
        if repeated(&mut tx, request_id, &digest).await?.is_some() {
            tx.commit().await?;
            return Ok(device.to_owned());
        }
        let binding = binding::find(&mut tx, device)
            .await?
            .filter(|binding| !binding.ending)
            .ok_or(Refusal::BindingNotFound)?;
        if binding.epoch != epoch || last != epoch {
            return Err(Refusal::EpochMismatch);
        }
        if self.via == Via::Hub && !binding::children(&mut tx, device).await?.is_empty() {
            return Err(Refusal::HasChildren);
        }
        let command = format!("requests/{request_id}");
        let hub = match (&binding.via, self.via) {
            (Some(hub), Via::Hub) => Some((hub.as_str(), binding::last_epoch(&mut tx, hub).await?)),
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
        binding::remove(&mut tx, device, epoch).await?;
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
        rows.iter().map(binding::read).collect()
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
        let Some(binding) = binding::find(tx, hub).await? else {
            return invalid("the hub is not bound");
        };
        if binding.account != new.account || binding.ending {
            return invalid("the hub is not bound to this account");
        }
        if binding.via.is_some() {
            return invalid("must be a hub, not another hub's child");
        }
        if binding::children(tx, hub).await?.len() >= CHILDREN_MAX {
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
        binding::hold_device(tx, device).await?;
        let binding = binding::find(tx, device)
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
