//! What nobody should send: wrong topics, foreign names, junk, too much of it, and ten thousand strangers at the door.
//! All of it is refused and counted, nothing changes in the database, and memory stays where it was.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use farewell_proto::device::v1 as wire;

use super::brokers::mosquitto::Mosquitto;
use super::brokers::{Broker, HUBS, PATIENCE, password};
use super::hub::{Hub, Mood, reports, sync};
use super::line::{Line, until};
use crate::devices::broker::Config;
use crate::devices::counters::Odd;
use crate::devices::mqtt::topic::{self, Channel};
use crate::devices::mqtt::{AGENT, PAYLOAD_BYTES_MAX, Protocol};
use crate::devices::names;

/// Strangers that knock, and how many of them at a time.
const STRANGERS: usize = 10_000;
const AT_A_TIME: usize = 16;
/// What memory may grow by meanwhile: two kilobytes kept of each stranger would be more.
const GROWTH_KIB_MAX: u64 = 16 * 1024;
/// Above what a payload may be, and below what any packet may be.
const TOO_LARGE: usize = PAYLOAD_BYTES_MAX + 1;
/// Above what the agent tells an MQTT 5 broker that it takes, and below what the embedded broker lets pass.
const LARGER: usize = 200 * 1024;
/// Above what the embedded broker lets pass, and what the agent reads at all.
const FAR_TOO_LARGE: usize = 2 * 1024 * 1024;

/// A connection without a client library, which would refuse to say most of this.
struct Socket(TcpStream);

impl Socket {
    fn open(port: u16) -> Self {
        let socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        Self(socket)
    }

    /// CONNECT of MQTT 3.1.1. True: accepted.
    fn log_in(&mut self, user: &str, password: &str) -> bool {
        let mut body = [&text("MQTT")[..], &[4, 0b1100_0010, 0, 30]].concat();
        for part in [user, user, password] {
            body.extend(text(part));
        }
        self.say(0x10, &body);
        let mut answer = [0; 4];
        self.0.read_exact(&mut answer).is_ok() && answer == [0x20, 2, 0, 0]
    }

    fn hub(port: u16, hub: &str, password: &str) -> Self {
        let mut socket = Self::open(port);
        assert!(socket.log_in(hub, password));
        socket
    }

    /// PUBLISH with QoS 1. Comes back when the broker has answered, or hung up.
    fn publish(&mut self, topic: &str, payload: &[u8]) {
        let body = [&text(topic)[..], &[0, 1], payload].concat();
        self.say(0x32, &body);
        let _ = self.0.read(&mut [0; 16]);
    }

    fn say(&mut self, kind: u8, body: &[u8]) {
        let mut packet = vec![kind];
        let mut rest = body.len();
        loop {
            let digit = u8::try_from(rest % 128).unwrap();
            rest /= 128;
            packet.push(if rest > 0 { digit | 128 } else { digit });
            if rest == 0 {
                break;
            }
        }
        packet.extend(body);
        // A broker may hang up in the middle of it.
        let _ = self.0.write_all(&packet);
    }
}

fn text(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap();
    [&length.to_be_bytes()[..], text.as_bytes()].concat()
}

/// Strangers and known hubs with wrong secrets, over and over. How many were let in.
async fn knock(port: u16, attempts: usize) -> usize {
    let visitors = (0..AT_A_TIME).map(|visitor| {
        tokio::task::spawn_blocking(move || {
            let mine = (visitor..attempts).step_by(AT_A_TIME);
            mine.filter(|attempt| {
                let user = match attempt % 4 {
                    0 => HUBS[0].to_owned(),
                    1 => AGENT.to_owned(),
                    _ => format!("stranger-{attempt}"),
                };
                Socket::open(port).log_in(&user, &format!("guess-{attempt}"))
            })
            .count()
        })
    });
    let mut let_in = 0;
    for visitor in visitors.collect::<Vec<_>>() {
        let_in += visitor.await.unwrap();
    }
    let_in
}

/// Whether this is a process for this test only. If not, it is run in one, and has passed there: what other tests take of the
/// memory would count, too.
pub(super) fn in_its_own_process(test: &str) -> bool {
    const VARIABLE: &str = "FAREWELL_TEST_ALONE";
    if std::env::var_os(VARIABLE).is_some_and(|named| named == test) {
        return true;
    }
    let own = std::env::current_exe().unwrap();
    let mut run = std::process::Command::new(own);
    let run = run
        .args(["--exact", "--nocapture", test])
        .env(VARIABLE, test);
    let run = run.output().unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    println!("{said}{}", String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success() && said.contains("1 passed"));
    false
}

/// Resident memory of a process.
pub(super) fn resident_kib(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    line.unwrap()
        .split_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap()
}

