//! Which device belongs to which account.
//!
//! Every function is one transaction that begins with a write, so that SQLite takes its lock where it waits for it and
//! PostgreSQL holds the account's or the device's row against everybody else.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use farewell_runtime::cose::PublicKey;
use rand::Rng as _;
use sha2::{Digest as _, Sha256};
use sqlx::AnyConnection;
use subtle::ConstantTimeEq as _;
use tokio::sync::Notify;

use super::binding::{self, Binding};
use super::names::{self, TEXT_BYTES_MAX};
use super::refusal::Refusal;
use super::request::{digest_of, remember, repeated};
use super::shown::Shown;
use super::{device, lock, outbox, share, shown};
use crate::home::{Homes, OnlyRegion};
use crate::participant::{DeviceClass, DeviceVerb, Fault};
use crate::seal;
use crate::store::{Store, micros};

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
    pub home: Option<String>,
    /// `None`: what the product line says.
    pub class: Option<DeviceClass>,
    /// Empty: what the product line says of the model.
    pub verbs: Vec<DeviceVerb>,
    pub safety_relevant: bool,
    pub warranty_end: Option<SystemTime>,
    /// The device's own key. `None` leaves it the one it has.
    pub answer_key: Option<PublicKey>,
    pub activation_lock: bool,
}

/// A binding that was made. Its `Debug` doesn't show the secret.
pub struct Bound {
    pub shown: Shown,
    /// Password for the broker. Kept nowhere: a repeated request gets a new one and the old stops working.
    pub secret: Option<String>,
    /// Commands that waited for an older binding of the device.
    pub settled: BTreeSet<String>,
}

impl fmt::Debug for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bound")
            .field("shown", &self.shown)
            .finish_non_exhaustive()
    }
}

/// The bindings of a product line.
#[derive(Clone, Debug)]
pub struct Registry {
    store: Store,
    via: Via,
    broker: bool,
    returned: Arc<Notify>,
    homes: Arc<dyn Homes>,
}

impl Registry {
    /// Opens the registry on a store with [`super::schema::SCHEMA`]. With `broker`, devices that are reached by
    /// themselves get a secret to log in with.
    pub fn new(store: Store, via: Via, broker: bool) -> Self {
        Self {
            store,
            via,
            broker,
            returned: Arc::default(),
            homes: Arc::new(OnlyRegion),
        }
    }

    /// Asks where accounts are at home before anything of them is stored.
    #[must_use]
    pub fn asking(self, homes: Arc<dyn Homes>) -> Self {
        Self { homes, ..self }
    }

    /// Nothing is held while somebody else is asked.
    pub(super) async fn at_home(&self, account: &str) -> Result<(), Refusal> {
        Ok(self.homes.at_home(account).await?)
    }

    /// As [`Registry::at_home`]. A freeze by the account's owner is in the database here, and one by security with identity alone.
    pub(super) async fn not_frozen_out(&self, account: &str) -> Result<(), Refusal> {
        match self.homes.is_frozen_out(account).await? {
            true => Err(Refusal::AccountFrozen),
            false => Ok(()),
        }
    }

    /// The database.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// How devices of the line are reached.
    pub fn via(&self) -> Via {
        self.via
    }

    /// Something may have to be told of a device that has returned. Carries no news, and comes after the commit.
    pub(super) fn returned(&self) {
        self.returned.notify_one();
    }

    /// Waits for [`Registry::returned`]. One waits at a time.
    pub(super) async fn until_returned(&self) {
        self.returned.notified().await;
    }

    /// Binds a device, and takes it from whoever had it before if that binding is ending.
    ///
    /// Errors: `NotHere`, `AccountSealed`, `DeviceBound`, `DeviceLocked`, `InvalidField`, `RequestIdReused`.
    pub async fn bind(&self, new: &NewBinding) -> Result<Bound, Refusal> {
        self.check(new)?;
        let digest = digest(new);
        if self.made(new.request_id, &digest).await?.is_none() {
            self.at_home(&new.account).await?;
        }
        let mut tx = self.store.pool().begin().await?;
        seal::admit(&mut tx, &new.account).await?;
        if let Some((device, epoch)) = repeated(&mut tx, new.request_id, &digest).await? {
            drop(tx);
            return self.bound_again(&device, epoch).await;
        }
        let known = self.hold(&mut tx, new).await?;
        let old = binding::find(&mut tx, &new.device).await?;
        let own = old
            .as_ref()
            .is_some_and(|old| !old.ending && old.account == new.account);
        if old.is_some_and(|old| !old.ending) && !own {
            return Err(Refusal::DeviceBound);
        }
        if !lock::admits(&mut tx, &new.device, &known, &new.account, own).await? {
            return Err(Refusal::DeviceLocked);
        }
        self.check_via(&mut tx, new).await?;

        let binding = new.to_binding(device::next_epoch(known.epoch, SystemTime::now()));
        binding::write(&mut tx, &binding).await?;
        if own {
            share::carry_over(&mut tx, &new.device, binding.epoch).await?;
        } else {
            share::remove_all(&mut tx, &[(&new.device, binding.epoch)]).await?;
        }
        if let Some(key) = &new.answer_key {
            device::set_answer_key(&mut tx, &new.device, key).await?;
        }
        if new.activation_lock {
            lock::put_on(&mut tx, &new.device, &new.account).await?;
        }
        let settled = outbox::supersede(&mut tx, &binding.device, binding.epoch).await?;
        let secret = self.new_secret(&mut tx, &binding).await?;
        remember(
            &mut tx,
            new.request_id,
            &digest,
            &binding.device,
            binding.epoch,
        )
        .await?;
        let shown = shown::one(&mut tx, binding).await?;
        let shown = shown.ok_or(Refusal::BindingNotFound)?;
        tx.commit().await?;
        if !settled.is_empty() {
            self.returned();
        }
        Ok(Bound {
            shown,
            secret,
            settled,
        })
    }

