//! Random histories of devices that are bound, sold, bound anew, unbound, lost and deleted, over a network that repeats,
//! reorders, delays, forges and misdirects: no device carries out what is not its own, and no answer says what is not so.
//!
//! The tables, the lane and the participant are the real ones. A device here is as simple as the wire's comments allow.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, SystemTime};

use farewell_proto::device::v1 as wire;
use farewell_proto::device::v1::{DeviceVerb as Verb, OrderState};
use farewell_runtime::cose::{KeyRing, SigningKey};
use prost::Message as _;
use prost::bytes::Bytes;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

use crate::devices::names;
use crate::devices::participant::Terms;
use crate::devices::registry::{Bound, Via};
use crate::devices::said::Said;
use crate::devices::signed::ORDER;
use crate::devices::testing::*;
use crate::participant::{
    Answer, DeviceOutcome, DeviceTask, DeviceVerb, LockOutcome, Order, Participant as _,
    UnbindDevice,
};
use crate::{scratch, seal};

/// An account that was erased binds nothing any more: there are some to come.
const ACCOUNTS: [&str; 10] = [
    "ann", "bob", "cid", "dan", "eve", "fay", "gus", "hal", "ida", "jon",
];
const PHONES: [&str; 2] = ["phone-1", "phone-2"];
const STEPS: usize = 250;
/// Histories of each kind of line; `FAREWELL_TEST_CASES` asks for more.
const CASES: u64 = 20;
/// Rounds in which everything that can still be said is said.
const ROUNDS: usize = 12;
/// How far a device's clock may jump: beyond the life of every order.
const JUMP: Duration = Duration::from_secs(2 * 3600);

/// A device as it is, whatever anybody believes of it.
struct Body {
    id: &'static str,
    epoch: u64,
    children: BTreeMap<&'static str, u64>,
    /// Bindings that it ever believed in.
    paired: BTreeSet<u64>,
    /// Bindings whose data was wiped.
    wiped: BTreeSet<u64>,
    done: Vec<String>,
    answers: HashMap<String, (Vec<u8>, wire::OrderReport)>,
    sequence: u64,
    /// How far its clock is ahead, and how far behind.
    clock: (Duration, Duration),
    /// A wearable's companion.
    phone: Option<&'static str>,
    gone: bool,
}

impl Body {
    fn new(id: &'static str) -> Self {
        Self {
            id,
            epoch: 0,
            children: BTreeMap::new(),
            paired: BTreeSet::new(),
            wiped: BTreeSet::new(),
            done: Vec::new(),
            answers: HashMap::new(),
            sequence: 0,
            clock: (Duration::ZERO, Duration::ZERO),
            phone: None,
            gone: false,
        }
    }

    fn now(&self) -> SystemTime {
        SystemTime::now() + self.clock.0 - self.clock.1
    }

