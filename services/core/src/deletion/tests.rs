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

// The table of states, row by row.

#[test]
fn an_opened_deletion_has_verified_nothing_and_has_sealed_nobody() {
    let plan = cn();
    let deletion = opened(&plan);
    assert_eq!(deletion.state.word(), "AWAITING_VERIFICATION");
    assert_eq!(deletion.factors_verified, Factors::default());
    assert!(deletion.owes(&plan).is_empty() && deletion.need.is_empty());
    assert_eq!(deletion.deadline, plan.policy().due(start()).at);
}

#[test]
fn a_channel_that_the_policy_does_not_name_takes_no_request() {
    let mut policy = Policy::cn();
    policy.channels.remove(&Channel::Legacy);
    let plan = Plan::new(1, policy).unwrap();
    let request = request(1, "alice", Channel::Legacy);
    let refusal = Deletion::open(request, &plan, start()).unwrap_err();
    assert_eq!(refusal.reason, Reason::IllegalState);
}

#[test]
fn all_factors_and_an_eligible_account_start_the_cooling_off_period() {
    let plan = cn();
    let web = Deletion::open(request(1, "alice", Channel::Web), &plan, start()).unwrap();
    let one = go(
        &web,
        &Event::FactorVerified(Factor::Password),
        &plan,
        start(),
    );
    let early = refused(&one, &Event::Eligible, &plan, start());
    assert_eq!(early.reason, Reason::IllegalState);
    let both = go(
        &one,
        &Event::FactorVerified(Factor::EmailCode),
        &plan,
        start(),
    );
    assert_eq!(both.state.word(), "AWAITING_VERIFICATION");
    let cooling = go(&both, &Event::Eligible, &plan, start());
    assert_eq!(cooling.state, State::CoolingOff { ends_at: over() });
    assert_eq!(cooling.owes(&plan), plan.seals());
}

#[test]
fn a_factor_that_is_not_asked_for_verifies_nothing() {
    let plan = cn();
    let password = Event::FactorVerified(Factor::Password);
    let refusal = refused(&opened(&plan), &password, &plan, start());
    assert_eq!(refusal.reason, Reason::FactorNotRequired);
}

#[test]
fn a_factor_verified_twice_counts_once_and_hurries_nobody() {
    let plan = cn();
    let blocked = go(
        &verified(&plan),
        &Event::Blocked(vec![blocker()]),
        &plan,
        start(),
    );
    let again = go(
        &blocked,
        &Event::FactorVerified(Factor::SmsCode),
        &plan,
        start(),
    );
    assert_eq!(
        again,
        Deletion {
            revision: again.revision,
            ..blocked
        }
    );
}

#[test]
fn a_request_at_the_support_desk_waits_for_longer() {
    let plan = cn();
    let policy = plan.policy();
    let desk = policy.desk_verification.expect("the desk has its own time");
    assert!(desk > policy.verification);
    for (channel, wait) in [
        (Channel::Phone, policy.verification),
        (Channel::Web, policy.verification),
        (Channel::ServiceCentre, policy.verification),
        (Channel::Support, desk),
        (Channel::Legacy, desk),
    ] {
        let opened = Deletion::open(request(1, "alice", channel), &plan, start()).unwrap();
        let expires_at = start() + wait;
        assert_eq!(opened.state, State::AwaitingVerification { expires_at });
    }
}

#[test]
fn why_a_request_is_denied_stays_on_it() {
    let plan = cn();
    for why in Denial::ALL {
        for before in [opened(&plan), verified(&plan), sealed(&plan)] {
            let denied = go(&before, &Event::Deny(why), &plan, start());
            assert!(matches!(denied.state, State::Denied { .. }));
            assert_eq!(denied.rare.denied.map(|denied| denied.why), Some(why));
        }
    }
    let begun = refused(
        &erasing(&plan),
        &Event::Deny(Denial::Unfounded),
        &plan,
        over(),
    );
    assert_eq!(begun.reason, Reason::PastNoReturn);
    for (rejection, why) in [
        ("UNREADABLE", Some(Denial::DocumentsUnreadable)),
        ("FORGED", Some(Denial::DocumentsNotAccepted)),
        ("NOT_THE_OWNER", Some(Denial::NotTheOwner)),
        ("NOT_GRANTED", Some(Denial::NotGranted)),
        ("", None),
        ("UNFOUNDED", None),
    ] {
        assert_eq!(Denial::of_rejection(rejection), why, "{rejection}");
    }
}

#[test]
fn a_request_that_nobody_verifies_expires_and_not_before() {
    let plan = cn();
    let end = start() + plan.policy().verification;
    let early = Time::from_micros(end.micros() - 1);
    let opened = opened(&plan);
    assert!(opened.step(&Event::Expire, &plan, early).is_err());
    let expired = go(&opened, &Event::Expire, &plan, end);
    assert_eq!(expired.state, State::Expired { at: end });
    assert_eq!((expired.closed_at, expired.attention_at), (Some(end), None));
    let sms = Event::FactorVerified(Factor::SmsCode);
    assert_eq!(refused(&opened, &sms, &plan, end).since, Some(end));
    assert_eq!(
        refused(&verified(&plan), &Event::Eligible, &plan, end).since,
        Some(end)
    );
}

