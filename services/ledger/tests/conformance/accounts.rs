//! Accounts that were asked something other than to be deleted.

use farewell_core::account::{Account, Ask, Event, Kind, Outcome};
use farewell_core::policy::{Factor, Factors};
use farewell_core::{RequestId, Slot, Time};
use farewell_ledger::account::Place;
use uuid::Uuid;

use crate::bed::Bed;

crate::on_every_ledger! {
    what_was_decided_of_an_account_reads_back_whole
    of_two_who_decide_on_the_same_account_one_is_told_that_it_lost
    an_account_that_is_not_there_has_no_second_revision
    accounts_want_attention_in_order_and_only_from_whoever_holds_their_slot
    answers_leave_an_account_where_it_stands_in_the_order
}

fn ask(kind: Kind, factors: Factors, expires_at: Time) -> Ask {
    Ask {
        id: RequestId(Uuid::now_v7()),
        digest: [7; 16],
        kind,
        channel: None,
        case: Some("cases/1".to_owned()),
        consent: Some(3),
        factors,
        expires_at,
        participants: vec!["cloud".parse().unwrap(), "store".parse().unwrap()],
    }
}

/// Frozen at that second, and nobody was told yet.
fn frozen(name: &str, second: i64) -> Account {
    let ask = ask(Kind::Freeze, Factors::default(), at(second));
    Account::new(name.parse().unwrap())
        .ask(ask, at(second))
        .unwrap()
}

fn at(second: i64) -> Time {
    Time::from_micros(second * 1_000_000)
}

fn told(account: &Account, participant: &str) -> Account {
    let lapsed = [("discounts".to_owned(), 2)].into();
    let event = Event::Told(participant.parse().unwrap(), Outcome::Done { lapsed });
    account.step(account.changes[0].id, event, at(900)).unwrap()
}

fn slots() -> Vec<Slot> {
    Slot::all().collect()
}

async fn what_was_decided_of_an_account_reads_back_whole(bed: &Bed) {
    let account = Account {
        personalization_stopped: Some(at(4)),
        ..frozen("alice", 5)
    };
    assert_eq!(bed.ledger.account(&account.account).await.unwrap(), None);
    assert!(bed.ledger.keep_account(&account).await.unwrap());
    let read = bed.ledger.account(&account.account).await.unwrap();
    assert_eq!(read.as_ref(), Some(&account));
    let next = told(&account, "cloud");
    assert!(bed.ledger.keep_account(&next).await.unwrap());
    let next = told(&next, "store");
    assert!(bed.ledger.keep_account(&next).await.unwrap());
    let read = bed.ledger.account(&account.account).await.unwrap();
    assert_eq!(read, Some(next));
}

async fn of_two_who_decide_on_the_same_account_one_is_told_that_it_lost(bed: &Bed) {
    let (mine, theirs) = (frozen("alice", 5), frozen("alice", 6));
    let (one, other) = tokio::join!(
        bed.ledger.keep_account(&mine),
        bed.ledger.keep_account(&theirs)
    );
    assert!(one.unwrap() ^ other.unwrap());
    let stored = bed.ledger.account(&mine.account).await.unwrap().unwrap();
    let (mine, theirs) = (told(&stored, "cloud"), told(&stored, "store"));
    let (one, other) = tokio::join!(
        bed.ledger.keep_account(&mine),
        bed.ledger.keep_account(&theirs)
    );
    let (one, other) = (one.unwrap(), other.unwrap());
    assert!(one ^ other);
    let stored = bed.ledger.account(&mine.account).await.unwrap().unwrap();
    assert_eq!(stored, if one { mine } else { theirs });
}

async fn an_account_that_is_not_there_has_no_second_revision(bed: &Bed) {
    let second = told(&frozen("alice", 5), "cloud");
    assert!(!bed.ledger.keep_account(&second).await.unwrap());
    assert_eq!(bed.ledger.account(&second.account).await.unwrap(), None);
}

async fn accounts_want_attention_in_order_and_only_from_whoever_holds_their_slot(bed: &Bed) {
    let far = Time::from_micros(i64::MAX - 1);
    let codes = [Factor::SmsCode].into_iter().collect();
    let waiting = Account::new("waits".parse().unwrap());
    let waiting = waiting.ask(ask(Kind::Unfreeze, codes, far), at(1)).unwrap();
    let done = told(&told(&frozen("done", 1), "cloud"), "store");
    let mut all = vec![
        frozen("zoe", 2),
        frozen("bob", 3),
        frozen("amy", 3),
        frozen("cat", 4),
    ];
    for account in [&waiting, &frozen("done", 1)].into_iter().chain(&all) {
        assert!(bed.ledger.keep_account(account).await.unwrap());
    }
    let mut stored = bed.ledger.account(&done.account).await.unwrap().unwrap();
    for participant in ["cloud", "store"] {
        stored = told(&stored, participant);
        assert!(bed.ledger.keep_account(&stored).await.unwrap());
    }
    all.sort_by_key(|account| Place::of(account).unwrap());
    let owed = bed.ledger.accounts_owed(&slots(), None, 10).await.unwrap();
    assert_eq!(owed, all);
    let first = bed.ledger.accounts_owed(&slots(), None, 2).await.unwrap();
    assert_eq!(first, all[..2]);
    let after = Place::of(&first[1]);
    let rest = bed
        .ledger
        .accounts_owed(&slots(), after.as_ref(), 10)
        .await
        .unwrap();
    assert_eq!(rest, all[2..]);
    let mut every = Vec::new();
    while let Ok(page) = bed.ledger.accounts(every.last(), 4).await
        && !page.is_empty()
    {
        assert!(page.len() <= 4);
        every.extend(page.into_iter().map(|account| account.account));
    }
    every.sort();
    let names = ["amy", "bob", "cat", "done", "waits", "zoe"];
    assert_eq!(every, names.map(|name| name.parse().unwrap()));
    let one = Account::slot(&all[0].account);
    let others: Vec<_> = slots().into_iter().filter(|slot| *slot != one).collect();
    let owed = bed.ledger.accounts_owed(&others, None, 10).await.unwrap();
    assert!(
        owed.iter()
            .all(|account| Account::slot(&account.account) != one)
    );
    assert!(!owed.contains(&all[0]));
    assert_eq!(bed.ledger.accounts_owed(&[], None, 10).await.unwrap(), []);
}

async fn answers_leave_an_account_where_it_stands_in_the_order(bed: &Bed) {
    let account = frozen("alice", 5);
    assert!(bed.ledger.keep_account(&account).await.unwrap());
    let next = told(&account, "cloud");
    assert_eq!(Place::of(&next), Place::of(&account));
    assert!(bed.ledger.keep_account(&next).await.unwrap());
    let owed = bed.ledger.accounts_owed(&slots(), None, 10).await.unwrap();
    assert_eq!(owed, std::slice::from_ref(&next));
    assert!(
        bed.ledger
            .keep_account(&told(&next, "store"))
            .await
            .unwrap()
    );
    assert_eq!(
        bed.ledger.accounts_owed(&slots(), None, 10).await.unwrap(),
        []
    );
}