    fn next(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    fn sync(&mut self) -> wire::SyncEnvelope {
        let sync = wire::Sync {
            device: names::device(self.id),
            binding_epoch: self.epoch,
            done_orders: self.done.iter().rev().take(64).rev().cloned().collect(),
            ..wire::Sync::default()
        };
        let sequence = self.next();
        signed(self.id, sync, sequence)
    }

    fn say(&mut self, order: &str, epoch: u64, state: OrderState, reason: &str) -> wire::Answer {
        let report = wire::OrderReport {
            order: order.to_owned(),
            device: names::device(self.id),
            binding_epoch: epoch,
            state: state.into(),
            reason: reason.to_owned(),
            sequence: self.next(),
        };
        signed_answer(self.id, report)
    }

    /// What it does about what came as an order: what it carried out, and what it says.
    fn hear(&mut self, keys: &KeyRing, bytes: &[u8]) -> (Option<wire::Order>, wire::Answer) {
        let payload = match keys.verify(ORDER, bytes) {
            Ok(payload) => payload,
            Err(why) => {
                return (
                    None,
                    self.say("", self.epoch, OrderState::Refused, why.word()),
                );
            }
        };
        let order = wire::Order::decode(payload.as_slice()).unwrap();
        let refuse = |reason: &'static str| (OrderState::Refused, reason);
        let child = names::device_of(&order.child).map(str::to_owned);
        let known = child.as_ref().and_then(|child| {
            let mut children = self.children.iter();
            children
                .find(|(name, _)| *name == child)
                .map(|(name, epoch)| (*name, *epoch))
        });
        let time = |at: Option<prost_types::Timestamp>| SystemTime::try_from(at.unwrap()).unwrap();
        let (state, reason) = if order.line != LINE {
            refuse("NOT_THIS_LINE")
        } else if order.device != names::device(self.id) {
            refuse("NOT_THIS_DEVICE")
        } else if let Some((before, report)) = self.answers.get(&order.name) {
            if *before == payload {
                let (epoch, name) = (report.binding_epoch, report.order.clone());
                return (None, self.say(&name, epoch, OrderState::Executed, ""));
            }
            refuse("ORDER_CHANGED")
        } else if order.binding_epoch != self.epoch
            || known.is_some_and(|(_, epoch)| epoch != order.child_epoch)
        {
            (OrderState::Superseded, "")
        } else if self.now() < time(order.not_before_time) {
            refuse("NOT_YET")
        } else if self.now() > time(order.expire_time) {
            refuse("EXPIRED")
        } else {
            return self.execute(order, payload, known);
        };
        (None, self.say(&order.name, self.epoch, state, reason))
    }

    fn execute(
        &mut self,
        order: wire::Order,
        payload: Vec<u8>,
        child: Option<(&'static str, u64)>,
    ) -> (Option<wire::Order>, wire::Answer) {
        match (order.verb(), child) {
            (Verb::Reset, _) => {
                self.wiped.insert(self.epoch);
                self.epoch = 0;
            }
            (Verb::Unbind, _) => self.epoch = 0,
            (Verb::RemoveChild, Some((child, _))) => {
                self.children.remove(child);
            }
            (Verb::RemoveChild, None) => {}
            (Verb::Transfer | Verb::Unspecified, _) => unreachable!("nobody signs that here"),
        }
        self.done.push(order.name.clone());
        let report = answer_to("", self.id, order.binding_epoch, OrderState::Executed, "");
        let report = wire::OrderReport {
            order: order.name.clone(),
            ..report
        };
        self.answers.insert(order.name.clone(), (payload, report));
        let said = self.say(&order.name, order.binding_epoch, OrderState::Executed, "");
        (Some(order), said)
    }
}

/// Something on its way to the agent, brought by a device's own connection or by a phone.
#[derive(Clone)]
enum Up {
    Sync(wire::SyncEnvelope),
    Answer(wire::Answer),
}

/// A deletion that was asked for.
struct Deletion {
    order: Order,
    /// What each device of the roster is told.
    verbs: BTreeMap<(String, u64), DeviceVerb>,
    done: Option<Vec<End>>,
}

type End = (String, u64, DeviceOutcome, Option<LockOutcome>);

/// A binding as its owner knows it.
#[derive(Clone)]
struct Owned {
    epoch: u64,
    account: &'static str,
    locked: bool,
}

#[derive(Default)]
struct Tally {
    steps: u64,
    executed: u64,
    refused: u64,
    forged: u64,
    deletions: u64,
}

struct World {
    bench: Option<Bench>,
    via: Via,
    rng: StdRng,
    bodies: Vec<Body>,
    up: Vec<(&'static str, Up)>,
    /// Everything that was ever sent, with whom it was sent to.
    down: Vec<(String, Bytes)>,
    /// Bindings that somebody asked to end.
    wanted: BTreeSet<(String, u64)>,
    deletions: Vec<Deletion>,
    /// The newest binding of each device.
    owned: BTreeMap<&'static str, Owned>,
    /// Bindings with an activation lock.
    locked: BTreeSet<(String, u64)>,
    lost: BTreeSet<&'static str>,
    keys: KeyRing,
    tally: Tally,
}

fn terms(horizon: Duration) -> Terms {
    Terms {
        horizon,
        confirm_wait: Duration::ZERO,
        unbind_horizon: Duration::from_secs(3600),
    }
}

impl World {
    async fn new(via: Via, seed: u64) -> Self {
        let ids: &[&'static str] = match via {
            Via::Hub => &["hub-1", "hub-2", "lamp-1", "lamp-2", "lamp-3", "plug-1"],
            Via::Never | Via::Companion => &["watch-1", "watch-2", "watch-3"],
        };
        let url = scratch::sqlite("simulation");
        let patient = terms(Duration::from_secs(3600));
        let bench = Bench::open(url, "simulation".to_owned(), via, patient).await;
        let key = SigningKey::from_seed(&[1; 32]).unwrap();
        Self {
            bench: Some(bench),
            via,
            rng: StdRng::seed_from_u64(seed),
            bodies: ids.iter().map(|id| Body::new(id)).collect(),
            up: Vec::new(),
            down: Vec::new(),
            wanted: BTreeSet::new(),
            deletions: Vec::new(),
            owned: BTreeMap::new(),
            locked: BTreeSet::new(),
            lost: BTreeSet::new(),
            keys: KeyRing::new([key.public()]),
            tally: Tally::default(),
        }
    }

    fn bench(&self) -> &Bench {
        self.bench.as_ref().unwrap()
    }

    fn body(&mut self, id: &str) -> &mut Body {
        self.bodies.iter_mut().find(|body| body.id == id).unwrap()
    }

    fn any_body(&mut self) -> &'static str {
        let ids: Vec<_> = self.bodies.iter().map(|body| body.id).collect();
        ids.choose(&mut self.rng).unwrap()
    }

    fn is_child(&self, id: &str) -> bool {
        self.via == Via::Hub && id.starts_with("lamp")
    }

    async fn step(&mut self) {
        self.tally.steps += 1;
        match self.rng.random_range(0..100) {
            0..16 => self.bind().await,
            16..19 => self.transfer().await,
            19..23 => self.unbind().await,
            23..27 => self.delete().await,
            27..32 => self.poll().await,
            32..48 => self.contact().await,
            48..72 => self.deliver_up().await,
            72..96 => self.deliver_down(),
            96 => self.lose_or_find().await,
            97 => {
                let (id, back) = (self.any_body(), self.rng.random_bool(0.5));
                let (ahead, behind) = (Duration::ZERO, JUMP);
                self.body(id).clock = if back {
                    (ahead, behind)
                } else {
                    (behind, ahead)
                };
            }
            98 => {
                let id = self.any_body();
                self.body(id).gone = self.rng.random_bool(0.1);
            }
            _ => self.restart(Duration::from_secs(3600)).await,
        }
    }

    async fn restart(&mut self, horizon: Duration) {
        let bench = self.bench.take().unwrap();
        self.bench = Some(bench.restart(self.via, terms(horizon)).await);
    }

    /// Whoever has the device in hand pairs it, usually; sometimes only the server learns of it.
    async fn bind(&mut self) {
        let (id, account) = (self.any_body(), *ACCOUNTS.choose(&mut self.rng).unwrap());
        let via = match self.via {
            Via::Hub if self.is_child(id) => ["hub-1", "hub-2"].choose(&mut self.rng).copied(),
            Via::Companion => PHONES.choose(&mut self.rng).copied(),
            Via::Hub | Via::Never => None,
        };
        let new = crate::devices::registry::NewBinding {
            answer_key: Some(device_key(id).public()),
            activation_lock: self.rng.random_bool(0.5),
            ..new_binding(account, id, via)
        };
        let Ok(bound) = self.bench().registry.bind(&new).await else {
            return;
        };
        let epoch = bound.shown.binding.epoch;
        self.own(id, account, &bound);
        if self.via == Via::Companion {
            self.body(id).phone = via;
        }
        if self.rng.random_bool(0.9) {
            self.pair(id, via, epoch);
        }
    }

    fn pair(&mut self, id: &'static str, via: Option<&str>, epoch: u64) {
        if !self.is_child(id) {
            let body = self.body(id);
            body.epoch = epoch;
            body.paired.insert(epoch);
            return;
        }
        for body in &mut self.bodies {
            body.children.remove(id);
        }
        if let Some(hub) = via {
            self.body(hub).children.insert(id, epoch);
        }
    }

    /// Sold on, with the device in the buyer's hand.
    async fn transfer(&mut self) {
        let Some((id, epoch, via)) = self.any_binding().await else {
            return;
        };
        let account = *ACCOUNTS.choose(&mut self.rng).unwrap();
        let moved = self
            .bench()
            .registry
            .transfer(&target(id, epoch), account)
            .await;
        if let Ok(bound) = moved {
            self.own(id, account, &bound);
            self.pair(id, via.as_deref(), bound.shown.binding.epoch);
        }
    }

    fn own(&mut self, id: &'static str, account: &'static str, bound: &Bound) {
        let (epoch, locked) = (bound.shown.binding.epoch, bound.shown.locked);
        if locked {
            self.locked.insert((id.to_owned(), epoch));
        }
        let owned = Owned {
            epoch,
            account,
            locked,
        };
        self.owned.insert(id, owned);
    }

    /// Also while its account is deleted, and when nobody has it any more.
    async fn lose_or_find(&mut self) {
        let id = self.any_body();
        let Some(owned) = self.owned.get(id) else {
            return;
        };
        let (report, lost) = (target(id, owned.epoch), !self.lost.contains(id));
        let said = self.bench().registry.report_lost(&report, lost).await;
        match said {
            Ok(_) if lost => self.lost.insert(id),
            Ok(_) => self.lost.remove(id),
            Err(_) => false,
        };
    }

    async fn any_binding(&mut self) -> Option<(&'static str, u64, Option<String>)> {
        let account = self.any_owner().await?;
        let listed = self.bench().registry.list(account, "", 50).await.unwrap();
        let shown = listed.choose(&mut self.rng)?;
        let binding = shown.binding.clone();
        let ids = self.bodies.iter().map(|body| body.id);
        let id = ids.into_iter().find(|id| *id == binding.device)?;
        Some((id, binding.epoch, binding.via))
    }

    async fn unbind(&mut self) {
        let Some(account) = self.any_owner().await else {
            return;
        };
        let listed = self.bench().registry.list(account, "", 50).await.unwrap();
        let Some(shown) = listed.choose(&mut self.rng) else {
            return;
        };
        let name = format!("lines/test/deviceUnbindings/{}", uuid::Uuid::now_v7());
        let (device, epoch) = (shown.binding.device.clone(), shown.binding.epoch);
        let (task, _) = self
            .task(&name, &device, epoch, shown.binding.via.as_deref(), false)
            .await;
        let request = UnbindDevice {
            name,
            account: account.to_owned(),
            device: task,
        };
        if self
            .bench()
            .line
            .unbind_device(&request)
            .await
            .unwrap()
            .is_ok()
        {
            self.wanted.insert((device, epoch));
        }
    }

    /// An account that has something.
    async fn any_owner(&mut self) -> Option<&'static str> {
        let start = self.rng.random_range(0..ACCOUNTS.len());
        for account in ACCOUNTS
            .into_iter()
            .cycle()
            .skip(start)
            .take(ACCOUNTS.len())
        {
            let listed = self.bench().registry.list(account, "", 1).await.unwrap();
            if !listed.is_empty() {
                return Some(account);
            }
        }
        None
    }

    /// What the coordinator would sign.
    async fn task(
        &mut self,
        command: &str,
        device: &str,
        epoch: u64,
        via: Option<&str>,
        wipe: bool,
    ) -> (DeviceTask, DeviceVerb) {
        if let (Some(hub), true) = (via, self.is_child(device)) {
            let hub_epoch = self.epoch_of(hub).await;
            let task = told_hub(command, (device, epoch), (hub, hub_epoch));
            return (task, DeviceVerb::RemoveChild);
        }
        let verb = if wipe {
            DeviceVerb::Reset
        } else {
            DeviceVerb::Unbind
        };
        (told(command, device, epoch, &[verb]), verb)
    }

    /// The epoch of the registry's binding of a device.
    async fn epoch_of(&self, device: &str) -> u64 {
        let pool = self.bench().registry.store().pool();
        let found: Option<(i64,)> = sqlx::query_as("SELECT epoch FROM devices WHERE device = $1")
            .bind(device)
            .fetch_optional(pool)
            .await
            .unwrap();
        found.map_or(0, |(epoch,)| u64::try_from(epoch).unwrap())
    }

    async fn delete(&mut self) {
        let Some(account) = self.any_owner().await else {
            return;
        };
        let listed = self.bench().registry.list(account, "", 50).await.unwrap();
        if self.deletions.iter().any(|it| it.order.account == account) {
            return;
        }
        let command = format!("deletions/{account}/commands/1-erase-test");
        let (mut devices, mut verbs) = (Vec::new(), BTreeMap::new());
        for shown in listed {
            let (device, epoch) = (shown.binding.device.clone(), shown.binding.epoch);
            let via = shown.binding.via.as_deref();
            let (task, verb) = self.task(&command, &device, epoch, via, true).await;
            devices.push(task);
            self.wanted.insert((device.clone(), epoch));
            verbs.insert((device, epoch), verb);
        }
        self.tally.deletions += 1;
        self.deletions.push(Deletion {
            order: Order {
                command,
                account: account.to_owned(),
                devices,
                ..crate::devices::testing::command("")
            },
            verbs,
            done: None,
        });
        self.poll().await;
    }

    /// The coordinator asks again, whatever was answered.
    async fn poll(&mut self) {
        for place in 0..self.deletions.len() {
            let answer = self.bench().act(&self.deletions[place].order).await;
            let Answer::Done(done) = answer else {
                continue;
            };
            let ends: Vec<_> = done
                .devices
                .iter()
                .map(|it| {
                    (
                        it.device.clone(),
                        it.binding_epoch,
                        it.outcome.unwrap(),
                        it.lock,
                    )
                })
                .collect();
            let before = self.deletions[place].done.replace(ends.clone());
            assert!(
                before.is_none_or(|before| before == ends),
                "an answer that changed"
            );
        }
    }

    /// A device is there. Mostly all goes well; otherwise what it says is on its way for a while.
    async fn contact(&mut self) {
        let id = self.any_body();
        if self.is_child(id) || self.body(id).gone {
            return;
        }
        let sync = self.body(id).sync();
        if self.rng.random_bool(0.4) {
            self.up.push((id, Up::Sync(sync)));
            return;
        }
        let sent = self.down.len();
        let phone = self.phone_of(id);
        self.bring(Up::Sync(sync), phone).await;
        for place in sent..self.down.len() {
            if self.rng.random_bool(0.6) {
                let bytes = self.down[place].1.clone();
                self.obey(id, &bytes);
            }
        }
    }

    /// Usually the companion.
    fn phone_of(&mut self, id: &str) -> &'static str {
        let companion = self.body(id).phone;
        match companion {
            Some(phone) if self.rng.random_bool(0.8) => phone,
            Some(_) | None => PHONES.choose(&mut self.rng).unwrap(),
        }
    }

