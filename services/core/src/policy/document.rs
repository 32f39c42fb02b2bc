//! A policy as people write it: a TOML file, or what differs from one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::retention;
use super::{
    Channel, Consents, Deadline, Extension, Factor, Length, Notices, Policy, Problem, Quarantine,
    RecentContact, Stage,
};
use crate::blocker::{Class, Overrider};
use crate::calendar::{Calendar, Zone};
use crate::order::{DevicePolicy, Disposal};

/// A policy, or a part of one: what is left out comes from what it extends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Document {
    /// A policy that is shipped, or the path of a file. What stands here wins over what stands there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extends: Option<String>,
    /// See [`Policy`], for this and what follows.
    pub name: Option<String>,
    pub seal: Option<bool>,
    pub probe: Option<bool>,
    pub eligibility: Option<bool>,
    pub verification: Option<Length>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desk_verification: Option<Length>,
    pub cooling_off: Option<Length>,
    /// One that is built in, the name of `own_calendar`, or the path of a file with one.
    pub calendar: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub own_calendar: Option<Calendar>,
    pub time_zone: Option<Zone>,
    pub deadline: Option<Deadline>,
    pub deadline_warning: Option<Length>,
    pub stalled_after: Option<Length>,
    pub recheck: Option<Length>,
    pub recent_change: Option<Length>,
    pub channels: Option<BTreeMap<Channel, Vec<Factor>>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub consents: Consents,
    pub blockers: BTreeMap<String, Class>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub overriders: BTreeMap<String, Overrider>,
    pub devices: Devices,
    pub notices: NoticesDocument,
    pub recent_contact: RecentContactDocument,
    pub extension: ExtensionDocument,
    /// `false`, unless said otherwise.
    pub real_name_review: Option<bool>,
    /// All classes, or none: who names one names them all.
    pub retention: Option<BTreeMap<String, retention::Class>>,
    pub quarantine: Option<Quarantine>,
    pub stages: Option<Vec<Stage>>,
}

/// Who is told what: see [`Notices`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NoticesDocument {
    pub send: Option<bool>,
    pub reminders: Option<Vec<Length>>,
}

/// What a change of number or address asks for: see [`RecentContact`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RecentContactDocument {
    /// Empty: it asks for nothing more, and stands in the way instead.
    pub factors: Option<Vec<Factor>>,
    pub cooling_off: Option<Length>,
}

/// Whether a deadline can be extended: see [`Extension`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExtensionDocument {
    pub allowed: Option<bool>,
    pub deadline: Option<Deadline>,
}

/// What becomes of devices: see [`DevicePolicy`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Devices {
    pub personal: Option<Disposal>,
    pub home: Option<Disposal>,
    /// Empty: none is needed.
    pub reset_consent: Option<String>,
    pub horizon: Option<Length>,
    pub order_life: Option<Length>,
    /// Missing: nothing does.
    pub self_service_closed_by: Option<Vec<String>>,
}

impl Document {
    /// What `base` says where this says nothing. What `base` extends is forgotten: it has to be in it already.
    #[must_use]
    pub fn over(self, base: Self) -> Self {
        Self {
            extends: None,
            name: self.name.or(base.name),
            seal: self.seal.or(base.seal),
            probe: self.probe.or(base.probe),
            eligibility: self.eligibility.or(base.eligibility),
            verification: self.verification.or(base.verification),
            desk_verification: self.desk_verification.or(base.desk_verification),
            cooling_off: self.cooling_off.or(base.cooling_off),
            // A name and what it names come from the same place.
            own_calendar: match (&self.calendar, self.own_calendar) {
                (None, None) => base.own_calendar,
                (_, own) => own,
            },
            calendar: self.calendar.or(base.calendar),
            time_zone: self.time_zone.or(base.time_zone),
            deadline: self.deadline.or(base.deadline),
            deadline_warning: self.deadline_warning.or(base.deadline_warning),
            stalled_after: self.stalled_after.or(base.stalled_after),
            recheck: self.recheck.or(base.recheck),
            recent_change: self.recent_change.or(base.recent_change),
            channels: self.channels.or(base.channels),
            // A channel's texts are named together.
            consents: base.consents.into_iter().chain(self.consents).collect(),
            blockers: base.blockers.into_iter().chain(self.blockers).collect(),
            overriders: base.overriders.into_iter().chain(self.overriders).collect(),
            devices: Devices {
                personal: self.devices.personal.or(base.devices.personal),
                home: self.devices.home.or(base.devices.home),
                reset_consent: self.devices.reset_consent.or(base.devices.reset_consent),
                horizon: self.devices.horizon.or(base.devices.horizon),
                order_life: self.devices.order_life.or(base.devices.order_life),
                self_service_closed_by: self
                    .devices
                    .self_service_closed_by
                    .or(base.devices.self_service_closed_by),
            },
            notices: NoticesDocument {
                send: self.notices.send.or(base.notices.send),
                reminders: self.notices.reminders.or(base.notices.reminders),
            },
            recent_contact: RecentContactDocument {
                factors: self.recent_contact.factors.or(base.recent_contact.factors),
                cooling_off: self
                    .recent_contact
                    .cooling_off
                    .or(base.recent_contact.cooling_off),
            },
            extension: ExtensionDocument {
                allowed: self.extension.allowed.or(base.extension.allowed),
                deadline: self.extension.deadline.or(base.extension.deadline),
            },
            real_name_review: self.real_name_review.or(base.real_name_review),
            retention: self.retention.or(base.retention),
            quarantine: self.quarantine.or(base.quarantine),
            stages: self.stages.or(base.stages),
        }
    }

