//! Somebody leaves a home that others live in: what is theirs goes on.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use farewell_proto::binding::v1::{Binding, Role, Share, ShareBindingRequest};
use farewell_proto::deletion::v1::State;
use farewell_tests::agents::{SMALL, Size};
use farewell_tests::caller::fresh;
use farewell_tests::household::Household;
use farewell_tests::wait;

const SMARTHOME: &str = "smarthome";
/// Owner, and an admin beside.
const ANN: &str = "ann";
const BOB: &str = "bob";
/// Owner, and somebody who only lives there.
const CID: &str = "cid";
const DAN: &str = "dan";
const STEADY: Size<'_> = Size {
    offline: "0",
    flaky: "0",
    ..SMALL
};

/// What the line has of an account, by kind.
async fn owned(household: &Household, account: &str) -> Result<BTreeMap<String, Binding>> {
    let listed = household.list(SMARTHOME, account).await?.into_iter();
    Ok(listed
        .map(|binding| (binding.device.clone(), binding))
        .collect())
}

/// The hub and what is behind it are shared as one: whoever lives with a hub lives with its lamps.
async fn share(household: &Household, owner: &str, with: &str, role: Role) -> Result<()> {
    let owned = owned(household, owner).await?;
    let hub = owned.values().find(|binding| binding.via.is_empty());
    let hub = hub.context("a hub")?;
    let request = ShareBindingRequest {
        request_id: fresh(),
        device: hub.device.clone(),
        epoch: hub.epoch,
        share: Some(Share {
            account: format!("accounts/{with}"),
            role: role.into(),
        }),
    };
    household
        .bindings(SMARTHOME)?
        .share_binding(request)
        .await?;
    Ok(())
}

/// How each device of the smart home ended.
async fn deleted(household: &Household, account: &str) -> Result<BTreeMap<String, String>> {
    let name = household.caller.delete(account).await?;
    let purged = household.caller.until(&name, State::Purged).await;
    let purged = purged.with_context(|| household.words())?;
    let legs = purged.legs.into_iter();
    let erased = legs.filter(|leg| leg.verb == "ERASE" && leg.participant == SMARTHOME);
    let devices = erased.flat_map(|leg| leg.devices);
    Ok(devices
        .map(|device| (device.device, device.outcome))
        .collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn last_admin_leaves_and_the_households_door_still_opens() -> Result<()> {
    let Some(household) = Household::start("").await? else {
        return Ok(());
    };
    let accounts = [ANN.to_owned(), CID.to_owned()];
    let fleet = household.agents.fleet(&[&accounts], &STEADY, 5).await?;
    let anns = owned(&household, ANN).await?;
    let cids = owned(&household, CID).await?;
    share(&household, ANN, BOB, Role::Admin).await?;
    share(&household, CID, DAN, Role::Member).await?;

    for (device, end) in deleted(&household, ANN).await? {
        assert_eq!(end, "TRANSFERRED", "{device} goes to the other admin");
    }
    let bobs = wait::until("every device to hear of its new owner", async || {
        let bobs = owned(&household, BOB).await?;
        // A lamp is heard of through its hub.
        let hubs = bobs.values().filter(|binding| binding.via.is_empty());
        let heard = hubs.clone().all(|hub| hub.seen_epoch == hub.epoch) && hubs.count() == 1;
        Ok(heard.then_some(bobs))
    })
    .await
    .with_context(|| household.words())?;
    assert_eq!(bobs.len(), anns.len());
    for (device, binding) in &bobs {
        assert!(binding.epoch > anns[device].epoch, "{device}");
    }

    for (device, end) in deleted(&household, CID).await? {
        let hub = cids[&device].via.is_empty();
        let expected: &[&str] = if hub {
            &["CONFIRMED", "EXECUTED"]
        } else {
            &["UNSUPPORTED"]
        };
        assert!(expected.contains(&end.as_str()), "{device} {end}");
    }

    for device in household.agents.holdings(fleet).await? {
        let name = format!("devices/{}", device.device);
        if let Some(binding) = bobs.get(&name) {
            assert_eq!(device.bound_epoch, binding.epoch, "{device:?}");
            assert_eq!(
                device.user_data,
                device.kind == "hub",
                "nothing is wiped: {device:?}"
            );
        } else if let Some(binding) = cids.get(&name) {
            let kept = if device.kind == "hub" {
                0
            } else {
                binding.epoch
            };
            assert_eq!(device.bound_epoch, kept, "{device:?}");
            assert_eq!(
                device.user_data,
                device.kind == "hub",
                "nothing is wiped: {device:?}"
            );
        }
    }
    Ok(())
}
