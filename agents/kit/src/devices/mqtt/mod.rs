//! The one wrapper around the MQTT client.
//!
//! With its defaults the client takes 17 MB each, adds 44 ms to a round trip, can't resume after a restart, and is
//! blocked for good by one message that is too large. All that is set right here and nowhere else:
//! no-delay, a small in-flight table, a session store, a size check with a timeout on every notice, and a new
//! subscription on every connection. Messages are acknowledged by the client itself, so that no handle of an earlier
//! connection can be used on a later one. That is safe because an acknowledgement between client and broker is never
//! taken for one by a device.

pub mod line;
mod session;
pub mod topic;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use farewell_runtime::backoff;
use farewell_runtime::shutdown::Shutdown;
use rand::Rng as _;
use rumqttc::mqttbytes::v5::{
    ConnAck, ConnectReturnCode, Packet, PublishProperties, SubscribeReasonCode,
};
use rumqttc::{
    AsyncClient, ConnectionError, Event, EventLoop, MqttOptions, NetworkOptions, PublishOptions,
    QoS, SubscribeFilter, TlsConfiguration, Transport,
};
use tokio::sync::mpsc;

/// Largest payload: far above what 16 orders need, and no broker refuses it.
pub const PAYLOAD_BYTES_MAX: usize = 128 * 1024;
/// What MQTT adds to a payload at most: topic, properties, header.
const OVERHEAD_BYTES_MAX: usize = 1024;
/// A broker that doesn't answer a message for so long will be asked again by the slow timer.
const NOTICE_WAIT: Duration = Duration::from_secs(10);
/// An order waits so long in a broker's queue for a device; then the device's own `sync` brings it.
const MESSAGE_LIFE_SECS: u32 = 3600;
/// First and longest pause between two attempts to connect.
const RECONNECT_BASE: Duration = Duration::from_millis(200);
const RECONNECT_CAP: Duration = Duration::from_secs(30);
/// Keep-alive of a connection.
const KEEP_ALIVE_SECS: u16 = 30;

/// A broker and who one is there.
#[derive(Clone)]
pub struct Endpoint {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// TLS, with the broker's authority in PEM.
    pub ca_pem: Option<Vec<u8>>,
    /// Client id. For devices the device's id.
    pub client_id: String,
    /// User name. For devices the device's id.
    pub username: String,
    /// Password.
    pub password: String,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint")
            .field("host", &self.host)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

/// A connection to keep.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where and who.
    pub endpoint: Endpoint,
    /// Topic filters, subscribed to with QoS 1 on every connection.
    pub filters: Vec<String>,
    /// How long the broker keeps the session of a client that is away. `None`: not at all.
    pub session_life: Option<Duration>,
    /// Messages under way to the broker, and messages that wait on either side: 1 to 1,024.
    pub queue: u16,
}

/// What comes from the broker.
#[derive(Clone, Debug)]
pub enum Incoming {
    /// Connected and subscribed: time to sync.
    Connected,
    /// A message.
    Message {
        /// Its topic.
        topic: String,
        /// Its payload.
        payload: prost::bytes::Bytes,
    },
    /// The connection is gone; the next one is tried for.
    Lost,
    /// The broker doesn't know the log-in, or refuses the subscription.
    Refused,
}

/// Why a message did not reach the broker, or may not have. Whoever sent it sends it again later.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    #[error("the message is larger than the broker takes")]
    TooLarge,
    #[error("too many messages are under way")]
    Full,
    #[error("the broker did not take the message")]
    NotTaken,
}

/// Sends messages. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    client: AsyncClient,
    payload_bytes_max: Arc<AtomicUsize>,
}

impl Client {
    /// Publishes with QoS 1, never retained, and waits until the broker has taken the message.
    ///
    /// That the broker has it says nothing about the device.
    pub async fn publish(&self, topic: String, payload: Vec<u8>) -> Result<(), PublishError> {
        if payload.len() > self.payload_bytes_max.load(Ordering::Relaxed) {
            return Err(PublishError::TooLarge);
        }
        let properties = PublishProperties {
            message_expiry_interval: Some(MESSAGE_LIFE_SECS),
            ..PublishProperties::default()
        };
        let options = PublishOptions::new(QoS::AtLeastOnce)
            .retain(false)
            .properties(properties);
        let notice = self
            .client
            .try_publish_tracked(topic, payload, options)
            .map_err(|_| PublishError::Full)?;
        match tokio::time::timeout(NOTICE_WAIT, notice.wait_completion_async()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(PublishError::NotTaken),
        }
    }
}

/// Connects and stays connected until `shutdown`. What comes in and finds the queue full is dropped: it comes again.
pub fn connect(options: Options, shutdown: &Shutdown) -> (Client, mpsc::Receiver<Incoming>) {
    let queue = options.queue.clamp(1, 1024);
    let (client, events) = AsyncClient::builder(mqtt_options(&options, queue))
        .capacity(queue.into())
        .build();
    let (sender, incoming) = mpsc::channel(usize::from(queue).max(16));
    let payload_bytes_max = Arc::new(AtomicUsize::new(PAYLOAD_BYTES_MAX));
    let pump = Pump {
        client: client.clone(),
        filters: options.filters,
        incoming: sender,
        payload_bytes_max: payload_bytes_max.clone(),
    };
    let end = shutdown.clone();
    shutdown.spawn(pump.run(events, end));
    (
        Client {
            client,
            payload_bytes_max,
        },
        incoming,
    )
}

