//! The embedded MQTT broker: for one machine, with nothing to install.
//!
//! It keeps nothing on disk. Its acknowledgements are no promise anyway, and everything that is open is sent again from
//! the agent's database when a device or the agent connects. On addresses that others can reach, use a broker with TLS.

use std::future::{Future, ready};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use farewell_runtime::server::Security;
use mqtt5::broker::auth::{AuthProvider, AuthResult};
use mqtt5::broker::config::{StorageBackend, StorageConfig};
use mqtt5::broker::{BrokerConfig, BrokerShutdownHandle, MqttBroker};
use mqtt5::packet::connect::ConnectPacket;
use mqtt5::protocol::v5::reason_codes::ReasonCode;
use rand::Rng as _;
use subtle::ConstantTimeEq as _;
use tokio::task::JoinHandle;

use super::counters::{Counters, Odd};
use super::mqtt::topic::{self, Channel};
use super::mqtt::{AGENT, Endpoint, Protocol};
use super::names;
use super::registry::{Registry, hex};

/// Connections; each takes about 33 kB.
const CLIENTS_MAX: usize = 19_000;
/// Twice the largest payload that we send.
const PACKET_BYTES_MAX: usize = 256 * 1024;
/// Messages and bytes that wait for one client: a device's orders are in the database, not here.
const QUEUED_MESSAGES_MAX: usize = 64;
const QUEUED_BYTES_MAX: usize = 1024 * 1024;
/// Messages under way to one client.
const OUTBOUND_INFLIGHT_MAX: u16 = 1024;
/// Messages under way from one client.
const RECEIVE_MAX: u16 = 1024;
/// How long the broker keeps a client's session that is away.
const SESSION_LIFE: Duration = Duration::from_secs(3600);
/// Subscriptions of one client; a device needs one, the agent two.
const SUBSCRIPTIONS_MAX: usize = 4;
/// How long the broker may take to open its port.
const READY_WAIT: Duration = Duration::from_secs(10);

/// Under these words refusals are counted.
const LOG_IN_REFUSED: &str = "LOG_IN_REFUSED";
const TOPIC_REFUSED: &str = "TOPIC_REFUSED";

/// Which broker a line uses.
#[derive(Clone, Debug)]
pub enum Config {
    /// Ours, in this process, on loopback.
    Embedded {
        /// Where devices connect; port 0 picks one.
        listen: SocketAddr,
    },
    /// Somebody else's, Mosquitto for instance. It must hold each device to its own topics and know the devices'
    /// passwords from the deployment, see the README of the agent.
    External(Endpoint),
}

/// A running embedded broker.
pub struct EmbeddedBroker {
    addr: SocketAddr,
    secret: String,
    stop: BrokerShutdownHandle,
    served: JoinHandle<mqtt5::Result<()>>,
}

impl EmbeddedBroker {
    /// Opens the port. Devices log in with their id as user name and client id, and the secret of their binding.
    pub(super) async fn start(
        listen: SocketAddr,
        line: &'static str,
        registry: Registry,
        counters: Counters,
    ) -> anyhow::Result<Self> {
        Security::PlainLoopback
            .check(listen)
            .context("the embedded broker has no TLS")?;
        let secret = hex(&rand::rng().random::<[u8; 32]>());
        let auth = DeviceAuth {
            line,
            registry,
            counters,
            agent_secret: secret.clone(),
        };
        let storage = StorageConfig::new()
            .with_backend(StorageBackend::Memory)
            .with_max_queued_messages_per_client(
                QUEUED_MESSAGES_MAX.max(OUTBOUND_INFLIGHT_MAX.into()),
            )
            .with_max_queued_bytes_per_client(QUEUED_BYTES_MAX);
        let config = BrokerConfig::default()
            .with_bind_address(listen)
            .with_storage(storage)
            .with_max_clients(CLIENTS_MAX)
            .with_max_packet_size(PACKET_BYTES_MAX)
            .with_max_outbound_inflight(OUTBOUND_INFLIGHT_MAX)
            .with_server_receive_maximum(RECEIVE_MAX)
            .with_session_expiry(SESSION_LIFE)
            .with_max_subscriptions_per_client(SUBSCRIPTIONS_MAX)
            .with_retain_available(false)
            .with_sys_topics_enabled(false);
        let mut broker = MqttBroker::with_config(config)
            .await
            .with_context(|| format!("the embedded broker can't listen on {listen}"))?
            .with_auth_provider(Arc::new(auth));
        let addr = broker
            .local_addr()
            .context("the embedded broker has no address")?;
        let stop = broker.shutdown_handle();
        let mut ready = broker.ready_receiver();
        let served = tokio::spawn(async move { broker.run().await });
        tokio::time::timeout(READY_WAIT, ready.wait_for(|ready| *ready))
            .await
            .context("the embedded broker did not start in time")?
            .context("the embedded broker ended at once")?;
        Ok(Self {
            addr,
            secret,
            stop,
            served,
        })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// How the agent connects.
    pub fn agent_endpoint(&self) -> Endpoint {
        Endpoint {
            host: self.addr.ip().to_string(),
            port: self.addr.port(),
            protocol: Protocol::V5,
            ca_pem: None,
            client_id: AGENT.to_owned(),
            username: AGENT.to_owned(),
            password: self.secret.clone(),
        }
    }

    /// Ends the broker. Awaited, because it flushes.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.stop.shutdown();
        self.served
            .await
            .context("the embedded broker ended badly")?
            .context("the embedded broker failed")
    }
}

