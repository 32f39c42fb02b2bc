//! Devices between the wire and core: what an agent says of each, and what each is told.

use farewell_core::addendum::{DeviceReturn, Ending};
use farewell_core::device::{Class, Device, DeviceOutcome, DeviceVerb, Facts, Hub, LockOutcome};
use farewell_core::order::Order;
use farewell_core::{CommandName, DeviceId, Reason};
use farewell_proto::device::v1 as told;
use farewell_proto::participant::v1 as wire;

use super::{time, timestamp};

/// A device on the wire.
pub fn name(device: &DeviceId) -> String {
    format!("devices/{}", device.as_str())
}

/// The device of a name `devices/{device}`.
pub fn id(name: &str) -> Option<DeviceId> {
    name.strip_prefix("devices/")?.parse().ok()
}

/// One device of a report. Errors: what is missing in it.
pub(super) fn result(result: wire::DeviceResult) -> Result<Device, Reason> {
    let (outcome, lock) = (outcome(result.outcome()), lock(result.lock()));
    Ok(Device {
        device: id(&result.device).ok_or(Reason::DeviceUnknown)?,
        binding_epoch: result.binding_epoch,
        facts: result.facts.map(facts).transpose()?,
        outcome,
        lock,
    })
}

/// What an agent says of a device. Errors: an unknown word is never taken for a known one.
pub fn facts(facts: wire::DeviceFacts) -> Result<Facts, Reason> {
    let class = match facts.class() {
        wire::DeviceClass::Unspecified => return Err(Reason::DeviceFactsMissing),
        wire::DeviceClass::Personal => Class::Personal,
        wire::DeviceClass::Home => Class::Home,
    };
    let verbs: Option<Vec<_>> = facts.verbs().map(verb).collect();
    let hub = match (facts.hub.as_str(), facts.hub_epoch) {
        ("", 0) => None,
        (_, 0) => return Err(Reason::DeviceFactsMissing),
        (hub, binding_epoch) => Some(Hub {
            device: id(hub).ok_or(Reason::DeviceFactsMissing)?,
            binding_epoch,
        }),
    };
    Ok(Facts {
        class,
        verbs: verbs.ok_or(Reason::DeviceFactsMissing)?,
        co_admin: facts.co_admin,
        household: facts.household,
        hub,
    })
}

fn verb(verb: told::DeviceVerb) -> Option<DeviceVerb> {
    match verb {
        told::DeviceVerb::Unspecified => None,
        told::DeviceVerb::Unbind => Some(DeviceVerb::Unbind),
        told::DeviceVerb::Reset => Some(DeviceVerb::Reset),
        told::DeviceVerb::RemoveChild => Some(DeviceVerb::RemoveChild),
        told::DeviceVerb::Transfer => Some(DeviceVerb::Transfer),
    }
}

fn verb_to_wire(verb: DeviceVerb) -> told::DeviceVerb {
    match verb {
        DeviceVerb::Unbind => told::DeviceVerb::Unbind,
        DeviceVerb::Reset => told::DeviceVerb::Reset,
        DeviceVerb::RemoveChild => told::DeviceVerb::RemoveChild,
        DeviceVerb::Transfer => told::DeviceVerb::Transfer,
    }
}

fn outcome(outcome: wire::DeviceOutcome) -> Option<DeviceOutcome> {
    match outcome {
        // No result of an ERASE waits for an order to expire.
        wire::DeviceOutcome::Unspecified | wire::DeviceOutcome::NeverReturned => None,
        wire::DeviceOutcome::Confirmed => Some(DeviceOutcome::Confirmed),
        wire::DeviceOutcome::Executed => Some(DeviceOutcome::Executed),
        wire::DeviceOutcome::Detached => Some(DeviceOutcome::Detached),
        wire::DeviceOutcome::Superseded => Some(DeviceOutcome::Superseded),
        wire::DeviceOutcome::Transferred => Some(DeviceOutcome::Transferred),
        wire::DeviceOutcome::Unsupported => Some(DeviceOutcome::Unsupported),
    }
}

/// One device of `DeviceReturns`, and the command that it is told of. Errors: what is missing in it.
pub fn returned(told: &wire::DeviceReturn) -> Result<(CommandName, DeviceReturn), Reason> {
    let command = told.command.parse().map_err(|_| Reason::UnknownCommand)?;
    if told.binding_epoch == 0 {
        return Err(Reason::DeviceOutcomeMissing);
    }
    let told = DeviceReturn {
        device: id(&told.device).ok_or(Reason::DeviceUnknown)?,
        binding_epoch: told.binding_epoch,
        ending: ending(told.outcome())?,
        at: told.time.and_then(time).ok_or(Reason::TimeMissing)?,
    };
    Ok((command, told))
}

