//! What others are told of: once of each seal and each end, and by each receiver until it says that it has it.

use std::collections::HashMap;
use std::time::Duration;

use farewell_core::account::Account;
use farewell_core::{Event as Happening, Slot, State, Time};
use farewell_ledger::{Announcement, Answer, Event, Fence, Heard, Turn, Turned};

use crate::bed::Bed;
use crate::given::{
    account, asked, coordinator, erased, erasing, event, now, of, purge, sealed, settle_one,
    settlement, stored, turn_one,
};

crate::on_every_ledger! {
    a_seal_and_an_end_are_told_once_each
    a_seal_by_a_turn_is_told_once
    what_happens_in_one_instant_is_told_in_its_order
    what_happens_meanwhile_is_not_forgotten_with_what_was_told
    each_receiver_hears_for_itself_and_what_it_refuses_is_kept
    events_are_read_oldest_first_by_the_accounts_slot_and_in_pages
    two_deletions_of_an_account_are_told_in_order_by_its_slot_whatever_clocks_say
    what_was_announced_before_and_heard_is_not_told_again
    one_that_is_put_off_holds_up_its_account_and_nobody_else
    what_is_refused_is_shown_told_again_if_somebody_says_so_and_forgotten
}

/// Every state that is told of, as what others are told.
const KINDS: [i16; 3] = [2, 5, 6];

fn everywhere() -> Vec<Slot> {
    Slot::all().collect()
}

fn has(deletion: &farewell_core::Deletion, kind: i16, refused: Option<&str>) -> Heard {
    Heard {
        deletion: deletion.id,
        kind,
        answer: refused.map_or(Answer::Taken, |word| Answer::Refused(word.to_owned())),
    }
}

async fn a_seal_and_an_end_are_told_once_each(bed: &Bed) {
    let plan = sealed();
    let fence = coordinator(&*bed.ledger).await;
    let first = account("alice", &plan);
    bed.ledger.open(asked(vec![first.clone()])).await.unwrap();
    let sealing = Announcement {
        deletion: first.id,
        state: 2,
        at: first.requested_at,
        seq: 1,
    };
    let told = bed.ledger.outbox(&everywhere(), 10).await.unwrap();
    assert_eq!(told, [sealing]);
    assert_eq!(bed.ledger.outbox(&[], 10).await.unwrap(), []);
    bed.ledger.announced(&fence, &told, &[]).await.unwrap();
    assert_eq!(bed.ledger.outbox(&everywhere(), 10).await.unwrap(), []);

    let Turned::Done(revoked) =
        turn_one(&*bed.ledger, event(&first, &Happening::Revoke, &plan)).await
    else {
        panic!("lost");
    };
    let ending = Announcement {
        deletion: first.id,
        state: 6,
        at: now(),
        seq: 2,
    };
    let told = bed.ledger.outbox(&everywhere(), 10).await.unwrap();
    assert_eq!(told, [ending]);
    bed.ledger.announced(&fence, &told, &[]).await.unwrap();

    // The unseals close it, and it has ended before.
    let receipts = plan.unseals().iter().map(|leg| erased(leg.place(), 0));
    let closing = settlement(&revoked, receipts.collect(), &plan);
    assert!(settle_one(&*bed.ledger, &fence, closing).await.advanced);
    assert!(stored(&*bed.ledger, first.id).await.closed_at.is_some());
    assert_eq!(bed.ledger.outbox(&everywhere(), 10).await.unwrap(), []);
}

async fn a_seal_by_a_turn_is_told_once(bed: &Bed) {
    let plan = sealed();
    let fence = coordinator(&*bed.ledger).await;
    let first = account("alice", &plan);
    bed.ledger.open(asked(vec![first.clone()])).await.unwrap();
    let told = bed.ledger.outbox(&everywhere(), 10).await.unwrap();
    bed.ledger.announced(&fence, &told, &[]).await.unwrap();
    let State::CoolingOff { .. } = first.state else {
        panic!("{:?}", first.state);
    };
    let mut deletion = first;
    for _ in 0..2 {
        let turn = Turn {
            sealed_at: Some(now()),
            ..event(&deletion, &Happening::Contradicted, &plan)
        };
        let Turned::Done(after) = turn_one(&*bed.ledger, turn).await else {
            panic!("lost");
        };
        deletion = after;
    }
    let told = bed.ledger.outbox(&everywhere(), 10).await.unwrap();
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].state, told[0].at), (2, now()));
}

