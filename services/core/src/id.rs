//! Ids are types, so that nothing can be called the wrong way round.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::leg::Verb;

/// Longest account id.
pub const ACCOUNT_BYTES_MAX: usize = 128;
/// Longest device id.
pub const DEVICE_BYTES_MAX: usize = 64;
/// Longest participant name.
pub const PARTICIPANT_BYTES_MAX: usize = 32;
/// Deletions hash into this many slots, which coordinators lease.
pub const SLOTS: u8 = 64;

/// Text that is not the id it claims to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadId(pub &'static str);

/// One run of erasing one account: a UUIDv7, so that keys ascend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DeletionId(pub Uuid);

impl DeletionId {
    /// The slot that the deletion hashes into: the low bits of a UUIDv7 are random.
    pub const fn slot(self) -> Slot {
        Slot(self.0.as_bytes()[15] % SLOTS)
    }
}

impl fmt::Display for DeletionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl FromStr for DeletionId {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        match Uuid::try_parse(text) {
            Ok(id) if !id.is_nil() && text.len() == 36 => Ok(Self(id)),
            _ => Err(BadId("must be a UUID")),
        }
    }
}

/// A share of all deletions, leased to one coordinator at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u8);

impl Slot {
    /// The slot of this number, if there is one.
    pub const fn new(number: u8) -> Option<Self> {
        if number < SLOTS {
            Some(Self(number))
        } else {
            None
        }
    }

    /// 0 to 63.
    pub const fn number(self) -> u8 {
        self.0
    }

    /// Every slot.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..SLOTS).map(Self)
    }
}

/// Made by the caller before it asks: the same id gets the same answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RequestId(pub Uuid);

impl FromStr for RequestId {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        match Uuid::try_parse(text) {
            Ok(id) if !id.is_nil() => Ok(Self(id)),
            _ => Err(BadId("must be a UUID made by the caller")),
        }
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $max:expr, $legal:expr, $rule:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(Arc<str>);

        impl $type {
            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = BadId;

            fn from_str(text: &str) -> Result<Self, BadId> {
                let legal: fn(u8) -> bool = $legal;
                if text.is_empty() || text.len() > $max || !text.bytes().all(legal) {
                    return Err(BadId($rule));
                }
                Ok(Self(text.into()))
            }
        }

        impl TryFrom<String> for $type {
            type Error = BadId;

            fn try_from(text: String) -> Result<Self, BadId> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(id: $type) -> Self {
                id.0.as_ref().to_owned()
            }
        }
    };
}

name!(
    /// An account. It is personal: its `Debug` says nothing, so that no log line can.
    AccountId,
    ACCOUNT_BYTES_MAX,
    |b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'),
    "must be 1 to 128 characters of A-Z a-z 0-9 . _ -"
);
name!(
    /// A device.
    DeviceId,
    DEVICE_BYTES_MAX,
    |b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'),
    "must be 1 to 64 characters of A-Z a-z 0-9 _ -"
);
name!(
    /// A product line or service, for instance `cloud`.
    ParticipantId,
    PARTICIPANT_BYTES_MAX,
    |b| b.is_ascii_lowercase() || b.is_ascii_digit(),
    "must be 1 to 32 characters of a-z 0-9"
);

impl fmt::Debug for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[pii]")
    }
}

impl fmt::Debug for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ParticipantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for ParticipantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a command is called on every delivery: `deletions/{deletion}/commands/{round}-{verb}-{participant}`.
/// It is the participant's idempotency key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CommandName {
    /// The deletion.
    pub deletion: DeletionId,
    /// Grows when residue is found and a leg must be done again; at least 1.
    pub round: u16,
    /// What is asked.
    pub verb: Verb,
    /// Who is asked.
    pub participant: ParticipantId,
}

impl fmt::Display for CommandName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut id = Uuid::encode_buffer();
        f.write_str("deletions/")?;
        f.write_str(self.deletion.0.hyphenated().encode_lower(&mut id))?;
        write!(f, "/commands/{}-", self.round)?;
        f.write_str(self.verb.word())?;
        f.write_str("-")?;
        f.write_str(self.participant.as_str())
    }
}

impl FromStr for CommandName {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        const SHAPE: BadId =
            BadId("must be deletions/{deletion}/commands/{round}-{verb}-{participant}");
        let rest = text.strip_prefix("deletions/").ok_or(SHAPE)?;
        let (deletion, rest) = rest.split_once("/commands/").ok_or(SHAPE)?;
        let mut parts = rest.splitn(3, '-');
        let (Some(round), Some(verb), Some(participant)) =
            (parts.next(), parts.next(), parts.next())
        else {
            return Err(SHAPE);
        };
        let round = round.parse().map_err(|_| SHAPE)?;
        if round == 0 {
            return Err(SHAPE);
        }
        Ok(Self {
            deletion: deletion.parse()?,
            round,
            verb: Verb::from_word(verb).ok_or(SHAPE)?,
            participant: participant.parse()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_name_reads_back() {
        let text = "deletions/01900000-0000-7000-8000-000000000001/commands/2-erase-cloud";
        let name: CommandName = text.parse().unwrap();
        assert_eq!(
            (name.round, name.verb, name.participant.as_str()),
            (2, Verb::Erase, "cloud")
        );
        assert_eq!(name.to_string(), text);
    }

    #[test]
    fn an_empty_or_zero_part_is_never_a_name() {
        for text in [
            "",
            "deletions//commands/1-erase-cloud",
            "deletions/01900000-0000-7000-8000-000000000001/commands/0-erase-cloud",
            "deletions/01900000-0000-7000-8000-000000000001/commands/1-erase-",
            "deletions/01900000-0000-7000-8000-000000000001/commands/1--cloud",
            "deletions/00000000-0000-0000-0000-000000000000/commands/1-erase-cloud",
        ] {
            assert!(text.parse::<CommandName>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_account_never_shows_in_a_log() {
        let account: AccountId = "alice".parse().unwrap();
        assert_eq!(format!("{account:?}"), "[pii]");
    }
}
