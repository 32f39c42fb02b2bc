//! Exports: an archive of what everybody holds of an account, made for its owner, kept here and erased with the account.
//!
//! The database is the queue: an export is a row, with a cursor for each participant, and a first try, a retry and a restart
//! are the same look at it, by a turn of its own that alone may write ([`queue`]). A part is on disk before the row says so; what the row doesn't know of is written over. Only when
//! everybody has given everything is the archive packed, and packed again from the beginning after a crash.
//!
//! Nothing of it lies in plain, neither on disk nor in a row: what is collected lies under a key of the export's own, the archive
//! under another, and both of them under a key that is not in the database ([`farewell_kit::vault`]). Whatever ends an export
//! destroys its key first: what a disk or a backup still has of it is noise from then on.
//!
//! A seal stops new exports and lets one that runs end: it only copies what is there, its owner asked for it, and the
//! deletion waits for it before anything is erased. With the account goes every archive, ready or not.

mod archive;
mod category;
mod collector;
mod desk;
mod folder;
mod index;
mod name;
mod queue;
mod record;
mod sealed;
mod sweep;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use farewell_kit::seal;
use farewell_kit::store::Store;
use farewell_kit::vault::Vault;
use tokio::sync::Notify;

pub(crate) use self::collector::{Everybody, run};
pub(crate) use self::folder::Cabinet;
pub(crate) use self::record::{amount, destroy_keys, erase, keys, running_until};
use self::sweep::Unswept;

/// `data_key` is the export's while it runs, and the archive's once that is ready; empty once it is destroyed.
pub(crate) const SCHEMA: &str = "\
    CREATE TABLE IF NOT EXISTS archive (id TEXT PRIMARY KEY, account TEXT NOT NULL CHECK (account <> ''), \
        language TEXT NOT NULL, \
        state TEXT NOT NULL CHECK (state IN ('RUNNING', 'READY', 'FAILED', 'CANCELLED', 'EXPIRED')), reason TEXT NOT NULL, \
        begun_at BIGINT NOT NULL, due_at BIGINT NOT NULL, attempts BIGINT NOT NULL, ended_at BIGINT NOT NULL, \
        expires_at BIGINT NOT NULL, held_by TEXT NOT NULL, held_until BIGINT NOT NULL, pieces BIGINT NOT NULL, \
        spool_bytes BIGINT NOT NULL, size_bytes BIGINT NOT NULL, sha256 BLOB NOT NULL, \
        cleared BIGINT NOT NULL CHECK (cleared IN (0, 1)), data_key TEXT NOT NULL DEFAULT '', CHECK ((state = 'RUNNING') = (ended_at = 0))); \
    CREATE INDEX IF NOT EXISTS archive_by_account ON archive (account); \
    CREATE INDEX IF NOT EXISTS archive_by_state ON archive (state, due_at); \
    CREATE INDEX IF NOT EXISTS archive_uncleared ON archive (cleared, id); \
    CREATE TABLE IF NOT EXISTS archive_source (archive TEXT NOT NULL, participant TEXT NOT NULL, after TEXT NOT NULL, \
        done BIGINT NOT NULL CHECK (done IN (0, 1)), away BIGINT NOT NULL CHECK (away IN (0, 1)), items BIGINT NOT NULL, \
        size_bytes BIGINT NOT NULL, PRIMARY KEY (archive, participant)); \
    CREATE TABLE IF NOT EXISTS archive_category (archive TEXT NOT NULL, participant TEXT NOT NULL, category TEXT NOT NULL, \
        items BIGINT NOT NULL, left_out TEXT NOT NULL, PRIMARY KEY (archive, participant, category)); \
    CREATE TABLE IF NOT EXISTS spooled_piece (archive TEXT NOT NULL, participant TEXT NOT NULL, file TEXT NOT NULL, \
        file_offset BIGINT NOT NULL, spool_offset BIGINT NOT NULL, size_bytes BIGINT NOT NULL, \
        PRIMARY KEY (archive, participant, file_offset, spool_offset)); \
    CREATE INDEX IF NOT EXISTS spooled_piece_by_file ON spooled_piece (archive, participant, file); \
    DROP TABLE IF EXISTS archive_piece";

/// What the tables of an earlier version had not. Its archives lie in plain: [`sweep`] ends them.
const COLUMNS: [(&str, &str); 1] = [("archive", "data_key TEXT NOT NULL DEFAULT ''")];

/// Brings the tables of an earlier version up.
///
/// Errors: what the database said.
pub(crate) async fn prepare(store: &Store) -> Result<(), sqlx::Error> {
    store.evolve(&COLUMNS, &[]).await
}

/// How exports are made and kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Where archives lie, in a folder for each account; made if missing. `None`: `exports` beside the photos.
    pub folder: Option<PathBuf>,
    /// Exports that one process works on at a time; at least 1.
    pub at_a_time: usize,
    /// Before they are packed.
    pub size_bytes_max: u64,
    /// How long an export may take: a participant that is away for so long makes it fail, and a deletion waits no longer.
    pub time_max: Duration,
    /// How long an archive that is ready is kept.
    pub keep: Duration,
    /// How long an export stays with a turn that says nothing, as that of a process that was killed. One that goes on says so
    /// four times as often.
    pub lease: Duration,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            folder: None,
            at_a_time: 2,
            size_bytes_max: 64 << 30,
            time_max: Duration::from_secs(24 * 60 * 60),
            keep: Duration::from_secs(7 * 24 * 60 * 60),
            lease: Duration::from_secs(60),
        }
    }
}

/// The custodian of archives.
#[derive(Debug)]
pub struct Exports {
    store: Store,
    cabinet: Cabinet,
    terms: Terms,
    vault: Vault,
    /// What could not be swept, so that it is not tried all the time.
    unswept: Unswept,
    /// There may be something to do.
    wake: Notify,
}

impl Exports {
    /// On an open database, with photos under `files`, and keys under `vault`'s.
    pub(crate) fn new(store: Store, files: &Path, vault: Vault, terms: Terms) -> Arc<Self> {
        let folder = terms.folder.clone();
        Arc::new(Self {
            store,
            cabinet: folder.map_or_else(|| Cabinet::beside(files), Cabinet::new),
            terms,
            vault,
            unswept: Unswept::default(),
            wake: Notify::new(),
        })
    }

    pub(crate) const fn cabinet(&self) -> &Cabinet {
        &self.cabinet
    }

    /// A key that is destroyed is, after the commit, nowhere in the database's log either. While somebody reads that, it waits for
    /// the next one that is.
    async fn destroyed(&self) {
        if let Err(fault) = seal::clear_log(&self.store).await {
            let error = &fault as &dyn std::error::Error;
            tracing::debug!(error, "a destroyed key is in the database's log for now");
        }
    }
}

#[cfg(test)]
mod tests;
