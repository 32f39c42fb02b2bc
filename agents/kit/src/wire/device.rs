//! Devices on the participant's wire: what each is owed, and what became of it.

use std::collections::HashSet;
use std::mem;

use farewell_proto::device::v1 as device;
use farewell_proto::participant::v1 as pb;

use super::{DEVICES, Malformed, id};
use crate::participant::{
    Description, DeviceClass, DeviceDuty, DeviceEnding, DeviceFacts, DeviceOutcome, DeviceResult,
    DeviceReturn, DeviceTask, DeviceVerb, LockOutcome, NotUnbound, ReturnKept, UnbindDevice,
    Unbinding, UnbindingState,
};

/// Signed orders for one device: the wanted one and what holds in its place.
const ORDERS_MAX: usize = 4;

/// The devices of a command, each named once and owed something that is known.
pub(super) fn tasks(tasks: &mut [pb::DeviceTask]) -> Result<Vec<DeviceTask>, Malformed> {
    let mut seen = HashSet::with_capacity(tasks.len());
    let mut read = Vec::with_capacity(tasks.len());
    for task in &mut *tasks {
        let device = id(&task.device, DEVICES, "devices must be devices/{device}")?.to_owned();
        if task.binding_epoch == 0 {
            return Err(Malformed("binding_epoch must be at least 1"));
        }
        if !seen.insert(device.clone()) {
            return Err(Malformed("a device is named twice"));
        }
        read.push(DeviceTask {
            device,
            binding_epoch: task.binding_epoch,
            duty: duty(task)?,
            lost: task.lost,
        });
    }
    Ok(read)
}

pub(super) fn id_of(name: &str) -> Result<String, Malformed> {
    id(name, DEVICES, "device must be devices/{device}").map(str::to_owned)
}

pub(super) fn unbind(
    asked: pb::UnbindDeviceQuery,
    account: String,
) -> Result<UnbindDevice, Malformed> {
    let mut device = asked.device.ok_or(Malformed("device is missing"))?;
    let device = tasks(std::slice::from_mut(&mut device))?
        .pop()
        .ok_or(Malformed("device is missing"))?;
    Ok(UnbindDevice {
        name: super::given(asked.name, "name is empty")?,
        account,
        device,
    })
}

pub(crate) fn described(description: Option<Description>) -> pb::reply::Answer {
    let (binding_epoch, facts) = description.map_or((0, None), |description| {
        (description.binding_epoch, Some(facts(description.facts)))
    });
    pb::reply::Answer::DescribeDevice(pb::DescribeDeviceReply {
        binding_epoch,
        facts,
    })
}

pub(crate) fn unbinding(unbinding: Result<Unbinding, NotUnbound>) -> pb::reply::Answer {
    pb::reply::Answer::DeviceUnbinding(match unbinding {
        Ok(unbinding) => pb::DeviceUnbindingReply {
            refused: String::new(),
            device: format!("{DEVICES}{}", unbinding.device),
            binding_epoch: unbinding.binding_epoch,
            state: state(unbinding.state).into(),
            reason: unbinding.reason,
            begin_time: Some(unbinding.begun.into()),
            state_time: Some(unbinding.since.into()),
        },
        Err(not) => pb::DeviceUnbindingReply {
            refused: not.word().to_owned(),
            ..pb::DeviceUnbindingReply::default()
        },
    })
}

fn state(state: UnbindingState) -> pb::DeviceUnbindingState {
    match state {
        UnbindingState::Waiting => pb::DeviceUnbindingState::Waiting,
        UnbindingState::Running => pb::DeviceUnbindingState::Running,
        UnbindingState::Refused => pb::DeviceUnbindingState::Refused,
        UnbindingState::Executed => pb::DeviceUnbindingState::Executed,
        UnbindingState::Confirmed => pb::DeviceUnbindingState::Confirmed,
        UnbindingState::Detached => pb::DeviceUnbindingState::Detached,
        UnbindingState::Superseded => pb::DeviceUnbindingState::Superseded,
        UnbindingState::Unsupported => pb::DeviceUnbindingState::Unsupported,
    }
}

fn duty(task: &mut pb::DeviceTask) -> Result<DeviceDuty, Malformed> {
    match pb::DeviceDuty::try_from(task.duty) {
        Ok(pb::DeviceDuty::Order) if (1..=ORDERS_MAX).contains(&task.orders.len()) => {
            Ok(DeviceDuty::Orders(mem::take(&mut task.orders)))
        }
        Ok(pb::DeviceDuty::Order) => Err(Malformed("orders must be 1 to 4")),
        Ok(pb::DeviceDuty::Manual) if task.orders.is_empty() => Ok(DeviceDuty::Manual),
        Ok(pb::DeviceDuty::Manual) => Err(Malformed("duty and orders disagree")),
        Ok(pb::DeviceDuty::Unspecified) => Err(Malformed("duty is not specified")),
        Err(_) => Err(Malformed("duty is unknown to this version of the kit")),
    }
}