    /// The policy that it says. Errors: everything that is missing or wrong.
    pub fn policy(&self) -> Result<Policy, Vec<Problem>> {
        let mut problems = self.missing();
        // What is missing hides nothing of what is wrong. What may be left out is not filled in, but for what closes self-service: a
        // policy says so if it wants a ban to close none (`[]`).
        let default = Self::shipped("default").unwrap_or_default();
        let filler = Self {
            desk_verification: None,
            consents: BTreeMap::new(),
            blockers: BTreeMap::new(),
            overriders: BTreeMap::new(),
            real_name_review: None,
            quarantine: None,
            ..default
        };
        let filled = self.clone().over(filler);
        match filled.whole() {
            Some(policy) => {
                let wrong = policy.problems().into_iter();
                let known: Vec<_> = problems.iter().map(|it| it.key.clone()).collect();
                problems.extend(wrong.filter(|wrong| !known.contains(&wrong.key)));
                if problems.is_empty() {
                    return Ok(policy);
                }
            }
            None => problems.push(Problem::new("", "is no policy")),
        }
        Err(problems)
    }

    /// Whether a key stands here, written as in a [`Problem`].
    pub fn says(&self, key: &str) -> bool {
        let Ok(table) = toml::Table::try_from(self) else {
            return true;
        };
        stands(&table, key)
    }

    /// As it stands in a file.
    ///
    /// Errors: none, but for what nobody thought of.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        toml::to_string(self)
    }

    fn missing(&self) -> Vec<Problem> {
        let devices = &self.devices;
        [
            ("name", self.name.is_none()),
            ("seal", self.seal.is_none()),
            ("probe", self.probe.is_none()),
            ("eligibility", self.eligibility.is_none()),
            ("verification", self.verification.is_none()),
            ("cooling_off", self.cooling_off.is_none()),
            ("calendar", self.calendar.is_none()),
            ("time_zone", self.time_zone.is_none()),
            ("deadline", self.deadline.is_none()),
            ("deadline_warning", self.deadline_warning.is_none()),
            ("stalled_after", self.stalled_after.is_none()),
            ("recheck", self.recheck.is_none()),
            ("recent_change", self.recent_change.is_none()),
            ("channels", self.channels.is_none()),
            ("devices.personal", devices.personal.is_none()),
            ("devices.home", devices.home.is_none()),
            ("devices.reset_consent", devices.reset_consent.is_none()),
            ("devices.horizon", devices.horizon.is_none()),
            ("devices.order_life", devices.order_life.is_none()),
            ("notices.send", self.notices.send.is_none()),
            ("notices.reminders", self.notices.reminders.is_none()),
            (
                "recent_contact.factors",
                self.recent_contact.factors.is_none(),
            ),
            (
                "recent_contact.cooling_off",
                self.recent_contact.cooling_off.is_none(),
            ),
            ("extension.allowed", self.extension.allowed.is_none()),
            (
                "extension.deadline",
                self.extension.allowed == Some(true) && self.extension.deadline.is_none(),
            ),
            ("retention", self.retention.is_none()),
            ("stages", self.stages.is_none()),
        ]
        .into_iter()
        .filter(|(_, missing)| *missing)
        .map(|(key, _)| Problem::new(key, "is required"))
        .collect()
    }

    pub(super) fn whole(self) -> Option<Policy> {
        let devices = self.devices;
        let recent = RecentContact {
            factors: self.recent_contact.factors?,
            cooling_off: self.recent_contact.cooling_off?.0,
        };
        let extension = if self.extension.allowed? {
            let deadline = self.extension.deadline?;
            Some(Extension { deadline })
        } else {
            None
        };
        let reminders = self.notices.reminders?;
        Some(Policy {
            notices: Notices {
                send: self.notices.send?,
                reminders: reminders.into_iter().map(|Length(length)| length).collect(),
            },
            recent_contact: Some(recent).filter(|recent| !recent.factors.is_empty()),
            extension,
            name: self.name?,
            // Settings say it, and no policy: one serves wherever its law holds.
            region: None,
            stages: self.stages?,
            seal: self.seal?,
            probe: self.probe?,
            eligibility: self.eligibility?,
            channels: self.channels?,
            verification: self.verification?.0,
            desk_verification: self.desk_verification.map(|length| length.0),
            cooling_off: self.cooling_off?.0,
            calendar: self.calendar?,
            own_calendar: self.own_calendar,
            time_zone: self.time_zone?,
            deadline: self.deadline?,
            deadline_warning: self.deadline_warning?.0,
            stalled_after: self.stalled_after?.0,
            recheck: self.recheck?.0,
            consents: self.consents,
            recent_change: self.recent_change?.0,
            blockers: self.blockers,
            overriders: self.overriders,
            devices: DevicePolicy {
                personal: devices.personal?,
                home: devices.home?,
                reset_consent: devices.reset_consent.filter(|text| !text.is_empty()),
                horizon: devices.horizon?.0,
                order_life: devices.order_life?.0,
                self_service_closed_by: devices.self_service_closed_by.unwrap_or_default(),
            },
            real_name_review: self.real_name_review.unwrap_or(false),
            retention: Some(self.retention?),
            quarantine: self.quarantine,
        })
    }
}

