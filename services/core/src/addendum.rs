//! An addendum: what became of a device after its leg was settled. A certificate is never written again; what comes later
//! stands beside it.
//!
//! Whoever was away may say anything that ends it. An execution was an end already; that the device was then seen again
//! unbound is still worth keeping. What is said twice in two ways is kept twice: each addendum has its time, none is unwritten.

use serde::Serialize;

use crate::deletion::{Deletion, State};
use crate::device::{Device, DeviceOutcome};
use crate::id::{CommandName, DeletionId, DeviceId, ParticipantId};
use crate::leg::{LegIndex, Verb};
use crate::plan::Plan;
use crate::receipt;
use crate::refusal::{Reason, Refusal};
use crate::replay;
use crate::time::Time;

/// Version of the documents' shape.
const FORMAT: u32 = 1;

/// What every addendum begins with, whatever it tells of.
#[derive(Serialize)]
pub(crate) struct Head<'a> {
    format: u32,
    /// Whose certificate it stands beside.
    deletion: String,
    /// As the certificate has it; absent where there is only one.
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<&'a str>,
}

impl<'a> Head<'a> {
    /// Of an addendum to this deletion's certificate.
    pub(crate) fn of(deletion: DeletionId, plan: &'a Plan) -> Self {
        Self {
            format: FORMAT,
            deletion: format!("deletions/{deletion}"),
            region: plan.policy().region.as_deref(),
        }
    }
}

/// How a device ended that was away. None of these leaves anything to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Ending {
    /// It carried out the order and was seen again unbound.
    Confirmed,
    /// It carried out the order.
    Executed,
    /// It has a newer binding: somebody else's now.
    Superseded,
    /// The order expired before it came back.
    NeverReturned,
}

impl Ending {
    /// Every ending.
    pub const ALL: [Self; 4] = [
        Self::Confirmed,
        Self::Executed,
        Self::Superseded,
        Self::NeverReturned,
    ];

    /// The machine word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Confirmed => "CONFIRMED",
            Self::Executed => "EXECUTED",
            Self::Superseded => "SUPERSEDED",
            Self::NeverReturned => "NEVER_RETURNED",
        }
    }

    /// The ending of a word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|ending| ending.word() == word)
    }
}

/// What an agent says of a device that has returned, already well-formed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceReturn {
    pub device: DeviceId,
    pub binding_epoch: u64,
    pub ending: Ending,
    /// When the agent learnt of it, by the agent's clock: kept as told.
    pub at: Time,
}

/// What is kept of a return. The same device, ending and receipt make the same addendum; the first stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Addendum {
    pub deletion: DeletionId,
    pub round: u16,
    pub leg: LegIndex,
    pub device: DeviceId,
    pub binding_epoch: u64,
    pub ending: Ending,
    /// What the receipt says.
    pub before: DeviceOutcome,
    pub returned_at: Time,
    /// Of the receipt that is amended.
    pub fingerprint: [u8; 16],
}

impl Addendum {
    /// Whether both say the same of the same binding.
    pub fn is_repeat(&self, other: &Self) -> bool {
        let key = |of: &Self| (of.deletion, of.round, of.leg, of.binding_epoch, of.ending);
        key(self) == key(other) && self.device == other.device
    }
}

/// An addendum as the ledger keeps it. In order of these it is oldest first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kept {
    pub recorded_at: Time,
    pub addendum: Addendum,
}

/// What follows from a return.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// To be kept.
    Keep(Addendum),
    /// The command isn't settled: its receipt may still be on its way, so that this is neither taken nor refused.
    Early,
}

