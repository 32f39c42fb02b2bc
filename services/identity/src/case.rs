//! Cases that others have opened about an account: what they are about must not be destroyed by a deletion.

use std::time::SystemTime;

use farewell_kit::seal;
use farewell_kit::store::{Store, micros};
use sqlx::AnyConnection;

/// A row stands while its case is open.
pub(crate) const SCHEMA: &str = "\
    CREATE TABLE IF NOT EXISTS open_case (account TEXT NOT NULL, kind TEXT NOT NULL CHECK (kind IN ('LEGAL_HOLD', \
        'FRAUD_CASE')), reference TEXT NOT NULL CHECK (reference <> ''), opened_at BIGINT NOT NULL, \
        PRIMARY KEY (account, kind, reference))";

/// Whose case it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// A court, an authority or a claim demands that data is kept. The legal department's.
    LegalHold,
    /// Security investigates.
    Fraud,
}

impl Case {
    /// As stored, and as the blocker's code.
    const fn word(self) -> &'static str {
        match self {
            Self::LegalHold => "LEGAL_HOLD",
            Self::Fraud => "FRAUD_CASE",
        }
    }
}

/// Opens a case under its file's reference; a second time changes nothing. Also while sealed: the law doesn't wait for a
/// cooling-off period to end.
///
/// Errors: [`seal::Error::Erased`].
pub async fn open_case(
    store: &Store,
    account: &str,
    case: Case,
    reference: &str,
) -> Result<(), seal::Error> {
    let mut tx = store.pool().begin().await?;
    seal::admit_though_sealed(&mut tx, account).await?;
    sqlx::query(
        "INSERT INTO open_case (account, kind, reference, opened_at) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (account, kind, reference) DO NOTHING",
    )
    .bind(account)
    .bind(case.word())
    .bind(reference)
    .bind(micros(SystemTime::now()))
    .execute(&mut *tx)
    .await?;
    Ok(tx.commit().await?)
}

/// Closes a case. Also while sealed: it removes a blocker. `false`: no such case is open.
///
/// Errors: [`seal::Error::Erased`].
pub async fn close_case(
    store: &Store,
    account: &str,
    case: Case,
    reference: &str,
) -> Result<bool, seal::Error> {
    let mut tx = store.pool().begin().await?;
    seal::admit_though_sealed(&mut tx, account).await?;
    let closed =
        sqlx::query("DELETE FROM open_case WHERE account = $1 AND kind = $2 AND reference = $3")
            .bind(account)
            .bind(case.word())
            .bind(reference)
            .execute(&mut *tx)
            .await?;
    tx.commit().await?;
    Ok(closed.rows_affected() == 1)
}

/// The code of a case that is open, the law's before others.
pub(crate) async fn open(
    connection: &mut AnyConnection,
    account: &str,
) -> Result<Option<String>, sqlx::Error> {
    let row: Option<(String,)> =
        sqlx::query_as("SELECT kind FROM open_case WHERE account = $1 ORDER BY kind DESC LIMIT 1")
            .bind(account)
            .fetch_optional(connection)
            .await?;
    Ok(row.map(|(kind,)| kind))
}
