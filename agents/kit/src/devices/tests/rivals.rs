//! Two agents on one PostgreSQL. (SQLite is one agent's.)

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use farewell_proto::device::v1::OrderState;
use futures_util::future::join_all;

use crate::devices::bells::Ring;
use crate::devices::delivery::Settled;
use crate::devices::lookout;
use crate::devices::order::Event;
use crate::devices::refusal::Refusal;
use crate::devices::registry::Via;
use crate::devices::sheet::{Sheet, Topics};
use crate::devices::testing::{
    ACCOUNT, Bench, ERASE, deferred, erase_with, patient, told, told_hub,
};
use crate::participant::{DeviceVerb, NotUnbound, Participant as _, UnbindDevice};
use crate::scratch;

const ROUNDS: usize = 20;

async fn rivals() -> Option<[Arc<Bench>; 2]> {
    let url = scratch::postgres()?;
    let namespace = scratch::namespace("devices");
    let open = || Bench::open(url.clone(), namespace.clone(), Via::Hub, patient());
    Some([Arc::new(open().await), Arc::new(open().await)])
}

#[tokio::test]
async fn a_child_is_never_bound_behind_a_hub_that_is_being_unbound() {
    let Some([one, two]) = rivals().await else {
        return;
    };
    for round in 0..ROUNDS {
        let (hub, lamp) = (format!("hub-{round}"), format!("a-{round}"));
        let epoch = one.bind(&hub, None).await;
        let name = format!("lines/test/deviceUnbindings/{round}");
        let unbind = UnbindDevice {
            account: ACCOUNT.to_owned(),
            device: told(&name, &hub, epoch, &[DeviceVerb::Unbind]),
            name,
        };
        let (bound, unbound) = tokio::join!(
            two.try_bind(ACCOUNT, &lamp, Some(&hub)),
            one.line.unbind_device(&unbind)
        );
        match (bound, unbound.unwrap()) {
            (Ok(_), Err(NotUnbound::HasChildren)) | (Err(Refusal::InvalidField { .. }), Ok(_)) => {}
            (bound, unbound) => panic!("{:?} and {unbound:?}", bound.map(|b| b.shown)),
        }
    }
}

#[tokio::test]
async fn two_lanes_that_hear_of_the_same_devices_never_wait_for_each_other() {
    let Some([one, two]) = rivals().await else {
        return;
    };
    let mut tasks = Vec::new();
    let mut hubs = Vec::new();
    for place in 0..ROUNDS {
        let (hub, lamp) = (format!("hub-{place}"), format!("lamp-{place}"));
        let epoch = one.bind(&hub, None).await;
        let child = one.bind(&lamp, Some(&hub)).await;
        tasks.push(told(ERASE, &hub, epoch, &[DeviceVerb::Reset]));
        tasks.push(told_hub(ERASE, (&lamp, child), (&hub, epoch)));
        hubs.push((hub, epoch));
    }
    deferred(one.act(&erase_with(tasks)).await);
    let serve = |bench: Arc<Bench>, (hub, epoch): (String, u64)| async move {
        let parcel = bench.delivery.owed(&hub, None).await.unwrap();
        bench.delivery.sent(&parcel).await;
        for order in bench.contact(&hub, epoch, &[]).await {
            bench.report(&order, OrderState::Received).await.unwrap();
            bench.report(&order, OrderState::Executed).await.unwrap();
        }
        bench.delivery.sent(&parcel).await;
    };
    let forth = hubs.iter().cloned().map(|hub| serve(one.clone(), hub));
    let back = hubs
        .iter()
        .rev()
        .cloned()
        .map(|hub| serve(two.clone(), hub));
    tokio::join!(join_all(forth), join_all(back));
}

