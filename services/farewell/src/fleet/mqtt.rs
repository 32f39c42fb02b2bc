//! Hubs: MQTT, one connection each.

use std::time::Duration;

use async_trait::async_trait;
use farewell_kit::devices::mqtt::topic::{self, Channel};
use farewell_kit::devices::mqtt::{Client, Endpoint, Incoming, Options, Protocol, connect};
use farewell_proto::device::v1 as wire;
use farewell_runtime::shutdown::Shutdown;
use prost::Message as _;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::config::{Broker, Device};
use super::link::{Heard, Link, NoLink};

/// The line's level in topics.
const LINE: &str = "smarthome";
/// Messages of one hub: one list of orders and its answers.
const QUEUE_MESSAGES: u16 = 16;
/// How long a connection may take.
const OPEN_WAIT: Duration = Duration::from_secs(30);

/// A hub's connection.
pub(super) struct HubLink {
    endpoint: Endpoint,
    device: String,
    shutdown: Shutdown,
    session: Option<(Client, mpsc::Receiver<Incoming>)>,
}

impl HubLink {
    pub fn new(broker: &Broker, device: &Device, shutdown: Shutdown) -> Self {
        let endpoint = Endpoint {
            host: broker.host.clone(),
            port: broker.port,
            protocol: Protocol::Auto,
            ca_pem: broker.ca_pem.clone(),
            client_id: device.id.clone(),
            username: device.id.clone(),
            password: device.secret.clone(),
        };
        Self {
            endpoint,
            device: device.id.clone(),
            shutdown,
            session: None,
        }
    }

    async fn publish(&self, channel: Channel, payload: Vec<u8>) -> bool {
        let Some((client, _)) = &self.session else {
            return false;
        };
        client
            .publish(topic::of(LINE, &self.device, channel), payload)
            .await
            .is_ok()
    }
}

#[async_trait]
impl Link for HubLink {
    async fn open(&mut self, sync: wire::SyncEnvelope) -> Result<(), NoLink> {
        self.session = None;
        let options = Options {
            endpoint: self.endpoint.clone(),
            filters: vec![topic::of(LINE, &self.device, Channel::Cmd)],
            // Nothing is left at the broker: the sync brings everything.
            session_life: None,
            queue: QUEUE_MESSAGES,
        };
        let (client, mut incoming) = connect(options, &self.shutdown);
        match timeout(OPEN_WAIT, incoming.recv()).await {
            Ok(Some(Incoming::Connected)) => {}
            Ok(Some(Incoming::Refused)) => return Err(NoLink::Unknown),
            Ok(Some(Incoming::Lost | Incoming::Message { .. }) | None) | Err(_) => {
                return Err(NoLink::Away);
            }
        }
        self.session = Some((client, incoming));
        if self.publish(Channel::Sync, sync.encode_to_vec()).await {
            Ok(())
        } else {
            Err(NoLink::Away)
        }
    }

    async fn say_again(&mut self, sync: wire::SyncEnvelope) {
        self.publish(Channel::Sync, sync.encode_to_vec()).await;
    }

    async fn hear(&mut self) -> Heard {
        let Some((_, incoming)) = &mut self.session else {
            return Heard::Lost;
        };
        match incoming.recv().await {
            Some(Incoming::Message { topic, payload }) => {
                let own = topic::parse(LINE, &topic) == Some((&self.device, Channel::Cmd));
                match wire::OrderEnvelope::decode(payload) {
                    Ok(envelope) if own => Heard::Orders(envelope),
                    Ok(_) | Err(_) => Heard::Orders(wire::OrderEnvelope::default()),
                }
            }
            Some(Incoming::Connected | Incoming::Lost | Incoming::Refused) | None => Heard::Lost,
        }
    }

    async fn answer(&mut self, answer: wire::Answer) -> bool {
        self.publish(
            Channel::Ack,
            wire::ReportEnvelope {
                answers: vec![answer],
            }
            .encode_to_vec(),
        )
        .await
    }

    fn close(&mut self) {
        self.session = None;
    }
}