#[test]
fn who_gave_no_answer_is_asked_again_soon_and_then_ever_more_seldom() {
    let plan = cn();
    let phones = "phones".parse().unwrap();
    let silence = Event::Blocked(vec![Blocker::unreachable(&phones, &Policy::cn())]);
    let both = Event::Blocked(vec![
        Blocker::unreachable(&phones, &Policy::cn()),
        blocker(),
    ]);
    let due = |event: &Event, now: Time| {
        let waiting = go(&verified(&plan), event, &plan, now);
        waiting.attention_at.unwrap().since(now)
    };
    let minute = Duration::from_secs(60);
    assert_eq!(due(&silence, start()), Duration::from_secs(15));
    assert_eq!(due(&silence, start() + minute), minute / 2);
    assert_eq!(due(&both, start()), plan.policy().recheck);
    let late = over() + plan.policy().recheck * 9;
    let waiting = go(&sealed(&plan), &silence, &plan, late);
    assert_eq!(waiting.attention_at, Some(late + plan.policy().recheck));
}

#[test]
fn whatever_is_in_the_way_is_kept_and_asked_again() {
    let plan = cn();
    let blocked = Event::Blocked(vec![blocker()]);
    assert!(opened(&plan).step(&blocked, &plan, start()).is_err());
    let waiting = go(&verified(&plan), &blocked, &plan, start());
    let again = start() + plan.policy().recheck;
    assert_eq!(duty::next(&waiting, &plan, start()), Duty::Wait(again));
    assert_eq!(duty::next(&waiting, &plan, again), Duty::AskEligibility);
    assert!(
        go(&waiting, &Event::Eligible, &plan, again)
            .blockers
            .is_empty()
    );
    let cooling = sealed(&plan);
    assert_eq!(
        refused(&cooling, &blocked, &plan, start()).reason,
        Reason::IllegalState
    );
    assert_eq!(go(&cooling, &blocked, &plan, over()).state, cooling.state);
}

#[test]
fn blocked_by_nothing_is_no_answer() {
    let plan = cn();
    for deletion in every_state(&plan) {
        assert!(
            deletion
                .step(&Event::Blocked(vec![]), &plan, over())
                .is_err()
        );
    }
}

#[test]
fn what_is_only_told_stops_neither_the_cooling_off_period_nor_the_erasing() {
    let plan = cn();
    let told = || {
        let banned = Blocker::named("COMMUNITY_BANNED", &who("community"), &Policy::cn());
        vec![
            banned,
            Blocker::named("DEVICES_BOUND", &who("phones"), &Policy::cn()),
            Blocker::named("DEVICE_IN_LOST_MODE", &who("phones"), &Policy::cn()),
            Blocker::named(
                "SOLE_ADMIN_OF_SHARED_HOME",
                &who("smarthome"),
                &Policy::cn(),
            ),
        ]
    };
    let cooling = verified(&plan);
    let event = cooling.judge(&plan, told());
    assert_eq!(event, Event::Eligible);
    let cooling = go(&cooling, &event, &plan, start());
    assert!(matches!(cooling.state, State::CoolingOff { .. }));
    let sealed = settle(&cooling, plan.seals(), &plan, start()).unwrap();
    let begun = go(&sealed, &sealed.judge(&plan, told()), &plan, over());
    assert!(matches!(begun.state, State::Erasing(_)));

    let mut mixed = told();
    mixed.push(blocker());
    assert_eq!(sealed.judge(&plan, mixed), Event::Blocked(vec![blocker()]));
    let dressed_up = Event::Blocked(told());
    assert!(verified(&plan).step(&dressed_up, &plan, start()).is_err());
    assert!(sealed.step(&dressed_up, &plan, over()).is_err());
}

#[test]
fn what_is_forfeitable_stops_until_the_person_has_agreed_to_lose_that() {
    let plan = cn();
    let points = || vec![Blocker::named("POINTS_LEFT", &who("store"), &Policy::cn())];
    let mut request = request(1, "alice", Channel::Phone);
    let careless = Deletion::open(request.clone(), &plan, start()).unwrap();
    assert_eq!(careless.judge(&plan, points()), Event::Blocked(points()));
    request.consents.push(Consent {
        text: "forfeit-points-left".to_owned(),
        version: 1,
        at: start(),
    });
    let agreed = Deletion::open(request, &plan, start()).unwrap();
    assert_eq!(agreed.judge(&plan, points()), Event::Eligible);
    let coupons = vec![Blocker::named("COUPONS_LEFT", &who("store"), &Policy::cn())];
    assert_eq!(
        agreed.judge(&plan, [points(), coupons.clone()].concat()),
        Event::Blocked(coupons),
        "one consent gives up one thing"
    );
}