    /// Something reaches the agent: late, again, or made up.
    async fn deliver_up(&mut self) {
        if self.up.is_empty() {
            return;
        }
        let place = self.rng.random_range(0..self.up.len());
        let (id, mut said) = if self.rng.random_bool(0.3) {
            self.up[place].clone()
        } else {
            self.up.swap_remove(place)
        };
        if self.rng.random_bool(0.1) {
            self.tally.forged += 1;
            said = self.forge(id);
        }
        let phone = self.phone_of(id);
        self.bring(said, phone).await;
    }

    /// What somebody without the device's key would like to have said.
    fn forge(&mut self, id: &'static str) -> Up {
        let thief = "thief";
        let order = self
            .down
            .choose(&mut self.rng)
            .map(|(_, bytes)| said(bytes));
        let order = order.filter(|order| order.device == names::device(id));
        let report = wire::OrderReport {
            order: order.map(|order| order.name).unwrap_or_default(),
            device: names::device(id),
            binding_epoch: self.body(id).epoch + self.rng.random_range(0..2),
            state: OrderState::Executed.into(),
            reason: String::new(),
            sequence: 1_000_000,
        };
        if self.rng.random_bool(0.5) {
            Up::Answer(signed_answer(thief, report))
        } else {
            let sync = wire::Sync {
                device: names::device(id),
                ..wire::Sync::default()
            };
            Up::Sync(signed(thief, sync, 1_000_000))
        }
    }