/// Everything that a device could ever change.
async fn state(line: &Line) -> Vec<String> {
    let rows: Vec<(String,)> = sqlx::query_as(
        "SELECT 'order ' || id || device || epoch || state || reason || moved_at FROM orders UNION ALL \
         SELECT 'device ' || device || epoch || seen_at || seen_epoch FROM devices UNION ALL \
         SELECT 'binding ' || device || epoch || state FROM bindings UNION ALL \
         SELECT 'credential ' || device || epoch || secret_hash FROM credentials ORDER BY 1",
    )
    .fetch_all(line.store.pool())
    .await
    .unwrap();
    rows.into_iter().map(|(row,)| row).collect()
}

/// Two bound hubs with an order each that the agent has sent, so that there is something to lose.
async fn two_hubs(line: &Line) -> [(u64, String); 2] {
    let mut hubs = Vec::new();
    for hub in [HUBS[0], HUBS[1]] {
        hubs.push(line.bind(hub).await);
    }
    // An account that is being erased binds nothing more.
    for (hub, (epoch, _)) in HUBS.into_iter().zip(&hubs) {
        line.owe(hub, *epoch).await;
    }
    let sent = || async {
        let states = line.states().await;
        states.len() == 2 && states.values().all(|state| state == "SENT")
    };
    until("the orders are sent", sent).await;
    hubs.try_into().unwrap()
}

/// What the agent has counted of what devices said.
fn misdeeds_of(line: &Line) -> BTreeMap<String, u64> {
    let counts = line.handle().counters.all().into_iter();
    let refused = counts.filter(|((odd, _), _)| *odd == Odd::Refused);
    refused
        .map(|((_, word), times)| (word.to_owned(), times))
        .collect()
}

