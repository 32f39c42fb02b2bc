use std::sync::Arc;
use std::time::Duration;

use farewell_proto::device::v1 as wire;
use farewell_proto::device::v1::answer::Answer;
use farewell_runtime::cose;
use farewell_runtime::server::Security;
use farewell_runtime::shutdown::Shutdown;
use prost::Message as _;
use prost::bytes::Bytes;
use tokio::sync::mpsc;

use super::brokers::endpoint;
use crate::devices::agent::Agent;
use crate::devices::broker::{Config, EmbeddedBroker};
use crate::devices::counters::Counters;
use crate::devices::mqtt::topic::{self, Channel};
use crate::devices::mqtt::{Client, Endpoint, Incoming, Options, Protocol, PublishError, connect};
use crate::devices::names;
use crate::devices::registry::{Registry, Via};
use crate::devices::schema::SCHEMA;
use crate::devices::testing::{
    ACCOUNT, TestLine, agent, answer_to, erase, new_binding, plain, queue_behind, sync,
};
use crate::scratch;
use crate::store::Store;

const PATIENCE: Duration = Duration::from_secs(20);

fn dial(
    endpoint: Endpoint,
    filters: Vec<String>,
    shutdown: &Shutdown,
) -> (Client, mpsc::Receiver<Incoming>) {
    connect(
        Options {
            endpoint,
            filters,
            session_life: None,
            queue: 16,
        },
        shutdown,
    )
}

async fn next(incoming: &mut mpsc::Receiver<Incoming>) -> Incoming {
    tokio::time::timeout(PATIENCE, incoming.recv())
        .await
        .unwrap()
        .unwrap()
}

/// Waits for the connection: a broker of its own process may not listen yet at the first try.
async fn connected(incoming: &mut mpsc::Receiver<Incoming>) {
    loop {
        match next(incoming).await {
            Incoming::Connected => return,
            Incoming::Lost => {}
            other => panic!("{other:?}"),
        }
    }
}

async fn bind(registry: &Registry, device: &str) -> (u64, String) {
    let new = new_binding(ACCOUNT, device, None);
    let bound = registry.bind(&new).await.unwrap();
    (bound.shown.binding.epoch, bound.secret.unwrap())
}

#[tokio::test]
async fn the_embedded_broker_holds_each_device_to_its_own_topics() {
    let store = Store::open(&scratch::sqlite("acl"), "", SCHEMA)
        .await
        .unwrap();
    let registry = Registry::new(store, Via::Hub, true);
    let (_, secret) = bind(&registry, "hub-1").await;
    let (_, other) = bind(&registry, "hub-2").await;
    let broker = EmbeddedBroker::start(
        ([127, 0, 0, 1], 0).into(),
        "test",
        registry,
        Counters::default(),
    )
    .await
    .unwrap();
    let port = broker.addr().port();
    let shutdown = Shutdown::new();

    let own = vec![topic::of("test", "hub-1", Channel::Cmd)];
    let (client, mut incoming) = dial(
        endpoint(port, "hub-1", &secret, Protocol::Auto),
        own,
        &shutdown,
    );
    connected(&mut incoming).await;
    client
        .publish(topic::of("test", "hub-1", Channel::Sync), vec![1])
        .await
        .unwrap();
    for foreign in [
        topic::of("test", "hub-2", Channel::Ack),
        topic::of("test", "hub-1", Channel::Cmd),
        topic::of("other", "hub-1", Channel::Ack),
        "anything".to_owned(),
    ] {
        let refused = client.publish(foreign.clone(), vec![1]).await;
        assert!(matches!(refused, Err(PublishError::NotTaken)), "{foreign}");
    }
    for filter in [
        "farewell/v1/test/hub-1/cmd",
        "farewell/v1/test/+/cmd",
        "#",
        "$share/g/#",
        "farewell/v1/test/hub-2/sync",
    ] {
        let (_client, mut incoming) = dial(
            endpoint(port, "hub-2", &other, Protocol::Auto),
            vec![filter.to_owned()],
            &shutdown,
        );
        assert!(
            matches!(next(&mut incoming).await, Incoming::Refused),
            "{filter}"
        );
    }
    let mut takeover = endpoint(port, "hub-2", &other, Protocol::Auto);
    takeover.client_id = "hub-1".to_owned();
    for stranger in [
        endpoint(port, "hub-1", "wrong", Protocol::Auto),
        endpoint(port, "farewell~agent", "wrong", Protocol::Auto),
        takeover,
    ] {
        let (_client, mut incoming) = dial(stranger, Vec::new(), &shutdown);
        assert!(matches!(next(&mut incoming).await, Incoming::Refused));
    }
    assert!(shutdown.drain(PATIENCE).await);
    broker.stop().await.unwrap();
}

#[tokio::test]
async fn the_embedded_broker_opens_on_loopback_only() {
    let store = Store::open(&scratch::sqlite("exposed"), "", SCHEMA)
        .await
        .unwrap();
    let registry = Registry::new(store, Via::Hub, true);
    assert!(
        EmbeddedBroker::start(
            ([0, 0, 0, 0], 0).into(),
            "test",
            registry,
            Counters::default()
        )
        .await
        .is_err()
    );
}

