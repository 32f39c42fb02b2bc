//! What a region or a company wants of a deletion. Data, checked when it is loaded.
//!
//! Policies are written as TOML ([`Document`]); those of `policies/` are shipped with the product.

mod consent;
mod deadline;
mod document;
mod factor;
mod length;
mod problem;
pub mod retention;
mod telling;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::consent::Consents;
pub use self::deadline::{Deadline, Due, NotADeadline};
pub use self::document::{
    Devices, Document, ExtensionDocument, NoticesDocument, RecentContactDocument,
};
pub use self::factor::{Channel, Factor, Factors};
pub use self::length::{Length, NotALength};
pub use self::problem::Problem;
pub use self::retention::{Quarantine, Retention};
pub use self::telling::{Extension, Notices, RecentContact};

use crate::blocker::{self, Class, Overrider, Owner};
use crate::calendar::{self, Calendar, Zone};
use crate::id::ParticipantId;
use crate::leg::LEGS_MAX;
use crate::notice::REMINDERS_MAX;
use crate::order::{DevicePolicy, Disposal};
use crate::time::Time;

/// What says that whoever asks may not be the owner. A policy that was copied from before it could say so doesn't name them.
const CLOSING_SELF_SERVICE: [&str; 2] = ["ACCOUNT_FROZEN", "ACCOUNT_MEMORIALIZED"];

/// Participants that may be reached at the same time; the stages run one after another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// For instance `DEVICES_AND_CONTENT`.
    pub name: String,
    /// Who erases in this stage.
    pub participants: Vec<ParticipantId>,
}

/// A policy. A deletion keeps the version that fixed its plan; a version's content never changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// For people, for instance `cn`.
    pub name: String,
    /// Whose law it is: the region whose coordinator adopted it. `None` where there is only one. It stands on certificates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// The stages of erasing, in order.
    pub stages: Vec<Stage>,
    /// Whether every participant seals the account on entering the cooling-off period.
    pub seal: bool,
    /// Whether every participant is asked again after erasing what it still holds.
    pub probe: bool,
    /// Whether every participant is asked, before the cooling-off period and again at its end, if anything is in the way.
    pub eligibility: bool,
    /// Factors by channel. A channel that isn't named takes no requests.
    pub channels: BTreeMap<Channel, Vec<Factor>>,
    /// What a person must have agreed to, by channel. One that isn't named asks for nothing.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub consents: Consents,
    /// How long a request may wait to be verified.
    pub verification: Duration,
    /// How long at the support desk, where people look at documents; `None`: no longer than elsewhere.
    pub desk_verification: Option<Duration>,
    /// How long a verified request can be taken back.
    pub cooling_off: Duration,
    /// Whose days are worked: one of [`crate::calendar::BUILT_IN`], or the name of [`Policy::own_calendar`].
    #[serde(default = "weekends")]
    pub calendar: String,
    /// A calendar that isn't built in, with all its days. `None`: one that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_calendar: Option<Calendar>,
    /// Where a day begins and ends.
    #[serde(default)]
    pub time_zone: Zone,
    /// How long the whole may take.
    pub deadline: Deadline,
    /// How long before the deadline an alarm is raised.
    pub deadline_warning: Duration,
    /// How long somebody may owe something before the deletion shows as stalled.
    pub stalled_after: Duration,
    /// How often a blocked deletion is looked at again; where somebody only gave no answer, sooner at first.
    pub recheck: Duration,
    /// How long after it a change of a password, a number or an address counts as recent; at most [`RECENT_CHANGE_MAX`].
    #[serde(default = "week", skip_serializing_if = "is_week")]
    pub recent_change: Duration,
    /// How strongly something stands in the way, where that differs from [`blocker::CATALOGUE`]; by code.
    #[serde(default)]
    pub blockers: BTreeMap<String, Class>,
    /// Who may override a blocker, where that differs from [`blocker::CATALOGUE`]; by code.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub overriders: BTreeMap<String, Overrider>,
    /// What becomes of devices.
    #[serde(default)]
    pub devices: DevicePolicy,
    /// Whether the person is told.
    #[serde(default)]
    pub notices: Notices,
    /// What a change of number or address asks for. `None`: it stands in the way instead.
    #[serde(default)]
    pub recent_contact: Option<RecentContact>,
    /// Whether the deadline can be extended.
    #[serde(default)]
    pub extension: Option<Extension>,
    /// Whether the support desk must agree before a real name is cleared.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub real_name_review: bool,
    /// What law keeps, by class. `None`: stored before policies said it, so that what participants keep is theirs to say.
    #[serde(default)]
    pub retention: Option<BTreeMap<String, retention::Class>>,
    /// How long identifiers are held back. `None`: they are free at once.
    #[serde(default)]
    pub quarantine: Option<Quarantine>,
}