/// Waits until it has counted that.
async fn counted(line: &Line, expected: &BTreeMap<String, u64>) {
    let end = Instant::now() + PATIENCE;
    while misdeeds_of(line) != *expected {
        assert!(Instant::now() < end, "{:?}", misdeeds_of(line));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What an agent counts of [`misbehave`], where the broker lets it through.
fn misdeeds() -> BTreeMap<String, u64> {
    [
        ("UNREADABLE", 2),
        ("NOT_YOUR_DEVICE", 2),
        ("INVALID_DEVICE", 3),
        ("NOT_YOUR_ORDER", 1),
        ("UNKNOWN_ORDER", 1),
        ("TOO_MANY_REPORTS", 1),
        ("MESSAGE_TOO_LARGE", 1),
    ]
    .map(|(word, count)| (word.to_owned(), count))
    .into()
}

/// The first hub, bound and logged in, says all that it must not, about the second one's order above all.
async fn misbehave(port: u16, secret: String, epochs: [u64; 2], foreign_order: String) {
    let acts = move || {
        let own = |channel| topic::of("test", HUBS[0], channel);
        let report = |order: &str, device: &str| wire::OrderReport {
            order: order.to_owned(),
            device: names::device(device),
            binding_epoch: epochs[0],
            state: wire::OrderState::Executed.into(),
            reason: String::new(),
            sequence: 0,
        };
        let mut hub = Socket::hub(port, HUBS[0], &secret);
        for junk in [own(Channel::Ack), own(Channel::Sync)] {
            hub.publish(&junk, &[0xff; 40]);
        }
        for foreign in [HUBS[1], "a/b", "+", "#"] {
            hub.publish(&own(Channel::Sync), &sync(foreign, epochs[1], Vec::new()));
        }
        for (order, device) in [
            (foreign_order.as_str(), HUBS[1]),
            (foreign_order.as_str(), HUBS[0]),
            ("orders/unheard-of", HUBS[0]),
        ] {
            hub.publish(&own(Channel::Ack), &reports(vec![report(order, device)]));
        }
        let many = vec![report(&foreign_order, HUBS[0]); 65];
        hub.publish(&own(Channel::Ack), &reports(many));

        // Somebody else's topics, and none at all: each on a connection of its own, because a broker may end it.
        let foreign = reports(vec![wire::OrderReport {
            binding_epoch: epochs[1],
            ..report(&foreign_order, HUBS[1])
        }]);
        for odd in [
            topic::of("test", HUBS[1], Channel::Ack),
            topic::of("test", HUBS[1], Channel::Sync),
            topic::of("test", HUBS[1], Channel::Cmd),
            own(Channel::Cmd),
            topic::of("test", "a/b", Channel::Ack),
            topic::all("test", Channel::Ack),
            topic::of("test", "#", Channel::Ack),
            topic::of("test", "", Channel::Ack),
            topic::of("other", HUBS[0], Channel::Ack),
            "$SYS/broker".to_owned(),
            String::new(),
        ] {
            Socket::hub(port, HUBS[0], &secret).publish(&odd, &foreign);
        }
        for bytes in [TOO_LARGE, LARGER, FAR_TOO_LARGE] {
            Socket::hub(port, HUBS[0], &secret).publish(&own(Channel::Ack), &vec![0; bytes]);
        }
    };
    tokio::task::spawn_blocking(acts).await.unwrap();
}

async fn order_of(line: &Line, hub: &str) -> String {
    let (id,): (String,) = sqlx::query_as("SELECT id FROM orders WHERE device = $1")
        .bind(hub)
        .fetch_one(line.store.pool())
        .await
        .unwrap();
    names::order(&id)
}

/// After all that, whoever behaves is served.
async fn an_honest_hub_is_served(line: &Line, mut hub: Hub) {
    hub.switch_on(Mood::Answers);
    line.settled(HUBS[1]).await;
    hub.switch_off().await;
}

#[tokio::test]
async fn the_embedded_broker_and_the_agent_let_no_intruder_change_anything() {
    if !in_its_own_process(
        "devices::tests::intruders::the_embedded_broker_and_the_agent_let_no_intruder_change_anything",
    ) {
        return;
    }
    let listen = ([127, 0, 0, 1], 0).into();
    let line = Line::start("intruders", Config::Embedded { listen }).await;
    line.standing(1).await;
    let port = line.handle().broker_addr.unwrap().port();
    let [(epoch_1, secret_1), (epoch_2, secret_2)] = two_hubs(&line).await;
    let before = state(&line).await;

    let foreign = order_of(&line, HUBS[1]).await;
    misbehave(port, secret_1, [epoch_1, epoch_2], foreign).await;
    let mut expected = misdeeds();
    // Three of the topics are none at all: the broker hangs up before it asks anybody.
    expected.insert("TOPIC_REFUSED".to_owned(), 8);
    counted(&line, &expected).await;

    assert_eq!(knock(port, STRANGERS / 20).await, 0);
    let resident = resident_kib(std::process::id());
    assert_eq!(knock(port, STRANGERS).await, 0);
    let grown = resident_kib(std::process::id()).saturating_sub(resident);
    println!("{STRANGERS} strangers: {grown} KiB on {resident} KiB");
    assert!(grown < GROWTH_KIB_MAX, "grew by {grown} KiB");
    let refused = u64::try_from(STRANGERS + STRANGERS / 20).unwrap();
    assert_eq!(
        line.handle().counters.of(Odd::Stranger, "LOG_IN_REFUSED"),
        refused
    );

    assert_eq!(line.standing(1).await.number, 1);
    assert_eq!(state(&line).await, before);
    let endpoint = super::brokers::endpoint(port, HUBS[1], &secret_2, Protocol::Auto);
    an_honest_hub_is_served(&line, Hub::new(HUBS[1], epoch_2, endpoint)).await;
}

async fn mosquitto_and_the_agent_let_no_intruder_change_anything(protocol: Protocol) {
    let Some(broker) = Mosquitto::start("") else {
        return;
    };
    let endpoint = broker.endpoint(AGENT, protocol);
    let line = Line::start("intruders-mosquitto", Config::External(endpoint)).await;
    line.standing(1).await;
    let [(epoch_1, _), (epoch_2, _)] = two_hubs(&line).await;
    let before = state(&line).await;

    let foreign = order_of(&line, HUBS[1]).await;
    let secret = password(HUBS[0]).to_owned();
    misbehave(broker.port(), secret, [epoch_1, epoch_2], foreign).await;
    let mut expected = misdeeds();
    if protocol == Protocol::V311 {
        // Nobody could tell the broker what is too large. What is far too large ends a connection, once.
        expected.insert("MESSAGE_TOO_LARGE".to_owned(), 2);
        line.standing(2).await;
    }
    counted(&line, &expected).await;

    assert_eq!(knock(broker.port(), STRANGERS / 20).await, 0);
    let resident = resident_kib(broker.process());
    assert_eq!(knock(broker.port(), STRANGERS).await, 0);
    let grown = resident_kib(broker.process()).saturating_sub(resident);
    println!("{STRANGERS} strangers: mosquitto {grown} KiB on {resident} KiB");
    assert!(grown < GROWTH_KIB_MAX, "grew by {grown} KiB");
    // The broker kept them all to itself.
    assert_eq!(misdeeds_of(&line), expected);

    let connections = if protocol == Protocol::V311 { 2 } else { 1 };
    assert_eq!(line.standing(1).await.number, connections);
    assert_eq!(state(&line).await, before);
    let endpoint = broker.endpoint(HUBS[1], protocol);
    an_honest_hub_is_served(&line, Hub::new(HUBS[1], epoch_2, endpoint)).await;
}

#[tokio::test]
async fn mosquitto_and_the_agent_let_no_intruder_change_anything_with_mqtt_5() {
    mosquitto_and_the_agent_let_no_intruder_change_anything(Protocol::V5).await;
}

#[tokio::test]
async fn mosquitto_and_the_agent_let_no_intruder_change_anything_with_mqtt_3_1_1() {
    mosquitto_and_the_agent_let_no_intruder_change_anything(Protocol::V311).await;
}
