//! What tables and files really hold of an account: for the inventory, the probe and the last look.

use std::path::Path;

use farewell_kit::store::Store;
use farewell_kit::{Category, Fault, Inventory, holder};
use sqlx::AnyConnection;

use crate::export::{self, Cabinet};
use crate::files::Folder;

/// What is held of the account `$1`: a category, its items and their bytes in each row.
const HELD: &str = "SELECT 'photos', COUNT(*), CAST(COALESCE(SUM(size_bytes), 0) AS BIGINT) FROM photo WHERE account = $1 \
     UNION ALL SELECT 'albums', COUNT(*), CAST(COALESCE(SUM(OCTET_LENGTH(title)), 0) AS BIGINT) \
     FROM album WHERE account = $1 \
     UNION ALL SELECT 'contacts', COUNT(*), \
     CAST(COALESCE(SUM(OCTET_LENGTH(name) + OCTET_LENGTH(phone)), 0) AS BIGINT) FROM contact WHERE account = $1 \
     UNION ALL SELECT 'notes', COUNT(*), CAST(COALESCE(SUM(OCTET_LENGTH(text)), 0) AS BIGINT) \
     FROM note WHERE account = $1 \
     UNION ALL SELECT 'backups', COUNT(*), CAST(COALESCE(SUM(OCTET_LENGTH(content)), 0) AS BIGINT) \
     FROM backup WHERE account = $1";

/// What the custodian made of everybody's: by rows and on disk.
const ARCHIVES: &str = "archives";

/// What is held, by category, in bytes. Categories without items are left out. A photo counts while its row or its file is
/// there, and so does an archive, where they lie beside the photos.
///
/// Errors: the database or the disk is away.
pub async fn left_over(store: &Store, files: &Path, account: &str) -> anyhow::Result<Inventory> {
    let mut connection = store.pool().acquire().await?;
    let mut held = held(&mut connection, files, account).await?;
    let cabinet = Cabinet::beside(files);
    held.categories
        .extend(archives(&mut connection, &cabinet, account).await?);
    Ok(held)
}

/// Every category that is looked for, whether anything is there or not.
///
/// Errors: the database is away.
pub async fn categories(store: &Store) -> anyhow::Result<Vec<String>> {
    let mut connection = store.pool().acquire().await?;
    let mut categories = holder::categories(&mut connection, HELD).await?;
    categories.push(ARCHIVES.to_owned());
    Ok(categories)
}

pub(crate) async fn held(
    connection: &mut AnyConnection,
    files: &Path,
    account: &str,
) -> Result<Inventory, Fault> {
    let mut held = holder::count(connection, HELD, account).await?;
    let on_disk = Folder::of(files, account)
        .look()
        .await
        .map_err(|error| Fault::new("the account's files", error))?;
    let by_row = held
        .categories
        .iter_mut()
        .find(|held| held.category == "photos");
    if let Some(photos) = by_row {
        photos.count = photos.count.max(on_disk.files);
        photos.size_bytes = photos.size_bytes.max(on_disk.size_bytes);
    } else if on_disk.files > 0 {
        held.categories.push(Category {
            category: "photos".to_owned(),
            count: on_disk.files,
            size_bytes: on_disk.size_bytes,
        });
    }
    Ok(held)
}

/// The account's archives: by rows, and by what lies on disk, whichever there is more of.
pub(crate) async fn archives(
    connection: &mut AnyConnection,
    cabinet: &Cabinet,
    account: &str,
) -> Result<Option<Category>, Fault> {
    let (rows, row_bytes) = export::amount(connection, account).await?;
    let (folders, size_bytes) = cabinet
        .look(account)
        .await
        .map_err(|error| Fault::new("the account's archives", error))?;
    let count = rows.max(folders);
    Ok((count > 0).then(|| Category {
        category: ARCHIVES.to_owned(),
        count,
        size_bytes: row_bytes.max(size_bytes),
    }))
}
