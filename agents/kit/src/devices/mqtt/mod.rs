//! The one wrapper around the MQTT clients, for MQTT 5 and 3.1.1.
//!
//! What their defaults get wrong is set right in `v5` and `v4` and nowhere else. Here, for both: a size check and a
//! timeout on every message, a new subscription on every connection, a pause between attempts, and what a broker
//! offers. Messages are acknowledged by the client itself, so that no handle of an earlier connection can be used on a
//! later one. That is safe because an acknowledgement between client and broker is never taken for one by a device.

mod dialect;
pub mod line;
mod profile;
mod protocol;
mod pump;
mod session;
pub mod topic;
mod v4;
mod v5;

use std::time::Duration;

use farewell_runtime::shutdown::Shutdown;
use tokio::sync::{mpsc, watch};

pub use self::profile::{Profile, Standing};
pub use self::protocol::{Protocol, Version};

use self::dialect::Sender;
use self::pump::Pump;

/// Largest payload: far above what 16 orders need, and no broker refuses it.
pub const PAYLOAD_BYTES_MAX: usize = 128 * 1024;
/// The agent's client id. The tilde keeps it apart from every device id, and NATS takes no dot.
pub const AGENT: &str = "farewell~agent";
/// What MQTT adds to a payload at most: topic, properties, header.
const OVERHEAD_BYTES_MAX: usize = 1024;
/// Largest packet that is taken. An MQTT 5 broker is told so, and keeps what is larger to itself.
const INCOMING_BYTES_MAX: u32 = 129 * 1024;
/// The same where a broker can't be told: above what the usual ones let pass, because what is too large comes again
/// until the session is given up.
const INCOMING_BYTES_MAX_UNSAID: usize = 1025 * 1024;
/// A broker that doesn't answer a message for so long will be asked again by the slow timer.
const NOTICE_WAIT: Duration = Duration::from_secs(10);
/// An order waits so long in a broker's queue for a device; then the device's own `sync` brings it.
const MESSAGE_LIFE_SECS: u32 = 3600;
/// Keep-alive of a connection.
const KEEP_ALIVE_SECS: u16 = 30;
/// Messages under way at most.
const QUEUE_MESSAGES_MAX: u16 = 1024;
/// What comes from a broker waits in a queue of this size at least.
const INCOMING_MESSAGES_MIN: usize = 16;

/// A broker and who one is there.
#[derive(Clone)]
pub struct Endpoint {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Which MQTT is spoken.
    pub protocol: Protocol,
    /// TLS, with the broker's authority in PEM.
    pub ca_pem: Option<Vec<u8>>,
    /// Client id. For devices the device's id.
    pub client_id: String,
    /// User name. For devices the device's id, or what the broker makes of it.
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
    /// How long the broker keeps the session of a client that is away. `None`: not at all. With MQTT 3.1.1 the
    /// broker decides how long.
    pub session_life: Option<Duration>,
    /// Messages under way to the broker, and messages that wait on either side: 1 to 1,024.
    pub queue: u16,
}

impl Options {
    fn queue(&self) -> u16 {
        self.queue.clamp(1, QUEUE_MESSAGES_MAX)
    }
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
    sender: watch::Receiver<Sender>,
    standing: watch::Receiver<Option<Standing>>,
}

impl Client {
    /// Publishes with QoS 1, never retained, and waits until the broker has taken the message.
    ///
    /// That the broker has it says nothing about the device.
    pub async fn publish(&self, topic: String, payload: Vec<u8>) -> Result<(), PublishError> {
        let payload_bytes_max = self
            .standing
            .borrow()
            .map_or(PAYLOAD_BYTES_MAX, |standing| {
                standing.profile.payload_bytes_max()
            });
        if payload.len() > payload_bytes_max {
            return Err(PublishError::TooLarge);
        }
        let sender = self.sender.borrow().clone();
        sender.publish(topic, payload).await
    }

    /// The connection and what the broker offers on it; `None` while there is none.
    pub fn standing(&self) -> watch::Receiver<Option<Standing>> {
        self.standing.clone()
    }
}

/// Connects and stays connected until `shutdown`. What comes in and finds the queue full is dropped: it comes again.
pub fn connect(options: Options, shutdown: &Shutdown) -> (Client, mpsc::Receiver<Incoming>) {
    let (incoming, received) =
        mpsc::channel(usize::from(options.queue()).max(INCOMING_MESSAGES_MIN));
    let (pump, client) = Pump::new(options, incoming);
    shutdown.spawn(pump.run(shutdown.clone()));
    (client, received)
}
