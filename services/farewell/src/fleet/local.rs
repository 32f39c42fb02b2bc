//! What a device keeps and how it decides. No transport.

use std::collections::{BTreeMap, HashMap, VecDeque};

use farewell_proto::device::v1 as wire;
use farewell_proto::device::v1::{DeviceVerb, OrderState};
use farewell_runtime::cose::KeyRing;
use rand::Rng as _;

use super::config::Device;
use super::trust::{self, Signed, Trust};
use super::voice::Voice;

/// Orders that a device remembers: what fits in one `Sync`.
const DONE_ORDERS_MAX: usize = 64;

/// A device's own memory. It survives a reset, as a factory partition does; the user's data does not.
#[derive(Clone, Debug)]
pub(crate) struct Local {
    /// The product line that the device was made for.
    line: &'static str,
    device: String,
    /// The binding that the device believes in; 0 for none.
    epoch: u64,
    /// It has only heard of that binding, from the agent, after it was reset by hand.
    heard: bool,
    /// The newest binding that an order has named to end it: no word of the agent brings that one back.
    ended_epoch: u64,
    /// Nobody can set the device up but whose it is.
    locked: bool,
    user_data: bool,
    /// A hub's, with their bindings.
    children: BTreeMap<String, u64>,
    done: VecDeque<String>,
    answers: HashMap<String, Answered>,
    executions: u32,
    trust: Trust,
    voice: Voice,
}

/// An order that was carried out.
#[derive(Clone, Debug)]
struct Answered {
    payload: Vec<u8>,
    report: wire::OrderReport,
}

/// What a device does about an order.
#[derive(Clone, Debug)]
pub(crate) enum Reaction {
    /// It says this, again if it has said it before.
    Answer(wire::OrderReport),
    /// It asks what time it is.
    AskTime,
    /// It carries it out.
    Execute(Signed),
}

impl Local {
    pub fn new(
        device: &Device,
        children: impl Iterator<Item = (String, u64)>,
        keys: KeyRing,
    ) -> Self {
        Self {
            line: device.kind.line(),
            device: format!("devices/{}", device.id),
            epoch: device.epoch,
            heard: false,
            ended_epoch: 0,
            locked: false,
            user_data: true,
            children: children.collect(),
            done: VecDeque::new(),
            answers: HashMap::new(),
            executions: 0,
            trust: Trust::new(keys, device.is_clockless()),
            voice: Voice::new(device.answer_key()),
        }
    }

    /// What the device says at a contact.
    pub fn sync(&mut self) -> wire::SyncEnvelope {
        let sync = wire::Sync {
            device: self.device.clone(),
            binding_epoch: self.epoch,
            done_orders: self.done.iter().cloned().collect(),
            sequence: 0,
            nonce: self.trust.ask(rand::rng().random()).into(),
        };
        self.voice.sync(sync)
    }

    /// How the device says a report.
    pub fn say(&mut self, report: wire::OrderReport) -> wire::Answer {
        self.voice.answer(report)
    }

    /// Takes a proof of time.
    pub fn learn(&mut self, proof: &[u8]) {
        self.trust.learn(&self.device, proof);
    }

    /// Somebody resets the device by hand. That wipes it, and ends no binding: it hears of it again at the next contact.
    pub fn reset_by_hand(&mut self) {
        self.user_data = false;
        self.epoch = 0;
        self.children.clear();
    }

    /// Takes the agent's word for the binding that the device has still, if it knows of none itself. Returns whether it is
    /// another one than before, which the agent is to hear.
    pub fn take_on(&mut self, binding: &wire::LiveBinding) -> bool {
        // Never an earlier one than it knows of: an agent that was restored would make it obey orders for whoever had it before.
        let open = self.epoch == 0 || (self.heard && binding.epoch >= self.epoch);
        if !open || binding.device != self.device || binding.epoch <= self.ended_epoch {
            return false;
        }
        self.heard = true;
        self.locked = binding.activation_lock;
        std::mem::replace(&mut self.epoch, binding.epoch) != binding.epoch
    }