async fn what_happens_in_one_instant_is_told_in_its_order(bed: &Bed) {
    let plan = sealed();
    for number in 0..20 {
        let opened = account(&format!("alice-{number}"), &plan);
        assert_eq!(opened.requested_at, now());
        bed.ledger.open(asked(vec![opened.clone()])).await.unwrap();
        turn_one(&*bed.ledger, event(&opened, &Happening::Revoke, &plan)).await;
    }
    // A page and not all of them: a database sorts what it cuts off in another way.
    let told = bed.ledger.outbox(&everywhere(), 15).await.unwrap();
    let mut states = HashMap::<_, Vec<i16>>::new();
    for told in &told {
        states.entry(told.deletion).or_default().push(told.state);
    }
    assert_eq!(told.len(), 15);
    assert!(
        states.values().all(|states| [2, 6].starts_with(states)),
        "{told:?}"
    );
}

async fn what_happens_meanwhile_is_not_forgotten_with_what_was_told(bed: &Bed) {
    let plan = sealed();
    let fence = coordinator(&*bed.ledger).await;
    let first = account("alice", &plan);
    bed.ledger.open(asked(vec![first.clone()])).await.unwrap();
    let read = bed.ledger.outbox(&everywhere(), 10).await.unwrap();
    turn_one(&*bed.ledger, event(&first, &Happening::Revoke, &plan)).await;
    bed.ledger.announced(&fence, &read, &[]).await.unwrap();
    let left = bed.ledger.outbox(&everywhere(), 10).await.unwrap();
    assert_eq!(left.iter().map(|told| told.state).collect::<Vec<_>>(), [6]);
}

async fn each_receiver_hears_for_itself_and_what_it_refuses_is_kept(bed: &Bed) {
    let fence = coordinator(&*bed.ledger).await;
    let alice = erasing(&*bed.ledger, "alice").await;
    let bob = erasing(&*bed.ledger, "bob").await;
    purge(&*bed.ledger, &fence, &alice).await;
    purge(&*bed.ledger, &fence, &bob).await;
    let told = announce(bed, &fence, &["ads", "mail"]).await;
    assert_eq!(told.len(), 2);
    assert_eq!(waiting(bed, "ads").await.len(), 2);
    assert_eq!(waiting(bed, "none").await, []);

    let has_alice = has(&alice, 5, None);
    for _ in 0..2 {
        bed.ledger
            .heard("ads", std::slice::from_ref(&has_alice))
            .await
            .unwrap();
    }
    let wont = has(&bob, 5, Some("invalid_audience"));
    bed.ledger.heard("ads", &[wont, has_alice]).await.unwrap();
    assert_eq!(waiting(bed, "ads").await, []);
    assert_eq!(waiting(bed, "mail").await.len(), 2);

    let receivers = bed
        .ledger
        .overview(Duration::ZERO, Duration::ZERO)
        .await
        .unwrap()
        .receivers;
    let seen: Vec<_> = receivers
        .iter()
        .map(|it| (it.receiver.as_str(), it.waiting, it.refused))
        .collect();
    assert_eq!(seen, [("ads", 0, 1), ("mail", 2, 0)]);
    assert_eq!(receivers[0].oldest, None);
    assert_eq!(receivers[1].oldest, Some(told[0].at));
}

/// Announces everything that there is, to these receivers.
async fn announce(bed: &Bed, fence: &Fence, receivers: &[&str]) -> Vec<Announcement> {
    let told = bed.ledger.outbox(&everywhere(), 100).await.unwrap();
    let mut events = Vec::new();
    for told in &told {
        let account = stored(&*bed.ledger, told.deletion).await.account;
        events.extend(receivers.iter().map(|name| of(told, &account, name)));
    }
    bed.ledger.announced(fence, &told, &events).await.unwrap();
    told
}

