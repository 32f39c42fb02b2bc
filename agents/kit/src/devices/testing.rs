//! A product line without processes around it: real tables, real lane, no listener. And the coordinator's part of it:
//! who signs orders.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use farewell_proto::device::v1 as wire;
use farewell_proto::device::v1::{answer, sync_envelope};
use farewell_runtime::cose::{self, SigningKey};
use farewell_runtime::shutdown::Shutdown;
use prost::Message as _;
use prost::bytes::Bytes;
use uuid::Uuid;

use super::bells::Bells;
use super::binding::Binding;
use super::change::Target;
use super::clock::Clock;
use super::contact::Report;
use super::delivery::{Delivery, Settled, Trouble};
use super::names;
use super::order::Order as DeviceOrder;
use super::participant::{DeviceLine, Line, Terms};
use super::refusal::Refusal;
use super::registry::{Bound, NewBinding, Registry, Via};
use super::said::Said;
use super::schema::SCHEMA;
use super::share::{Role, Share};
use super::signed::ORDER;
use crate::participant::{
    Answer, Deferred, DeviceClass, DeviceDuty, DeviceOutcome, DeviceTask, DeviceVerb, Done,
    LockOutcome, Order, Participant as _,
};
use crate::scratch;
use crate::store::Store;

pub const ACCOUNT: &str = "account-1";
pub const LINE: &str = "test";
pub const ERASE: &str = "deletions/d1/commands/1-erase-test";
pub const TIME_PROOF: &[u8] = b"a proof of the time";
/// How long an end in order may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A line whose devices are reached as the test wants.
pub struct TestLine(pub Via);

impl Line for TestLine {
    fn name(&self) -> &'static str {
        LINE
    }

    fn via(&self) -> Via {
        self.0
    }

    fn class(&self) -> DeviceClass {
        match self.0 {
            Via::Hub => DeviceClass::Home,
            Via::Never | Via::Companion => DeviceClass::Personal,
        }
    }

    fn verbs(&self, binding: &Binding) -> Vec<DeviceVerb> {
        match (self.0, &binding.via) {
            _ if binding.model == "manual" => Vec::new(),
            (Via::Hub, Some(_)) => vec![DeviceVerb::RemoveChild, DeviceVerb::Transfer],
            _ => vec![DeviceVerb::Unbind, DeviceVerb::Reset, DeviceVerb::Transfer],
        }
    }
}

/// Somebody who always knows what time it is.
pub struct Noon;

#[async_trait]
impl Clock for Noon {
    async fn prove(&self, _device: &str, _nonce: Bytes) -> Option<Bytes> {
        Some(Bytes::from_static(TIME_PROOF))
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
    said: AtomicU64,
    shutdown: Shutdown,
}

pub fn patient() -> Terms {
    Terms {
        horizon: Duration::from_secs(3600),
        confirm_wait: Duration::from_secs(3600),
        unbind_horizon: Duration::from_secs(3600),
    }
}

/// One bench for each database that tests can have.
pub async fn benches(name: &str, via: Via, terms: Terms) -> Vec<Bench> {
    let mut benches = Vec::new();
    for url in scratch::urls(name) {
        let namespace = scratch::namespace("devices");
        benches.push(Bench::open(url, namespace, via, terms).await);
    }
    benches
}

/// A key that a device has of its own.
pub fn device_key(device: &str) -> SigningKey {
    let mut seed = [7; 32];
    seed[..device.len()].copy_from_slice(device.as_bytes());
    SigningKey::from_seed(&seed).unwrap()
}

/// A binding as most tests want it. Wearables have a key.
pub fn new_binding(account: &str, device: &str, via: Option<&str>) -> NewBinding {
    NewBinding {
        request_id: Uuid::now_v7(),
        device: device.to_owned(),
        account: account.to_owned(),
        model: "model".to_owned(),
        serial_number: "serial".to_owned(),
        via: via.map(str::to_owned),
        home: None,
        class: None,
        verbs: Vec::new(),
        safety_relevant: false,
        warranty_end: None,
        answer_key: device
            .starts_with("watch")
            .then(|| device_key(device).public()),
        activation_lock: false,
    }
}

pub fn target(device: &str, epoch: u64) -> Target {
    Target {
        request_id: Uuid::now_v7(),
        device: device.to_owned(),
        epoch,
    }
}

impl Delivery {
    /// One answer.
    pub(super) async fn report(
        &self,
        said: Said<Report>,
        through: Option<&str>,
    ) -> Result<(), Trouble> {
        let answers = vec![(said, through.map(str::to_owned))];
        self.reports(answers).await.remove(0)
    }
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
        let settled: Settled = {
            let woken = woken.clone();
            Arc::new(move |command: &str| woken.lock().unwrap().push(command.to_owned()))
        };
        let delivery = Delivery::start(
            registry.clone(),
            bells.clone(),
            settled.clone(),
            Arc::new(Noon),
            &shutdown,
        );
        let line = DeviceLine::new(
            registry.clone(),
            Arc::new(TestLine(via)),
            terms,
            bells.clone(),
            settled,
        );
        Self {
            url,
            namespace,
            registry,
            delivery,
            line,
            bells,
            woken,
            said: AtomicU64::new(0),
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
        assert!(shutdown.drain(PATIENCE).await);
        registry.store().pool().close().await;
        Self::open(url, namespace, via, terms).await
    }

