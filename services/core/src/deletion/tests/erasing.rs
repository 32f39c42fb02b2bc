//! Legs in their order, late and refused answers, residue, and the purge.

use super::*;

#[test]
fn everything_erased_is_verified_and_everything_clean_is_purged() {
    let plan = cn();
    let verifying = verifying(&plan);
    assert_eq!(verifying.owes(&plan), plan.probes());
    let purged = settle(&verifying, plan.probes(), &plan, over() + SECOND).unwrap();
    let State::Purged { begun, at } = purged.state else {
        panic!("{:?}", purged.state)
    };
    assert_eq!((begun.at, at), (over(), over() + SECOND));
    assert_eq!((purged.closed_at, purged.attention_at), (Some(at), None));
    assert_eq!(duty::next(&purged, &plan, over()), Duty::Nothing);
}

#[test]
fn without_probes_everything_erased_is_purged() {
    let plan = Plan::new(
        1,
        Policy {
            probe: false,
            ..Policy::cn()
        },
    )
    .unwrap();
    assert_eq!(erase(&erasing(&plan), &plan).state.word(), "PURGED");
}

// Traps that others fell into.

#[test]
fn no_participants_is_never_done() {
    let plan = cn();
    let mut deletion = erasing(&plan);
    deletion.need = Mask::EMPTY;
    deletion.done = plan.required();
    let looked = settle(&deletion, Mask::EMPTY, &plan, over()).unwrap();
    assert_eq!(looked.state.word(), "ERASING");
    assert_eq!(duty::next(&deletion, &plan, over()), Duty::NeedsPerson);
}

#[test]
fn a_leg_that_was_skipped_is_not_done() {
    let plan = cn();
    let last = leg(&plan, Verb::Erase, "identity");
    let refusal = refused(
        &erasing(&plan),
        &Event::Settled(Mask::of(last)),
        &plan,
        over(),
    );
    assert_eq!(refusal.reason, Reason::IllegalState);
    let probes = settle(&erasing(&plan), plan.probes(), &plan, over());
    assert_eq!(probes.unwrap_err().reason, Reason::IllegalState);
}

#[test]
fn a_participant_that_refuses_is_not_done() {
    let plan = cn();
    let watch = leg(&plan, Verb::Erase, "wearables");
    let deletion = go(&erasing(&plan), &Event::LegRefused(watch), &plan, over());
    assert_eq!(
        duty::next(&deletion, &plan, over() + 90 * DAY),
        Duty::NeedsPerson
    );
    assert_eq!(deletion.refusals(&plan), Mask::of(watch));
}

#[test]
fn a_phone_is_never_wiped_before_its_watch() {
    let plan = cn();
    let deletion = erasing(&plan);
    let watch = leg(&plan, Verb::Erase, "wearables");
    let phone = leg(&plan, Verb::Erase, "phones");
    assert_eq!(deletion.owes(&plan), Mask::of(watch));
    assert!(settle(&deletion, Mask::of(phone), &plan, over()).is_err());
    let after = settle(&deletion, Mask::of(watch), &plan, over()).unwrap();
    assert!(after.owes(&plan).has(phone));
}

#[test]
fn credentials_are_revoked_last() {
    let plan = cn();
    let identity = leg(&plan, Verb::Erase, "identity");
    let mut deletion = erasing(&plan);
    while !deletion.owes(&plan).has(identity) {
        deletion = settle(&deletion, deletion.owes(&plan), &plan, over()).unwrap();
    }
    assert!(deletion.done.covers(plan.erases() & !Mask::of(identity)));
}

#[test]
fn a_late_acknowledgement_still_counts() {
    let plan = cn();
    let watch = Mask::of(leg(&plan, Verb::Erase, "wearables"));
    let late = erasing(&plan).deadline + 100 * DAY;
    let after_deadline = settle(&erasing(&plan), watch, &plan, late).unwrap();
    assert!(after_deadline.done.covers(watch));
    let no = Event::LegRefused(watch.iter().next().unwrap());
    let refused = go(&erasing(&plan), &no, &plan, over());
    let after_refusal = settle(&refused, watch, &plan, late).unwrap();
    assert!(after_refusal.refused.is_empty() && after_refusal.done.covers(watch));
    let revoked = go(&cooling(&plan), &Event::Revoke, &plan, start());
    assert!(
        settle(&revoked, plan.seals(), &plan, late)
            .unwrap()
            .done
            .covers(plan.seals())
    );
}

