//! What a policy must know of a device to say what becomes of it.

use sqlx::AnyConnection;

use super::binding::{self, Binding};
use super::participant::Line;
use super::registry::Via;
use super::share::{self, Role};
use crate::participant::{DeviceFacts, Fault};

/// The facts of a binding: what its caller said, and what the product line says where nobody did.
pub(super) async fn of_binding(
    tx: &mut AnyConnection,
    line: &dyn Line,
    binding: &Binding,
) -> Result<DeviceFacts, Fault> {
    let mut shares = share::of_device(tx, &binding.device).await?;
    let hub = match (line.via(), &binding.via) {
        (Via::Hub, Some(hub)) => binding::find(tx, hub).await?,
        (Via::Never | Via::Companion | Via::Hub, _) => None,
    };
    let hub = hub.filter(|hub| hub.account == binding.account);
    // Who lives with the hub lives with what is behind it.
    if let Some(hub) = &hub {
        shares.extend(share::of_device(tx, &hub.device).await?);
    }
    Ok(DeviceFacts {
        class: binding.class.unwrap_or_else(|| line.class()),
        verbs: if binding.verbs.is_empty() {
            line.verbs(binding)
        } else {
            binding.verbs.clone()
        },
        co_admin: shares.iter().any(|share| share.role == Role::Admin),
        household: !shares.is_empty(),
        hub: hub.map(|hub| (hub.device, hub.epoch)),
    })
}