    pub async fn try_bind(
        &self,
        account: &str,
        device: &str,
        via: Option<&str>,
    ) -> Result<Bound, Refusal> {
        self.registry.bind(&new_binding(account, device, via)).await
    }

    pub async fn bind(&self, device: &str, via: Option<&str>) -> u64 {
        let bound = self.try_bind(ACCOUNT, device, via).await.unwrap();
        bound.shown.binding.epoch
    }

    /// Binds with an activation lock.
    pub async fn bind_locked(&self, account: &str, device: &str) -> Result<u64, Refusal> {
        let new = NewBinding {
            activation_lock: true,
            ..new_binding(account, device, None)
        };
        let bound = self.registry.bind(&new).await?;
        Ok(bound.shown.binding.epoch)
    }

    pub async fn share(&self, device: &str, epoch: u64, account: &str, role: Role) {
        let share = Share {
            account: account.to_owned(),
            role,
        };
        let shared = self.registry.share(&target(device, epoch), &share).await;
        shared.unwrap();
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
        let said = Said::sync(plain(sync(device, epoch, done))).unwrap();
        self.delivery.contact(said, None).await.unwrap().orders
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
        self.say(order, device, epoch, state, "NOT_NOW").await
    }

    pub async fn refuse(&self, order: &DeviceOrder, reason: &str) -> Result<(), Trouble> {
        let state = wire::OrderState::Refused;
        self.say(order, &order.device, order.epoch, state, reason)
            .await
    }

    async fn say(
        &self,
        order: &DeviceOrder,
        device: &str,
        epoch: u64,
        state: wire::OrderState,
        reason: &str,
    ) -> Result<(), Trouble> {
        let report = answer_to(&order.id, device, epoch, state, reason);
        let said = Said::answer(wire::Answer {
            answer: Some(answer::Answer::Plain(report)),
        });
        let said = said.map_err(Trouble::Word)?;
        self.delivery.report(said, None).await
    }

    /// A wearable's signed sync, carried by `phone`.
    pub async fn relay(
        &self,
        phone: &str,
        device: &str,
        epoch: u64,
    ) -> Result<Vec<DeviceOrder>, Trouble> {
        let said = Said::sync(signed(device, sync(device, epoch, &[]), self.next())).unwrap();
        let parcel = self.delivery.contact(said, Some(phone)).await?;
        Ok(parcel.orders)
    }

    /// A wearable's signed answer, carried by `phone`.
    pub async fn relay_answer(
        &self,
        phone: &str,
        order: &DeviceOrder,
        state: wire::OrderState,
    ) -> Result<(), Trouble> {
        let report = wire::OrderReport {
            sequence: self.next(),
            ..answer_to(&order.id, &order.device, order.epoch, state, "")
        };
        let said = Said::answer(signed_answer(&order.device, report)).unwrap();
        self.delivery.report(said, Some(phone)).await
    }

