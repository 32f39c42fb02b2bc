use super::*;
use crate::deletion::Event;
use crate::fixture::*;
use crate::policy::{Channel, Factor, Policy};
use crate::rare::Why;

fn words(deletion: &Deletion, plan: &Plan, now: Time) -> Vec<String> {
    let due = due(deletion, plan, now);
    due.iter().map(|it| name(deletion, it)).collect()
}

fn tell(deletion: &Deletion, plan: &Plan, now: Time) -> Deletion {
    let due = due(deletion, plan, now);
    deletion.step(&Event::Told(due), plan, now).unwrap()
}

fn shipped(name: &str) -> Plan {
    Plan::new(1, Policy::shipped(name).unwrap()).unwrap()
}

#[test]
fn every_notice_has_its_own_name_and_its_own_place() {
    let names: std::collections::HashSet<_> = Notice::all().map(Notice::name).collect();
    assert_eq!(names.len(), Notice::all().count());
    for notice in Notice::all() {
        let alone: Notices = [notice].into_iter().collect();
        assert_eq!(alone.iter().collect::<Vec<_>>(), [notice]);
        assert!(alone.without(notice).is_empty());
    }
}

#[test]
fn nobody_is_told_of_a_request_that_nobody_verified() {
    let plan = cn();
    assert_eq!(words(&opened(&plan), &plan, start()), [""; 0]);
    let revoked = opened(&plan).step(&Event::Revoke, &plan, start()).unwrap();
    assert_eq!(words(&revoked, &plan, start()), [""; 0]);
    assert_eq!(words(&verified(&plan), &plan, start()), [""; 0]);
}

#[test]
fn each_is_told_once_and_a_reminder_at_its_time() {
    let plan = cn();
    let sealed = sealed(&plan);
    assert_eq!(sealed.attention_at, Some(start()), "the first is untold");
    assert_eq!(words(&sealed, &plan, start()), ["sealed"]);
    let told = tell(&sealed, &plan, start());
    assert_eq!(words(&told, &plan, start()), [""; 0]);
    let reminded_at = over().before(DAY);
    assert_eq!(told.attention_at, Some(reminded_at));
    assert_eq!(words(&told, &plan, reminded_at), ["reminder-0"]);
    let reminded = tell(&told, &plan, reminded_at);
    assert_eq!(reminded.attention_at, Some(over()));
    assert_eq!(words(&reminded, &plan, over()), [""; 0]);
    let erasing = reminded.step(&Event::Eligible, &plan, over()).unwrap();
    assert_eq!(words(&erasing, &plan, over()), ["erasing"]);
    assert_eq!(
        words(&tell(&erasing, &plan, over()), &plan, over()),
        [""; 0]
    );
    assert_eq!(words(&purged(&plan), &plan, over()), [""; 0]);
}

#[test]
fn what_is_in_the_way_at_the_end_of_the_wait_is_told_and_silence_is_not() {
    let plan = cn();
    let sealed = tell(&sealed(&plan), &plan, start());
    let blocked = sealed
        .step(&Event::Blocked(vec![blocker()]), &plan, over())
        .unwrap();
    assert_eq!(words(&blocked, &plan, over()), ["blocked"]);
    let next = blocked.attention_at;
    let told = tell(&blocked, &plan, over());
    assert_eq!(
        (told.attention_at, words(&told, &plan, over()).len()),
        (next, 0)
    );
    let silent = crate::deletion::Blocker::unreachable(&who("cloud"), plan.policy());
    let silent = sealed
        .step(&Event::Blocked(vec![silent]), &plan, over())
        .unwrap();
    assert_eq!(words(&silent, &plan, over()), [""; 0]);
}

#[test]
fn what_comes_in_the_way_of_what_was_waited_for_is_told_as_well_and_each_once() {
    let plan = cn();
    let named = |code: &str| crate::deletion::Blocker::named(code, &who("store"), plan.policy());
    let (order, dispute) = (named("UNFINISHED_ORDER"), named("OPEN_DISPUTE"));
    let silent = crate::deletion::Blocker::unreachable(&who("cloud"), plan.policy());
    for (begun, at, kind) in [
        (tell(&sealed(&plan), &plan, start()), over(), "blocked"),
        (verified(&plan), start(), "waiting"),
    ] {
        let mut deletion = begun;
        let mut then = |blockers: &[&crate::deletion::Blocker]| {
            let blockers = blockers.iter().map(|it| (*it).clone()).collect();
            let blocked = deletion.step(&Event::Blocked(blockers), &plan, at).unwrap();
            let words = words(&blocked, &plan, at);
            deletion = if words.is_empty() {
                blocked
            } else {
                tell(&blocked, &plan, at)
            };
            words
        };
        assert_eq!(then(&[&order]), [kind]);
        assert_eq!(
            then(&[&order, &silent]),
            [""; 0],
            "nothing that they could do"
        );
        // The same name until it is known to be told: what breaks off in between is told once.
        assert_eq!(then(&[&dispute]), [format!("{kind}-1")]);
        assert_eq!(then(&[&order, &dispute]), [""; 0], "they know of both");
    }
}

