//! What the person and the operators are told of a deletion, and when: decided here, carried elsewhere.
//!
//! Each is told once for each deletion; what is in the way, once for each thing that is. What was told is durable with the deletion,
//! so that a crash or a take-over tells it again at most under the same name, which identity knows. Nothing here ever stops a
//! deletion.
//!
//! Nobody is told of a request that nobody verified: anybody could send mail to anybody by making requests. There is no
//! notice of the purge either, as nobody knows the person's address by then: the one at the start of erasing is the last
//! word, and says where the certificate is to be had.

use serde::{Deserialize, Serialize};

use crate::deletion::{Deletion, State};
use crate::leg::{LegIndex, Verb};
use crate::plan::Plan;
use crate::time::Time;

/// Reminders that a policy may ask for.
pub const REMINDERS_MAX: usize = 8;
/// Things in the way of one deletion that the person is told of: more are in nobody's way at a time.
const IN_THE_WAY_MAX: usize = 32;
/// Where reminders begin in the stored set.
const REMINDER_BASE: u8 = 16;

/// Something to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Notice {
    /// Somebody has shown that the account is theirs, and something is in the way, or more must be shown.
    Waiting,
    /// The account is sealed; until when it can be taken back.
    Sealed,
    /// The same once more, before that is over. By its place in the policy.
    Reminder(u8),
    /// The wait is over and something new is in the way.
    Blocked,
    /// Erasing begins and can't be taken back.
    Erasing,
    /// The deadline was extended, and why.
    Extended,
    /// The deadline has passed, and why.
    Overdue,
    /// Taken back.
    Revoked,
    /// Refused by a decision.
    Denied,
    /// Nothing came of a request that the person was told of.
    Expired,
    /// For operators: the deadline is near.
    OverdueSoon,
    /// For operators: something has ended that law kept, and its custodian has not erased it.
    ExpiryOverdue,
}

impl Notice {
    /// Every kind but reminders.
    const PLAIN: [Self; 11] = [
        Self::Waiting,
        Self::Sealed,
        Self::Blocked,
        Self::Erasing,
        Self::Extended,
        Self::Overdue,
        Self::Revoked,
        Self::Denied,
        Self::Expired,
        Self::OverdueSoon,
        Self::ExpiryOverdue,
    ];

    /// Every notice that there can be.
    pub fn all() -> impl Iterator<Item = Self> {
        let reminders = (0..).take(REMINDERS_MAX).map(Self::Reminder);
        Self::PLAIN.into_iter().chain(reminders)
    }

    /// The stable machine word; with a reminder's place it is the notice's name within its deletion.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Waiting => "WAITING",
            Self::Sealed => "SEALED",
            Self::Reminder(_) => "REMINDER",
            Self::Blocked => "BLOCKED",
            Self::Erasing => "ERASING",
            Self::Extended => "EXTENDED",
            Self::Overdue => "OVERDUE",
            Self::Revoked => "REVOKED",
            Self::Denied => "DENIED",
            Self::Expired => "EXPIRED",
            Self::OverdueSoon => "OVERDUE_SOON",
            Self::ExpiryOverdue => "EXPIRY_OVERDUE",
        }
    }

    /// What names it among the notices of its deletion, the first time.
    fn name(self) -> String {
        let word = self.word().to_lowercase().replace('_', "-");
        match self {
            Self::Reminder(place) => format!("{word}-{place}"),
            _ => word,
        }
    }

    /// Whether it says what is in the way.
    const fn names_blockers(self) -> bool {
        matches!(self, Self::Waiting | Self::Blocked)
    }

    /// Whether the person hears of it, and not only operators.
    pub const fn for_person(self) -> bool {
        !matches!(self, Self::OverdueSoon | Self::ExpiryOverdue)
    }

    const fn bit(self) -> u32 {
        let place = match self {
            Self::Waiting => 0,
            Self::Sealed => 1,
            Self::Blocked => 2,
            Self::Erasing => 3,
            Self::Extended => 4,
            Self::Overdue => 5,
            Self::Revoked => 6,
            Self::Denied => 7,
            Self::Expired => 8,
            Self::OverdueSoon => 9,
            Self::ExpiryOverdue => 10,
            Self::Reminder(place) => REMINDER_BASE + place,
        };
        1 << (place % 32)
    }
}