    /// An account's usable bindings by device, after `after`.
    ///
    /// Errors: `NotHere` of an account that has none.
    pub async fn list(
        &self,
        account: &str,
        after: &str,
        bindings_max: u32,
    ) -> Result<Vec<Shown>, Refusal> {
        let mut connection = self.store.pool().acquire().await?;
        let page = binding::page(&mut connection, account, after, bindings_max).await?;
        let shown = shown::all(&mut connection, page).await?;
        drop(connection);
        if shown.is_empty() && after.is_empty() {
            self.at_home(account).await?;
        }
        Ok(shown)
    }

    /// A device's binding as it stands now.
    pub(super) async fn show(&self, device: &str) -> Result<Shown, Refusal> {
        let mut connection = self.store.pool().acquire().await?;
        let binding = binding::find(&mut connection, device).await?;
        let binding = binding.ok_or(Refusal::BindingNotFound)?;
        let shown = shown::one(&mut connection, binding).await?;
        shown.ok_or(Refusal::BindingNotFound)
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
        if !names::is_account_id(&new.account) {
            return invalid(
                "binding.account",
                "is 1 to 128 characters of A-Z a-z 0-9 . _ -",
            );
        }
        if new.model.len() > TEXT_BYTES_MAX {
            return invalid("binding.model", "is at most 128 bytes");
        }
        if new.serial_number.len() > TEXT_BYTES_MAX {
            return invalid("binding.serial_number", "is at most 128 bytes");
        }
        if new
            .home
            .as_ref()
            .is_some_and(|home| home.len() > TEXT_BYTES_MAX)
        {
            return invalid("binding.home", "is at most 128 bytes");
        }
        if self.via == Via::Companion && new.answer_key.is_none() {
            return invalid(
                "binding.answer_key",
                "must be the wearable's key: others carry what it says",
            );
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

    /// Holds the device and, so that nobody unbinds it meanwhile, its hub.
    async fn hold(
        &self,
        tx: &mut AnyConnection,
        new: &NewBinding,
    ) -> Result<device::Device, Fault> {
        let hub = new.via.as_deref().filter(|_| self.via == Via::Hub);
        match hub {
            Some(hub) if hub < new.device.as_str() => {
                device::hold_known(tx, hub).await?;
                device::hold(tx, &new.device).await
            }
            Some(hub) => {
                let known = device::hold(tx, &new.device).await?;
                device::hold_known(tx, hub).await?;
                Ok(known)
            }
            None => device::hold(tx, &new.device).await,
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
    pub(super) async fn bound_again(&self, device: &str, epoch: u64) -> Result<Bound, Refusal> {
        let mut tx = self.store.pool().begin().await?;
        device::hold(&mut tx, device).await?;
        let binding = binding::find(&mut tx, device)
            .await?
            .filter(|binding| binding.epoch == epoch && !binding.ending)
            .ok_or(Refusal::BindingNotFound)?;
        let secret = self.new_secret(&mut tx, &binding).await?;
        let shown = shown::one(&mut tx, binding).await?;
        let shown = shown.ok_or(Refusal::BindingNotFound)?;
        tx.commit().await?;
        Ok(Bound {
            shown,
            secret,
            settled: BTreeSet::new(),
        })
    }

    pub(super) async fn new_secret(
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

impl NewBinding {
    fn to_binding(&self, epoch: u64) -> Binding {
        Binding {
            device: self.device.clone(),
            account: self.account.clone(),
            epoch,
            model: self.model.clone(),
            serial_number: self.serial_number.clone(),
            via: self.via.clone(),
            home: self.home.clone(),
            class: self.class,
            verbs: self.verbs.clone(),
            safety_relevant: self.safety_relevant,
            warranty_end: self.warranty_end,
            ending: false,
        }
    }
}

fn digest(new: &NewBinding) -> String {
    let class = format!("{:?}", new.class);
    let verbs = format!("{:?}", new.verbs);
    let warranty_end = new.warranty_end.map_or(0, micros).to_string();
    let key = new.answer_key.map(|key| hex(&key)).unwrap_or_default();
    let flags = format!("{} {}", new.safety_relevant, new.activation_lock);
    digest_of([
        "bind",
        &new.device,
        &new.account,
        &new.model,
        &new.serial_number,
        new.via.as_deref().unwrap_or_default(),
        new.home.as_deref().unwrap_or_default(),
        &class,
        &verbs,
        &warranty_end,
        &key,
        &flags,
    ])
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