pub(super) fn result(result: DeviceResult) -> pb::DeviceResult {
    pb::DeviceResult {
        device: format!("{DEVICES}{}", result.device),
        binding_epoch: result.binding_epoch,
        outcome: result
            .outcome
            .map_or(pb::DeviceOutcome::Unspecified, outcome)
            .into(),
        facts: result.facts.map(facts),
        lock: result
            .lock
            .map_or(pb::LockOutcome::Unspecified, lock)
            .into(),
    }
}

fn outcome(outcome: DeviceOutcome) -> pb::DeviceOutcome {
    match outcome {
        DeviceOutcome::Confirmed => pb::DeviceOutcome::Confirmed,
        DeviceOutcome::Executed => pb::DeviceOutcome::Executed,
        DeviceOutcome::Detached => pb::DeviceOutcome::Detached,
        DeviceOutcome::Superseded => pb::DeviceOutcome::Superseded,
        DeviceOutcome::Transferred => pb::DeviceOutcome::Transferred,
        DeviceOutcome::Unsupported => pb::DeviceOutcome::Unsupported,
    }
}

pub(crate) fn returned(returned: DeviceReturn) -> pb::DeviceReturn {
    pb::DeviceReturn {
        command: returned.command,
        device: format!("{DEVICES}{}", returned.device),
        binding_epoch: returned.binding_epoch,
        outcome: ending(returned.ending).into(),
        time: Some(returned.at.into()),
    }
}

fn ending(ending: DeviceEnding) -> pb::DeviceOutcome {
    match ending {
        DeviceEnding::Confirmed => pb::DeviceOutcome::Confirmed,
        DeviceEnding::Executed => pb::DeviceOutcome::Executed,
        DeviceEnding::Superseded => pb::DeviceOutcome::Superseded,
        DeviceEnding::NeverReturned => pb::DeviceOutcome::NeverReturned,
    }
}

/// `None` for what names no device: nothing that was told is forgotten for it.
pub(crate) fn return_kept(kept: pb::DeviceReturnKept) -> Option<ReturnKept> {
    Some(ReturnKept {
        device: id_of(&kept.device).ok()?,
        command: kept.command,
        binding_epoch: kept.binding_epoch,
        refused: (!kept.refused.is_empty()).then_some(kept.refused),
    })
}

fn lock(lock: LockOutcome) -> pb::LockOutcome {
    match lock {
        LockOutcome::Released => pb::LockOutcome::Released,
        LockOutcome::Kept => pb::LockOutcome::Kept,
        LockOutcome::PassedOn => pb::LockOutcome::PassedOn,
    }
}

fn facts(facts: DeviceFacts) -> pb::DeviceFacts {
    let class = match facts.class {
        DeviceClass::Personal => pb::DeviceClass::Personal,
        DeviceClass::Home => pb::DeviceClass::Home,
    };
    let (hub, hub_epoch) = facts.hub.unwrap_or_default();
    pb::DeviceFacts {
        class: class.into(),
        verbs: facts.verbs.into_iter().map(|v| verb(v).into()).collect(),
        co_admin: facts.co_admin,
        household: facts.household,
        hub: if hub.is_empty() {
            hub
        } else {
            format!("{DEVICES}{hub}")
        },
        hub_epoch,
    }
}

/// A verb as devices and the coordinator know it.
pub(crate) fn verb(verb: DeviceVerb) -> device::DeviceVerb {
    match verb {
        DeviceVerb::Unbind => device::DeviceVerb::Unbind,
        DeviceVerb::Reset => device::DeviceVerb::Reset,
        DeviceVerb::RemoveChild => device::DeviceVerb::RemoveChild,
        DeviceVerb::Transfer => device::DeviceVerb::Transfer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task() -> pb::DeviceTask {
        pb::DeviceTask {
            device: "devices/w1".to_owned(),
            binding_epoch: 2,
            duty: pb::DeviceDuty::Order.into(),
            orders: vec!["signed".into()],
            lost: false,
        }
    }

    type Spoil = fn(&mut pb::DeviceTask);

    #[test]
    fn a_device_without_a_known_duty_or_with_another_number_of_orders_is_owed_nothing() {
        assert!(tasks(&mut [task()]).is_ok());
        let spoilt: [Spoil; 6] = [
            |t| t.duty = 0,
            |t| t.duty = 9,
            |t| t.duty = pb::DeviceDuty::Manual.into(),
            |t| t.orders.clear(),
            |t| t.orders = vec!["signed".into(); ORDERS_MAX + 1],
            |t| t.binding_epoch = 0,
        ];
        for (place, spoil) in spoilt.iter().enumerate() {
            let mut task = task();
            spoil(&mut task);
            assert!(tasks(&mut [task]).is_err(), "{place}");
        }
        assert!(tasks(&mut [task(), task()]).is_err());
    }

    #[test]
    fn a_device_in_a_roster_has_no_outcome() {
        let listed = DeviceResult {
            device: "w1".to_owned(),
            binding_epoch: 1,
            outcome: None,
            facts: None,
            lock: None,
        };
        let listed = result(listed);
        assert_eq!((listed.outcome, listed.lock), (0, 0));
    }
}