/// Knows devices by the registry and holds each to its own topics.
struct DeviceAuth {
    line: &'static str,
    registry: Registry,
    counters: Counters,
    agent_secret: String,
}

impl DeviceAuth {
    async fn knows(&self, user: &str, password: &[u8]) -> bool {
        if user == AGENT {
            return self.agent_secret.as_bytes().ct_eq(password).into();
        }
        match self.registry.is_secret(user, password).await {
            Ok(known) => known,
            Err(fault) => {
                tracing::warn!(
                    error = &fault as &dyn std::error::Error,
                    "a log-in can't be checked"
                );
                false
            }
        }
    }

    fn may_publish(&self, user: Option<&str>, topic: &str) -> bool {
        match (user, topic::parse(self.line, topic)) {
            (Some(AGENT), Some((_, Channel::Cmd))) => true,
            (Some(user), Some((device, Channel::Ack | Channel::Sync))) => user == device,
            (Some(_) | None, _) => false,
        }
    }

    fn may_subscribe(&self, user: Option<&str>, filter: &str) -> bool {
        match user {
            Some(AGENT) => [Channel::Ack, Channel::Sync]
                .iter()
                .any(|channel| topic::all(self.line, *channel) == filter),
            Some(user) => topic::parse(self.line, filter) == Some((user, Channel::Cmd)),
            None => false,
        }
    }

    fn counted(&self, allowed: bool) -> bool {
        if !allowed {
            self.counters.count(Odd::Refused, TOPIC_REFUSED);
        }
        allowed
    }
}

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

impl AuthProvider for DeviceAuth {
    fn authenticate<'a>(
        &'a self,
        connect: &'a ConnectPacket,
        _: SocketAddr,
    ) -> Boxed<'a, mqtt5::Result<AuthResult>> {
        Box::pin(async move {
            let (Some(user), Some(password)) =
                (connect.username.as_deref(), connect.password.as_deref())
            else {
                self.counters.count(Odd::Stranger, LOG_IN_REFUSED);
                return Ok(AuthResult::fail(ReasonCode::NotAuthorized));
            };
            // The client id is bound to the user: nobody takes over another's session.
            let itself = connect.client_id == user && (user == AGENT || names::is_device_id(user));
            if itself && self.knows(user, password).await {
                Ok(AuthResult::success_with_user(user))
            } else {
                self.counters.count(Odd::Stranger, LOG_IN_REFUSED);
                Ok(AuthResult::fail(ReasonCode::BadUsernameOrPassword))
            }
        })
    }

    fn authorize_publish<'a>(
        &'a self,
        _: &str,
        user: Option<&'a str>,
        topic: &'a str,
    ) -> Boxed<'a, bool> {
        Box::pin(ready(self.counted(self.may_publish(user, topic))))
    }

    fn authorize_subscribe<'a>(
        &'a self,
        _: &str,
        user: Option<&'a str>,
        filter: &'a str,
    ) -> Boxed<'a, bool> {
        Box::pin(ready(self.counted(self.may_subscribe(user, filter))))
    }
}