#[test]
fn what_is_hard_or_silent_stops_whatever_was_agreed_to() {
    let plan = cn();
    let deletion = verified(&plan);
    let silent = Blocker::unreachable(&who("phones"), &Policy::cn());
    assert!(silent.is_silence());
    for blocker in [
        Blocker::named("LEGAL_HOLD", &who("identity"), &Policy::cn()),
        silent,
    ] {
        let event = deletion.judge(&plan, vec![blocker.clone()]);
        assert_eq!(event, Event::Blocked(vec![blocker]));
    }
}

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

#[test]
fn a_revoke_before_the_point_of_no_return_unseals_everyone_and_closes_when_they_have() {
    let plan = cn();
    let early = go(&verified(&plan), &Event::Revoke, &plan, start());
    assert_eq!(
        early.state,
        State::Revoked {
            at: start(),
            sealed: false
        }
    );
    assert_eq!(early.closed_at, Some(start()));
    let revoked = go(&cooling(&plan), &Event::Revoke, &plan, start());
    assert_eq!(
        (revoked.owes(&plan), revoked.closed_at),
        (plan.unseals(), None)
    );
    let closed = settle(&revoked, plan.unseals(), &plan, over()).unwrap();
    assert_eq!(
        (closed.state, closed.closed_at),
        (revoked.state, Some(over()))
    );
    // The person is still to be told.
    let told = Event::Told(crate::notice::due(&closed, &plan, over()));
    assert_eq!(go(&closed, &told, &plan, over()).attention_at, None);
}

#[test]
fn a_seal_is_lifted_after_a_denial() {
    let plan = cn();
    let denied = go(
        &sealed(&plan),
        &Event::Deny(Denial::Unfounded),
        &plan,
        start(),
    );
    assert_eq!(denied.owes(&plan), plan.unseals());
    assert_eq!(
        duty::next(&denied, &plan, start()),
        Duty::Send(plan.unseals())
    );
    assert!(denied.closed_at.is_none() && denied.attention_at.is_some());
}

#[test]
fn a_cancel_that_lost_the_race_is_told_who_won_and_when() {
    let plan = cn();
    for deletion in [erasing(&plan), verifying(&plan), purged(&plan)] {
        let refusal = refused(&deletion, &Event::Revoke, &plan, over() + DAY);
        assert_eq!(refusal, Refusal::since(Reason::PastNoReturn, over()));
        assert_eq!(
            refused(
                &deletion,
                &Event::Deny(Denial::Unfounded),
                &plan,
                over() + DAY
            ),
            refusal
        );
    }
    let revoked = go(&sealed(&plan), &Event::Revoke, &plan, over());
    let refusal = refused(&revoked, &Event::Eligible, &plan, over() + DAY);
    assert_eq!(refusal, Refusal::since(Reason::AlreadyEnded, over()));
}

#[test]
fn ended_states_never_change_again() {
    let plan = cn();
    let leg = LegIndex::new(0).unwrap();
    let mut events = vec![
        Event::Eligible,
        Event::Revoke,
        Event::Deny(Denial::Unfounded),
        Event::Expire,
    ];
    events.extend([
        Event::Contradicted,
        Event::Resolved,
        Event::Hold,
        Event::Release,
    ]);
    events.extend([
        Event::FactorVerified(Factor::SmsCode),
        Event::Blocked(vec![blocker()]),
    ]);
    events.extend([
        Event::LegRefused(leg),
        Event::Residue(leg),
        Event::Retry(leg),
        Event::Recounted,
    ]);
    events.extend([Mask::EMPTY, plan.seals(), plan.required(), plan.unseals()].map(Event::Settled));
    for deletion in every_state(&plan)
        .into_iter()
        .filter(|deletion| deletion.state.terminal())
    {
        for event in &events {
            if let Ok(next) = deletion.step(event, &plan, over() + DAY) {
                assert_eq!(next.state, deletion.state, "{event:?}");
                assert_eq!((next.need, next.round), (deletion.need, deletion.round));
            }
        }
    }
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
fn a_refused_unseal_waits_for_a_person() {
    let plan = cn();
    let unseal = leg(&plan, Verb::Unseal, "store");
    let revoked = go(&sealed(&plan), &Event::Revoke, &plan, start());
    let refused = go(&revoked, &Event::LegRefused(unseal), &plan, start());
    let alone = settle(&refused, plan.unseals() & !Mask::of(unseal), &plan, start()).unwrap();
    assert_eq!(duty::next(&alone, &plan, start()), Duty::NeedsPerson);
    assert_eq!(alone.closed_at, None);
    let again = go(&alone, &Event::Retry(unseal), &plan, start());
    assert_eq!(
        duty::next(&again, &plan, start()),
        Duty::Send(Mask::of(unseal))
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
