//! Somebody leaves, and others have what was theirs: a home that they live in, or a phone that they were given.

use std::collections::BTreeMap;
use std::net::TcpStream;

use anyhow::{Context as _, Result};
use farewell_proto::binding::v1::{Binding, Role, Share, ShareBindingRequest};
use farewell_proto::deletion::v1::{GetInventoryRequest, State};
use farewell_tests::agents::{SMALL, Size};
use farewell_tests::caller::fresh;
use farewell_tests::household::Household;
use farewell_tests::refusal::refused;
use farewell_tests::wait;
use tonic::Code;

const PHONES: &str = "phones";
const SMARTHOME: &str = "smarthome";
/// Owner, and an admin beside.
const ANN: &str = "ann";
const BOB: &str = "bob";
/// Owner, and somebody who only lives there.
const CID: &str = "cid";
const DAN: &str = "dan";
/// Owner of two phones, and who is given one of them.
const EVE: &str = "eve";
const FAY: &str = "fay";
/// A device in a drawer is given up after so long.
const HORIZON: &str = "horizon = \"12s\"";
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

/// A phone with an activation lock.
fn phone(device: &str, account: &str) -> Binding {
    Binding {
        device: device.to_owned(),
        account: format!("accounts/{account}"),
        model: "Aurora 9".to_owned(),
        activation_lock: true,
        ..Binding::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_phone_is_its_next_owners_while_another_is_still_in_a_drawer() -> Result<()> {
    let Some(household) = Household::start(HORIZON).await? else {
        return Ok(());
    };
    let only_a_phone = Size {
        watches: "0",
        hubs: "0",
        ..STEADY
    };
    let eves = [EVE.to_owned()];
    let fleet = household.agents.fleet(&[&eves], &only_a_phone, 5).await?;
    let given = household.list(PHONES, EVE).await?.remove(0);
    let drawer = "devices/phone-in-a-drawer";
    household.bind(PHONES, phone(drawer, EVE)).await?;

    let name = household.caller.delete(EVE).await?;
    let bound = wait::until("the phone that was wiped to be free", async || {
        Ok(household.bind(PHONES, phone(&given.device, FAY)).await.ok())
    })
    .await
    .with_context(|| household.words())?;
    let fays = bound.binding.context("a binding")?;
    assert!(fays.activation_lock && fays.epoch > given.epoch, "{fays:?}");
    refused(
        "the phone in the drawer",
        household.bind(PHONES, phone(drawer, FAY)).await,
        Code::FailedPrecondition,
        "DEVICE_LOCKED",
    );
    let state = household.caller.get(&name).await?.state();
    assert_eq!(state, State::Erasing, "nobody waited for the drawer");

    let purged = household.caller.until(&name, State::Purged).await;
    let purged = purged.with_context(|| household.words())?;
    let legs = purged.legs.into_iter();
    let erased = legs.filter(|leg| leg.verb == "ERASE" && leg.participant == PHONES);
    let ends: BTreeMap<_, _> = erased
        .flat_map(|leg| leg.devices)
        .map(|device| (device.device, (device.outcome, device.lock)))
        .collect();
    let released = |outcome: &str| (outcome.to_owned(), "RELEASED".to_owned());
    assert_eq!(ends.get(drawer), Some(&released("DETACHED")));
    assert_eq!(ends.get(&given.device), Some(&released("CONFIRMED")));
    let kept = household.list(PHONES, FAY).await?;
    assert_eq!(kept.len(), 1);
    assert_eq!((kept[0].epoch, kept[0].activation_lock), (fays.epoch, true));
    let holdings = household.agents.holdings(fleet).await?;
    assert!(holdings.iter().all(|device| device.executions == 1));
    Ok(())
}

/// What a person needs for repairs when the account is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_inventory_names_serial_numbers_and_warranties() -> Result<()> {
    let Some(household) = Household::start("").await? else {
        return Ok(());
    };
    let warranty_end_time = Some(prost_types::Timestamp {
        seconds: 1_900_000_000,
        nanos: 0,
    });
    let phone = Binding {
        device: "devices/phone-1".to_owned(),
        account: format!("accounts/{ANN}"),
        model: "Phone 9".to_owned(),
        serial_number: "SN-0001".to_owned(),
        warranty_end_time,
        ..Binding::default()
    };
    let agent = household.agents.devices(PHONES).context("phones")?;
    wait::until("the agent to listen", async || {
        Ok(TcpStream::connect(agent).ok())
    })
    .await?;
    household.bind(PHONES, phone).await?;
    let holdings = wait::until("every line to answer", async || {
        let look = GetInventoryRequest {
            account: format!("accounts/{ANN}"),
        };
        let mut caller = household.caller.api.clone();
        let holdings = caller.get_inventory(look).await?.into_inner().holdings;
        let answered = holdings.iter().all(|holding| holding.answered);
        Ok(answered.then_some(holdings))
    })
    .await?;
    let held: Vec<_> = holdings.iter().flat_map(|it| &it.devices).collect();
    assert_eq!(held.len(), 1, "{holdings:?}");
    assert_eq!(held[0].serial_number, "SN-0001");
    assert_eq!(held[0].model, "Phone 9");
    assert_eq!(held[0].warranty_end_time, warranty_end_time);
    Ok(())
}
