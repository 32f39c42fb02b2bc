//! What the support desk is asked about its cases.

/// "Does this case approve that?" Its `Debug` never shows the account.
#[derive(Clone, PartialEq, Eq)]
pub struct CheckCase {
    /// The account's id.
    pub account: String,
    /// The case's id, without `cases/`.
    pub case: String,
    /// What is to be done.
    pub action: CaseAction,
    /// What it is done for: `deletions/{deletion}`, `deletions/{deletion}/overrides/{request_id}` or `requests/{request_id}`.
    pub used_for: String,
    /// How many people must have approved: 1 or 2.
    pub approvals_min: u32,
    /// That is done. Only of a transfer.
    pub done: bool,
    /// Asked is whether the case was rejected. Only of deletions.
    pub rejected: bool,
}

impl std::fmt::Debug for CheckCase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CheckCase")
            .field("case", &self.case)
            .field("used_for", &self.used_for)
            .finish_non_exhaustive()
    }
}

/// What a case can approve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CaseAction {
    /// Delete the account for its owner.
    Delete,
    /// Delete the account of a person who died, for relatives.
    DeleteLegacy,
    /// Keep the account of a person who died in memory.
    Memorialize,
    /// Let a deletion go on in spite of these blockers. Never empty.
    OverrideBlockers(Vec<String>),
    /// Move what the account has to another one.
    TransferBelongings {
        /// The other account's id.
        to_account: String,
        /// What moves, for instance `POINTS`. Never empty.
        belongings: Vec<String>,
    },
    /// Unbind this device, `lines/{line}/devices/{device}`.
    UnbindDevice(String),
    /// Take a memorial back that was a mistake.
    Unmemorialize,
    /// Give a copy of the account's data out.
    Export,
    /// Clear real-name information.
    ClearRealName,
    /// Take a deletion back.
    RevokeDeletion,
    /// Extend a deletion's deadline, for this reason.
    ExtendDeadline(String),
}

/// What waits at the support desk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeskWork {
    /// Cases that nobody, or one person only, has decided on.
    pub open: i64,
    /// Cases of which something should have happened by itself, and has not.
    pub stuck: i64,
}

/// Whether a case approves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CaseStanding {
    /// It does, and is used for this from now on.
    Stands,
    /// There is no such case of this account.
    NotFound,
    /// Too few people have approved it, or it was rejected or withdrawn.
    NotApproved,
    /// It was approved, and not used in time.
    Expired,
    /// It was used for something else.
    Used,
    /// It approves something else.
    NotForThis,
    /// It was rejected, for this reason, and that is said of this from now on. Only where that was asked.
    Rejected(&'static str),
}
