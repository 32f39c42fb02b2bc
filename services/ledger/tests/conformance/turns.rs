//! Decided changes.

use std::collections::BTreeMap;

use farewell_core::custody::{Asked, Custody};
use farewell_core::decision::{Decider, Decision};
use farewell_core::deletion::Blocker;
use farewell_core::notice::Notice;
use farewell_core::overridden::Overridden;
use farewell_core::rare::{Denial, Denied, Extended, Hold, Overdue, Raised, Rare, Why};
use farewell_core::{Event, Mask, Policy, RequestId, Slot, State};
use farewell_ledger::{Error, Settlement, Turn, Turned};
use uuid::Uuid;

use crate::bed::Bed;
use crate::given::{
    LONG, account, asked, coordinator, erased, erasing, event, leg, now, purge, quick, sealed,
    settle_one, settlement, stored, turn_one,
};

crate::on_every_ledger! {
    a_turn_is_stored_with_its_history
    who_decided_a_step_and_why_is_kept_beside_it
    a_history_is_read_page_by_page
    a_revision_is_won_by_one
    of_two_turns_of_one_deletion_in_a_batch_the_first_counts
    a_turn_never_unwrites_a_receipt
    legs_to_be_done_again_are_cleared
    a_leg_that_is_done_is_not_refused
    what_is_rare_is_kept_by_turns_and_left_by_receipts
    an_unknown_deletion_is_lost
    a_batch_with_one_unsound_row_changes_nothing
}

async fn a_turn_is_stored_with_its_history(bed: &Bed) {
    let first = erasing(&*bed.ledger, "alice").await;
    let mut turn = event(&first, &Event::Contradicted, &quick());
    turn.after.held = true;
    turn.after.attention_at = Some(now());
    turn.after.blockers = vec![Blocker {
        message: "a balance".to_owned(),
        remedy: "spend it".to_owned(),
        count: 1,
        until: Some(now()),
        ..Blocker::named("POINTS_LEFT", &"store".parse().unwrap(), &Policy::cn())
    }];
    let turned = turn_one(&*bed.ledger, turn.clone()).await;
    assert_eq!(turned, Turned::Done(turn.after.clone()));
    assert_eq!(stored(&*bed.ledger, first.id).await, turn.after);
    let history = bed.ledger.history(first.id, 0, 1_000).await.unwrap();
    let steps: Vec<_> = history
        .iter()
        .map(|entry| (entry.revision, entry.state, entry.note.as_str()))
        .collect();
    assert_eq!(steps, [(1, 3, "ERASING"), (2, 3, "TEST")]);
}

async fn who_decided_a_step_and_why_is_kept_beside_it(bed: &Bed) {
    let fence = coordinator(&*bed.ledger).await;
    let first = erasing(&*bed.ledger, "alice").await;
    let held = Decision::by(Decider::Operator, "ana")
        .because(["COURT_ORDER"])
        .referring_to("LEGAL-12/2031")
        .asked_by(RequestId(Uuid::new_v4()));
    let hold = Turn {
        decision: Some(held.clone()),
        ..event(&first, &Event::Hold, &quick())
    };
    let Turned::Done(second) = turn_one(&*bed.ledger, hold.clone()).await else {
        panic!("not held");
    };
    // Who lost the race decided nothing.
    let late = Turn {
        decision: Some(Decision::by(Decider::Operator, "bo")),
        ..hold
    };
    assert_eq!(turn_one(&*bed.ledger, late).await, Turned::Lost);
    let release = event(&second, &Event::Release, &quick());
    let Turned::Done(third) = turn_one(&*bed.ledger, release).await else {
        panic!("not released");
    };
    let purged = purge(&*bed.ledger, &fence, &third).await;
    let history = bed.ledger.history(first.id, 0, 1_000).await.unwrap();
    let decisions: Vec<_> = history.into_iter().map(|entry| entry.decision).collect();
    let asked = Decision::by(Decider::Person, "app").asked_by(first.request);
    assert_eq!(decisions, [Some(asked), Some(held), None, None]);
    assert_eq!(purged.revision, 4);
}

async fn a_history_is_read_page_by_page(bed: &Bed) {
    let mut at = erasing(&*bed.ledger, "alice").await;
    erasing(&*bed.ledger, "bob").await;
    for _ in 0..4 {
        let turned = turn_one(&*bed.ledger, event(&at, &Event::Contradicted, &quick())).await;
        let Turned::Done(after) = turned else {
            panic!("{turned:?}");
        };
        at = after;
    }
    let ledger = &*bed.ledger;
    for (after, limit, expected) in [
        (0, 2, vec![1, 2]),
        (2, 2, vec![3, 4]),
        (4, 2, vec![5]),
        (5, 2, vec![]),
        (0, 0, vec![]),
    ] {
        let page = ledger.history(at.id, after, limit).await.unwrap();
        let revisions: Vec<_> = page.iter().map(|entry| entry.revision).collect();
        assert_eq!(revisions, expected, "after {after}, {limit} at most");
    }
}