/// A set of notices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Notices(u32);

impl Notices {
    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.0 == 0
    }

    /// Whether `notice` is among them.
    pub const fn has(self, notice: Notice) -> bool {
        self.0 & notice.bit() != 0
    }

    /// These and those.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// These without that one.
    #[must_use]
    pub const fn without(self, notice: Notice) -> Self {
        Self(self.0 & !notice.bit())
    }

    /// One by one.
    pub fn iter(self) -> impl Iterator<Item = Notice> {
        Notice::all().filter(move |notice| self.has(*notice))
    }
}

impl FromIterator<Notice> for Notices {
    fn from_iter<I: IntoIterator<Item = Notice>>(notices: I) -> Self {
        Self(
            notices
                .into_iter()
                .fold(0, |bits, notice| bits | notice.bit()),
        )
    }
}

/// What is to be told now and was not.
pub fn due(deletion: &Deletion, plan: &Plan, now: Time) -> Notices {
    let mut due = vec![];
    let policy = plan.policy();
    let live = !deletion.state.terminal();
    let told = deletion.rare.told;
    if policy.tells() {
        match deletion.state {
            State::AwaitingVerification { .. } => {
                let blocked = deletion.verified() && !deletion.blockers.is_empty();
                if blocked || deletion.rare.raised.is_some() {
                    due.push(Notice::Waiting);
                }
            }
            State::CoolingOff { ends_at } => {
                due.push(Notice::Sealed);
                if now < ends_at {
                    let begun = |(_, at): &(Notice, Time)| *at <= now;
                    due.extend(
                        reminders(deletion, plan, ends_at)
                            .filter(begun)
                            .map(|(it, _)| it),
                    );
                } else if deletion.blockers.iter().any(|it| !it.is_silence()) {
                    due.push(Notice::Blocked);
                }
            }
            State::Erasing(_) | State::Verifying(_) => due.push(Notice::Erasing),
            // Who never heard of it needn't hear that it is over.
            State::Revoked { .. } if deletion.verified() => due.push(Notice::Revoked),
            // Whoever came to the desk in the owner's name: the owner should know.
            State::Denied { .. } if deletion.verified() || deletion.at_desk() => {
                due.push(Notice::Denied);
            }
            State::Expired { .. } if told.has(Notice::Waiting) => due.push(Notice::Expired),
            State::Revoked { .. }
            | State::Denied { .. }
            | State::Expired { .. }
            | State::Purged { .. } => {}
        }
        if live && deletion.rare.extended.is_some() {
            due.push(Notice::Extended);
        }
        if live && deletion.rare.overdue.is_some() {
            due.push(Notice::Overdue);
        }
    }
    if live && now < deletion.deadline && now >= deletion.deadline.before(policy.deadline_warning) {
        due.push(Notice::OverdueSoon);
    }
    let waited = deletion.outstanding_since().map(|at| now.since(at));
    if waited.is_some_and(|waited| waited >= policy.stalled_after) && !deletion.held {
        due.push(Notice::ExpiryOverdue);
    }
    let is_new =
        |notice: &Notice| !told.has(*notice) || notice.names_blockers() && has_news(deletion);
    due.retain(is_new);
    due.into_iter().collect()
}

/// What names a notice among those of the deletion. What is in the way is told under another name each time: of what is new.
pub fn name(deletion: &Deletion, notice: Notice) -> String {
    let first = notice.name();
    if notice.names_blockers() && deletion.rare.told.has(notice) {
        format!("{first}-{}", deletion.rare.told_in_the_way.len())
    } else {
        first
    }
}

