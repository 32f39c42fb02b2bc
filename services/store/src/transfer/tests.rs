use std::time::Duration;

use farewell_kit::{
    Answer, Order, Participant as _, RetentionRule, SetStanding, Standing, StartingPoint, Term,
    seal,
};
use jiff::tz::TimeZone;

use super::*;
use crate::order::NewOrder;
use crate::{
    Shop, SupportCase, cancel_subscriptions, complete_order, credit_points, entitlements,
    forfeit_points, grant_coupon, grant_entitlement, kept, left_over, open_dispute,
    open_support_case, place_order, scratch, subscribe, top_up,
};

const ANN: &str = "a-ann";
const BEN: &str = "a-ben";
const CID: &str = "a-cid";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const ALL: [Belonging; 5] = [
    Belonging::Points,
    Belonging::Coupons,
    Belonging::StoreCredit,
    Belonging::Orders,
    Belonging::Memberships,
];

fn asked(number: u32, belongings: &[Belonging]) -> TransferBelongings {
    TransferBelongings {
        account: ANN.to_owned(),
        to_account: BEN.to_owned(),
        name: format!("requests/00000000-0000-4000-8000-{number:012}"),
        belongings: belongings.to_vec(),
        case: "cases/c1".to_owned(),
        dry_run: false,
    }
}

fn look(number: u32, belongings: &[Belonging]) -> TransferBelongings {
    TransferBelongings {
        case: String::new(),
        dry_run: true,
        ..asked(number, belongings)
    }
}

fn command(account: &str, name: &str) -> Order {
    Order {
        horizon: None,
        retention: vec![RetentionRule {
            class: "transactions".to_owned(),
            legal_basis: "the law of transactions".to_owned(),
            from: StartingPoint::Completion,
            term: Term::Months(36),
            time_zone: TimeZone::UTC,
            until: None,
        }],
        ended_by: None,
        command: format!("deletions/d-{account}/commands/{name}"),
        account: account.to_owned(),
        deadline: None,
        devices: Vec::new(),
        traceparent: String::new(),
    }
}

async fn shops(name: &str) -> Vec<(Store, Shop)> {
    let stores = scratch::stores(name).await;
    let open = |store: Store| (store.clone(), Shop::new(store));
    stores.into_iter().map(open).collect()
}

async fn buy(store: &Store, account: &str, at: SystemTime) -> String {
    let lamp = NewOrder {
        item: "lamp",
        amount_cents: 990,
        recipient: "Wang Wei",
        address: "1 Lake Street",
    };
    let order = place_order(store, account, &lamp).await.unwrap();
    assert!(complete_order(store, account, &order, at).await.unwrap());
    order
}

/// Something of each kind: and of most something that stays.
async fn fill(store: &Store) {
    credit_points(store, ANN, 120).await.unwrap();
    credit_points(store, BEN, 5).await.unwrap();
    for worth in [100, 200] {
        grant_coupon(store, ANN, worth).await.unwrap();
    }
    top_up(store, ANN, 700).await.unwrap();
    top_up(store, BEN, 50).await.unwrap();
    buy(store, ANN, SystemTime::now() - DAY * 300).await;
    for plan in ["films", "music", "games"] {
        subscribe(store, ANN, plan).await.unwrap();
    }
    // One that Ben has himself, and one that has ended with him.
    subscribe(store, BEN, "games").await.unwrap();
    cancel_subscriptions(store, BEN).await.unwrap();
    subscribe(store, BEN, "music").await.unwrap();
    grant_entitlement(store, ANN, "free-delivery", false)
        .await
        .unwrap();
    grant_entitlement(store, ANN, "adult-content", true)
        .await
        .unwrap();
}

fn amounts(transferred: &Transferred) -> Vec<(Belonging, i64, i64)> {
    match transferred {
        Transferred::Found { belongings } | Transferred::Done { belongings, .. } => belongings
            .iter()
            .map(|it| (it.belonging, it.moved, it.left))
            .collect(),
        Transferred::Refused { reason } => panic!("{reason}"),
    }
}

fn reason(transferred: Transferred) -> &'static str {
    match transferred {
        Transferred::Refused { reason } => reason,
        other => panic!("{other:?}"),
    }
}

