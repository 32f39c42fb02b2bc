use std::time::{Duration, SystemTime};

use farewell_proto::device::v1 as wire;
use farewell_proto::device::v1::OrderState;

use crate::devices::keeper;
use crate::devices::participant::Terms;
use crate::devices::registry::Via;
use crate::devices::testing::{
    ACCOUNT, Bench, benches, by_hand, command, order_for, patient, sign, target, told, told_hub,
};
use crate::participant::{
    DeviceDuty, DeviceTask, DeviceVerb, NotUnbound, Participant as _, UnbindDevice, Unbinding,
    UnbindingState,
};

const NAME: &str = "lines/test/deviceUnbindings/u1";

fn request(name: &str, device: DeviceTask) -> UnbindDevice {
    UnbindDevice {
        name: name.to_owned(),
        account: ACCOUNT.to_owned(),
        device,
    }
}

async fn unbind(bench: &Bench, name: &str, device: DeviceTask) -> Result<Unbinding, NotUnbound> {
    let asked = request(name, device);
    bench.line.unbind_device(&asked).await.unwrap()
}

async fn state(bench: &Bench, name: &str) -> UnbindingState {
    let found = bench.line.device_unbinding(ACCOUNT, name).await.unwrap();
    found.unwrap().state
}

#[tokio::test]
async fn the_server_half_ends_at_once_and_the_devices_when_it_says_so() {
    for bench in benches("unbind", Via::Hub, patient()).await {
        let epoch = bench.bind_locked(ACCOUNT, "hub-1").await.unwrap();
        let task = || told(NAME, "hub-1", epoch, &[DeviceVerb::Unbind]);
        let begun = unbind(&bench, NAME, task()).await.unwrap();
        assert_eq!(begun.state, UnbindingState::Waiting);
        assert_eq!(unbind(&bench, NAME, task()).await.unwrap(), begun);
        let listed = bench.registry.list(ACCOUNT, "", 10).await.unwrap();
        assert!(listed.is_empty());
        assert_eq!(
            bench
                .line
                .device_unbinding("account-2", NAME)
                .await
                .unwrap(),
            Err(NotUnbound::UnbindingNotFound)
        );

        let owed = bench.contact("hub-1", epoch, &[]).await;
        bench.report(&owed[0], OrderState::Received).await.unwrap();
        assert_eq!(state(&bench, NAME).await, UnbindingState::Running);
        let (log_ins,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM credentials")
            .fetch_one(bench.registry.store().pool())
            .await
            .unwrap();
        assert_eq!(log_ins, 1, "the only way to the device");
        bench.report(&owed[0], OrderState::Executed).await.unwrap();
        assert_eq!(state(&bench, NAME).await, UnbindingState::Executed);
        let (log_ins,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM credentials")
            .fetch_one(bench.registry.store().pool())
            .await
            .unwrap();
        assert_eq!(log_ins, 0, "it goes once the device has answered");
        bench.contact("hub-1", 0, &[]).await;
        assert_eq!(state(&bench, NAME).await, UnbindingState::Confirmed);
        bench.bind_locked("account-2", "hub-1").await.unwrap();
    }
}

#[tokio::test]
async fn what_must_not_be_unbound_is_left_as_it_is() {
    for bench in benches("not_unbound", Via::Hub, patient()).await {
        let hub = bench.bind("hub-1", None).await;
        let lamp = bench.bind("lamp-1", Some("hub-1")).await;
        let alarm = bench.bind("alarm-1", None).await;
        let lost = target("alarm-1", alarm);
        bench.registry.report_lost(&lost, true).await.unwrap();
        let unbound = |device, epoch| told(NAME, device, epoch, &[DeviceVerb::Unbind]);
        let elsewhere = wire::Order {
            line: "elsewhere".to_owned(),
            ..order_for(NAME, "hub-1", hub, DeviceVerb::Unbind)
        };
        let elsewhere = DeviceTask {
            device: "hub-1".to_owned(),
            binding_epoch: hub,
            duty: DeviceDuty::Orders(vec![sign(&elsewhere)]),
            lost: false,
        };
        for (task, not) in [
            (unbound("hub-9", 1), NotUnbound::BindingNotFound),
            (unbound("hub-1", hub + 1), NotUnbound::EpochMismatch),
            (unbound("hub-1", hub), NotUnbound::HasChildren),
            (unbound("alarm-1", alarm), NotUnbound::DeviceLost),
            (
                told(
                    "lines/test/deviceUnbindings/u2",
                    "hub-1",
                    hub,
                    &[DeviceVerb::Unbind],
                ),
                NotUnbound::InvalidOrder,
            ),
            (unbound("lamp-1", lamp), NotUnbound::InvalidOrder),
            (elsewhere, NotUnbound::InvalidOrder),
        ] {
            assert_eq!(unbind(&bench, NAME, task).await, Err(not));
        }
        let task = told_hub(NAME, ("lamp-1", lamp), ("hub-1", hub));
        unbind(&bench, NAME, task).await.unwrap();
        assert_eq!(
            unbind(&bench, NAME, unbound("hub-1", hub)).await,
            Err(NotUnbound::RequestIdReused)
        );
        bench.line.seal(&command("1-seal-test")).await.unwrap();
        let other = "lines/test/deviceUnbindings/u3";
        let task = told(other, "hub-1", hub, &[DeviceVerb::Unbind]);
        assert_eq!(
            unbind(&bench, other, task).await,
            Err(NotUnbound::AccountSealed)
        );
        assert_eq!(bench.contact("hub-1", hub, &[]).await.len(), 1);
    }
}

#[tokio::test]
async fn a_device_that_refused_is_asked_once_more_by_the_same_request() {
    for bench in benches("unbind_refused", Via::Never, patient()).await {
        let epoch = bench.bind("phone-1", None).await;
        let task = || told(NAME, "phone-1", epoch, &[DeviceVerb::Unbind]);
        unbind(&bench, NAME, task()).await.unwrap();
        let owed = bench.contact("phone-1", epoch, &[]).await;
        bench.refuse(&owed[0], "STUBBORN").await.unwrap();
        assert_eq!(state(&bench, NAME).await, UnbindingState::Refused);
        assert!(bench.contact("phone-1", epoch, &[]).await.is_empty());
        let again = unbind(&bench, NAME, by_hand("phone-1", epoch)).await;
        assert_eq!(again.unwrap().state, UnbindingState::Waiting);
        let asked = bench.contact("phone-1", epoch, &[]).await;
        assert_eq!(asked[0].signed, owed[0].signed, "the very same order");
        bench.report(&asked[0], OrderState::Executed).await.unwrap();
        assert_eq!(state(&bench, NAME).await, UnbindingState::Executed);
    }
}

#[tokio::test]
async fn a_device_that_cannot_be_told_is_unsupported_at_once() {
    for bench in benches("unbind_by_hand", Via::Never, patient()).await {
        let epoch = bench.bind("phone-1", None).await;
        let unbound = unbind(&bench, NAME, by_hand("phone-1", epoch))
            .await
            .unwrap();
        assert_eq!(unbound.state, UnbindingState::Unsupported);
    }
}

#[tokio::test]
async fn an_absent_device_is_detached_and_forgotten_when_nobody_can_ask_any_more() {
    let day = Duration::from_secs(24 * 60 * 60);
    let terms = Terms {
        unbind_horizon: 3 * day,
        ..patient()
    };
    for bench in benches("absent", Via::Hub, terms).await {
        let epoch = bench.bind("hub-1", None).await;
        let task = told(NAME, "hub-1", epoch, &[DeviceVerb::Unbind]);
        unbind(&bench, NAME, task).await.unwrap();
        let look = async |after| {
            let then = SystemTime::now() + after;
            keeper::look(&bench.registry, &terms, then).await.unwrap();
        };
        let log_ins = async || {
            let (log_ins,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM credentials")
                .fetch_one(bench.registry.store().pool())
                .await
                .unwrap();
            log_ins
        };
        look(Duration::ZERO).await;
        assert_eq!(state(&bench, NAME).await, UnbindingState::Waiting);
        assert_eq!(log_ins().await, 1);
        look(3 * day).await;
        assert_eq!(state(&bench, NAME).await, UnbindingState::Detached);
        assert_eq!(
            bench.contact("hub-1", epoch, &[]).await.len(),
            1,
            "it is told when it returns"
        );
        assert_eq!(log_ins().await, 0, "no order is left that it could fetch");
        look(402 * day).await;
        assert_eq!(
            bench.line.device_unbinding(ACCOUNT, NAME).await.unwrap(),
            Err(NotUnbound::UnbindingNotFound)
        );
        assert!(
            bench.bind("hub-1", None).await > epoch,
            "an epoch is never reused"
        );
    }
}
