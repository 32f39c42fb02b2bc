//! A device is given to another account that takes it.

use std::time::SystemTime;

use super::change::{Beside, Change, Target};
use super::refusal::Refusal;
use super::registry::{Bound, Registry, Via};
use super::{binding, device, lock, outbox, share};

impl Registry {
    /// Gives a device to `account`: a new binding, of which the device hears from its app. Whoever shared it shares it no
    /// longer; that is the new owner's to say.
    ///
    /// Errors: `NotHere`, `AccountSealed`, `AccountFrozen`, `BindingNotFound`, `EpochMismatch`, `DeviceLost`, `HasChildren`,
    /// `InvalidField`, `RequestIdReused`.
    pub async fn transfer(&self, target: &Target, account: &str) -> Result<Bound, Refusal> {
        let body = ["transfer", account];
        let mut held = match self.change(target, &body, Beside::Getting(account)).await? {
            Change::Open(held) => held,
            Change::Made(epoch) => return self.bound_again(&target.device, epoch).await,
        };
        let old = held.binding.clone();
        if old.account == account {
            return invalid("account", "has the device already");
        }
        if held.device.lost {
            return Err(Refusal::DeviceLost);
        }
        if self.via() == Via::Hub {
            if !binding::children(held.tx(), &old.device).await?.is_empty() {
                return Err(Refusal::HasChildren);
            }
            if let Some(hub) = &old.via {
                let hub = binding::find(held.tx(), hub).await?;
                if !hub.is_some_and(|hub| hub.account == account && !hub.ending) {
                    return invalid("device", "is a hub's child: it goes where its hub is");
                }
            }
        }
        let new = binding::Binding {
            account: account.to_owned(),
            epoch: device::next_epoch(held.device.epoch, SystemTime::now()),
            home: None,
            ..old
        };
        share::remove_all(held.tx(), &[(&new.device, new.epoch)]).await?;
        binding::write(held.tx(), &new).await?;
        lock::pass_on(held.tx(), &new.device, account).await?;
        let settled = outbox::supersede(held.tx(), &new.device, new.epoch).await?;
        let secret = self.new_secret(held.tx(), &new).await?;
        held.finish(new.epoch).await?;
        if !settled.is_empty() {
            self.returned();
        }
        let shown = self.show(&new.device).await?;
        Ok(Bound {
            shown,
            secret,
            settled,
        })
    }
}

fn invalid<T>(field: &'static str, problem: &'static str) -> Result<T, Refusal> {
    Err(Refusal::InvalidField { field, problem })
}
