//! Settling, and the gate.

use farewell_core::{Deletion, Event, Mask, Slot, State};
use farewell_ledger::{Error, Turned};

use crate::bed::Bed;
use crate::given::{
    account, asked, coordinator, erased, erasing, event, leg, now, purge, quick, sealed,
    sealed_with_devices, settle_one, settlement, stored, turn_one,
};

crate::on_every_ledger! {
    a_receipt_is_kept_once
    a_contradicting_receipt_is_told_and_the_first_stands
    an_advance_waits_for_its_legs
    an_advance_is_taken_once
    the_last_receipt_purges
    a_hold_or_a_conflict_holds_back_the_purge
    a_contradiction_holds_back_the_purge_that_it_comes_with
    receipts_that_contradict_each_other_hold_back_the_purge
    what_was_asked_in_another_round_is_kept_and_counts_for_nothing
    seals_with_devices_are_read_with_what_is_owed
    of_an_unknown_deletion_nothing_is_kept
    a_batch_names_a_deletion_once
    sql_refuses_a_purge_without_what_is_needed
}

async fn a_receipt_is_kept_once(bed: &Bed) {
    let fence = coordinator(&*bed.ledger).await;
    let first = erasing(&*bed.ledger, "alice").await;
    let settlement = settlement(&first, vec![erased(1, 5), erased(0, 4)], &quick());
    for _ in 0..2 {
        let settled = settle_one(&*bed.ledger, &fence, settlement.clone()).await;
        assert_eq!(settled.done, settlement.legs);
        assert_eq!((settled.revision, settled.advanced), (1, false));
        assert_eq!(settled.conflicts, []);
    }
    let kept = bed.ledger.receipts(first.id).await.unwrap();
    let receipts: Vec<_> = kept.into_iter().map(|kept| kept.receipt).collect();
    assert_eq!(receipts, [erased(0, 4), erased(1, 5)]);
    assert_eq!(
        stored(&*bed.ledger, first.id).await,
        Deletion {
            done: settlement.legs,
            ..first
        }
    );
}

async fn a_contradicting_receipt_is_told_and_the_first_stands(bed: &Bed) {
    let fence = coordinator(&*bed.ledger).await;
    let first = erasing(&*bed.ledger, "alice").await;
    let mut other_round = erased(0, 6);
    other_round.round = 2;
    for (receipts, conflicts) in [
        (vec![erased(0, 5)], vec![]),
        (
            vec![erased(1, 1), erased(0, 6), erased(0, 5), other_round],
            vec![erased(0, 6)],
        ),
    ] {
        let settlement = settlement(&first, receipts, &quick());
        let settled = settle_one(&*bed.ledger, &fence, settlement).await;
        assert_eq!(settled.conflicts, conflicts);
    }
    let kept = bed.ledger.receipts(first.id).await.unwrap();
    assert_eq!(kept.len(), 3);
    assert_eq!(kept[0].receipt, erased(0, 5));
}

async fn an_advance_waits_for_its_legs(bed: &Bed) {
    let fence = coordinator(&*bed.ledger).await;
    let first = erasing(&*bed.ledger, "alice").await;
    let believed = Deletion {
        done: Mask::of(leg(0)) | Mask::of(leg(1)),
        ..first.clone()
    };
    let last = settlement(&believed, vec![erased(2, 1)], &quick());
    assert!(last.advance.is_some());
    let settled = settle_one(&*bed.ledger, &fence, last.clone()).await;
    assert!(!settled.advanced);
    assert_eq!((settled.done, settled.revision), (Mask::of(leg(2)), 1));
    assert_eq!(stored(&*bed.ledger, first.id).await.state, first.state);

    let receipts = vec![erased(0, 1), erased(1, 1)];
    settle_one(&*bed.ledger, &fence, settlement(&first, receipts, &quick())).await;
    assert!(settle_one(&*bed.ledger, &fence, last).await.advanced);
}

