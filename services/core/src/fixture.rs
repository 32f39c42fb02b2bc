//! What the tests of this crate begin with.

use std::time::Duration;

use uuid::Uuid;

use crate::deletion::{Blocker, Consent, Deletion, Event, Request, State};
use crate::id::{AccountId, CommandName, DeletionId, ParticipantId, RequestId};
use crate::leg::{LegIndex, Mask, Verb};
use crate::plan::Plan;
use crate::policy::{Channel, Factor, Policy};
use crate::receipt::{Evidence, Outcome};
use crate::refusal::Refusal;
use crate::time::Time;

pub const SECOND: Duration = Duration::from_secs(1);
pub const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The moment at which every test begins.
pub fn start() -> Time {
    Time::from_micros(1_800_000_000_000_000)
}

pub fn cn() -> Plan {
    Plan::new(1, Policy::cn()).unwrap()
}

/// The same law in a cell that has a name.
pub fn of_region(name: &str) -> Plan {
    let policy = Policy {
        region: Some(name.to_owned()),
        ..Policy::cn()
    };
    Plan::new(1, policy).unwrap()
}

/// A policy that asks nobody before it begins.
pub fn unasked() -> Plan {
    let policy = Policy {
        eligibility: false,
        ..Policy::cn()
    };
    Plan::new(1, policy).unwrap()
}

pub fn request(number: u128, account: &str, channel: Channel) -> Request {
    Request {
        id: DeletionId(Uuid::from_u128(number)),
        account: account.parse().unwrap(),
        request: RequestId(Uuid::from_u128(number + (1 << 64))),
        request_digest: [7; 16],
        channel,
        consents: vec![Consent {
            text: "deletion".to_owned(),
            version: 1,
            at: start(),
        }],
        traceparent: String::new(),
    }
}

pub fn opened(plan: &Plan) -> Deletion {
    Deletion::open(request(1, "alice", Channel::Phone), plan, start()).unwrap()
}

pub fn verified(plan: &Plan) -> Deletion {
    let sms = Event::FactorVerified(Factor::SmsCode);
    opened(plan).step(&sms, plan, start()).unwrap()
}

pub fn cooling(plan: &Plan) -> Deletion {
    let verified = verified(plan);
    if plan.policy().eligibility {
        verified.step(&Event::Eligible, plan, start()).unwrap()
    } else {
        verified
    }
}

pub fn sealed(plan: &Plan) -> Deletion {
    settle(&cooling(plan), plan.seals(), plan, start()).unwrap()
}

/// The end of the cooling-off period that starts with the test.
pub fn over() -> Time {
    start() + 7 * DAY
}

pub fn erasing(plan: &Plan) -> Deletion {
    sealed(plan).step(&Event::Eligible, plan, over()).unwrap()
}

pub fn verifying(plan: &Plan) -> Deletion {
    let deletion = erase(&erasing(plan), plan);
    assert!(matches!(deletion.state, State::Verifying(_)));
    deletion
}

pub fn purged(plan: &Plan) -> Deletion {
    let deletion = settle(&verifying(plan), plan.probes(), plan, over()).unwrap();
    assert!(matches!(deletion.state, State::Purged { .. }));
    deletion
}

pub fn settle(deletion: &Deletion, legs: Mask, plan: &Plan, at: Time) -> Result<Deletion, Refusal> {
    deletion.step(&Event::Settled(legs), plan, at)
}

/// Settles stage after stage.
pub fn erase(deletion: &Deletion, plan: &Plan) -> Deletion {
    let mut deletion = deletion.clone();
    while !plan.open_stage(deletion.done).is_empty() {
        let stage = plan.open_stage(deletion.done);
        deletion = settle(&deletion, stage, plan, over()).unwrap();
    }
    deletion
}

pub fn who(name: &str) -> ParticipantId {
    name.parse().unwrap()
}

pub fn account(name: &str) -> AccountId {
    name.parse().unwrap()
}

pub fn leg(plan: &Plan, verb: Verb, name: &str) -> LegIndex {
    plan.find(&who(name), verb).unwrap()
}

pub fn command(deletion: &Deletion, verb: Verb, name: &str) -> CommandName {
    CommandName {
        deletion: deletion.id,
        round: match verb {
            Verb::Seal | Verb::Unseal => 1,
            Verb::Erase | Verb::Probe | Verb::Expire => deletion.round,
        },
        verb,
        participant: who(name),
    }
}

pub fn counted(outcome: Outcome, count: i64) -> Evidence {
    let mut evidence = Evidence::of(outcome);
    evidence.counts.insert("rows".to_owned(), count);
    evidence
}

pub fn blocker() -> Blocker {
    Blocker {
        message: "An order is not delivered.".to_owned(),
        remedy: "Wait for it.".to_owned(),
        ..Blocker::named("OPEN_ORDER", &who("store"), &Policy::cn())
    }
}

/// Erases stage after stage until it is this participant's turn.
pub fn erase_until(plan: &Plan, name: &str) -> Deletion {
    let mut deletion = erasing(plan);
    let own = leg(plan, Verb::Erase, name);
    while !plan.open_stage(deletion.done).has(own) {
        let stage = plan.open_stage(deletion.done);
        deletion = settle(&deletion, stage, plan, over()).unwrap();
    }
    deletion
}
