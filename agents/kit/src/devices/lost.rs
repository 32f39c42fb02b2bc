//! Devices that are reported lost or stolen. What is reported is the device, whoever's it is: the word survives the
//! binding, the account and everything else but the word that it was found.

use sqlx::AnyConnection;

use super::change::Target;
use super::refusal::Refusal;
use super::registry::Registry;
use super::request::{digest_of, remember, repeated};
use super::shown::Shown;
use super::{binding, device, lock, parting};
use crate::participant::Fault;

impl Registry {
    /// Says that a device is lost, or found. Also while a deletion of its account is under way: that is when a thief
    /// would hope for it.
    ///
    /// A device can be found when nobody has it any more, too: then its lock, kept from whoever might have stolen it, is
    /// released. `None`: it has no binding.
    ///
    /// Errors: `BindingNotFound`, `EpochMismatch`, `RequestIdReused`.
    pub async fn report_lost(&self, target: &Target, lost: bool) -> Result<Option<Shown>, Refusal> {
        let epoch = target.epoch.to_string();
        let word = if lost { "lost" } else { "found" };
        let digest = digest_of([word, &target.device, &epoch]);
        let mut tx = self.store().pool().begin().await?;
        let known = device::hold(&mut tx, &target.device).await?;
        if repeated(&mut tx, target.request_id, &digest)
            .await?
            .is_none()
        {
            let binding = binding::find(&mut tx, &target.device).await?;
            let epoch = match &binding {
                Some(binding) => binding.epoch,
                None if !lost && known.lost => known.epoch,
                None => return Err(Refusal::BindingNotFound),
            };
            if epoch != target.epoch {
                return Err(Refusal::EpochMismatch);
            }
            set(&mut tx, &target.device, lost).await?;
            if !lost {
                lock::release_kept(&mut tx, &target.device).await?;
                parting::found(&mut tx, &target.device).await?;
            }
            remember(
                &mut tx,
                target.request_id,
                &digest,
                &target.device,
                target.epoch,
            )
            .await?;
            tx.commit().await?;
        } else {
            drop(tx);
        }
        match self.show(&target.device).await {
            Ok(shown) => Ok(Some(shown)),
            Err(Refusal::BindingNotFound) => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }
}

/// Marks the device.
pub(super) async fn set(tx: &mut AnyConnection, device: &str, lost: bool) -> Result<(), Fault> {
    sqlx::query("UPDATE devices SET lost = $2 WHERE device = $1")
        .bind(device)
        .bind(i64::from(lost))
        .execute(&mut *tx)
        .await?;
    Ok(())
}
