//! Devices that were reset by hand hear that they are bound, and no device hears it of a binding that has ended.

use farewell_proto::device::v1 as wire;
use farewell_proto::device::v1::OrderState;
use farewell_runtime::shutdown::Shutdown;
use prost::Message as _;
use tokio::sync::mpsc;

use super::brokers::{PATIENCE, endpoint};
use super::hub::sync as contact;
use super::line::Line;
use crate::devices::broker::Config;
use crate::devices::delivery::Trouble;
use crate::devices::live::LiveBinding;
use crate::devices::mqtt::topic::{self, Channel};
use crate::devices::mqtt::{Incoming, Options, Protocol, connect};
use crate::devices::order::Order as DeviceOrder;
use crate::devices::registry::Via;
use crate::devices::said::Said;
use crate::devices::share::Role;
use crate::devices::testing::{
    ACCOUNT, Bench, ERASE, benches, by_hand, command, deferred, done, erase, erase_with, order_for,
    patient, plain, sign, signed, sync, told,
};
use crate::participant::{
    DeviceDuty, DeviceTask, DeviceVerb, Participant as _, UnbindDevice, UnbindingState,
};

const OTHER: &str = "account-2";
const NAME: &str = "lines/test/deviceUnbindings/u1";

fn live(epoch: u64, activation_lock: bool) -> Option<LiveBinding> {
    Some(LiveBinding {
        epoch,
        activation_lock,
    })
}

/// What a device hears of its binding when it names this one.
async fn hears(bench: &Bench, device: &str, named: u64) -> Option<LiveBinding> {
    let said = Said::sync(plain(sync(device, named, &[]))).unwrap();
    bench.delivery.contact(said, None).await.unwrap().binding
}

async fn obeys(bench: &Bench, order: &DeviceOrder) {
    bench.report(order, OrderState::Executed).await.unwrap();
    bench.contact(&order.device, 0, &[order]).await;
}

#[tokio::test]
async fn a_device_without_its_binding_is_told_it_at_each_contact_until_it_names_it() {
    for bench in benches("live", Via::Never, patient()).await {
        let locked = bench.bind_locked(ACCOUNT, "phone-1").await.unwrap();
        let plain = bench.bind("phone-2", None).await;
        for _ in 0..2 {
            assert_eq!(hears(&bench, "phone-1", 0).await, live(locked, true));
            assert_eq!(hears(&bench, "phone-2", 0).await, live(plain, false));
        }
        // An earlier one is put right; a later one was made where this registry was not restored yet.
        assert_eq!(
            hears(&bench, "phone-1", locked - 9).await,
            live(locked, true)
        );
        assert_eq!(hears(&bench, "phone-1", locked + 9).await, None);
        assert_eq!(hears(&bench, "phone-1", locked).await, None);
        assert_eq!(hears(&bench, "phone-9", 0).await, None, "nobody has it");

        // Sealed is not gone, and a restart forgets nothing.
        done(bench.line.seal(&command("1-seal-test")).await.unwrap());
        let bench = bench.restart(Via::Never, patient()).await;
        assert_eq!(hears(&bench, "phone-1", 0).await, live(locked, true));

        // It has taken it on: its order reaches it.
        let order = erase(&[("phone-1", locked), ("phone-2", plain)]);
        deferred(bench.act(&order).await);
        let owed = bench.contact("phone-1", locked, &[]).await;
        obeys(&bench, &owed[0]).await;
        assert_eq!(hears(&bench, "phone-1", 0).await, None);
    }
}

#[tokio::test]
async fn nothing_is_told_of_a_binding_that_is_ending_or_has_gone() {
    for bench in benches("not_live", Via::Never, patient()).await {
        let epoch = bench.bind_locked(ACCOUNT, "phone-1").await.unwrap();
        let manual = bench.bind_locked(ACCOUNT, "phone-2").await.unwrap();
        let single = bench.bind_locked(ACCOUNT, "phone-3").await.unwrap();
        let request = UnbindDevice {
            name: NAME.to_owned(),
            account: ACCOUNT.to_owned(),
            device: told(NAME, "phone-3", single, &[DeviceVerb::Unbind]),
        };
        let begun = bench.line.unbind_device(&request).await.unwrap().unwrap();
        assert_eq!(begun.state, UnbindingState::Waiting);
        assert_eq!(hears(&bench, "phone-3", 0).await, None, "let go of at once");

        let order = erase_with(vec![
            told(ERASE, "phone-1", epoch, &[DeviceVerb::Reset]),
            by_hand("phone-2", manual),
        ]);
        deferred(bench.act(&order).await);
        assert_eq!(hears(&bench, "phone-1", 0).await, None, "ending");
        let owed = bench.contact("phone-1", epoch, &[]).await;
        obeys(&bench, &owed[0]).await;
        done(bench.act(&order).await);
        for device in ["phone-1", "phone-2"] {
            assert_eq!(hears(&bench, device, 0).await, None, "{device} is free");
        }

        // Its next owner's is its own, and nothing of the one before.
        let next = bench.bind_locked(OTHER, "phone-1").await.unwrap();
        assert!(next > epoch);
        for named in [0, epoch] {
            assert_eq!(hears(&bench, "phone-1", named).await, live(next, true));
        }
    }
}