    async fn bring(&mut self, what: Up, phone: &'static str) {
        let through = (self.via == Via::Companion).then_some(phone);
        let delivery = &self.bench().delivery;
        match what {
            Up::Sync(sync) => {
                if let Ok(parcel) = delivery.contact(Said::sync(sync).unwrap(), through).await {
                    delivery.sent(&parcel).await;
                    let orders = parcel.orders.into_iter();
                    self.down
                        .extend(orders.map(|order| (order.device, order.signed)));
                } else {
                    self.tally.refused += 1;
                }
            }
            Up::Answer(answer) => {
                if let Ok(report) = Said::answer(answer)
                    && delivery.report(report, through).await.is_err()
                {
                    self.tally.refused += 1;
                }
            }
        }
    }

    /// Something reaches a device: late, again, another one's, or changed on its way.
    fn deliver_down(&mut self) {
        let Some((addressee, mut bytes)) = self.down.choose(&mut self.rng).cloned() else {
            return;
        };
        let misled = self.rng.random_bool(0.15);
        let id = if misled {
            self.any_body()
        } else {
            let mut ids = self.bodies.iter().map(|body| body.id);
            ids.find(|id| *id == addressee).unwrap()
        };
        if self.rng.random_bool(0.15) {
            self.tally.forged += 1;
            bytes = self.tamper(&bytes, id);
        }
        self.obey(id, &bytes);
    }

