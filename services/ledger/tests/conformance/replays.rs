//! What was done again after a purge.

use std::collections::BTreeSet;

use farewell_core::replay::{Kept, Replayed};
use farewell_core::{Deletion, Verb};

use crate::bed::Bed;
use crate::given::{account, erased, erasing, quick, stored};

crate::on_every_ledger! {
    what_was_done_again_is_kept_once_and_the_first_stands
    participants_rounds_and_verbs_are_kept_apart_and_come_in_order
    of_an_unknown_deletion_nothing_is_kept_of_a_replay
    a_replay_changes_neither_deletion_nor_receipts
}

fn again(deletion: &Deletion, participant: &str, round: u16, verb: Verb, records: i64) -> Replayed {
    let receipt = erased(0, records);
    Replayed {
        deletion: deletion.id,
        participant: participant.parse().unwrap(),
        round,
        verb,
        evidence: receipt.evidence,
        fingerprint: receipt.fingerprint,
    }
}

async fn replays(bed: &Bed, deletion: &Deletion) -> Vec<Kept> {
    bed.ledger.replays(deletion.id).await.unwrap()
}

async fn what_was_done_again_is_kept_once_and_the_first_stands(bed: &Bed) {
    let first = erasing(&*bed.ledger, "alice").await;
    let (one, other) = (
        again(&first, "store", 2, Verb::Erase, 1),
        again(&first, "store", 2, Verb::Erase, 9),
    );
    let before = bed.ledger.now().await.unwrap();
    bed.ledger
        .keep_replays(vec![one.clone(), other.clone()])
        .await
        .unwrap();
    let once = replays(bed, &first).await;
    assert_eq!(once.len(), 1);
    assert_eq!(once[0].replayed, one);
    let after = bed.ledger.now().await.unwrap();
    assert!((before..=after).contains(&once[0].recorded_at));
    bed.ledger.keep_replays(vec![other]).await.unwrap();
    bed.ledger.keep_replays(Vec::new()).await.unwrap();
    assert_eq!(replays(bed, &first).await, once);
}

async fn participants_rounds_and_verbs_are_kept_apart_and_come_in_order(bed: &Bed) {
    let first = erasing(&*bed.ledger, "alice").await;
    let other = erasing(&*bed.ledger, "bob").await;
    let mut batch = Vec::new();
    for participant in ["store", "cloud"] {
        for round in [u16::MAX, 2] {
            for verb in [Verb::Probe, Verb::Expire, Verb::Erase] {
                batch.push(again(&first, participant, round, verb, 1));
            }
        }
    }
    bed.ledger.keep_replays(batch.clone()).await.unwrap();
    let kept: Vec<_> = replays(bed, &first).await;
    let kept: Vec<_> = kept.into_iter().map(|kept| kept.replayed).collect();
    let key = |it: &Replayed| (it.participant.to_string(), it.round, it.verb.word());
    let keys: Vec<_> = kept.iter().map(key).collect();
    let expected: BTreeSet<_> = batch.iter().map(key).collect();
    assert_eq!(keys, expected.into_iter().collect::<Vec<_>>());
    assert_eq!(replays(bed, &other).await, []);
}

async fn of_an_unknown_deletion_nothing_is_kept_of_a_replay(bed: &Bed) {
    let unknown = account("nobody", &quick());
    bed.ledger
        .keep_replays(vec![again(&unknown, "store", 2, Verb::Erase, 1)])
        .await
        .unwrap();
    assert_eq!(replays(bed, &unknown).await, []);
}

async fn a_replay_changes_neither_deletion_nor_receipts(bed: &Bed) {
    let first = erasing(&*bed.ledger, "alice").await;
    let before = stored(&*bed.ledger, first.id).await;
    let receipts = bed.ledger.receipts(first.id).await.unwrap();
    bed.ledger
        .keep_replays(vec![again(&first, "store", 2, Verb::Erase, 1)])
        .await
        .unwrap();
    assert_eq!(stored(&*bed.ledger, first.id).await, before);
    assert_eq!(bed.ledger.receipts(first.id).await.unwrap(), receipts);
}
