//! The cloud's part in a deletion.

use std::path::PathBuf;

use async_trait::async_trait;
use farewell_kit::seal::{self, Begun, Work};
use farewell_kit::store::Store;
use farewell_kit::{Answer, Done, Fault, Holder, Inventory, Order};
use sqlx::AnyConnection;

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
    async fn doom(mut work: Work, account: &str) -> Result<(), Fault> {
        photo::doom(work.tx(), account).await?;
        work.pause().await
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
impl Holder for Cloud {
    fn store(&self) -> &Store {
        &self.store
    }

    async fn held(
        &self,
        connection: &mut AnyConnection,
        account: &str,
    ) -> Result<Inventory, Fault> {
        holding::held(connection, &self.files, account).await
    }

    async fn erase(&self, work: Work, order: &Order) -> Result<Answer, Fault> {
        Self::doom(work, &order.account).await?;
        let unlinked = self.unlink(&order.account).await?;
        self.clear(order, unlinked).await
    }

    // No blockers: nothing in the cloud stands in the way, and a running export is the coordinator's to wait for.
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
mod tests;
