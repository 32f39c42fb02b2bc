//! One device is unbound and the account stays: asked of the product line, which keeps it, with an order that only the
//! coordinator can sign.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use farewell_core::blocker::{self, Blocker, Owner};
use farewell_core::device::Device;
use farewell_core::order::{self, Disposal, Occasion};
use farewell_core::{AccountId, DeviceId, ParticipantId, Reason, RequestId, Time};
use farewell_proto::account::v1 as api;
use farewell_proto::participant::v1 as wire;
use farewell_proto::participant::v1::query::Question;
use farewell_proto::participant::v1::reply::Answer;
use tonic::{Code, Status};

use super::case::{self, CaseName, Use};
use super::looking;
use crate::center::Center;
use crate::error;
use crate::wire::device;

/// `lines/{line}/deviceUnbindings/{device_unbinding}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    pub line: ParticipantId,
    pub request: RequestId,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let request = self.request.0.hyphenated();
        write!(f, "lines/{}/deviceUnbindings/{request}", self.line)
    }
}

impl FromStr for Name {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let rest = text.strip_prefix("lines/").ok_or(())?;
        let (line, request) = rest.split_once("/deviceUnbindings/").ok_or(())?;
        Ok(Self {
            line: line.parse().map_err(drop)?,
            request: request.parse().map_err(drop)?,
        })
    }
}

/// What is asked for.
pub struct Wish {
    pub name: Name,
    pub account: AccountId,
    pub device: DeviceId,
    pub epoch: u64,
    pub disposal: Disposal,
    /// The desk's case of it. `None`: nobody but the person has a part in it.
    pub case: Option<CaseName>,
}

/// Unbinds the device, or says how far that is. A device that refused is asked again.
pub async fn unbind(center: &Center, wish: Wish) -> Result<api::DeviceUnbinding, Status> {
    match look(center, &wish.name, &wish.account).await {
        Err(status) if status.code() == Code::NotFound => {}
        Ok(known) => {
            let known = same(known, &wish)?;
            if known.state() != api::DeviceUnbindingState::Refused {
                return Ok(known);
            }
            granted(center, &wish).await?;
            return again(center, &wish).await;
        }
        Err(status) => return Err(status),
    }
    let found = describe(center, &wish).await?;
    granted(center, &wish).await?;
    let name = wish.name.to_string();
    let verb = found
        .facts
        .as_ref()
        .and_then(|facts| order::of_wish(facts, wish.disposal));
    let now = center.clock.now();
    let occasion = Occasion {
        line: &wish.name.line,
        command: &name,
        from: now,
        until: now + center.plans.current().policy().devices.order_life,
    };
    let task = center.orders.task(&found, verb.as_slice(), occasion);
    let question = Question::UnbindDevice(wire::UnbindDeviceQuery {
        name,
        device: Some(task),
    });
    let known = ask(center, &wish.name, &wish.account, question).await?;
    same(known, &wish)
}

/// Whether whoever asks may: the desk by its case, which is used by that, and the person where nothing closes it to them.
async fn granted(center: &Center, wish: &Wish) -> Result<(), Status> {
    let Some(case) = wish.case else {
        return is_open(center, &wish.account).await;
    };
    let Name { line, request } = &wish.name;
    let device = format!("lines/{line}/{}", device::name(&wish.device));
    let (action, used_for) = (case::Action::UnbindDevice(device), Use::Request(*request));
    case::check(center, &wish.account, case, action, used_for).await
}

/// Whether the policy leaves it to the person to unbind a device. Who should say so and gives no answer has not said so.
async fn is_open(center: &Center, account: &AccountId) -> Result<(), Status> {
    let plan = center.plans.current();
    let policy = plan.policy();
    let closing = &policy.devices.self_service_closed_by;
    let says_one = |participant: &&ParticipantId| {
        let mut known = closing.iter().filter_map(|code| blocker::known(code));
        known.any(
            |known| matches!(known.owner, Owner::Service(owner) if owner == participant.as_str()),
        )
    };
    for participant in policy.participants().filter(says_one) {
        let blockers = center
            .queries
            .eligibility_of(center, participant, plan, account)
            .await;
        if blockers.iter().any(Blocker::is_silence) {
            return Err(error::unavailable(
                "PARTICIPANT_UNREACHABLE",
                &format!("{participant} gives no answer; the same request may be sent again"),
            ));
        }
        if let Some(blocker) = blockers
            .iter()
            .find(|blocker| closing.contains(&blocker.code))
        {
            return Err(error::precondition(
                "SELF_SERVICE_CLOSED",
                "the support desk or a repair shop unbinds devices of this account",
                HashMap::from([("blocker".to_owned(), blocker.code.clone())]),
            ));
        }
    }
    Ok(())
}

