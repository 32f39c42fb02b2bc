//! What others are told of: once of each seal and each end, and by each receiver until it says that it has it.

use std::collections::HashMap;
use std::time::Duration;

use farewell_core::{Event, Slot, State};
use farewell_ledger::{Announcement, Heard, Turn, Turned};

use crate::bed::Bed;
use crate::given::{
    account, coordinator, erased, erasing, event, now, of, purge, sealed, settle_one, settlement,
    stored, turn_one,
};

crate::on_every_ledger! {
    a_seal_and_an_end_are_told_once_each
    a_seal_by_a_turn_is_told_once
    what_happens_in_one_instant_is_told_in_its_order
    what_happens_meanwhile_is_not_forgotten_with_what_was_told
    each_receiver_hears_for_itself_and_what_it_refuses_is_kept
    events_are_read_oldest_first_by_slots_and_in_pages
}

fn everywhere() -> Vec<Slot> {
    Slot::all().collect()
}

fn has(deletion: &farewell_core::Deletion, kind: i16, refused: Option<&str>) -> Heard {
    Heard {
        deletion: deletion.id,
        kind,
        refused: refused.map(str::to_owned),
    }
}

async fn a_seal_and_an_end_are_told_once_each(bed: &Bed) {
    let plan = sealed();
    let fence = coordinator(&*bed.ledger).await;
    let first = account("alice", &plan);
    bed.ledger.open(vec![first.clone()]).await.unwrap();
    let sealing = Announcement {
        deletion: first.id,
        state: 2,
        at: first.requested_at,
    };
    let told = bed.ledger.outbox(&everywhere(), 10).await.unwrap();
    assert_eq!(told, [sealing]);
    assert_eq!(bed.ledger.outbox(&[], 10).await.unwrap(), []);
    bed.ledger.announced(&fence, &told, &[]).await.unwrap();
    assert_eq!(bed.ledger.outbox(&everywhere(), 10).await.unwrap(), []);

    let Turned::Done(revoked) = turn_one(&*bed.ledger, event(&first, &Event::Revoke, &plan)).await
    else {
        panic!("lost");
    };
    let ending = Announcement {
        deletion: first.id,
        state: 6,
        at: now(),
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
    bed.ledger.open(vec![first.clone()]).await.unwrap();
    let told = bed.ledger.outbox(&everywhere(), 10).await.unwrap();
    bed.ledger.announced(&fence, &told, &[]).await.unwrap();
    let State::CoolingOff { .. } = first.state else {
        panic!("{:?}", first.state);
    };
    let mut deletion = first;
    for _ in 0..2 {
        let turn = Turn {
            sealed_at: Some(now()),
            ..event(&deletion, &Event::Contradicted, &plan)
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
        bed.ledger.open(vec![opened.clone()]).await.unwrap();
        turn_one(&*bed.ledger, event(&opened, &Event::Revoke, &plan)).await;
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
    bed.ledger.open(vec![first.clone()]).await.unwrap();
    let read = bed.ledger.outbox(&everywhere(), 10).await.unwrap();
    turn_one(&*bed.ledger, event(&first, &Event::Revoke, &plan)).await;
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
    let told = bed.ledger.outbox(&everywhere(), 10).await.unwrap();
    assert_eq!(told.len(), 2);
    let events: Vec<_> = ["ads", "mail"]
        .into_iter()
        .flat_map(|receiver| told.iter().map(move |told| of(told, receiver)))
        .collect();
    bed.ledger.announced(&fence, &told, &events).await.unwrap();
    // The answer was lost, and it is said again.
    bed.ledger.announced(&fence, &told, &events).await.unwrap();
    assert_eq!(bed.ledger.events("ads", None, 10).await.unwrap().len(), 2);
    assert_eq!(bed.ledger.events("none", None, 10).await.unwrap(), []);

    let has_alice = has(&alice, 5, None);
    for _ in 0..2 {
        bed.ledger
            .heard("ads", std::slice::from_ref(&has_alice))
            .await
            .unwrap();
    }
    let wont = has(&bob, 5, Some("invalid_audience"));
    bed.ledger.heard("ads", &[wont, has_alice]).await.unwrap();
    assert_eq!(bed.ledger.events("ads", None, 10).await.unwrap(), []);
    assert_eq!(bed.ledger.events("mail", None, 10).await.unwrap().len(), 2);

    let receivers = bed.ledger.overview(Duration::ZERO).await.unwrap().receivers;
    let seen: Vec<_> = receivers
        .iter()
        .map(|it| (it.receiver.as_str(), it.waiting, it.refused))
        .collect();
    assert_eq!(seen, [("ads", 0, 1), ("mail", 2, 0)]);
    assert_eq!(receivers[0].oldest, None);
    assert_eq!(receivers[1].oldest, Some(told[0].at));
}

async fn events_are_read_oldest_first_by_slots_and_in_pages(bed: &Bed) {
    let fence = coordinator(&*bed.ledger).await;
    let alice = erasing(&*bed.ledger, "alice").await;
    let bob = erasing(&*bed.ledger, "bob").await;
    let late =
        |minutes: i64| farewell_core::Time::from_micros(now().micros() + minutes * 60_000_000);
    let event = |deletion: &farewell_core::Deletion, kind, at| farewell_ledger::Event {
        receiver: "ads".to_owned(),
        deletion: deletion.id,
        kind,
        at,
    };
    let events = [
        event(&alice, 5, late(3)),
        event(&bob, 2, late(1)),
        event(&alice, 2, late(2)),
    ];
    bed.ledger.announced(&fence, &[], &events).await.unwrap();
    let read = bed.ledger.events("ads", None, 10).await.unwrap();
    let order: Vec<_> = read
        .iter()
        .map(|event| (event.deletion, event.kind))
        .collect();
    assert_eq!(order, [(bob.id, 2), (alice.id, 2), (alice.id, 5)]);
    assert_eq!(bed.ledger.events("ads", None, 1).await.unwrap(), read[..1]);
    let of_alice = bed
        .ledger
        .events("ads", Some(&[alice.id.slot()]), 10)
        .await
        .unwrap();
    assert!(
        of_alice
            .iter()
            .all(|event| event.deletion.slot() == alice.id.slot())
    );
    assert!(of_alice.len() >= 2);
    assert_eq!(bed.ledger.events("ads", Some(&[]), 10).await.unwrap(), []);
}
