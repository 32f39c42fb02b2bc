//! Opening, and request ids.

use farewell_core::{DeletionId, Event, RequestId};
use farewell_ledger::{Error, Opened, Remembered, Seen};
use uuid::Uuid;

use crate::bed::Bed;
use crate::given::{
    account, asked, coordinator, erasing, event, purge, quick, sealed, stored, turn_one,
};

crate::on_every_ledger! {
    an_opened_deletion_reads_back_whole
    the_same_request_is_answered_with_the_deletion_as_it_stands
    a_request_id_with_another_body_is_refused
    an_account_has_one_live_deletion
    an_account_may_ask_again_once_its_deletion_has_ended
    one_batch_answers_its_own_repeats
    many_accounts_open_in_one_batch
    a_deletion_id_is_never_taken_twice
    a_request_id_is_remembered_for_one_body
    a_request_id_of_another_mutation_opens_nothing
}

async fn an_opened_deletion_reads_back_whole(bed: &Bed) {
    for (name, plan) in [("quick", quick()), ("sealed", sealed())] {
        let deletion = account(name, &plan);
        let opened = bed
            .ledger
            .open(asked(vec![deletion.clone()]))
            .await
            .unwrap();
        assert_eq!(opened, [Opened::Created(deletion.clone())]);
        assert_eq!(stored(&*bed.ledger, deletion.id).await, deletion);
        let history = bed.ledger.history(deletion.id, 0, 1_000).await.unwrap();
        assert_eq!(history.len(), 1);
        assert_eq!(history[0].revision, 1);
        assert_eq!(history[0].state, deletion.state.code());
        assert_eq!(history[0].note, deletion.state.word());
    }
}

async fn the_same_request_is_answered_with_the_deletion_as_it_stands(bed: &Bed) {
    let first = erasing(&*bed.ledger, "alice").await;
    let turn = event(&first, &Event::Contradicted, &quick());
    turn_one(&*bed.ledger, turn).await;
    let mut again = first.clone();
    again.id = DeletionId(Uuid::now_v7());
    let opened = bed.ledger.open(asked(vec![again.clone()])).await.unwrap();
    assert_eq!(
        opened,
        [Opened::Repeat(stored(&*bed.ledger, first.id).await)]
    );
    assert_eq!(bed.ledger.get(&[again.id]).await.unwrap(), []);
}

async fn a_request_id_with_another_body_is_refused(bed: &Bed) {
    let first = erasing(&*bed.ledger, "alice").await;
    let mut other = account("bob", &quick());
    (other.request, other.request_digest) = (first.request, [9; 16]);
    let opened = bed.ledger.open(asked(vec![other.clone()])).await.unwrap();
    assert_eq!(opened, [Opened::RequestIdReused]);
    assert_eq!(bed.ledger.get(&[other.id]).await.unwrap(), []);
}

async fn an_account_has_one_live_deletion(bed: &Bed) {
    let first = erasing(&*bed.ledger, "alice").await;
    let second = account("alice", &quick());
    let opened = bed.ledger.open(asked(vec![second.clone()])).await.unwrap();
    assert_eq!(opened, [Opened::AccountHasLive(first.id)]);
    // The refused request left nothing behind: asked again after the end, it is taken.
    let fence = coordinator(&*bed.ledger).await;
    purge(&*bed.ledger, &fence, &first).await;
    let opened = bed.ledger.open(asked(vec![second.clone()])).await.unwrap();
    assert_eq!(opened, [Opened::Created(second)]);
}

async fn an_account_may_ask_again_once_its_deletion_has_ended(bed: &Bed) {
    let plan = sealed();
    let first = account("alice", &plan);
    bed.ledger.open(asked(vec![first.clone()])).await.unwrap();
    turn_one(&*bed.ledger, event(&first, &Event::Revoke, &plan)).await;
    let second = account("alice", &plan);
    let opened = bed.ledger.open(asked(vec![second.clone()])).await.unwrap();
    assert_eq!(opened, [Opened::Created(second)]);
}

async fn one_batch_answers_its_own_repeats(bed: &Bed) {
    let first = account("alice", &quick());
    let mut same_request = account("alice", &quick());
    same_request.request = first.request;
    let mut reused = account("carol", &quick());
    (reused.request, reused.request_digest) = (first.request, [9; 16]);
    let same_account = account("alice", &quick());
    let other = account("bob", &quick());
    let batch = [&first, &same_request, &reused, &same_account, &other];
    let opened = bed
        .ledger
        .open(asked(batch.into_iter().cloned().collect()))
        .await
        .unwrap();
    assert_eq!(
        opened,
        [
            Opened::Created(first.clone()),
            Opened::Repeat(first.clone()),
            Opened::RequestIdReused,
            Opened::AccountHasLive(first.id),
            Opened::Created(other),
        ]
    );
}

async fn many_accounts_open_in_one_batch(bed: &Bed) {
    let batch: Vec<_> = (0..1_000)
        .map(|number| account(&format!("account-{number}"), &quick()))
        .collect();
    let opened = bed.ledger.open(asked(batch.clone())).await.unwrap();
    let created: Vec<_> = batch.into_iter().map(Opened::Created).collect();
    assert_eq!(opened, created);
}

async fn a_deletion_id_is_never_taken_twice(bed: &Bed) {
    let first = erasing(&*bed.ledger, "alice").await;
    let mut thief = account("bob", &quick());
    thief.id = first.id;
    let bystander = account("carol", &quick());
    let refused = bed.ledger.open(asked(vec![bystander.clone(), thief])).await;
    assert!(matches!(refused, Err(Error::Refused(_))), "{refused:?}");
    assert_eq!(stored(&*bed.ledger, first.id).await, first);
    assert_eq!(bed.ledger.get(&[bystander.id]).await.unwrap(), []);
}

async fn a_request_id_is_remembered_for_one_body(bed: &Bed) {
    let deletion = erasing(&*bed.ledger, "alice").await.id;
    let request = RequestId(Uuid::new_v4());
    for (digest, expected) in [
        ([1; 16], Remembered::New),
        ([1; 16], Remembered::Repeat),
        ([2; 16], Remembered::Reused),
    ] {
        let seen = bed.ledger.seen(request).await.unwrap();
        let seen = Remembered::of(seen, Seen { digest, deletion });
        assert_eq!(seen, expected, "and looking changes nothing");
        let remembered = bed.ledger.remember(request, digest, deletion).await;
        assert_eq!(remembered.unwrap(), expected);
    }
}

async fn a_request_id_of_another_mutation_opens_nothing(bed: &Bed) {
    let first = erasing(&*bed.ledger, "alice").await;
    let mut second = account("bob", &quick());
    bed.ledger
        .remember(second.request, [1; 16], first.id)
        .await
        .unwrap();
    second.request_digest = [2; 16];
    let opened = bed.ledger.open(asked(vec![second])).await.unwrap();
    assert_eq!(opened, [Opened::RequestIdReused]);
}
