//! Why something was not done, as stable machine words.

use std::fmt;

use crate::time::Time;

/// Stable machine words: the `reason` of an error. Never renamed, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    AccountHasLiveDeletion,
    RequestIdReused,
    DeletionNotFound,
    PastNoReturn,
    AlreadyEnded,
    IllegalState,
    FactorNotRequired,
    SealOutstanding,
    CoolingOff,
    NotEligible,
    NotInTheWay,
    NotOverridable,
    OverrideByLegal,
    TooManyOverrides,
    Held,
    NotExtendable,
    AlreadyExtended,
    DeadlinePassed,
    NotPurged,
    LegsOutstanding,
    EmptyPlan,
    EvidenceConflict,
    // What a participant can get wrong.
    NotYourLeg,
    UnknownCommand,
    NotAsked,
    AccountMismatch,
    OutcomeMissing,
    OutcomeNotAllowed,
    OutcomeEmpty,
    OutcomeConflict,
    RetentionIncomplete,
    RetentionUnknown,
    RetentionTooLong,
    RetentionOver,
    DeviceMissing,
    DeviceUnknown,
    DeviceFactsMissing,
    DeviceOutcomeMissing,
    NotDetached,
    TimeMissing,
    DeferralOutOfRange,
    ReasonMissing,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 42] = [
        Self::AccountHasLiveDeletion,
        Self::RequestIdReused,
        Self::DeletionNotFound,
        Self::PastNoReturn,
        Self::AlreadyEnded,
        Self::IllegalState,
        Self::FactorNotRequired,
        Self::SealOutstanding,
        Self::CoolingOff,
        Self::NotEligible,
        Self::NotInTheWay,
        Self::NotOverridable,
        Self::OverrideByLegal,
        Self::TooManyOverrides,
        Self::Held,
        Self::NotExtendable,
        Self::AlreadyExtended,
        Self::DeadlinePassed,
        Self::NotPurged,
        Self::LegsOutstanding,
        Self::EmptyPlan,
        Self::EvidenceConflict,
        Self::NotYourLeg,
        Self::UnknownCommand,
        Self::NotAsked,
        Self::AccountMismatch,
        Self::OutcomeMissing,
        Self::OutcomeNotAllowed,
        Self::OutcomeEmpty,
        Self::OutcomeConflict,
        Self::RetentionIncomplete,
        Self::RetentionUnknown,
        Self::RetentionTooLong,
        Self::RetentionOver,
        Self::DeviceMissing,
        Self::DeviceUnknown,
        Self::DeviceFactsMissing,
        Self::DeviceOutcomeMissing,
        Self::NotDetached,
        Self::TimeMissing,
        Self::DeferralOutOfRange,
        Self::ReasonMissing,
    ];

    /// The machine word and a line of help.
    const fn entry(self) -> (&'static str, &'static str) {
        match self {
            Self::AccountHasLiveDeletion => (
                "ACCOUNT_HAS_LIVE_DELETION",
                "an account has one live deletion at a time: follow or revoke that one",
            ),
            Self::RequestIdReused => (
                "REQUEST_ID_REUSED",
                "this request_id was used for another request: make a new one for a new request",
            ),
            Self::DeletionNotFound => ("DELETION_NOT_FOUND", "there is no deletion of this name"),
            Self::PastNoReturn => (
                "PAST_NO_RETURN",
                "erasing has begun and can't be taken back",
            ),
            Self::AlreadyEnded => ("ALREADY_ENDED", "the deletion has ended"),
            Self::IllegalState => (
                "ILLEGAL_STATE",
                "the deletion is in a state that does not allow this",
            ),
            Self::FactorNotRequired => (
                "FACTOR_NOT_REQUIRED",
                "the deletion does not ask for this factor",
            ),
            Self::SealOutstanding => (
                "SEAL_OUTSTANDING",
                "not every participant has sealed the account",
            ),
            Self::CoolingOff => ("COOLING_OFF", "the cooling-off period has not ended"),
            Self::NotEligible => (
                "NOT_ELIGIBLE",
                "something is in the way of deleting the account",
            ),
            Self::NotInTheWay => (
                "BLOCKER_NOT_IN_THE_WAY",
                "nothing of this code stands in the deletion's way now: only what stands there can be overridden",
            ),
            Self::NotOverridable => (
                "BLOCKER_NOT_OVERRIDABLE",
                "nobody overrides this: only its end helps",
            ),
            Self::OverrideByLegal => (
                "OVERRIDE_BY_LEGAL_ONLY",
                "the legal department placed this, and lifts it where it was placed: the support desk can't",
            ),
            Self::TooManyOverrides => (
                "TOO_MANY_OVERRIDES",
                "as many blockers of this deletion were overridden as may be",
            ),
            Self::Held => ("HELD", "a legal hold stops the deletion"),
            Self::NotExtendable => (
                "DEADLINE_NOT_EXTENDABLE",
                "the deletion's policy lets nobody extend the deadline",
            ),
            Self::AlreadyExtended => (
                "DEADLINE_ALREADY_EXTENDED",
                "a deadline is extended once, and this one was",
            ),
            Self::DeadlinePassed => (
                "DEADLINE_PASSED",
                "the deadline has passed: it is extended before that or not at all",
            ),
            Self::NotPurged => ("NOT_PURGED", "the account is not purged yet"),
            Self::LegsOutstanding => ("LEGS_OUTSTANDING", "participants still owe something"),
            Self::EmptyPlan => ("EMPTY_PLAN", "a plan without participants never purges"),
            Self::EvidenceConflict => (
                "EVIDENCE_CONFLICT",
                "a participant contradicted its own evidence",
            ),
            Self::NotYourLeg => ("NOT_YOUR_LEG", "the command belongs to another participant"),
            Self::UnknownCommand => ("UNKNOWN_COMMAND", "no such command was ever sent"),
            Self::NotAsked => ("NOT_ASKED", "the command is planned and has not been sent"),
            Self::AccountMismatch => (
                "ACCOUNT_MISMATCH",
                "the report names another account than the command",
            ),
            Self::OutcomeMissing => (
                "OUTCOME_MISSING",
                "an answer without an outcome is no acknowledgement",
            ),
            Self::OutcomeNotAllowed => (
                "OUTCOME_NOT_ALLOWED",
                "this outcome does not answer this verb",
            ),
            Self::OutcomeEmpty => (
                "OUTCOME_EMPTY",
                "this outcome needs counts of what was erased or found",
            ),
            Self::OutcomeConflict => (
                "OUTCOME_CONFLICT",
                "the command was answered differently before",
            ),
            Self::RetentionIncomplete => (
                "RETENTION_INCOMPLETE",
                "what is retained needs a class, a legal basis, a count and an end",
            ),
            Self::RetentionUnknown => (
                "RETENTION_UNKNOWN",
                "the policy lets this participant keep nothing of this class under this law",
            ),
            Self::RetentionTooLong => (
                "RETENTION_TOO_LONG",
                "the class is kept no longer than the policy's period",
            ),
            Self::RetentionOver => (
                "RETENTION_OVER",
                "what has ended is erased before the expiry is answered",
            ),
            Self::DeviceMissing => ("DEVICE_MISSING", "a device of the roster has no result"),
            Self::DeviceUnknown => (
                "DEVICE_UNKNOWN",
                "a result names a device or binding that was not in the roster",
            ),
            Self::DeviceFactsMissing => (
                "DEVICE_FACTS_MISSING",
                "a device of a roster needs what decides what becomes of it",
            ),
            Self::DeviceOutcomeMissing => (
                "DEVICE_OUTCOME_MISSING",
                "a device's result needs an outcome and an epoch",
            ),
            Self::NotDetached => (
                "NOT_DETACHED",
                "the device's result leaves nothing open: only one that was away can return",
            ),
            Self::TimeMissing => (
                "TIME_MISSING",
                "a device's return needs the time at which the agent learnt of it",
            ),
            Self::DeferralOutOfRange => ("DEFERRAL_OUT_OF_RANGE", "a deferral is 1 ms to 7 days"),
            Self::ReasonMissing => (
                "REASON_MISSING",
                "a deferral or refusal needs a reason of A-Z 0-9 _",
            ),
        }
    }

    /// The stable machine word, for instance `PAST_NO_RETURN`.
    pub const fn word(self) -> &'static str {
        self.entry().0
    }

    /// A plain sentence.
    pub const fn help(self) -> &'static str {
        self.entry().1
    }
}

/// A reason, and when what it speaks of happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub reason: Reason,
    /// When the fact that refuses came to be, where that is known: a lost race is told who won and when.
    pub since: Option<Time>,
}

impl Refusal {
    /// A refusal that names a moment.
    pub const fn since(reason: Reason, since: Time) -> Self {
        Self {
            reason,
            since: Some(since),
        }
    }
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self {
            reason,
            since: None,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason.help())?;
        match self.since {
            Some(since) => write!(f, " (since {since})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_reason_has_its_own_word_and_a_line_of_help() {
        let words: HashSet<_> = Reason::ALL.iter().map(|reason| reason.word()).collect();
        assert_eq!(words.len(), Reason::ALL.len());
        for reason in Reason::ALL {
            assert!(
                reason
                    .word()
                    .bytes()
                    .all(|b| b.is_ascii_uppercase() || b == b'_'),
                "{reason:?}"
            );
            assert!(reason.help().len() > 10, "{reason:?}");
        }
    }
}
