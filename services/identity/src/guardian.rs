//! Children's accounts, and the adults who answer for them.

use std::time::SystemTime;

use farewell_kit::export::{Column, Table};
use farewell_kit::seal;
use farewell_kit::store::{Store, micros};
use sqlx::AnyConnection;

/// `agreed_at` is 0 until the guardian agrees that the child's account may be deleted, and again once that deletion came
/// to nothing: an agreement is to one deletion, and not to whatever the child asks for later.
pub(crate) const SCHEMA: &str = "\
    CREATE TABLE IF NOT EXISTS guardianship (child TEXT PRIMARY KEY, guardian TEXT NOT NULL CHECK (guardian <> child), \
        agreed_at BIGINT NOT NULL); \
    CREATE INDEX IF NOT EXISTS guardianship_by_guardian ON guardianship (guardian)";

/// What its owner may take along, whichever of the two they are. Not whose the other account is.
pub(crate) const EXPORT: Table = Table::new(
    "guardianships",
    &[Column::Text("as"), Column::Time("agreed_to_deletion")],
    "SELECT child, CASE WHEN child = $1 THEN 'CHILD' ELSE 'GUARDIAN' END, agreed_at FROM guardianship \
     WHERE (child = $1 OR guardian = $1) AND child > $2 ORDER BY child LIMIT $3",
);

/// Makes an account the guardian of a child's, instead of an earlier one, who need not be asked: a guardian's account that
/// is sealed is to lose its children.
///
/// Errors: [`seal::Error::Sealed`], [`seal::Error::Erased`] of the child or the new guardian; [`seal::Error::Database`] if
/// they are the same.
pub async fn set_guardian(store: &Store, child: &str, guardian: &str) -> Result<(), seal::Error> {
    let mut tx = store.pool().begin().await?;
    // In one order, so that two who set each other's never wait for each other.
    for account in [child.min(guardian), child.max(guardian)] {
        seal::admit(&mut tx, account).await?;
    }
    sqlx::query(
        "INSERT INTO guardianship (child, guardian, agreed_at) VALUES ($1, $2, 0) \
         ON CONFLICT (child) DO UPDATE SET guardian = excluded.guardian, agreed_at = 0",
    )
    .bind(child)
    .bind(guardian)
    .execute(&mut *tx)
    .await?;
    Ok(tx.commit().await?)
}

/// The guardian agrees that the child's account is deleted. Also while that is sealed: it removes a blocker. `false`: the
/// child has another guardian, or none.
///
/// Errors: [`seal::Error::Erased`].
pub async fn agree_to_deletion(
    store: &Store,
    guardian: &str,
    child: &str,
) -> Result<bool, seal::Error> {
    let mut tx = store.pool().begin().await?;
    seal::admit_though_sealed(&mut tx, child).await?;
    let agreed =
        sqlx::query("UPDATE guardianship SET agreed_at = $3 WHERE child = $1 AND guardian = $2")
            .bind(child)
            .bind(guardian)
            .bind(micros(SystemTime::now()))
            .execute(&mut *tx)
            .await?;
    tx.commit().await?;
    Ok(agreed.rows_affected() == 1)
}

/// The deletion that the guardian agreed to came to nothing: the next one is to be asked about again. Of one that ends late, when
/// the next was agreed to already, the guardian is asked once more: rather that than a deletion that nobody agreed to.
pub(crate) async fn disagree(
    connection: &mut AnyConnection,
    child: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE guardianship SET agreed_at = 0 WHERE child = $1 AND agreed_at <> 0")
        .bind(child)
        .execute(connection)
        .await
        .map(drop)
}

/// The child is of age. Also while sealed: it removes a blocker. `false`: it had no guardian.
///
/// Errors: [`seal::Error::Erased`].
pub async fn end_guardianship(store: &Store, child: &str) -> Result<bool, seal::Error> {
    let mut tx = store.pool().begin().await?;
    seal::admit_though_sealed(&mut tx, child).await?;
    let ended = sqlx::query("DELETE FROM guardianship WHERE child = $1")
        .bind(child)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(ended.rows_affected() == 1)
}

/// Whether as child or as guardian: neither's row may name the account.
pub(crate) async fn erase(
    connection: &mut AnyConnection,
    account: &str,
) -> Result<u64, sqlx::Error> {
    let deleted = sqlx::query("DELETE FROM guardianship WHERE child = $1 OR guardian = $1")
        .bind(account)
        .execute(connection)
        .await?;
    Ok(deleted.rows_affected())
}
