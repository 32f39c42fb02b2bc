//! What became of devices after their receipt.

use std::collections::BTreeSet;
use std::time::Duration;

use farewell_core::addendum::{Addendum, Ending};
use farewell_core::device::DeviceOutcome;
use farewell_core::{Deletion, Receipt};

use crate::bed::Bed;
use crate::given::{
    account, coordinator, erased, erasing, leg, now, purge, quick, settle_one, settlement, stored,
};

crate::on_every_ledger! {
    an_addendum_is_kept_once_and_the_first_stands
    repeats_in_one_batch_are_one
    devices_bindings_endings_rounds_and_legs_are_kept_apart
    addenda_come_oldest_first
    each_deletion_has_its_own_addenda
    of_an_unknown_deletion_no_addendum_is_kept
    an_addendum_changes_neither_deletion_nor_receipts
    nothing_to_append_is_nothing
    sql_refuses_an_addendum_to_what_left_nothing_open
}

fn away(deletion: &Deletion) -> Addendum {
    let receipt: Receipt = erased(0, 1);
    Addendum {
        deletion: deletion.id,
        round: 1,
        leg: leg(0),
        device: "watch-1".parse().unwrap(),
        binding_epoch: 4,
        ending: Ending::Confirmed,
        before: DeviceOutcome::Detached,
        returned_at: now(),
        fingerprint: receipt.fingerprint,
    }
}

async fn kept(bed: &Bed, deletion: &Deletion) -> Vec<Addendum> {
    let addenda = bed.ledger.addenda(deletion.id).await.unwrap();
    addenda.into_iter().map(|kept| kept.addendum).collect()
}

async fn an_addendum_is_kept_once_and_the_first_stands(bed: &Bed) {
    let first = erasing(&*bed.ledger, "alice").await;
    let before = bed.ledger.now().await.unwrap();
    bed.ledger.amend(vec![away(&first)]).await.unwrap();
    let once = bed.ledger.addenda(first.id).await.unwrap();
    assert_eq!(once.len(), 1);
    assert_eq!(once[0].addendum, away(&first));
    let after = bed.ledger.now().await.unwrap();
    assert!((before..=after).contains(&once[0].recorded_at));

    let again = Addendum {
        returned_at: now() + Duration::from_secs(60),
        ..away(&first)
    };
    bed.ledger
        .amend(vec![away(&first), again.clone()])
        .await
        .unwrap();
    bed.ledger.amend(vec![again]).await.unwrap();
    assert_eq!(bed.ledger.addenda(first.id).await.unwrap(), once);
}

async fn repeats_in_one_batch_are_one(bed: &Bed) {
    let first = erasing(&*bed.ledger, "alice").await;
    let late = Addendum {
        returned_at: now() + Duration::from_secs(60),
        ..away(&first)
    };
    let batch = vec![away(&first), late, away(&first)];
    bed.ledger.amend(batch).await.unwrap();
    assert_eq!(kept(bed, &first).await, [away(&first)]);
}

async fn devices_bindings_endings_rounds_and_legs_are_kept_apart(bed: &Bed) {
    let first = erasing(&*bed.ledger, "alice").await;
    let one = away(&first);
    let mut all: BTreeSet<Addendum> = Ending::ALL
        .into_iter()
        .map(|ending| Addendum {
            ending,
            ..one.clone()
        })
        .collect();
    all.insert(Addendum {
        device: "Watch-1".parse().unwrap(),
        ..one.clone()
    });
    for binding_epoch in [5, u64::MAX] {
        all.insert(Addendum {
            binding_epoch,
            ..one.clone()
        });
    }
    all.insert(Addendum {
        round: 2,
        ..one.clone()
    });
    all.insert(Addendum {
        leg: leg(1),
        before: DeviceOutcome::Executed,
        ..one.clone()
    });
    bed.ledger
        .amend(all.iter().cloned().collect())
        .await
        .unwrap();
    // Of one moment, so that they come by their keys.
    let all: Vec<Addendum> = all.into_iter().collect();
    assert_eq!(kept(bed, &first).await, all);
}

