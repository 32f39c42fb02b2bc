//! What devices say in a session that is open, and how many of those they have.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use farewell_proto::device::v1 as wire;
use farewell_proto::device::v1::attach_request::Message as Up;
use farewell_proto::device::v1::attach_response::Message as Down;
use farewell_proto::device::v1::device_service_client::DeviceServiceClient;
use farewell_proto::device::v1::device_service_server::DeviceServiceServer;
use farewell_runtime::client;
use farewell_runtime::server::{self, Security};
use farewell_runtime::shutdown::Shutdown;
use prost::bytes::Bytes;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt as _;

use super::intruders::{in_its_own_process, resident_kib};
use super::line::until;
use crate::devices::attach::{RELAYED_MAX, Service};
use crate::devices::registry::Via;
use crate::devices::sessions::SESSIONS_MAX;
use crate::devices::testing::{
    ACCOUNT, Bench, TIME_PROOF, deferred, erase, patient, plain, said, signed, sync,
};
use crate::scratch;

const PATIENCE: Duration = Duration::from_secs(30);
/// A device that opens sessions and never ends one.
const ATTACHES: usize = 1_000;
/// What memory may grow by meanwhile: a session costs some 30 KiB on both sides.
const GROWTH_KIB_MAX: u64 = 16 * 1024;

/// An agent's door on loopback, and what is behind it.
struct Door {
    bench: Bench,
    addr: SocketAddr,
    shutdown: Shutdown,
}

impl Door {
    async fn open(name: &str, via: Via) -> Self {
        let namespace = scratch::namespace("devices");
        let bench = Bench::open(scratch::sqlite(name), namespace, via, patient()).await;
        let (delivery, bells) = (bench.delivery.clone(), bench.bells.clone());
        let shutdown = Shutdown::new();
        let service = Service::new(via, delivery, bells, shutdown.clone());
        let bound = server::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let router = server::builder().add_service(DeviceServiceServer::new(service));
        let end = shutdown.clone();
        shutdown.spawn(async move {
            router
                .serve_with_incoming_shutdown(bound.incoming, end.wait())
                .await
        });
        Self {
            bench,
            addr: bound.addr,
            shutdown,
        }
    }

    async fn dial(&self) -> Channel {
        let endpoint = client::endpoint(&self.addr.to_string(), &Security::PlainLoopback);
        endpoint.unwrap().connect().await.unwrap()
    }

    async fn attach(&self, channel: Channel, device: &str, epoch: u64) -> Guest {
        let (up, stream) = mpsc::channel(16);
        let attachment = wire::Attachment {
            device: Some(plain(sync(device, epoch, &[]))),
            relayed: Vec::new(),
        };
        let message = Some(Up::Attach(attachment));
        up.send(wire::AttachRequest { message }).await.unwrap();
        let mut client = DeviceServiceClient::new(channel);
        let down = client.attach(ReceiverStream::new(stream)).await.unwrap();
        Guest {
            up,
            down: down.into_inner(),
        }
    }

    async fn close(self) {
        assert!(self.shutdown.drain(PATIENCE).await);
    }
}

/// An attached device.
struct Guest {
    up: mpsc::Sender<wire::AttachRequest>,
    down: Streaming<wire::AttachResponse>,
}

impl Guest {
    async fn say(&self, sync: wire::SyncEnvelope) {
        let message = Some(Up::Sync(sync));
        self.up.send(wire::AttachRequest { message }).await.unwrap();
    }

    async fn next(&mut self) -> Result<Option<Down>, Status> {
        let said = tokio::time::timeout(PATIENCE, self.down.message()).await;
        Ok(said.unwrap()?.and_then(|said| said.message))
    }

    async fn orders(&mut self) -> wire::OrderEnvelope {
        match self.next().await {
            Ok(Some(Down::Orders(envelope))) => envelope,
            other => panic!("{other:?}"),
        }
    }

