//! Who is told, what a changed contact asks for, and whether a deadline can be extended.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Deadline, Factor};

/// Whether the person is told what becomes of a deletion, and when they are reminded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Notices {
    /// Through identity, to every number, address and signed-in device.
    pub send: bool,
    /// How long before the end of the cooling-off period; the longest first.
    pub reminders: Vec<Duration>,
}

/// What is asked for where a number or an address was changed lately. How lately, [`super::Policy::recent_change`] says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecentContact {
    /// In addition to those of the channel.
    pub factors: Vec<Factor>,
    /// At least so long.
    pub cooling_off: Duration,
}

/// That the deadline may be extended, once, with a reason that the person is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Extension {
    /// From the request on, instead of the policy's deadline.
    pub deadline: Deadline,
}
