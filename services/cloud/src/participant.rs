//! The cloud's part in a deletion.

use std::path::PathBuf;

use async_trait::async_trait;
use farewell_kit::seal::{self, Begun, Work};
use farewell_kit::store::Store;
use farewell_kit::{Answer, Blocker, Done, Fault, Inventory, Order, Outcome, Participant, journal};

use crate::files::{Amount, Folder};
use crate::{backup, contact, holding, note, photo};

/// Takes part in deletions for the cloud.
#[derive(Clone, Debug)]
pub struct Cloud {
    store: Store,
    files: PathBuf,
}

impl Cloud {
    /// On an open database, with photos under `files`.
    pub fn new(store: Store, files: PathBuf) -> Self {
        Self { store, files }
    }

    /// First step: the fence stands and the rows say that their files are going. Nothing comes after this commit.
    async fn doom(&self, order: &Order) -> Result<Option<Answer>, Fault> {
        let mut work = match seal::erase(&self.store, order).await? {
            Begun::Answered(answer) => return Ok(Some(answer)),
            Begun::Open(work) => work,
        };
        photo::doom(work.tx(), &order.account).await?;
        work.pause().await?;
        Ok(None)
    }

    /// Second step: the files go. Rows are still there, so a crash now loses no count.
    async fn unlink(&self, account: &str) -> Result<Amount, Fault> {
        Folder::of(&self.files, account)
            .erase()
            .await
            .map_err(|error| Fault::new("the account's files", error))
    }

    /// Third step: rows and answer, together.
    async fn clear(&self, order: &Order, unlinked: Amount) -> Result<Answer, Fault> {
        match seal::erase(&self.store, order).await? {
            Begun::Answered(answer) => Ok(answer),
            Begun::Open(mut work) => {
                let done = erase_rows(&mut work, &order.account, unlinked).await?;
                work.finish(done).await
            }
        }
    }
}

#[async_trait]
impl Participant for Cloud {
    async fn recall(&self, command: &str) -> Result<Option<Answer>, Fault> {
        journal::recall(&self.store, command).await
    }

    async fn seal(&self, order: &Order) -> Result<Answer, Fault> {
        seal::close(&self.store, order)
            .await?
            .finish(Done::new(Outcome::Sealed))
            .await
    }

    async fn unseal(&self, order: &Order) -> Result<Answer, Fault> {
        seal::lift(&self.store, order)
            .await?
            .finish(Done::new(Outcome::Unsealed))
            .await
    }

    async fn act(&self, order: &Order) -> Result<Answer, Fault> {
        if let Some(answer) = self.doom(order).await? {
            return Ok(answer);
        }
        let unlinked = self.unlink(&order.account).await?;
        self.clear(order, unlinked).await
    }

    async fn probe(&self, order: &Order) -> Result<Answer, Fault> {
        let mut work = match seal::look(&self.store, order).await? {
            Begun::Answered(answer) => return Ok(answer),
            Begun::Open(work) => work,
        };
        let held = holding::held(work.tx(), &self.files, &order.account).await?;
        work.finish(seal::found(&held, Vec::new())).await
    }

    async fn eligibility(&self, _account: &str) -> Result<Vec<Blocker>, Fault> {
        // Nothing in the cloud stands in the way: a running export is the coordinator's to wait for.
        Ok(Vec::new())
    }

    async fn inventory(&self, account: &str) -> Result<Inventory, Fault> {
        let mut connection = self.store.pool().acquire().await?;
        holding::held(&mut connection, &self.files, account).await
    }
}

/// A photo counts by row or by file, whichever there is more of: files may have gone in an attempt that crashed, and rows
/// may have been lost in a restore.
async fn erase_rows(work: &mut Work, account: &str, unlinked: Amount) -> Result<Done, Fault> {
    let tx = work.tx();
    let (photos, photo_bytes) = photo::amount(tx, account).await?;
    let backup_bytes = backup::size_bytes(tx, account).await?;
    photo::erase(tx, account).await?;
    let counts = [
        ("photos", photos.max(unlinked.files).unsigned_abs()),
        (
            "photo_bytes",
            photo_bytes.max(unlinked.size_bytes).unsigned_abs(),
        ),
        ("albums", photo::erase_albums(tx, account).await?),
        ("contacts", contact::erase(tx, account).await?),
        ("notes", note::erase(tx, account).await?),
        ("backups", backup::erase(tx, account).await?),
        ("backup_bytes", backup_bytes.unsigned_abs()),
    ];
    Ok(seal::erased(counts, Vec::new()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::{PhotoError, add_note, add_photo, left_over, sample, scratch};

    const ACCOUNT: &str = "a-4711";

    fn order(command: &str) -> Order {
        Order {
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
            let files = std::env::temp_dir()
                .join(format!("farewell-cloud-{name}-{}", uuid::Uuid::new_v4()));
            sample(&store, &files, ACCOUNT).await.unwrap();
            all.push(Cloud::new(store, files));
        }
        all
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
                    assert_eq!(cloud.doom(&order).await.unwrap(), None);
                }
                let mut unlinked = Amount::default();
                if steps > 1 {
                    unlinked = cloud.unlink(ACCOUNT).await.unwrap();
                }
                if steps > 2 {
                    let Begun::Open(mut work) = seal::erase(&cloud.store, &order).await.unwrap()
                    else {
                        panic!("never answered before");
                    };
                    erase_rows(&mut work, ACCOUNT, unlinked).await.unwrap();
                    drop(work);
                }
                assert_eq!(cloud.recall(&order.command).await.unwrap(), None);
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
            let cloud = Cloud::new(store, std::env::temp_dir().join("farewell-cloud-none"));
            assert_eq!(
                done(cloud.act(&order("1-erase-cloud")).await.unwrap()).outcome,
                Outcome::NotFound
            );
        }
    }
}
