//! What can be told of an account: event types of the OpenID RISC Profile 1.0.

use farewell_core::policy::retention::Identifier;
use farewell_core::{Deletion, Plan, State};
use serde_json::{Value, json};

/// What happened to an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It was sealed: it can't be used while its deletion waits.
    Disabled,
    /// Its deletion was taken back or denied, and it is in use again.
    Enabled,
    /// It is gone for good.
    Purged,
    /// A name, number or address that it had may be another's from now on. Which, nobody here knows.
    Recycled(Identifier),
}

impl Kind {
    const ALL: [Self; 6] = [
        Self::Disabled,
        Self::Enabled,
        Self::Purged,
        Self::Recycled(Identifier::UserName),
        Self::Recycled(Identifier::Phone),
        Self::Recycled(Identifier::Email),
    ];

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
            code => Identifier::from_code(code).map(Self::Recycled),
        }
    }

    /// The codes of all that can be told.
    pub fn codes() -> [i16; 6] {
        Self::ALL.map(Self::code)
    }

    /// As stored.
    pub const fn code(self) -> i16 {
        match self {
            Self::Disabled => 1,
            Self::Enabled => 2,
            Self::Purged => 3,
            Self::Recycled(kind) => kind.code(),
        }
    }

    /// From the stored code.
    pub fn from_code(code: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }

    /// In the name of a token.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Disabled => "account-disabled",
            Self::Enabled => "account-enabled",
            Self::Purged => "account-purged",
            Self::Recycled(Identifier::UserName) => "user-name-recycled",
            Self::Recycled(Identifier::Phone) => "phone-recycled",
            Self::Recycled(Identifier::Email) => "email-recycled",
        }
    }

    /// From the name of a token.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }

    /// The event's type, and what it says beside its subject.
    pub fn event(self) -> (String, Value) {
        let (event, says) = match self {
            Self::Disabled | Self::Enabled | Self::Purged => (self.word(), json!({})),
            Self::Recycled(kind) => ("identifier-recycled", json!({"identifier": kind.word()})),
        };
        let uri = format!("https://schemas.openid.net/secevent/risc/event-type/{event}");
        (uri, says)
    }
}