/// Names may have dots of their own.
fn stands(table: &toml::Table, key: &str) -> bool {
    table.iter().any(|(name, value)| {
        let Some(rest) = key.strip_prefix(name.as_str()) else {
            return false;
        };
        match (rest.strip_prefix('.'), value) {
            (None, toml::Value::Table(inner)) => rest.is_empty() && !inner.is_empty(),
            (None, _) => rest.is_empty(),
            (Some(rest), toml::Value::Table(inner)) => stands(inner, rest),
            (Some(_), toml::Value::Array(_)) => true,
            (Some(_), _) => false,
        }
    })
}

/// Every key, so that it reads back as the same policy.
impl From<&Policy> for Document {
    fn from(policy: &Policy) -> Self {
        let devices = &policy.devices;
        let recent = policy.recent_contact.as_ref();
        Self {
            extends: None,
            name: Some(policy.name.clone()),
            seal: Some(policy.seal),
            probe: Some(policy.probe),
            eligibility: Some(policy.eligibility),
            verification: Some(Length(policy.verification)),
            desk_verification: policy.desk_verification.map(Length),
            cooling_off: Some(Length(policy.cooling_off)),
            calendar: Some(policy.calendar.clone()),
            own_calendar: policy.own_calendar.clone(),
            time_zone: Some(policy.time_zone.clone()),
            deadline: Some(policy.deadline),
            deadline_warning: Some(Length(policy.deadline_warning)),
            stalled_after: Some(Length(policy.stalled_after)),
            recheck: Some(Length(policy.recheck)),
            recent_change: Some(Length(policy.recent_change)),
            channels: Some(policy.channels.clone()),
            consents: policy.consents.clone(),
            blockers: policy.blockers.clone(),
            overriders: policy.overriders.clone(),
            devices: Devices {
                personal: Some(devices.personal),
                home: Some(devices.home),
                reset_consent: Some(devices.reset_consent.clone().unwrap_or_default()),
                horizon: Some(Length(devices.horizon)),
                order_life: Some(Length(devices.order_life)),
                self_service_closed_by: Some(devices.self_service_closed_by.clone()),
            },
            notices: NoticesDocument {
                send: Some(policy.notices.send),
                reminders: Some(
                    policy
                        .notices
                        .reminders
                        .iter()
                        .copied()
                        .map(Length)
                        .collect(),
                ),
            },
            recent_contact: RecentContactDocument {
                factors: Some(recent.map_or_else(Vec::new, |recent| recent.factors.clone())),
                cooling_off: Some(Length(
                    recent.map_or(policy.cooling_off, |recent| recent.cooling_off),
                )),
            },
            extension: ExtensionDocument {
                allowed: Some(policy.extension.is_some()),
                deadline: policy
                    .extension
                    .as_ref()
                    .map(|extension| extension.deadline),
            },
            real_name_review: Some(policy.real_name_review),
            retention: policy.retention.clone(),
            quarantine: policy.quarantine.clone(),
            stages: Some(policy.stages.clone()),
        }
    }
}
