//! The cloud's part in a deletion.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use farewell_kit::export::{self as parts, LeftOut, OfStore, Part, why};
use farewell_kit::seal::{self, Begun, Work};
use farewell_kit::store::Store;
use farewell_kit::vault::Vault;
use farewell_kit::{Answer, Blocker, Custodian, Done, Fault, Holder, Inventory, Order};
use sqlx::AnyConnection;

use crate::contact::Contacts;
use crate::export::{Exports, Terms};
use crate::files::{Amount, Folder};
use crate::note::Notes;
use crate::photo::Albums;
use crate::{backup, contact, export, holding, note, photo};

/// Every code that the cloud gives.
pub const BLOCKERS: [&str; 1] = [EXPORT_RUNNING];
const EXPORT_RUNNING: &str = "EXPORT_RUNNING";

/// What of the inventory is in no archive.
const LEFT_OUT: &[LeftOut] = &[
    ("backups", why::READ_BY_DEVICE_ONLY),
    ("archives", why::FETCHED_BY_ITSELF),
];

/// Takes part in deletions for the cloud.
#[derive(Clone, Debug)]
pub struct Cloud {
    store: Store,
    files: PathBuf,
    exports: Arc<Exports>,
}

impl Cloud {
    /// On an open database, with photos under `files`, and archives under keys that lie under `vault`'s.
    pub fn new(store: Store, files: PathBuf, vault: Vault) -> Self {
        Self::with(store, files, vault, Terms::default())
    }

    /// As [`Cloud::new`], with archives as told.
    pub fn with(store: Store, files: PathBuf, vault: Vault, terms: Terms) -> Self {
        Self {
            exports: Exports::new(store.clone(), &files, vault, terms),
            store,
            files,
        }
    }

    /// The archives.
    pub fn exports(&self) -> &Arc<Exports> {
        &self.exports
    }

    /// First step: the fence stands, the rows say that their files are going, and what is in archives is noise. Nothing comes after
    /// this commit.
    async fn doom(mut work: Work, account: &str) -> Result<(), Fault> {
        photo::doom(work.tx(), account).await?;
        export::destroy_keys(work.tx(), account).await?;
        work.pause().await
    }

    /// Second step: the files go. Rows are still there, so a crash now loses no count.
    async fn unlink(&self, account: &str) -> Result<Amount, Fault> {
        Folder::of(&self.files, account)
            .erase()
            .await
            .map_err(|error| Fault::new("the account's files", error))
    }

    /// Also the second: every archive goes, with whatever is being written into one.
    async fn unlink_archives(&self, account: &str) -> Result<(), Fault> {
        let cabinet = self.exports.cabinet();
        let erased = cabinet.erase(account).await;
        erased.map_err(|error| Fault::new("the account's archives", error))
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
        let mut held = holding::held(connection, &self.files, account).await?;
        held.categories
            .extend(holding::archives(connection, self.exports.cabinet(), account).await?);
        Ok(held)
    }

    async fn erase(&self, work: Work, order: &Order) -> Result<Answer, Fault> {
        Self::doom(work, &order.account).await?;
        let unlinked = self.unlink(&order.account).await?;
        self.unlink_archives(&order.account).await?;
        self.clear(order, unlinked).await
    }

    async fn blockers(&self, account: &str) -> Result<Vec<Blocker>, Fault> {
        let mut connection = self.store.pool().acquire().await?;
        let until = export::running_until(&mut connection, account, SystemTime::now()).await?;
        let blocker = |until| Blocker::new(EXPORT_RUNNING).until(Some(until));
        Ok(until.map(blocker).into_iter().collect())
    }

    async fn export(&self, account: &str, after: &str) -> Result<Part, Fault> {
        let (store, files) = (&self.store, self.files.as_path());
        let (photos, albums) = (Albums { store, files }, OfStore(store, &photo::ALBUMS));
        let sections: [&dyn parts::Section; 4] =
            [&photos, &albums, &Contacts(store), &Notes(store)];
        let part = parts::part(&sections, account, after).await?;
        Ok(part.leaving_out(after, LEFT_OUT))
    }

    fn archives(&self) -> Option<Arc<dyn Custodian>> {
        Some(Arc::clone(&self.exports) as Arc<dyn Custodian>)
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
        ("archives", export::erase(tx, account).await?),
    ];
    Ok(seal::erased(counts, Vec::new()))
}

#[cfg(test)]
mod tests;
