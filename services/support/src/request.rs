//! Requests that were answered: the same id and body by the same person is the same request, anything else a mistake.

use std::time::{Duration, SystemTime};

use farewell_kit::store::micros;
use prost::Message;
use sha2::{Digest as _, Sha256};
use sqlx::AnyConnection;
use uuid::Uuid;

use crate::refusal::Refusal;

/// Nothing in it leads to an account: ids are the callers', and bodies are digests.
pub(crate) const SCHEMA: &str = "\
    CREATE TABLE IF NOT EXISTS request (id TEXT PRIMARY KEY, digest TEXT NOT NULL, answer TEXT NOT NULL, \
        made_at BIGINT NOT NULL)";

/// How long a request id is remembered: longer than anybody keeps trying.
const REQUEST_LIFE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// A request, as it is known again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub id: Uuid,
    pub digest: String,
}

impl Request {
    /// Of a call's body, and `more` that belongs to it.
    pub fn new(id: Uuid, method: &str, who: &str, body: &impl Message, more: &[u8]) -> Self {
        let mut digest = Sha256::new();
        for part in [
            method.as_bytes(),
            who.as_bytes(),
            &body.encode_to_vec(),
            more,
        ] {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        let digest = digest.finalize();
        Self {
            id,
            digest: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
        }
    }

    /// What the request was answered with: the name of what it made or changed.
    ///
    /// Errors: `REQUEST_ID_REUSED`.
    pub async fn answered(&self, tx: &mut AnyConnection) -> Result<Option<String>, Refusal> {
        let kept: Option<(String, String)> =
            sqlx::query_as("SELECT digest, answer FROM request WHERE id = $1")
                .bind(self.id.to_string())
                .fetch_optional(tx)
                .await?;
        match kept {
            None => Ok(None),
            Some((digest, answer)) if digest == self.digest => Ok(Some(answer)),
            Some(_) => Err(Refusal::RequestIdReused),
        }
    }

    /// Keeps the answer, in the transaction of what it made.
    pub async fn remember(
        &self,
        tx: &mut AnyConnection,
        answer: &str,
        now: SystemTime,
    ) -> Result<(), sqlx::Error> {
        sqlx::query("INSERT INTO request (id, digest, answer, made_at) VALUES ($1, $2, $3, $4)")
            .bind(self.id.to_string())
            .bind(&self.digest)
            .bind(answer)
            .bind(micros(now))
            .execute(tx)
            .await
            .map(drop)
    }
}

/// Forgets requests that nobody repeats any more.
pub(crate) async fn sweep(tx: &mut AnyConnection, now: SystemTime) -> Result<u64, sqlx::Error> {
    let deleted = sqlx::query("DELETE FROM request WHERE made_at < $1")
        .bind(micros(now - REQUEST_LIFE))
        .execute(tx)
        .await?;
    Ok(deleted.rows_affected())
}
