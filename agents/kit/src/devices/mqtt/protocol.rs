//! Which MQTT is spoken.

use std::fmt;

/// What a broker is to be spoken to in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// MQTT 5, and 3.1.1 with a broker that doesn't answer in 5.
    #[default]
    Auto,
    /// MQTT 5 and nothing else.
    V5,
    /// MQTT 3.1.1 and nothing else.
    V311,
}

impl Protocol {
    /// Every setting, as it is written.
    pub const NAMES: [(&'static str, Self); 3] =
        [("auto", Self::Auto), ("5", Self::V5), ("3.1.1", Self::V311)];

    /// From a setting. `None` if it is none.
    pub fn parse(text: &str) -> Option<Self> {
        Self::NAMES
            .into_iter()
            .find_map(|(name, protocol)| (name == text).then_some(protocol))
    }

    /// What is tried first.
    pub(super) fn first(self) -> Version {
        match self {
            Self::Auto | Self::V5 => Version::V5,
            Self::V311 => Version::V311,
        }
    }

    /// What is tried with a broker that has no answer in `version`. Every connection starts with 5 again: whoever was
    /// between us and a broker that restarts may have kept silent just as well.
    pub(super) fn instead_of(self, version: Version) -> Option<Version> {
        match (self, version) {
            (Self::Auto, Version::V5) => Some(Version::V311),
            (Self::Auto, Version::V311) => Some(Version::V5),
            (Self::V5 | Self::V311, _) => None,
        }
    }
}

/// What is spoken on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// MQTT 5.
    V5,
    /// MQTT 3.1.1.
    V311,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V5 => "5",
            Self::V311 => "3.1.1",
        })
    }
}
