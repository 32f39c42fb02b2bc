//! What a participant is told of an account besides its deletion.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Whether an account can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// As any other.
    Active,
    /// Everything is kept. Nobody can log in, and nothing new is synchronised, ordered or bound.
    Frozen,
    /// As frozen, and its owner has died.
    Memorialized,
}

/// "Keep the account in this standing." Its `Debug` never shows the account.
#[derive(Clone, PartialEq, Eq)]
pub struct SetStanding {
    /// The account's id.
    pub account: String,
    /// At least 1. Of several the highest holds.
    pub generation: u64,
    /// What it is from now on.
    pub standing: Standing,
    /// Numbers and addresses that were changed not longer ago hear of it, if anybody does: see [`super::CheckEligibility`].
    pub recent_change: Duration,
}

impl fmt::Debug for SetStanding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SetStanding")
            .field("generation", &self.generation)
            .field("standing", &self.standing)
            .finish_non_exhaustive()
    }
}

/// What became of a standing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StandingKept {
    /// It is kept durably, or a later one is.
    Kept,
    /// The account was erased here.
    Gone,
}

/// Whose account it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountDescription {
    /// Whether there is one here.
    pub known: bool,
    /// Whether security has frozen it.
    pub frozen_by_security: bool,
    /// The region that is its home, if that is another one; nothing else is known of it then.
    pub elsewhere: Option<String>,
}

/// "Clear the real name, and let lapse what is tied to it." Its `Debug` never shows the account.
#[derive(Clone, PartialEq, Eq)]
pub struct ClearRealName {
    /// The account's id.
    pub account: String,
    /// `requests/{request_id}`: the same name again is answered as the first time.
    pub name: String,
    /// Changes nothing: only looks.
    pub dry_run: bool,
}

impl fmt::Debug for ClearRealName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClearRealName")
            .field("name", &self.name)
            .field("dry_run", &self.dry_run)
            .finish_non_exhaustive()
    }
}

/// "Erase what is known of the person for personalised advertising, and gather no more of it." Its `Debug` never shows the account.
#[derive(Clone, PartialEq, Eq)]
pub struct StopPersonalization {
    /// The account's id.
    pub account: String,
}

impl fmt::Debug for StopPersonalization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StopPersonalization")
            .finish_non_exhaustive()
    }
}

/// What became of personalised advertising.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PersonalizationStopped {
    /// It is stopped durably, now or before, with what was erased now.
    Stopped { erased: BTreeMap<String, i64> },
    /// Not yet: a deletion has sealed the account.
    Sealed,
    /// The account was erased here.
    Gone,
}

impl PersonalizationStopped {
    /// The answer of whoever profiles nobody.
    pub const fn nothing() -> Self {
        Self::Stopped {
            erased: BTreeMap::new(),
        }
    }
}

/// What became of a real name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RealNameCleared {
    /// To a dry run: what would lapse, and stable words of what is in the way.
    Found {
        lapses: BTreeMap<String, i64>,
        obstacles: Vec<String>,
    },
    /// Cleared durably, with what lapsed or was erased.
    Cleared { lapsed: BTreeMap<String, i64> },
    /// Nothing was changed, as something is in the way.
    Waits { obstacles: Vec<String> },
    /// The account was erased here.
    Gone,
}

impl RealNameCleared {
    /// The answer of whoever holds neither real names nor anything that is tied to them.
    pub fn nothing(request: &ClearRealName) -> Self {
        if request.dry_run {
            Self::Found {
                lapses: BTreeMap::new(),
                obstacles: Vec::new(),
            }
        } else {
            Self::Cleared {
                lapsed: BTreeMap::new(),
            }
        }
    }
}
