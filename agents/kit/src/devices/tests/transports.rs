//! One story on every broker: orders are owed, the broker dies, messages come twice and late, a session vanishes, and
//! each order is carried out exactly once.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use farewell_runtime::shutdown::Shutdown;

use super::brokers::ejabberd::Ejabberd;
use super::brokers::mosquitto::Mosquitto;
use super::brokers::nats::Nats;
use super::brokers::{Broker, HUBS, PATIENCE, certificate, endpoint};
use super::hub::{Hub, Mood};
use super::line::{Line, standing, until};
use crate::devices::broker::Config;
use crate::devices::mqtt::{
    AGENT, Endpoint, Incoming, Options, Profile, Protocol, Version, connect,
};

/// The broker of the story: somebody else's, or ours, which lives and dies with the agent.
enum Scene<B> {
    External(B),
    Embedded,
}

impl<B: Broker> Scene<B> {
    fn hub(&self, line: &Line, hub: &str, secret: &str, protocol: Protocol) -> Endpoint {
        match self {
            Self::External(broker) => broker.endpoint(hub, protocol),
            Self::Embedded => {
                let port = line.handle().broker_addr.unwrap().port();
                endpoint(port, hub, secret, protocol)
            }
        }
    }

    /// Something dies, and what comes after it takes over. Returns which of the agent's connections to wait for.
    async fn outage(&mut self, line: &mut Line) -> u64 {
        match self {
            Self::External(broker) => {
                broker.outage();
                2
            }
            Self::Embedded => {
                line.crash();
                line.run().await;
                1
            }
        }
    }
}

