use std::time::Duration;

use farewell_kit::export::untold;
use farewell_kit::seal::Begun;
use farewell_kit::{Outcome, Participant, RetentionRule, StartingPoint, Term};
use jiff::tz::TimeZone;

use super::*;
use crate::order::NewOrder;
use crate::{
    BLOCKERS, SupportCase, cancel_subscriptions, close_dispute, close_support_case, complete_order,
    credit_points, forfeit_coupons, forfeit_points, grant_coupon, join_campaign, kept,
    leave_campaigns, left_over, lend, open_dispute, open_support_case, pay_back, pay_out,
    place_order, sample, scratch, subscribe, top_up,
};

const ACCOUNT: &str = "a-4711";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const LAMP: NewOrder<'static> = NewOrder {
    item: "lamp",
    amount_cents: 990,
    recipient: "Wang Wei",
    address: "1 Lake Street",
};

fn rule(class: &str, from: StartingPoint, term: Term) -> RetentionRule {
    RetentionRule {
        class: class.to_owned(),
        legal_basis: format!("the law of {class}"),
        from,
        term,
        time_zone: TimeZone::get("Asia/Shanghai").unwrap(),
        until: None,
    }
}

fn command(name: &str) -> Order {
    Order {
        horizon: None,
        retention: vec![
            rule("transactions", StartingPoint::Completion, Term::Months(36)),
            rule("server_logs", StartingPoint::Entry, Term::Months(6)),
        ],
        ended_by: None,
        command: format!("deletions/d1/commands/{name}"),
        account: ACCOUNT.to_owned(),
        deadline: None,
        devices: Vec::new(),
        traceparent: String::new(),
    }
}

async fn shops(name: &str) -> Vec<(Store, Shop)> {
    let mut all = Vec::new();
    for store in scratch::stores(name).await {
        sample(&store, ACCOUNT).await.unwrap();
        all.push((store.clone(), Shop::new(store)));
    }
    all
}

async fn expire_at(shop: &Shop, order: &Order, now: SystemTime) -> Answer {
    match seal::expire(&shop.store, order).await.unwrap() {
        Begun::Answered(answer) => answer,
        Begun::Open(work) => shop.expire_at(work, order, now).await.unwrap(),
    }
}

async fn act_at(shop: &Shop, order: &Order, now: SystemTime) -> Answer {
    match seal::erase(&shop.store, order).await.unwrap() {
        Begun::Answered(answer) => answer,
        Begun::Open(work) => shop.erase_at(work, order, now).await.unwrap(),
    }
}

fn done(answer: Answer) -> Done {
    match answer {
        Answer::Done(done) => done,
        other => panic!("{other:?}"),
    }
}

async fn codes(shop: &Shop) -> Vec<String> {
    shop.blockers(ACCOUNT)
        .await
        .unwrap()
        .into_iter()
        .map(|blocker| blocker.code)
        .collect()
}

#[tokio::test]
async fn a_sealed_account_takes_no_new_order() {
    for (store, shop) in shops("sealed").await {
        let open = place_order(&store, ACCOUNT, &LAMP).await.unwrap();
        let before = left_over(&store, ACCOUNT).await.unwrap();
        shop.seal(&command("1-seal-store")).await.unwrap();
        assert!(matches!(
            place_order(&store, ACCOUNT, &LAMP).await,
            Err(seal::Error::Sealed)
        ));
        assert!(matches!(
            top_up(&store, ACCOUNT, 1).await,
            Err(seal::Error::Sealed)
        ));
        assert!(matches!(
            subscribe(&store, ACCOUNT, "films").await,
            Err(seal::Error::Sealed)
        ));
        assert!(matches!(
            grant_coupon(&store, ACCOUNT, 1).await,
            Err(seal::Error::Sealed)
        ));
        assert_eq!(left_over(&store, ACCOUNT).await.unwrap(), before);
        assert!(
            complete_order(&store, ACCOUNT, &open, SystemTime::now())
                .await
                .unwrap(),
            "still delivered"
        );

        shop.unseal(&command("1-unseal-store")).await.unwrap();
        assert_eq!(left_over(&store, ACCOUNT).await.unwrap(), before);
        place_order(&store, ACCOUNT, &LAMP).await.unwrap();
    }
}

