//! What a person is told of a deletion.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, SystemTime};

use jiff::tz::TimeZone;

/// "Tell the person this." Its `Debug` never shows the account.
#[derive(Clone, PartialEq, Eq)]
pub struct Notice {
    /// The account's id.
    pub account: String,
    /// `deletions/{deletion}`.
    pub deletion: String,
    /// What names it among the notices of its deletion: the same name is told once.
    pub name: String,
    /// What kind.
    pub kind: NoticeKind,
    /// Until when the deletion can be taken back, where that is known.
    pub revocable_until: Option<SystemTime>,
    /// When it must be complete.
    pub deadline: Option<SystemTime>,
    /// Whether it can be taken back now.
    pub revocable: bool,
    /// Why.
    pub reasons: Vec<NoticeReason>,
    /// Numbers and addresses that were changed not longer ago hear of it, too: see [`super::CheckEligibility`].
    pub recent_change: Duration,
    /// In which moments are told: the policy's.
    pub time_zone: TimeZone,
}

impl fmt::Debug for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notice")
            .field("deletion", &self.deletion)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// A reason in words, without personal data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoticeReason {
    /// Stable machine word.
    pub code: String,
    /// By language.
    pub sentences: BTreeMap<String, String>,
}

/// Kinds of notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoticeKind {
    /// Something is in the way, or more must be shown.
    Waiting,
    /// The account is sealed.
    Sealed,
    /// It can be taken back for a little while yet.
    Reminder,
    /// The wait is over and something new is in the way.
    Blocked,
    /// Erasing begins.
    Erasing,
    /// The deadline was extended.
    Extended,
    /// The deadline has passed.
    Overdue,
    /// Taken back.
    Revoked,
    /// Refused by a decision.
    Denied,
    /// Nothing came of the request in time.
    Expired,
}

/// Letters on their way to people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Letters {
    /// Not carried yet.
    pub waiting: i64,
    /// Of them, refused by their gateway at least once.
    pub failing: i64,
    /// Never carried, over the last seven days.
    pub given_up: i64,
    /// When a gateway last failed, if one did since the start.
    pub last_failure: Option<SystemTime>,
}
