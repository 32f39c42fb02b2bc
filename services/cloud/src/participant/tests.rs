use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use farewell_kit::{Outcome, Participant as _};

use super::*;
use crate::{PhotoError, add_note, add_photo, left_over, sample, scratch};

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

async fn clouds(name: &str) -> Vec<Cloud> {
    let mut all = Vec::new();
    for store in scratch::stores(name).await {
        let files =
            std::env::temp_dir().join(format!("farewell-cloud-{name}-{}", uuid::Uuid::new_v4()));
        sample(&store, &files, ACCOUNT).await.unwrap();
        all.push(Cloud::new(store, files, scratch::vault(&[1])));
    }
    all
}

async fn begun(cloud: &Cloud, order: &Order) -> Work {
    match seal::erase(&cloud.store, order).await.unwrap() {
        Begun::Answered(_) => panic!("never answered before"),
        Begun::Open(work) => work,
    }
}

fn done(answer: Answer) -> Done {
    match answer {
        Answer::Done(done) => done,
        other => panic!("{other:?}"),
    }
}

fn files_in(root: &Path) -> usize {
    fs::read_dir(root)
        .map(|folders| {
            folders
                .map(|folder| fs::read_dir(folder.unwrap().path()).unwrap().count())
                .sum()
        })
        .unwrap_or(0)
}

async fn nothing_is_left(cloud: &Cloud) -> bool {
    left_over(&cloud.store, &cloud.files, ACCOUNT)
        .await
        .unwrap()
        .categories
        .is_empty()
        && files_in(&cloud.files) == 0
}

#[tokio::test]
async fn a_sealed_account_takes_no_new_note_or_photo() {
    for cloud in clouds("sealed").await {
        let before = left_over(&cloud.store, &cloud.files, ACCOUNT)
            .await
            .unwrap();
        cloud.seal(&order("1-seal-cloud")).await.unwrap();
        assert!(matches!(
            add_note(&cloud.store, ACCOUNT, "text").await,
            Err(seal::Error::Sealed)
        ));
        let photo = add_photo(&cloud.store, &cloud.files, ACCOUNT, "new", vec![1]).await;
        assert!(matches!(photo, Err(PhotoError::Write(seal::Error::Sealed))));
        assert_eq!(
            left_over(&cloud.store, &cloud.files, ACCOUNT)
                .await
                .unwrap(),
            before
        );

        cloud.unseal(&order("1-unseal-cloud")).await.unwrap();
        assert_eq!(
            left_over(&cloud.store, &cloud.files, ACCOUNT)
                .await
                .unwrap(),
            before
        );
        add_note(&cloud.store, ACCOUNT, "text").await.unwrap();
    }
}

#[tokio::test]
async fn every_file_is_unlinked_and_counted() {
    for cloud in clouds("files").await {
        assert_eq!(files_in(&cloud.files), 12);
        let answer = done(cloud.act(&order("1-erase-cloud")).await.unwrap());
        assert_eq!(
            (answer.outcome, answer.counts["photos"]),
            (Outcome::Erased, 12)
        );
        assert!(answer.counts["photo_bytes"] > 12 * 2_048);
        assert_eq!(answer.counts["backup_bytes"], 196_608 + 24_576);
        assert!(nothing_is_left(&cloud).await);
        assert_eq!(
            done(cloud.probe(&order("1-probe-cloud")).await.unwrap()).outcome,
            Outcome::Clean
        );
        assert!(matches!(
            add_note(&cloud.store, ACCOUNT, "again").await,
            Err(seal::Error::Erased)
        ));
    }
}

#[tokio::test]
async fn a_crash_at_any_step_leads_to_the_same_answer() {
    let mut answers = Vec::new();
    for steps in 0..4 {
        for cloud in clouds("crash").await {
            let order = order("1-erase-cloud");
            if steps > 0 {
                Cloud::doom(begun(&cloud, &order).await, ACCOUNT)
                    .await
                    .unwrap();
            }
            let mut unlinked = Amount::default();
            if steps > 1 {
                unlinked = cloud.unlink(ACCOUNT).await.unwrap();
            }
            if steps > 2 {
                let mut work = begun(&cloud, &order).await;
                erase_rows(&mut work, ACCOUNT, unlinked).await.unwrap();
                drop(work);
            }
            assert_eq!(cloud.recall(&order).await.unwrap(), None);
            answers.push(cloud.act(&order).await.unwrap());
            assert_eq!(cloud.act(&order).await.unwrap(), answers[0]);
            assert!(nothing_is_left(&cloud).await);
        }
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]));
}

#[tokio::test]
async fn the_probe_finds_a_file_that_no_row_knows_of() {
    for cloud in clouds("stray").await {
        cloud.act(&order("1-erase-cloud")).await.unwrap();
        Folder::of(&cloud.files, ACCOUNT)
            .write("restored.jpg".to_owned(), vec![1, 2, 3])
            .await
            .unwrap();
        let found = done(cloud.probe(&order("1-probe-cloud")).await.unwrap());
        assert_eq!(
            (found.outcome, found.counts["photos"]),
            (Outcome::Residue, 1)
        );
        assert_eq!(
            done(cloud.act(&order("2-erase-cloud")).await.unwrap()).counts["photos"],
            1
        );
        assert!(nothing_is_left(&cloud).await);
    }
}

#[tokio::test]
async fn folders_do_not_tell_whose_they_are() {
    for cloud in clouds("folder").await {
        let names: Vec<_> = fs::read_dir(&cloud.files)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names.len(), 1);
        assert!(!names[0].to_string_lossy().contains(ACCOUNT));
    }
}

#[tokio::test]
async fn erasing_touches_nobody_else() {
    for cloud in clouds("other").await {
        sample(&cloud.store, &cloud.files, "another").await.unwrap();
        let before = left_over(&cloud.store, &cloud.files, "another")
            .await
            .unwrap();
        cloud.act(&order("1-erase-cloud")).await.unwrap();
        assert_eq!(
            left_over(&cloud.store, &cloud.files, "another")
                .await
                .unwrap(),
            before
        );
        assert_eq!(files_in(&cloud.files), 12);
    }
}

#[tokio::test]
async fn nobody_was_here() {
    for store in scratch::stores("nobody").await {
        let cloud = Cloud::new(
            store,
            std::env::temp_dir().join("farewell-cloud-none"),
            scratch::vault(&[1]),
        );
        assert_eq!(
            done(cloud.act(&order("1-erase-cloud")).await.unwrap()).outcome,
            Outcome::NotFound
        );
    }
}

#[tokio::test]
async fn every_category_of_the_inventory_is_exported_whole_or_left_out_for_a_reason() {
    for cloud in clouds("export_coverage").await {
        let (mut told, mut left_out, mut after) = (BTreeMap::new(), BTreeMap::new(), String::new());
        loop {
            let part = cloud.export_part(ACCOUNT, &after).await.unwrap();
            for (category, items) in part.categories {
                *told.entry(category).or_insert(0) += items;
            }
            left_out.extend(part.left_out);
            after = part.next;
            if after.is_empty() {
                break;
            }
        }
        let inventory = cloud.inventory(ACCOUNT).await.unwrap();
        for held in &inventory.categories {
            let category = held.category.as_str();
            assert!(
                told.get(category) == Some(&held.count) || left_out.contains_key(category),
                "{category}: {told:?}"
            );
        }
        for category in holding::categories(&cloud.store).await.unwrap() {
            let there = told.contains_key(&category) || left_out.contains_key(&category);
            assert!(there, "{category}");
        }
    }
}