    /// What to do about what came as an order.
    pub fn consider(&mut self, signed: &[u8]) -> Reaction {
        let signed = match self.trust.read(signed) {
            Ok(signed) => signed,
            Err(word) => return Reaction::Answer(self.refuse("", word)),
        };
        let order = &signed.order;
        if order.line != self.line {
            return Reaction::Answer(self.refuse(&order.name, "NOT_THIS_LINE"));
        }
        if order.device != self.device {
            return Reaction::Answer(self.refuse(&order.name, "NOT_THIS_DEVICE"));
        }
        match self.answers.get(&order.name) {
            Some(known) if known.payload == signed.payload => {
                return Reaction::Answer(known.report.clone());
            }
            Some(_) => return Reaction::Answer(self.refuse(&order.name, "ORDER_CHANGED")),
            None => {}
        }
        if self.is_superseded(order) {
            if unbinds(order) {
                // Word of it that comes later is late.
                self.ended_epoch = self.ended_epoch.max(order.binding_epoch);
            }
            let report = self.report(order, OrderState::Superseded);
            return Reaction::Answer(report);
        }
        if order.verb() == DeviceVerb::Unspecified {
            return Reaction::Answer(self.refuse(&order.name, "UNKNOWN_VERB"));
        }
        match self.trust.in_time(order) {
            Ok(()) => Reaction::Execute(signed),
            Err(trust::TIME_UNKNOWN) => Reaction::AskTime,
            Err(word) => Reaction::Answer(self.refuse(&order.name, word)),
        }
    }

    /// Carries an order out, whatever was reported of it, and returns what to say. `consider` it first.
    pub fn execute(&mut self, signed: Signed) -> wire::OrderReport {
        let order = &signed.order;
        let child = order.child.strip_prefix("devices/").unwrap_or_default();
        match order.verb() {
            DeviceVerb::Reset => {
                self.user_data = false;
                // Children that it was not told to remove stay bound to a hub that no longer is one: left to be seen.
                self.unbind(order);
            }
            DeviceVerb::Unbind => self.unbind(order),
            DeviceVerb::RemoveChild => {
                self.children.remove(child);
            }
            DeviceVerb::Transfer if child.is_empty() => {
                self.epoch = order.new_epoch;
                self.heard = false;
            }
            DeviceVerb::Transfer => {
                if let Some(epoch) = self.children.get_mut(child) {
                    *epoch = order.new_epoch;
                }
            }
            DeviceVerb::Unspecified => {}
        }
        self.executions += 1;
        let report = wire::OrderReport {
            binding_epoch: order.binding_epoch,
            ..self.report(order, OrderState::Executed)
        };
        if self.done.len() == DONE_ORDERS_MAX
            && let Some(oldest) = self.done.pop_front()
        {
            self.answers.remove(&oldest);
        }
        let name = order.name.clone();
        self.done.push_back(name.clone());
        let answered = Answered {
            payload: signed.payload,
            report: report.clone(),
        };
        self.answers.insert(name, answered);
        report
    }

    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether nobody can set the device up but whose it is.
    pub fn is_locked(&self) -> bool {
        self.locked
    }

    pub fn has_user_data(&self) -> bool {
        self.user_data
    }

    /// The binding that the hub knows of a child; 0 for none.
    pub fn child_epoch(&self, child: &str) -> u64 {
        self.children.get(child).copied().unwrap_or(0)
    }

    /// How often the device carried something out.
    pub fn executions(&self) -> u32 {
        self.executions
    }

    /// A report on an order.
    pub fn report(&self, order: &wire::Order, state: OrderState) -> wire::OrderReport {
        wire::OrderReport {
            order: order.name.clone(),
            device: self.device.clone(),
            binding_epoch: self.epoch,
            state: state.into(),
            reason: String::new(),
            sequence: 0,
        }
    }

    fn unbind(&mut self, order: &wire::Order) {
        self.epoch = 0;
        self.locked = false;
        self.ended_epoch = self.ended_epoch.max(order.binding_epoch);
    }

