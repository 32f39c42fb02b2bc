use std::time::Duration;

use farewell_proto::device::v1::{self as wire, OrderState};
use farewell_runtime::cose::SigningKey;
use prost::Message as _;
use prost::bytes::Bytes;

use crate::devices::counters::Odd;
use crate::devices::participant::Terms;
use crate::devices::registry::Via;
use crate::devices::testing::{
    ERASE, benches, deferred, done, erase, erase_with, order_for, outcomes, patient, refused, sign,
    told, told_hub,
};
use crate::participant::{DeviceDuty, DeviceOutcome, DeviceTask, DeviceVerb, Order};

type Spoil = fn(&mut wire::Order);

fn task(device: &str, epoch: u64, orders: Vec<Bytes>) -> DeviceTask {
    DeviceTask {
        device: device.to_owned(),
        binding_epoch: epoch,
        duty: DeviceDuty::Orders(orders),
        lost: false,
    }
}

#[tokio::test]
async fn an_order_that_is_not_this_commands_for_this_device_is_refused_and_changes_nothing() {
    for bench in benches("invalid", Via::Never, patient()).await {
        let epoch = bench.bind("phone-1", None).await;
        let spoilt: [Spoil; 12] = [
            |order| order.name.clear(),
            |order| order.line = "wearables".to_owned(),
            |order| order.line.clear(),
            |order| order.device = "devices/phone-2".to_owned(),
            |order| order.binding_epoch += 1,
            |order| order.binding_epoch = 0,
            |order| order.verb = 0,
            |order| order.verb = 99,
            |order| order.not_before_time = None,
            |order| order.expire_time = Some(Default::default()),
            |order| order.command = "deletions/d2/commands/1-erase-test".to_owned(),
            // A transfer with nothing behind it.
            |order| {
                order.verb = wire::DeviceVerb::Transfer.into();
                order.new_epoch = order.binding_epoch + 1;
            },
        ];
        let sound = order_for(ERASE, "phone-1", epoch, DeviceVerb::Reset);
        let mut bad: Vec<Vec<Bytes>> = Vec::new();
        for spoil in spoilt {
            let mut order = sound.clone();
            spoil(&mut order);
            bad.push(vec![sign(&order)]);
        }
        bad.push(vec![Bytes::from_static(b"not signed")]);
        // Every one must be sound, also those that may never be needed.
        bad.push(vec![sign(&sound), Bytes::from_static(b"not signed")]);
        let proof = SigningKey::from_seed(&[1; 32]).unwrap();
        let other = proof.sign("farewell.device.v1.TimeProof", sound.encode_to_vec());
        bad.push(vec![other.into()]);
        for (place, orders) in bad.into_iter().enumerate() {
            let order = erase_with(vec![task("phone-1", epoch, orders)]);
            assert_eq!(refused(bench.act(&order).await), "INVALID_ORDER", "{place}");
        }
        assert!(bench.contact("phone-1", epoch, &[]).await.is_empty());
        bench.bind("phone-2", None).await;
    }
}

#[tokio::test]
async fn a_child_is_removed_by_its_own_hub_only() {
    for bench in benches("own_hub", Via::Hub, patient()).await {
        let hub = bench.bind("hub-1", None).await;
        let other = bench.bind("hub-2", None).await;
        let lamp = bench.bind("lamp-1", Some("hub-1")).await;
        for (child, hub) in [
            (("lamp-1", lamp), ("hub-2", other)),
            (("lamp-1", lamp), ("lamp-1", lamp)),
        ] {
            let order = erase_with(vec![told_hub(ERASE, child, hub)]);
            assert_eq!(refused(bench.act(&order).await), "INVALID_ORDER");
        }
        let order = erase_with(vec![told_hub(ERASE, ("lamp-1", lamp), ("hub-1", hub))]);
        deferred(bench.act(&order).await);
    }
}

#[tokio::test]
async fn the_first_bytes_stay_when_the_same_command_comes_signed_anew() {
    for bench in benches("keys", Via::Never, patient()).await {
        let epoch = bench.bind("phone-1", None).await;
        let first = erase(&[("phone-1", epoch)]);
        deferred(bench.act(&first).await);
        deferred(bench.act(&erase(&[("phone-1", epoch)])).await);
        let owed = bench.contact("phone-1", epoch, &[]).await;
        assert_eq!(
            first.devices[0].duty,
            DeviceDuty::Orders(vec![owed[0].signed.clone()])
        );
    }
}

