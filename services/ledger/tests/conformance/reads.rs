//! What is owed, and what people ask.

use std::time::Duration;

use farewell_core::{Deletion, DeletionId, Policy, Slot, Time};
use farewell_ledger::{Cursor, Filter};

use crate::bed::Bed;
use crate::given::{LONG, account, asked, coordinator, erasing, now, purge, quick};

crate::on_every_ledger! {
    what_is_owed_comes_by_attention_and_page_by_page
    what_is_owed_later_or_elsewhere_is_left_out
    deletions_are_read_in_the_order_asked
    a_list_is_filtered_and_newest_first
    an_overview_counts
    a_policy_is_adopted_once
    the_clock_goes_on
}

fn all() -> Vec<Slot> {
    Slot::all().collect()
}

/// Opens deletions that want attention at these seconds after `now`.
async fn wanting(bed: &Bed, seconds: &[u64]) -> Vec<Deletion> {
    let batch: Vec<Deletion> = seconds
        .iter()
        .enumerate()
        .map(|(number, seconds)| Deletion {
            attention_at: Some(now() + Duration::from_secs(*seconds)),
            ..account(&format!("account-{number}"), &quick())
        })
        .collect();
    bed.ledger.open(asked(batch.clone())).await.unwrap();
    batch
}

async fn what_is_owed_comes_by_attention_and_page_by_page(bed: &Bed) {
    let mut expected = wanting(bed, &[5, 3, 3, 9, 1, 7, 3]).await;
    expected.sort_by_key(|deletion| (deletion.attention_at, deletion.id));
    let mut found = Vec::new();
    let mut after = None;
    loop {
        let page = bed.ledger.owed(&all(), after, 2).await.unwrap();
        let Some(last) = page.last() else {
            break;
        };
        after = last.deletion.attention_at.map(|attention_at| Cursor {
            attention_at,
            id: last.deletion.id,
        });
        found.extend(page.into_iter().map(|owed| owed.deletion));
    }
    assert_eq!(found, expected);
}

async fn what_is_owed_later_or_elsewhere_is_left_out(bed: &Bed) {
    let deletions = wanting(bed, &[1, 2, 100 * 365 * 24 * 3_600]).await;
    let mut expected = vec![deletions[0].id, deletions[1].id];
    let owed = bed.ledger.owed(&all(), None, 10).await.unwrap();
    let found: Vec<DeletionId> = owed.iter().map(|owed| owed.deletion.id).collect();
    assert_eq!(found, expected);

    let mine = [deletions[0].id.slot()];
    expected.retain(|id| mine.contains(&id.slot()));
    let owed = bed.ledger.owed(&mine, None, 10).await.unwrap();
    let found: Vec<DeletionId> = owed.iter().map(|owed| owed.deletion.id).collect();
    assert_eq!(found, expected);
    assert_eq!(bed.ledger.owed(&[], None, 10).await.unwrap(), []);
}

async fn deletions_are_read_in_the_order_asked(bed: &Bed) {
    let deletions = wanting(bed, &[1, 2, 3]).await;
    let stranger = account("stranger", &quick());
    let ids = [deletions[2].id, stranger.id, deletions[0].id];
    let owed = bed.ledger.get(&ids).await.unwrap();
    let found: Vec<DeletionId> = owed.iter().map(|owed| owed.deletion.id).collect();
    assert_eq!(found, [deletions[2].id, deletions[0].id]);
    assert_eq!(bed.ledger.get(&[]).await.unwrap(), []);
}