/// The line has the signed order: it needs no other.
async fn again(center: &Center, wish: &Wish) -> Result<api::DeviceUnbinding, Status> {
    let task = wire::DeviceTask {
        device: device::name(&wish.device),
        binding_epoch: wish.epoch,
        duty: wire::DeviceDuty::Manual.into(),
        orders: Vec::new(),
        lost: false,
    };
    let question = Question::UnbindDevice(wire::UnbindDeviceQuery {
        name: wish.name.to_string(),
        device: Some(task),
    });
    ask(center, &wish.name, &wish.account, question).await
}

/// How far an unbinding is.
pub async fn look(
    center: &Center,
    name: &Name,
    account: &AccountId,
) -> Result<api::DeviceUnbinding, Status> {
    let question = Question::DeviceUnbinding(wire::DeviceUnbindingQuery {
        name: name.to_string(),
    });
    ask(center, name, account, question).await
}

/// One that somebody watches.
pub struct Watched {
    pub name: Name,
    pub account: AccountId,
}

impl looking::Watched for Watched {
    type Seen = api::DeviceUnbinding;
    type Told = api::WatchDeviceUnbindingResponse;

    async fn look(&self, center: &Center) -> Result<Self::Seen, Status> {
        look(center, &self.name, &self.account).await
    }

    fn is_over(seen: &Self::Seen, center: &Center) -> bool {
        is_over(seen, center.clock.now())
    }

    fn told(seen: Self::Seen) -> Self::Told {
        api::WatchDeviceUnbindingResponse {
            device_unbinding: Some(seen),
        }
    }
}

/// How long a device that did it is waited for to be seen again.
const SEEN_AGAIN_WAIT: Duration = Duration::from_secs(60);

/// Whether nothing more is waited for. A device that did it need not come back, and a hub's child can't.
fn is_over(unbinding: &api::DeviceUnbinding, now: Time) -> bool {
    use api::DeviceUnbindingState as State;
    match unbinding.state() {
        State::Unspecified | State::Waiting | State::Running => false,
        State::Executed => {
            let since = unbinding.state_time.and_then(crate::wire::time);
            since.is_none_or(|since| now.since(since) >= SEEN_AGAIN_WAIT)
        }
        State::Refused
        | State::Confirmed
        | State::Detached
        | State::Superseded
        | State::Unsupported => true,
    }
}

/// The same request id for another device is a mistake.
fn same(known: api::DeviceUnbinding, wish: &Wish) -> Result<api::DeviceUnbinding, Status> {
    if known.device == device::name(&wish.device) && known.epoch == wish.epoch {
        Ok(known)
    } else {
        Err(error::refused(Reason::RequestIdReused.into()))
    }
}

/// The account's device as its line knows it.
async fn describe(center: &Center, wish: &Wish) -> Result<Device, Status> {
    let question = Question::DescribeDevice(wire::DescribeDeviceQuery {
        device: device::name(&wish.device),
    });
    let Answer::DescribeDevice(reply) = answer(center, &wish.name, &wish.account, question).await?
    else {
        return Err(unreachable(&wish.name));
    };
    if reply.binding_epoch == 0 {
        return Err(refusal("BINDING_NOT_FOUND"));
    }
    if reply.binding_epoch != wish.epoch {
        return Err(refusal("EPOCH_MISMATCH"));
    }
    let facts = reply.facts.ok_or_else(|| unreachable(&wish.name))?;
    Ok(Device {
        device: wish.device.clone(),
        binding_epoch: reply.binding_epoch,
        facts: Some(device::facts(facts).map_err(|_| unreachable(&wish.name))?),
        outcome: None,
        lock: None,
    })
}

