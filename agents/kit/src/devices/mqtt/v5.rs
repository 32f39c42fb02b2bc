//! MQTT 5.
//!
//! With its defaults the client takes 17 MB each, adds 44 ms to a round trip, can't resume after a restart, and is
//! blocked for good by one message that is too large. All that is set right here: no-delay, a small in-flight table, a
//! session store, and limits on what comes in. What is too large to go out is refused before it comes here.

use std::time::Duration;

use rumqttc_v5::mqttbytes::v5::{
    ConnAck, ConnectReturnCode, Packet, PublishProperties, SubscribeReasonCode,
};
use rumqttc_v5::mqttbytes::{Error as CodecError, QoS};
use rumqttc_v5::{
    AsyncClient, ConnectionError, Event, EventLoop, MqttOptions, NetworkOptions, PublishOptions,
    StateError, SubscribeFilter, TlsConfiguration, Transport,
};

use super::dialect::{Granted, Heard, Trouble, is_end, is_untrusted};
use super::profile::Profile;
use super::protocol::Version;
use super::session::Forgetful;
use super::{
    INCOMING_BYTES_MAX, KEEP_ALIVE_SECS, MESSAGE_LIFE_SECS, NOTICE_WAIT, Options, PublishError,
};

/// What a broker offers that doesn't say otherwise, by the standard.
const QOS_DEFAULT: u8 = 2;
const RECEIVE_DEFAULT: u16 = u16::MAX;

pub(super) fn open(options: &Options) -> (Sender, Events) {
    let queue = options.queue();
    let (client, events) = AsyncClient::builder(mqtt_options(options, queue))
        .capacity(queue.into())
        .build();
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
                .set_session_store(Forgetful {
                    session_expiry_secs: secs,
                    inflight_max: queue,
                });
        }
    }
    // After the session's properties: the broker is told, and holds back what is larger.
    mqtt.set_max_packet_size(Some(INCOMING_BYTES_MAX));
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
        let properties = PublishProperties {
            message_expiry_interval: Some(MESSAGE_LIFE_SECS),
            ..PublishProperties::default()
        };
        let options = PublishOptions::new(QoS::AtLeastOnce)
            .retain(false)
            .properties(properties);
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
            Ok(Event::Outgoing(_) | Event::Auth(_)) => Ok(None),
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
                    profile: profile(&ack),
                    session_present: ack.session_present,
                })
            }
            Packet::SubAck(ack) => {
                let answers = ack.return_codes.iter().map(|code| match code {
                    SubscribeReasonCode::Success(qos) => Some(*qos as u8),
                    _ => None,
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

fn profile(ack: &ConnAck) -> Profile {
    let said = ack.properties.as_ref();
    Profile {
        maximum_qos: Some(said.and_then(|p| p.max_qos).unwrap_or(QOS_DEFAULT)),
        retain: Some(said.and_then(|p| p.retain_available) != Some(0)),
        shared_subscriptions: Some(said.and_then(|p| p.shared_subscription_available) != Some(0)),
        session_life: said
            .and_then(|p| p.session_expiry_interval)
            .map(|secs| Duration::from_secs(secs.into())),
        keep_alive: said
            .and_then(|p| p.server_keep_alive)
            .map(|secs| Duration::from_secs(secs.into())),
        receive_max: Some(said.and_then(|p| p.receive_max).unwrap_or(RECEIVE_DEFAULT)),
        packet_bytes_max: said.and_then(|p| p.max_packet_size),
        ..Profile::unsaid(Version::V5)
    }
}

fn trouble(error: &ConnectionError, accepted: bool) -> Trouble {
    match error {
        ConnectionError::ConnectionRefused(
            ConnectReturnCode::BadUserNamePassword | ConnectReturnCode::NotAuthorized,
        ) => Trouble::LogIn,
        ConnectionError::ConnectionRefused(
            ConnectReturnCode::UnsupportedProtocolVersion
            | ConnectReturnCode::RefusedProtocolVersion,
        ) => Trouble::Version,
        ConnectionError::Tls(error) if is_untrusted(error) => Trouble::Untrusted,
        ConnectionError::MqttState(StateError::Deserialization(
            CodecError::PayloadSizeLimitExceeded { .. },
        )) => Trouble::TooLarge,
        // A broker of MQTT 3.1.1 refuses in the words of 3.1.1. The client can't read those and sees the end only.
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