/// Whether something is in the way that the person was never told of. What went and came back they know.
fn has_news(deletion: &Deletion) -> bool {
    let known = &deletion.rare.told_in_the_way;
    known.len() < IN_THE_WAY_MAX && in_the_way(deletion).any(|code| !known.contains(code))
}

/// Nobody can do anything about silence but those whose it is.
fn in_the_way(deletion: &Deletion) -> impl Iterator<Item = &String> {
    let named = deletion.blockers.iter().filter(|it| !it.is_silence());
    named.map(|it| &it.code)
}

impl Deletion {
    /// The person, or the operators, were told this.
    pub(crate) fn note_told(&mut self, notices: Notices) {
        if notices.iter().any(Notice::names_blockers) {
            let mut known = std::mem::take(&mut self.rare.told_in_the_way);
            known.extend(in_the_way(self).take(IN_THE_WAY_MAX).cloned());
            self.rare.told_in_the_way = known;
        }
        self.rare.told = self.rare.told.and(notices);
    }
}

/// Whether this leg must not be sent yet: identity forgets every address when it erases, and so has the last word before that. This
/// guards what identity was not told yet; what it was told and has not carried, it defers its erasure for by itself.
pub fn holds_back(deletion: &Deletion, plan: &Plan, leg: LegIndex) -> bool {
    let erases = plan.leg(leg).is_some_and(|leg| {
        leg.verb == Verb::Erase && leg.participant.as_str() == crate::blocker::IDENTITY_NAME
    });
    let untold = plan.policy().tells() && !deletion.rare.told.has(Notice::Erasing);
    erases && untold && matches!(deletion.state, State::Erasing(_))
}

/// Whether the deadline has passed and nobody has put on record why.
pub fn overdue_unexplained(deletion: &Deletion, now: Time) -> bool {
    !deletion.state.terminal() && now >= deletion.deadline && deletion.rare.overdue.is_none()
}

/// What keeps the deletion from being done: words for [`crate::Event::Overdue`].
pub fn owed_reasons(deletion: &Deletion, plan: &Plan) -> Vec<String> {
    let who = |leg| plan.leg(leg).map_or("", |leg| leg.participant.as_str());
    let of = |word: &str, leg| format!("{word}:{}", who(leg));
    let owed = deletion.owes(plan);
    let refused = deletion.refusals(plan);
    let mut reasons: Vec<String> = owed.iter().map(|leg| of("LEG_OWED", leg)).collect();
    reasons.extend(refused.iter().map(|leg| of("LEG_REFUSED", leg)));
    reasons.extend(deletion.blockers.iter().map(|it| it.code.clone()));
    if deletion.held {
        reasons.push("LEGAL_HOLD".to_owned());
    }
    if deletion.conflicts > 0 {
        reasons.push("EVIDENCE_CONFLICT".to_owned());
    }
    if reasons.is_empty() && deletion.state.begun().is_none() {
        reasons.push(deletion.state.word().to_owned());
    }
    reasons
}

/// When a sealed deletion must be looked at again: for the next thing to tell, or at the end of its wait.
pub(crate) fn attention(deletion: &Deletion, plan: &Plan, ends_at: Time) -> Time {
    if !plan.policy().tells() {
        return ends_at;
    }
    let sealed = (Notice::Sealed, deletion.phase_start(plan));
    reminders(deletion, plan, ends_at)
        .chain([sealed])
        .filter(|(notice, _)| !deletion.rare.told.has(*notice))
        .map(|(_, at)| at)
        .fold(ends_at, Time::min)
}

fn reminders(
    deletion: &Deletion,
    plan: &Plan,
    ends_at: Time,
) -> impl Iterator<Item = (Notice, Time)> {
    let policy = plan.policy();
    let wait = deletion.cooling_off(plan);
    (0..)
        .map(Notice::Reminder)
        .zip(&policy.notices.reminders)
        // Of what has just begun nobody is reminded.
        .filter(move |(_, before)| **before < wait)
        .map(move |(notice, before)| (notice, ends_at.before(*before)))
}

#[cfg(test)]
mod tests;