    async fn refused(&mut self) -> String {
        match self.next().await {
            Ok(Some(Down::Refused(word))) => word,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_device_without_a_clock_asks_for_the_time_of_orders_that_arise_in_its_session() {
    let door = Door::open("timeless", Via::Never).await;
    let epoch = door.bench.bind("phone-1", None).await;
    let mut phone = door.attach(door.dial().await, "phone-1", epoch).await;
    until("the phone is attached", || async {
        door.bench.bells.hung("phone-1") > 0
    })
    .await;
    deferred(door.bench.act(&erase(&[("phone-1", epoch)])).await);
    let first = phone.orders().await;
    assert_eq!((first.orders.len(), first.time_proof.len()), (1, 0));

    let asking = wire::Sync {
        nonce: Bytes::from_static(&[7; 16]),
        ..sync("phone-1", epoch, &[])
    };
    phone.say(plain(asking)).await;
    let again = phone.orders().await;
    assert_eq!(again.orders, first.orders);
    assert_eq!(again.time_proof, TIME_PROOF);

    // It says what it has done in the same way, and is owed nothing more.
    let done = wire::Sync {
        done_orders: vec![said(&first.orders[0]).name],
        ..sync("phone-1", 0, &[])
    };
    phone.say(plain(done)).await;
    phone.say(plain(sync("phone-2", 1, &[]))).await;
    assert_eq!(phone.refused().await, "NOT_THE_COMPANION");
    phone.say(wire::SyncEnvelope::default()).await;
    assert_eq!(phone.refused().await, "UNREADABLE");
    door.close().await;
}

#[tokio::test]
async fn a_wearable_that_comes_in_reach_later_is_served_in_the_session_of_its_phone() {
    let door = Door::open("in-reach", Via::Companion).await;
    let epoch = door.bench.bind("watch-1", Some("phone-1")).await;
    deferred(door.bench.act(&erase(&[("watch-1", epoch)])).await);
    let mut foreign = door.attach(door.dial().await, "phone-2", 0).await;
    let mut phone = door.attach(door.dial().await, "phone-1", 0).await;
    let word = |sequence| signed("watch-1", sync("watch-1", epoch, &[]), sequence);

    foreign.say(word(1)).await;
    assert_eq!(foreign.refused().await, "NOT_THE_COMPANION");
    phone.say(plain(sync("watch-1", epoch, &[]))).await;
    assert_eq!(phone.refused().await, "SIGNATURE_REQUIRED");
    phone.say(word(1)).await;
    let order = said(&phone.orders().await.orders[0]);
    assert_eq!(order.device, "devices/watch-1");
    phone.say(word(1)).await;
    assert_eq!(phone.refused().await, "OLD_SEQUENCE");
    phone.say(word(2)).await;
    assert_eq!(phone.orders().await.orders.len(), 1, "as often as it asks");

    // Of as many more as one phone may speak for each is served, and then no more.
    for number in 2..=RELAYED_MAX + 1 {
        let watch = format!("watch-{number}");
        let bound = door.bench.try_bind("account-2", &watch, Some("phone-1"));
        let epoch = bound.await.unwrap().shown.binding.epoch;
        let own = sync(&watch, epoch, &[]);
        phone.say(signed(&watch, own, 1)).await;
    }
    assert_eq!(phone.refused().await, "TOO_MANY_RELAYED");
    assert_eq!(door.bench.bells.hung("watch-2"), 1);
    door.close().await;
}

#[tokio::test]
async fn a_device_that_attaches_a_thousand_times_keeps_its_newest_sessions_and_costs_no_more() {
    if !in_its_own_process(
        "devices::tests::attach::a_device_that_attaches_a_thousand_times_keeps_its_newest_sessions_and_costs_no_more",
    ) {
        return;
    }
    let door = Door::open("crowd", Via::Never).await;
    let epoch = door.bench.bind("phone-1", None).await;
    let other = door.bench.bind("phone-2", None).await;
    let channel = door.dial().await;
    let mut bystander = door.attach(door.dial().await, "phone-2", other).await;
    let mut newest = VecDeque::with_capacity(SESSIONS_MAX + 1);
    let mut resident = 0;
    for number in 0..ATTACHES {
        if number == ATTACHES / 10 {
            resident = resident_kib(std::process::id());
        }
        newest.push_back(door.attach(channel.clone(), "phone-1", epoch).await);
        if newest.len() > SESSIONS_MAX {
            let status = newest.pop_front().unwrap().next().await.unwrap_err();
            assert_eq!(status.code(), Code::Aborted);
            let info = status.get_details_error_info().unwrap();
            assert_eq!(info.reason, "SESSION_REPLACED");
        }
    }
    until("only the newest are left", || async {
        door.bench.bells.hung("phone-1") == SESSIONS_MAX
    })
    .await;
    let grown = resident_kib(std::process::id()).saturating_sub(resident);
    println!("{ATTACHES} attachments: {grown} KiB on {resident} KiB");
    assert!(grown < GROWTH_KIB_MAX, "grew by {grown} KiB");

    deferred(
        door.bench
            .act(&erase(&[("phone-1", epoch), ("phone-2", other)]))
            .await,
    );
    for mut guest in newest {
        assert_eq!(guest.orders().await.orders.len(), 1);
    }
    assert_eq!(bystander.orders().await.orders.len(), 1);
    door.close().await;
}

#[tokio::test]
async fn a_phone_that_was_reset_by_hand_hears_that_it_is_bound_whenever_it_says_so() {
    let door = Door::open("reset", Via::Never).await;
    let epoch = door.bench.bind_locked(ACCOUNT, "phone-1").await.unwrap();
    let binding = wire::LiveBinding {
        device: "devices/phone-1".to_owned(),
        epoch,
        activation_lock: true,
    };
    let told = wire::OrderEnvelope {
        binding: Some(binding),
        ..wire::OrderEnvelope::default()
    };
    let mut phone = door.attach(door.dial().await, "phone-1", 0).await;
    assert_eq!(phone.orders().await, told);
    phone.say(plain(sync("phone-1", 0, &[]))).await;
    assert_eq!(phone.orders().await, told);
    // It has taken it on, and obeys.
    phone.say(plain(sync("phone-1", epoch, &[]))).await;
    deferred(door.bench.act(&erase(&[("phone-1", epoch)])).await);
    let ordered = phone.orders().await;
    assert_eq!((ordered.orders.len(), ordered.binding), (1, None));
    door.close().await;
}
