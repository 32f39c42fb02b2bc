//! Legal holds and contradictions: nothing is purged until a person has looked.

use super::*;

#[test]
fn after_a_contradiction_nothing_purges_until_somebody_has_looked() {
    let plan = cn();
    let disputed = go(&verifying(&plan), &Event::Contradicted, &plan, over());
    let settled = settle(&disputed, plan.probes(), &plan, over()).unwrap();
    assert_eq!(settled.state.word(), "VERIFYING");
    assert_eq!(duty::next(&settled, &plan, over()), Duty::NeedsPerson);
    let resolved = go(&settled, &Event::Resolved, &plan, over());
    assert_eq!(resolved.state.word(), "PURGED");
    assert!(
        resolved.step(&Event::Resolved, &plan, over()).is_err(),
        "there is nothing to resolve"
    );
}

#[test]
fn a_contradiction_is_recorded_wherever_something_was_asked() {
    let plan = cn();
    for deletion in every_state(&plan) {
        let asked = !matches!(
            deletion.state,
            State::AwaitingVerification { .. } | State::Expired { .. }
        );
        let next = deletion.step(&Event::Contradicted, &plan, over());
        assert_eq!(
            next.is_ok_and(|next| next.conflicts == 1),
            asked,
            "{:?}",
            deletion.state
        );
    }
}

#[test]
fn under_a_hold_nothing_is_erased_and_nothing_is_purged() {
    let plan = cn();
    let held = go(&erasing(&plan), &Event::Hold, &plan, over());
    assert!(held.owes(&plan).is_empty());
    assert_eq!(duty::next(&held, &plan, over()), Duty::NeedsPerson);
    let probing = go(&verifying(&plan), &Event::Hold, &plan, over());
    let settled = settle(&probing, plan.probes(), &plan, over()).unwrap();
    assert_eq!(settled.state.word(), "VERIFYING");
    let waiting = go(&sealed(&plan), &Event::Hold, &plan, start());
    assert_eq!(
        refused(&waiting, &Event::Eligible, &plan, over()).reason,
        Reason::Held
    );
    assert_eq!(duty::next(&waiting, &plan, over()), Duty::NeedsPerson);
}

#[test]
fn a_deletion_whose_last_leg_settled_under_a_hold_purges_at_its_release() {
    let plan = cn();
    let held = go(&verifying(&plan), &Event::Hold, &plan, over());
    let settled = settle(&held, plan.probes(), &plan, over()).unwrap();
    let released = go(&settled, &Event::Release, &plan, over() + DAY);
    assert!(matches!(released.state, State::Purged { at, .. } if at == over() + DAY));
}

#[test]
fn a_release_lets_erasing_and_verifying_go_on() {
    let plan = cn();
    let held = go(&erasing(&plan), &Event::Hold, &plan, over());
    let late = settle(&held, plan.open_stage(held.done), &plan, over()).unwrap();
    assert!(
        late.owes(&plan).is_empty(),
        "what was on its way counts, the next stage waits"
    );
    assert!(
        !go(&late, &Event::Release, &plan, over())
            .owes(&plan)
            .is_empty()
    );
    let erased = Deletion {
        done: plan.seals() | plan.erases(),
        ..late
    };
    assert_eq!(
        go(&erased, &Event::Release, &plan, over()).state.word(),
        "VERIFYING"
    );
    let cooling = go(&sealed(&unasked()), &Event::Hold, &unasked(), start());
    assert_eq!(
        go(&cooling, &Event::Release, &unasked(), over())
            .state
            .word(),
        "ERASING"
    );
}

#[test]
fn a_second_hold_is_told_of_the_first_and_an_ended_deletion_takes_none() {
    let plan = cn();
    let held = go(&sealed(&plan), &Event::Hold, &plan, start());
    assert_eq!(
        refused(&held, &Event::Hold, &plan, start()).reason,
        Reason::Held
    );
    assert!(sealed(&plan).step(&Event::Release, &plan, start()).is_err());
    assert_eq!(
        refused(&purged(&plan), &Event::Hold, &plan, start()).reason,
        Reason::AlreadyEnded
    );
    let revoked = go(&held, &Event::Revoke, &plan, start());
    assert_eq!(
        revoked.owes(&plan),
        plan.unseals(),
        "a hold keeps no seal on a revoked account"
    );
    assert!(
        condition::of(&revoked, &plan, start(), None, |_| true)
            .iter()
            .all(|c| c.kind != Kind::Held)
    );
}