    /// The next number of what a device says.
    pub fn next(&self) -> u64 {
        self.said.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// As if everything that devices have said, or were to do, had been so much earlier.
    pub async fn age(&self, by: Duration) {
        let by = i64::try_from(by.as_micros()).unwrap();
        for older in [
            "UPDATE orders SET moved_at = moved_at - $1, queued_at = queued_at - $1",
            "UPDATE erasures SET begun_at = begun_at - $1",
        ] {
            let pool = self.registry.store().pool();
            sqlx::query(older).bind(by).execute(pool).await.unwrap();
        }
    }

    pub fn is_woken(&self, order: &Order) -> bool {
        self.woken.lock().unwrap().contains(&order.command)
    }
}

pub fn sync(device: &str, epoch: u64, done: &[&DeviceOrder]) -> wire::Sync {
    wire::Sync {
        device: names::device(device),
        binding_epoch: epoch,
        done_orders: done.iter().map(|order| names::order(&order.id)).collect(),
        ..wire::Sync::default()
    }
}

pub fn plain(sync: wire::Sync) -> wire::SyncEnvelope {
    wire::SyncEnvelope {
        sync: Some(sync_envelope::Sync::Plain(sync)),
    }
}

pub fn signed(device: &str, sync: wire::Sync, sequence: u64) -> wire::SyncEnvelope {
    let sync = wire::Sync { sequence, ..sync };
    let bytes = device_key(device).sign("farewell.device.v1.Sync", sync.encode_to_vec());
    wire::SyncEnvelope {
        sync: Some(sync_envelope::Sync::Signed(bytes.into())),
    }
}

pub fn signed_answer(device: &str, report: wire::OrderReport) -> wire::Answer {
    let bytes = device_key(device).sign("farewell.device.v1.OrderReport", report.encode_to_vec());
    wire::Answer {
        answer: Some(answer::Answer::Signed(bytes.into())),
    }
}

pub fn answer_to(
    id: &str,
    device: &str,
    epoch: u64,
    state: wire::OrderState,
    reason: &str,
) -> wire::OrderReport {
    wire::OrderReport {
        order: names::order(id),
        device: names::device(device),
        binding_epoch: epoch,
        state: state.into(),
        reason: reason.to_owned(),
        sequence: 0,
    }
}

pub fn command(name: &str) -> Order {
    Order {
        horizon: None,
        retention: Vec::new(),
        ended_by: None,
        command: format!("deletions/d1/commands/{name}"),
        account: ACCOUNT.to_owned(),
        deadline: None,
        devices: Vec::new(),
        traceparent: String::new(),
    }
}

/// The coordinator's order for a device of `command`, before it is signed.
pub fn order_for(command: &str, device: &str, epoch: u64, verb: DeviceVerb) -> wire::Order {
    let now = SystemTime::now();
    wire::Order {
        name: names::order(&Uuid::now_v7().simple().to_string()),
        device: names::device(device),
        binding_epoch: epoch,
        verb: crate::wire::device::verb(verb).into(),
        not_before_time: Some(now.into()),
        expire_time: Some((now + Duration::from_secs(3600)).into()),
        child: String::new(),
        child_epoch: 0,
        new_epoch: if verb == DeviceVerb::Transfer {
            epoch + 1
        } else {
            0
        },
        command: command.to_owned(),
        line: LINE.to_owned(),
    }
}

/// Signs as the coordinator does.
pub fn sign(order: &wire::Order) -> Bytes {
    let key = SigningKey::from_seed(&[1; 32]).unwrap();
    key.sign(ORDER, order.encode_to_vec()).into()
}

/// What a signed order says.
pub fn said(signed: &Bytes) -> wire::Order {
    let payload = cose::payload(ORDER, signed).unwrap();
    wire::Order::decode(payload.as_slice()).unwrap()
}

/// A task whose device is told one of these, the first that holds.
pub fn told(command: &str, device: &str, epoch: u64, verbs: &[DeviceVerb]) -> DeviceTask {
    let orders = verbs
        .iter()
        .map(|verb| sign(&order_for(command, device, epoch, *verb)));
    DeviceTask {
        device: device.to_owned(),
        binding_epoch: epoch,
        duty: DeviceDuty::Orders(orders.collect()),
        lost: false,
    }
}

/// A task of a child that its hub is told to remove.
pub fn told_hub(command: &str, child: (&str, u64), hub: (&str, u64)) -> DeviceTask {
    let order = wire::Order {
        child: names::device(child.0),
        child_epoch: child.1,
        ..order_for(command, hub.0, hub.1, DeviceVerb::RemoveChild)
    };
    DeviceTask {
        device: child.0.to_owned(),
        binding_epoch: child.1,
        duty: DeviceDuty::Orders(vec![sign(&order)]),
        lost: false,
    }
}

pub fn by_hand(device: &str, epoch: u64) -> DeviceTask {
    DeviceTask {
        device: device.to_owned(),
        binding_epoch: epoch,
        duty: DeviceDuty::Manual,
        lost: false,
    }
}

/// The erasure of an account in which every device is wiped.
pub fn erase(devices: &[(&str, u64)]) -> Order {
    let devices = devices
        .iter()
        .map(|(device, epoch)| told(ERASE, device, *epoch, &[DeviceVerb::Reset]));
    erase_with(devices.collect())
}

pub fn erase_with(devices: Vec<DeviceTask>) -> Order {
    Order {
        command: ERASE.to_owned(),
        devices,
        ..command("")
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

pub fn word(result: Result<impl std::fmt::Debug, Trouble>) -> &'static str {
    match result {
        Err(Trouble::Word(word)) => word,
        other => panic!("{other:?}"),
    }
}

pub fn outcomes(done: &Done) -> Vec<(String, DeviceOutcome)> {
    done.devices
        .iter()
        .map(|result| (result.device.clone(), result.outcome.unwrap()))
        .collect()
}

pub fn locks(done: &Done) -> Vec<Option<LockOutcome>> {
    done.devices.iter().map(|result| result.lock).collect()
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
        Arc::new(|_: &str| {}),
    );
    deferred(line.act(order).await.unwrap());
}
