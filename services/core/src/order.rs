//! What a device is told when its account dies, or when it alone is unbound.
//!
//! An order is for one device and one binding of it. Which one follows from what the roster says of the device, from the
//! policy and from what the person agreed to: never from a wish to reach "all devices".

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::deletion::Consent;
use crate::device::{Class, Device, DeviceVerb, Facts, Hub};
use crate::id::{DeviceId, ParticipantId};
use crate::time::Time;

const MICROS_PER_SECOND: i64 = 1_000_000;

/// What is wanted of a device that nobody takes over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Disposal {
    /// The account's credentials go, local data stays.
    Unbind,
    /// Local data goes, too.
    Reset,
}

/// What a policy says of devices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DevicePolicy {
    /// Of one person's devices.
    pub personal: Disposal,
    /// Of a home's devices that no other account uses.
    pub home: Disposal,
    /// The text that the person must have agreed to before a personal device is wiped; without it, it is unbound.
    pub reset_consent: Option<String>,
    /// How long a device that is away is waited for at most: then its server half goes without it.
    #[serde(default = "week")]
    pub horizon: Duration,
    /// How long an order may be carried out. A device that returns later is not wiped on a forgotten wish.
    pub order_life: Duration,
    /// Codes of [`crate::blocker::CATALOGUE`] that leave the unbinding of a single device to the desk and to repair shops. They
    /// say nothing of deletions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub self_service_closed_by: Vec<String>,
}

impl Default for DevicePolicy {
    fn default() -> Self {
        Self {
            personal: Disposal::Reset,
            home: Disposal::Reset,
            reset_consent: Some("device-reset".to_owned()),
            horizon: week(),
            order_life: Duration::from_secs(400 * 24 * 60 * 60),
            self_service_closed_by: Vec::new(),
        }
    }
}

const fn week() -> Duration {
    Duration::from_secs(7 * 24 * 60 * 60)
}

impl DevicePolicy {
    /// What a device is to be told, the wanted verb first. None: it can't be told.
    pub fn verbs(&self, facts: &Facts, consents: &[Consent]) -> Vec<DeviceVerb> {
        let agreed = self
            .reset_consent
            .as_ref()
            .is_none_or(|text| consents.iter().any(|consent| consent.text == *text));
        let wish = match facts.class {
            Class::Personal if agreed => self.personal,
            Class::Personal => Disposal::Unbind,
            // The door must still open for whoever lives there.
            Class::Home if facts.household => Disposal::Unbind,
            Class::Home => self.home,
        };
        let over = (facts.co_admin && facts.verbs.contains(&DeviceVerb::Transfer))
            .then_some(DeviceVerb::Transfer);
        // Its hub stays, and with it whatever the household has behind it.
        let stays = facts.household && facts.hub.is_some();
        let own = of_wish(facts, wish).filter(|_| !stays || facts.co_admin);
        over.into_iter().chain(own).collect()
    }
}

/// The verb that comes closest to the wish and is not more than it.
pub fn of_wish(facts: &Facts, wish: Disposal) -> Option<DeviceVerb> {
    let wanted: &[DeviceVerb] = match (&facts.hub, wish) {
        (Some(_), _) => &[DeviceVerb::RemoveChild],
        (None, Disposal::Reset) => &[DeviceVerb::Reset, DeviceVerb::Unbind],
        (None, Disposal::Unbind) => &[DeviceVerb::Unbind],
    };
    let able = |verb: &&DeviceVerb| facts.verbs.contains(verb);
    wanted.iter().find(able).copied()
}

/// On what occasion something is told, and how long it holds.
#[derive(Clone, Copy, Debug)]
pub struct Occasion<'a> {
    /// The product line that is asked, whose device is meant.
    pub line: &'a ParticipantId,
    /// What the order belongs to: a command, or the unbinding of one device.
    pub command: &'a str,
    /// Not before.
    pub from: Time,
    /// Not after.
    pub until: Time,
}