async fn what_was_asked_in_another_round_is_kept_and_counts_for_nothing(bed: &Bed) {
    let fence = coordinator(&*bed.ledger).await;
    let first = erasing(&*bed.ledger, "alice").await;
    let receipts = vec![erased(0, 1), erased(1, 1)];
    let settled = settle_one(&*bed.ledger, &fence, settlement(&first, receipts, &quick())).await;
    let believed = Deletion {
        done: settled.done,
        ..first.clone()
    };
    // On its way while somebody finds residue.
    let mut late = settlement(&believed, vec![erased(2, 1)], &quick());
    assert!(late.advance.is_some());
    let mut turn = event(&first, &Event::LegRefused(leg(2)), &quick());
    turn.after.round = 2;
    turn_one(&*bed.ledger, turn).await;
    // Neither its legs nor where it leads, even if that were decided on what is stored.
    for revision in [2, 3] {
        if let Some(advance) = &mut late.advance {
            advance.revision = revision;
        }
        let settled = settle_one(&*bed.ledger, &fence, late.clone()).await;
        assert_eq!((settled.done, settled.advanced), (believed.done, false));
    }
    let again = stored(&*bed.ledger, first.id).await;
    assert_eq!(
        (again.done, again.refused),
        (believed.done, Mask::of(leg(2)))
    );
    assert_eq!(bed.ledger.receipts(first.id).await.unwrap().len(), 3);

    let mut receipt = erased(2, 1);
    receipt.round = 2;
    let last = settlement(&again, vec![receipt], &quick());
    assert!(settle_one(&*bed.ledger, &fence, last).await.advanced);
}

async fn an_advance_is_taken_once(bed: &Bed) {
    let fence = coordinator(&*bed.ledger).await;
    let first = erasing(&*bed.ledger, "alice").await;
    let all = settlement(&first, (0..3).map(|leg| erased(leg, 1)).collect(), &quick());
    let once = settle_one(&*bed.ledger, &fence, all.clone()).await;
    let twice = settle_one(&*bed.ledger, &fence, all).await;
    assert_eq!((once.revision, once.advanced), (2, true));
    assert_eq!((twice.revision, twice.advanced), (2, false));
    assert_eq!(
        bed.ledger.history(first.id, 0, 1_000).await.unwrap().len(),
        2
    );
}

async fn the_last_receipt_purges(bed: &Bed) {
    let fence = coordinator(&*bed.ledger).await;
    let first = erasing(&*bed.ledger, "alice").await;
    let purged = purge(&*bed.ledger, &fence, &first).await;
    assert_eq!(purged.closed_at, Some(now()));
    assert_eq!(purged.attention_at, None);
    let slots: Vec<Slot> = Slot::all().collect();
    assert_eq!(bed.ledger.owed(&slots, None, 10).await.unwrap(), []);
    let told = bed.ledger.outbox(&slots, 10).await.unwrap();
    assert_eq!((told.len(), told[0].state, told[0].at), (1, 5, now()));
    let history = bed.ledger.history(first.id, 0, 1_000).await.unwrap();
    assert_eq!((history[1].state, history[1].note.as_str()), (5, "PURGED"));
}

async fn a_hold_or_a_conflict_holds_back_the_purge(bed: &Bed) {
    let fence = coordinator(&*bed.ledger).await;
    for (name, held, conflicts) in [("alice", true, 0), ("bob", false, 1)] {
        let first = erasing(&*bed.ledger, name).await;
        let mut turn = event(&first, &Event::Contradicted, &quick());
        (turn.after.held, turn.after.conflicts) = (held, conflicts);
        turn_one(&*bed.ledger, turn).await;
        // As decided by somebody who doesn't know.
        let ignorant = Deletion {
            revision: 2,
            ..first.clone()
        };
        let receipts = (0..3).map(|leg| erased(leg, 1)).collect();
        let settlement = settlement(&ignorant, receipts, &quick());
        assert!(settlement.advance.is_some());
        let settled = settle_one(&*bed.ledger, &fence, settlement).await;
        assert!(!settled.advanced);
        assert_eq!(settled.done, first.need);
    }
}

async fn a_contradiction_holds_back_the_purge_that_it_comes_with(bed: &Bed) {
    let fence = coordinator(&*bed.ledger).await;
    let first = erasing(&*bed.ledger, "alice").await;
    settle_one(
        &*bed.ledger,
        &fence,
        settlement(&first, vec![erased(0, 1)], &quick()),
    )
    .await;
    let receipts = vec![erased(0, 2), erased(1, 1), erased(2, 1)];
    let settlement = settlement(&first, receipts, &quick());
    let settled = settle_one(&*bed.ledger, &fence, settlement.clone()).await;
    assert_eq!(
        (settled.advanced, settled.conflicts),
        (false, vec![erased(0, 2)])
    );
    assert_eq!(settled.done, first.need);
}

