mod asked;
mod ended;
mod erasing;
mod holds;
mod waiting;

use std::time::Duration;

use super::*;
use crate::condition::{self, Kind};
use crate::duty::{self, Duty};
use crate::fixture::*;
use crate::leg::Verb;
use crate::policy::Policy;
use crate::rare::Denial;

fn go(deletion: &Deletion, event: &Event, plan: &Plan, at: Time) -> Deletion {
    deletion.step(event, plan, at).unwrap()
}

fn refused(deletion: &Deletion, event: &Event, plan: &Plan, at: Time) -> Refusal {
    deletion.step(event, plan, at).unwrap_err()
}

/// One deletion in each state, with a sealing plan.
fn every_state(plan: &Plan) -> Vec<Deletion> {
    let denied = go(
        &sealed(plan),
        &Event::Deny(Denial::Unfounded),
        plan,
        start(),
    );
    let revoked = go(&sealed(plan), &Event::Revoke, plan, start());
    let late = start() + plan.policy().verification;
    let expired = go(&opened(plan), &Event::Expire, plan, late);
    let mut all = vec![opened(plan), sealed(plan), erasing(plan), verifying(plan)];
    all.extend([purged(plan), revoked, denied, expired]);
    for (place, deletion) in all.iter().enumerate() {
        assert_eq!(usize::try_from(deletion.state.code()).unwrap(), place + 1);
    }
    all
}

#[test]
fn a_plan_of_another_version_decides_nothing() {
    let other = Plan::new(2, Policy::cn()).unwrap();
    let erasing = erasing(&cn());
    assert!(erasing.owes(&other).is_empty());
    assert!(erasing.step(&Event::Hold, &other, over()).is_err());
    assert_eq!(duty::next(&erasing, &other, over()), Duty::NeedsPerson);
}

#[test]
fn receipts_that_were_merged_without_a_move_are_followed_at_the_next_look() {
    let plan = cn();
    let mut merged = erasing(&plan);
    merged.done = merged.done | plan.erases();
    assert_eq!(duty::next(&merged, &plan, over()), Duty::Advance);
    let moved = settle(&merged, Mask::EMPTY, &plan, over()).unwrap();
    assert_eq!(moved.state.word(), "VERIFYING");
    let mut probed = verifying(&plan);
    probed.done = probed.done | plan.probes();
    assert_eq!(duty::next(&probed, &plan, over()), Duty::Advance);
    let mut revoked = go(&sealed(&plan), &Event::Revoke, &plan, over());
    revoked.done = revoked.done | plan.unseals();
    assert_eq!(duty::next(&revoked, &plan, over()), Duty::Advance);
    assert!(
        settle(&revoked, Mask::EMPTY, &plan, over())
            .unwrap()
            .closed_at
            .is_some()
    );
}

#[test]
fn a_refusal_that_a_receipt_overtook_is_none() {
    let plan = cn();
    let seal = leg(&plan, Verb::Seal, "store");
    let mut sealed = sealed(&plan);
    sealed.refused = Mask::of(seal);
    assert_eq!(duty::next(&sealed, &plan, over()), Duty::AskEligibility);
    assert!(condition::of(&sealed, &plan, over(), None, |_| true).is_empty());
}

#[test]
fn only_what_moves_needs_a_move() {
    let plan = cn();
    let erasing = erasing(&plan);
    let stage = settle(&erasing, erasing.owes(&plan), &plan, over()).unwrap();
    assert!(!stage.moved_from(&erasing));
    let verifying = erase(&erasing, &plan);
    assert!(verifying.moved_from(&erasing));
    let held = go(&erasing, &Event::Hold, &plan, over());
    assert!(held.moved_from(&erasing));
}
