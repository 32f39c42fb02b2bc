//! MQTT 3.1.1, which is level 4 of the protocol.
//!
//! Brokers say nothing about themselves in it, messages don't expire, and a session lives as long as the broker
//! likes. The client's defaults are set right as for MQTT 5, see there; it needs no session store.

use rumqttc_v4::mqttbytes::v4::{ConnectReturnCode, Packet, SubscribeReasonCode};
use rumqttc_v4::mqttbytes::{Error as CodecError, QoS};
use rumqttc_v4::{
    AsyncClient, ConnectionError, Event, EventLoop, MqttOptions, NetworkOptions, PublishOptions,
    StateError, SubscribeFilter, TlsConfiguration, Transport,
};

use super::dialect::{Granted, Heard, Trouble, is_end, is_untrusted};
use super::profile::Profile;
use super::protocol::Version;
use super::{
    INCOMING_BYTES_MAX_UNSAID, KEEP_ALIVE_SECS, NOTICE_WAIT, OVERHEAD_BYTES_MAX, Options,
    PAYLOAD_BYTES_MAX, PublishError,
};

pub(super) fn open(options: &Options) -> (Sender, Events) {
    let queue = options.queue();
    let (client, mut events) = AsyncClient::builder(mqtt_options(options, queue))
        .capacity(queue.into())
        .build();
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    events.set_network_options(network);
    let events = Events {
        events,
        accepted: false,
    };
    (Sender(client), events)
}

fn mqtt_options(options: &Options, queue: u16) -> MqttOptions {
    let endpoint = &options.endpoint;
    let mut mqtt = MqttOptions::new(
        endpoint.client_id.clone(),
        (endpoint.host.clone(), endpoint.port),
    );
    mqtt.set_keep_alive(KEEP_ALIVE_SECS)
        .set_credentials(endpoint.username.clone(), endpoint.password.clone())
        .set_inflight(queue)
        .set_max_packet_size(
            INCOMING_BYTES_MAX_UNSAID,
            PAYLOAD_BYTES_MAX + OVERHEAD_BYTES_MAX,
        )
        .set_clean_session(options.session_life.is_none());
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

#[derive(Clone, Debug)]
pub(super) struct Sender(AsyncClient);

impl Sender {
    pub async fn publish(&self, topic: String, payload: Vec<u8>) -> Result<(), PublishError> {
        let options = PublishOptions::new(QoS::AtLeastOnce).retain(false);
        let notice = self
            .0
            .try_publish_tracked(topic, payload, options)
            .map_err(|_| PublishError::Full)?;
        match tokio::time::timeout(NOTICE_WAIT, notice.wait_completion_async()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(PublishError::NotTaken),
        }
    }

    pub fn subscribe(&self, filters: &[String]) -> bool {
        let filters = filters
            .iter()
            .map(|filter| SubscribeFilter::new(filter.clone(), QoS::AtLeastOnce));
        self.0
            .try_subscribe_many(filters.collect::<Vec<_>>())
            .is_ok()
    }
}

pub(super) struct Events {
    events: EventLoop,
    /// Whether the connection that is open now was accepted.
    accepted: bool,
}

impl Events {
    pub async fn poll(&mut self) -> Result<Option<Heard>, Trouble> {
        match self.events.poll().await {
            Ok(Event::Incoming(packet)) => Ok(self.heard(packet)),
            Ok(Event::Outgoing(_)) => Ok(None),
            Err(error) => {
                tracing::debug!(%error, "no connection to the broker");
                let accepted = std::mem::take(&mut self.accepted);
                Err(trouble(&error, accepted))
            }
        }
    }

    fn heard(&mut self, packet: Packet) -> Option<Heard> {
        match packet {
            Packet::ConnAck(ack) => {
                self.accepted = true;
                Some(Heard::Accepted {
                    profile: Profile::unsaid(Version::V311),
                    session_present: ack.session_present,
                })
            }
            Packet::SubAck(ack) => {
                let answers = ack.return_codes.iter().map(|code| match code {
                    SubscribeReasonCode::Success(qos) => Some(*qos as u8),
                    SubscribeReasonCode::Failure => None,
                });
                Some(Heard::Subscribed(Granted::worst(answers)))
            }
            Packet::Publish(publish) => Some(Heard::Message {
                topic: std::str::from_utf8(&publish.topic).ok()?.to_owned(),
                payload: publish.payload,
            }),
            _ => None,
        }
    }
}

fn trouble(error: &ConnectionError, accepted: bool) -> Trouble {
    match error {
        ConnectionError::ConnectionRefused(
            ConnectReturnCode::BadUserNamePassword | ConnectReturnCode::NotAuthorized,
        ) => Trouble::LogIn,
        ConnectionError::ConnectionRefused(ConnectReturnCode::RefusedProtocolVersion) => {
            Trouble::Version
        }
        ConnectionError::Tls(error) if is_untrusted(error) => Trouble::Untrusted,
        ConnectionError::MqttState(StateError::Deserialization(
            CodecError::PayloadSizeLimitExceeded(_),
        )) => Trouble::TooLarge,
        ConnectionError::MqttState(
            StateError::ConnectionAborted | StateError::Deserialization(_),
        ) if !accepted => Trouble::Unanswered,
        ConnectionError::Io(error) | ConnectionError::MqttState(StateError::Io(error))
            if !accepted && is_end(error) =>
        {
            Trouble::Unanswered
        }
        _ => Trouble::Lost,
    }
}
