//! A request before anything is sealed: factors, blockers, its end.

use super::*;

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
fn what_was_proved_is_kept_for_as_long_as_only_silence_is_in_its_way() {
    let plan = cn();
    let silence = || Blocker::unreachable(&who("phones"), &Policy::cn());
    let expires = |deletion: &Deletion| match deletion.state {
        State::AwaitingVerification { expires_at } => expires_at,
        _ => panic!("{:?}", deletion.state),
    };
    let verification = plan.policy().verification;
    let mut waiting = verified(&plan);
    let mut now = start();
    while now < waiting.deadline {
        assert!(now < expires(&waiting), "lost by nobody's fault but ours");
        waiting = go(&waiting, &Event::Blocked(vec![silence()]), &plan, now);
        let wanted = (now + verification).min(waiting.deadline);
        assert_eq!(expires(&waiting), wanted);
        now = now + DAY;
    }
    assert_eq!(duty::next(&waiting, &plan, waiting.deadline), Duty::Expire);
    let late = start() + DAY;
    let both = Event::Blocked(vec![silence(), blocker()]);
    let blocked = go(&verified(&plan), &both, &plan, late);
    assert_eq!(expires(&blocked), start() + verification);
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
