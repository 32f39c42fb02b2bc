//! What was done in a case, by whom and when: appended, and never changed. It goes with the case, and not before.

use std::time::SystemTime;

use farewell_kit::export::{Column, Table};
use farewell_kit::store::{micros, time};
use sqlx::AnyConnection;

pub(crate) const SCHEMA: &str = "\
    CREATE TABLE IF NOT EXISTS case_entry (case_id TEXT NOT NULL, number BIGINT NOT NULL, at BIGINT NOT NULL, \
        who TEXT NOT NULL, what TEXT NOT NULL, subject TEXT NOT NULL, PRIMARY KEY (case_id, number))";

/// What its owner may take along: what was done, and when. Not by whom: names of the desk's people are theirs. Numbers are
/// written so that they sort as numbers do.
pub(crate) const EXPORT: Table = Table::new(
    "support_case_steps",
    &[
        Column::Text("case"),
        Column::Time("time"),
        Column::Text("what"),
        Column::Text("about"),
    ],
    "SELECT e.case_id || '/' || CAST(1000000000 + e.number AS TEXT), 'cases/' || e.case_id, e.at, e.what, e.subject \
     FROM case_entry e JOIN desk_case c ON c.id = e.case_id \
     WHERE c.account = $1 AND e.case_id || '/' || CAST(1000000000 + e.number AS TEXT) > $2 ORDER BY 1 LIMIT $3",
)
.uncounted();

/// Who does what happens by itself.
pub(crate) const ITSELF: &str = "farewell";

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Opened,
    EvidenceAdded,
    EvidenceRead,
    Approved,
    ApprovalDropped,
    Rejected,
    Withdrawn,
    Expired,
    Used,
    Done,
    /// Used, and nobody has said in time that it is done.
    Unconfirmed,
    EvidenceDeleted,
}

impl What {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Opened => "OPENED",
            Self::EvidenceAdded => "EVIDENCE_ADDED",
            Self::EvidenceRead => "EVIDENCE_READ",
            Self::Approved => "APPROVED",
            Self::ApprovalDropped => "APPROVAL_DROPPED",
            Self::Rejected => "REJECTED",
            Self::Withdrawn => "WITHDRAWN",
            Self::Expired => "EXPIRED",
            Self::Used => "USED",
            Self::Done => "DONE",
            Self::Unconfirmed => "UNCONFIRMED",
            Self::EvidenceDeleted => "EVIDENCE_DELETED",
        }
    }
}

/// One line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub number: i64,
    pub at: SystemTime,
    pub who: String,
    pub what: String,
    pub subject: String,
}

/// Appends a line, in the transaction of what it speaks of. Whoever does holds the case's row, so that numbers have no gaps.
pub(crate) async fn append(
    tx: &mut AnyConnection,
    case: &str,
    (who, what, subject): (&str, What, &str),
    at: SystemTime,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO case_entry (case_id, number, at, who, what, subject) \
         SELECT $1, COALESCE(MAX(number), 0) + 1, $2, $3, $4, $5 FROM case_entry WHERE case_id = $1",
    )
    .bind(case)
    .bind(micros(at))
    .bind(who)
    .bind(what.word())
    .bind(subject)
    .execute(tx)
    .await
    .map(drop)
}

/// A case's log, oldest first.
pub(crate) async fn of_case(tx: &mut AnyConnection, case: &str) -> Result<Vec<Entry>, sqlx::Error> {
    let rows: Vec<(i64, i64, String, String, String)> = sqlx::query_as(
        "SELECT number, at, who, what, subject FROM case_entry WHERE case_id = $1 ORDER BY number",
    )
    .bind(case)
    .fetch_all(tx)
    .await?;
    Ok(rows
        .into_iter()
        .map(|(number, at, who, what, subject)| Entry {
            number,
            at: time(at),
            who,
            what,
            subject,
        })
        .collect())
}