async fn number(store: &Store, query: &'static str) -> i64 {
    let (number,): (i64,) = sqlx::query_as(query).fetch_one(store.pool()).await.unwrap();
    number
}

/// Points and money of both, which no transfer changes.
async fn wealth(store: &Store) -> (i64, i64) {
    (
        number(
            store,
            "SELECT CAST(COALESCE(SUM(points), 0) AS BIGINT) FROM points",
        )
        .await,
        number(
            store,
            "SELECT CAST(COALESCE(SUM(balance_cents), 0) AS BIGINT) FROM wallet",
        )
        .await,
    )
}

async fn codes(shop: &Shop, account: &str) -> Vec<String> {
    let blockers = farewell_kit::Holder::blockers(shop, account).await.unwrap();
    blockers.into_iter().map(|blocker| blocker.code).collect()
}

#[tokio::test]
async fn what_leaves_one_account_arrives_at_the_other_and_the_book_adds_up() {
    for (store, shop) in shops("adds_up").await {
        let store = &store;
        fill(store).await;
        let before = wealth(store).await;
        let expected = [
            (Belonging::Points, 120, 0),
            (Belonging::Coupons, 2, 0),
            (Belonging::StoreCredit, 700, 0),
            (Belonging::Orders, 1, 0),
            // Films, games and free delivery; not music, which Ben has, and not what Ann's real name was shown for.
            (Belonging::Memberships, 3, 2),
        ];
        let found = transfer(store, &look(1, &ALL)).await.unwrap();
        assert!(matches!(found, Transferred::Found { .. }));
        assert_eq!(amounts(&found), expected);
        assert_eq!(
            number(store, "SELECT COUNT(*) FROM book").await,
            0,
            "only a look"
        );
        let done = transfer(store, &asked(1, &ALL)).await.unwrap();
        assert!(matches!(done, Transferred::Done { .. }));
        assert_eq!(amounts(&done), expected);
        assert_eq!(wealth(store).await, before);
        assert_eq!(codes(&shop, ANN).await, ["ACTIVE_SUBSCRIPTION"]);
        assert_eq!(
            entitlements(store, ANN).await.unwrap(),
            ["adult-content"],
            "tied to a name"
        );
        assert_eq!(entitlements(store, BEN).await.unwrap(), ["free-delivery"]);

        let lines: Vec<(String, i64, i64)> = sqlx::query_as(
            "SELECT belonging, CAST(SUM(amount) AS BIGINT), COUNT(*) FROM book \
             WHERE reason = 'cases/c1' GROUP BY belonging, transfer",
        )
        .fetch_all(store.pool())
        .await
        .unwrap();
        assert_eq!(lines.len(), ALL.len());
        for (belonging, sum, count) in lines {
            assert_eq!((sum, count), (0, 2), "{belonging}");
        }
        let personal = "SELECT COUNT(*) FROM placed_order WHERE recipient <> '' OR address <> ''";
        assert_eq!(number(store, personal).await, 0);

        // Again, with the same name: the same, even after the deletion; with another: nothing is there.
        assert_eq!(transfer(store, &asked(1, &ALL)).await.unwrap(), done);
        assert_eq!(transfer(store, &look(1, &ALL)).await.unwrap(), done);
        let nothing = transfer(store, &asked(2, &ALL)).await.unwrap();
        assert_eq!(reason(nothing), "NOTHING_TO_TRANSFER");
        let more = asked(1, &ALL[..1]);
        let back = TransferBelongings {
            account: BEN.to_owned(),
            to_account: ANN.to_owned(),
            ..asked(1, &ALL)
        };
        for other in [more, back] {
            let reused = transfer(store, &other).await.unwrap();
            assert_eq!(reason(reused), "REQUEST_ID_REUSED");
        }
        assert_eq!(wealth(store).await, before);
    }
}