#[tokio::test]
async fn an_orders_name_stands_for_one_order() {
    for bench in benches("names", Via::Never, patient()).await {
        let (one, two) = (
            bench.bind("phone-1", None).await,
            bench.bind("phone-2", None).await,
        );
        let first = order_for(ERASE, "phone-1", one, DeviceVerb::Reset);
        let second = wire::Order {
            name: first.name.clone(),
            ..order_for(ERASE, "phone-2", two, DeviceVerb::Reset)
        };
        let order = erase_with(vec![
            task("phone-1", one, vec![sign(&first)]),
            task("phone-2", two, vec![sign(&second)]),
        ]);
        assert_eq!(refused(bench.act(&order).await), "INVALID_ORDER");
    }
}

#[tokio::test]
async fn what_a_device_could_not_read_is_counted_and_still_owed() {
    for bench in benches("misread", Via::Never, patient()).await {
        let epoch = bench.bind("phone-1", None).await;
        let order = erase(&[("phone-1", epoch)]);
        deferred(bench.act(&order).await);
        let owed = bench.contact("phone-1", epoch, &[]).await;
        for reason in [
            "BAD_SIGNATURE",
            "NOT_THIS_LINE",
            "NOT_THIS_DEVICE",
            "ORDER_CHANGED",
            "UNREADABLE",
            "UNKNOWN_KEY",
        ] {
            bench.refuse(&owed[0], reason).await.unwrap();
            let counters = bench.delivery.counters();
            assert_eq!(counters.of(Odd::Misread, reason), 1);
            assert_eq!(bench.contact("phone-1", epoch, &[]).await, owed);
        }
        deferred(bench.act(&order).await);
        bench.refuse(&owed[0], "STUBBORN").await.unwrap();
        assert_eq!(refused(bench.act(&order).await), "DEVICE_REFUSED");
    }
}

#[tokio::test]
async fn a_device_that_waits_for_a_safe_moment_is_waited_for_and_says_so() {
    for bench in benches("safe", Via::Never, patient()).await {
        let epoch = bench.bind("lock-1", None).await;
        let order = erase(&[("lock-1", epoch)]);
        deferred(bench.act(&order).await);
        let owed = bench.contact("lock-1", epoch, &[]).await;
        bench.refuse(&owed[0], "TIME_UNKNOWN").await.unwrap();
        let waiting = deferred(bench.act(&order).await);
        assert_eq!(waiting.reason, "WAITING_FOR_DEVICES");
        bench
            .report(&owed[0], OrderState::DeferredSafe)
            .await
            .unwrap();
        let waiting = deferred(bench.act(&order).await);
        assert_eq!(waiting.reason, "WAITING_FOR_SAFE_MOMENT");
        let again = bench.contact("lock-1", epoch, &[]).await;
        assert_eq!(again[0].state.as_str(), "DEFERRED_SAFE", "it is still owed");
        bench.report(&again[0], OrderState::Executed).await.unwrap();
        bench.contact("lock-1", 0, &[]).await;
        done(bench.act(&order).await);
    }
}

#[tokio::test]
async fn a_device_that_only_unbound_itself_is_not_said_to_be_wiped() {
    let terms = Terms {
        horizon: Duration::from_secs(3600),
        ..patient()
    };
    for bench in benches("unbound", Via::Never, terms).await {
        let epoch = bench.bind("phone-1", None).await;
        let first = erase_with(vec![told(ERASE, "phone-1", epoch, &[DeviceVerb::Unbind])]);
        deferred(bench.act(&first).await);
        let owed = bench.contact("phone-1", epoch, &[]).await;
        bench.contact("phone-1", 0, &[&owed[0]]).await;
        done(bench.act(&first).await);
        for (name, verb, outcome) in [
            ("2-erase-test", DeviceVerb::Unbind, DeviceOutcome::Confirmed),
            ("3-erase-test", DeviceVerb::Reset, DeviceOutcome::Detached),
        ] {
            let command = format!("deletions/d1/commands/{name}");
            let order = Order {
                devices: vec![told(&command, "phone-1", epoch, &[verb])],
                command,
                ..first.clone()
            };
            let answer = done(bench.act(&order).await);
            assert_eq!(outcomes(&answer), [("phone-1".to_owned(), outcome)]);
        }
    }
}

