//! What tables and files really hold of an account: for the inventory, the probe and the last look.

use std::path::Path;

use farewell_kit::store::Store;
use farewell_kit::{Category, Fault, Inventory};
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
    let rows: Vec<(String, i64, i64)> = sqlx::query_as(
        "SELECT 'photos', COUNT(*), CAST(COALESCE(SUM(size_bytes), 0) AS BIGINT) FROM photo WHERE account = $1 \
         UNION ALL SELECT 'albums', COUNT(*), CAST(COALESCE(SUM(OCTET_LENGTH(title)), 0) AS BIGINT) \
             FROM album WHERE account = $1 \
         UNION ALL SELECT 'contacts', COUNT(*), \
             CAST(COALESCE(SUM(OCTET_LENGTH(name) + OCTET_LENGTH(phone)), 0) AS BIGINT) FROM contact WHERE account = $1 \
         UNION ALL SELECT 'notes', COUNT(*), CAST(COALESCE(SUM(OCTET_LENGTH(text)), 0) AS BIGINT) \
             FROM note WHERE account = $1 \
         UNION ALL SELECT 'backups', COUNT(*), CAST(COALESCE(SUM(OCTET_LENGTH(content)), 0) AS BIGINT) \
             FROM backup WHERE account = $1",
    )
    .bind(account)
    .fetch_all(connection)
    .await?;
    let on_disk = Folder::of(files, account)
        .look()
        .await
        .map_err(|error| Fault::new("the account's files", error))?;

    let mut categories: Vec<_> = rows
        .into_iter()
        .map(|(category, count, size_bytes)| Category {
            category,
            count,
            size_bytes,
        })
        .collect();
    if let Some(photos) = categories.iter_mut().find(|held| held.category == "photos") {
        photos.count = photos.count.max(on_disk.files);
        photos.size_bytes = photos.size_bytes.max(on_disk.size_bytes);
    }
    categories.retain(|held| held.count > 0);
    Ok(Inventory {
        categories,
        devices: Vec::new(),
    })
}