#[tokio::test]
async fn who_is_to_be_told_of_a_transfer_is_told_by_its_order_unless_it_has_forgotten_both() {
    for bench in benches("passed_on", Via::Hub, patient()).await {
        let before = bench.bind("hub-1", None).await;
        bench.share("hub-1", before, OTHER, Role::Admin).await;
        let verbs = [DeviceVerb::Transfer, DeviceVerb::Reset];
        let orders = verbs.map(|verb| sign(&order_for(ERASE, "hub-1", before, verb)));
        let task = DeviceTask {
            device: "hub-1".to_owned(),
            binding_epoch: before,
            duty: DeviceDuty::Orders(orders.to_vec()),
            lost: false,
        };
        done(bench.act(&erase_with(vec![task])).await);
        assert_eq!(hears(&bench, "hub-1", before).await, None);
        assert_eq!(
            hears(&bench, "hub-1", 0).await,
            live(before + 1, false),
            "it has forgotten the binding that its order names"
        );
        assert_eq!(hears(&bench, "hub-1", before + 1).await, None);
    }
}

#[tokio::test]
async fn a_wearable_hears_it_through_its_companion_and_no_other_phone() {
    for bench in benches("live_watch", Via::Companion, patient()).await {
        let epoch = bench.bind("watch-1", Some("phone-1")).await;
        let said = |sequence| {
            let own = sync("watch-1", 0, &[]);
            Said::sync(signed("watch-1", own, sequence)).unwrap()
        };
        let parcel = bench.delivery.contact(said(1), Some("phone-1")).await;
        let told = parcel.unwrap().to_wire().binding.unwrap();
        assert_eq!(
            (told.device.as_str(), told.epoch),
            ("devices/watch-1", epoch)
        );
        let foreign = bench.delivery.contact(said(2), Some("phone-2")).await;
        assert!(matches!(foreign, Err(Trouble::Word("NOT_THE_COMPANION"))));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_hears_it_over_mqtt_each_time_that_it_says_sync() {
    let broker = Config::Embedded {
        listen: ([127, 0, 0, 1], 0).into(),
    };
    let line = Line::start("live-mqtt", broker).await;
    line.standing(1).await;
    let (epoch, secret) = line.bind("hub-1").await;
    let port = line.handle().broker_addr.unwrap().port();
    let shutdown = Shutdown::new();
    let options = Options {
        endpoint: endpoint(port, "hub-1", &secret, Protocol::Auto),
        filters: vec![topic::of("test", "hub-1", Channel::Cmd)],
        session_life: None,
        queue: 16,
    };
    let (client, mut incoming) = connect(options, &shutdown);
    assert!(matches!(next(&mut incoming).await, Incoming::Connected));
    let say = async |named| {
        let topic = topic::of("test", "hub-1", Channel::Sync);
        let said = contact("hub-1", named, Vec::new());
        client.publish(topic, said).await.unwrap();
    };
    for _ in 0..2 {
        say(0).await;
        let envelope = envelope(&mut incoming).await;
        let binding = wire::LiveBinding {
            device: "devices/hub-1".to_owned(),
            epoch,
            activation_lock: false,
        };
        assert_eq!(
            (envelope.orders.len(), envelope.binding),
            (0, Some(binding))
        );
    }
    // From here on it is one that knows its binding: what comes next is its order, and nothing else.
    say(epoch).await;
    line.owe("hub-1", epoch).await;
    say(epoch).await;
    let envelope = envelope(&mut incoming).await;
    assert_eq!((envelope.orders.len(), envelope.binding), (1, None));
    assert!(shutdown.drain(PATIENCE).await);
}

async fn next(incoming: &mut mpsc::Receiver<Incoming>) -> Incoming {
    let said = tokio::time::timeout(PATIENCE, incoming.recv()).await;
    said.unwrap().unwrap()
}

async fn envelope(incoming: &mut mpsc::Receiver<Incoming>) -> wire::OrderEnvelope {
    match next(incoming).await {
        Incoming::Message { payload, .. } => wire::OrderEnvelope::decode(payload).unwrap(),
        other => panic!("{other:?}"),
    }
}
