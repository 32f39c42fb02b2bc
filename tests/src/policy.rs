//! Policies for stories: impatient, and no larger than the story needs.

use std::collections::BTreeMap;
use std::time::Duration;

use farewell_core::Policy;
use farewell_core::order::DevicePolicy;
use farewell_core::policy::{Channel, Deadline, Factor, Length, Notices, Stage};

const HOUR: Duration = Duration::from_secs(3_600);

/// Erases at once, stage by stage: no factors, no eligibility, no seal, no cooling-off period, no probe.
pub fn straight(stages: &[&[&str]]) -> Policy {
    let stage = |(place, participants): (usize, &&[&str])| Stage {
        name: format!("STAGE_{}", ["A", "B", "C", "D", "E", "F"][place]),
        participants: participants
            .iter()
            .map(|name| name.parse().expect("a participant's name"))
            .collect(),
    };
    Policy {
        name: "story".to_owned(),
        region: None,
        stages: stages.iter().enumerate().map(stage).collect(),
        seal: false,
        probe: false,
        eligibility: false,
        channels: BTreeMap::from([(Channel::Phone, vec![])]),
        verification: HOUR,
        desk_verification: None,
        cooling_off: Duration::ZERO,
        calendar: "none".to_owned(),
        own_calendar: None,
        time_zone: "UTC".parse().expect("a time zone"),
        deadline: Deadline::Within(Length(24 * HOUR)),
        deadline_warning: HOUR,
        stalled_after: HOUR,
        recheck: Duration::from_millis(200),
        consents: BTreeMap::new(),
        recent_change: Duration::from_secs(7 * 24 * 3_600),
        blockers: BTreeMap::new(),
        overriders: BTreeMap::new(),
        devices: DevicePolicy::default(),
        notices: Notices::default(),
        recent_contact: None,
        extension: None,
        real_name_review: false,
        retention: Some(BTreeMap::new()),
        quarantine: None,
    }
}

/// Everything that a policy can ask for but factors: eligibility, seal, stages, probe; the wait is short.
pub fn whole(stages: &[&[&str]]) -> Policy {
    Policy {
        seal: true,
        probe: true,
        eligibility: true,
        cooling_off: Duration::from_millis(300),
        ..straight(stages)
    }
}

/// Waits for an hour once the account is sealed, asks for factors.
pub fn verified(stages: &[&[&str]]) -> Policy {
    Policy {
        cooling_off: HOUR,
        channels: BTreeMap::from([
            (Channel::Phone, vec![Factor::SmsCode]),
            (Channel::Web, vec![Factor::Password, Factor::EmailCode]),
        ]),
        ..whole(stages)
    }
}
