//! Two replicas of an agent at one broker, whichever it is: one speaks, and the other takes over its name and its session.

use std::time::{Duration, Instant, SystemTime};

use super::brokers::ejabberd::Ejabberd;
use super::brokers::mosquitto::Mosquitto;
use super::brokers::nats::Nats;
use super::brokers::{Broker, HUBS, PATIENCE};
use super::hub::{Hub, Mood};
use super::line::{Line, until};
use crate::devices::broker::Config;
use crate::devices::counters::Odd;
use crate::devices::mqtt::{AGENT, Endpoint, Protocol};
use crate::scratch;
use crate::store::micros;

/// Well within the ten seconds between two rounds of the slow timer: by that alone, many orders would go out a round apart.
const GAP_MAX: Duration = Duration::from_secs(5);

async fn hub<B: Broker>(broker: &B, line: &Line, id: &str, protocol: Protocol) -> (u64, Hub) {
    let (epoch, _) = line.bind(id).await;
    (epoch, Hub::new(id, epoch, broker.endpoint(id, protocol)))
}

async fn one_speaks_and_the_other_takes_over<B: Broker>(
    name: &str,
    broker: Option<B>,
    protocol: Protocol,
) {
    let (Some(broker), Some(database)) = (broker, scratch::own_postgres().await) else {
        return;
    };
    let config = || Config::External(broker.endpoint(AGENT, protocol));
    let mut one = Line::start_on(database, config()).await;
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
    let spoke = one.speaker().await;
    two.leave().await;
    assert_ne!(one.speaker().await, spoke, "it keeps nobody waiting");
    one.standing(1).await;

    for hub in [&mut hub_1, &mut hub_2, &mut hub_3] {
        hub.switch_off().await;
        let executed = hub.memory.lock().unwrap().executed.clone();
        assert_eq!(executed.into_values().collect::<Vec<_>>(), [1]);
    }
}

#[tokio::test]
async fn one_of_two_replicas_speaks_on_mosquitto() {
    let broker = Mosquitto::start("");
    one_speaks_and_the_other_takes_over("mosquitto", broker, Protocol::V5).await;
}

#[tokio::test]
async fn one_of_two_replicas_speaks_on_a_nats_cluster() {
    let broker = Nats::start().await;
    one_speaks_and_the_other_takes_over("nats", broker, Protocol::V311).await;
}

#[tokio::test]
async fn one_of_two_replicas_speaks_on_an_ejabberd_cluster() {
    let broker = Ejabberd::start();
    one_speaks_and_the_other_takes_over("ejabberd", broker, Protocol::V5).await;
}

/// It holds the turn and nobody hears it: it leaves it to somebody who may be heard.
#[tokio::test]
async fn a_replica_without_a_way_to_the_broker_lets_another_speak() {
    let (Some(broker), Some(database)) = (Mosquitto::start(""), scratch::own_postgres().await)
    else {
        return;
    };
    let known = broker.endpoint(AGENT, Protocol::V5);
    let nowhere = Endpoint {
        port: 1,
        ..known.clone()
    };
    let one = Line::start_on(database, Config::External(nowhere)).await;
    // It has asked before the other does.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let two = one.replica(Config::External(known)).await;
    two.standing(1).await;
    assert!(!one.is_connected());
}

/// What was asked while nobody spoke goes out when somebody does.
#[tokio::test]
async fn what_many_hubs_are_asked_between_two_turns_goes_out_at_once() {
    let (Some(broker), Some(database)) = (Mosquitto::start(""), scratch::own_postgres().await)
    else {
        return;
    };
    const MANY: i64 = 3_000;
    let config = || Config::External(broker.endpoint(AGENT, Protocol::V5));
    let mut one = Line::start_on(database, config()).await;
    one.standing(1).await;
    let two = one.replica(config()).await;
    one.crash();
    // As another process would queue them, and faster.
    let known = sqlx::query(
        "INSERT INTO devices (device, epoch, held_epoch, answer_key, sequence, lost, seen_at, seen_epoch) \
         SELECT 'hub-' || n, 1, 0, '', 0, 0, 0, 0 FROM generate_series(1, $1) n",
    )
    .bind(MANY)
    .execute(one.store.pool());
    known.await.unwrap();
    let queued = sqlx::query(
        "INSERT INTO orders (command, subject, subject_epoch, id, signed, device, epoch, verb, child, new_epoch, via, traceparent, \
         state, reason, queued_at, sent_at, moved_at, expires_at) SELECT 'a', 'hub-' || n, 1, 'order-' || n, '', 'hub-' || n, 1, \
         'RESET', '', 0, '', '', 'QUEUED', '', $1, 0, $1, $2 FROM generate_series(1, $3) n",
    )
    .bind(micros(SystemTime::now()))
    .bind(micros(SystemTime::now() + PATIENCE * 10))
    .bind(MANY)
    .execute(one.store.pool());
    assert_eq!(queued.await.unwrap().rows_affected(), MANY.unsigned_abs());
    two.standing(1).await;
    let taken = Instant::now();
    until("everything to be sent", || async {
        let sent = sqlx::query_as("SELECT COUNT(*) FROM orders WHERE state = 'SENT'");
        let (sent,): (i64,) = sent.fetch_one(one.store.pool()).await.unwrap();
        sent == MANY
    })
    .await;
    // However long the whole takes on a busy machine, nobody waits for a next round.
    let sent = sqlx::query_as("SELECT sent_at FROM orders ORDER BY sent_at");
    let sent: Vec<(i64,)> = sent.fetch_all(one.store.pool()).await.unwrap();
    let gaps = sent.windows(2).map(|two| two[1].0 - two[0].0);
    let longest = Duration::from_micros(gaps.max().unwrap().unsigned_abs());
    assert!(longest < GAP_MAX, "{longest:?}");
    println!(
        "{MANY} orders sent within {:?} of the turn",
        taken.elapsed()
    );
    assert!(two.handle().counters.of(Odd::Refused, "TOO_MANY_MESSAGES") == 0);
}