fn ending(outcome: wire::DeviceOutcome) -> Result<Ending, Reason> {
    match outcome {
        wire::DeviceOutcome::Unspecified => Err(Reason::DeviceOutcomeMissing),
        wire::DeviceOutcome::Confirmed => Ok(Ending::Confirmed),
        wire::DeviceOutcome::Executed => Ok(Ending::Executed),
        wire::DeviceOutcome::Superseded => Ok(Ending::Superseded),
        wire::DeviceOutcome::NeverReturned => Ok(Ending::NeverReturned),
        wire::DeviceOutcome::Detached
        | wire::DeviceOutcome::Transferred
        | wire::DeviceOutcome::Unsupported => Err(Reason::OutcomeNotAllowed),
    }
}

fn lock(lock: wire::LockOutcome) -> Option<LockOutcome> {
    match lock {
        wire::LockOutcome::Unspecified => None,
        wire::LockOutcome::Released => Some(LockOutcome::Released),
        wire::LockOutcome::Kept => Some(LockOutcome::Kept),
        wire::LockOutcome::PassedOn => Some(LockOutcome::PassedOn),
    }
}

/// What is signed.
pub fn order(order: &Order) -> told::Order {
    let child = order.child.as_ref();
    told::Order {
        name: order.name.to_string(),
        device: name(&order.device),
        binding_epoch: order.binding_epoch,
        verb: verb_to_wire(order.verb).into(),
        not_before_time: Some(timestamp(order.not_before)),
        expire_time: Some(timestamp(order.expires)),
        child: child.map_or_else(String::new, |child| name(&child.device)),
        child_epoch: child.map_or(0, |child| child.binding_epoch),
        new_epoch: order.new_epoch.unwrap_or(0),
        command: order.command.clone(),
        line: order.line.as_str().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use prost_types::Timestamp;

    use super::*;

    fn told() -> wire::DeviceReturn {
        wire::DeviceReturn {
            command: "deletions/01900000-0000-7000-8000-000000000001/commands/1-erase-wearables"
                .to_owned(),
            device: "devices/w1".to_owned(),
            binding_epoch: 2,
            outcome: wire::DeviceOutcome::NeverReturned.into(),
            time: Some(Timestamp {
                seconds: 1,
                nanos: 5_000,
            }),
        }
    }

    type Spoil = fn(&mut wire::DeviceReturn);

    #[test]
    fn a_return_with_a_part_missing_or_unknown_is_none() {
        let (_, sound) = returned(&told()).unwrap();
        assert_eq!(
            (sound.ending, sound.at.micros()),
            (Ending::NeverReturned, 1_000_005)
        );
        let spoilt: [(Reason, Spoil); 9] = [
            (Reason::UnknownCommand, |told| told.command.clear()),
            (Reason::DeviceUnknown, |told| told.device.clear()),
            (Reason::DeviceUnknown, |told| told.device = "w1".to_owned()),
            (Reason::DeviceOutcomeMissing, |told| told.binding_epoch = 0),
            (Reason::DeviceOutcomeMissing, |told| told.outcome = 0),
            (Reason::DeviceOutcomeMissing, |told| told.outcome = 99),
            (Reason::OutcomeNotAllowed, |told| {
                told.outcome = wire::DeviceOutcome::Detached.into();
            }),
            (Reason::OutcomeNotAllowed, |told| {
                told.outcome = wire::DeviceOutcome::Transferred.into();
            }),
            (Reason::TimeMissing, |told| told.time = None),
        ];
        for (place, (reason, spoil)) in spoilt.into_iter().enumerate() {
            let mut told = told();
            spoil(&mut told);
            assert_eq!(returned(&told), Err(reason), "{place}");
        }
    }

    #[test]
    fn what_became_of_a_lock_is_taken_word_for_word() {
        for (told, word) in [
            (0, None),
            (1, Some("RELEASED")),
            (2, Some("KEPT")),
            (3, Some("PASSED_ON")),
            (99, None),
        ] {
            let result = wire::DeviceResult {
                device: "devices/w1".to_owned(),
                binding_epoch: 2,
                lock: told,
                ..wire::DeviceResult::default()
            };
            let lock = super::result(result).unwrap().lock;
            assert_eq!(lock.map(LockOutcome::word), word, "{told}");
        }
    }

    #[test]
    fn no_device_of_an_erasing_never_returned() {
        let result = wire::DeviceResult {
            device: "devices/w1".to_owned(),
            binding_epoch: 2,
            outcome: wire::DeviceOutcome::NeverReturned.into(),
            ..wire::DeviceResult::default()
        };
        assert_eq!(super::result(result).unwrap().outcome, None);
    }
}