/// Judges one return that `sender` tells of its ERASE `name`. `receipts` must not be older than the deletion that they are of.
///
/// An agent that was restored tells of the repetition that it was asked for, which has no receipt: what it amends is the last one
/// that names the device.
///
/// Errors: a reason to refuse it for good. Source: design invariants S7, S8, S16.
pub fn judge(
    sender: &ParticipantId,
    name: &CommandName,
    deletion: &Deletion,
    plan: &Plan,
    receipts: &[receipt::Kept],
    told: &DeviceReturn,
) -> Result<Verdict, Reason> {
    if name.participant != *sender {
        return Err(Reason::NotYourLeg);
    }
    let purged = matches!(deletion.state, State::Purged { .. });
    let repeated = purged && name.round >= replay::ROUNDS_FROM;
    if plan.version() != deletion.policy_version
        || name.deletion != deletion.id
        || name.verb != Verb::Erase
        || !(repeated || (1..=deletion.round).contains(&name.round))
    {
        return Err(Reason::UnknownCommand);
    }
    let leg = plan
        .find(sender, Verb::Erase)
        .ok_or(Reason::UnknownCommand)?;
    let meant = |device: &&Device| {
        device.device == told.device && device.binding_epoch == told.binding_epoch
    };
    let names_it = |kept: &&receipt::Kept| {
        let evidence = kept.receipt.read();
        evidence.is_ok_and(|evidence| evidence.devices.iter().any(|device| meant(&device)))
    };
    let mut own = receipts.iter().filter(|kept| kept.receipt.leg == leg);
    let kept = if repeated {
        let last = own.filter(names_it).max_by_key(|kept| kept.receipt.round);
        Some(last.ok_or(Reason::DeviceUnknown)?)
    } else {
        own.find(|kept| kept.receipt.round == name.round)
    };
    let Some(receipt::Kept { receipt, .. }) = kept else {
        return unsettled(name, deletion, plan, leg);
    };
    let evidence = receipt.read().map_err(|_| Reason::EvidenceConflict)?;
    let result = evidence.devices.iter().find(meant);
    let before = result
        .and_then(|result| result.outcome)
        .ok_or(Reason::DeviceUnknown)?;
    if !ends(before, told.ending) {
        return Err(Reason::NotDetached);
    }
    Ok(Verdict::Keep(Addendum {
        deletion: deletion.id,
        round: receipt.round,
        leg,
        device: told.device.clone(),
        binding_epoch: told.binding_epoch,
        ending: told.ending,
        before,
        returned_at: told.at,
        fingerprint: receipt.fingerprint,
    }))
}

/// Of a command without a receipt: it is on its way, or it was never sent.
fn unsettled(
    name: &CommandName,
    deletion: &Deletion,
    plan: &Plan,
    leg: LegIndex,
) -> Result<Verdict, Reason> {
    // No round ends before its erasing is settled, and a later one asks only those who still held something.
    if name.round < deletion.round || deletion.done.has(leg) {
        return Err(Reason::UnknownCommand);
    }
    if deletion.asked(plan).has(leg) {
        Ok(Verdict::Early)
    } else {
        Err(Reason::NotAsked)
    }
}

/// Whether a result leaves room for this ending.
const fn ends(before: DeviceOutcome, ending: Ending) -> bool {
    match before {
        DeviceOutcome::Detached => true,
        DeviceOutcome::Executed => matches!(ending, Ending::Confirmed),
        DeviceOutcome::Confirmed
        | DeviceOutcome::Superseded
        | DeviceOutcome::Transferred
        | DeviceOutcome::Unsupported => false,
    }
}

#[derive(Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    head: Head<'a>,
    participant: &'a str,
    round: u16,
    device: String,
    binding_epoch: u64,
    before: DeviceOutcome,
    outcome: Ending,
    returned: String,
    recorded: String,
    /// Of the receipt that is amended, as the certificate says it.
    fingerprint: String,
}

/// The addendum as JSON text on one line: the same bytes each time.
///
/// Errors: `EVIDENCE_CONFLICT` if it is of no leg of the plan.
pub fn issue(plan: &Plan, kept: &Kept) -> Result<String, Refusal> {
    let Kept {
        recorded_at,
        addendum,
    } = kept;
    let leg = plan.leg(addendum.leg).ok_or(Reason::EvidenceConflict)?;
    let fingerprint = addendum.fingerprint.iter();
    let document = Document {
        head: Head::of(addendum.deletion, plan),
        participant: leg.participant.as_str(),
        round: addendum.round,
        device: format!("devices/{}", addendum.device.as_str()),
        binding_epoch: addendum.binding_epoch,
        before: addendum.before,
        outcome: addendum.ending,
        returned: addendum.returned_at.to_string(),
        recorded: recorded_at.to_string(),
        fingerprint: fingerprint.map(|byte| format!("{byte:02x}")).collect(),
    };
    serde_json::to_string(&document).map_err(|_| Reason::EvidenceConflict.into())
}

#[cfg(test)]
mod tests;