#[test]
fn no_end_of_things_in_the_way_is_no_end_of_letters() {
    let plan = cn();
    let mut deletion = tell(&sealed(&plan), &plan, start());
    let mut letters = 0;
    for number in 0..IN_THE_WAY_MAX * 2 {
        let code = format!("ANOTHER_{number}");
        let blocker = crate::deletion::Blocker::named(&code, &who("store"), plan.policy());
        deletion = deletion
            .step(&Event::Blocked(vec![blocker]), &plan, over())
            .unwrap();
        if !due(&deletion, &plan, over()).is_empty() {
            deletion = tell(&deletion, &plan, over());
            letters += 1;
        }
    }
    assert_eq!(letters, IN_THE_WAY_MAX);
}

#[test]
fn somebody_looks_after_what_has_ended_until_the_person_knows() {
    let plan = cn();
    let early = verified(&plan)
        .step(&Event::Revoke, &plan, start())
        .unwrap();
    assert_eq!(
        (early.closed_at, early.attention_at),
        (Some(start()), Some(start()))
    );
    assert_eq!(words(&early, &plan, start()), ["revoked"]);
    assert_eq!(tell(&early, &plan, start()).attention_at, None);

    let revoked = sealed(&plan).step(&Event::Revoke, &plan, start()).unwrap();
    let told = tell(&revoked, &plan, start());
    assert!(told.attention_at.is_some(), "seals are to be lifted");
    let closed = settle(&told, plan.unseals(), &plan, start()).unwrap();
    assert_eq!(
        (closed.attention_at, closed.closed_at),
        (None, Some(start()))
    );
    let closed = settle(&revoked, plan.unseals(), &plan, start()).unwrap();
    assert_eq!(closed.attention_at, Some(start()));
    assert_eq!(tell(&closed, &plan, start()).attention_at, None);
}

#[test]
fn a_policy_without_notices_or_without_identity_tells_nobody_and_waits_for_nothing() {
    let silent = Policy {
        notices: crate::policy::Notices::default(),
        ..Policy::cn()
    };
    let mut alone = Policy::cn();
    alone.stages.retain(|stage| stage.name != "IDENTITY");
    for policy in [silent, alone] {
        let plan = Plan::new(1, policy).unwrap();
        let sealed = sealed(&plan);
        assert_eq!(sealed.attention_at, Some(over()));
        assert_eq!(words(&sealed, &plan, start()), [""; 0]);
        let revoked = verified(&plan)
            .step(&Event::Revoke, &plan, start())
            .unwrap();
        assert_eq!(revoked.attention_at, None);
    }
}

#[test]
fn a_deadline_is_extended_once_in_time_and_where_law_allows_it() {
    let eu = shipped("eu");
    let taken = opened(&eu);
    let extended = Event::Extended(Why::Complexity);
    let later = taken.step(&extended, &eu, start()).unwrap();
    let due = eu
        .policy()
        .due_within("3 months ending on a working day".parse().unwrap(), start());
    assert_eq!(later.deadline, due.at);
    assert_eq!(
        later.rare.extended.map(|it| it.before),
        Some(taken.deadline)
    );
    assert_eq!(words(&later, &eu, start()), ["extended"]);
    assert!(!later.due_again(&eu), "a calendar doesn't take it back");
    let refused = |deletion: &Deletion, plan: &Plan, now| {
        let refusal = deletion.step(&extended, plan, now).unwrap_err();
        refusal.reason.word()
    };
    assert_eq!(refused(&later, &eu, start()), "DEADLINE_ALREADY_EXTENDED");
    assert_eq!(refused(&taken, &eu, taken.deadline), "DEADLINE_PASSED");
    assert_eq!(
        refused(&opened(&cn()), &cn(), start()),
        "DEADLINE_NOT_EXTENDABLE"
    );
    assert_eq!(refused(&purged(&eu), &eu, over()), "ALREADY_ENDED");
}

#[test]
fn operators_are_warned_once_and_why_it_is_late_is_on_record_before_anybody_is_told() {
    let plan = cn();
    let erasing = tell(&erasing(&plan), &plan, over());
    let soon = erasing.deadline.before(plan.policy().deadline_warning);
    assert_eq!(words(&erasing, &plan, soon), ["overdue-soon"]);
    let warned = tell(&erasing, &plan, soon);
    let late = warned.deadline;
    assert!(overdue_unexplained(&warned, late) && !overdue_unexplained(&warned, soon));
    assert_eq!(words(&warned, &plan, late), [""; 0]);
    let reasons = vec!["LEG_OWED:cloud".to_owned(), "LEG_OWED:cloud".to_owned()];
    let overdue = warned
        .step(&Event::Overdue(reasons.clone()), &plan, late)
        .unwrap();
    assert_eq!(
        overdue.rare.overdue.as_ref().unwrap().reasons,
        ["LEG_OWED:cloud"]
    );
    assert_eq!(words(&overdue, &plan, late), ["overdue"]);
    assert!(overdue.step(&Event::Overdue(reasons), &plan, late).is_err());
}