#[tokio::test]
async fn a_moved_order_keeps_its_legal_clock_under_whoever_it_belongs_to() {
    for (store, shop) in shops("clock").await {
        let store = &store;
        let bought = SystemTime::now() - DAY * 300;
        let order = buy(store, ANN, bought).await;
        let only = [Belonging::Orders];
        transfer(store, &asked(1, &only)).await.unwrap();
        shop.act(&command(ANN, "1-erase-store")).await.unwrap();
        assert_eq!(
            kept(store, "d-a-ann").await.unwrap(),
            [],
            "one record, not two"
        );
        let held = left_over(store, BEN).await.unwrap();
        let categories: Vec<_> = held
            .categories
            .iter()
            .map(|it| it.category.as_str())
            .collect();
        assert_eq!(categories, ["orders", "transfers"]);
        let gone = left_over(store, ANN).await.unwrap();
        assert!(gone.categories.is_empty(), "{gone:?}");
        let known = transfer(store, &asked(1, &only)).await.unwrap();
        assert!(
            matches!(known, Transferred::Done { .. }),
            "told again after the deletion"
        );

        let erased = shop.act(&command(BEN, "1-erase-store")).await.unwrap();
        let Answer::Done(erased) = erased else {
            panic!("{erased:?}")
        };
        assert_eq!(
            (erased.retained.len(), erased.retained[0].count),
            (1, 1),
            "{order}"
        );
        // Three years from when it was completed, and not from when it moved.
        let until = erased.retained[0].until;
        assert!(until > bought + DAY * 1_094 && until < bought + DAY * 1_098);
        assert_eq!(number(store, "SELECT COUNT(*) FROM book").await, 0);
    }
}

#[tokio::test]
async fn what_is_under_way_or_claimed_moves_nothing_at_all() {
    for (store, _) in shops("under_way").await {
        let store = &store;
        fill(store).await;
        let before = left_over(store, ANN).await.unwrap();
        let both = [Belonging::Points, Belonging::Orders];
        let lamp = NewOrder {
            item: "lamp",
            amount_cents: 990,
            recipient: "Wang Wei",
            address: "1 Lake Street",
        };
        let order = place_order(store, ANN, &lamp).await.unwrap();
        let refused = async |number| {
            let answer = transfer(store, &asked(number, &both)).await;
            reason(answer.unwrap())
        };
        assert_eq!(refused(1).await, "ORDER_IN_TRANSIT");
        complete_order(store, ANN, &order, SystemTime::now())
            .await
            .unwrap();
        open_dispute(store, ANN, &order).await.unwrap();
        assert_eq!(refused(1).await, "ORDER_DISPUTED");
        crate::close_dispute(store, ANN, &order).await.unwrap();
        let claim = open_support_case(store, ANN, SupportCase::Insurance, "It fell.");
        let claim = claim.await.unwrap();
        assert_eq!(refused(1).await, "SAFETY_OR_INSURANCE_CASE");
        let held = left_over(store, ANN).await.unwrap();
        assert_eq!(held.categories.len(), before.categories.len() + 1);
        // Points alone are nobody's evidence; and a refusal is not for good.
        let points = [Belonging::Points];
        let moved = transfer(store, &asked(2, &points)).await.unwrap();
        assert_eq!(amounts(&moved), [(Belonging::Points, 120, 0)]);
        crate::close_support_case(store, ANN, &claim).await.unwrap();
        let moved = transfer(store, &asked(1, &both)).await.unwrap();
        assert_eq!(
            amounts(&moved),
            [(Belonging::Points, 0, 0), (Belonging::Orders, 2, 0)]
        );
    }
}

#[tokio::test]
async fn points_that_were_given_up_stay_and_what_can_not_be_counted_is_left_alone() {
    for (store, _) in shops("given_up").await {
        let store = &store;
        credit_points(store, ANN, 9).await.unwrap();
        forfeit_points(store, ANN).await.unwrap();
        let points = [Belonging::Points];
        let nothing = transfer(store, &asked(1, &points)).await.unwrap();
        assert_eq!(reason(nothing), "NOTHING_TO_TRANSFER");
        credit_points(store, ANN, 1).await.unwrap();
        credit_points(store, BEN, 1).await.unwrap();
        sqlx::query("UPDATE points SET points = $1 WHERE account = $2")
            .bind(i64::MAX)
            .bind(BEN)
            .execute(store.pool())
            .await
            .unwrap();
        let large = transfer(store, &asked(1, &points)).await.unwrap();
        assert_eq!(reason(large), "BALANCE_TOO_LARGE");
        assert_eq!(
            number(store, "SELECT points FROM points WHERE account = 'a-ann'").await,
            10
        );
    }
}

