//! What ended changes never again, and what was sealed is unsealed.

use super::*;

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