async fn waiting(bed: &Bed, receiver: &str) -> Vec<Event> {
    let events = bed.ledger.events(receiver, None, &KINDS, 10).await;
    events.unwrap()
}

async fn events_are_read_oldest_first_by_the_accounts_slot_and_in_pages(bed: &Bed) {
    let fence = coordinator(&*bed.ledger).await;
    let mut all = Vec::new();
    for name in ["alice", "bob", "carol"] {
        let deletion = erasing(&*bed.ledger, name).await;
        all.push(purge(&*bed.ledger, &fence, &deletion).await);
    }
    announce(bed, &fence, &["ads"]).await;
    let read = waiting(bed, "ads").await;
    let order: Vec<_> = read.iter().map(|event| event.deletion).collect();
    assert_eq!(order, all.iter().map(|it| it.id).collect::<Vec<_>>());
    let page = bed.ledger.events("ads", None, &KINDS, 2).await.unwrap();
    assert_eq!(page, read[..2]);
    for (deletion, event) in all.iter().zip(&read) {
        let slot = Account::slot(&deletion.account);
        let there = bed.ledger.events("ads", Some(&[slot]), &KINDS, 10).await;
        assert!(there.unwrap().contains(event));
        let elsewhere: Vec<Slot> = Slot::all().filter(|it| *it != slot).collect();
        let there = bed.ledger.events("ads", Some(&elsewhere), &KINDS, 10).await;
        assert!(!there.unwrap().contains(event));
    }
    // What this program doesn't know takes no place from what it does.
    assert_eq!(bed.ledger.events("ads", None, &[4], 10).await.unwrap(), []);
    assert_eq!(
        bed.ledger
            .events("ads", Some(&[]), &KINDS, 10)
            .await
            .unwrap(),
        []
    );
}

async fn two_deletions_of_an_account_are_told_in_order_by_its_slot_whatever_clocks_say(bed: &Bed) {
    let plan = sealed();
    let fence = coordinator(&*bed.ledger).await;
    let first = account("alice", &plan);
    bed.ledger.open(asked(vec![first.clone()])).await.unwrap();
    turn_one(&*bed.ledger, event(&first, &Happening::Revoke, &plan)).await;
    // Taken by another coordinator, whose clock is behind, in another slot.
    let mut second = account("alice", &plan);
    while second.id.slot() == first.id.slot() {
        second = account("alice", &plan);
    }
    second.requested_at = Time::from_micros(now().micros() - 60_000_000);
    bed.ledger.open(asked(vec![second.clone()])).await.unwrap();

    let own = [Account::slot(&first.account)];
    let told = bed.ledger.outbox(&own, 10).await.unwrap();
    let order: Vec<_> = told.iter().map(|it| (it.deletion, it.state)).collect();
    assert_eq!(order, [(first.id, 2), (first.id, 6), (second.id, 2)]);
    let part = bed.ledger.outbox(&own, 2).await.unwrap();
    assert_eq!(part, told[..2]);

    announce(bed, &fence, &["ads"]).await;
    for (deletion, kind) in order {
        let next = waiting(bed, "ads").await;
        assert_eq!(next.len(), 1, "one of an account at a time: {next:?}");
        assert_eq!((next[0].deletion, next[0].kind), (deletion, kind));
        let has = Heard {
            deletion,
            kind,
            answer: Answer::Taken,
        };
        bed.ledger.heard("ads", &[has]).await.unwrap();
    }
    assert_eq!(waiting(bed, "ads").await, []);
}

async fn what_was_announced_before_and_heard_is_not_told_again(bed: &Bed) {
    let fence = coordinator(&*bed.ledger).await;
    let alice = erasing(&*bed.ledger, "alice").await;
    purge(&*bed.ledger, &fence, &alice).await;
    let told = announce(bed, &fence, &["ads"]).await;
    let events: Vec<_> = told
        .iter()
        .map(|it| of(it, &alice.account, "ads"))
        .collect();
    bed.ledger
        .heard("ads", &[has(&alice, 5, None)])
        .await
        .unwrap();
    // Somebody else read the outbox at the same time, and is late.
    bed.ledger.announced(&fence, &told, &events).await.unwrap();
    assert_eq!(waiting(bed, "ads").await, []);
}