/// What was put in the way of the account.
struct Filled {
    order: String,
    credit: String,
    ticket: String,
    claims: [String; 2],
}

/// Everything that can be.
async fn fill(store: &Store) -> Filled {
    let order = place_order(store, ACCOUNT, &LAMP).await.unwrap();
    assert!(open_dispute(store, ACCOUNT, &order).await.unwrap());
    top_up(store, ACCOUNT, 500).await.unwrap();
    let credit = lend(store, ACCOUNT, 1_000).await.unwrap();
    grant_coupon(store, ACCOUNT, 100).await.unwrap();
    credit_points(store, ACCOUNT, 10).await.unwrap();
    subscribe(store, ACCOUNT, "films").await.unwrap();
    for (campaign, days) in [("spring", 3), ("summer", 9)] {
        join_campaign(store, ACCOUNT, campaign, SystemTime::now() + DAY * days)
            .await
            .unwrap();
    }
    let over = SystemTime::now() - DAY;
    join_campaign(store, ACCOUNT, "winter", over).await.unwrap();
    let open = |case| open_support_case(store, ACCOUNT, case, "The charger smells.");
    Filled {
        order,
        credit,
        ticket: open(SupportCase::Ticket).await.unwrap(),
        claims: [
            open(SupportCase::Safety).await.unwrap(),
            open(SupportCase::Insurance).await.unwrap(),
        ],
    }
}