async fn ask(
    center: &Center,
    name: &Name,
    account: &AccountId,
    question: Question,
) -> Result<api::DeviceUnbinding, Status> {
    let Answer::DeviceUnbinding(reply) = answer(center, name, account, question).await? else {
        return Err(unreachable(name));
    };
    if !reply.refused.is_empty() {
        return Err(refusal(&reply.refused));
    }
    let state = wire::DeviceUnbindingState::try_from(reply.state)
        .map(state)
        .map_err(|_| unreachable(name))?;
    Ok(api::DeviceUnbinding {
        name: name.to_string(),
        device: reply.device,
        epoch: reply.binding_epoch,
        state: state.into(),
        reason: reply.reason,
        begin_time: reply.begin_time,
        state_time: reply.state_time,
        explanation: None,
    })
}

/// What callers are told, word for word: the numbers of the two enums owe each other nothing.
const fn state(state: wire::DeviceUnbindingState) -> api::DeviceUnbindingState {
    use api::DeviceUnbindingState as Told;
    match state {
        wire::DeviceUnbindingState::Unspecified => Told::Unspecified,
        wire::DeviceUnbindingState::Waiting => Told::Waiting,
        wire::DeviceUnbindingState::Running => Told::Running,
        wire::DeviceUnbindingState::Refused => Told::Refused,
        wire::DeviceUnbindingState::Executed => Told::Executed,
        wire::DeviceUnbindingState::Confirmed => Told::Confirmed,
        wire::DeviceUnbindingState::Detached => Told::Detached,
        wire::DeviceUnbindingState::Superseded => Told::Superseded,
        wire::DeviceUnbindingState::Unsupported => Told::Unsupported,
    }
}

async fn answer(
    center: &Center,
    name: &Name,
    account: &AccountId,
    question: Question,
) -> Result<Answer, Status> {
    center
        .queries
        .ask(center, &name.line, account, question, center.pace.query)
        .await
        .ok_or_else(|| unreachable(name))
}

fn unreachable(name: &Name) -> Status {
    let line = &name.line;
    error::unavailable(
        "LINE_UNREACHABLE",
        &format!("the agent of {line} gives no answer; the same request may be sent again"),
    )
}

/// What the line refused, with its word.
fn refusal(word: &str) -> Status {
    let (code, reason, message) = match word {
        "UNBINDING_NOT_FOUND" => (
            Code::NotFound,
            "UNBINDING_NOT_FOUND",
            "no such unbinding of a device of this account",
        ),
        "BINDING_NOT_FOUND" => (
            Code::NotFound,
            "BINDING_NOT_FOUND",
            "the account has no such device",
        ),
        "EPOCH_MISMATCH" => (
            Code::Aborted,
            "EPOCH_MISMATCH",
            "the device has another binding by now",
        ),
        "ACCOUNT_SEALED" => (
            Code::FailedPrecondition,
            "ACCOUNT_SEALED",
            "the account is being deleted, and its devices with it",
        ),
        "DEVICE_LOST" => (
            Code::FailedPrecondition,
            "DEVICE_LOST",
            "the device is reported lost or stolen: say first that it was found",
        ),
        "HAS_CHILDREN" => (
            Code::FailedPrecondition,
            "HAS_CHILDREN",
            "the hub has children: unbind them first",
        ),
        "REQUEST_ID_REUSED" => return error::refused(Reason::RequestIdReused.into()),
        _ => (
            Code::Internal,
            "LINE_REFUSED",
            "the product line refused the unbinding",
        ),
    };
    error::coded(code, reason, message, HashMap::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_reads_back_and_nothing_else_is_one() {
        let text = "lines/wearables/deviceUnbindings/01900000-0000-7000-8000-000000000001";
        let name: Name = text.parse().unwrap();
        assert_eq!(name.to_string(), text);
        for bad in [
            "",
            "lines//deviceUnbindings/01900000-0000-7000-8000-000000000001",
            "lines/wearables/deviceUnbindings/",
            "lines/wearables/deviceUnbindings/00000000-0000-0000-0000-000000000000",
            "lines/we/arables/deviceUnbindings/01900000-0000-7000-8000-000000000001",
            "lines/wearables/01900000-0000-7000-8000-000000000001",
        ] {
            assert!(bad.parse::<Name>().is_err(), "{bad}");
        }
    }
}
