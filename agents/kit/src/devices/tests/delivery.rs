use std::time::Duration;

use farewell_proto::device::v1::OrderState;

use crate::devices::bells::Ring;
use crate::devices::counters::Odd;
use crate::devices::registry::Via;
use crate::devices::testing::{
    Bench, ERASE, benches, deferred, done, erase, erase_with, outcomes, patient, told, told_hub,
    word,
};
use crate::participant::{DeviceOutcome, DeviceVerb};

/// Carries the owed orders of a device out, and is seen again without the binding.
async fn obey(bench: &Bench, device: &str, epoch: u64) {
    let orders = bench.contact(device, epoch, &[]).await;
    assert_eq!(orders.len(), 1, "{device}");
    bench
        .report(&orders[0], OrderState::Executed)
        .await
        .unwrap();
    bench.contact(device, 0, &[&orders[0]]).await;
}

#[tokio::test]
async fn reports_that_come_twice_late_or_in_another_order_change_nothing() {
    for bench in benches("reordered", Via::Never, patient()).await {
        let epoch = bench.bind("phone-1", None).await;
        let order = erase(&[("phone-1", epoch)]);
        deferred(bench.act(&order).await);
        let owed = bench.contact("phone-1", epoch, &[]).await;
        for state in [
            OrderState::Executing,
            OrderState::Executed,
            OrderState::Received,
            OrderState::Executed,
            OrderState::Refused,
            OrderState::Executing,
        ] {
            bench.report(&owed[0], state).await.unwrap();
        }
        assert!(
            bench.contact("phone-1", epoch, &[]).await.is_empty(),
            "an executed order is not sent again"
        );
        bench.contact("phone-1", 0, &[&owed[0]]).await;
        bench.report(&owed[0], OrderState::Received).await.unwrap();
        assert_eq!(
            outcomes(&done(bench.act(&order).await)),
            [("phone-1".to_owned(), DeviceOutcome::Confirmed)]
        );
    }
}

#[tokio::test]
async fn an_order_for_an_older_binding_is_superseded_and_never_delivered() {
    for bench in benches("sold", Via::Never, patient()).await {
        let epoch = bench.bind("phone-1", None).await;
        let order = erase(&[("phone-1", epoch)]);
        deferred(bench.act(&order).await);
        // Sold on while the deletion waits: the old binding is ending, so the new owner gets the device.
        let bound = bench.try_bind("account-2", "phone-1", None).await.unwrap();
        assert!(
            bound.settled.contains(&order.command),
            "the erasure no longer waits for it"
        );
        assert!(
            bench
                .contact("phone-1", bound.shown.binding.epoch, &[])
                .await
                .is_empty()
        );
        assert!(bench.contact("phone-1", epoch, &[]).await.is_empty());

        let answer = done(bench.act(&order).await);
        assert_eq!(
            outcomes(&answer),
            [("phone-1".to_owned(), DeviceOutcome::Superseded)]
        );
        assert_eq!(answer.counts["bindings"], 0);
        assert_eq!(
            bench
                .registry
                .list("account-2", "", 10)
                .await
                .unwrap()
                .len(),
            1,
            "the new owner keeps it"
        );
    }
}

#[tokio::test]
async fn a_roster_older_than_the_binding_never_touches_the_device() {
    for bench in benches("stale", Via::Never, patient()).await {
        let old = bench.bind("phone-1", None).await;
        let new = bench.bind("phone-1", None).await;
        let answer = done(bench.act(&erase(&[("phone-1", old)])).await);
        assert_eq!(
            outcomes(&answer),
            [("phone-1".to_owned(), DeviceOutcome::Superseded)]
        );
        assert!(bench.contact("phone-1", new, &[]).await.is_empty());
    }
}

#[tokio::test]
async fn children_are_removed_before_the_hub_is_told_to_reset() {
    for bench in benches("hub", Via::Hub, patient()).await {
        let hub = bench.bind("hub-1", None).await;
        let mut tasks = vec![told(ERASE, "hub-1", hub, &[DeviceVerb::Reset])];
        for child in ["lamp-1", "lamp-2"] {
            let epoch = bench.bind(child, Some("hub-1")).await;
            tasks.push(told_hub(ERASE, (child, epoch), ("hub-1", hub)));
        }
        let order = erase_with(tasks);
        deferred(bench.act(&order).await);

        let owed = bench.contact("hub-1", hub, &[]).await;
        assert!(
            owed.iter()
                .all(|order| order.verb == DeviceVerb::RemoveChild)
                && owed.len() == 2
        );
        bench.report(&owed[0], OrderState::Executed).await.unwrap();
        let owed_then = bench.contact("hub-1", hub, &[]).await;
        assert_eq!(owed_then, [owed[1].clone()], "one child is still there");
        // The other answer is lost; the hub says it at its next contact.
        let owed_last = bench.contact("hub-1", hub, &[&owed[0], &owed[1]]).await;
        assert_eq!(owed_last.len(), 1);
        assert_eq!(owed_last[0].verb, DeviceVerb::Reset);
        bench
            .report(&owed_last[0], OrderState::Executed)
            .await
            .unwrap();
        bench.contact("hub-1", 0, &[&owed_last[0]]).await;

        assert!(bench.is_woken(&order));
        let answer = done(bench.act(&order).await);
        assert_eq!(answer.counts["devices"], 3);
        assert_eq!(answer.counts["bindings"], 3);
        assert_eq!(answer.counts["credentials"], 1, "children have no log-in");
    }
}

