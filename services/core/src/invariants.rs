//! What may never be seen in any history, for tests and for an auditor of the running system.
//!
//! A history is a list of [`Fact`]s in the order in which they became true, as ledgers, wires and participants see them.
//! [`check`] judges a whole one, an [`Auditor`] judges it as it grows, [`check_ledger`] judges one deletion as stored.
//! None of them decides anything, and none reuses the decisions that it judges: gates and transitions are written a
//! second time here, as sentences.

mod auditor;
mod stored;
#[cfg(test)]
mod tests;

pub use auditor::Auditor;
pub use stored::check_ledger;

use std::fmt;

use crate::deletion::Deletion;
use crate::id::{AccountId, CommandName, DeletionId, DeviceId, ParticipantId, RequestId};
use crate::leg::Mask;
use crate::plan::Plan;
use crate::receipt::Kept;
use crate::refusal::Reason;

/// What holds in every history. The numbers are those of the design.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Invariant {
    S1,
    S2,
    S3,
    S4,
    S5,
    S6,
    S7,
    S8,
    S9,
    S10,
    S11,
    S12,
    S13,
    S14,
    S15,
    S16,
    S17,
    S22,
    S23,
    S24,
}

impl Invariant {
    /// Every invariant.
    pub const ALL: [Self; 20] = [
        Self::S1,
        Self::S2,
        Self::S3,
        Self::S4,
        Self::S5,
        Self::S6,
        Self::S7,
        Self::S8,
        Self::S9,
        Self::S10,
        Self::S11,
        Self::S12,
        Self::S13,
        Self::S14,
        Self::S15,
        Self::S16,
        Self::S17,
        Self::S22,
        Self::S23,
        Self::S24,
    ];

    /// The invariant as a sentence.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::S1 => {
                "what is purged, or called purged, had every required leg settled durably before"
            }
            Self::S2 => {
                "no leg is waived without two people; there are no waivers yet, so nothing replaces a receipt"
            }
            Self::S3 => "an account has one live deletion",
            Self::S4 => {
                "what has ended never changes again, but for what law kept and is then erased"
            }
            Self::S5 => {
                "nothing destructive is asked or done before the point of no return, or before its stage"
            }
            Self::S6 => {
                "the plan is closed: what is needed never changes, and a sealed account binds nothing"
            }
            Self::S7 => "a participant settles and acts on only its own legs",
            Self::S8 => {
                "nobody acts on another account, or on a binding that is not the current one"
            }
            Self::S9 => "names, ids and epochs are never reused",
            Self::S10 => "a command executed many times, in any order, is executed once",
            Self::S11 => "what was accepted survives every fault",
            Self::S12 => "the same request gets the same answer",
            Self::S13 => "a stale lease or a stale revision changes nothing",
            Self::S14 => {
                "whatever the clock does, no wait is cut short and no history runs backwards"
            }
            Self::S15 => {
                "the deadline is fixed when the request is taken, and moves only to where a calendar puts it that knows all days, or once by an extension"
            }
            Self::S16 => "what is unknown is never an acknowledgement",
            Self::S17 => "empty, zero or missing never deletes",
            Self::S22 => {
                "under a legal hold nothing is purged, the point of no return is not passed, and nothing ends that law keeps"
            }
            Self::S23 => "evidence that contradicts itself blocks",
            Self::S24 => {
                "what law keeps is erased once its time is over, not before, and nothing is closed while anything is kept"
            }
        }
    }
}

/// Something that may never be seen was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub invariant: Invariant,
    /// The place in the history of the fact that shows it; 0 from [`check_ledger`].
    pub at: usize,
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            invariant,
            at,
            what,
        } = self;
        write!(
            f,
            "{invariant:?} at {at}: {} ({what})",
            invariant.sentence()
        )
    }
}

/// What became true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// A deletion was inserted.
    Opened(Deletion),
    /// A caller was told what became of its request to open a deletion.
    Answered {
        request: RequestId,
        digest: [u8; 16],
        answer: Result<DeletionId, Reason>,
    },
    /// A coordinator joined under a new fencing epoch.
    Joined { epoch: i64 },
    /// A coordinator's lease ended and another took over.
    Fenced { epoch: i64 },
    /// A compare-and-set was committed: the row before it and after it, and the epoch of a fenced one.
    Turned {
        epoch: Option<i64>,
        before: Box<Deletion>,
        after: Deletion,
    },
    /// Receipts were committed: those that were new, the legs merged into the done-mask, and the row after it.
    Settled {
        epoch: i64,
        receipts: Vec<Kept>,
        legs: Mask,
        after: Deletion,
    },
    /// A command went out.
    CommandSent {
        name: CommandName,
        account: AccountId,
    },
    /// A participant was told that its final answer is kept.
    ReportAccepted {
        sender: ParticipantId,
        name: CommandName,
        account: AccountId,
        fingerprint: [u8; 16],
    },
    /// A participant's answer was refused.
    ReportRefused {
        sender: ParticipantId,
        name: CommandName,
    },
    /// A participant or device executed a command; `changed` says whether that had any effect.
    Acted {
        participant: ParticipantId,
        name: CommandName,
        account: AccountId,
        binding: Option<(DeviceId, u64)>,
        changed: bool,
    },
    /// A participant bound a device to an account.
    Bound {
        participant: ParticipantId,
        account: AccountId,
        device: DeviceId,
        epoch: u64,
    },
    /// Somebody was told that the deletion is in the state of this code.
    Announced { deletion: DeletionId, state: i16 },
    /// A deletion was looked for and was not there.
    Lost(DeletionId),
}

/// Judges a history. `plan_of` finds the plan of a policy version.
pub fn check<'a>(
    plan_of: impl Fn(u32) -> Option<&'a Plan>,
    history: &[Fact],
) -> Result<(), Vec<Violation>> {
    let mut auditor = Auditor::new(plan_of);
    for fact in history {
        auditor.observe(fact);
    }
    let violations = auditor.into_violations();
    if violations.is_empty() {
        Ok(())
    } else {
        Err(violations)
    }
}