async fn a_revision_is_won_by_one(bed: &Bed) {
    let plan = sealed();
    let first = account("alice", &plan);
    bed.ledger.open(asked(vec![first.clone()])).await.unwrap();
    let revoke = event(&first, &Event::Revoke, &plan);
    let deny = event(&first, &Event::Deny(Denial::Unfounded), &plan);
    let (revoked, denied) =
        tokio::join!(turn_one(&*bed.ledger, revoke), turn_one(&*bed.ledger, deny));
    let won = [&revoked, &denied]
        .into_iter()
        .filter(|turned| matches!(turned, Turned::Done(_)))
        .count();
    assert_eq!(won, 1, "{revoked:?} {denied:?}");
    assert_eq!(stored(&*bed.ledger, first.id).await.revision, 2);
    assert_eq!(
        bed.ledger.history(first.id, 0, 1_000).await.unwrap().len(),
        2
    );
}

async fn of_two_turns_of_one_deletion_in_a_batch_the_first_counts(bed: &Bed) {
    let plan = sealed();
    let first = account("alice", &plan);
    let other = account("bob", &plan);
    bed.ledger
        .open(asked(vec![first.clone(), other.clone()]))
        .await
        .unwrap();
    let batch = vec![
        event(&first, &Event::Revoke, &plan),
        event(&other, &Event::Deny(Denial::Unfounded), &plan),
        event(&first, &Event::Deny(Denial::Unfounded), &plan),
    ];
    let turned = bed.ledger.turn(None, batch).await.unwrap();
    assert!(matches!(turned[0], Turned::Done(_)));
    assert!(matches!(turned[1], Turned::Done(_)));
    assert_eq!(turned[2], Turned::Lost);
    let stored = stored(&*bed.ledger, first.id).await;
    assert!(matches!(stored.state, State::Revoked { .. }));
}

async fn a_turn_never_unwrites_a_receipt(bed: &Bed) {
    let fence = coordinator(&*bed.ledger).await;
    let first = erasing(&*bed.ledger, "alice").await;
    settle_one(
        &*bed.ledger,
        &fence,
        settlement(&first, vec![erased(0, 1)], &quick()),
    )
    .await;
    // Decided before the receipt came; a merge doesn't change the revision.
    let turned = turn_one(&*bed.ledger, event(&first, &Event::Contradicted, &quick())).await;
    let Turned::Done(after) = turned else {
        panic!("{turned:?}");
    };
    assert_eq!(after.done, Mask::of(leg(0)));
    assert_eq!(stored(&*bed.ledger, first.id).await, after);
}

async fn legs_to_be_done_again_are_cleared(bed: &Bed) {
    let fence = coordinator(&*bed.ledger).await;
    let first = erasing(&*bed.ledger, "alice").await;
    let receipts = vec![erased(0, 1), erased(1, 1)];
    settle_one(&*bed.ledger, &fence, settlement(&first, receipts, &quick())).await;
    let mut turn = event(&first, &Event::Contradicted, &quick());
    (turn.clear, turn.after.round) = (Mask::of(leg(0)), 2);
    turn_one(&*bed.ledger, turn).await;
    let after = stored(&*bed.ledger, first.id).await;
    assert_eq!((after.done, after.round), (Mask::of(leg(1)), 2));
}

async fn a_leg_that_is_done_is_not_refused(bed: &Bed) {
    let fence = coordinator(&*bed.ledger).await;
    let first = erasing(&*bed.ledger, "alice").await;
    let refusal = event(&first, &Event::LegRefused(leg(0)), &quick());
    let Turned::Done(refused) = turn_one(&*bed.ledger, refusal).await else {
        panic!("lost");
    };
    assert_eq!(refused.refused, Mask::of(leg(0)));
    settle_one(
        &*bed.ledger,
        &fence,
        settlement(&refused, vec![erased(0, 1)], &quick()),
    )
    .await;
    assert_eq!(stored(&*bed.ledger, first.id).await.refused, Mask::EMPTY);
    // Nor does a turn that was decided before bring it back.
    turn_one(
        &*bed.ledger,
        event(&refused, &Event::Contradicted, &quick()),
    )
    .await;
    assert_eq!(stored(&*bed.ledger, first.id).await.refused, Mask::EMPTY);
}

