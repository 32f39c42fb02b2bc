use std::time::{Duration, SystemTime};

use farewell_kit::export::untold;
use farewell_kit::seal::Begun;
use farewell_kit::{Done, Holder as _, Outcome, Participant as _};

use super::*;
use crate::{CommentError, left_over, lift_ban, sample, scratch};

const ACCOUNT: &str = "a-4711";

fn order(command: &str) -> Order {
    Order {
        horizon: None,
        retention: Vec::new(),
        ended_by: None,
        command: format!("deletions/d1/commands/{command}"),
        account: ACCOUNT.to_owned(),
        deadline: None,
        devices: Vec::new(),
        traceparent: String::new(),
    }
}

async fn full(name: &str) -> Vec<(Store, Community)> {
    let mut all = Vec::new();
    for store in scratch::stores(name).await {
        sample(&store, ACCOUNT).await.unwrap();
        all.push((store.clone(), Community::new(store)));
    }
    all
}

fn done(answer: Answer) -> Done {
    match answer {
        Answer::Done(done) => done,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_sealed_account_posts_and_comments_no_more() {
    for (store, community) in full("sealed").await {
        let before = left_over(&store, ACCOUNT).await.unwrap();
        let id = post(&store, "another", "a thread").await.unwrap();
        assert_eq!(
            done(community.seal(&order("1-seal-community")).await.unwrap()).outcome,
            Outcome::Sealed
        );

        let posted = post(&store, ACCOUNT, "text").await;
        assert!(matches!(posted, Err(seal::Error::Sealed)));
        let commented = comment(&store, ACCOUNT, &id, "text").await;
        assert!(matches!(
            commented,
            Err(CommentError::Write(seal::Error::Sealed))
        ));
        assert!(matches!(
            crate::join(&store, ACCOUNT, "tea").await,
            Err(seal::Error::Sealed)
        ));
        post(&store, "another", "is not concerned").await.unwrap();

        assert_eq!(left_over(&store, ACCOUNT).await.unwrap(), before);
        community
            .unseal(&order("1-unseal-community"))
            .await
            .unwrap();
        assert_eq!(left_over(&store, ACCOUNT).await.unwrap(), before);
        comment(&store, ACCOUNT, &id, "back again").await.unwrap();
    }
}

#[tokio::test]
async fn erasing_counts_what_went_and_the_probe_finds_nothing() {
    for (store, community) in full("erased").await {
        let answer = done(community.act(&order("1-erase-community")).await.unwrap());
        assert_eq!(answer.outcome, Outcome::Erased);
        assert_eq!(answer.counts["posts"], 3);
        assert_eq!(answer.counts["comments"], 2);
        assert!(
            left_over(&store, ACCOUNT)
                .await
                .unwrap()
                .categories
                .is_empty()
        );
        assert_eq!(
            done(community.probe(&order("1-probe-community")).await.unwrap()).outcome,
            Outcome::Clean
        );
        assert!(matches!(
            post(&store, ACCOUNT, "again").await,
            Err(seal::Error::Erased)
        ));
    }
}

#[tokio::test]
async fn the_probe_believes_the_tables_and_not_the_journal() {
    for (store, community) in full("probe").await {
        community.act(&order("1-erase-community")).await.unwrap();
        // Somebody restored a backup.
        let mut connection = store.pool().acquire().await.unwrap();
        post::insert(&mut connection, "restored", ACCOUNT, "from the dead")
            .await
            .unwrap();
        drop(connection);
        let found = done(community.probe(&order("1-probe-community")).await.unwrap());
        assert_eq!(
            (found.outcome, found.counts["posts"]),
            (Outcome::Residue, 1)
        );
        assert_eq!(
            done(community.act(&order("2-erase-community")).await.unwrap()).counts["posts"],
            1
        );
        let again = done(community.probe(&order("2-probe-community")).await.unwrap());
        assert_eq!(again.outcome, Outcome::Clean);
    }
}

#[tokio::test]
async fn a_crash_before_the_answer_is_kept_changes_nothing() {
    for (store, community) in full("crash").await {
        let before = left_over(&store, ACCOUNT).await.unwrap();
        let Begun::Open(mut work) = seal::erase(&store, &order("1-erase-community"))
            .await
            .unwrap()
        else {
            panic!("never answered before");
        };
        let counts = erase(work.tx(), ACCOUNT).await.unwrap();
        drop(work);
        assert_eq!(left_over(&store, ACCOUNT).await.unwrap(), before);
        assert_eq!(
            community.recall(&order("1-erase-community")).await.unwrap(),
            None
        );

        let first = community.act(&order("1-erase-community")).await.unwrap();
        assert_eq!(first, Answer::Done(seal::erased(counts, Vec::new())));
        assert_eq!(
            community.act(&order("1-erase-community")).await.unwrap(),
            first
        );
    }
}

#[tokio::test]
async fn comments_of_others_stay_and_name_nobody_who_is_gone() {
    for (store, community) in full("others").await {
        let id = post(&store, ACCOUNT, "question").await.unwrap();
        comment(&store, "another", &id, "answer").await.unwrap();
        community.act(&order("1-erase-community")).await.unwrap();
        assert!(
            left_over(&store, ACCOUNT)
                .await
                .unwrap()
                .categories
                .is_empty()
        );
        assert_eq!(
            left_over(&store, "another").await.unwrap().categories[0].count,
            1
        );
        let (posts,): (i64,) =
            sqlx::query_as("SELECT COUNT(*) FROM post WHERE account IS NULL AND text IS NULL")
                .fetch_one(store.pool())
                .await
                .unwrap();
        assert_eq!(posts, 1);
    }
}

#[tokio::test]
async fn a_ban_is_told_while_it_stands_and_keeps_nothing() {
    for (store, community) in full("ban").await {
        let told = async || community.blockers(ACCOUNT).await.unwrap();
        let soon = SystemTime::now() + Duration::from_secs(60);
        ban(&store, ACCOUNT, "spam", soon).await.unwrap();
        let banned = told().await;
        assert_eq!(banned.len(), 1);
        assert_eq!(banned[0].code, BLOCKERS[0]);
        let until = banned[0].until.unwrap();
        assert!(soon.duration_since(until).unwrap() < Duration::from_millis(1));
        assert!(lift_ban(&store, ACCOUNT).await.unwrap());
        assert!(!lift_ban(&store, ACCOUNT).await.unwrap());
        assert_eq!(told().await, Vec::new());
        let over = SystemTime::now() - Duration::from_secs(1);
        ban(&store, ACCOUNT, "spam", over).await.unwrap();
        assert_eq!(told().await, Vec::new(), "it is over");
        assert_eq!(
            done(community.act(&order("1-erase-community")).await.unwrap()).counts["bans"],
            1
        );
    }
}

#[tokio::test]
async fn what_was_erased_is_gone_from_the_disk() {
    for (store, community) in full("disk").await {
        let mut connection = store.pool().acquire().await.unwrap();
        if connection.backend_name() != "SQLite" {
            continue;
        }
        let (_, _, file): (i64, String, String) = sqlx::query_as("PRAGMA database_list")
            .fetch_one(&mut *connection)
            .await
            .unwrap();
        drop(connection);
        let holds = |text: &str| {
            [file.clone(), format!("{file}-wal")].iter().any(|file| {
                std::fs::read(file)
                    .unwrap()
                    .windows(text.len())
                    .any(|bytes| bytes == text.as_bytes())
            })
        };
        assert!(holds("tide table") && holds(ACCOUNT));
        community.seal(&order("1-seal-community")).await.unwrap();
        community.act(&order("1-erase-community")).await.unwrap();
        assert!(!holds("tide table"));
        assert!(!holds(ACCOUNT), "not even the account's id");
    }
}

#[tokio::test]
async fn nobody_was_here() {
    for store in scratch::stores("nobody").await {
        let community = Community::new(store.clone());
        let answer = done(community.act(&order("1-erase-community")).await.unwrap());
        assert_eq!(
            (answer.outcome, answer.counts.len()),
            (Outcome::NotFound, 0)
        );
    }
}

#[tokio::test]
async fn a_sample_made_twice_is_made_once() {
    for (store, _) in full("sample").await {
        let before = left_over(&store, ACCOUNT).await.unwrap();
        sample(&store, ACCOUNT).await.unwrap();
        assert_eq!(left_over(&store, ACCOUNT).await.unwrap(), before);
        assert_eq!(before.categories.len(), 4);
    }
}

#[tokio::test]
async fn every_category_of_the_inventory_is_exported_or_left_out_for_a_reason() {
    for store in scratch::stores("export_coverage").await {
        let inventory = holding::categories(&store).await.unwrap();
        let told = EXPORTED.iter().map(|table| table.category);
        let untold = untold(inventory.iter().map(String::as_str), told, &[]);
        assert_eq!(untold, [""; 0]);
    }
}
