//! What tables and files really hold of an account: for the inventory, the probe and the last look.

use std::path::Path;

use farewell_kit::store::Store;
use farewell_kit::{Category, Fault, Inventory, holder};
use sqlx::AnyConnection;

use crate::files::Folder;

/// What is held, by category, in bytes. Categories without items are left out. A photo counts while its row or its file is
/// there.
///
/// Errors: the database or the disk is away.
pub async fn left_over(store: &Store, files: &Path, account: &str) -> anyhow::Result<Inventory> {
    let mut connection = store.pool().acquire().await?;
    Ok(held(&mut connection, files, account).await?)
}

pub(crate) async fn held(
    connection: &mut AnyConnection,
    files: &Path,
    account: &str,
) -> Result<Inventory, Fault> {
    let mut held = holder::count(
        connection,
        "SELECT 'photos', COUNT(*), CAST(COALESCE(SUM(size_bytes), 0) AS BIGINT) FROM photo WHERE account = $1 \
         UNION ALL SELECT 'albums', COUNT(*), CAST(COALESCE(SUM(OCTET_LENGTH(title)), 0) AS BIGINT) \
             FROM album WHERE account = $1 \
         UNION ALL SELECT 'contacts', COUNT(*), \
             CAST(COALESCE(SUM(OCTET_LENGTH(name) + OCTET_LENGTH(phone)), 0) AS BIGINT) FROM contact WHERE account = $1 \
         UNION ALL SELECT 'notes', COUNT(*), CAST(COALESCE(SUM(OCTET_LENGTH(text)), 0) AS BIGINT) \
             FROM note WHERE account = $1 \
         UNION ALL SELECT 'backups', COUNT(*), CAST(COALESCE(SUM(OCTET_LENGTH(content)), 0) AS BIGINT) \
             FROM backup WHERE account = $1",
        account,
    )
    .await?;
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