/// The longest that a change counts as recent: identity keeps earlier numbers and addresses for so long and no longer, and what
/// stood in the way for more would make a company late by the shortest of the laws (GDPR Art. 12(3): one month).
pub const RECENT_CHANGE_MAX: Duration = Duration::from_secs(30 * DAY.as_secs());
/// What counted as recent before policies said it.
const WEEK: Duration = Duration::from_secs(7 * DAY.as_secs());
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What is shipped, by name.
const SHIPPED: [(&str, &str); 4] = [
    ("default", include_str!("../policies/default.toml")),
    ("cn", include_str!("../policies/cn.toml")),
    ("eu", include_str!("../policies/eu.toml")),
    ("us", include_str!("../policies/us.toml")),
];
/// Codes that a policy may speak of: ours, and as many of others.
const BLOCKERS_MAX: usize = 256;
/// Longest name of a policy, and of a text that is consented to.
const NAME_BYTES_MAX: usize = 64;

impl Document {
    /// The names of the policies that are shipped.
    pub const SHIPPED: [&'static str; 4] = [SHIPPED[0].0, SHIPPED[1].0, SHIPPED[2].0, SHIPPED[3].0];

    /// A policy that is shipped. `None`: there is none of that name.
    pub fn shipped(name: &str) -> Option<Self> {
        toml::from_str(Self::shipped_text(name)?).ok()
    }

    /// The same as it is written, with its comments.
    pub fn shipped_text(name: &str) -> Option<&'static str> {
        let known = SHIPPED.iter().find(|(known, _)| *known == name);
        known.map(|(_, text)| *text)
    }
}

impl Policy {
    /// A policy that is shipped. `None`: there is none of that name.
    pub fn shipped(name: &str) -> Option<Self> {
        Document::shipped(name)?.whole()
    }

    /// What is shipped for mainland China: eight participants in four stages, 7 days of cooling-off.
    pub fn cn() -> Self {
        Self::shipped("cn").expect("a test reads every policy that is shipped")
    }

