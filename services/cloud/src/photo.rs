//! Albums and photos: a row here, the picture in a file.

use std::io;
use std::path::Path;

use farewell_kit::export::{Column, Part, Section, Table};
use farewell_kit::store::Store;
use farewell_kit::{Fault, async_trait, holder, seal};
use sqlx::AnyConnection;
use uuid::Uuid;

use crate::files::Folder;
use crate::place::Place;

/// A doomed photo is being erased: its file may be gone already.
pub(crate) const SCHEMA: &str = "\
    CREATE TABLE IF NOT EXISTS album (account TEXT NOT NULL, title TEXT NOT NULL, PRIMARY KEY (account, title)); \
    CREATE TABLE IF NOT EXISTS photo (id TEXT PRIMARY KEY, account TEXT NOT NULL, album TEXT NOT NULL, \
        size_bytes BIGINT NOT NULL, doomed BIGINT NOT NULL CHECK (doomed IN (0, 1))); \
    CREATE INDEX IF NOT EXISTS photo_by_account ON photo (account)";

/// Why a photo was not taken.
#[derive(Debug, thiserror::Error)]
pub enum PhotoError {
    /// The account may not write.
    #[error(transparent)]
    Write(#[from] seal::Error),
    /// The disk didn't take it.
    #[error("the photo's file")]
    File(#[from] io::Error),
}

impl From<sqlx::Error> for PhotoError {
    fn from(error: sqlx::Error) -> Self {
        Self::Write(seal::Error::Database(error))
    }
}

/// Puts a picture into an album, made if missing, and gives the photo's id.
///
/// The file is durable before the row is. It is written while the account is held, so that erasing, which waits for that,
/// finds every file.
///
/// Errors: [`seal::Error::Sealed`] and [`seal::Error::Erased`] inside of [`PhotoError::Write`]; [`PhotoError::File`].
pub async fn add_photo(
    store: &Store,
    files: &Path,
    account: &str,
    album: &str,
    picture: Vec<u8>,
) -> Result<String, PhotoError> {
    let id = Uuid::now_v7().to_string();
    let mut tx = store.pool().begin().await?;
    seal::admit(&mut tx, account).await?;
    insert(&mut tx, files, &id, account, album, picture).await?;
    tx.commit().await?;
    Ok(id)
}

/// Writes file and rows; the same id again changes nothing.
pub(crate) async fn insert(
    connection: &mut AnyConnection,
    files: &Path,
    id: &str,
    account: &str,
    album: &str,
    picture: Vec<u8>,
) -> Result<(), PhotoError> {
    let size_bytes = i64::try_from(picture.len()).unwrap_or(i64::MAX);
    Folder::of(files, account)
        .write(format!("{id}.jpg"), picture)
        .await?;
    sqlx::query("INSERT INTO album (account, title) VALUES ($1, $2) ON CONFLICT (account, title) DO NOTHING")
        .bind(account)
        .bind(album)
        .execute(&mut *connection)
        .await?;
    sqlx::query(
        "INSERT INTO photo (id, account, album, size_bytes, doomed) VALUES ($1, $2, $3, $4, 0) \
         ON CONFLICT (id) DO NOTHING",
    )
    .bind(id)
    .bind(account)
    .bind(album)
    .bind(size_bytes)
    .execute(connection)
    .await?;
    Ok(())
}

/// From now on the files may be gone.
pub(crate) async fn doom(connection: &mut AnyConnection, account: &str) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE photo SET doomed = 1 WHERE account = $1")
        .bind(account)
        .execute(connection)
        .await
        .map(drop)
}

/// Number and bytes of the account's photos, by the rows.
pub(crate) async fn amount(
    connection: &mut AnyConnection,
    account: &str,
) -> Result<(i64, i64), sqlx::Error> {
    sqlx::query_as(
        "SELECT COUNT(*), CAST(COALESCE(SUM(size_bytes), 0) AS BIGINT) FROM photo WHERE account = $1",
    )
    .bind(account)
    .fetch_one(connection)
    .await
}

pub(crate) async fn erase(
    connection: &mut AnyConnection,
    account: &str,
) -> Result<u64, sqlx::Error> {
    holder::erase(connection, "photo", account).await
}

pub(crate) async fn erase_albums(
    connection: &mut AnyConnection,
    account: &str,
) -> Result<u64, sqlx::Error> {
    holder::erase(connection, "album", account).await
}

/// Photos whose rows are read at a time.
const ROWS_MAX: i64 = 100;
/// Where photos are named whose rows are there and whose files are not.
const MISSING: &str = "albums/missing.txt";

/// Albums, also those without photos: whose titles their folders may not have word for word.
pub(crate) const ALBUMS: Table = Table::new(
    "album_titles",
    &[Column::Text("title"), Column::Number("photos")],
    "SELECT '=' || title, title, (SELECT COUNT(*) FROM photo WHERE photo.account = album.account AND photo.album = album.title) \
     FROM album WHERE account = $1 AND '=' || title > $2 ORDER BY 1 LIMIT $3",
)
.counted_as("albums");

/// Photos, in a folder for each album. What a person wrote above it may be anything: the custodian makes names of it.
pub(crate) struct Albums<'a> {
    pub store: &'a Store,
    pub files: &'a Path,
}

#[async_trait]
impl Section for Albums<'_> {
    fn name(&self) -> &str {
        "albums"
    }

    async fn write(
        &self,
        account: &str,
        after: &str,
        part: &mut Part,
    ) -> Result<Option<String>, Fault> {
        let mut place = Place::parse(after)?;
        let rows: Vec<(String, String)> = sqlx::query_as(
            "SELECT id, album FROM photo WHERE account = $1 AND id >= $2 ORDER BY id LIMIT $3",
        )
        .bind(account)
        .bind(&place.id)
        .bind(ROWS_MAX)
        .fetch_all(self.store.pool())
        .await?;
        let folder = Folder::of(self.files, account);
        let mut progressed = false;
        for (id, album) in rows {
            let Some(mut offset) = place.begin_of(&id) else {
                continue;
            };
            // A title is one folder's name, whatever stands in it.
            let path = format!("albums/{}/{id}.jpg", album.replace(['/', '\\'], "_"));
            loop {
                let room = part.room_bytes();
                if room == 0 {
                    return Ok(Some(Place::inside(&id, offset).to_string()));
                }
                let read = folder.read(format!("{id}.jpg"), offset, room).await;
                let Some(piece) = read.map_err(|error| Fault::new("a photo's file", error))? else {
                    part.write(MISSING, format!("{id}.jpg\r\n").as_bytes());
                    break;
                };
                offset += u64::try_from(piece.len()).unwrap_or(u64::MAX);
                part.write(&path, &piece);
                if piece.len() < room {
                    part.tell("photos");
                    break;
                }
            }
            place = Place::after(&id);
            progressed = true;
        }
        Ok(progressed.then(|| place.to_string()))
    }
}
