//! Slots, leases and fences.

use std::time::Duration;

use farewell_core::{Event, Slot};
use farewell_ledger::Error;

use crate::bed::Bed;
use crate::given::{LONG, erased, erasing, event, quick, settle_one, settlement, stored};

crate::on_every_ledger! {
    a_slot_is_claimed_by_one
    coordinators_that_claim_at_once_never_overlap
    slots_of_a_lease_that_stands_are_not_taken
    a_lease_that_ended_is_taken_over_and_its_holder_fenced
    slots_that_are_given_back_are_free
    whoever_keeps_no_slot_is_live_no_more_until_it_renews
    joining_again_fences_the_earlier_self
    a_fenced_writer_changes_nothing
    a_caller_without_a_fence_may_turn
}

const NONE: Duration = Duration::ZERO;

fn slots(numbers: impl IntoIterator<Item = u8>) -> Vec<Slot> {
    numbers.into_iter().filter_map(Slot::new).collect()
}

/// Until a lease without length has ended on any clock.
async fn a_moment() {
    tokio::time::sleep(Duration::from_millis(5)).await;
}

async fn a_slot_is_claimed_by_one(bed: &Bed) {
    let one = bed.ledger.join("one", LONG).await.unwrap();
    let two = bed.ledger.join("two", LONG).await.unwrap();
    let leases = bed.ledger.renew(&one, LONG).await.unwrap();
    assert_eq!(
        (leases.mine.len(), leases.free.len(), leases.live),
        (0, 64, 2)
    );
    let got = bed.ledger.claim(&one, &slots(0..40)).await.unwrap();
    assert_eq!(got, slots(0..40));
    let got = bed.ledger.claim(&two, &slots(30..64)).await.unwrap();
    assert_eq!(got, slots(40..64));
    let leases = bed.ledger.renew(&two, LONG).await.unwrap();
    assert_eq!((leases.mine, leases.free), (slots(40..64), vec![]));
    assert_eq!(bed.ledger.claim(&two, &slots(0..64)).await.unwrap(), []);
}

async fn coordinators_that_claim_at_once_never_overlap(bed: &Bed) {
    let all: Vec<Slot> = Slot::all().collect();
    let dead = bed.ledger.join("dead", NONE).await.unwrap();
    bed.ledger.claim(&dead, &slots(0..32)).await.unwrap();
    a_moment().await;
    let one = bed.ledger.join("one", LONG).await.unwrap();
    let two = bed.ledger.join("two", LONG).await.unwrap();
    let (first, second) = tokio::join!(bed.ledger.claim(&one, &all), bed.ledger.claim(&two, &all));
    let (first, second) = (first.unwrap(), second.unwrap());
    assert!(first.iter().all(|slot| !second.contains(slot)));
    assert_eq!(first.len() + second.len(), 64);
    let leases = bed.ledger.renew(&one, LONG).await.unwrap();
    assert_eq!((leases.mine, leases.free), (first, vec![]));
}

async fn slots_of_a_lease_that_stands_are_not_taken(bed: &Bed) {
    let one = bed.ledger.join("one", LONG).await.unwrap();
    let two = bed.ledger.join("two", LONG).await.unwrap();
    bed.ledger.claim(&one, &slots(0..64)).await.unwrap();
    assert_eq!(bed.ledger.claim(&two, &slots(0..64)).await.unwrap(), []);
    bed.ledger.renew(&one, LONG).await.unwrap();
}

async fn a_lease_that_ended_is_taken_over_and_its_holder_fenced(bed: &Bed) {
    let one = bed.ledger.join("one", NONE).await.unwrap();
    bed.ledger.claim(&one, &slots(0..64)).await.unwrap();
    a_moment().await;
    let two = bed.ledger.join("two", LONG).await.unwrap();
    let leases = bed.ledger.renew(&two, LONG).await.unwrap();
    assert_eq!((leases.free.len(), leases.live), (64, 1));
    assert_eq!(
        bed.ledger.claim(&two, &slots(0..3)).await.unwrap(),
        slots(0..3)
    );
    let late = bed.ledger.renew(&one, LONG).await;
    assert!(matches!(late, Err(Error::Fenced)), "{late:?}");
    // It comes back under a new epoch, with nothing.
    let again = bed.ledger.join("one", LONG).await.unwrap();
    assert!(again.epoch > one.epoch);
    let leases = bed.ledger.renew(&again, LONG).await.unwrap();
    assert_eq!((leases.mine.len(), leases.free.len()), (0, 61));
}

