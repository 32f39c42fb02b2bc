//! A product line under test, and what may happen to it.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use farewell_runtime::server::Security;
use farewell_runtime::shutdown::Shutdown;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

use super::brokers::PATIENCE;
use crate::devices::agent::{Agent, Handle};
use crate::devices::broker::Config;
use crate::devices::mqtt::Standing;
use crate::devices::registry::{Registry, Via};
use crate::devices::schema::SCHEMA;
use crate::devices::testing::{ACCOUNT, TestLine, agent, command, new_binding, queue_behind, told};
use crate::participant::{DeviceVerb, Order};
use crate::scratch;
use crate::store::Store;

/// An agent that can die without a word, on threads of its own.
pub struct Line {
    pub agent: Agent,
    running: Option<(Runtime, Handle, Shutdown)>,
    /// The agent's database, as another process sees it.
    pub store: Store,
}

impl Line {
    pub async fn start(name: &str, broker: Config) -> Self {
        Self::start_on(scratch::sqlite(name), broker).await
    }

    /// On a database that other replicas may share.
    pub async fn start_on(database: String, broker: Config) -> Self {
        let agent = Agent {
            database,
            broker: Some(broker),
            ..agent("line", Security::PlainLoopback)
        };
        let mut line = Self {
            store: Store::open(&agent.database, "test", SCHEMA).await.unwrap(),
            agent,
            running: None,
        };
        line.run().await;
        line
    }

    /// Another replica of it, whose way to the broker may be another.
    pub async fn replica(&self, broker: Config) -> Self {
        let agent = Agent {
            broker: Some(broker),
            ..self.agent.clone()
        };
        let mut replica = Self {
            store: self.store.clone(),
            agent,
            running: None,
        };
        replica.run().await;
        replica
    }

    pub async fn run(&mut self) {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let shutdown = Shutdown::new();
        let starting = self
            .agent
            .clone()
            .start(Arc::new(TestLine(Via::Hub)), shutdown.clone());
        let handle = runtime.spawn(starting).await.unwrap().unwrap();
        self.running = Some((runtime, handle, shutdown));
    }

    /// Ends in order.
    pub async fn leave(&mut self) {
        if let Some((runtime, _, shutdown)) = self.running.take() {
            assert!(shutdown.drain(PATIENCE).await);
            runtime.shutdown_background();
        }
    }

    /// Ends in the middle of whatever it does, with its broker if that is the embedded one.
    pub fn crash(&mut self) {
        if let Some((runtime, ..)) = self.running.take() {
            // As with a process that was killed, its port is free when it is gone. A thread of its own may wait for that.
            let gone = std::thread::spawn(move || runtime.shutdown_timeout(PATIENCE)).join();
            assert!(gone.is_ok() || std::thread::panicking());
        }
    }

    pub fn handle(&self) -> &Handle {
        &self.running.as_ref().unwrap().1
    }

    /// Whether there is a connection to the broker now.
    pub fn is_connected(&self) -> bool {
        let broker = self.handle().broker.as_ref().unwrap();
        broker.borrow().is_some()
    }

    /// Waits for a connection that has said all about itself.
    pub async fn standing(&self, number: u64) -> Standing {
        let mut broker = self.handle().broker.clone().unwrap();
        standing(&mut broker, number).await
    }

    /// Binds a hub. Its epoch and secret.
    pub async fn bind(&self, hub: &str) -> (u64, String) {
        let new = new_binding(ACCOUNT, hub, None);
        let registry = Registry::new(self.store.clone(), Via::Hub, true);
        let bound = registry.bind(&new).await.unwrap();
        (bound.shown.binding.epoch, bound.secret.unwrap())
    }

    /// Owes a hub its reset. The agent is not told: it looks when the hub is there.
    pub async fn owe(&self, hub: &str, epoch: u64) {
        let erasing = command(hub);
        let order = Order {
            devices: vec![told(&erasing.command, hub, epoch, &[DeviceVerb::Reset])],
            ..erasing
        };
        queue_behind(&self.store, Via::Hub, &order).await;
    }

    /// Who has the turn to speak to the broker; nobody, empty.
    pub async fn speaker(&self) -> String {
        let (holder,): (String,) = sqlx::query_as("SELECT holder FROM broker_lease")
            .fetch_one(self.store.pool())
            .await
            .unwrap();
        holder
    }

    /// The state of every hub's order.
    pub async fn states(&self) -> BTreeMap<String, String> {
        let rows: Vec<(String, String)> = sqlx::query_as("SELECT device, state FROM orders")
            .fetch_all(self.store.pool())
            .await
            .unwrap();
        rows.into_iter().collect()
    }

    pub async fn settled(&self, hub: &str) {
        until(&format!("{hub} settles its order"), || async {
            matches!(
                self.states().await.get(hub).map(String::as_str),
                Some("EXECUTED" | "CONFIRMED")
            )
        })
        .await;
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.crash();
    }
}

/// Waits for a connection that has said all about itself.
pub async fn standing(broker: &mut watch::Receiver<Option<Standing>>, number: u64) -> Standing {
    let stands = broker.wait_for(|standing| {
        standing.is_some_and(|standing| {
            standing.number >= number && standing.profile.maximum_qos.is_some()
        })
    });
    let stands = tokio::time::timeout(PATIENCE, stands).await;
    stands.expect("connected to the broker").unwrap().unwrap()
}

/// Waits for what has to become true.
pub async fn until<F: Future<Output = bool>>(what: &str, is: impl Fn() -> F) {
    let becomes = async {
        while !is().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(
        tokio::time::timeout(PATIENCE, becomes).await.is_ok(),
        "{what}"
    );
}
