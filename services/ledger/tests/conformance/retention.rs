//! What law keeps after a purge, as far as rows say it: who keeps something, and who is asked to erase it.

use std::time::Duration;

use farewell_core::policy::retention::Identifier;
use farewell_core::receipt::Retention;
use farewell_core::{Deletion, Event, Evidence, LegIndex, Mask, Outcome, Receipt, Slot, Verb};
use farewell_ledger::{Error, Turn, Turned};

use crate::bed::Bed;
use crate::given::{
    coordinator, erased, erasing, event, leg, now, quick, settle_one, settlement, stored, turn_one,
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

crate::on_every_ledger! {
    who_keeps_something_is_merged_and_keeps_the_purged_deletion_open
    a_purge_that_does_not_know_who_keeps_something_is_not_taken
    sql_refuses_to_close_what_is_kept
    what_has_ended_is_asked_for_in_a_round_of_its_own_and_settled_like_any_leg
}

/// Of identity's erasing leg in [`quick`], which holds a number back.
const IDENTITY: usize = 2;

fn keeping() -> Receipt {
    let evidence = Evidence {
        retained: vec![Retention {
            class: "quarantined_phone".to_owned(),
            legal_basis: "PIPL, Art. 51".to_owned(),
            count: 1,
            until: now() + DAY,
            next: None,
        }],
        ..Evidence::of(Outcome::Retained)
    };
    Receipt::new(leg(IDENTITY), 1, evidence)
}

fn expiry() -> LegIndex {
    let plan = quick();
    plan.find(&"identity".parse().unwrap(), Verb::Expire)
        .unwrap()
}

async fn purged(bed: &Bed) -> Deletion {
    let fence = coordinator(&*bed.ledger).await;
    let first = erasing(&*bed.ledger, "alice").await;
    let receipts = vec![erased(0, 1), erased(1, 1), keeping()];
    let all = settlement(&first, receipts, &quick());
    assert!(settle_one(&*bed.ledger, &fence, all).await.advanced);
    stored(&*bed.ledger, first.id).await
}

async fn who_keeps_something_is_merged_and_keeps_the_purged_deletion_open(bed: &Bed) {
    let fence = coordinator(&*bed.ledger).await;
    let first = erasing(&*bed.ledger, "bob").await;
    let early = settlement(&first, vec![keeping()], &quick());
    for _ in 0..2 {
        assert!(
            !settle_one(&*bed.ledger, &fence, early.clone())
                .await
                .advanced
        );
    }
    let now_known = stored(&*bed.ledger, first.id).await;
    assert_eq!(now_known.retains, Mask::of(expiry()));
    let rest = settlement(&now_known, vec![erased(0, 1), erased(1, 1)], &quick());
    assert!(settle_one(&*bed.ledger, &fence, rest).await.advanced);
    let purged = stored(&*bed.ledger, first.id).await;
    assert_eq!(purged.closed_at, None);
    assert_eq!(purged.attention_at, Some(now()));
    let slots: Vec<Slot> = Slot::all().collect();
    let owed = bed.ledger.owed(&slots, None, 10).await.unwrap();
    assert_eq!(owed.len(), 1);
    assert_eq!(owed[0].deletion, purged);
}

async fn a_purge_that_does_not_know_who_keeps_something_is_not_taken(bed: &Bed) {
    let fence = coordinator(&*bed.ledger).await;
    let first = erasing(&*bed.ledger, "alice").await;
    settle_one(
        &*bed.ledger,
        &fence,
        settlement(&first, vec![keeping()], &quick()),
    )
    .await;
    // As decided by somebody who has not seen that.
    let ignorant = Deletion {
        done: Mask::of(leg(IDENTITY)),
        ..first.clone()
    };
    let hasty = settlement(&ignorant, vec![erased(0, 1), erased(1, 1)], &quick());
    assert!(hasty.advance.is_some());
    assert!(!settle_one(&*bed.ledger, &fence, hasty).await.advanced);
    let stored = stored(&*bed.ledger, first.id).await;
    assert_eq!(stored.done, first.need);
    assert_eq!(stored.state, first.state);
}

async fn sql_refuses_to_close_what_is_kept(bed: &Bed) {
    let purged = purged(bed).await;
    let gone = Event::Kept {
        owing: Mask::EMPTY,
        next: None,
    };
    let mut closing = event(&purged, &gone, &quick());
    closing.after.retains = purged.retains;
    let refused = bed.ledger.turn(None, vec![closing]).await;
    assert!(matches!(refused, Err(Error::Refused(_))), "{refused:?}");
    assert_eq!(stored(&*bed.ledger, purged.id).await, purged);
}

async fn what_has_ended_is_asked_for_in_a_round_of_its_own_and_settled_like_any_leg(bed: &Bed) {
    let (plan, purged) = (quick(), purged(bed).await);
    let fence = coordinator(&*bed.ledger).await;
    let own = Mask::of(expiry());
    let ended = Event::Ended(own);
    let mut turn = event(&purged, &ended, &plan);
    turn.clear = turn.after.clears(&purged, &plan);
    assert_eq!(turn.clear, own);
    assert!(matches!(
        turn_one(&*bed.ledger, turn).await,
        Turned::Done(_)
    ));
    let asked = stored(&*bed.ledger, purged.id).await;
    assert_eq!((asked.expiring, asked.round), (own, 2));

    let mut evidence = Evidence::of(Outcome::Erased);
    evidence.counts.insert("quarantined_phone".to_owned(), 1);
    let receipt = Receipt::new(expiry(), 2, evidence);
    let answer = settlement(&asked, vec![receipt], &plan);
    assert_eq!(answer.advance, None);
    settle_one(&*bed.ledger, &fence, answer.clone()).await;
    let settled = settle_one(&*bed.ledger, &fence, answer).await;
    assert_eq!(settled.done, asked.done | own);
    let told = stored(&*bed.ledger, purged.id).await;

    let gone = Event::Kept {
        owing: Mask::EMPTY,
        next: None,
    };
    let free = Turn {
        recycled: vec![(Identifier::Phone, now()), (Identifier::Email, now())],
        ..event(&told, &gone, &plan)
    };
    turn_one(&*bed.ledger, free.clone()).await;
    // The same decision again is lost, and nobody is told twice.
    assert_eq!(turn_one(&*bed.ledger, free).await, Turned::Lost);
    let slots: Vec<Slot> = Slot::all().collect();
    let announced = bed.ledger.outbox(&slots, 10).await.unwrap();
    let kinds: Vec<_> = announced
        .iter()
        .filter_map(|told| Identifier::from_code(told.state))
        .collect();
    assert_eq!(kinds.len(), 2, "{announced:?}");
    let closed = stored(&*bed.ledger, purged.id).await;
    assert_eq!(closed.closed_at, Some(now()));
    assert_eq!(closed.retains | closed.expiring, Mask::EMPTY);
    assert_eq!(bed.ledger.receipts(purged.id).await.unwrap().len(), 4);
}
