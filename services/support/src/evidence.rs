//! Documents: what they are, and their sealed bytes until these go.

use std::time::SystemTime;

use farewell_kit::Fault;
use farewell_kit::export::{Column, Table};
use farewell_kit::store::{micros, time};
use sqlx::AnyConnection;

use crate::wish::Document;

/// `deleted_at` is 0 while the bytes are there.
pub(crate) const SCHEMA: &str = "\
    CREATE TABLE IF NOT EXISTS evidence (case_id TEXT NOT NULL, id TEXT NOT NULL, kind TEXT NOT NULL, \
        media_type TEXT NOT NULL, size_bytes BIGINT NOT NULL, added_by TEXT NOT NULL, added_at BIGINT NOT NULL, \
        deleted_at BIGINT NOT NULL, sealed BLOB NOT NULL, PRIMARY KEY (case_id, id))";

/// What its owner may take along: what was shown, and not by whose hand it came in. The files themselves the desk gives.
pub(crate) const EXPORT: Table = Table::new(
    "support_documents",
    &[
        Column::Text("document"),
        Column::Text("kind"),
        Column::Text("media_type"),
        Column::Number("size_bytes"),
        Column::Time("added"),
    ],
    "SELECT e.case_id || '/' || e.id, 'cases/' || e.case_id || '/evidence/' || e.id, e.kind, e.media_type, e.size_bytes, \
         e.added_at FROM evidence e JOIN desk_case c ON c.id = e.case_id \
     WHERE c.account = $1 AND e.deleted_at = 0 AND e.case_id || '/' || e.id > $2 ORDER BY 1 LIMIT $3",
);

/// Largest document: a scan of a few pages.
pub const EVIDENCE_BYTES_MAX: usize = 10 * 1024 * 1024;
/// Documents of one case.
pub const CASE_EVIDENCE_MAX: usize = 16;

/// What a document is, without its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Evidence {
    pub case: String,
    pub id: String,
    pub kind: Document,
    pub media_type: String,
    pub size_bytes: i64,
    pub added_by: String,
    pub added_at: SystemTime,
    pub deleted_at: Option<SystemTime>,
}

impl Evidence {
    /// `cases/{case}/evidence/{evidence}`: also what its bytes are sealed to.
    pub fn name(&self) -> String {
        name(&self.case, &self.id)
    }
}

/// `cases/{case}/evidence/{evidence}`.
pub(crate) fn name(case: &str, id: &str) -> String {
    format!("cases/{case}/evidence/{id}")
}

/// Whether a file of this media type begins so. What the desk opens on its screens is what it was said to be.
pub(crate) fn begins_as(media_type: &str, bytes: &[u8]) -> bool {
    let magic: &[u8] = match media_type {
        "application/pdf" => b"%PDF-",
        "image/jpeg" => &[0xff, 0xd8, 0xff],
        "image/png" => b"\x89PNG\r\n\x1a\n",
        _ => return false,
    };
    bytes.starts_with(magic)
}

/// Whether such documents are taken.
pub(crate) fn is_known(media_type: &str) -> bool {
    matches!(media_type, "application/pdf" | "image/jpeg" | "image/png")
}

/// Writes a whole document.
pub(crate) async fn insert(
    tx: &mut AnyConnection,
    evidence: &Evidence,
    sealed: Vec<u8>,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO evidence (case_id, id, kind, media_type, size_bytes, added_by, added_at, deleted_at, sealed) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, 0, $8)",
    )
    .bind(&evidence.case)
    .bind(&evidence.id)
    .bind(evidence.kind.word())
    .bind(&evidence.media_type)
    .bind(evidence.size_bytes)
    .bind(&evidence.added_by)
    .bind(micros(evidence.added_at))
    .bind(sealed)
    .execute(tx)
    .await
    .map(drop)
}

/// A case's documents, in the order in which they came.
pub(crate) async fn of_case(tx: &mut AnyConnection, case: &str) -> Result<Vec<Evidence>, Fault> {
    let rows: Vec<(String, String, String, i64, String, i64, i64)> = sqlx::query_as(
        "SELECT id, kind, media_type, size_bytes, added_by, added_at, deleted_at FROM evidence WHERE case_id = $1 \
         ORDER BY id",
    )
    .bind(case)
    .fetch_all(tx)
    .await?;
    rows.into_iter()
        .map(
            |(id, kind, media_type, size_bytes, added_by, added_at, deleted_at)| {
                Ok(Evidence {
                    case: case.to_owned(),
                    id,
                    kind: Document::of(&kind)
                        .ok_or_else(|| Fault::plain("a stored document can't be read"))?,
                    media_type,
                    size_bytes,
                    added_by,
                    added_at: time(added_at),
                    deleted_at: (deleted_at > 0).then(|| time(deleted_at)),
                })
            },
        )
        .collect()
}

/// The sealed bytes; empty once they are deleted.
pub(crate) async fn sealed(
    tx: &mut AnyConnection,
    case: &str,
    id: &str,
) -> Result<Vec<u8>, sqlx::Error> {
    let row: Option<(Vec<u8>,)> =
        sqlx::query_as("SELECT sealed FROM evidence WHERE case_id = $1 AND id = $2")
            .bind(case)
            .bind(id)
            .fetch_optional(tx)
            .await?;
    Ok(row.map(|(sealed,)| sealed).unwrap_or_default())
}

/// Deletes the bytes of a case's documents, and says how many had any.
pub(crate) async fn shred(
    tx: &mut AnyConnection,
    case: &str,
    now: SystemTime,
) -> Result<u64, sqlx::Error> {
    let shredded = sqlx::query(
        "UPDATE evidence SET sealed = $2, deleted_at = $3 WHERE case_id = $1 AND deleted_at = 0",
    )
    .bind(case)
    .bind(Vec::new())
    .bind(micros(now))
    .execute(tx)
    .await?;
    Ok(shredded.rows_affected())
}

/// Removes every trace of a case's documents.
pub(crate) async fn erase(tx: &mut AnyConnection, case: &str) -> Result<u64, sqlx::Error> {
    let deleted = sqlx::query("DELETE FROM evidence WHERE case_id = $1")
        .bind(case)
        .execute(tx)
        .await?;
    Ok(deleted.rows_affected())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_what_it_says_it_is() {
        assert!(begins_as("application/pdf", b"%PDF-1.7 ..."));
        assert!(begins_as("image/jpeg", &[0xff, 0xd8, 0xff, 0xe0]));
        assert!(begins_as("image/png", b"\x89PNG\r\n\x1a\n..."));
        for (media_type, bytes) in [
            ("application/pdf", &b"MZ\x90"[..]),
            ("image/jpeg", b"%PDF-1.7"),
            ("image/svg+xml", b"<svg"),
            ("image/png", b""),
        ] {
            assert!(!begins_as(media_type, bytes), "{media_type}");
        }
    }
}