/// The first order of a message, as the hub reads it.
fn opened(payload: Bytes) -> wire::Order {
    let envelope = wire::OrderEnvelope::decode(payload).unwrap();
    let order = cose::payload("farewell.device.v1.Order", &envelope.orders[0]).unwrap();
    wire::Order::decode(order.as_slice()).unwrap()
}

/// A hub that was away gets its order when it says that it is there, and its answer arrives.
async fn a_hub_is_reached(
    agent: Agent,
    port: impl Fn(&crate::devices::Handle) -> u16,
    password: Option<&str>,
) {
    let shutdown = Shutdown::new();
    let handle = agent
        .start(Arc::new(TestLine(Via::Hub)), shutdown.clone())
        .await
        .unwrap();
    let registry = Registry::new(handle.store.clone(), Via::Hub, true);
    let (epoch, secret) = bind(&registry, "hub-1").await;
    queue_behind(&handle.store, Via::Hub, &erase(&[("hub-1", epoch)])).await;

    let own = vec![topic::of("test", "hub-1", Channel::Cmd)];
    let password = password.unwrap_or(&secret);
    let (client, mut incoming) = dial(
        endpoint(port(&handle), "hub-1", password, Protocol::Auto),
        own,
        &shutdown,
    );
    connected(&mut incoming).await;
    let sync = plain(sync("hub-1", epoch, &[]));
    let order = loop {
        // The agent may connect later than the hub: the hub says it again, as real ones do.
        client
            .publish(
                topic::of("test", "hub-1", Channel::Sync),
                sync.encode_to_vec(),
            )
            .await
            .unwrap();
        let answer = tokio::time::timeout(Duration::from_millis(500), incoming.recv()).await;
        if let Ok(Some(Incoming::Message { payload, .. })) = answer {
            break opened(payload);
        }
    };
    assert_eq!(
        (order.device.as_str(), order.binding_epoch),
        ("devices/hub-1", epoch)
    );
    let id = names::order_of(&order.name).unwrap();
    let report = answer_to(id, "hub-1", epoch, wire::OrderState::Executed, "");
    let envelope = wire::ReportEnvelope {
        answers: vec![wire::Answer {
            answer: Some(Answer::Plain(report)),
        }],
    };
    client
        .publish(
            topic::of("test", "hub-1", Channel::Ack),
            envelope.encode_to_vec(),
        )
        .await
        .unwrap();
    let executed = async {
        loop {
            let (state,): (String,) = sqlx::query_as("SELECT state FROM orders")
                .fetch_one(handle.store.pool())
                .await
                .unwrap();
            if state == "EXECUTED" {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, executed).await.unwrap();
    assert!(shutdown.drain(PATIENCE).await);
}

#[tokio::test]
async fn a_hub_is_reached_through_the_embedded_broker() {
    let broker = Config::Embedded {
        listen: ([127, 0, 0, 1], 0).into(),
    };
    let agent = Agent {
        broker: Some(broker),
        ..agent("embedded", Security::PlainLoopback)
    };
    a_hub_is_reached(agent, |handle| handle.broker_addr.unwrap().port(), None).await;
}

#[tokio::test]
async fn after_a_restart_of_agent_and_broker_a_waiting_hub_gets_the_order_from_the_database() {
    let mut agent = Agent {
        broker: Some(Config::Embedded {
            listen: ([127, 0, 0, 1], 0).into(),
        }),
        ..agent("restarted", Security::PlainLoopback)
    };
    let first = Shutdown::new();
    let handle = agent
        .clone()
        .start(Arc::new(TestLine(Via::Hub)), first.clone())
        .await
        .unwrap();
    let (epoch, secret) = bind(
        &Registry::new(handle.store.clone(), Via::Hub, true),
        "hub-1",
    )
    .await;
    let listen = handle.broker_addr.unwrap();
    let own = vec![topic::of("test", "hub-1", Channel::Cmd)];
    let device = Shutdown::new();
    let (client, mut incoming) = dial(
        endpoint(listen.port(), "hub-1", &secret, Protocol::Auto),
        own,
        &device,
    );
    connected(&mut incoming).await;
    queue_behind(&handle.store, Via::Hub, &erase(&[("hub-1", epoch)])).await;
    handle.store.pool().close().await;
    assert!(first.drain(PATIENCE).await);

    agent.broker = Some(Config::Embedded { listen });
    let second = Shutdown::new();
    agent
        .start(Arc::new(TestLine(Via::Hub)), second.clone())
        .await
        .unwrap();
    let order = loop {
        match next(&mut incoming).await {
            Incoming::Connected => {
                let sync = plain(sync("hub-1", epoch, &[]));
                client
                    .publish(
                        topic::of("test", "hub-1", Channel::Sync),
                        sync.encode_to_vec(),
                    )
                    .await
                    .unwrap();
            }
            Incoming::Message { payload, .. } => {
                break opened(payload);
            }
            Incoming::Lost | Incoming::Refused => {}
        }
    };
    assert_eq!(
        (order.device.as_str(), order.binding_epoch),
        ("devices/hub-1", epoch)
    );
    assert!(device.drain(PATIENCE).await);
    assert!(second.drain(PATIENCE).await);
}