async fn one_that_is_put_off_holds_up_its_account_and_nobody_else(bed: &Bed) {
    let fence = coordinator(&*bed.ledger).await;
    let plan = sealed();
    let alice = account("alice", &plan);
    bed.ledger.open(asked(vec![alice.clone()])).await.unwrap();
    turn_one(&*bed.ledger, event(&alice, &Happening::Revoke, &plan)).await;
    let bob = erasing(&*bed.ledger, "bob").await;
    purge(&*bed.ledger, &fence, &bob).await;
    announce(bed, &fence, &["ads"]).await;
    let real = bed.ledger.now().await.unwrap();
    let later = |at| Heard {
        deletion: alice.id,
        kind: 2,
        answer: Answer::Later(at),
    };
    let tomorrow = Time::from_micros(real.micros() + 86_400_000_000);
    bed.ledger.heard("ads", &[later(tomorrow)]).await.unwrap();
    let left = waiting(bed, "ads").await;
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!(left[0].deletion, bob.id);
    // It is due again.
    bed.ledger.heard("ads", &[later(real)]).await.unwrap();
    let left = waiting(bed, "ads").await;
    let order: Vec<_> = left
        .iter()
        .map(|it| (it.deletion, it.kind, it.tries))
        .collect();
    assert_eq!(order, [(bob.id, 5, 0), (alice.id, 2, 2)]);
    let receivers = bed
        .ledger
        .overview(Duration::ZERO, Duration::ZERO)
        .await
        .unwrap()
        .receivers;
    assert_eq!((receivers[0].waiting, receivers[0].refused), (3, 0));
}

async fn what_is_refused_is_shown_told_again_if_somebody_says_so_and_forgotten(bed: &Bed) {
    let fence = coordinator(&*bed.ledger).await;
    let mut all = Vec::new();
    for name in ["alice", "bob", "carol"] {
        let deletion = erasing(&*bed.ledger, name).await;
        all.push(purge(&*bed.ledger, &fence, &deletion).await);
    }
    announce(bed, &fence, &["ads", "mail"]).await;
    let refusals: Vec<_> = all
        .iter()
        .map(|it| has(it, 5, Some("invalid_request")))
        .collect();
    bed.ledger.heard("ads", &refusals).await.unwrap();
    let shown = bed.ledger.refused("ads", None, 10).await.unwrap();
    let words: Vec<_> = shown
        .iter()
        .map(|it| (it.event.deletion, it.word.as_str()))
        .collect();
    let expected: Vec<_> = all.iter().map(|it| (it.id, "invalid_request")).collect();
    assert_eq!(words, expected);
    let page = bed.ledger.refused("ads", Some(shown[0].event.seq), 1).await;
    assert_eq!(page.unwrap(), shown[1..2]);
    assert_eq!(bed.ledger.refused("mail", None, 10).await.unwrap(), []);

    let again = async |receiver, deletion: &farewell_core::Deletion| {
        bed.ledger.resend(receiver, deletion.id, 5).await.unwrap()
    };
    assert!(again("ads", &all[1]).await);
    assert!(!again("ads", &all[1]).await, "it waits already");
    assert!(!again("mail", &all[0]).await, "it was never refused");
    let next = waiting(bed, "ads").await;
    assert_eq!(
        (next.len(), next[0].deletion, next[0].tries),
        (1, all[1].id, 0)
    );

    let before = Time::from_micros(shown[0].at.micros() - 1);
    assert_eq!(bed.ledger.forget_refused(before).await.unwrap(), 0);
    let now = bed.ledger.now().await.unwrap();
    assert_eq!(bed.ledger.forget_refused(now).await.unwrap(), 2);
    assert_eq!(bed.ledger.refused("ads", None, 10).await.unwrap(), []);
    assert_eq!(waiting(bed, "ads").await.len(), 1);
    assert_eq!(waiting(bed, "mail").await.len(), 3);
}
