//! Who else of the household uses a device, as its owner says.

use super::change::{Beside, Change, Target};
use super::refusal::Refusal;
use super::registry::{Registry, Via};
use super::share::{self, SHARES_MAX, Share};
use super::shown::Shown;
use crate::participant::DeviceClass;

impl Registry {
    /// Lets another account use a device, or changes what it may do.
    ///
    /// Errors: `NotHere`, `AccountSealed`, `AccountFrozen`, `BindingNotFound`, `EpochMismatch`, `NotShareable`, `RequestIdReused`.
    pub async fn share(&self, target: &Target, share: &Share) -> Result<Shown, Refusal> {
        let body = ["share", &share.account, share.role.as_str()];
        let beside = Beside::Getting(&share.account);
        if let Change::Open(mut held) = self.change(target, &body, beside).await? {
            let binding = held.binding.clone();
            let shares = share::of_device(held.tx(), &binding.device).await?;
            let known = shares.iter().any(|known| known.account == share.account);
            let full = !known && shares.len() >= SHARES_MAX;
            // Where nobody said, hubs and their children serve a home, and what comes by itself or with a phone one person.
            let personal = match binding.class {
                Some(class) => class == DeviceClass::Personal,
                None => self.via() != Via::Hub,
            };
            if share.account == binding.account || personal || full {
                return Err(Refusal::NotShareable);
            }
            share::write(held.tx(), &binding.device, binding.epoch, share).await?;
            held.finish(binding.epoch).await?;
        }
        self.show(&target.device).await
    }

    /// Ends that. Also for an account that doesn't share it: it shares it no longer.
    ///
    /// Errors: `AccountSealed`, `AccountFrozen`, `BindingNotFound`, `EpochMismatch`, `RequestIdReused`.
    pub async fn unshare(&self, target: &Target, account: &str) -> Result<Shown, Refusal> {
        let body = ["unshare", account];
        let beside = Beside::Losing(account);
        if let Change::Open(mut held) = self.change(target, &body, beside).await? {
            let epoch = held.binding.epoch;
            share::remove(held.tx(), &target.device, account).await?;
            held.finish(epoch).await?;
        }
        self.show(&target.device).await
    }
}