#[tokio::test]
async fn a_child_whose_hub_is_gone_is_detached() {
    for bench in benches("hubless", Via::Hub, patient()).await {
        let hub = bench.bind("hub-1", None).await;
        let lamp = bench.bind("lamp-1", Some("hub-1")).await;
        // Bound anew: what is signed for the old binding reaches it no more.
        bench.bind("hub-1", None).await;
        let order = erase_with(vec![told_hub(ERASE, ("lamp-1", lamp), ("hub-1", hub))]);
        assert_eq!(
            outcomes(&done(bench.act(&order).await)),
            [("lamp-1".to_owned(), DeviceOutcome::Detached)]
        );
    }
}

#[tokio::test]
async fn nobody_waits_for_a_child_to_hear_what_only_its_hub_can() {
    for bench in benches("deaf", Via::Hub, patient()).await {
        bench.bind("hub-1", None).await;
        let lamp = bench.bind("lamp-1", Some("hub-1")).await;
        assert_eq!(
            outcomes(&done(bench.act(&erase(&[("lamp-1", lamp)])).await)),
            [("lamp-1".to_owned(), DeviceOutcome::Detached)]
        );
    }
}

#[tokio::test]
async fn a_hubs_tombstone_is_sent_behind_those_of_its_children() {
    let terms = Terms {
        horizon: Duration::ZERO,
        ..patient()
    };
    for bench in benches("tombstones", Via::Hub, terms).await {
        let hub = bench.bind("hub-1", None).await;
        let lamp = bench.bind("lamp-1", Some("hub-1")).await;
        let order = erase_with(vec![
            told(ERASE, "hub-1", hub, &[DeviceVerb::Reset]),
            told_hub(ERASE, ("lamp-1", lamp), ("hub-1", hub)),
        ]);
        done(bench.act(&order).await);
        let parcel = bench.delivery.owed("hub-1", None).await.unwrap();
        let verbs: Vec<_> = parcel.orders.iter().map(|order| order.verb).collect();
        assert_eq!(verbs, [DeviceVerb::RemoveChild, DeviceVerb::Reset]);
    }
}

#[tokio::test]
async fn what_was_refused_ends_with_the_next_binding() {
    for bench in benches("refused_sold", Via::Never, patient()).await {
        let epoch = bench.bind("phone-1", None).await;
        let order = erase(&[("phone-1", epoch)]);
        deferred(bench.act(&order).await);
        let owed = bench.contact("phone-1", epoch, &[]).await;
        bench.refuse(&owed[0], "STUBBORN").await.unwrap();
        bench.try_bind("account-2", "phone-1", None).await.unwrap();
        assert_eq!(
            outcomes(&done(bench.act(&order).await)),
            [("phone-1".to_owned(), DeviceOutcome::Superseded)]
        );
    }
}

#[tokio::test]
async fn whoever_was_given_something_a_moment_ago_is_left_alone() {
    for bench in benches("reminded", Via::Hub, patient()).await {
        let hub = bench.bind("hub-1", None).await;
        let lamp = bench.bind("lamp-1", Some("hub-1")).await;
        let order = erase_with(vec![
            told(ERASE, "hub-1", hub, &[DeviceVerb::Reset]),
            told_hub(ERASE, ("lamp-1", lamp), ("hub-1", hub)),
        ]);
        deferred(bench.act(&order).await);
        let parcel = bench.delivery.owed("hub-1", None).await.unwrap();
        assert_eq!(parcel.orders.len(), 1, "its own order waits for the lamp's");
        bench.delivery.sent(&parcel).await;
        let while_ago = Duration::from_secs(60);
        assert_eq!(bench.delivery.remind(while_ago).await.unwrap(), 0);
        assert_eq!(bench.delivery.remind(Duration::ZERO).await.unwrap(), 1);
    }
}
