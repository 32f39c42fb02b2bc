//! An agent put together: database, participant session, listeners, transports.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use anyhow::Context as _;
use async_trait::async_trait;
use farewell_interpreter::Interpreter;
use farewell_proto::binding::v1::binding_service_server::BindingServiceServer;
use farewell_proto::device::v1::device_service_server::DeviceServiceServer;
use farewell_runtime::handshake;
use farewell_runtime::server::{self, MESSAGE_BYTES_MAX, Security};
use farewell_runtime::shutdown::Shutdown;
use futures_util::future::BoxFuture;
use prost::bytes::Bytes;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::bells::Bells;
use super::broker::{self, EmbeddedBroker};
use super::clock::Clock;
use super::counters::Counters;
use super::delivery::{Delivery, Settled};
use super::keeper;
use super::lease::Lease;
use super::lookout;
use super::mqtt;
use super::participant::{DeviceLine, Line, Terms};
use super::registry::Registry;
use super::returns::{self, Archive};
use super::schema::SCHEMA;
use super::{attach, sentences, service};
use crate::participant::{DeviceReturn, ReturnKept};
use crate::session::{self, Session};
use crate::store::Store;

/// What an agent needs to run. No `Debug`: the database's URL may hold a password.
#[derive(Clone)]
pub struct Agent {
    /// `sqlite:path` or `postgres://…`.
    pub database: String,
    /// Where devices and binding callers dial in.
    pub devices_listen: SocketAddr,
    /// Protection of that listener.
    pub security: Security,
    /// How the coordinators are reached.
    pub session: session::Config,
    /// How long devices are waited for.
    pub terms: Terms,
    /// For lines whose devices speak MQTT.
    pub broker: Option<broker::Config>,
}

/// A running agent.
#[derive(Debug)]
pub struct Handle {
    /// Where devices and binding callers dial in.
    pub devices_addr: SocketAddr,
    /// Where the embedded broker listens, if there is one.
    pub broker_addr: Option<SocketAddr>,
    /// For lines whose devices speak MQTT: the connection to the broker and what it offers, `None` while there is none.
    pub broker: Option<watch::Receiver<Option<mqtt::Standing>>>,
    /// The agent's database, to look into.
    pub store: Store,
    /// How often something odd was heard of devices.
    pub counters: Counters,
    served: JoinHandle<anyhow::Result<()>>,
}

impl Handle {
    /// Waits until the agent has ended.
    pub async fn join(self) -> anyhow::Result<()> {
        self.served
            .await
            .context("the agent's listener ended badly")?
    }
}

impl Agent {
    /// Opens the database and the ports and starts everything. Returns once devices can dial in.
    pub fn start(
        self,
        line: Arc<dyn Line>,
        shutdown: Shutdown,
    ) -> BoxFuture<'static, anyhow::Result<Handle>> {
        Box::pin(self.open(line, shutdown))
    }

    async fn open(self, line: Arc<dyn Line>, shutdown: Shutdown) -> anyhow::Result<Handle> {
        self.security.check(self.devices_listen)?;
        let namespace = line.name();
        let store = Store::open(&self.database, namespace, SCHEMA)
            .await
            .context("cannot open the agent's database")?;
        let registry = Registry::new(store.clone(), line.via(), self.broker.is_some());
        let bells = Bells::default();
        let session: Arc<OnceLock<Session>> = Arc::default();
        let settled: Settled = {
            let session = session.clone();
            Arc::new(move |command| {
                if let Some(session) = session.get() {
                    session.wake(command);
                }
            })
        };
        let coordinators = Arc::new(Coordinators(session.clone()));
        let delivery = Delivery::start(
            registry.clone(),
            bells.clone(),
            settled.clone(),
            coordinators.clone(),
            &shutdown,
        );
        let counters = delivery.counters().clone();
        shutdown.spawn(keeper::keep(registry.clone(), self.terms, shutdown.clone()));
        shutdown.spawn(lookout::keep(
            registry.clone(),
            bells.clone(),
            settled.clone(),
            shutdown.clone(),
        ));
        shutdown.spawn(returns::tell(
            registry.clone(),
            coordinators,
            counters.clone(),
            shutdown.clone(),
        ));

        let bound = server::bind(self.devices_listen)
            .await
            .with_context(|| format!("cannot listen on {}", self.devices_listen))?;
        let guarded = bound.guarded(&self.security, handshake::DEVICES)?;
        let (mut embedded, mut standing) = (None, None);
        if let Some(config) = &self.broker {
            // Each process has its own embedded one; at another's they take turns.
            let (endpoint, lease) = match config {
                broker::Config::Embedded { listen } => {
                    let (registry, counters) = (registry.clone(), counters.clone());
                    let broker = EmbeddedBroker::start(*listen, namespace, registry, counters);
                    let broker = embedded.insert(broker.await?);
                    (broker.agent_endpoint(), None)
                }
                broker::Config::External(endpoint) => (endpoint.clone(), Lease::new(store.clone())),
            };
            let desk = mqtt::line::Desk {
                others: lease.is_some(),
                endpoint,
                line: namespace,
                delivery: delivery.clone(),
                bells: bells.clone(),
            };
            standing = Some(desk.open(lease, &shutdown));
        }

        let participant = DeviceLine::new(
            registry.clone(),
            line.clone(),
            self.terms,
            bells.clone(),
            settled.clone(),
        );
        // Set before any command can arrive and be settled; a wake-up lost in between costs a retry.
        let _ = session.set(session::start(
            self.session,
            Arc::new(participant),
            shutdown.clone(),
        ));

        let attach = attach::Service::new(line.via(), delivery, bells, shutdown.clone());
        let binding = service::Service::new(registry.asking(session), settled);
        let (health, health_service) = tonic_health::server::health_reporter();
        health
            .set_serving::<DeviceServiceServer<attach::Service>>()
            .await;
        health
            .set_serving::<BindingServiceServer<service::Service>>()
            .await;
        let router = server::builder()
            .add_service(health_service)
            .add_service(
                DeviceServiceServer::new(attach)
                    .max_decoding_message_size(MESSAGE_BYTES_MAX)
                    .max_encoding_message_size(MESSAGE_BYTES_MAX),
            )
            .add_service(Interpreter::before(
                BindingServiceServer::new(binding)
                    .max_decoding_message_size(MESSAGE_BYTES_MAX)
                    .max_encoding_message_size(MESSAGE_BYTES_MAX),
                &sentences::CATALOGUE,
            ));
        let broker_addr = embedded.as_ref().map(EmbeddedBroker::addr);
        let devices_addr = guarded.addr;
        let end = shutdown.clone();
        let served = shutdown.spawn(async move {
            let served = guarded.serve(router, end.wait()).await;
            if let Some(broker) = embedded {
                broker.stop().await?;
            }
            served.context("the device listener failed")
        });
        tracing::info!(line = namespace, devices = %devices_addr, broker = ?broker_addr, "agent is up");
        Ok(Handle {
            devices_addr,
            broker_addr,
            broker: standing,
            store,
            counters,
            served,
        })
    }
}

/// The coordinators know what time it is and keep what is told of devices, once there is a session with them.
struct Coordinators(Arc<OnceLock<Session>>);

#[async_trait]
impl Clock for Coordinators {
    async fn prove(&self, device: &str, nonce: Bytes) -> Option<Bytes> {
        self.0.get()?.prove_time(device, nonce).await
    }
}

#[async_trait]
impl Archive for Coordinators {
    async fn keep(&self, returns: Vec<DeviceReturn>) -> Option<Vec<ReturnKept>> {
        self.0.get()?.tell_returns(returns).await
    }
}
