//! What law keeps after a purge, as far as rows say it: who keeps something, and who is asked to erase it.

use std::time::Duration;

use farewell_core::policy::retention::{Class, Identifier, StartingPoint};
use farewell_core::receipt::Retention;
use farewell_core::{
    Deletion, Event, Evidence, LegIndex, Mask, Outcome, Plan, Receipt, Slot, Verb,
};
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
    an_answer_of_an_earlier_round_counts_while_another_is_asked
    a_hold_after_the_purge_is_stored_and_counted
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

/// Puts on record that what is kept ends now.
async fn look(bed: &Bed, purged: &Deletion) {
    let kept = Event::Kept {
        owing: Mask::of(expiry()),
        next: Some(now()),
    };
    let turned = turn_one(&*bed.ledger, event(purged, &kept, &quick())).await;
    assert!(matches!(turned, Turned::Done(_)));
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
    look(bed, &purged).await;
    let purged = stored(&*bed.ledger, purged.id).await;
    let ended = Event::Ended {
        legs: own,
        next: None,
    };
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

/// Two who keep something, of a plan whose cloud holds photos back as identity does numbers.
fn two_custodians() -> Plan {
    let mut policy = quick().policy().clone();
    let class = Class {
        legal_basis: "a law".to_owned(),
        from: StartingPoint::Erasure,
        period: "1 day".parse().unwrap(),
        custodian: "cloud".parse().unwrap(),
    };
    let classes = policy.retention.get_or_insert_default();
    classes.insert("photos".to_owned(), class);
    Plan::new(1, policy).unwrap()
}

async fn an_answer_of_an_earlier_round_counts_while_another_is_asked(bed: &Bed) {
    let (plan, purged) = (two_custodians(), purged(bed).await);
    let fence = coordinator(&*bed.ledger).await;
    let cloud = plan.find(&"cloud".parse().unwrap(), Verb::Expire).unwrap();
    let identity = plan
        .find(&"identity".parse().unwrap(), Verb::Expire)
        .unwrap();
    let mut row = purged;
    for leg in [identity, cloud] {
        let kept = Event::Kept {
            owing: Mask::of(cloud) | Mask::of(identity),
            next: Some(now()),
        };
        let ended = Event::Ended {
            legs: Mask::of(leg),
            next: Some(now()),
        };
        for what in [kept, ended] {
            let mut turn = event(&row, &what, &plan);
            turn.clear = turn.after.clears(&row, &plan);
            let turned = turn_one(&*bed.ledger, turn).await;
            assert!(matches!(turned, Turned::Done(_)), "{turned:?}");
            row = stored(&*bed.ledger, row.id).await;
        }
    }
    assert_eq!(row.outstanding(), Mask::of(cloud) | Mask::of(identity));
    let rounds = [identity, cloud].map(|leg| row.round_of(leg, Verb::Expire));
    assert_eq!((rounds, row.round), ([2, 3], 3));
    let overview = bed.ledger.overview(DAY, DAY).await.unwrap();
    assert_eq!((overview.kept.deletions, overview.kept.late), (1, 1));
    assert_eq!(overview.oldest_unfinished, None, "what is purged is done");

    let mut evidence = Evidence::of(Outcome::Erased);
    evidence.counts.insert("quarantined_phone".to_owned(), 1);
    let receipt = Receipt::new(identity, 2, evidence);
    let answer = settlement(&row, vec![receipt], &plan);
    assert_eq!((answer.round, answer.advance.as_ref()), (3, None));
    let settled = settle_one(&*bed.ledger, &fence, answer).await;
    assert!(settled.done.has(identity) && settled.conflicts.is_empty());
    let told = stored(&*bed.ledger, row.id).await;
    assert_eq!(told.answered(), Mask::of(identity));
    assert_eq!(told.outstanding(), Mask::of(cloud));
}

async fn a_hold_after_the_purge_is_stored_and_counted(bed: &Bed) {
    let (plan, purged) = (quick(), purged(bed).await);
    turn_one(&*bed.ledger, event(&purged, &Event::Hold, &plan)).await;
    let held = stored(&*bed.ledger, purged.id).await;
    assert!(held.held && held.rare.holds.len() == 1);
    let kept = bed.ledger.overview(DAY, DAY).await.unwrap().kept;
    assert_eq!((kept.deletions, kept.late, kept.held), (1, 0, 1));
    turn_one(&*bed.ledger, event(&held, &Event::Release, &plan)).await;
    let free = stored(&*bed.ledger, purged.id).await;
    assert_eq!(free.rare.holds[0].released, Some(now()));
    let kept = bed.ledger.overview(DAY, DAY).await.unwrap().kept;
    assert_eq!((kept.deletions, kept.held), (1, 0));
}
