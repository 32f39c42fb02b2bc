//! The cooling-off period, and the point of no return at its end.

use super::*;

#[test]
fn erasing_begins_at_the_very_end_of_the_cooling_off_period_and_not_before() {
    let plan = cn();
    let cooling = sealed(&plan);
    let early = Time::from_micros(over().micros() - 1);
    assert_eq!(
        refused(&cooling, &Event::Eligible, &plan, early).reason,
        Reason::CoolingOff
    );
    let erasing = go(&cooling, &Event::Eligible, &plan, over());
    let begun = Begun {
        cooling_off_ended_at: over(),
        at: over(),
    };
    assert_eq!(erasing.state, State::Erasing(begun));
    assert_eq!(erasing.need, plan.required());
}

#[test]
fn the_end_of_the_wait_is_not_the_end_of_the_deletion() {
    let plan = cn();
    let erasing = erasing(&plan);
    assert!(!erasing.state.terminal() && erasing.closed_at.is_none());
    assert!(!erasing.owes(&plan).is_empty());
}

#[test]
fn nothing_destructive_is_owed_before_the_point_of_no_return() {
    let plan = cn();
    for deletion in [
        opened(&plan),
        verified(&plan),
        cooling(&plan),
        sealed(&plan),
    ] {
        assert!((deletion.owes(&plan) & plan.erases()).is_empty());
        assert_eq!(
            refused(&deletion, &Event::Settled(plan.erases()), &plan, over()).reason,
            Reason::IllegalState
        );
    }
}

#[test]
fn an_account_that_is_not_sealed_everywhere_is_not_erased() {
    let plan = cn();
    let all_but_one: Mask = plan.seals().iter().skip(1).collect();
    let cooling = settle(&cooling(&plan), all_but_one, &plan, start()).unwrap();
    assert_eq!(
        refused(&cooling, &Event::Eligible, &plan, over()).reason,
        Reason::SealOutstanding
    );
    assert!(matches!(duty::next(&cooling, &plan, over()), Duty::Send(legs) if legs.len() == 1));
}

#[test]
fn a_policy_that_asks_nobody_begins_of_itself() {
    let plan = unasked();
    let cooling = sealed(&plan);
    assert_eq!(duty::next(&cooling, &plan, start()), Duty::Wait(over()));
    assert_eq!(duty::next(&cooling, &plan, over()), Duty::Begin);
    assert_eq!(erasing(&plan).state.code(), 3);
    let late = settle(&self::cooling(&plan), plan.seals(), &plan, over()).unwrap();
    assert_eq!(
        late.state.code(),
        3,
        "the last seal after the end begins at once"
    );
}

/// Public holidays of the next year were published meanwhile.
#[test]
fn a_deadline_that_was_counted_without_a_holiday_is_counted_again() {
    // What needs no calendar is known for sure at any time.
    let sure = Policy {
        deadline: "30 days".parse().unwrap(),
        ..Policy::cn()
    };
    let plan = Plan::new(1, sure).unwrap();
    let due = plan.policy().due(start()).at;
    for mut early in [
        opened(&plan),
        sealed(&plan),
        erasing(&plan),
        verifying(&plan),
    ] {
        assert!(!early.due_again(&plan));
        assert!(early.step(&Event::Recounted, &plan, over()).is_err());
        early.deadline = start();
        let again = go(&early, &Event::Recounted, &plan, over());
        let expected = Deletion {
            deadline: due,
            revision: again.revision,
            ..early
        };
        assert_eq!(again, expected);
    }
    // A program that knows the holidays no better changes nothing.
    let plan = cn();
    let late = Time::from_micros(start().micros() + 100 * 365 * 24 * 3_600_000_000);
    let mut unsure = Deletion::open(request(1, "alice", Channel::Phone), &plan, late).unwrap();
    assert!(plan.policy().due(late).provisional);
    unsure.deadline = late + DAY;
    assert!(!unsure.due_again(&plan));
    assert!(unsure.step(&Event::Recounted, &plan, late).is_err());
}

#[test]
fn a_policy_that_asks_for_nothing_erases_at_once() {
    let mut policy = Policy {
        seal: false,
        eligibility: false,
        ..Policy::cn()
    };
    policy.cooling_off = Duration::ZERO;
    policy.channels.insert(Channel::Legacy, vec![]);
    let plan = Plan::new(1, policy).unwrap();
    let deletion = Deletion::open(request(1, "alice", Channel::Legacy), &plan, start()).unwrap();
    assert_eq!(deletion.state.word(), "ERASING");
    assert_eq!(deletion.need, plan.required());
}

// Refusals, residue, conflicts, holds.

#[test]
fn a_refused_seal_waits_for_a_person_and_is_asked_again_after_a_retry() {
    let plan = cn();
    let seal = leg(&plan, Verb::Seal, "store");
    let refused = go(&cooling(&plan), &Event::LegRefused(seal), &plan, start());
    let others = plan.seals() & !Mask::of(seal);
    assert_eq!(duty::next(&refused, &plan, start()), Duty::Send(others));
    let alone = settle(&refused, others, &plan, start()).unwrap();
    assert_eq!(duty::next(&alone, &plan, over()), Duty::NeedsPerson);
    assert!(alone.step(&Event::Eligible, &plan, over()).is_err());
    let again = go(&alone, &Event::Retry(seal), &plan, over());
    assert_eq!(again.owes(&plan), Mask::of(seal));
    let revoked = go(&alone, &Event::Revoke, &plan, over());
    assert_eq!(
        revoked.owes(&plan),
        plan.unseals(),
        "half a seal is lifted too"
    );
    assert!(revoked.refusals(&plan).is_empty());
}

#[test]
fn a_contradiction_among_seals_stops_the_point_of_no_return() {
    let plan = unasked();
    let disputed = go(&sealed(&plan), &Event::Contradicted, &plan, start());
    assert_eq!(duty::next(&disputed, &plan, over()), Duty::NeedsPerson);
    assert_eq!(
        refused(&disputed, &Event::Eligible, &plan, over()).reason,
        Reason::EvidenceConflict
    );
    let resolved = go(&disputed, &Event::Resolved, &plan, over());
    assert_eq!(resolved.state.word(), "ERASING");
}

// Clocks, plans, receipts that were merged without a move.

#[test]
fn a_clock_that_was_set_back_shortens_no_wait() {
    let plan = cn();
    let back = Time::from_micros(start().micros() - 1_000_000_000_000);
    let verified = go(
        &opened(&plan),
        &Event::FactorVerified(Factor::SmsCode),
        &plan,
        back,
    );
    let cooling = go(&verified, &Event::Eligible, &plan, back);
    assert_eq!(cooling.state, State::CoolingOff { ends_at: over() });
    let purging = settle(&verifying(&plan), plan.probes(), &plan, back).unwrap();
    assert!(matches!(purging.state, State::Purged { begun, at } if at >= begun.at));
}
