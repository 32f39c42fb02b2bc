//! One device is unbound and the account stays.

use anyhow::{Context as _, Result, anyhow};
use farewell_proto::account::v1::{
    DeviceUnbinding, DeviceUnbindingState, UnbindDeviceRequest, WatchDeviceUnbindingRequest,
};
use farewell_proto::binding::v1::{Binding, ReportLostRequest};
use farewell_proto::deletion::v1::State;
use farewell_tests::agents::SMALL;
use farewell_tests::caller::fresh;
use farewell_tests::household::Household;
use farewell_tests::refusal::{bad_field, refused};
use farewell_tests::wait;
use tonic::{Code, Status};

const ACCOUNT: &str = "alice";

fn request(line: &str, binding: &Binding) -> UnbindDeviceRequest {
    UnbindDeviceRequest {
        request_id: fresh(),
        account: binding.account.clone(),
        line: format!("lines/{line}"),
        device: binding.device.clone(),
        epoch: binding.epoch,
        wipe: false,
        channel: 0,
        case: String::new(),
    }
}

async fn unbind(
    household: &Household,
    request: UnbindDeviceRequest,
) -> Result<DeviceUnbinding, Status> {
    let mut client = household
        .accounts()
        .map_err(|error| Status::internal(format!("{error:#}")))?;
    let answer = client.unbind_device(request).await?.into_inner();
    answer
        .device_unbinding
        .ok_or_else(|| Status::internal("no unbinding in the answer"))
}

/// Watches until it is over; every state that was told.
async fn watched(household: &Household, name: &str) -> Result<Vec<DeviceUnbindingState>> {
    let request = WatchDeviceUnbindingRequest {
        name: name.to_owned(),
        account: format!("accounts/{ACCOUNT}"),
    };
    let mut changes = household
        .accounts()?
        .watch_device_unbinding(request)
        .await
        .map_err(|status| anyhow!("{status:?}"))?
        .into_inner();
    let mut states = Vec::new();
    while let Some(change) = changes.message().await? {
        states.push(change.device_unbinding.context("an unbinding")?.state());
    }
    Ok(states)
}