async fn receipts_that_contradict_each_other_hold_back_the_purge(bed: &Bed) {
    let fence = coordinator(&*bed.ledger).await;
    let first = erasing(&*bed.ledger, "alice").await;
    let receipts = vec![erased(0, 1), erased(1, 1), erased(2, 1), erased(1, 9)];
    let settled = settle_one(&*bed.ledger, &fence, settlement(&first, receipts, &quick())).await;
    assert_eq!(
        (settled.advanced, settled.conflicts),
        (false, vec![erased(1, 9)])
    );
    assert_eq!(bed.ledger.receipts(first.id).await.unwrap().len(), 3);
}

async fn seals_with_devices_are_read_with_what_is_owed(bed: &Bed) {
    let plan = sealed();
    let fence = coordinator(&*bed.ledger).await;
    let first = account("alice", &plan);
    bed.ledger.open(asked(vec![first.clone()])).await.unwrap();
    let without = farewell_core::Receipt::new(
        leg(1),
        1,
        farewell_core::Evidence::of(farewell_core::Outcome::Sealed),
    );
    let receipts = vec![sealed_with_devices(2), without, sealed_with_devices(0)];
    settle_one(&*bed.ledger, &fence, settlement(&first, receipts, &plan)).await;
    let owed = bed.ledger.get(&[first.id]).await.unwrap().remove(0);
    let seals: Vec<_> = owed.seals.into_iter().map(|kept| kept.receipt).collect();
    assert_eq!(seals, [sealed_with_devices(0), sealed_with_devices(2)]);
}

async fn of_an_unknown_deletion_nothing_is_kept(bed: &Bed) {
    let fence = coordinator(&*bed.ledger).await;
    let known = erasing(&*bed.ledger, "alice").await;
    let stranger = account("bob", &quick());
    let batch = vec![
        settlement(&stranger, vec![erased(0, 1)], &quick()),
        settlement(&known, vec![erased(0, 1)], &quick()),
    ];
    let settled = bed.ledger.settle(&fence, batch).await.unwrap();
    assert_eq!((settled[0].revision, settled[0].done), (0, Mask::EMPTY));
    assert_eq!(
        (settled[1].revision, settled[1].done),
        (1, Mask::of(leg(0)))
    );
    assert_eq!(bed.ledger.receipts(stranger.id).await.unwrap(), []);
}

async fn a_batch_names_a_deletion_once(bed: &Bed) {
    let fence = coordinator(&*bed.ledger).await;
    let first = erasing(&*bed.ledger, "alice").await;
    let one = settlement(&first, vec![erased(0, 1)], &quick());
    let refused = bed.ledger.settle(&fence, vec![one.clone(), one]).await;
    assert!(matches!(refused, Err(Error::Refused(_))), "{refused:?}");
    assert_eq!(stored(&*bed.ledger, first.id).await, first);
}

async fn sql_refuses_a_purge_without_what_is_needed(bed: &Bed) {
    if bed.url.is_empty() {
        return;
    }
    let fence = coordinator(&*bed.ledger).await;
    let first = erasing(&*bed.ledger, "alice").await;
    for purge in [
        "UPDATE deletion SET state = 5",
        "UPDATE deletion SET state = 5, need = 0",
        "UPDATE deletion SET state = 5, done = 3",
        "UPDATE deletion SET state = 1",
        "UPDATE deletion SET state = 9",
    ] {
        let refused = bed.sql(purge).await;
        assert!(refused.is_err(), "{purge}");
    }
    assert_eq!(stored(&*bed.ledger, first.id).await, first);
    let purged = purge(&*bed.ledger, &fence, &first).await;
    // A contradiction may still be recorded; who was purged stays so.
    let turn = event(&purged, &Event::Contradicted, &quick());
    let Turned::Done(after) = turn_one(&*bed.ledger, turn).await else {
        panic!("lost");
    };
    assert!(matches!(after.state, State::Purged { .. }));
}
