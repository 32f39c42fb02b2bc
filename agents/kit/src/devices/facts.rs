//! What a policy must know of a device to say what becomes of it.

use sqlx::AnyConnection;

use super::binding::{self, Binding};
use super::participant::Line;
use super::registry::Via;
use super::share::{self, Role, Share};
use crate::participant::{DeviceFacts, Fault};

/// The facts of a binding: what its caller said, and what the product line says where nobody did.
pub(super) async fn of_binding(
    tx: &mut AnyConnection,
    line: &dyn Line,
    binding: &Binding,
) -> Result<DeviceFacts, Fault> {
    let mut shares = share::of_device(tx, &binding.device).await?;
    let hub = match hub_of(line, binding) {
        Some(hub) => binding::find(tx, hub).await?,
        None => None,
    };
    let hub = hub.filter(|hub| hub.account == binding.account);
    if let Some(hub) = &hub {
        shares.extend(share::of_device(tx, &hub.device).await?);
    }
    Ok(facts(line, binding, hub.as_ref(), &shares))
}

/// Every binding of an account, by device, with its facts. As many questions to the database for a thousand as for one.
pub(super) async fn of_account(
    tx: &mut AnyConnection,
    line: &dyn Line,
    account: &str,
) -> Result<Vec<(Binding, DeviceFacts)>, Fault> {
    let bindings = binding::of_account(tx, account).await?;
    let (Some(first), Some(last)) = (bindings.first(), bindings.last()) else {
        return Ok(Vec::new());
    };
    let shared = share::of_devices(tx, account, (&first.device, &last.device)).await?;
    let shares_of = |device: &str| shared.get(device).into_iter().flatten().cloned();
    // A hub of another account is no hub of these.
    let by_device = binding::by_device(bindings.clone());
    let with_facts = bindings.into_iter().map(|binding| {
        let hub = hub_of(line, &binding).and_then(|hub| by_device.get(hub));
        let mut shares: Vec<Share> = shares_of(&binding.device).collect();
        shares.extend(hub.into_iter().flat_map(|hub| shares_of(&hub.device)));
        let facts = facts(line, &binding, hub, &shares);
        (binding, facts)
    });
    Ok(with_facts.collect())
}

/// The hub that the binding names, on a line that has hubs.
fn hub_of<'a>(line: &dyn Line, binding: &'a Binding) -> Option<&'a str> {
    match line.via() {
        Via::Hub => binding.via.as_deref(),
        Via::Never | Via::Companion => None,
    }
}

/// `shares`: those of the hub, too. Who lives with the hub lives with what is behind it.
fn facts(
    line: &dyn Line,
    binding: &Binding,
    hub: Option<&Binding>,
    shares: &[Share],
) -> DeviceFacts {
    DeviceFacts {
        class: binding.class.unwrap_or_else(|| line.class()),
        verbs: if binding.verbs.is_empty() {
            line.verbs(binding)
        } else {
            binding.verbs.clone()
        },
        co_admin: shares.iter().any(|share| share.role == Role::Admin),
        household: !shares.is_empty(),
        hub: hub.map(|hub| (hub.device.clone(), hub.epoch)),
    }
}
