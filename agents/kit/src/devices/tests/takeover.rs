use farewell_proto::device::v1 as wire;
use farewell_proto::device::v1::OrderState;

use crate::devices::registry::Via;
use crate::devices::share::Role;
use crate::devices::testing::{
    ACCOUNT, Bench, ERASE, benches, command, deferred, done, erase_with, locks, order_for,
    outcomes, patient, sign, target, told, told_hub,
};
use crate::participant::{
    DeviceDuty, DeviceOutcome, DeviceTask, DeviceVerb, LockOutcome, Order, Outcome,
    Participant as _,
};

const HEIR: &str = "account-2";
const WANTED: [DeviceVerb; 2] = [DeviceVerb::Transfer, DeviceVerb::Reset];

async fn owner(bench: &Bench, account: &str) -> Vec<(String, u64)> {
    let bound = bench.registry.list(account, "", 10).await.unwrap();
    let bound = bound.into_iter().map(|shown| shown.binding);
    bound.map(|b| (b.device, b.epoch)).collect()
}

#[tokio::test]
async fn the_heir_has_the_device_at_once_and_the_device_hears_of_it_later() {
    for bench in benches("heir", Via::Hub, patient()).await {
        let epoch = bench.bind_locked(ACCOUNT, "hub-1").await.unwrap();
        bench.share("hub-1", epoch, HEIR, Role::Admin).await;
        bench.share("hub-1", epoch, "account-3", Role::Member).await;
        let order = erase_with(vec![told(ERASE, "hub-1", epoch, &WANTED)]);
        let answer = done(bench.act(&order).await);
        assert_eq!(
            outcomes(&answer),
            [("hub-1".to_owned(), DeviceOutcome::Transferred)]
        );
        let lock = Some(LockOutcome::PassedOn);
        assert_eq!(locks(&answer), [lock], "it is on for the heir now");
        assert_eq!(owner(&bench, HEIR).await, [("hub-1".to_owned(), epoch + 1)]);
        let shown = bench.registry.list(HEIR, "", 1).await.unwrap().remove(0);
        assert_eq!(
            shown.shares.len(),
            1,
            "the household goes on living with it"
        );
        assert!(shown.locked);

        let owed = bench.contact("hub-1", epoch, &[]).await;
        assert_eq!((owed[0].verb, owed[0].epoch), (DeviceVerb::Transfer, epoch));
        bench
            .report_as(&owed[0], "hub-1", epoch + 1, OrderState::Executed)
            .await
            .unwrap();
        assert!(bench.contact("hub-1", epoch + 1, &[]).await.is_empty());
        let probe = bench.line.probe(&command("1-probe-test")).await.unwrap();
        assert_eq!(done(probe).outcome, Outcome::Clean);
    }
}

#[tokio::test]
async fn the_epoch_that_was_signed_for_the_heir_may_lie_ahead() {
    for bench in benches("far_epoch", Via::Hub, patient()).await {
        let epoch = bench.bind("hub-1", None).await;
        bench.share("hub-1", epoch, HEIR, Role::Admin).await;
        let transfer = wire::Order {
            new_epoch: epoch + 1_000_000,
            ..order_for(ERASE, "hub-1", epoch, DeviceVerb::Transfer)
        };
        let reset = order_for(ERASE, "hub-1", epoch, DeviceVerb::Reset);
        let order = erase_with(vec![DeviceTask {
            device: "hub-1".to_owned(),
            binding_epoch: epoch,
            duty: DeviceDuty::Orders(vec![sign(&transfer), sign(&reset)]),
            lost: false,
        }]);
        done(bench.act(&order).await);
        let heirs = ("hub-1".to_owned(), transfer.new_epoch);
        assert_eq!(owner(&bench, HEIR).await, [heirs]);
        let owed = bench.contact("hub-1", epoch, &[]).await;
        bench
            .contact("hub-1", transfer.new_epoch, &[&owed[0]])
            .await;
        let next = bench.try_bind(HEIR, "hub-1", None).await.unwrap();
        assert_eq!(next.shown.binding.epoch, transfer.new_epoch + 1);
    }
}

