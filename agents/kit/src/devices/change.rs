//! A change of one binding by a caller: begun once, however often it is asked for.

use std::collections::BTreeSet;

use sha2::{Digest as _, Sha256};
use sqlx::{Any, AnyConnection, Transaction};

use super::binding::{self, Binding};
use super::device::{self, Device};
use super::refusal::Refusal;
use super::registry::{Registry, hex};
use super::request::{digest_of, remember, repeated};
use crate::seal;

/// Which binding a caller wants changed.
#[derive(Clone, Debug)]
pub struct Target {
    pub request_id: uuid::Uuid,
    pub device: String,
    pub epoch: u64,
}

/// Which account a change touches beside the owner's.
#[derive(Clone, Copy)]
pub(super) enum Beside<'a> {
    Nobody,
    /// It gets something: its home must be here.
    Getting(&'a str),
    /// It loses something, wherever its home is.
    Losing(&'a str),
}

impl<'a> Beside<'a> {
    const fn account(self) -> Option<&'a str> {
        match self {
            Self::Nobody => None,
            Self::Getting(account) | Self::Losing(account) => Some(account),
        }
    }
}

/// What a change meets.
pub(super) enum Change {
    /// It was made before, and with it this epoch.
    Made(u64),
    /// It is to be made in this transaction.
    Open(Box<Held>),
}

/// A binding held against everybody else: first the fences of the accounts, then the device.
pub(super) struct Held {
    tx: Transaction<'static, Any>,
    request_id: uuid::Uuid,
    digest: String,
    pub binding: Binding,
    pub device: Device,
}

impl Registry {
    /// Begins a change of a usable binding. `body` is what was asked, for repeats, and `beside` the account that it touches beside
    /// the owner's.
    pub(super) async fn change(
        &self,
        target: &Target,
        body: &[&str],
        beside: Beside<'_>,
    ) -> Result<Change, Refusal> {
        let epoch = target.epoch.to_string();
        let what = [target.device.as_str(), &epoch];
        let digest = digest_of(body.iter().copied().chain(what));
        if let Some(epoch) = self.made(target.request_id, &digest).await? {
            return Ok(Change::Made(epoch));
        }
        // Whose fence to ask is known from the binding, which is looked at again once everything is held.
        let owner = self.owner(&target.device).await?;
        let owner = owner.ok_or(Refusal::BindingNotFound)?;
        if let Beside::Getting(account) = beside {
            self.at_home(account).await?;
        }
        // Who shares a device no longer takes nothing from its owner.
        if !matches!(beside, Beside::Losing(_)) {
            self.not_frozen_out(&owner).await?;
        }
        let mut tx = self.store().pool().begin().await?;
        let touched: BTreeSet<&str> = beside.account().into_iter().chain([&*owner]).collect();
        for account in touched {
            seal::admit(&mut tx, account).await?;
        }
        let device = device::hold(&mut tx, &target.device).await?;
        if let Some((_, epoch)) = repeated(&mut tx, target.request_id, &digest).await? {
            return Ok(Change::Made(epoch));
        }
        let binding = binding::find(&mut tx, &target.device)
            .await?
            .filter(|binding| !binding.ending)
            .ok_or(Refusal::BindingNotFound)?;
        if binding.epoch != target.epoch || binding.account != owner {
            return Err(Refusal::EpochMismatch);
        }
        Ok(Change::Open(Box::new(Held {
            tx,
            request_id: target.request_id,
            digest,
            binding,
            device,
        })))
    }

    pub(super) async fn made(
        &self,
        request_id: uuid::Uuid,
        digest: &str,
    ) -> Result<Option<u64>, Refusal> {
        let mut connection = self.store().pool().acquire().await?;
        let made = repeated(&mut connection, request_id, digest).await?;
        Ok(made.map(|(_, epoch)| epoch))
    }

    async fn owner(&self, device: &str) -> Result<Option<String>, Refusal> {
        let mut connection = self.store().pool().acquire().await?;
        let binding = binding::find(&mut connection, device).await?;
        Ok(binding.map(|binding| binding.account))
    }
}

impl Held {
    /// The transaction to work in.
    pub fn tx(&mut self) -> &mut AnyConnection {
        &mut self.tx
    }

    /// Remembers the request, with the epoch that it made, and commits.
    pub async fn finish(mut self, epoch: u64) -> Result<(), Refusal> {
        let device = &self.binding.device;
        remember(&mut self.tx, self.request_id, &self.digest, device, epoch).await?;
        Ok(self.tx.commit().await?)
    }
}

/// A digest of bytes that a request brings, for its body.
pub(super) fn digest_of_bytes(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}