async fn a_list_is_filtered_and_newest_first(bed: &Bed) {
    let fence = coordinator(&*bed.ledger).await;
    let mut deletions = wanting(bed, &[1, 20, 3]).await;
    deletions.sort_by_key(|deletion| std::cmp::Reverse(deletion.id));
    let list = async |filter: Filter, before: Option<DeletionId>, limit: u32| {
        let found = bed.ledger.list(&filter, before, limit).await.unwrap();
        found.into_iter().map(|deletion| deletion.id).collect()
    };
    let ids: Vec<DeletionId> = deletions.iter().map(|deletion| deletion.id).collect();
    let every: Vec<DeletionId> = list(Filter::default(), None, 10).await;
    assert_eq!(every, ids);
    let first: Vec<DeletionId> = list(Filter::default(), None, 1).await;
    assert_eq!(first, ids[..1]);
    let rest: Vec<DeletionId> = list(Filter::default(), Some(ids[0]), 10).await;
    assert_eq!(rest, ids[1..]);

    let purged = &deletions[1];
    purge(&*bed.ledger, &fence, purged).await;
    let states = Filter {
        states: vec![5, 6],
        ..Filter::default()
    };
    let found: Vec<DeletionId> = list(states, None, 10).await;
    assert_eq!(found, [purged.id]);
    let account = Filter {
        account: Some(purged.account.clone()),
        ..Filter::default()
    };
    let found: Vec<DeletionId> = list(account, None, 10).await;
    assert_eq!(found, [purged.id]);
    let waiting = Filter {
        unmoved_since: Some(now() + Duration::from_secs(10)),
        ..Filter::default()
    };
    let expected: Vec<DeletionId> = deletions
        .iter()
        .filter(|deletion| deletion.id != purged.id)
        .filter(|deletion| deletion.attention_at < Some(now() + Duration::from_secs(10)))
        .map(|deletion| deletion.id)
        .collect();
    let found: Vec<DeletionId> = list(waiting, None, 10).await;
    assert_eq!(found, expected);
}

async fn an_overview_counts(bed: &Bed) {
    let fence = bed.ledger.join("one", LONG).await.unwrap();
    bed.ledger.claim(&fence, &all()[..9]).await.unwrap();
    let overview = bed.ledger.overview(LONG, Duration::ZERO).await.unwrap();
    assert_eq!((overview.states, overview.outbox), (vec![], 0));
    assert_eq!(overview.oldest_unfinished, None);

    let first = erasing(&*bed.ledger, "alice").await;
    erasing(&*bed.ledger, "bob").await;
    purge(&*bed.ledger, &fence, &first).await;
    let overview = bed.ledger.overview(LONG, Duration::ZERO).await.unwrap();
    assert_eq!(overview.states, [(3, 1), (5, 1)]);
    assert_eq!(overview.oldest_unfinished, Some(now()));
    assert_eq!(overview.outbox, 1);
    // Both were requested years ago; what is purged is late no more.
    assert_eq!((overview.overdue, overview.overdue_soon), (1, 0));
    let mut later = account("carol", &quick());
    later.deadline = bed.ledger.now().await.unwrap() + LONG / 2;
    bed.ledger.open(asked(vec![later])).await.unwrap();
    let soon = bed.ledger.overview(LONG, Duration::ZERO).await.unwrap();
    assert_eq!((soon.overdue, soon.overdue_soon), (1, 1));
    let soon = bed.ledger.overview(LONG / 4, Duration::ZERO).await.unwrap();
    assert_eq!((soon.overdue, soon.overdue_soon), (1, 0));
    assert_eq!(overview.coordinators.len(), 1);
    assert_eq!(overview.coordinators[0].holder, "one");
    assert_eq!(overview.coordinators[0].slots, 9);
    assert!(overview.coordinators[0].lease_until > bed.ledger.now().await.unwrap());
}

async fn a_policy_is_adopted_once(bed: &Bed) {
    let other = quick().policy().clone();
    for _ in 0..2 {
        assert_eq!(bed.ledger.adopt(&Policy::cn()).await.unwrap(), 1);
        assert_eq!(bed.ledger.adopt(&other).await.unwrap(), 2);
    }
    let policies = bed.ledger.policies().await.unwrap();
    assert_eq!(policies, [(1, Policy::cn()), (2, other)]);
}

async fn the_clock_goes_on(bed: &Bed) {
    let before = bed.ledger.now().await.unwrap();
    tokio::time::sleep(Duration::from_millis(2)).await;
    let after = bed.ledger.now().await.unwrap();
    assert!(after > before);
    assert!(after > Time::from_micros(1_700_000_000_000_000));
}