async fn slots_that_are_given_back_are_free(bed: &Bed) {
    let one = bed.ledger.join("one", LONG).await.unwrap();
    let two = bed.ledger.join("two", LONG).await.unwrap();
    bed.ledger.claim(&one, &slots(0..10)).await.unwrap();
    bed.ledger.release(&two, &slots(0..10)).await.unwrap();
    bed.ledger.release(&one, &slots(4..20)).await.unwrap();
    let got = bed.ledger.claim(&two, &slots(0..10)).await.unwrap();
    assert_eq!(got, slots(4..10));
}

async fn whoever_keeps_no_slot_is_live_no_more_until_it_renews(bed: &Bed) {
    let one = bed.ledger.join("one", LONG).await.unwrap();
    let two = bed.ledger.join("two", LONG).await.unwrap();
    bed.ledger.claim(&one, &slots(0..10)).await.unwrap();
    bed.ledger.release(&one, &slots(0..5)).await.unwrap();
    assert_eq!(bed.ledger.renew(&two, LONG).await.unwrap().live, 2);
    bed.ledger.release(&one, &slots(0..64)).await.unwrap();
    a_moment().await;
    let leases = bed.ledger.renew(&two, LONG).await.unwrap();
    assert_eq!((leases.live, leases.free.len()), (1, 64));
    assert_eq!(bed.ledger.renew(&one, LONG).await.unwrap().live, 2);
}

async fn joining_again_fences_the_earlier_self(bed: &Bed) {
    let before = bed.ledger.join("one", LONG).await.unwrap();
    bed.ledger.claim(&before, &slots(0..10)).await.unwrap();
    let after = bed.ledger.join("one", LONG).await.unwrap();
    let late = bed.ledger.claim(&before, &slots(0..10)).await;
    assert!(matches!(late, Err(Error::Fenced)), "{late:?}");
    let leases = bed.ledger.renew(&after, LONG).await.unwrap();
    assert_eq!((leases.mine.len(), leases.free.len()), (0, 64));
}

async fn a_fenced_writer_changes_nothing(bed: &Bed) {
    let one = bed.ledger.join("one", NONE).await.unwrap();
    bed.ledger.claim(&one, &slots(0..64)).await.unwrap();
    let first = erasing(&*bed.ledger, "alice").await;
    settle_one(
        &*bed.ledger,
        &one,
        settlement(&first, vec![erased(0, 1)], &quick()),
    )
    .await;
    let ended = erasing(&*bed.ledger, "bob").await;
    let all = (0..3).map(|leg| erased(leg, 1)).collect();
    settle_one(&*bed.ledger, &one, settlement(&ended, all, &quick())).await;
    a_moment().await;
    let two = bed.ledger.join("two", LONG).await.unwrap();
    bed.ledger.claim(&two, &slots(0..64)).await.unwrap();

    let before = stored(&*bed.ledger, first.id).await;
    let receipts = (0..3).map(|leg| erased(leg, 1)).collect();
    let settled = bed
        .ledger
        .settle(&one, vec![settlement(&first, receipts, &quick())])
        .await;
    assert!(matches!(settled, Err(Error::Fenced)), "{settled:?}");
    let turn = event(&first, &Event::Contradicted, &quick());
    let turned = bed.ledger.turn(Some(&one), vec![turn]).await;
    assert!(matches!(turned, Err(Error::Fenced)), "{turned:?}");
    let told = bed.ledger.outbox(&slots(0..64), 10).await.unwrap();
    let told = bed.ledger.announced(&one, &told, &[]).await;
    assert!(matches!(told, Err(Error::Fenced)), "{told:?}");
    let released = bed.ledger.release(&one, &slots(0..64)).await;
    assert!(matches!(released, Err(Error::Fenced)), "{released:?}");

    assert_eq!(stored(&*bed.ledger, first.id).await, before);
    assert_eq!(bed.ledger.receipts(first.id).await.unwrap().len(), 1);
    assert_eq!(
        bed.ledger.history(first.id, 0, 1_000).await.unwrap().len(),
        1
    );
    assert_eq!(bed.ledger.outbox(&slots(0..64), 10).await.unwrap().len(), 1);
    assert_eq!(bed.ledger.renew(&two, LONG).await.unwrap().mine.len(), 64);
}

async fn a_caller_without_a_fence_may_turn(bed: &Bed) {
    let first = erasing(&*bed.ledger, "alice").await;
    let turn = event(&first, &Event::Contradicted, &quick());
    bed.ledger.turn(None, vec![turn]).await.unwrap();
    assert_eq!(stored(&*bed.ledger, first.id).await.conflicts, 1);
}
