//! A product line without processes around it: real tables, real lane, no listener.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use farewell_proto::device::v1 as wire;
use farewell_runtime::shutdown::Shutdown;
use uuid::Uuid;

use super::bells::Bells;
use super::binding::Binding;
use super::delivery::{Delivery, Trouble};
use super::names;
use super::order::{Order as DeviceOrder, Verb};
use super::participant::{DeviceLine, Duty, Line, Terms};
use super::registry::{Bound, NewBinding, Refusal, Registry, Via};
use super::schema::SCHEMA;
use crate::participant::{
    Answer, Deferred, DeviceOutcome, DeviceTask, Done, Order, Participant as _,
};
use crate::scratch;
use crate::store::Store;

pub const ACCOUNT: &str = "account-1";

/// A line whose devices are reached as the test wants.
pub struct TestLine(pub Via);

impl Line for TestLine {
    fn name(&self) -> &'static str {
        "test"
    }

    fn via(&self) -> Via {
        self.0
    }

    fn duty(&self, binding: &Binding) -> Duty {
        match (self.0, &binding.via) {
            _ if binding.model == "manual" => Duty::Unsupported,
            (Via::Hub, Some(_)) => Duty::ThroughHub,
            _ => Duty::Own(Verb::Reset),
        }
    }
}

pub struct Bench {
    pub url: String,
    pub namespace: String,
    pub registry: Registry,
    pub delivery: Delivery,
    pub line: DeviceLine,
    pub bells: Bells,
    pub woken: Arc<Mutex<Vec<String>>>,
    shutdown: Shutdown,
}

pub fn patient() -> Terms {
    Terms {
        horizon: Duration::from_secs(3600),
        confirm_wait: Duration::from_secs(3600),
    }
}

/// One bench for each database that tests can have.
pub async fn benches(name: &str, via: Via, terms: Terms) -> Vec<Bench> {
    let mut benches = Vec::new();
    for url in scratch::urls(name) {
        let namespace = format!("devices_{}", Uuid::now_v7().simple());
        benches.push(Bench::open(url, namespace, via, terms).await);
    }
    benches
}

impl Bench {
    pub async fn open(url: String, namespace: String, via: Via, terms: Terms) -> Self {
        let store = Store::open(&url, &namespace, SCHEMA).await.unwrap();
        let registry = Registry::new(store, via, via == Via::Hub);
        let (bells, woken, shutdown) = (
            Bells::default(),
            Arc::<Mutex<Vec<String>>>::default(),
            Shutdown::new(),
        );
        let settled = {
            let woken = woken.clone();
            Arc::new(move |command: &str| woken.lock().unwrap().push(command.to_owned()))
        };
        let delivery = Delivery::start(registry.clone(), bells.clone(), settled, &shutdown);
        let line = DeviceLine::new(
            registry.clone(),
            Arc::new(TestLine(via)),
            terms,
            bells.clone(),
        );
        Self {
            url,
            namespace,
            registry,
            delivery,
            line,
            bells,
            woken,
            shutdown,
        }
    }

    /// The same database in a new process.
    pub async fn restart(self, via: Via, terms: Terms) -> Self {
        let Self {
            url,
            namespace,
            registry,
            delivery,
            line,
            shutdown,
            ..
        } = self;
        drop((delivery, line));
        assert!(shutdown.drain(Duration::from_secs(5)).await);
        registry.store().pool().close().await;
        Self::open(url, namespace, via, terms).await
    }

    pub async fn try_bind(
        &self,
        account: &str,
        device: &str,
        via: Option<&str>,
    ) -> Result<Bound, Refusal> {
        let new = NewBinding {
            request_id: Uuid::now_v7(),
            device: device.to_owned(),
            account: account.to_owned(),
            model: "model".to_owned(),
            serial_number: "serial".to_owned(),
            via: via.map(str::to_owned),
        };
        self.registry.bind(&new).await
    }

    pub async fn bind(&self, device: &str, via: Option<&str>) -> u64 {
        self.try_bind(ACCOUNT, device, via)
            .await
            .unwrap()
            .binding
            .epoch
    }

    pub async fn act(&self, order: &Order) -> Answer {
        self.line.act(order).await.unwrap()
    }

    pub async fn contact(
        &self,
        device: &str,
        epoch: u64,
        done: &[&DeviceOrder],
    ) -> Vec<DeviceOrder> {
        let done_orders = done.iter().map(|order| names::order(&order.id)).collect();
        let sync = wire::Sync {
            device: names::device(device),
            binding_epoch: epoch,
            done_orders,
        };
        self.delivery.contact(sync).await.unwrap()
    }

    pub async fn report(
        &self,
        order: &DeviceOrder,
        state: wire::OrderState,
    ) -> Result<(), Trouble> {
        self.report_as(order, &order.device, order.epoch, state)
            .await
    }

    pub async fn report_as(
        &self,
        order: &DeviceOrder,
        device: &str,
        epoch: u64,
        state: wire::OrderState,
    ) -> Result<(), Trouble> {
        let report = wire::OrderReport {
            order: names::order(&order.id),
            device: names::device(device),
            binding_epoch: epoch,
            state: state.into(),
            reason: "NOT_NOW".to_owned(),
        };
        self.delivery.report(report).await
    }

    pub fn is_woken(&self, order: &Order) -> bool {
        self.woken.lock().unwrap().contains(&order.command)
    }
}

pub fn command(name: &str) -> Order {
    Order {
        command: format!("deletions/d1/commands/{name}"),
        account: ACCOUNT.to_owned(),
        deadline: None,
        devices: Vec::new(),
        traceparent: String::new(),
    }
}

pub fn erase(devices: &[(&str, u64)]) -> Order {
    let devices = devices.iter().map(|(device, epoch)| DeviceTask {
        device: (*device).to_owned(),
        binding_epoch: *epoch,
    });
    Order {
        devices: devices.collect(),
        ..command("1-erase-test")
    }
}

pub fn done(answer: Answer) -> Done {
    match answer {
        Answer::Done(done) => done,
        other => panic!("not done: {other:?}"),
    }
}

pub fn deferred(answer: Answer) -> Deferred {
    match answer {
        Answer::Deferred(deferred) => deferred,
        other => panic!("not deferred: {other:?}"),
    }
}

pub fn refused(answer: Answer) -> String {
    match answer {
        Answer::Refused { reason, .. } => reason,
        other => panic!("not refused: {other:?}"),
    }
}

pub fn outcomes(done: &Done) -> Vec<(String, DeviceOutcome)> {
    done.devices
        .iter()
        .map(|result| (result.device.clone(), result.outcome.unwrap()))
        .collect()
}

/// An agent's configuration on free ports of loopback and a new SQLite file, without coordinators.
pub fn agent(name: &str, security: farewell_runtime::server::Security) -> super::agent::Agent {
    super::agent::Agent {
        database: scratch::sqlite(name),
        devices_listen: ([127, 0, 0, 1], 0).into(),
        security: security.clone(),
        session: crate::session::Config {
            participant: "test".to_owned(),
            coordinators: Vec::new(),
            security,
            window_commands: 16,
        },
        terms: patient(),
        broker: None,
    }
}

/// Lets an order arise behind a running agent's back, as another process on the same database would.
pub async fn queue_behind(store: &Store, via: Via, order: &Order) {
    let registry = Registry::new(store.clone(), via, via == Via::Hub);
    let line = DeviceLine::new(
        registry,
        Arc::new(TestLine(via)),
        patient(),
        Bells::default(),
    );
    deferred(line.act(order).await.unwrap());
}