/// One order. The same occasion, device and verb make the same order, whoever asks and however often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    pub name: OrderName,
    /// The product line whose device is meant.
    pub line: ParticipantId,
    /// Who is told: the device, or a child's hub.
    pub device: DeviceId,
    /// The binding of whoever is told.
    pub binding_epoch: u64,
    pub verb: DeviceVerb,
    /// For a hub's child: who is meant.
    pub child: Option<Hub>,
    /// For [`DeviceVerb::Transfer`]: the epoch of whoever is meant from then on.
    pub new_epoch: Option<u64>,
    pub command: String,
    pub not_before: Time,
    pub expires: Time,
}

/// The name of an order: 128 bits that nobody else's has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OrderName([u8; 16]);

impl fmt::Display for OrderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("orders/")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Order {
    /// The order that tells `device` this verb. `None` for a binding that never was, and for a verb that needs a hub
    /// where there is none.
    pub fn new(device: &Device, verb: DeviceVerb, occasion: Occasion<'_>) -> Option<Self> {
        let hub = device.facts.as_ref().and_then(|facts| facts.hub.as_ref());
        let (told, child) = match (hub, verb) {
            (Some(hub), DeviceVerb::RemoveChild | DeviceVerb::Transfer) => {
                let child = Hub {
                    device: device.device.clone(),
                    binding_epoch: device.binding_epoch,
                };
                ((&hub.device, hub.binding_epoch), Some(child))
            }
            (None, DeviceVerb::RemoveChild) => return None,
            (Some(_) | None, _) => ((&device.device, device.binding_epoch), None),
        };
        let (whom, epoch) = told;
        if epoch == 0 || device.binding_epoch == 0 {
            return None;
        }
        let new_epoch = match verb {
            // As a line makes a new one: the time, and greater than the last.
            DeviceVerb::Transfer => {
                let seconds = occasion.from.micros() / MICROS_PER_SECOND;
                let next = device.binding_epoch.checked_add(1)?;
                Some(next.max(u64::try_from(seconds).unwrap_or(0)))
            }
            DeviceVerb::Unbind | DeviceVerb::Reset | DeviceVerb::RemoveChild => None,
        };
        Some(Self {
            name: name(device, verb, occasion.command),
            line: occasion.line.clone(),
            device: whom.clone(),
            binding_epoch: epoch,
            verb,
            child,
            new_epoch,
            command: occasion.command.to_owned(),
            not_before: occasion.from,
            expires: occasion.until,
        })
    }
}

