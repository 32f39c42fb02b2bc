//! What a device keeps and how it decides. No transport, no clock, no chance.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::SystemTime;

use farewell_proto::device::v1 as wire;
use farewell_proto::device::v1::{DeviceVerb, OrderState};

use super::config::Device;

/// Orders that a device remembers: what fits in one `Sync`.
const DONE_ORDERS_MAX: usize = 64;

/// A device's own memory. It survives a reset, as a factory partition does; the user's data does not.
#[derive(Clone, Debug)]
pub(super) struct Local {
    device: String,
    /// The binding that the device believes in; 0 for none.
    epoch: u64,
    user_data: bool,
    children: BTreeSet<String>,
    done: VecDeque<String>,
    answers: HashMap<String, wire::OrderReport>,
    executions: u32,
}

/// What a device does about an order.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Reaction {
    /// Nothing: it is meant for another.
    Ignore,
    /// It says this, again if it has said it before.
    Answer(wire::OrderReport),
    /// It carries it out.
    Execute,
}

impl Local {
    pub fn new(device: &Device, children: impl Iterator<Item = String>) -> Self {
        Self {
            device: device.id.clone(),
            epoch: device.epoch,
            user_data: true,
            children: children.collect(),
            done: VecDeque::new(),
            answers: HashMap::new(),
            executions: 0,
        }
    }

    /// What the device says at a contact.
    pub fn sync(&self) -> wire::Sync {
        wire::Sync {
            device: format!("devices/{}", self.device),
            binding_epoch: self.epoch,
            done_orders: self.done.iter().cloned().collect(),
        }
    }

    /// What to do about an order.
    pub fn consider(&self, order: &wire::Order, now: SystemTime) -> Reaction {
        if order.device != format!("devices/{}", self.device) {
            return Reaction::Ignore;
        }
        if let Some(answer) = self.answers.get(&order.name) {
            return Reaction::Answer(answer.clone());
        }
        if self.epoch != order.binding_epoch {
            let superseded = wire::OrderReport {
                binding_epoch: self.epoch,
                ..answer(order, OrderState::Superseded, "")
            };
            return Reaction::Answer(superseded);
        }
        let (refused, reason) = (OrderState::Refused, refusal(order, now));
        match reason {
            Some(reason) => Reaction::Answer(answer(order, refused, reason)),
            None => Reaction::Execute,
        }
    }

    /// Carries an order out, whatever was reported of it, and returns what to say. `consider` it first.
    pub fn execute(&mut self, order: &wire::Order) -> wire::OrderReport {
        match order.verb() {
            DeviceVerb::Reset => {
                self.user_data = false;
                // Children that it was not told to remove stay bound to a hub that no longer is one: left to be seen.
                self.epoch = 0;
            }
            DeviceVerb::Unbind => self.epoch = 0,
            DeviceVerb::RemoveChild => {
                let child = order.child.strip_prefix("devices/").unwrap_or_default();
                self.children.remove(child);
            }
            DeviceVerb::Unspecified => {}
        }
        self.executions += 1;
        let report = answer(order, OrderState::Executed, "");
        if self.done.len() == DONE_ORDERS_MAX
            && let Some(oldest) = self.done.pop_front()
        {
            self.answers.remove(&oldest);
        }
        self.done.push_back(order.name.clone());
        self.answers.insert(order.name.clone(), report.clone());
        report
    }

    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    pub fn has_user_data(&self) -> bool {
        self.user_data
    }

    pub fn has_child(&self, child: &str) -> bool {
        self.children.contains(child)
    }

    /// How often the device carried something out.
    pub fn executions(&self) -> u32 {
        self.executions
    }
}

/// A report on an order, by the device that is meant.
pub(super) fn answer(order: &wire::Order, state: OrderState, reason: &str) -> wire::OrderReport {
    wire::OrderReport {
        order: order.name.clone(),
        device: order.device.clone(),
        binding_epoch: order.binding_epoch,
        state: state.into(),
        reason: reason.to_owned(),
    }
}

/// Whether the order drops the device's own binding.
pub(super) fn unbinds(order: &wire::Order) -> bool {
    match order.verb() {
        DeviceVerb::Unbind | DeviceVerb::Reset => true,
        DeviceVerb::RemoveChild | DeviceVerb::Unspecified => false,
    }
}

fn refusal(order: &wire::Order, now: SystemTime) -> Option<&'static str> {
    let time = |at: Option<prost_types::Timestamp>| at.and_then(|at| SystemTime::try_from(at).ok());
    match (order.verb(), time(order.expire_time)) {
        (DeviceVerb::Unspecified, _) => Some("UNKNOWN_VERB"),
        (_, None) => Some("EXPIRE_TIME_MISSING"),
        (_, Some(expires)) if now >= expires => Some("EXPIRED"),
        (_, Some(_)) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::fleet::config::Kind;

    fn phone() -> Local {
        let device = Device {
            id: "phone-1".to_owned(),
            account: "account-1".to_owned(),
            kind: Kind::Phone,
            epoch: 3,
            via: None,
            secret: String::new(),
            offline: false,
            flaky: false,
        };
        Local::new(&device, std::iter::empty())
    }

    fn reset(name: &str, epoch: u64) -> wire::Order {
        wire::Order {
            name: name.to_owned(),
            device: "devices/phone-1".to_owned(),
            binding_epoch: epoch,
            verb: DeviceVerb::Reset.into(),
            expire_time: Some((SystemTime::now() + Duration::from_secs(60)).into()),
            ..wire::Order::default()
        }
    }

    #[test]
    fn an_order_is_carried_out_once_and_its_answer_repeated() {
        let (mut phone, order) = (phone(), reset("orders/1", 3));
        assert_eq!(phone.consider(&order, SystemTime::now()), Reaction::Execute);
        let report = phone.execute(&order);
        assert!(!phone.has_user_data());
        assert_eq!(
            phone.consider(&order, SystemTime::now()),
            Reaction::Answer(report)
        );
        assert_eq!((phone.executions(), phone.sync().binding_epoch), (1, 0));
        assert_eq!(phone.sync().done_orders, ["orders/1"]);
    }

    #[test]
    fn another_bindings_order_is_superseded_and_another_devices_ignored() {
        let phone = phone();
        let Reaction::Answer(report) = phone.consider(&reset("orders/1", 2), SystemTime::now())
        else {
            panic!()
        };
        assert_eq!(
            (report.state(), report.binding_epoch),
            (OrderState::Superseded, 3)
        );
        let foreign = wire::Order {
            device: "devices/phone-2".to_owned(),
            ..reset("orders/1", 3)
        };
        assert_eq!(
            phone.consider(&foreign, SystemTime::now()),
            Reaction::Ignore
        );
        assert!(phone.has_user_data());
    }

    #[test]
    fn an_order_without_a_verb_or_past_its_time_is_refused() {
        let phone = phone();
        let blank = wire::Order {
            verb: 0,
            ..reset("orders/1", 3)
        };
        let late = SystemTime::now() + Duration::from_secs(120);
        for (order, now, reason) in [
            (blank, SystemTime::now(), "UNKNOWN_VERB"),
            (reset("orders/2", 3), late, "EXPIRED"),
        ] {
            let Reaction::Answer(report) = phone.consider(&order, now) else {
                panic!()
            };
            assert_eq!(
                (report.state(), report.reason.as_str()),
                (OrderState::Refused, reason)
            );
        }
    }
}