    fn refuse(&self, order: &str, word: &str) -> wire::OrderReport {
        wire::OrderReport {
            order: order.to_owned(),
            device: self.device.clone(),
            binding_epoch: self.epoch,
            state: OrderState::Refused.into(),
            reason: word.to_owned(),
            sequence: 0,
        }
    }

    /// Whether the order is for another binding than the device, or the child, has. A child that is gone already is no
    /// reason: what was wanted is so.
    fn is_superseded(&self, order: &wire::Order) -> bool {
        let child = order.child.strip_prefix("devices/").unwrap_or_default();
        let other_child = self
            .children
            .get(child)
            .is_some_and(|epoch| *epoch != order.child_epoch);
        self.epoch != order.binding_epoch || other_child
    }
}

/// Whether the order drops the device's own binding.
pub(super) fn unbinds(order: &wire::Order) -> bool {
    match order.verb() {
        DeviceVerb::Unbind | DeviceVerb::Reset => true,
        DeviceVerb::RemoveChild | DeviceVerb::Transfer | DeviceVerb::Unspecified => false,
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use farewell_runtime::cose::SigningKey;
    use prost::Message as _;

    use super::*;
    use crate::fleet::config::Kind;

    const LIFE: Duration = Duration::from_secs(3600);

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed(&[seed; 32]).unwrap()
    }

    fn device(id: &str, kind: Kind) -> Local {
        let device = Device {
            id: id.to_owned(),
            account: "account-1".to_owned(),
            kind,
            epoch: 3,
            via: None,
            secret: String::new(),
            seed: [9; 32],
            offline: false,
            flaky: false,
            reset: false,
        };
        let children = [("lamp-1".to_owned(), 5)].into_iter();
        Local::new(
            &device,
            children,
            KeyRing::new([key(1).public(), key(2).public()]),
        )
    }

    fn phone() -> Local {
        device("phone-1", Kind::Phone)
    }

    fn reset(name: &str) -> wire::Order {
        wire::Order {
            name: name.to_owned(),
            line: "phones".to_owned(),
            device: "devices/phone-1".to_owned(),
            binding_epoch: 3,
            verb: DeviceVerb::Reset.into(),
            not_before_time: Some(SystemTime::now().into()),
            expire_time: Some((SystemTime::now() + LIFE).into()),
            ..wire::Order::default()
        }
    }

    fn signed(seed: u8, order: &wire::Order) -> Vec<u8> {
        key(seed).sign("farewell.device.v1.Order", order.encode_to_vec())
    }

    fn answer(reaction: Reaction) -> (OrderState, String) {
        let Reaction::Answer(report) = reaction else {
            panic!("{reaction:?}")
        };
        (report.state(), report.reason)
    }

    fn run(device: &mut Local, order: &[u8]) -> wire::OrderReport {
        let Reaction::Execute(order) = device.consider(order) else {
            panic!()
        };
        device.execute(order)
    }

    #[test]
    fn an_order_is_carried_out_once_and_its_answer_repeated_whatever_pinned_key_signed_it() {
        let (mut phone, order) = (phone(), reset("orders/1"));
        let report = run(&mut phone, &signed(1, &order));
        assert!(!phone.has_user_data());
        for seed in [1, 2] {
            let Reaction::Answer(again) = phone.consider(&signed(seed, &order)) else {
                panic!()
            };
            assert_eq!(again, report);
        }
        assert_eq!((phone.executions(), phone.epoch()), (1, 0));
    }

    type Spoil = fn(&mut wire::Order);

    #[test]
    fn what_is_not_for_this_line_device_its_binding_its_time_or_its_verbs_is_refused_with_the_reason()
     {
        let spoilt: [(Spoil, OrderState, &str); 9] = [
            (
                |o| o.line = "wearables".to_owned(),
                OrderState::Refused,
                "NOT_THIS_LINE",
            ),
            (|o| o.line.clear(), OrderState::Refused, "NOT_THIS_LINE"),
            (
                |o| o.device = "devices/phone-2".to_owned(),
                OrderState::Refused,
                "NOT_THIS_DEVICE",
            ),
            (|o| o.binding_epoch = 2, OrderState::Superseded, ""),
            (|o| o.binding_epoch = 4, OrderState::Superseded, ""),
            (|o| o.verb = 0, OrderState::Refused, "UNKNOWN_VERB"),
            (|o| o.verb = 77, OrderState::Refused, "UNKNOWN_VERB"),
            (
                |o| o.expire_time = Some((SystemTime::now() - LIFE).into()),
                OrderState::Refused,
                "EXPIRED",
            ),
            (
                |o| o.not_before_time = Some((SystemTime::now() + LIFE).into()),
                OrderState::Refused,
                "NOT_YET",
            ),
        ];
        for (spoil, state, reason) in spoilt {
            let (mut phone, mut order) = (phone(), reset("orders/1"));
            spoil(&mut order);
            let said = answer(phone.consider(&signed(1, &order)));
            assert_eq!(said, (state, reason.to_owned()));
        }
    }

    #[test]
    fn nobody_but_a_pinned_key_gives_orders() {
        let (mut phone, order) = (phone(), reset("orders/1"));
        let refused = |word: &str| (OrderState::Refused, word.to_owned());
        assert_eq!(
            answer(phone.consider(&signed(3, &order))),
            refused("UNKNOWN_KEY")
        );
        let mut forged = signed(1, &order);
        let last = forged.len() - 1;
        forged[last] ^= 1;
        assert_eq!(answer(phone.consider(&forged)), refused("BAD_SIGNATURE"));
        assert_eq!(
            answer(phone.consider(&order.encode_to_vec())),
            refused("UNREADABLE")
        );
        run(&mut phone, &signed(1, &order));
        let changed = wire::Order {
            verb: DeviceVerb::Unbind.into(),
            ..order
        };
        assert_eq!(
            answer(phone.consider(&signed(1, &changed))),
            refused("ORDER_CHANGED")
        );
    }

    #[test]
    fn a_hub_without_a_clock_asks_for_the_time_and_believes_only_the_answer_to_its_last_question() {
        let mut hub = device("hub-1", Kind::Hub);
        let order = wire::Order {
            line: "smarthome".to_owned(),
            device: "devices/hub-1".to_owned(),
            ..reset("orders/1")
        };
        let order = signed(1, &order);
        assert!(matches!(hub.consider(&order), Reaction::AskTime));
        let nonce = |hub: &mut Local| {
            let Some(wire::sync_envelope::Sync::Signed(sync)) = hub.sync().sync else {
                panic!("a hub signs")
            };
            let sync = farewell_runtime::cose::payload("farewell.device.v1.Sync", &sync).unwrap();
            wire::Sync::decode(sync.as_slice()).unwrap().nonce
        };
        let proof = |nonce, device: &str, time: SystemTime| {
            let proof = wire::TimeProof {
                device: device.to_owned(),
                nonce,
                time: Some(time.into()),
            };
            key(2).sign("farewell.device.v1.TimeProof", proof.encode_to_vec())
        };
        let first = nonce(&mut hub);
        assert_eq!(nonce(&mut hub), first, "one question at a time");
        let now = SystemTime::now();
        for wrong in [
            proof(vec![0; 16].into(), "devices/hub-1", now),
            proof(first.clone(), "devices/hub-2", now),
            signed(1, &reset("orders/1")),
        ] {
            hub.learn(&wrong);
            assert!(matches!(hub.consider(&order), Reaction::AskTime));
        }
        hub.learn(&proof(first.clone(), "devices/hub-1", now + 2 * LIFE));
        assert_eq!(answer(hub.consider(&order)).1, "EXPIRED");
        hub.learn(&proof(first.clone(), "devices/hub-1", now));
        assert_eq!(
            answer(hub.consider(&order)).1,
            "EXPIRED",
            "that was answered"
        );
        let second = nonce(&mut hub);
        assert_ne!(second, first);
        hub.learn(&proof(second, "devices/hub-1", now));
        assert!(matches!(hub.consider(&order), Reaction::Execute(_)));
    }

    #[test]
    fn a_child_that_was_bound_anew_stays_and_one_that_is_gone_is_gone() {
        let mut hub = device("hub-1", Kind::Phone);
        let remove = |child: &str, child_epoch| wire::Order {
            device: "devices/hub-1".to_owned(),
            verb: DeviceVerb::RemoveChild.into(),
            child: format!("devices/{child}"),
            child_epoch,
            ..reset(&format!("orders/{child}-{child_epoch}"))
        };
        let superseded = (OrderState::Superseded, String::new());
        assert_eq!(
            answer(hub.consider(&signed(1, &remove("lamp-1", 4)))),
            superseded
        );
        run(&mut hub, &signed(1, &remove("lamp-1", 5)));
        assert_eq!((hub.child_epoch("lamp-1"), hub.epoch()), (0, 3));
        run(&mut hub, &signed(1, &remove("lamp-2", 1)));
    }

    #[test]
    fn a_transfer_keeps_everything_but_the_old_binding() {
        let mut phone = phone();
        let transfer = wire::Order {
            verb: DeviceVerb::Transfer.into(),
            new_epoch: 4,
            ..reset("orders/1")
        };
        let report = run(&mut phone, &signed(1, &transfer));
        assert_eq!((phone.epoch(), phone.has_user_data()), (4, true));
        assert_eq!(report.binding_epoch, 3);
        let old = answer(phone.consider(&signed(1, &reset("orders/2"))));
        assert_eq!(old.0, OrderState::Superseded);
    }

    fn told(device: &str, epoch: u64) -> wire::LiveBinding {
        wire::LiveBinding {
            device: device.to_owned(),
            epoch,
            activation_lock: true,
        }
    }

    #[test]
    fn a_device_that_was_reset_by_hand_takes_its_binding_back_on_is_locked_and_obeys() {
        let mut phone = phone();
        phone.reset_by_hand();
        assert_eq!((phone.epoch(), phone.is_locked()), (0, false));
        for nobodys in [told("devices/phone-2", 3), told("devices/phone-1", 0)] {
            assert!(!phone.take_on(&nobodys));
            assert_eq!((phone.epoch(), phone.is_locked()), (0, false));
        }
        for news in [true, false] {
            assert_eq!(phone.take_on(&told("devices/phone-1", 3)), news);
            assert_eq!((phone.epoch(), phone.is_locked()), (3, true));
        }
        run(&mut phone, &signed(1, &reset("orders/1")));
        assert_eq!((phone.epoch(), phone.is_locked()), (0, false));
        // A word that was on its way meanwhile comes too late; the next owner's does not.
        assert!(!phone.take_on(&told("devices/phone-1", 3)));
        assert_eq!((phone.epoch(), phone.executions()), (0, 1));
        assert!(phone.take_on(&told("devices/phone-1", 4)));
    }

    #[test]
    fn an_order_for_a_binding_that_was_forgotten_ends_it_too() {
        let mut phone = phone();
        phone.reset_by_hand();
        let order = signed(1, &reset("orders/1"));
        assert_eq!(answer(phone.consider(&order)).0, OrderState::Superseded);
        assert!(!phone.take_on(&told("devices/phone-1", 3)));
    }

    #[test]
    fn what_it_heard_never_takes_an_own_bindings_place_nor_gives_way_to_what_was_before() {
        let mut own = phone();
        assert!(!own.take_on(&told("devices/phone-1", 9)));
        assert_eq!((own.epoch(), own.is_locked()), (3, false));
        let mut forgetful = phone();
        forgetful.reset_by_hand();
        assert!(forgetful.take_on(&told("devices/phone-1", 2)));
        assert!(forgetful.take_on(&told("devices/phone-1", 9)));
        // An agent that was restored knows only whose it was before.
        assert!(!forgetful.take_on(&told("devices/phone-1", 3)));
        assert_eq!(forgetful.epoch(), 9);
        // If somebody had made that up: reset by hand once more, it hears the true word.
        forgetful.reset_by_hand();
        assert!(forgetful.take_on(&told("devices/phone-1", 3)));
        run(&mut forgetful, &signed(1, &reset("orders/1")));
        assert_eq!((forgetful.epoch(), forgetful.executions()), (0, 1));
    }
}