#[tokio::test]
async fn every_blocker_is_told_at_once_and_goes_with_its_remedy() {
    for (store, shop) in shops("blockers").await {
        assert_eq!(
            codes(&shop).await,
            Vec::<String>::new(),
            "the sample is free to go"
        );
        let filled = fill(&store).await;
        assert_eq!(codes(&shop).await, BLOCKERS);
        let told = shop.blockers(ACCOUNT).await.unwrap();
        let counts: Vec<i64> = told.iter().map(|blocker| blocker.count).collect();
        assert_eq!(
            counts,
            [1, 1, 500, 1, 1, 1_290, 1, 2, 2, 1],
            "what came after a forfeit brings back what was given up"
        );
        for blocker in &told {
            let days = blocker
                .until
                .map(|until| until.duration_since(SystemTime::now()).unwrap());
            let expected = blocker.code == "CAMPAIGN_ACTIVE";
            assert_eq!(days.is_some_and(|days| days > DAY * 8), expected);
        }

        shop.seal(&command("1-seal-store")).await.unwrap();
        complete_order(&store, ACCOUNT, &filled.order, SystemTime::now())
            .await
            .unwrap();
        close_dispute(&store, ACCOUNT, &filled.order).await.unwrap();
        assert_eq!(pay_out(&store, ACCOUNT).await.unwrap(), 500);
        for (paid, left) in [(400, Some(600)), (601, None), (600, Some(0))] {
            let answer = pay_back(&store, ACCOUNT, &filled.credit, paid).await;
            assert_eq!(answer.unwrap(), left);
        }
        forfeit_coupons(&store, ACCOUNT).await.unwrap();
        forfeit_points(&store, ACCOUNT).await.unwrap();
        cancel_subscriptions(&store, ACCOUNT).await.unwrap();
        leave_campaigns(&store, ACCOUNT).await.unwrap();
        for id in [&filled.ticket, &filled.claims[0], &filled.claims[1]] {
            assert!(close_support_case(&store, ACCOUNT, id).await.unwrap());
            assert!(!close_support_case(&store, ACCOUNT, id).await.unwrap());
        }
        assert_eq!(codes(&shop).await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn who_is_sealed_borrows_and_plays_no_more_and_is_heard_all_the_same() {
    for (store, shop) in shops("heard").await {
        shop.seal(&command("1-seal-store")).await.unwrap();
        assert!(matches!(
            lend(&store, ACCOUNT, 1).await,
            Err(seal::Error::Sealed)
        ));
        assert!(matches!(
            join_campaign(&store, ACCOUNT, "spring", SystemTime::now() + DAY).await,
            Err(seal::Error::Sealed)
        ));
        open_support_case(&store, ACCOUNT, SupportCase::Ticket, "How do I go back?")
            .await
            .unwrap();
        assert_eq!(codes(&shop).await, ["SUPPORT_TICKET_OPEN"]);
    }
}

#[tokio::test]
async fn an_open_claim_keeps_its_evidence_and_then_everything_goes() {
    for (store, shop) in shops("claim").await {
        let filled = fill(&store).await;
        let before = left_over(&store, ACCOUNT).await.unwrap();
        for claim in &filled.claims {
            let answer = shop.act(&command("1-erase-store")).await.unwrap();
            assert!(
                matches!(&answer, Answer::Refused { reason, .. } if reason == "SAFETY_OR_INSURANCE_CASE"),
                "{answer:?}"
            );
            assert_eq!(left_over(&store, ACCOUNT).await.unwrap(), before);
            close_support_case(&store, ACCOUNT, claim).await.unwrap();
        }
        let erased = done(shop.act(&command("1-erase-store")).await.unwrap());
        for category in ["credits", "campaigns", "support_cases"] {
            let held = before.categories.iter().find(|it| it.category == category);
            assert_eq!(erased.counts[category], held.unwrap().count);
        }
        let left = left_over(&store, ACCOUNT).await.unwrap();
        assert_eq!(left.categories, Vec::new());
        assert!(matches!(
            open_support_case(&store, ACCOUNT, SupportCase::Ticket, "Hello?").await,
            Err(seal::Error::Erased)
        ));
    }
}

#[tokio::test]
async fn completed_orders_are_retained_without_the_person() {
    for (store, shop) in shops("retained").await {
        let answer = done(shop.act(&command("1-erase-store")).await.unwrap());
        assert_eq!(answer.outcome, Outcome::Erased);
        assert_eq!(
            answer.counts["orders"], 1,
            "the order past its three years is not kept"
        );
        assert_eq!(
            answer.counts["access_log"], 1,
            "nor the entry past its six months"
        );
        let classes: Vec<_> = answer
            .retained
            .iter()
            .map(|kept| (kept.class.as_str(), kept.count))
            .collect();
        assert_eq!(classes, [("server_logs", 2), ("transactions", 3)]);
        assert!(
            left_over(&store, ACCOUNT)
                .await
                .unwrap()
                .categories
                .is_empty()
        );

        let rows: Vec<(String, String)> = sqlx::query_as(
            "SELECT pseudonym, id FROM retained_order UNION ALL SELECT pseudonym, id FROM retained_log",
        )
        .fetch_all(store.pool())
        .await
        .unwrap();
        assert_eq!(rows.len(), 5);
        let mark = seal::mark(ACCOUNT);
        for (pseudonym, id) in &rows {
            assert_eq!(*pseudonym, rows[0].0);
            assert!(
                ![pseudonym, id]
                    .iter()
                    .any(|text| text.contains(ACCOUNT) || text.contains(&mark))
            );
        }
        let probe = done(shop.probe(&command("1-probe-store")).await.unwrap());
        assert_eq!(
            (probe.outcome, probe.retained),
            (Outcome::Clean, answer.retained)
        );
        assert!(matches!(
            place_order(&store, ACCOUNT, &LAMP).await,
            Err(seal::Error::Erased)
        ));
    }
}

#[tokio::test]
async fn retention_runs_from_the_last_orders_completion_and_then_really_ends() {
    for (store, shop) in shops("ends").await {
        let answer = done(shop.act(&command("1-erase-store")).await.unwrap());
        let orders = answer.retained.iter();
        let orders = orders.clone().find(|kept| kept.class == "transactions");
        let (next, until) = orders.map(|kept| (kept.next.unwrap(), kept.until)).unwrap();
        let now = SystemTime::now();
        // Three years less the 40 days since the last order, give or take leap days.
        assert!(until > now + DAY * (1095 - 41) && until < now + DAY * (1097 - 38));
        assert!(next < until);
        let expire = |name: &str, at: SystemTime| Order {
            ended_by: Some(at),
            ..command(name)
        };

        // By neither clock has anything ended before its end; one that is wrong is seen.
        let order = expire("2-expire-store", next);
        let answer = expire_at(&shop, &order, next - Duration::from_secs(60)).await;
        assert!(matches!(answer, Answer::Deferred(_)), "{answer:?}");
        let answer = expire_at(&shop, &order, next - DAY).await;
        assert!(
            matches!(&answer, Answer::Refused { reason, .. } if reason == seal::CLOCK_BEHIND),
            "{answer:?}"
        );
        let logs = done(expire_at(&shop, &order, until).await);
        assert!(!logs.counts.contains_key("transactions") || logs.counts["transactions"] == 1);
        assert!(
            logs.retained
                .iter()
                .all(|kept| kept.next.unwrap_or(kept.until) > next)
        );
        // Told again, it is the same, whatever time it is.
        assert_eq!(shop.recall(&order).await.unwrap(), Some(Answer::Done(logs)));

        let order = expire("3-expire-store", until - Duration::from_secs(1));
        let early = done(expire_at(&shop, &order, until).await);
        assert_eq!(early.retained.len(), 1);
        assert_eq!((early.retained[0].count, early.retained[0].next), (1, None));
        let order = expire("4-expire-store", until);
        let late = done(expire_at(&shop, &order, until).await);
        assert_eq!(
            (
                late.outcome,
                late.counts["transactions"],
                late.retained.len()
            ),
            (Outcome::Erased, 1, 0)
        );
        assert_eq!(kept(&store, "d1").await.unwrap(), Vec::new());
        let rows: (i64,) = sqlx::query_as(
            "SELECT (SELECT COUNT(*) FROM retention) + (SELECT COUNT(*) FROM retention_class)",
        )
        .fetch_one(store.pool())
        .await
        .unwrap();
        assert_eq!(rows.0, 0, "nothing leads anywhere any more");
        let order = expire("5-expire-store", until);
        let never = done(expire_at(&shop, &order, until).await);
        assert_eq!(never.outcome, Outcome::NotFound);
    }
}

#[tokio::test]
async fn what_is_kept_is_stored_and_processed_for_nothing_else() {
    for (store, shop) in shops("restricted").await {
        credit_points(&store, ACCOUNT, 10).await.unwrap();
        let before = shop.inventory(ACCOUNT).await.unwrap();
        assert!(!before.categories.is_empty() && !codes(&shop).await.is_empty());
        assert!(
            !shop
                .export_part(ACCOUNT, "")
                .await
                .unwrap()
                .pieces
                .is_empty()
        );
        let answer = done(shop.act(&command("1-erase-store")).await.unwrap());
        assert_eq!(answer.retained.len(), 2);
        assert_eq!(shop.inventory(ACCOUNT).await.unwrap().categories, []);
        assert_eq!(codes(&shop).await, Vec::<String>::new());
        let part = shop.export_part(ACCOUNT, "").await.unwrap();
        assert!(part.pieces.is_empty() && part.categories.is_empty());
        assert!(sample(&store, ACCOUNT).await.is_err());
        // Another deletion has no way to it, whoever names the account.
        let other = |name: &str| Order {
            command: format!("deletions/d2/commands/{name}"),
            ended_by: Some(SystemTime::now()),
            ..command(name)
        };
        let probe = done(shop.probe(&other("1-probe-store")).await.unwrap());
        assert_eq!((probe.outcome, probe.retained), (Outcome::Clean, vec![]));
        let order = other("2-expire-store");
        let expired = done(expire_at(&shop, &order, SystemTime::now()).await);
        assert_eq!(expired.outcome, Outcome::NotFound);
        let erased = done(shop.act(&other("1-erase-store")).await.unwrap());
        assert_eq!(
            (erased.outcome, erased.retained),
            (Outcome::NotFound, vec![])
        );
        assert_eq!(kept(&store, "d1").await.unwrap(), answer.retained);
    }
}

#[tokio::test]
async fn an_erasure_that_is_repeated_ends_nothing_that_was_still_kept() {
    for (store, shop) in shops("repeated").await {
        // When it was asked the first time, the oldest order was within its three years, and the oldest entry in its six months.
        let then = SystemTime::now() - DAY * 400;
        let again = Order {
            ended_by: Some(then),
            ..command("32769-erase-store")
        };
        let answer = done(shop.act(&again).await.unwrap());
        let classes: Vec<_> = answer
            .retained
            .iter()
            .map(|kept| (kept.class.as_str(), kept.count))
            .collect();
        assert_eq!(classes, [("server_logs", 3), ("transactions", 4)]);
        assert_eq!(kept(&store, "d1").await.unwrap(), answer.retained);
        assert!(
            left_over(&store, ACCOUNT)
                .await
                .unwrap()
                .categories
                .is_empty()
        );
    }
}

#[tokio::test]
async fn nothing_is_kept_that_the_policy_does_not_name() {
    for (store, shop) in shops("lawless").await {
        let order = Order {
            retention: Vec::new(),
            ..command("1-erase-store")
        };
        let answer = done(shop.act(&order).await.unwrap());
        assert_eq!(answer.retained, Vec::new());
        assert_eq!(answer.counts["orders"], 4);
        assert_eq!(kept(&store, "d1").await.unwrap(), Vec::new());
    }
}

#[tokio::test]
async fn what_can_not_be_counted_is_neither_erased_nor_kept() {
    for (store, shop) in shops("uncounted").await {
        let before = left_over(&store, ACCOUNT).await.unwrap();
        let order = Order {
            retention: vec![rule("transactions", StartingPoint::Entry, Term::Days(1))],
            ..command("1-erase-store")
        };
        let answer = shop.act(&order).await.unwrap();
        assert!(
            matches!(&answer, Answer::Refused { reason, .. } if reason == "RETENTION_RULE_UNKNOWN"),
            "{answer:?}"
        );
        assert_eq!(left_over(&store, ACCOUNT).await.unwrap(), before);
    }
}

#[tokio::test]
async fn an_account_that_is_still_there_has_nothing_that_could_end() {
    for (store, shop) in shops("present").await {
        let before = left_over(&store, ACCOUNT).await.unwrap();
        let order = Order {
            ended_by: Some(SystemTime::now()),
            ..command("1-expire-store")
        };
        let answer = Participant::expire(&shop, &order).await.unwrap();
        assert!(
            matches!(&answer, Answer::Refused { reason, .. } if reason == seal::NOT_ERASED),
            "{answer:?}"
        );
        assert_eq!(left_over(&store, ACCOUNT).await.unwrap(), before);
    }
}

#[tokio::test]
async fn a_second_round_with_nothing_new_says_what_is_retained() {
    for (_, shop) in shops("round").await {
        let first = done(shop.act(&command("1-erase-store")).await.unwrap());
        let second = done(shop.act(&command("2-erase-store")).await.unwrap());
        assert_eq!(
            (second.outcome, second.retained),
            (Outcome::Retained, first.retained)
        );
    }
}

#[tokio::test]
async fn a_crash_before_the_answer_is_kept_changes_nothing() {
    for (store, shop) in shops("crash").await {
        let before = left_over(&store, ACCOUNT).await.unwrap();
        let order = command("1-erase-store");
        let now = SystemTime::now();
        let Begun::Open(mut work) = seal::erase(&store, &order).await.unwrap() else {
            panic!("never answered before");
        };
        let lost = erase(work.tx(), &order, now).await.unwrap();
        drop(work);
        assert_eq!(left_over(&store, ACCOUNT).await.unwrap(), before);
        assert_eq!(kept(&store, "d1").await.unwrap(), Vec::new());

        let first = act_at(&shop, &order, now).await;
        assert_eq!(first, Answer::Done(lost));
        assert_eq!(shop.act(&order).await.unwrap(), first);
        assert_eq!(shop.recall(&order).await.unwrap(), Some(first));
    }
}

#[tokio::test]
async fn a_sample_made_twice_is_made_once() {
    for (store, _) in shops("sample").await {
        let before = left_over(&store, ACCOUNT).await.unwrap();
        sample(&store, ACCOUNT).await.unwrap();
        assert_eq!(left_over(&store, ACCOUNT).await.unwrap(), before);
    }
}

#[tokio::test]
async fn nobody_was_here() {
    for store in scratch::stores("nobody").await {
        let shop = Shop::new(store);
        assert_eq!(
            done(shop.act(&command("1-erase-store")).await.unwrap()).outcome,
            Outcome::NotFound
        );
    }
}

#[tokio::test]
async fn every_category_of_the_inventory_is_exported_or_left_out_for_a_reason() {
    for store in scratch::stores("export_coverage").await {
        let inventory = holding::categories(&store).await.unwrap();
        let told = EXPORTED.iter().map(|table| table.category);
        let untold = untold(inventory.iter().map(String::as_str), told, LEFT_OUT);
        assert_eq!(untold, [""; 0]);
    }
}