#[tokio::test]
async fn a_device_that_comes_back_gets_its_order_even_after_a_restart_of_the_agent() {
    for bench in benches("back", Via::Never, patient()).await {
        let epoch = bench.bind("phone-1", None).await;
        let order = erase(&[("phone-1", epoch)]);
        deferred(bench.act(&order).await);
        // Sent, and lost on the way.
        assert_eq!(bench.contact("phone-1", epoch, &[]).await.len(), 1);

        let bench = bench.restart(Via::Never, patient()).await;
        obey(&bench, "phone-1", epoch).await;
        assert_eq!(
            outcomes(&done(bench.act(&order).await)),
            [("phone-1".to_owned(), DeviceOutcome::Confirmed)]
        );
    }
}

#[tokio::test]
async fn a_report_counts_only_from_the_device_that_was_meant_and_for_the_binding_that_was_meant() {
    for bench in benches("foreign", Via::Never, patient()).await {
        let epoch = bench.bind("phone-1", None).await;
        let other = bench.bind("phone-2", None).await;
        deferred(bench.act(&erase(&[("phone-1", epoch)])).await);
        let owed = bench.contact("phone-1", epoch, &[]).await;
        let foreign = bench
            .report_as(&owed[0], "phone-2", epoch, OrderState::Executed)
            .await;
        assert_eq!(word(foreign), "NOT_YOUR_ORDER");
        let counters = bench.delivery.counters();
        assert_eq!(counters.of(Odd::Refused, "NOT_YOUR_ORDER"), 1);
        let other_epoch = bench
            .report_as(&owed[0], "phone-1", epoch + 1, OrderState::Executed)
            .await;
        assert_eq!(word(other_epoch), "EPOCH_MISMATCH");
        let unfounded = bench
            .report_as(&owed[0], "phone-1", epoch + 1, OrderState::Superseded)
            .await;
        assert_eq!(word(unfounded), "EPOCH_UNKNOWN");
        let unknown = bench
            .report_as(&owed[0], "phone-1", epoch, OrderState::Unspecified)
            .await;
        assert_eq!(word(unknown), "STATE_MISSING");
        assert!(
            bench
                .contact("phone-2", other, &[&owed[0]])
                .await
                .is_empty()
        );
        assert_eq!(counters.of(Odd::Refused, "NOT_YOUR_ORDER"), 2);
        assert!(bench.contact("phone-9", 1, &[&owed[0]]).await.is_empty());
        assert_eq!(counters.of(Odd::Stranger, "UNKNOWN_DEVICE"), 1);
        assert_eq!(
            bench.contact("phone-1", epoch, &[]).await.len(),
            1,
            "the order is still owed"
        );
    }
}

#[tokio::test]
async fn a_device_without_any_binding_is_unbound_and_nobody_says_that_it_was_wiped() {
    for (verb, end) in [
        (DeviceVerb::Unbind, DeviceOutcome::Confirmed),
        (DeviceVerb::Reset, DeviceOutcome::Detached),
    ] {
        let bench = benches("unbound_before", Via::Never, patient())
            .await
            .remove(0);
        let epoch = bench.bind("phone-1", None).await;
        let order = erase_with(vec![told(ERASE, "phone-1", epoch, &[verb])]);
        deferred(bench.act(&order).await);
        // Its owner was faster: it knows neither the binding nor the order.
        let owed = bench.contact("phone-1", 0, &[]).await;
        bench
            .report_as(&owed[0], "phone-1", 0, OrderState::Superseded)
            .await
            .unwrap();
        assert_eq!(
            outcomes(&done(bench.act(&order).await)),
            [("phone-1".to_owned(), end)]
        );
    }
}

#[tokio::test]
async fn an_open_order_that_no_transport_took_is_rung_for_again() {
    for bench in benches("forgotten", Via::Hub, patient()).await {
        let mut rings = bench.bells.of_line(false);
        let epoch = bench.bind("hub-1", None).await;
        deferred(bench.act(&erase(&[("hub-1", epoch)])).await);
        assert_eq!(
            rings.recv().await,
            Some(Ring::Owed("hub-1".to_owned())),
            "rung when it was queued"
        );
        let owed = bench.delivery.owed("hub-1", None).await.unwrap();
        bench.delivery.sent(&owed).await;
        assert_eq!(
            bench
                .delivery
                .remind(Duration::from_secs(60))
                .await
                .unwrap(),
            0
        );
        assert_eq!(bench.delivery.remind(Duration::ZERO).await.unwrap(), 1);
        assert_eq!(rings.recv().await, Some(Ring::Owed("hub-1".to_owned())));
    }
}