    /// Everything that is wrong with the policy; empty means that new deletions may follow it. One that has been used goes on
    /// whatever became of the rules: for that its stages must be sound, and no more.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut wrong = |is_wrong: bool, key: &str, message: &str| {
            if is_wrong {
                problems.push(Problem::new(key, message));
            }
        };
        wrong(
            !is_name(&self.name),
            "name",
            "must be 1 to 64 of a-z, 0-9 and -",
        );
        let built_in = Calendar::built_in(&self.calendar).is_some();
        let own = self.own_calendar.as_ref().map(Calendar::name);
        wrong(
            own.is_none() && !built_in,
            "calendar",
            &format!(
                "must be one of {}, or the path of a file",
                calendar::BUILT_IN.join(", ")
            ),
        );
        wrong(
            own.is_some() && built_in,
            "own_calendar",
            "has the name of one that is built in",
        );
        wrong(
            own.is_some_and(|name| name != self.calendar),
            "own_calendar",
            "has another name than calendar says",
        );
        wrong(
            self.blockers.len() > BLOCKERS_MAX,
            "blockers",
            "are more than there can be codes",
        );
        wrong(
            self.channels.is_empty(),
            "channels",
            "no channel takes requests",
        );
        wrong(
            self.verification.is_zero(),
            "verification",
            "a request needs time to be verified",
        );
        wrong(
            self.desk_verification
                .is_some_and(|it| it < self.verification),
            "desk_verification",
            "must be no shorter than verification",
        );
        wrong(
            self.stalled_after.is_zero(),
            "stalled_after",
            "whoever was asked just now would be late",
        );
        wrong(
            self.eligibility && self.recheck.is_zero(),
            "recheck",
            "whoever is in the way would be asked without a pause",
        );
        wrong(
            self.recent_change.is_zero(),
            "recent_change",
            "no change would be recent: what one asks for is `recent_contact` and `blockers` to say",
        );
        wrong(
            self.recent_change > RECENT_CHANGE_MAX,
            "recent_change",
            "must be at most 30 days: earlier numbers and addresses are not kept for longer",
        );
        wrong(
            self.deadline.shortest() <= self.cooling_off,
            "deadline",
            "must be longer than the cooling-off period",
        );
        wrong(
            self.deadline_warning >= self.deadline.shortest(),
            "deadline_warning",
            "must be shorter than the deadline, or it warns at once",
        );
        wrong(
            self.devices.horizon.is_zero(),
            "devices.horizon",
            "a device that is not there at this moment would be given up",
        );
        wrong(
            self.devices.order_life < self.deadline.longest(),
            "devices.order_life",
            "must not end before the deadline of the deletion",
        );
        let text = self.devices.reset_consent.as_deref();
        wrong(
            text.is_some_and(|text| !is_name(text)),
            "devices.reset_consent",
            "must be the name of a text, 1 to 64 of a-z, 0-9 and -, or empty",
        );
        let closed_by = &self.devices.self_service_closed_by;
        for (place, code) in closed_by.iter().enumerate() {
            let key = format!("devices.self_service_closed_by.{place}");
            let asked =
                blocker::known(code).is_some_and(|it| matches!(it.owner, Owner::Service(_)));
            wrong(!asked, &key, "is a code that no service says");
            wrong(
                closed_by[..place].contains(code),
                &key,
                "is a code that stands there already",
            );
        }
        let reminders = &self.notices.reminders;
        wrong(
            reminders.len() > REMINDERS_MAX,
            "notices.reminders",
            "are more than eight",
        );
        wrong(
            reminders.iter().any(Duration::is_zero),
            "notices.reminders",
            "must come before the cooling-off period ends",
        );
        wrong(
            !reminders.is_sorted_by(|one, next| one > next),
            "notices.reminders",
            "must be each shorter than the one before it",
        );
        if let Some(recent) = &self.recent_contact {
            let distinct: Factors = recent.factors.iter().copied().collect();
            wrong(
                distinct.iter().count() < recent.factors.len(),
                "recent_contact.factors",
                "names a factor twice",
            );
        }
        if let Some(extension) = &self.extension {
            wrong(
                extension.deadline.shortest() <= self.deadline.shortest(),
                "extension.deadline",
                "counts from the request, and must be longer than the deadline",
            );
            wrong(
                self.devices.order_life < extension.deadline.longest(),
                "devices.order_life",
                "must not end before the extended deadline of the deletion",
            );
        }
        for (code, class) in &self.blockers {
            let key = format!("blockers.{code}");
            wrong(!blocker::is_code(code), &key, "is not a code of A-Z and _");
            let by_product = blocker::class_of(code);
            wrong(
                code == blocker::DELETION_ALREADY_RUNNING.code && *class != by_product,
                &key,
                "is not a policy's to say",
            );
            let silence = code == blocker::PARTICIPANT_UNREACHABLE.code;
            wrong(
                !silence && by_product == Class::Hard && *class != Class::Hard,
                &key,
                "is hard because of somebody else's right, and no policy makes less of it",
            );
            wrong(
                silence && *class == Class::Forfeitable,
                &key,
                "nobody can agree to lose what was not said",
            );
        }
        wrong(
            self.overriders.len() > BLOCKERS_MAX,
            "overriders",
            "are more than there can be codes",
        );
        for (code, overrider) in &self.overriders {
            let key = format!("overriders.{code}");
            wrong(!blocker::is_code(code), &key, "is not a code of A-Z and _");
            if code == blocker::PARTICIPANT_UNREACHABLE.code {
                wrong(
                    *overrider == Overrider::Support,
                    &key,
                    "silence may hide somebody else's right: one person is too few",
                );
                continue;
            }
            wrong(
                blocker::known(code).is_some_and(|known| *overrider < known.overridable_by),
                &key,
                "lets more people decide than the product thinks right, and no policy does",
            );
        }
        for (channel, factors) in &self.channels {
            let distinct: Factors = factors.iter().copied().collect();
            wrong(
                distinct.iter().count() < factors.len(),
                &format!("channels.{}", channel.name()),
                "names a factor twice",
            );
        }
        problems.extend(consent::problems(&self.consents, |channel| {
            self.channels.contains_key(&channel)
        }));
        let classes = self.retention.as_ref();
        problems.extend(retention::problems(
            classes.unwrap_or(&BTreeMap::new()),
            self.quarantine.as_ref(),
        ));
        problems.extend(self.stage_problems());
        problems
    }

    /// What no plan can be made of.
    pub(crate) fn stage_problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut wrong = |key: &str, message: String| problems.push(Problem::new(key, message));
        if self.participants().next().is_none() {
            let message = "a plan without participants never purges".to_owned();
            wrong("stages", message);
        }
        let (mut names, mut seen) = (BTreeSet::new(), BTreeSet::new());
        for (place, stage) in self.stages.iter().enumerate() {
            let name = &stage.name;
            let key = |field: &str| format!("stages.{place}.{field}");
            let of_name = |b: u8| b.is_ascii_uppercase() || b == b'_';
            if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(of_name) {
                wrong(&key("name"), format!("`{name}` is not a name of A-Z and _"));
            }
            if ["SEAL", "PROBE", "UNSEAL", "EXPIRE"].contains(&name.as_str()) || !names.insert(name)
            {
                wrong(&key("name"), format!("the name {name} is taken"));
            }
            if stage.participants.is_empty() {
                wrong(&key("participants"), format!("{name} has no participant"));
            }
            for (at, participant) in stage.participants.iter().enumerate() {
                if !seen.insert(participant) {
                    let message =
                        format!("{participant} stands in two places, so the order is a cycle");
                    wrong(&key(&format!("participants.{at}")), message);
                }
            }
        }
        let phases = 1 + usize::from(self.probe) + 2 * usize::from(self.seal);
        let retention = self.kept();
        let custodians = seen.iter().filter(|name| retention.keeps(name)).count();
        let legs = seen.len() * phases + custodians;
        if legs > LEGS_MAX {
            wrong("stages", format!("{legs} legs are more than {LEGS_MAX}"));
        }
        problems
    }

    /// What is allowed and that somebody should have thought about.
    pub fn cautions(&self) -> Vec<Problem> {
        let mut cautions = Vec::new();
        for (channel, factors) in &self.channels {
            if factors.is_empty() {
                cautions.push(Problem::new(
                    &format!("channels.{}", channel.name()),
                    "asks for no factor: whoever calls must have verified the person",
                ));
            }
        }
        for (code, class) in &self.blockers {
            let key = format!("blockers.{code}");
            let message = match blocker::known(code) {
                None => "is no code of ours: only a participant of yours can name it",
                Some(known) if *class <= known.class => continue,
                Some(_) if code == blocker::PARTICIPANT_UNREACHABLE.code => {
                    "who gives no answer stops less, and might have known of a hold"
                }
                Some(_) => "stops less than the product thinks right",
            };
            cautions.push(Problem::new(&key, message));
        }
        for code in self.overriders.keys() {
            let key = format!("overriders.{code}");
            if blocker::known(code).is_none() {
                let message = "is no code of ours: only a participant of yours can name it";
                cautions.push(Problem::new(&key, message));
            } else if self.overridable_by(code) < blocker::overridable_by(code) {
                let message = "who gives no answer might have known of a hold";
                cautions.push(Problem::new(&key, message));
            }
        }
        // Cautions, so that a policy with a short wait of its own needs not say that nobody is reminded of it.
        if self.notices.send
            && self
                .notices
                .reminders
                .iter()
                .any(|it| *it >= self.cooling_off)
        {
            cautions.push(Problem::new(
                "notices.reminders",
                "are longer than the cooling-off period, and nobody is reminded",
            ));
        }
        if self.recent_change < DAY {
            cautions.push(Problem::new(
                "recent_change",
                "is less than a day: whoever took a number over yesterday is asked for nothing more",
            ));
        }
        if let Some(recent) = &self.recent_contact {
            let odd = if recent.cooling_off < self.cooling_off {
                Some("is shorter than the cooling-off period, which holds then")
            } else if recent.cooling_off >= self.deadline.shortest() {
                Some("is longer than the deadline: whoever changed their number is deleted late")
            } else {
                None
            };
            if let Some(odd) = odd {
                cautions.push(Problem::new("recent_contact.cooling_off", odd));
            }
        }
        let mut absent = |key: &str, custodian: &ParticipantId| {
            if !self.participants().any(|known| known == custodian) {
                let message = format!("is kept by {custodian}, who stands in no stage");
                cautions.push(Problem::new(key, message));
            }
        };
        for (name, class) in self.retention.iter().flatten() {
            absent(&format!("retention.{name}"), &class.custodian);
        }
        if let Some(quarantine) = &self.quarantine {
            absent("quarantine", &quarantine.custodian);
        }
        let wipes = self.devices.personal == Disposal::Reset;
        let unasked = self.devices.reset_consent.as_deref();
        let unasked = unasked.filter(|text| wipes && consent::knows_others(&self.consents, text));
        if let Some(text) = unasked {
            let message = format!(
                "is {text}, which no channel of [consents] names: whoever is not asked for it keeps what is on their \
                 devices. Named there are {}",
                consent::texts(&self.consents).join(", ")
            );
            cautions.push(Problem::new("devices.reset_consent", message));
        }
        let closed_by = &self.devices.self_service_closed_by;
        let open: Vec<_> = CLOSING_SELF_SERVICE
            .into_iter()
            .filter(|code| !closed_by.iter().any(|it| it == code))
            .collect();
        if !open.is_empty() {
            let message = format!(
                "lacks {}: who may not be the owner unbinds their devices one by one, and nobody looks",
                open.join(" and ")
            );
            cautions.push(Problem::new("devices.self_service_closed_by", message));
        }
        let held_back = self.quarantine.as_ref();
        for (key, on, message) in [
            (
                "quarantine",
                held_back.is_some_and(|held_back| held_back.periods().next().is_some()),
                "whoever comes next gets the names of who has gone at once",
            ),
            ("seal", self.seal, "accounts stay in use while they wait"),
            ("probe", self.probe, "nobody is asked what was left over"),
            (
                "eligibility",
                self.eligibility,
                "nobody is asked what is in the way",
            ),
            (
                "cooling_off",
                !self.cooling_off.is_zero(),
                "there is no time to change one's mind",
            ),
            (
                "notices.send",
                self.notices.send,
                "the person is told nothing, and somebody else's deletion is found out by chance",
            ),
            (
                "devices.reset_consent",
                !wipes || self.devices.reset_consent.is_some(),
                "personal devices are wiped without asking",
            ),
        ] {
            if !on {
                cautions.push(Problem::new(key, message));
            }
        }
        cautions
    }

    /// What participants may keep, held-back identifiers among it.
    pub fn kept(&self) -> Retention {
        match &self.retention {
            Some(classes) => Retention::new(classes.clone(), self.quarantine.as_ref()),
            None => Retention::before_policies(),
        }
    }

    /// How long a request of this channel can be verified.
    pub fn verification_of(&self, channel: Channel) -> Duration {
        let at_desk = self.desk_verification.filter(|_| channel.is_of_desk());
        at_desk.unwrap_or(self.verification)
    }

    /// The first text that a request of this channel must hold a consent to and doesn't, and from which version on.
    pub fn consent_missing(
        &self,
        channel: Channel,
        given: &[crate::deletion::Consent],
    ) -> Option<(&str, u32)> {
        consent::missing(&self.consents, channel, given)
    }

    /// How strongly a code stands in the way. A changed contact that asks for more to be shown doesn't also stop.
    pub fn class_of(&self, code: &str) -> Class {
        let own = self.blockers.get(code).copied();
        let raises = code == blocker::RECENT_CONTACT_CHANGE.code && self.recent_contact.is_some();
        own.unwrap_or_else(|| {
            if raises {
                Class::Advisory
            } else {
                blocker::class_of(code)
            }
        })
    }

    /// Who may override a code. Of a code that the product doesn't know, whom the policy names: it has reviewed it.
    pub fn overridable_by(&self, code: &str) -> Overrider {
        let own = self.overriders.get(code).copied();
        own.unwrap_or_else(|| blocker::overridable_by(code))
    }

    /// When a deletion must be complete that was requested at that time.
    pub fn due(&self, requested: Time) -> Due {
        self.due_within(self.deadline, requested)
    }

    /// The same by another deadline than the policy's first.
    pub fn due_within(&self, deadline: Deadline, requested: Time) -> Due {
        deadline.due(requested, self.days(), &self.time_zone)
    }

    /// Whether the person is told: only identity knows where to.
    pub fn tells(&self) -> bool {
        self.notices.send
            && self
                .participants()
                .any(|it| it.as_str() == blocker::IDENTITY_NAME)
    }

    /// Working days that are left of it at `now`: see [`Calendar::working_days_left`].
    pub fn working_days_left(&self, now: Time, deadline: Time) -> i64 {
        let days = self.days();
        days.working_days_left(now, deadline, &self.time_zone)
    }

    /// The same policy with the days of a calendar of its own as `newer` has them, if that is a later version of the same: what is
    /// published in the meantime holds for what is under way, too.
    #[must_use]
    pub fn with_days_of(self, newer: &Self) -> Self {
        let name = |policy: &Self| policy.own_calendar.as_ref().map(|it| it.name().to_owned());
        if name(&self).is_some() && name(&self) == name(newer) {
            Self {
                own_calendar: newer.own_calendar.clone(),
                ..self
            }
        } else {
            self
        }
    }

    /// The last date of which its calendar knows for sure whether it is worked: a deadline that asked for a later one is provisional.
    pub fn known_until(&self) -> jiff::civil::Date {
        let (_, last) = self.days().covered();
        last
    }

    fn days(&self) -> &Calendar {
        let weekends = || Calendar::built_in("none");
        let own = self.own_calendar.as_ref();
        own.or_else(|| Calendar::built_in(&self.calendar))
            .or_else(weekends)
            .expect("a test reads every calendar that is built in")
    }

    /// Every participant, in plan order.
    pub fn participants(&self) -> impl Iterator<Item = &ParticipantId> {
        self.stages.iter().flat_map(|stage| &stage.participants)
    }
}

/// The calendar of a policy that was stored before there were any.
fn weekends() -> String {
    "none".to_owned()
}

const fn week() -> Duration {
    WEEK
}

/// A policy that says what held before it could say anything has the digest that it had.
fn is_week(length: &Duration) -> bool {
    *length == WEEK
}

/// Of a policy, and of a text.
fn is_name(text: &str) -> bool {
    let of_name = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(of_name)
}

#[cfg(test)]
mod tests;
