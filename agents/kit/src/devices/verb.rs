//! What devices can be told, as the database and the wire have it.

use farewell_proto::device::v1 as wire;

use super::order::Unreadable;
use crate::participant::DeviceVerb;

impl DeviceVerb {
    /// Every verb.
    pub const ALL: [Self; 4] = [Self::Unbind, Self::Reset, Self::RemoveChild, Self::Transfer];

    /// As stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unbind => "UNBIND",
            Self::Reset => "RESET",
            Self::RemoveChild => "REMOVE_CHILD",
            Self::Transfer => "TRANSFER",
        }
    }

    pub(super) fn parse(text: &str) -> Result<Self, Unreadable> {
        Self::ALL
            .into_iter()
            .find(|verb| verb.as_str() == text)
            .ok_or_else(|| Unreadable(text.to_owned()))
    }

    /// `None`: unspecified, or newer than this version.
    pub(super) fn of_wire(verb: i32) -> Option<Self> {
        match wire::DeviceVerb::try_from(verb) {
            Ok(wire::DeviceVerb::Unbind) => Some(Self::Unbind),
            Ok(wire::DeviceVerb::Reset) => Some(Self::Reset),
            Ok(wire::DeviceVerb::RemoveChild) => Some(Self::RemoveChild),
            Ok(wire::DeviceVerb::Transfer) => Some(Self::Transfer),
            Ok(wire::DeviceVerb::Unspecified) | Err(_) => None,
        }
    }

    /// Whether the device drops its own binding with it, so that it can be seen again unbound.
    pub fn unbinds(self) -> bool {
        match self {
            Self::Unbind | Self::Reset => true,
            Self::RemoveChild | Self::Transfer => false,
        }
    }
}
