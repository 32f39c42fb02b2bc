//! Policies by version. A version's content never changes.

use farewell_core::policy::Policy;
use sqlx::{Row, SqlitePool};

use super::connection::{Writer, unread};
use crate::{Error, columns, select};

const ADOPT: &str = "
INSERT INTO policy (version, digest, doc)
SELECT coalesce((SELECT max(version) FROM policy), 0) + 1, $1, $2
WHERE NOT EXISTS (SELECT 1 FROM policy WHERE digest = $1);
SELECT version FROM policy WHERE digest = $1;
COMMIT";

pub(super) async fn adopt(writer: &Writer, policy: &Policy) -> Result<u32, Error> {
    let (doc, digest) = columns::document(policy);
    let held = writer.begin(None).await?;
    let rows = held
        .end(sqlx::query(ADOPT).bind(digest.to_vec()).bind(doc))
        .await?;
    let row = rows.first().ok_or(Error::Corrupt { what: "policy" })?;
    row.try_get(0).map_err(Error::Unknown)
}

pub(super) async fn all(pool: &SqlitePool) -> Result<Vec<(u32, Policy)>, Error> {
    let all: Vec<(i32, String)> = sqlx::query_as(select::POLICIES)
        .fetch_all(pool)
        .await
        .map_err(unread)?;
    columns::policies(all)
}
