//! What can be told of an account: event types of the OpenID RISC Profile 1.0.

use farewell_core::{Deletion, Plan, State};

/// What happened to an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It was sealed: it can't be used while its deletion waits.
    Disabled,
    /// Its deletion was taken back or denied, and it is in use again.
    Enabled,
    /// It is gone for good.
    Purged,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Disabled, Self::Enabled, Self::Purged];

    /// What an announcement of this state means to others. `None`: nothing happened that they could have noticed.
    pub fn of(announced: i16, deletion: &Deletion, plan: &Plan) -> Option<Self> {
        let seals = !plan.seals().is_empty();
        match announced {
            2 if seals => Some(Self::Disabled),
            5 => Some(Self::Purged),
            6 | 7 => match deletion.state {
                State::Revoked { sealed: true, .. } | State::Denied { sealed: true, .. } => {
                    Some(Self::Enabled)
                }
                _ => None,
            },
            _ => None,
        }
    }

    /// As stored.
    pub const fn code(self) -> i16 {
        match self {
            Self::Disabled => 1,
            Self::Enabled => 2,
            Self::Purged => 3,
        }
    }

    /// From the stored code.
    pub fn from_code(code: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }

    /// The last part of the event's type.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Disabled => "account-disabled",
            Self::Enabled => "account-enabled",
            Self::Purged => "account-purged",
        }
    }

    /// From the last part of the event's type.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }

    /// The event's type.
    pub fn uri(self) -> String {
        format!(
            "https://schemas.openid.net/secevent/risc/event-type/{}",
            self.word()
        )
    }
}