#[tokio::test]
async fn nobody_is_given_what_a_sealed_or_erased_or_merely_sharing_account_would_get() {
    for bench in benches("no_heir", Via::Hub, patient()).await {
        let mut tasks = Vec::new();
        for (hub, account, role) in [
            ("hub-1", "sealed", Role::Admin),
            ("hub-2", "erased", Role::Admin),
            ("hub-3", "member", Role::Member),
        ] {
            let epoch = bench.bind(hub, None).await;
            bench.share(hub, epoch, account, role).await;
            tasks.push(told(ERASE, hub, epoch, &WANTED));
        }
        let of = |account: &str, name: &str| Order {
            account: account.to_owned(),
            ..command(name)
        };
        bench.line.seal(&of("sealed", "1-seal-x")).await.unwrap();
        let gone = done(bench.act(&of("erased", "1-erase-x")).await);
        assert_eq!((gone.outcome, gone.counts["shares"]), (Outcome::Erased, 1));
        deferred(bench.act(&erase_with(tasks)).await);
        for hub in ["hub-1", "hub-2", "hub-3"] {
            let owed = bench.delivery.owed(hub, None).await.unwrap();
            assert_eq!(owed.orders[0].verb, DeviceVerb::Reset, "{hub}");
        }
    }
}

#[tokio::test]
async fn a_hub_that_was_passed_on_still_removes_the_children_that_go() {
    for bench in benches("passed_hub", Via::Hub, patient()).await {
        let hub = bench.bind("hub-1", None).await;
        let lamp = bench.bind("lamp-1", Some("hub-1")).await;
        let shared = bench.bind("lamp-2", Some("hub-1")).await;
        bench.share("hub-1", hub, HEIR, Role::Admin).await;
        bench.share("lamp-2", shared, HEIR, Role::Admin).await;
        let order = erase_with(vec![
            told_hub(ERASE, ("lamp-1", lamp), ("hub-1", hub)),
            told(ERASE, "lamp-2", shared, &WANTED),
            told(ERASE, "hub-1", hub, &WANTED),
        ]);
        deferred(bench.act(&order).await);
        let owed = bench.contact("hub-1", hub, &[]).await;
        assert_eq!((owed.len(), owed[0].verb), (1, DeviceVerb::RemoveChild));
        bench.report(&owed[0], OrderState::Executed).await.unwrap();
        let then = bench.contact("hub-1", hub, &[]).await;
        assert_eq!((then.len(), then[0].verb), (1, DeviceVerb::Transfer));
        bench.contact("hub-1", hub + 1, &[&then[0]]).await;
        assert_eq!(
            outcomes(&done(bench.act(&order).await)),
            [
                ("hub-1".to_owned(), DeviceOutcome::Transferred),
                ("lamp-1".to_owned(), DeviceOutcome::Executed),
                ("lamp-2".to_owned(), DeviceOutcome::Transferred),
            ]
        );
        assert_eq!(owner(&bench, HEIR).await.len(), 2);
    }
}

#[tokio::test]
async fn what_the_heir_orders_waits_until_the_device_is_the_heirs() {
    for bench in benches("heirs_heir", Via::Hub, patient()).await {
        let epoch = bench.bind("hub-1", None).await;
        bench.share("hub-1", epoch, HEIR, Role::Admin).await;
        done(
            bench
                .act(&erase_with(vec![told(ERASE, "hub-1", epoch, &WANTED)]))
                .await,
        );
        let name = "deletions/d2/commands/1-erase-test".to_owned();
        let second = Order {
            account: HEIR.to_owned(),
            devices: vec![told(&name, "hub-1", epoch + 1, &[DeviceVerb::Reset])],
            command: name,
            ..command("")
        };
        deferred(bench.act(&second).await);
        let first = bench.contact("hub-1", epoch, &[]).await;
        assert_eq!((first.len(), first[0].verb), (1, DeviceVerb::Transfer));
        let then = bench.contact("hub-1", epoch + 1, &[&first[0]]).await;
        assert_eq!((then.len(), then[0].verb), (1, DeviceVerb::Reset));
    }
}

#[tokio::test]
async fn a_transfer_that_was_signed_for_another_epoch_gives_nobody_anything() {
    for bench in benches("odd_epoch", Via::Hub, patient()).await {
        let epoch = bench.bind("hub-1", None).await;
        bench.share("hub-1", epoch, HEIR, Role::Admin).await;
        // The roster is older than the binding: the transfer is somebody else's business by now.
        bench
            .registry
            .transfer(&target("hub-1", epoch), HEIR)
            .await
            .unwrap();
        let order = erase_with(vec![told(ERASE, "hub-1", epoch, &WANTED)]);
        assert_eq!(
            outcomes(&done(bench.act(&order).await)),
            [("hub-1".to_owned(), DeviceOutcome::Superseded)]
        );
        assert!(bench.contact("hub-1", epoch, &[]).await.is_empty());
    }
}
