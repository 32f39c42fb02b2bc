//! Two replicas of an agent at one broker, whichever it is: one speaks, and the other takes over its name and its session.

use std::time::{Duration, Instant};

use super::brokers::ejabberd::Ejabberd;
use super::brokers::mosquitto::Mosquitto;
use super::brokers::nats::Nats;
use super::brokers::{Broker, HUBS};
use super::hub::{Hub, Mood};
use super::line::{Line, until};
use crate::devices::broker::Config;
use crate::devices::mqtt::{AGENT, Endpoint, Protocol};

/// Far below the time after which a replica that says nothing is taken for dead.
const PROMPT: Duration = Duration::from_secs(8);

async fn hub<B: Broker>(broker: &B, line: &Line, id: &str, protocol: Protocol) -> (u64, Hub) {
    let (epoch, _) = line.bind(id).await;
    (epoch, Hub::new(id, epoch, broker.endpoint(id, protocol)))
}

async fn one_speaks_and_the_other_takes_over<B: Broker>(
    name: &str,
    broker: Option<B>,
    protocol: Protocol,
) {
    let Some(broker) = broker else { return };
    let config = || Config::External(broker.endpoint(AGENT, protocol));
    let mut one = Line::start(name, config()).await;
    one.standing(1).await;
    let mut two = one.replica(config()).await;
    let [id_1, id_2, id_3] = HUBS;
    let (epoch_1, mut hub_1) = hub(&broker, &one, id_1, protocol).await;
    let (epoch_2, mut hub_2) = hub(&broker, &one, id_2, protocol).await;
    let (epoch_3, mut hub_3) = hub(&broker, &one, id_3, protocol).await;

    hub_1.switch_on(Mood::Answers);
    one.owe(id_1, epoch_1).await;
    one.settled(id_1).await;
    assert!(one.is_connected() && !two.is_connected());

    // It is gone without a word, and a hub answers to nobody.
    hub_2.switch_on(Mood::Silent);
    one.owe(id_2, epoch_2).await;
    until("the second hub gets its order", || async {
        hub_2.memory.lock().unwrap().deliveries > 0
    })
    .await;
    one.crash();
    hub_2.repeat_everything().await;
    hub_2.switch_off().await;
    assert!(!two.is_connected());
    let struck = Instant::now();
    let taken = two.standing(1).await;
    println!(
        "{name}: taken over after {:?}, session present: {}",
        struck.elapsed(),
        taken.session_present
    );
    // What it said was kept for whoever comes by that name.
    two.settled(id_2).await;

    // Whoever comes back waits until the other goes, and no longer.
    one.run().await;
    hub_3.switch_on(Mood::Answers);
    one.owe(id_3, epoch_3).await;
    two.settled(id_3).await;
    assert!(!one.is_connected() && two.is_connected());
    let left = Instant::now();
    two.leave().await;
    one.standing(1).await;
    assert!(left.elapsed() < PROMPT, "{:?}", left.elapsed());

    for hub in [&mut hub_1, &mut hub_2, &mut hub_3] {
        hub.switch_off().await;
        let executed = hub.memory.lock().unwrap().executed.clone();
        assert_eq!(executed.into_values().collect::<Vec<_>>(), [1]);
    }
}

#[tokio::test]
async fn one_of_two_replicas_speaks_on_mosquitto() {
    let broker = Mosquitto::start("");
    one_speaks_and_the_other_takes_over("turns-mosquitto", broker, Protocol::V5).await;
}

#[tokio::test]
async fn one_of_two_replicas_speaks_on_a_nats_cluster() {
    let broker = Nats::start().await;
    one_speaks_and_the_other_takes_over("turns-nats", broker, Protocol::V311).await;
}

#[tokio::test]
async fn one_of_two_replicas_speaks_on_an_ejabberd_cluster() {
    let broker = Ejabberd::start();
    one_speaks_and_the_other_takes_over("turns-ejabberd", broker, Protocol::V5).await;
}

/// It holds the turn and nobody hears it: it leaves it to somebody who may be heard.
#[tokio::test]
async fn a_replica_without_a_way_to_the_broker_lets_another_speak() {
    let Some(broker) = Mosquitto::start("") else {
        return;
    };
    let known = broker.endpoint(AGENT, Protocol::V5);
    let nowhere = Endpoint {
        port: 1,
        ..known.clone()
    };
    let one = Line::start("turns-nowhere", Config::External(nowhere)).await;
    // It has asked before the other does.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let two = one.replica(Config::External(known)).await;
    two.standing(1).await;
    assert!(!one.is_connected());
}