#[test]
fn a_changed_contact_asks_for_another_factor_and_for_a_longer_wait() {
    let plan = cn();
    let changed = || {
        crate::deletion::Blocker::named("RECENT_CONTACT_CHANGE", &who("identity"), plan.policy())
    };
    let verified = verified(&plan);
    assert_eq!(verified.judge(&plan, vec![changed()]), Event::Raised);
    let raised = verified.step(&Event::Raised, &plan, start()).unwrap();
    assert!(!raised.verified() && raised.factors_required.has(Factor::Password));
    assert_eq!(words(&raised, &plan, start()), ["waiting"]);
    assert!(raised.step(&Event::Raised, &plan, start()).is_err());
    let shown = Event::FactorVerified(Factor::Password);
    let shown = raised.step(&shown, &plan, start()).unwrap();
    // It raises once, and stops nothing.
    assert_eq!(shown.judge(&plan, vec![changed()]), Event::Eligible);
    let cooling = shown.step(&Event::Eligible, &plan, start()).unwrap();
    assert_eq!(
        cooling.state,
        State::CoolingOff {
            ends_at: start() + 10 * DAY
        }
    );
    assert_eq!(cooling.phase_start(&plan), start());
    // Whoever waits for longer is reminded of that wait: eight days before its end nobody else waits yet.
    let mut early = Policy::cn();
    early.notices.reminders.push(8 * DAY);
    let early = Plan::new(1, early).unwrap();
    let at = start() + 2 * DAY;
    let told = tell(&cooling, &early, start());
    assert_eq!(attention(&told, &early, start() + 10 * DAY), at);
    assert_eq!(words(&told, &early, at), ["reminder-1"]);
    assert_eq!(
        words(&tell(&sealed(&early), &early, start()), &early, at),
        [""; 0]
    );

    let without = Policy {
        recent_contact: None,
        ..Policy::cn()
    };
    let without = Plan::new(1, without).unwrap();
    let stops = crate::deletion::Blocker::named(
        "RECENT_CONTACT_CHANGE",
        &who("identity"),
        without.policy(),
    );
    assert!(matches!(
        verified.judge(&without, vec![stops]),
        Event::Blocked(_)
    ));
}

#[test]
fn who_only_has_to_wait_is_given_the_time() {
    let plan = cn();
    let end = start() + 7 * DAY;
    let mut changed =
        crate::deletion::Blocker::named("RECENT_PASSWORD_CHANGE", &who("identity"), plan.policy());
    changed.until = Some(end);
    let expires = |blockers: Vec<crate::deletion::Blocker>| {
        let blocked = verified(&plan)
            .step(&Event::Blocked(blockers), &plan, start())
            .unwrap();
        match blocked.state {
            State::AwaitingVerification { expires_at } => expires_at,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(
        expires(vec![changed.clone()]),
        end + plan.policy().verification
    );
    // What doesn't end by itself gives no more time, and nothing lives beyond the deadline.
    let first = start() + plan.policy().verification;
    assert_eq!(expires(vec![changed.clone(), blocker()]), first);
    changed.until = Some(Time::from_micros(i64::MAX));
    assert_eq!(expires(vec![changed]), opened(&plan).deadline);
}

#[test]
fn identity_forgets_every_address_only_once_the_last_word_is_told() {
    let plan = cn();
    let waits = |deletion: &Deletion| -> Vec<_> {
        let legs = plan
            .legs()
            .filter(|(leg, _)| holds_back(deletion, &plan, *leg));
        legs.map(|(_, leg)| (leg.participant.to_string(), leg.verb))
            .collect()
    };
    let erasing = erasing(&plan);
    assert_eq!(waits(&erasing), [("identity".to_owned(), Verb::Erase)]);
    let told = Event::Told([Notice::Erasing].into_iter().collect());
    assert_eq!(waits(&erasing.step(&told, &plan, over()).unwrap()), []);
    for other in [cooling(&plan), verifying(&plan), purged(&plan)] {
        assert_eq!(waits(&other), []);
    }
    let silent = Plan::new(
        1,
        Policy {
            notices: crate::policy::Notices::default(),
            ..Policy::cn()
        },
    )
    .unwrap();
    let mut legs = silent.legs();
    assert!(!legs.any(|(leg, _)| holds_back(&erasing, &silent, leg)));
}

#[test]
fn a_denial_is_told_where_somebody_showed_something_or_came_to_the_desk() {
    let plan = cn();
    let deny = Event::Deny(crate::rare::Denial::NotTheOwner);
    let open = |channel| Deletion::open(request(1, "alice", channel), &plan, start()).unwrap();
    for (deletion, told) in [
        (open(Channel::Web), false),
        (open(Channel::Support), true),
        (open(Channel::Legacy), true),
        (verified(&plan), true),
    ] {
        let denied = deletion.step(&deny, &plan, start()).unwrap();
        assert_eq!(due(&denied, &plan, start()).has(Notice::Denied), told);
    }
}