    /// Changed bytes, or an order for this very device: one that a foreign key signed, or the coordinator's for a device of
    /// the same id in another line.
    fn tamper(&mut self, bytes: &Bytes, id: &str) -> Bytes {
        if self.rng.random_bool(0.5) {
            let mut changed = bytes.to_vec();
            let place = self.rng.random_range(0..changed.len());
            changed[place] ^= 1 << self.rng.random_range(0..8);
            return changed.into();
        }
        let order = wire::Order {
            device: names::device(id),
            binding_epoch: self.body(id).epoch,
            ..said(bytes)
        };
        if self.rng.random_bool(0.5) {
            let elsewhere = wire::Order {
                line: "elsewhere".to_owned(),
                ..order
            };
            return sign(&elsewhere);
        }
        let foreign = SigningKey::from_seed(&[9; 32]).unwrap();
        foreign.sign(ORDER, order.encode_to_vec()).into()
    }

    fn obey(&mut self, id: &'static str, bytes: &[u8]) {
        if self.body(id).gone {
            return;
        }
        let keys = self.keys.clone();
        let before = self.body(id).epoch;
        let (did, answer) = self.body(id).hear(&keys, bytes);
        if let Some(order) = did {
            self.tally.executed += 1;
            let subject = match names::device_of(&order.child) {
                Some(child) => (child.to_owned(), order.child_epoch),
                None => (id.to_owned(), before),
            };
            assert_eq!(order.device, names::device(id), "another's order");
            assert_eq!(order.binding_epoch, before, "another binding's order");
            assert!(
                self.wanted.contains(&subject),
                "nobody asked for {subject:?}"
            );
        }
        self.up.push((id, Up::Answer(answer)));
    }

