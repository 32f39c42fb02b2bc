//! Archives on disk: `{root}/{mark of the account}/{export}/`, readable by this service only. What is collected lies one
//! piece after the other in `spool`; `archive.sealed` is whole or not there. Neither holds anything in plain. What a turn packs into is its own: another that has
//! lost the export, and goes on writing until it notices, writes into a file without a name.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use farewell_kit::seal;
use farewell_kit::vault::{self, Chunks, DataKey};

const SPOOL: &str = "spool";
const ARCHIVE: &str = "archive.sealed";
/// What the file begins with that a turn packs into.
const UNFINISHED: &str = "archive.part";

/// Where every archive lies.
#[derive(Clone, Debug)]
pub(crate) struct Cabinet {
    root: PathBuf,
}

impl Cabinet {
    pub(super) const fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// Where archives lie if nobody says otherwise.
    pub(crate) fn beside(files: &Path) -> Self {
        Self::new(files.join("exports"))
    }

    /// The folder of one export.
    pub(super) fn folder(&self, account: &str, export: &str) -> Folder {
        Folder {
            root: self.root.clone(),
            // The id is a UUID in the database's own writing: nothing of it can lead elsewhere.
            path: self.of(account).join(export),
        }
    }

    /// How many exports of the account lie here, whatever any row says, and how many bytes they have.
    pub(crate) async fn look(&self, account: &str) -> io::Result<(i64, i64)> {
        let path = self.of(account);
        blocking(move || {
            let (mut exports, mut size_bytes) = (0, 0);
            for folder in entries(&path)? {
                exports += 1;
                for file in entries(&folder?.path())? {
                    size_bytes += i64::try_from(file?.metadata()?.len()).unwrap_or(i64::MAX);
                }
            }
            Ok((exports, size_bytes))
        })
        .await
    }

    /// Erases every archive of an account, durably.
    pub(crate) async fn erase(&self, account: &str) -> io::Result<()> {
        let (root, path) = (self.root.clone(), self.of(account));
        blocking(move || remove(&root, &path)).await
    }

    fn of(&self, account: &str) -> PathBuf {
        self.root.join(seal::mark(account))
    }
}

/// Why nothing was read.
#[derive(Debug)]
pub(super) enum Unread {
    /// It doesn't open: it was changed or cut, or is another's.
    Sealed(vault::Error),
    /// The disk gives nothing.
    Disk(io::Error),
}

/// The folder of one export.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    root: PathBuf,
    path: PathBuf,
}

impl Folder {
    /// Writes pieces one after the other from `offset` on, durably, over whatever a crash has left there.
    pub async fn spool(&self, offset: u64, pieces: Vec<Vec<u8>>) -> io::Result<()> {
        let folder = self.clone();
        blocking(move || {
            folder.make()?;
            let spool = options().truncate(false).open(folder.path.join(SPOOL))?;
            let mut at = offset;
            for piece in pieces {
                spool.write_all_at(&piece, at)?;
                at += u64::try_from(piece.len()).unwrap_or(u64::MAX);
            }
            spool.sync_all()?;
            if offset == 0 {
                folder.sync()?;
            }
            Ok(())
        })
        .await
    }

    /// A new archive, and what it is made of. `None`: nothing was collected.
    pub async fn unfinished(&self, turn: &str) -> io::Result<(File, Option<File>)> {
        let (folder, own) = (self.clone(), unfinished(turn));
        blocking(move || {
            folder.make()?;
            for file in entries(&folder.path)? {
                let file = file?;
                if file.file_name().to_string_lossy().starts_with(UNFINISHED) {
                    fs::remove_file(file.path())?;
                }
            }
            let archive = options().create_new(true).open(folder.path.join(own))?;
            match File::open(folder.path.join(SPOOL)) {
                Ok(spool) => Ok((archive, Some(spool))),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok((archive, None)),
                Err(error) => Err(error),
            }
        })
        .await
    }

    /// Gives the archive its name, durably: from now on it is whole.
    pub async fn finish(&self, turn: &str) -> io::Result<()> {
        let (folder, own) = (self.clone(), unfinished(turn));
        blocking(move || {
            fs::rename(folder.path.join(own), folder.path.join(ARCHIVE))?;
            folder.sync()
        })
        .await
    }

    /// Some bytes of the archive, which has so many and lies under this key.
    pub async fn read(
        &self,
        key: DataKey,
        name: String,
        size_bytes: u64,
        offset: u64,
        bytes_max: usize,
    ) -> Result<Vec<u8>, Unread> {
        let path = self.path.join(ARCHIVE);
        let read = blocking(move || {
            let archive = File::open(path)?;
            let chunks = Chunks {
                key: &key,
                name: &name,
                size_bytes,
            };
            chunks.read(offset, bytes_max, |chunk, at| {
                archive.read_exact_at(chunk, at)
            })
        });
        read.await.map_err(Unread::of)
    }

    /// Erases what was only collected.
    pub async fn clear_spool(&self) -> io::Result<()> {
        let folder = self.clone();
        blocking(move || match fs::remove_file(folder.path.join(SPOOL)) {
            Ok(()) => File::open(&folder.path)?.sync_all(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        })
        .await
    }

    /// Erases everything of the export, durably; and the account's folder, if it held nothing else.
    pub async fn clear(&self) -> io::Result<()> {
        let folder = self.clone();
        blocking(move || {
            let account = folder.path.parent().unwrap_or(&folder.root);
            remove(account, &folder.path)?;
            match fs::remove_dir(account) {
                Ok(()) => File::open(&folder.root)?.sync_all(),
                // Another export's, or gone already.
                Err(_) => Ok(()),
            }
        })
        .await
    }

    fn make(&self) -> io::Result<()> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.path)
    }

    /// A name in a folder is durable once the folder is.
    fn sync(&self) -> io::Result<()> {
        let folders = [
            Some(self.path.as_path()),
            self.path.parent(),
            Some(&self.root),
        ];
        for folder in folders.into_iter().flatten() {
            File::open(folder)?.sync_all()?;
        }
        Ok(())
    }
}

impl Unread {
    fn of(error: io::Error) -> Self {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
        match (inner, error.kind()) {
            (Some(sealed), _) => Self::Sealed(*sealed),
            (None, io::ErrorKind::UnexpectedEof) => Self::Sealed(vault::Error::Sealed),
            (None, _) => Self::Disk(error),
        }
    }
}

fn unfinished(turn: &str) -> String {
    format!("{UNFINISHED}.{turn}")
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true).mode(0o600);
    options
}

/// What is in a folder; a missing one holds nothing.
fn entries(path: &Path) -> io::Result<impl Iterator<Item = io::Result<fs::DirEntry>>> {
    match fs::read_dir(path) {
        Ok(entries) => Ok(Some(entries).into_iter().flatten()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Ok(None::<fs::ReadDir>.into_iter().flatten())
        }
        Err(error) => Err(error),
    }
}

/// Removes `path` with everything in it, and makes that durable in `parent`. Nothing there is no error.
fn remove(parent: &Path, path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Ok(()) => File::open(parent)?.sync_all(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)?
}

/// Bytes of the spool.
pub(super) fn piece(spool: &File, (offset, size_bytes): (u64, u64)) -> io::Result<Vec<u8>> {
    let mut sealed = vec![0; usize::try_from(size_bytes).map_err(io::Error::other)?];
    spool.read_exact_at(&mut sealed, offset)?;
    Ok(sealed)
}
