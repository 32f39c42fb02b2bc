//! Two agents on one PostgreSQL. (SQLite is one agent's.)

use std::sync::Arc;

use farewell_proto::device::v1::OrderState;
use futures_util::future::join_all;

use crate::devices::refusal::Refusal;
use crate::devices::registry::Via;
use crate::devices::testing::{
    ACCOUNT, Bench, ERASE, deferred, erase_with, patient, told, told_hub,
};
use crate::participant::{DeviceVerb, NotUnbound, Participant as _, UnbindDevice};
use crate::scratch;

const ROUNDS: usize = 20;

async fn rivals() -> Option<[Arc<Bench>; 2]> {
    let url = scratch::postgres()?;
    let namespace = format!("devices_{}", uuid::Uuid::now_v7().simple());
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