fn name(device: &Device, verb: DeviceVerb, command: &str) -> OrderName {
    let digest = Sha256::new()
        .chain_update(b"farewell order\0")
        .chain_update(command)
        .chain_update([0])
        .chain_update(device.device.as_str())
        .chain_update(device.binding_epoch.to_be_bytes())
        .chain_update(verb.word())
        .finalize();
    let mut name = [0; 16];
    name.copy_from_slice(&digest[..16]);
    OrderName(name)
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;

    const ALL: [DeviceVerb; 3] = [DeviceVerb::Unbind, DeviceVerb::Reset, DeviceVerb::Transfer];
    static LINE: LazyLock<ParticipantId> = LazyLock::new(|| "smarthome".parse().unwrap());

    fn facts(class: Class) -> Facts {
        Facts {
            class,
            verbs: ALL.to_vec(),
            co_admin: false,
            household: false,
            hub: None,
        }
    }

    fn agreed() -> Vec<Consent> {
        vec![Consent {
            text: "device-reset".to_owned(),
            version: 1,
            at: Time::from_micros(1),
        }]
    }

    fn device(facts: Facts) -> Device {
        Device {
            device: "lamp-1".parse().unwrap(),
            binding_epoch: 4,
            facts: Some(facts),
            outcome: None,
            lock: None,
        }
    }

    fn occasion(command: &str) -> Occasion<'_> {
        Occasion {
            line: &LINE,
            command,
            from: Time::from_micros(1),
            until: Time::from_micros(2),
        }
    }

    #[test]
    fn a_personal_device_is_wiped_only_if_the_person_agreed() {
        let policy = DevicePolicy::default();
        let phone = facts(Class::Personal);
        assert_eq!(policy.verbs(&phone, &agreed()), [DeviceVerb::Reset]);
        assert_eq!(policy.verbs(&phone, &[]), [DeviceVerb::Unbind]);
    }

    #[test]
    fn a_home_goes_on_for_those_who_stay() {
        let policy = DevicePolicy::default();
        let alone = facts(Class::Home);
        assert_eq!(policy.verbs(&alone, &[]), [DeviceVerb::Reset]);
        let shared = Facts {
            household: true,
            ..alone.clone()
        };
        assert_eq!(policy.verbs(&shared, &agreed()), [DeviceVerb::Unbind]);
        let taken_over = Facts {
            co_admin: true,
            ..shared
        };
        assert_eq!(
            policy.verbs(&taken_over, &agreed()),
            [DeviceVerb::Transfer, DeviceVerb::Unbind]
        );
    }

    #[test]
    fn no_device_is_told_more_than_was_wished_or_what_it_does_not_know() {
        let wiper = Facts {
            verbs: vec![DeviceVerb::Reset],
            ..facts(Class::Personal)
        };
        assert_eq!(of_wish(&wiper, Disposal::Unbind), None);
        let mute = Facts {
            verbs: Vec::new(),
            co_admin: true,
            ..facts(Class::Home)
        };
        let policy = DevicePolicy::default();
        assert!(policy.verbs(&mute, &agreed()).is_empty());
    }

    #[test]
    fn a_child_is_named_to_its_hub_with_both_bindings() {
        let lamp = device(Facts {
            verbs: vec![DeviceVerb::RemoveChild, DeviceVerb::Transfer],
            hub: Some(Hub {
                device: "hub-1".parse().unwrap(),
                binding_epoch: 7,
            }),
            ..facts(Class::Home)
        });
        for (verb, new_epoch) in [
            (DeviceVerb::RemoveChild, None),
            (DeviceVerb::Transfer, Some(5)),
        ] {
            let order = Order::new(&lamp, verb, occasion("c")).unwrap();
            assert_eq!(order.line.as_str(), "smarthome");
            assert_eq!((order.device.as_str(), order.binding_epoch), ("hub-1", 7));
            let child = order.child.unwrap();
            assert_eq!((child.device.as_str(), child.binding_epoch), ("lamp-1", 4));
            assert_eq!(order.new_epoch, new_epoch);
        }
        let alone = device(facts(Class::Home));
        assert_eq!(
            Order::new(&alone, DeviceVerb::RemoveChild, occasion("c")),
            None
        );
    }

    #[test]
    fn the_same_occasion_makes_the_same_order_and_another_another() {
        let phone = device(facts(Class::Personal));
        let reset = |phone: &Device, command| {
            Order::new(phone, DeviceVerb::Reset, occasion(command)).unwrap()
        };
        assert_eq!(reset(&phone, "c"), reset(&phone, "c"));
        assert_ne!(reset(&phone, "c").name, reset(&phone, "d").name);
        let bound_anew = Device {
            binding_epoch: 5,
            ..phone.clone()
        };
        assert_ne!(reset(&phone, "c").name, reset(&bound_anew, "c").name);
        let never = Device {
            binding_epoch: 0,
            ..phone
        };
        assert_eq!(Order::new(&never, DeviceVerb::Reset, occasion("c")), None);
    }

    #[test]
    fn a_transfer_gives_the_time_as_the_new_epoch_unless_the_old_one_is_ahead_of_it() {
        let begun = Occasion {
            from: Time::from_micros(1_790_000_000_999_999),
            ..occasion("c")
        };
        for (old, new) in [(4, 1_790_000_000), (1_790_000_007, 1_790_000_008)] {
            let phone = Device {
                binding_epoch: old,
                ..device(facts(Class::Personal))
            };
            let order = Order::new(&phone, DeviceVerb::Transfer, begun).unwrap();
            assert_eq!(order.new_epoch, Some(new));
        }
        let last = Device {
            binding_epoch: u64::MAX,
            ..device(facts(Class::Personal))
        };
        assert_eq!(Order::new(&last, DeviceVerb::Transfer, begun), None);
    }
}
