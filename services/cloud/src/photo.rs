//! Albums and photos: a row here, the picture in a file.

use std::io;
use std::path::Path;

use farewell_kit::seal;
use farewell_kit::store::Store;
use sqlx::AnyConnection;
use uuid::Uuid;

use crate::files::Folder;

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
    let deleted = sqlx::query("DELETE FROM photo WHERE account = $1")
        .bind(account)
        .execute(connection)
        .await?;
    Ok(deleted.rows_affected())
}

pub(crate) async fn erase_albums(
    connection: &mut AnyConnection,
    account: &str,
) -> Result<u64, sqlx::Error> {
    let deleted = sqlx::query("DELETE FROM album WHERE account = $1")
        .bind(account)
        .execute(connection)
        .await?;
    Ok(deleted.rows_affected())
}