#[tokio::test]
async fn neither_account_may_be_closed() {
    for (store, shop) in shops("closed").await {
        let store = &store;
        credit_points(store, ANN, 7).await.unwrap();
        let points = [Belonging::Points];
        let refused = async || {
            let answer = transfer(store, &asked(1, &points)).await;
            reason(answer.unwrap())
        };
        for (account, words) in [
            (ANN, ["ACCOUNT_SEALED", "ACCOUNT_FROZEN"]),
            (BEN, ["TO_ACCOUNT_SEALED", "TO_ACCOUNT_FROZEN"]),
        ] {
            shop.seal(&command(account, "1-seal-store")).await.unwrap();
            assert_eq!(refused().await, words[0]);
            shop.unseal(&command(account, "1-unseal-store"))
                .await
                .unwrap();
            for (generation, standing) in [(1, Standing::Frozen), (2, Standing::Active)] {
                let set = SetStanding {
                    account: account.to_owned(),
                    generation,
                    standing,
                    recent_change: farewell_kit::RECENT_CHANGE_MAX,
                };
                shop.set_standing(&set).await.unwrap();
                if standing == Standing::Frozen {
                    assert_eq!(refused().await, words[1]);
                }
            }
        }
        shop.act(&command(CID, "1-erase-store")).await.unwrap();
        for (from, to, word) in [
            (ANN, CID, "TO_ACCOUNT_ERASED"),
            (CID, BEN, "ACCOUNT_ERASED"),
        ] {
            let request = TransferBelongings {
                account: from.to_owned(),
                to_account: to.to_owned(),
                ..asked(1, &points)
            };
            let answer = transfer(store, &request).await.unwrap();
            assert_eq!(reason(answer), word);
        }
        assert_eq!(wealth(store).await.0, 7);
    }
}

#[tokio::test]
async fn transfers_to_and_fro_at_once_lose_no_point_and_wait_for_nobody() {
    const ROUNDS: u32 = 12;
    for (store, _) in shops("to_and_fro").await {
        let store = &store;
        credit_points(store, ANN, 100).await.unwrap();
        credit_points(store, BEN, 11).await.unwrap();
        let points = [Belonging::Points];
        let mut running = Vec::new();
        for round in 0..ROUNDS {
            let there = asked(round * 2, &points);
            let back = TransferBelongings {
                account: BEN.to_owned(),
                to_account: ANN.to_owned(),
                ..asked(round * 2 + 1, &points)
            };
            for request in [there, back] {
                let store = store.clone();
                running.push(tokio::spawn(
                    async move { transfer(&store, &request).await },
                ));
            }
        }
        for task in running {
            // Whoever found nothing was told so; nobody met a deadlock.
            let answer = task.await.unwrap().unwrap();
            if let Transferred::Refused { reason } = answer {
                assert_eq!(reason, "NOTHING_TO_TRANSFER");
            }
        }
        assert_eq!(wealth(store).await.0, 111);
        let sum = "SELECT CAST(COALESCE(SUM(amount), 0) AS BIGINT) FROM book";
        assert_eq!(number(store, sum).await, 0);
        let own =
            "SELECT CAST(COALESCE(SUM(amount), 0) AS BIGINT) FROM book WHERE account = 'a-ann'";
        let balance =
            "SELECT CAST(COALESCE(SUM(points), 0) AS BIGINT) FROM points WHERE account = 'a-ann'";
        assert_eq!(
            100 + number(store, own).await,
            number(store, balance).await,
            "the book explains it"
        );
    }
}

#[tokio::test]
async fn a_seal_sees_a_transfer_before_it_or_after_it() {
    for (store, shop) in shops("seal").await {
        let store = &store;
        credit_points(store, ANN, 100).await.unwrap();
        // As the transfer would: Ann's row is held.
        let mut tx = store.pool().begin().await.unwrap();
        seal::admit(&mut tx, ANN).await.unwrap();
        let sealing = tokio::spawn({
            let shop = shop.clone();
            async move { shop.seal(&command(ANN, "1-seal-store")).await }
        });
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(!sealing.is_finished());
        tx.commit().await.unwrap();
        sealing.await.unwrap().unwrap();
        let points = [Belonging::Points];
        let late = transfer(store, &asked(1, &points)).await.unwrap();
        assert_eq!(reason(late), "ACCOUNT_SEALED");
        assert_eq!(codes(&shop, ANN).await, ["POINTS_LEFT"]);
    }
}
