//! Policies by version. A version's content never changes.

use farewell_core::policy::Policy;
use sqlx::PgPool;

use super::connection::{race, unread};
use crate::{Error, columns, select};

const ADOPT: &str = "
WITH known AS (
    SELECT version FROM policy WHERE digest = $1
), new AS (
    INSERT INTO policy (version, digest, doc)
    SELECT coalesce((SELECT max(version) FROM policy), 0) + 1, $1, $2 WHERE NOT EXISTS (SELECT FROM known)
    RETURNING version
)
SELECT version FROM known UNION ALL SELECT version FROM new";

pub(super) async fn adopt(pool: &PgPool, policy: &Policy) -> Result<u32, Error> {
    let (doc, digest) = columns::document(policy);
    let version: i32 = race(|| {
        sqlx::query_scalar(ADOPT)
            .bind(digest.as_slice())
            .bind(&doc)
            .fetch_one(pool)
    })
    .await?;
    columns::number(version, "policy version")
}

pub(super) async fn all(pool: &PgPool) -> Result<Vec<(u32, Policy)>, Error> {
    let all: Vec<(i32, String)> = sqlx::query_as(select::POLICIES)
        .fetch_all(pool)
        .await
        .map_err(unread)?;
    columns::policies(all)
}