    /// Everybody who is left says everything, in order, until nothing moves; whoever is gone is waited for no longer.
    async fn settle(&mut self) {
        for round in 0..ROUNDS {
            if round == ROUNDS - 2 {
                self.restart(Duration::ZERO).await;
            }
            let ids: Vec<_> = self.bodies.iter().map(|body| body.id).collect();
            for id in ids {
                if self.is_child(id) || self.body(id).gone {
                    continue;
                }
                self.body(id).clock = (Duration::ZERO, Duration::ZERO);
                for phone in PHONES {
                    let sync = self.body(id).sync();
                    let sent = self.down.len();
                    self.bring(Up::Sync(sync), phone).await;
                    for (_, bytes) in self.down.split_off(sent) {
                        self.obey(id, &bytes);
                        if let Some((_, said)) = self.up.pop() {
                            self.bring(said, phone).await;
                        }
                    }
                }
            }
            self.poll().await;
        }
    }

    /// What was answered is so.
    async fn audit(&self) {
        for deletion in &self.deletions {
            let ends = deletion.done.as_ref();
            let ends = ends.unwrap_or_else(|| panic!("{} never ends", deletion.order.command));
            assert_eq!(ends.len(), deletion.verbs.len(), "each device has one end");
            for (device, epoch, outcome, lock) in ends {
                let locked = self.locked.contains(&(device.clone(), *epoch));
                assert!(
                    *outcome == DeviceOutcome::Superseded || lock.is_some() == locked,
                    "{device} {epoch}: {lock:?}"
                );
                let verb = deletion.verbs[&(device.clone(), *epoch)];
                let body = self.bodies.iter().find(|body| body.id == device).unwrap();
                let holds = body.epoch == *epoch
                    || self
                        .bodies
                        .iter()
                        .any(|hub| hub.children.get(body.id) == Some(epoch));
                match outcome {
                    DeviceOutcome::Confirmed | DeviceOutcome::Executed => {
                        assert!(!holds, "{device} {epoch} is said to be gone: {outcome:?}");
                        let wiped = body.wiped.contains(epoch) || !body.paired.contains(epoch);
                        assert!(
                            verb != DeviceVerb::Reset || wiped,
                            "{device} {epoch} was not wiped"
                        );
                    }
                    DeviceOutcome::Superseded => {
                        assert!(
                            self.epoch_of(device).await > *epoch,
                            "{device} has no newer owner"
                        );
                    }
                    DeviceOutcome::Detached => {}
                    DeviceOutcome::Transferred | DeviceOutcome::Unsupported => {
                        panic!("nobody asked for that: {device} {outcome:?}")
                    }
                }
            }
        }
    }
}