fn mqtt_options(options: &Options, queue: u16) -> MqttOptions {
    let endpoint = &options.endpoint;
    let mut mqtt = MqttOptions::new(
        endpoint.client_id.clone(),
        (endpoint.host.clone(), endpoint.port),
    );
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    mqtt.set_keep_alive(KEEP_ALIVE_SECS)
        .set_credentials(endpoint.username.clone(), endpoint.password.clone())
        .set_network_options(network)
        .set_outgoing_inflight_upper_limit(queue);
    match options.session_life {
        None => {
            mqtt.set_clean_start(true);
        }
        Some(life) => {
            let secs = u32::try_from(life.as_secs()).unwrap_or(u32::MAX);
            mqtt.set_clean_start(false)
                .set_session_expiry_interval(Some(secs))
                .set_session_store(session::Forgetful {
                    session_expiry_secs: secs,
                    inflight_max: queue,
                });
        }
    }
    if let Some(ca) = &endpoint.ca_pem {
        let tls = TlsConfiguration::Simple {
            ca: ca.clone(),
            alpn: None,
            client_auth: None,
        };
        mqtt.set_transport(Transport::tls_with_config(tls));
    }
    mqtt
}

struct Pump {
    client: AsyncClient,
    filters: Vec<String>,
    incoming: mpsc::Sender<Incoming>,
    payload_bytes_max: Arc<AtomicUsize>,
}

impl Pump {
    /// Ends by the token: the client's own `disconnect` doesn't end the loop while the broker is away.
    async fn run(self, mut events: EventLoop, shutdown: Shutdown) {
        let mut failures = 0;
        loop {
            let event = tokio::select! {
                () = shutdown.wait() => break,
                () = self.incoming.closed() => break,
                event = events.poll() => event,
            };
            match event {
                Ok(Event::Incoming(packet)) => {
                    if matches!(packet, Packet::SubAck(_)) {
                        failures = 0;
                    }
                    self.take(packet);
                }
                Ok(Event::Outgoing(_) | Event::Auth(_)) => {}
                Err(error) => {
                    self.say(if is_refusal(&error) {
                        Incoming::Refused
                    } else {
                        Incoming::Lost
                    });
                    let pause = backoff::jittered(
                        failures,
                        RECONNECT_BASE,
                        RECONNECT_CAP,
                        rand::rng().random(),
                    );
                    failures += 1;
                    tokio::select! {
                        () = shutdown.wait() => break,
                        () = self.incoming.closed() => break,
                        () = tokio::time::sleep(pause) => {}
                    }
                }
            }
        }
    }

    fn take(&self, packet: Packet) {
        match packet {
            Packet::ConnAck(ack) => self.connected(&ack),
            Packet::SubAck(ack) => {
                let granted = ack
                    .return_codes
                    .iter()
                    .all(|code| matches!(code, SubscribeReasonCode::Success(_)));
                self.say(if granted {
                    Incoming::Connected
                } else {
                    Incoming::Refused
                });
            }
            Packet::Publish(publish) => {
                if let Ok(topic) = std::str::from_utf8(&publish.topic) {
                    self.say(Incoming::Message {
                        topic: topic.to_owned(),
                        payload: publish.payload.clone(),
                    });
                }
            }
            _ => {}
        }
    }

    /// Subscribes on every connection: a broker that lost its store says nothing about lost subscriptions.
    fn connected(&self, ack: &ConnAck) {
        let broker_max = ack
            .properties
            .as_ref()
            .and_then(|p| p.max_packet_size)
            .map_or(usize::MAX, |bytes| bytes as usize);
        let payload_max = broker_max
            .saturating_sub(OVERHEAD_BYTES_MAX)
            .min(PAYLOAD_BYTES_MAX);
        self.payload_bytes_max.store(payload_max, Ordering::Relaxed);
        let filters = self
            .filters
            .iter()
            .map(|filter| SubscribeFilter::new(filter.clone(), QoS::AtLeastOnce));
        if self.filters.is_empty() {
            self.say(Incoming::Connected);
        } else if self
            .client
            .try_subscribe_many(filters.collect::<Vec<_>>())
            .is_err()
        {
            tracing::warn!(
                "the MQTT queue is full, the subscription waits for the next connection"
            );
        }
    }

    fn say(&self, incoming: Incoming) {
        // Waiting here would stop the acknowledgements that whoever reads may be waiting for.
        let _ = self.incoming.try_send(incoming);
    }
}

fn is_refusal(error: &ConnectionError) -> bool {
    matches!(
        error,
        ConnectionError::ConnectionRefused(
            ConnectReturnCode::BadUserNamePassword | ConnectReturnCode::NotAuthorized
        )
    )
}
