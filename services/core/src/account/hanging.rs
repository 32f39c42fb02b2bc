//! Changes that hang: they stand, and somebody doesn't take them, or nobody knows whether they may.

use std::time::Duration;

use super::{Change, Leg, REVIEW_MAX, State};
use crate::id::ParticipantId;
use crate::time::Time;

/// How often operators are alarmed of what goes on hanging.
const ALARM_AGAIN: Duration = Duration::from_secs(24 * 60 * 60);

impl Change {
    /// Whether it has waited for participants since `time` or longer.
    pub fn hangs_since(&self, time: Time) -> bool {
        matches!(self.state, State::Checking | State::Working) && self.state_at <= time
    }

    /// Whether operators are to be alarmed now: first after `stalled_after`, then once a day. Whoever said what it waits for, such
    /// as an order on its way, has as long as the support desk for a review.
    pub fn alarm_is_due(&self, stalled_after: Duration, now: Time) -> bool {
        let patience = match self.state {
            State::Checking => stalled_after,
            State::Working if self.owed().any(|(_, waits_for)| waits_for.is_none()) => {
                stalled_after
            }
            State::Working => stalled_after.max(REVIEW_MAX),
            State::AwaitingVerification { .. }
            | State::InReview { .. }
            | State::Done
            | State::Refused { .. }
            | State::Expired
            | State::Superseded => return false,
        };
        let due = match self.alarmed_at {
            Some(last) => last + ALARM_AGAIN.max(stalled_after),
            None => self.state_at + patience,
        };
        due <= now
    }

    /// Who is to take it now and has not, each with what it waits for, if it said that. While it is checked: whoever gave no answer
    /// when everybody was asked last, in no order, as nobody waits for anybody.
    pub fn owed(&self) -> impl Iterator<Item = (&ParticipantId, Option<&str>)> {
        let checking = self.state == State::Checking;
        let silent = self.legs.keys().filter(move |_| checking);
        let owing = self.owing().filter(move |_| !checking);
        silent.chain(owing).map(|participant| {
            let waits_for = match self.legs.get(participant) {
                Some(Leg::Owed { waits_for }) => waits_for.as_deref(),
                Some(Leg::Told { .. }) | None => None,
            };
            (participant, waits_for)
        })
    }
}