#[tokio::test]
async fn a_command_hears_of_devices_that_have_answered_elsewhere() {
    let Some([one, two]) = rivals().await else {
        return;
    };
    let epoch = one.bind("hub-1", None).await;
    let order = erase_with(vec![told(ERASE, "hub-1", epoch, &[DeviceVerb::Reset])]);
    deferred(one.line.act(&order).await.unwrap());
    let heard = Arc::new(Mutex::new(Vec::new()));
    let settled: Settled = {
        let heard = heard.clone();
        Arc::new(move |command| heard.lock().unwrap().push(command.to_owned()))
    };
    let mut known = HashSet::new();
    let mut look = async || {
        let now = SystemTime::now();
        lookout::look(&one.registry, &one.bells, &settled, &mut known, now)
            .await
            .unwrap();
        std::mem::take(&mut *heard.lock().unwrap())
    };
    assert!(look().await.is_empty(), "it still waits for the hub");
    let owed = two.contact("hub-1", epoch, &[]).await;
    two.report(&owed[0], OrderState::Executed).await.unwrap();
    assert_eq!(look().await, [ERASE]);
    assert!(look().await.is_empty(), "nothing is new");
    two.contact("hub-1", 0, &[&owed[0]]).await;
    assert_eq!(look().await, [ERASE], "it is confirmed now");
}

/// Whoever reaches the hubs is told what another replica was asked for, and tells it once.
#[tokio::test]
async fn what_was_asked_elsewhere_goes_out_here_once() {
    let Some([one, two]) = rivals().await else {
        return;
    };
    let mut rings = one.bells.of_line(true);
    let (settled, mut known): (Settled, _) = (Arc::new(|_| {}), HashSet::new());
    let mut look = async || {
        let now = SystemTime::now();
        let looked = lookout::look(&one.registry, &one.bells, &settled, &mut known, now);
        looked.await.unwrap();
        rings.try_recv().ok()
    };
    assert_eq!(look().await, None);
    let epoch = one.bind("hub-1", None).await;
    let order = erase_with(vec![told(ERASE, "hub-1", epoch, &[DeviceVerb::Reset])]);
    deferred(two.line.act(&order).await.unwrap());
    let ring = Ring::Unsent("hub-1".to_owned());
    assert_eq!(look().await, Some(ring.clone()));
    one.bells.heard(&ring);
    let parcel = one.delivery.unsent("hub-1").await.unwrap();
    assert_eq!(parcel.ids().len(), 1);
    one.delivery.sent(&parcel).await;
    assert!(
        one.delivery
            .unsent("hub-1")
            .await
            .unwrap()
            .orders
            .is_empty()
    );
    assert_eq!(
        one.delivery.owed("hub-1", None).await.unwrap().ids(),
        parcel.ids()
    );
    assert_eq!(look().await, None);
}

/// The hub's words are worked on while somebody else binds its child, who ends what is owed to the hub for it.
#[tokio::test]
async fn what_was_superseded_while_its_hub_spoke_stays_superseded() {
    let Some([one, two]) = rivals().await else {
        return;
    };
    let hub = one.bind("hub-1", None).await;
    let lamp = one.bind("lamp-1", Some("hub-1")).await;
    let order = erase_with(vec![
        told(ERASE, "hub-1", hub, &[DeviceVerb::Reset]),
        told_hub(ERASE, ("lamp-1", lamp), ("hub-1", hub)),
    ]);
    deferred(one.line.act(&order).await.unwrap());
    let removal = one.contact("hub-1", hub, &[]).await.remove(0);
    assert_eq!(removal.verb, DeviceVerb::RemoveChild);

    let mut tx = one.registry.store().pool().begin().await.unwrap();
    let topics = Topics {
        devices: ["hub-1".to_owned()].into(),
        orders: [removal.id.clone()].into(),
        ..Topics::default()
    };
    let mut sheet = Sheet::read(&mut tx, &topics).await.unwrap();
    let binding = tokio::spawn(async move { two.try_bind("account-2", "lamp-1", None).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    let moved = sheet.advance(&mut tx, &removal.id, Event::Received, "");
    assert!(moved.await.unwrap().is_some());
    sheet.write(&mut tx).await.unwrap();
    tx.commit().await.unwrap();
    binding.await.unwrap().unwrap();
    let (state,): (String,) = sqlx::query_as("SELECT state FROM orders WHERE id = $1")
        .bind(&removal.id)
        .fetch_one(one.registry.store().pool())
        .await
        .unwrap();
    assert_eq!(state, "SUPERSEDED");
}
