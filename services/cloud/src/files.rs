//! Files on disk: `{root}/{mark of the account}/{name}`, readable by this service only.
//!
//! The folder is the truth about what is on disk. A file whose row was never committed still lies in its account's folder,
//! so erasing the folder and looking into it miss nothing.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use farewell_kit::seal;

/// How much lies in a folder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Amount {
    pub files: i64,
    pub size_bytes: i64,
}

/// The folder of one account.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    root: PathBuf,
    path: PathBuf,
}

impl Folder {
    pub fn of(root: &Path, account: &str) -> Self {
        Self {
            root: root.to_owned(),
            path: root.join(seal::mark(account)),
        }
    }

    /// Writes a file, durably. The same name again replaces it.
    pub async fn write(&self, name: String, content: Vec<u8>) -> io::Result<()> {
        self.blocking(move |folder| {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&folder.path)?;
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(folder.path.join(name))?;
            file.write_all(&content)?;
            file.sync_all()?;
            sync(&folder.path)?;
            sync(&folder.root)
        })
        .await
    }

    /// Some bytes of a file from `offset` on; fewer only at its end. `None`: there is no such file.
    pub async fn read(
        &self,
        name: String,
        offset: u64,
        bytes_max: usize,
    ) -> io::Result<Option<Vec<u8>>> {
        self.blocking(move |folder| {
            let mut file = match File::open(folder.path.join(name)) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error),
            };
            let mut content = Vec::new();
            file.seek(io::SeekFrom::Start(offset))?;
            file.take(u64::try_from(bytes_max).unwrap_or(u64::MAX))
                .read_to_end(&mut content)?;
            Ok(Some(content))
        })
        .await
    }

    /// Looks; a missing folder holds nothing.
    pub async fn look(&self) -> io::Result<Amount> {
        self.blocking(|folder| folder.amount()).await
    }

    /// Unlinks every file, then the folder, and makes both durable. Says how much was there; what an earlier attempt
    /// has unlinked already isn't in that.
    pub async fn erase(&self) -> io::Result<Amount> {
        self.blocking(|folder| {
            let amount = folder.amount()?;
            let entries = match fs::read_dir(&folder.path) {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(amount),
                Err(error) => return Err(error),
            };
            for entry in entries {
                fs::remove_file(entry?.path())?;
            }
            sync(&folder.path)?;
            fs::remove_dir(&folder.path)?;
            sync(&folder.root)?;
            Ok(amount)
        })
        .await
    }

    fn amount(&self) -> io::Result<Amount> {
        let entries = match fs::read_dir(&self.path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Amount::default()),
            Err(error) => return Err(error),
        };
        let mut amount = Amount::default();
        for entry in entries {
            amount.files += 1;
            amount.size_bytes += i64::try_from(entry?.metadata()?.len()).unwrap_or(i64::MAX);
        }
        Ok(amount)
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let folder = self.clone();
        tokio::task::spawn_blocking(move || work(&folder))
            .await
            .map_err(io::Error::other)?
    }
}

/// A name in a folder is durable once the folder is.
fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