/// Everything that few deletions have on record comes back, and receipts leave it alone.
async fn what_is_rare_is_kept_by_turns_and_left_by_receipts(bed: &Bed) {
    let fence = coordinator(&*bed.ledger).await;
    let first = erasing(&*bed.ledger, "alice").await;
    assert_eq!(stored(&*bed.ledger, first.id).await.rare, Rare::default());
    let mut turn = event(&first, &Event::Contradicted, &quick());
    turn.after.rare = Rare {
        told: [Notice::Sealed, Notice::Reminder(7)].into_iter().collect(),
        told_in_the_way: ["FRAUD_REVIEW".to_owned()].into(),
        raised: Some(Raised { at: now() }),
        extended: Some(Extended {
            at: now(),
            before: now() + LONG,
            why: Why::NumberOfRequests,
        }),
        denied: Some(Denied {
            at: now(),
            why: Denial::LegalObligation,
        }),
        overdue: Some(Overdue::new(
            now(),
            vec!["LEG_OWED:cloud".to_owned(), "\"quoted\"".to_owned()],
        )),
        holds: vec![Hold {
            placed: now(),
            released: Some(now() + LONG),
        }],
        custody: Some(Custody {
            next: Some(now()),
            asked: BTreeMap::from([(
                leg(62),
                Asked {
                    freed: true,
                    round: 2,
                    by: now(),
                },
            )]),
            freed: Mask::of(leg(62)),
        }),
        overridden: vec![Overridden {
            code: "OPEN_DISPUTE".to_owned(),
            participant: "store".to_owned(),
            count: 2,
            until: Some(now() + LONG),
            case: "cases/01900000-0000-7000-8000-00000000000a".to_owned(),
            request: RequestId(Uuid::from_u128(7)),
            at: now(),
        }],
    };
    let rare = turn.after.rare.clone();
    let Turned::Done(turned) = turn_one(&*bed.ledger, turn).await else {
        panic!("lost");
    };
    assert_eq!(turned.rare, rare);
    let receipts = vec![erased(0, 1), erased(1, 1), erased(2, 1)];
    settle_one(
        &*bed.ledger,
        &fence,
        settlement(&turned, receipts, &quick()),
    )
    .await;
    assert_eq!(stored(&*bed.ledger, first.id).await.rare, rare);
}

async fn an_unknown_deletion_is_lost(bed: &Bed) {
    let stranger = account("alice", &quick());
    let turn = event(&stranger, &Event::Contradicted, &quick());
    assert_eq!(turn_one(&*bed.ledger, turn).await, Turned::Lost);
    assert_eq!(bed.ledger.history(stranger.id, 0, 1_000).await.unwrap(), []);
}

async fn a_batch_with_one_unsound_row_changes_nothing(bed: &Bed) {
    let fence = coordinator(&*bed.ledger).await;
    let sound = erasing(&*bed.ledger, "alice").await;
    let unsound = erasing(&*bed.ledger, "bob").await;
    let mut purged = unsound.step(&Event::Contradicted, &quick(), now()).unwrap();
    purged.state = State::Purged {
        begun: unsound.state.begun().unwrap(),
        at: now(),
    };
    let turns = vec![
        event(&sound, &Event::Contradicted, &quick()),
        Turn {
            before: unsound.revision,
            after: purged.clone(),
            clear: Mask::EMPTY,
            note: "TEST",
            decision: None,
            sealed_at: None,
            recycled: Vec::new(),
        },
    ];
    let refused = bed.ledger.turn(None, turns).await;
    assert!(matches!(refused, Err(Error::Refused(_))), "{refused:?}");

    purged.done = Mask::EMPTY;
    let settlements = vec![
        settlement(&sound, (0..3).map(|leg| erased(leg, 1)).collect(), &quick()),
        Settlement {
            deletion: unsound.id,
            at: now(),
            receipts: vec![erased(0, 1)],
            round: 1,
            legs: Mask::of(leg(0)),
            retains: Mask::EMPTY,
            advance: Some(purged.clone()),
        },
    ];
    let refused = bed.ledger.settle(&fence, settlements).await;
    assert!(matches!(refused, Err(Error::Refused(_))), "{refused:?}");

    let mut opened = account("carol", &quick());
    (opened.state, opened.attention_at) = (purged.state, None);
    opened.need = Mask::EMPTY;
    let bystander = account("dave", &quick());
    let refused = bed
        .ledger
        .open(asked(vec![bystander.clone(), opened]))
        .await;
    assert!(matches!(refused, Err(Error::Refused(_))), "{refused:?}");

    for deletion in [&sound, &unsound] {
        assert_eq!(&stored(&*bed.ledger, deletion.id).await, deletion);
        assert_eq!(
            bed.ledger
                .history(deletion.id, 0, 1_000)
                .await
                .unwrap()
                .len(),
            1
        );
        assert_eq!(bed.ledger.receipts(deletion.id).await.unwrap(), []);
    }
    assert_eq!(bed.ledger.get(&[bystander.id]).await.unwrap(), []);
    let slots: Vec<Slot> = Slot::all().collect();
    assert_eq!(bed.ledger.outbox(&slots, 10).await.unwrap(), []);
}