impl World {
    /// What nobody wanted to end stands, with its lock; what was to end has gone, but for the lock of what is lost.
    async fn audit_owners(&self) {
        let pool = self.bench().registry.store().pool();
        for (id, owned) in &self.owned {
            let bound: Option<(String, i64)> =
                sqlx::query_as("SELECT account, epoch FROM bindings WHERE device = $1")
                    .bind(*id)
                    .fetch_optional(pool)
                    .await
                    .unwrap();
            let lock: Option<(String,)> =
                sqlx::query_as("SELECT locked_for FROM locks WHERE device = $1")
                    .bind(*id)
                    .fetch_optional(pool)
                    .await
                    .unwrap();
            let own = (
                owned.account.to_owned(),
                i64::try_from(owned.epoch).unwrap(),
            );
            let stands = !self.wanted.contains(&((*id).to_owned(), owned.epoch));
            assert_eq!(bound, stands.then_some(own), "{id}");
            let locked = owned.locked && (stands || self.lost.contains(id));
            let mark = (seal::mark(owned.account),);
            assert_eq!(lock, locked.then_some(mark), "{id} {stands}");
        }
        let (parted,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM partings")
            .fetch_one(pool)
            .await
            .unwrap();
        assert_eq!(parted, 0, "what is answered is in the answer");
    }
}

fn cases() -> u64 {
    let asked = std::env::var("FAREWELL_TEST_CASES").ok();
    asked.and_then(|text| text.parse().ok()).unwrap_or(CASES)
}

async fn histories(via: Via) {
    let (mut total, first) = (Tally::default(), rand::random_range(0..u32::MAX).into());
    for seed in first..first + cases() {
        println!("history {seed} of {via:?}");
        let mut world = World::new(via, seed).await;
        for _ in 0..STEPS {
            world.step().await;
        }
        world.settle().await;
        world.audit().await;
        world.audit_owners().await;
        total.steps += world.tally.steps;
        total.executed += world.tally.executed;
        total.refused += world.tally.refused;
        total.forged += world.tally.forged;
        total.deletions += world.tally.deletions;
    }
    println!(
        "{} histories of {via:?}, {} steps, {} deletions, {} orders carried out, {} messages refused, {} forged",
        cases(),
        total.steps,
        total.deletions,
        total.executed,
        total.refused,
        total.forged
    );
    // A history in which nothing happens shows nothing.
    assert!(
        total.executed > cases() && total.refused > 0 && total.forged > 0 && total.deletions > 0
    );
}

#[tokio::test]
async fn whatever_happens_to_hubs_no_device_does_what_is_not_its_own() {
    histories(Via::Hub).await;
}

#[tokio::test]
async fn whatever_happens_to_watches_no_device_does_what_is_not_its_own() {
    histories(Via::Companion).await;
}