async fn only(household: &Household, line: &str, kind: &str) -> Result<Binding> {
    let listed = household.list(line, ACCOUNT).await?.into_iter();
    let mut of_kind = listed.filter(|binding| binding.device.contains(kind));
    of_kind.next().with_context(|| format!("a {kind}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn devices_are_unbound_one_by_one_and_the_rest_goes_with_the_account() -> Result<()> {
    let Some(household) = Household::start("").await? else {
        return Ok(());
    };
    let account = [ACCOUNT.to_owned()];
    let fleet = household.agents.fleet(&[&account], &SMALL, 3).await?;

    let phone = only(&household, "phones", "phone").await?;
    let lamp = only(&household, "smarthome", "child").await?;
    let watch = only(&household, "wearables", "watch").await?;
    let hub = only(&household, "smarthome", "hub").await?;

    let first = request("phones", &phone);
    let begun = unbind(&household, first.clone()).await?;
    assert_eq!(begun.epoch, phone.epoch);
    let again = unbind(&household, first.clone()).await?;
    assert_eq!(
        (again.name.as_str(), again.begin_time),
        (begun.name.as_str(), begun.begin_time)
    );
    let states = watched(&household, &begun.name).await?;
    assert_eq!(
        states.last(),
        Some(&DeviceUnbindingState::Confirmed),
        "{states:?}"
    );
    let begun = unbind(&household, request("smarthome", &lamp)).await?;
    let done = wait::until("the hub to let go of its lamp", async || {
        let now = household.unbinding(&begun.name, ACCOUNT).await?;
        Ok((now.state() == DeviceUnbindingState::Executed).then_some(now))
    });
    done.await?;

    // What can't be: each is refused and changes nothing.
    let other = UnbindDeviceRequest {
        device: watch.device.clone(),
        ..first.clone()
    };
    refused(
        "another device under the same id",
        unbind(&household, other).await,
        Code::AlreadyExists,
        "REQUEST_ID_REUSED",
    );
    let gone = request("phones", &phone);
    refused(
        "a device that is gone",
        unbind(&household, gone).await,
        Code::NotFound,
        "BINDING_NOT_FOUND",
    );
    let old = UnbindDeviceRequest {
        epoch: watch.epoch + 1,
        ..request("wearables", &watch)
    };
    refused(
        "an epoch that never was",
        unbind(&household, old).await,
        Code::Aborted,
        "EPOCH_MISMATCH",
    );
    refused(
        "a hub with a lamp left",
        unbind(&household, request("smarthome", &hub)).await,
        Code::FailedPrecondition,
        "HAS_CHILDREN",
    );
    let foreign = UnbindDeviceRequest {
        account: "accounts/mallory".to_owned(),
        ..request("wearables", &watch)
    };
    refused(
        "somebody else's device",
        unbind(&household, foreign).await,
        Code::NotFound,
        "BINDING_NOT_FOUND",
    );
    let unseen = household.unbinding(&begun.name, "mallory").await;
    refused(
        "somebody else's unbinding",
        unseen,
        Code::NotFound,
        "UNBINDING_NOT_FOUND",
    );
    let lost = ReportLostRequest {
        request_id: fresh(),
        device: watch.device.clone(),
        epoch: watch.epoch,
        lost: true,
    };
    household.bindings("wearables")?.report_lost(lost).await?;
    refused(
        "a lost watch",
        unbind(&household, request("wearables", &watch)).await,
        Code::FailedPrecondition,
        "DEVICE_LOST",
    );

    type Spoil = fn(&mut UnbindDeviceRequest);
    let spoilt: [(&str, Spoil); 11] = [
        ("request_id", |r| r.request_id.clear()),
        ("request_id", |r| r.request_id = "1".to_owned()),
        ("account", |r| r.account.clear()),
        ("account", |r| r.account = "accounts/a b".to_owned()),
        ("line", |r| r.line.clear()),
        ("line", |r| r.line = "wearables".to_owned()),
        ("line", |r| r.line = "lines/toasters".to_owned()),
        ("device", |r| r.device.clear()),
        ("device", |r| r.device = "devices/a/b".to_owned()),
        ("device", |r| r.device = "devices/+".to_owned()),
        ("epoch", |r| r.epoch = 0),
    ];
    for (field, spoil) in spoilt {
        let mut bad = request("wearables", &watch);
        spoil(&mut bad);
        bad_field(field, unbind(&household, bad).await, "INVALID_FIELD", field);
    }

    let deletion = household.caller.delete(ACCOUNT).await?;
    let purged = household.caller.until(&deletion, State::Purged).await?;
    let mut locks = Vec::new();
    let devices = purged
        .legs
        .iter()
        .filter(|leg| leg.verb == "ERASE")
        .flat_map(|leg| &leg.devices);
    for device in devices {
        assert_ne!(device.device, phone.device, "unbound before");
        assert_ne!(device.device, lamp.device, "unbound before");
        if !device.lock.is_empty() {
            locks.push((device.device.clone(), device.lock.clone()));
        }
    }
    assert_eq!(
        locks,
        [(watch.device.clone(), "KEPT".to_owned())],
        "a lost watch is wiped and stays locked"
    );
    let sealed = unbind(&household, request("wearables", &watch)).await;
    refused(
        "an erased account",
        sealed,
        Code::NotFound,
        "BINDING_NOT_FOUND",
    );

    let thief = Binding {
        device: watch.device.clone(),
        account: "accounts/mallory".to_owned(),
        via: watch.via.clone(),
        answer_key: watch.answer_key.clone(),
        ..Binding::default()
    };
    refused(
        "a stolen watch",
        household.bind("wearables", thief).await,
        Code::FailedPrecondition,
        "DEVICE_LOCKED",
    );

    let held = household.agents.holdings(fleet).await?;
    let of = |kind: &str| held.iter().find(|device| device.kind == kind);
    let (own_phone, own_watch) = (
        of("phone").context("a phone")?,
        of("watch").context("a watch")?,
    );
    assert_eq!(
        (own_phone.bound_epoch, own_phone.user_data),
        (0, true),
        "unbound, not wiped"
    );
    assert_eq!(
        (own_watch.bound_epoch, own_watch.user_data),
        (0, false),
        "wiped"
    );
    Ok(())
}