async fn addenda_come_oldest_first(bed: &Bed) {
    let first = erasing(&*bed.ledger, "alice").await;
    let endings = [Ending::NeverReturned, Ending::Executed, Ending::Confirmed];
    for ending in endings {
        let addendum = Addendum {
            ending,
            ..away(&first)
        };
        bed.ledger.amend(vec![addendum]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let kept = kept(bed, &first).await;
    let told: Vec<Ending> = kept.iter().map(|addendum| addendum.ending).collect();
    assert_eq!(told, endings);
}

async fn each_deletion_has_its_own_addenda(bed: &Bed) {
    let one = erasing(&*bed.ledger, "alice").await;
    let two = erasing(&*bed.ledger, "bob").await;
    let none = erasing(&*bed.ledger, "carol").await;
    let batch = vec![away(&one), away(&two)];
    bed.ledger.amend(batch).await.unwrap();
    assert_eq!(kept(bed, &one).await, [away(&one)]);
    assert_eq!(kept(bed, &two).await, [away(&two)]);
    assert_eq!(kept(bed, &none).await, []);
}

async fn of_an_unknown_deletion_no_addendum_is_kept(bed: &Bed) {
    let known = erasing(&*bed.ledger, "alice").await;
    let stranger = account("bob", &quick());
    let batch = vec![away(&stranger), away(&known)];
    bed.ledger.amend(batch).await.unwrap();
    assert_eq!(kept(bed, &stranger).await, []);
    assert_eq!(kept(bed, &known).await, [away(&known)]);
}

async fn an_addendum_changes_neither_deletion_nor_receipts(bed: &Bed) {
    let fence = coordinator(&*bed.ledger).await;
    let first = erasing(&*bed.ledger, "alice").await;
    let purged = purge(&*bed.ledger, &fence, &first).await;
    let receipts = bed.ledger.receipts(first.id).await.unwrap();
    // Whose fence it is does not matter, nor that the deletion has ended.
    bed.ledger.join("one", Duration::ZERO).await.unwrap();
    bed.ledger.amend(vec![away(&first)]).await.unwrap();
    assert_eq!(kept(bed, &first).await, [away(&first)]);
    assert_eq!(stored(&*bed.ledger, first.id).await, purged);
    assert_eq!(bed.ledger.receipts(first.id).await.unwrap(), receipts);
    assert_eq!(
        bed.ledger.history(first.id, 0, 1_000).await.unwrap().len(),
        2
    );

    // And before the end.
    let fence = coordinator(&*bed.ledger).await;
    let second = erasing(&*bed.ledger, "bob").await;
    let one = settlement(&second, vec![erased(0, 1)], &quick());
    settle_one(&*bed.ledger, &fence, one).await;
    bed.ledger.amend(vec![away(&second)]).await.unwrap();
    purge(&*bed.ledger, &fence, &second).await;
    assert_eq!(kept(bed, &second).await, [away(&second)]);
}

async fn nothing_to_append_is_nothing(bed: &Bed) {
    bed.ledger.amend(Vec::new()).await.unwrap();
}

async fn sql_refuses_an_addendum_to_what_left_nothing_open(bed: &Bed) {
    if bed.url.is_empty() {
        return;
    }
    let first = erasing(&*bed.ledger, "alice").await;
    bed.ledger.amend(vec![away(&first)]).await.unwrap();
    for change in [
        "UPDATE addendum SET ending = 'DETACHED'",
        "UPDATE addendum SET was = 'CONFIRMED'",
        "UPDATE addendum SET was = 'EXECUTED', ending = 'SUPERSEDED'",
    ] {
        let refused = bed.sql(change).await;
        assert!(refused.is_err(), "{change}");
    }
    assert_eq!(kept(bed, &first).await, [away(&first)]);
}