async fn each_order_is_carried_out_once<B: Broker>(
    mut scene: Scene<B>,
    mut line: Line,
    profile: Profile,
    hubs_speak: Protocol,
) {
    let first = line.standing(1).await;
    println!(
        "{} (session present: {})",
        first.profile, first.session_present
    );
    assert_eq!(first.profile, profile);

    let mut hubs = Vec::new();
    for hub in HUBS {
        let (epoch, secret) = line.bind(hub).await;
        let endpoint = scene.hub(&line, hub, &secret, hubs_speak);
        hubs.push((hub, epoch, Hub::new(hub, epoch, endpoint)));
    }
    let [
        (id_1, epoch_1, hub_1),
        (id_2, epoch_2, hub_2),
        (id_3, epoch_3, hub_3),
    ] = &mut hubs[..]
    else {
        panic!("three hubs")
    };

    // Owed, delivered, acknowledged, settled.
    line.owe(id_1, *epoch_1).await;
    hub_1.switch_on(Mood::Answers);
    line.settled(id_1).await;

    // Delivered and carried out; the answer is lost.
    hub_2.switch_on(Mood::Silent);
    line.owe(id_2, *epoch_2).await;
    until("the second hub gets its order", || async {
        hub_2.memory.lock().unwrap().deliveries > 0
    })
    .await;

    // Known to the broker once, then forgotten by it while nobody looks.
    let mut on = hub_3.switch_on(Mood::Answers);
    standing(&mut on, 1).await;
    hub_3.switch_off().await;
    hub_3.lose_session().await;
    line.owe(id_3, *epoch_3).await;

    let next = scene.outage(&mut line).await;
    let again = line.standing(next).await;
    println!(
        "after the outage (session present: {})",
        again.session_present
    );
    assert_eq!(again.profile, profile);

    // What is owed goes out at once, to a broker that keeps it for nobody.
    until("the third hub's order is sent", || async {
        line.states().await[*id_3] == "SENT"
    })
    .await;
    let mut on = hub_3.switch_on(Mood::Answers);
    let back = standing(&mut on, 1).await;
    // A cluster that has just lost a node may need a second try, and then knows the first.
    assert!(back.number > 1 || !back.session_present);
    line.settled(id_3).await;

    let before = hub_2.memory.lock().unwrap().deliveries;
    until("the second hub gets its order again", || async {
        hub_2.memory.lock().unwrap().deliveries > before
    })
    .await;
    assert_ne!(line.states().await[*id_2], "EXECUTED");
    hub_2.set_mood(Mood::Answers);
    line.settled(id_2).await;

    // Late, and twice: nothing moves any more.
    let settled = line.states().await;
    for (_, _, hub) in &hubs {
        hub.repeat_everything().await;
        let executed = hub.memory.lock().unwrap().executed.clone();
        assert_eq!(executed.into_values().collect::<Vec<_>>(), [1]);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let confirmed = |states: BTreeMap<String, String>| -> Vec<_> {
        states
            .into_iter()
            .map(|(hub, state)| (hub, state.replace("CONFIRMED", "EXECUTED")))
            .collect()
    };
    assert_eq!(confirmed(line.states().await), confirmed(settled));
    for (_, _, hub) in &mut hubs {
        hub.switch_off().await;
    }
}

async fn on<B: Broker>(name: &str, broker: Option<B>, speaks: Version, protocol: Protocol) {
    let Some(broker) = broker else { return };
    let profile = broker.profile(speaks);
    let line = Line::start(name, Config::External(broker.endpoint(AGENT, protocol))).await;
    let hubs_speak = match speaks {
        Version::V5 => Protocol::V5,
        Version::V311 => Protocol::V311,
    };
    each_order_is_carried_out_once(Scene::External(broker), line, profile, hubs_speak).await;
}

async fn on_ours(name: &str, hubs_speak: Protocol) {
    let mut line = Line::start(
        name,
        Config::Embedded {
            listen: ([127, 0, 0, 1], 0).into(),
        },
    )
    .await;
    // After the crash hubs look for it where it was.
    let listen: SocketAddr = line.handle().broker_addr.unwrap();
    line.agent.broker = Some(Config::Embedded { listen });
    let profile = Profile {
        version: Version::V5,
        maximum_qos: Some(2),
        retain: Some(false),
        shared_subscriptions: Some(true),
        session_life: None,
        keep_alive: None,
        receive_max: Some(1024),
        packet_bytes_max: Some(256 * 1024),
    };
    each_order_is_carried_out_once::<Mosquitto>(Scene::Embedded, line, profile, hubs_speak).await;
}

#[tokio::test]
async fn each_order_is_carried_out_once_on_the_embedded_broker() {
    on_ours("story-embedded-5", Protocol::V5).await;
}

#[tokio::test]
async fn each_order_is_carried_out_once_by_old_hubs_on_the_embedded_broker() {
    on_ours("story-embedded-311", Protocol::V311).await;
}

#[tokio::test]
async fn each_order_is_carried_out_once_on_mosquitto() {
    let broker = Mosquitto::start("");
    on("story-mosquitto-5", broker, Version::V5, Protocol::Auto).await;
}

#[tokio::test]
async fn each_order_is_carried_out_once_on_mosquitto_with_mqtt_3_1_1() {
    let broker = Mosquitto::start("");
    on("story-mosquitto-311", broker, Version::V311, Protocol::V311).await;
}

#[tokio::test]
async fn each_order_is_carried_out_once_on_mosquitto_with_tls() {
    let broker = Mosquitto::start_with_tls(&certificate());
    on("story-mosquitto-tls-5", broker, Version::V5, Protocol::Auto).await;
}

#[tokio::test]
async fn each_order_is_carried_out_once_on_mosquitto_with_tls_and_mqtt_3_1_1() {
    let broker = Mosquitto::start_with_tls(&certificate());
    on(
        "story-mosquitto-tls-311",
        broker,
        Version::V311,
        Protocol::V311,
    )
    .await;
}

/// The agent finds out by itself that NATS speaks MQTT 3.1.1 only.
#[tokio::test]
async fn each_order_is_carried_out_once_on_a_nats_cluster() {
    let broker = Nats::start().await;
    on("story-nats", broker, Version::V311, Protocol::Auto).await;
}

#[tokio::test]
async fn each_order_is_carried_out_once_on_an_ejabberd_cluster() {
    let broker = Ejabberd::start();
    on("story-ejabberd-5", broker, Version::V5, Protocol::Auto).await;
}

#[tokio::test]
async fn each_order_is_carried_out_once_on_an_ejabberd_cluster_with_mqtt_3_1_1() {
    let broker = Ejabberd::start();
    on("story-ejabberd-311", broker, Version::V311, Protocol::V311).await;
}

#[tokio::test]
async fn each_order_is_carried_out_once_on_an_ejabberd_cluster_with_tls() {
    let broker = Ejabberd::start_with_tls(&certificate());
    on("story-ejabberd-tls", broker, Version::V5, Protocol::Auto).await;
}

/// Stays away from a broker that can't keep an order, whichever MQTT is spoken.
#[tokio::test]
async fn a_broker_without_qos_1_is_refused() {
    // With MQTT 5 the broker says it at once, with 3.1.1 in its answer to a subscription.
    let cmd = "farewell/v1/test/hub-1/cmd".to_owned();
    for (protocol, filters) in [(Protocol::V5, Vec::new()), (Protocol::V311, vec![cmd])] {
        let Some(broker) = Mosquitto::start("max_qos 0") else {
            return;
        };
        let shutdown = Shutdown::new();
        let options = Options {
            endpoint: broker.endpoint(HUBS[0], protocol),
            filters,
            session_life: None,
            queue: 1,
        };
        let (client, mut incoming) = connect(options, &shutdown);
        let said = tokio::time::timeout(PATIENCE, incoming.recv()).await;
        assert!(
            matches!(said, Ok(Some(Incoming::Lost))),
            "{protocol:?}: {said:?}"
        );
        assert_eq!(*client.standing().borrow(), None, "{protocol:?}");
        assert!(shutdown.drain(PATIENCE).await);
    }
}

/// Whoever insists on MQTT 5 is not served by a broker of 3.1.1, and says so instead of trying something else.
#[tokio::test]
async fn a_broker_of_3_1_1_is_no_broker_for_mqtt_5() {
    let Some(broker) = Nats::start().await else {
        return;
    };
    let shutdown = Shutdown::new();
    let options = Options {
        endpoint: broker.endpoint(HUBS[0], Protocol::V5),
        filters: Vec::new(),
        session_life: None,
        queue: 1,
    };
    let (client, mut incoming) = connect(options, &shutdown);
    let said = tokio::time::timeout(PATIENCE, incoming.recv()).await;
    assert!(matches!(said, Ok(Some(Incoming::Lost))));
    assert_eq!(*client.standing().borrow(), None);
    assert!(shutdown.drain(PATIENCE).await);
}
