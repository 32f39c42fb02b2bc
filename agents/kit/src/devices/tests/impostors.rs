//! Whoever answers where the broker should and can't prove to be it hears nothing: no log-in, no topic, no order.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use farewell_runtime::certs::DevCa;
use farewell_runtime::peer::Role;
use farewell_runtime::shutdown::Shutdown;
use tokio::sync::mpsc;

use super::brokers::mosquitto::Mosquitto;
use super::brokers::{Broker, HUBS, PATIENCE, certificate, password};
use super::line::until;
use crate::devices::mqtt::{Client, Endpoint, Incoming, Options, Protocol, connect};

const PROTOCOLS: [Protocol; 3] = [Protocol::V5, Protocol::V311, Protocol::Auto];
/// Attempts that come to nothing: the pause between them grows, and the protocol may change.
const ATTEMPTS: usize = 3;
/// The first byte of a TLS connection, and of none of MQTT's.
const TLS_HANDSHAKE: u8 = 0x16;

fn dial(endpoint: Endpoint, shutdown: &Shutdown) -> (Client, mpsc::Receiver<Incoming>) {
    let options = Options {
        filters: vec![format!("farewell/v1/test/{}/cmd", endpoint.client_id)],
        endpoint,
        session_life: None,
        queue: 1,
    };
    connect(options, shutdown)
}

async fn next(incoming: &mut mpsc::Receiver<Incoming>) -> Incoming {
    tokio::time::timeout(PATIENCE, incoming.recv())
        .await
        .unwrap()
        .unwrap()
}

/// Tries a few times and never gets through.
async fn stays_away(endpoint: Endpoint) {
    let shutdown = Shutdown::new();
    let protocol = endpoint.protocol;
    let (client, mut incoming) = dial(endpoint, &shutdown);
    for _ in 0..ATTEMPTS {
        let said = next(&mut incoming).await;
        assert!(matches!(said, Incoming::Lost), "{protocol:?}: {said:?}");
    }
    assert_eq!(*client.standing().borrow(), None, "{protocol:?}");
    assert!(shutdown.drain(PATIENCE).await);
}

/// The broker knows the log-in, and is told none of it: to it nobody has come.
#[tokio::test]
async fn a_broker_of_another_authority_or_another_name_hears_nothing() {
    let Some(broker) = Mosquitto::start_with_tls(&certificate()) else {
        return;
    };
    let other = DevCa::create().unwrap().pem().as_bytes().to_vec();
    for protocol in PROTOCOLS {
        let known = broker.endpoint(HUBS[0], protocol);
        stays_away(Endpoint {
            ca_pem: Some(other.clone()),
            ..known.clone()
        })
        .await;
        stays_away(Endpoint {
            // The same broker, under an address that its certificate doesn't name.
            host: "127.0.0.2".to_owned(),
            ..known.clone()
        })
        .await;
        stays_away(Endpoint {
            ca_pem: Some(b"no certificate".to_vec()),
            ..known
        })
        .await;
    }
    assert!(!broker.words().contains(HUBS[0]), "{}", broker.words());

    // Under its name and with its authority it is the broker, and says who came.
    let shutdown = Shutdown::new();
    let (_client, mut incoming) = dial(broker.endpoint(HUBS[0], Protocol::Auto), &shutdown);
    assert!(matches!(next(&mut incoming).await, Incoming::Connected));
    until("the broker says who came", || async {
        broker.words().contains(HUBS[0])
    })
    .await;
    assert!(shutdown.drain(PATIENCE).await);
}

/// A device has a certificate of the same authority. It dials with it, and can't be dialled.
#[tokio::test]
async fn a_device_can_not_pass_for_the_broker() {
    let ca = DevCa::create().unwrap();
    let own = ca.issue(Role::Device, HUBS[0], &[]).unwrap();
    let Some(broker) = Mosquitto::start_with_tls(&own) else {
        return;
    };
    stays_away(broker.endpoint(HUBS[0], Protocol::Auto)).await;
    assert!(!broker.words().contains(HUBS[0]), "{}", broker.words());
}

/// Somebody without any certificate listens, and answers as a broker without TLS would.
#[tokio::test]
async fn where_tls_is_asked_for_nothing_is_said_without_it() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (heard, hears) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut bytes = vec![0; 4096];
            let read = stream.read(&mut bytes).unwrap_or(0);
            bytes.truncate(read);
            // Before the answer: whoever has that looks at what was heard.
            if heard.send(bytes).is_err() {
                return;
            }
            // CONNACK of MQTT 5: welcome.
            let _ = stream.write_all(&[0x20, 3, 0, 0, 0]);
        }
    });
    for protocol in PROTOCOLS {
        stays_away(Endpoint {
            ca_pem: Some(certificate().ca_pem.into_bytes()),
            ..super::brokers::endpoint(port, HUBS[0], password(HUBS[0]), protocol)
        })
        .await;
    }
    let heard: Vec<Vec<u8>> = hears.try_iter().collect();
    assert!(heard.len() >= PROTOCOLS.len() * ATTEMPTS);
    for bytes in heard {
        assert_eq!(bytes.first(), Some(&TLS_HANDSHAKE));
        for secret in [HUBS[0], password(HUBS[0])] {
            let told = bytes
                .windows(secret.len())
                .any(|window| window == secret.as_bytes());
            assert!(!told, "{secret}");
        }
    }
}