#[test]
fn only_a_leg_that_is_owed_can_be_refused_and_only_a_refused_one_retried() {
    let plan = cn();
    let watch = leg(&plan, Verb::Erase, "wearables");
    let phone = leg(&plan, Verb::Erase, "phones");
    assert!(
        erasing(&plan)
            .step(&Event::LegRefused(phone), &plan, over())
            .is_err()
    );
    assert!(
        erasing(&plan)
            .step(&Event::Retry(watch), &plan, over())
            .is_err()
    );
    let refused = go(&erasing(&plan), &Event::LegRefused(watch), &plan, over());
    assert!(
        refused
            .step(&Event::LegRefused(watch), &plan, over())
            .is_err()
    );
    assert!(
        purged(&plan)
            .step(&Event::LegRefused(watch), &plan, over())
            .is_err()
    );
}

#[test]
fn residue_is_erased_again_and_everyone_is_asked_again() {
    let plan = cn();
    let cloud = leg(&plan, Verb::Erase, "cloud");
    let others: Mask = plan.probes().iter().skip(2).collect();
    let probed = settle(&verifying(&plan), others, &plan, over()).unwrap();
    let again = go(&probed, &Event::Residue(cloud), &plan, over());
    assert_eq!((again.state.word(), again.round), ("ERASING", 2));
    assert_eq!(again.owes(&plan), Mask::of(cloud));
    let cleared = Mask::of(cloud) | plan.probes();
    assert_eq!(
        again.clears(&probed, &plan),
        cleared,
        "probes that are merged meanwhile too"
    );
    let erased = settle(&again, Mask::of(cloud), &plan, over()).unwrap();
    assert_eq!(erased.owes(&plan), plan.probes());
    assert!(erased.clears(&again, &plan).is_empty());
}

#[test]
fn a_probe_refused_in_one_round_is_asked_in_the_next() {
    let plan = cn();
    let probe = leg(&plan, Verb::Probe, "store");
    let refused = go(&verifying(&plan), &Event::LegRefused(probe), &plan, over());
    let cloud = leg(&plan, Verb::Erase, "cloud");
    let again = go(&refused, &Event::Residue(cloud), &plan, over());
    let erased = settle(&again, Mask::of(cloud), &plan, over()).unwrap();
    assert!(erased.owes(&plan).has(probe));
}

#[test]
fn residue_of_a_round_that_is_over_changes_nothing() {
    let plan = cn();
    let cloud = leg(&plan, Verb::Erase, "cloud");
    let again = go(&verifying(&plan), &Event::Residue(cloud), &plan, over());
    assert!(again.step(&Event::Residue(cloud), &plan, over()).is_err());
    assert!(
        purged(&plan)
            .step(&Event::Residue(cloud), &plan, over())
            .is_err()
    );
    let probe = leg(&plan, Verb::Probe, "cloud");
    assert!(
        verifying(&plan)
            .step(&Event::Residue(probe), &plan, over())
            .is_err()
    );
}

#[test]
fn residue_without_end_needs_a_person_in_every_round() {
    let plan = cn();
    let cloud = leg(&plan, Verb::Erase, "cloud");
    let mut deletion = verifying(&plan);
    for _ in 1..ROUNDS_UNATTENDED_MAX {
        deletion = go(&deletion, &Event::Residue(cloud), &plan, over());
        deletion = settle(&deletion, Mask::of(cloud), &plan, over()).unwrap();
    }
    deletion = go(&deletion, &Event::Residue(cloud), &plan, over());
    assert_eq!(duty::next(&deletion, &plan, over()), Duty::NeedsPerson);
    let conditions = condition::of(&deletion, &plan, over(), None, |_| true);
    assert!(
        conditions
            .iter()
            .any(|condition| condition.reason == "RESIDUE_AGAIN")
    );
    let retried = go(&deletion, &Event::Retry(cloud), &plan, over());
    assert_eq!(retried.owes(&plan), Mask::of(cloud));
}
