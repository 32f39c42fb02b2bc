//! What the support desk has open for an account: questions, reports of unsafe products, insurance claims.

use std::time::SystemTime;

use farewell_kit::export::{Column, Table};
use farewell_kit::seal;
use farewell_kit::store::{Store, micros};
use sqlx::AnyConnection;
use uuid::Uuid;

/// `closed_at` is 0 while the case is open.
pub(crate) const SCHEMA: &str = "\
    CREATE TABLE IF NOT EXISTS support_case (id TEXT PRIMARY KEY, account TEXT NOT NULL, \
        kind TEXT NOT NULL CHECK (kind IN ('TICKET', 'SAFETY', 'INSURANCE')), text TEXT NOT NULL, \
        opened_at BIGINT NOT NULL, closed_at BIGINT NOT NULL); \
    CREATE INDEX IF NOT EXISTS support_case_by_account ON support_case (account)";

/// What its owner may take along.
pub(crate) const EXPORT: Table = Table::new(
    "support_cases",
    &[
        Column::Text("id"),
        Column::Text("kind"),
        Column::Text("text"),
        Column::Time("opened"),
        Column::Time("closed"),
    ],
    "SELECT id, id, kind, text, opened_at, closed_at FROM support_case WHERE account = $1 AND id > $2 \
     ORDER BY id LIMIT $3",
);

/// What the desk is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SupportCase {
    /// A question or complaint.
    Ticket,
    /// A product has hurt somebody, or might.
    Safety,
    /// A claim on a device's insurance.
    Insurance,
}

impl SupportCase {
    const fn word(self) -> &'static str {
        match self {
            Self::Ticket => "TICKET",
            Self::Safety => "SAFETY",
            Self::Insurance => "INSURANCE",
        }
    }
}

/// Opens a case and gives its id. Also while sealed: who asks how to take a deletion back, or was hurt, is heard.
///
/// Errors: [`seal::Error::Erased`].
pub async fn open_support_case(
    store: &Store,
    account: &str,
    case: SupportCase,
    text: &str,
) -> Result<String, seal::Error> {
    let id = Uuid::now_v7().to_string();
    let mut tx = store.pool().begin().await?;
    seal::admit_though_sealed(&mut tx, account).await?;
    insert(&mut tx, &id, account, case, text, SystemTime::now()).await?;
    tx.commit().await?;
    Ok(id)
}

/// The case is answered, settled or withdrawn. Also while sealed: it removes a blocker. `false`: no such case is open.
///
/// Errors: [`seal::Error::Erased`].
pub async fn close_support_case(
    store: &Store,
    account: &str,
    id: &str,
) -> Result<bool, seal::Error> {
    let mut tx = store.pool().begin().await?;
    seal::admit_though_sealed(&mut tx, account).await?;
    let closed = close(&mut tx, account, id, SystemTime::now()).await?;
    tx.commit().await?;
    Ok(closed)
}

/// Writes the row of an open case.
pub(crate) async fn insert(
    connection: &mut AnyConnection,
    id: &str,
    account: &str,
    case: SupportCase,
    text: &str,
    opened: SystemTime,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO support_case (id, account, kind, text, opened_at, closed_at) VALUES ($1, $2, $3, $4, $5, 0)",
    )
    .bind(id)
    .bind(account)
    .bind(case.word())
    .bind(text)
    .bind(micros(opened))
    .execute(connection)
    .await
    .map(drop)
}

pub(crate) async fn close(
    connection: &mut AnyConnection,
    account: &str,
    id: &str,
    at: SystemTime,
) -> Result<bool, sqlx::Error> {
    let closed = sqlx::query(
        "UPDATE support_case SET closed_at = $3 WHERE id = $1 AND account = $2 AND closed_at = 0",
    )
    .bind(id)
    .bind(account)
    .bind(micros(at))
    .execute(connection)
    .await?;
    Ok(closed.rows_affected() == 1)
}

/// Whether somebody may have been hurt, or a claim is not settled.
pub(crate) async fn is_claimed(
    connection: &mut AnyConnection,
    account: &str,
) -> Result<bool, sqlx::Error> {
    let (open,): (i64,) = sqlx::query_as(
        "SELECT COUNT(*) FROM support_case WHERE account = $1 AND closed_at = 0 AND kind <> 'TICKET'",
    )
    .bind(account)
    .fetch_one(connection)
    .await?;
    Ok(open > 0)
}
