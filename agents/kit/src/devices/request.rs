//! Requests that were answered: the same id and body again is the same request, and another body is a mistake.

use std::time::{Duration, SystemTime};

use sha2::{Digest as _, Sha256};
use sqlx::AnyConnection;

use super::outbox;
use super::refusal::Refusal;
use super::registry::hex;
use crate::participant::Fault;
use crate::store::micros;

/// How long a request id is remembered: longer than any caller keeps trying.
const REQUEST_LIFE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// What an earlier request of this id made.
pub(super) async fn repeated(
    tx: &mut AnyConnection,
    request_id: uuid::Uuid,
    digest: &str,
) -> Result<Option<(String, u64)>, Refusal> {
    let earlier: Option<(String, String, i64)> =
        sqlx::query_as("SELECT body_digest, device, epoch FROM requests WHERE request_id = $1")
            .bind(request_id.to_string())
            .fetch_optional(&mut *tx)
            .await?;
    match earlier {
        None => Ok(None),
        Some((body, device, epoch)) if body == digest => Ok(Some((device, outbox::epoch(epoch)?))),
        Some(_) => Err(Refusal::RequestIdReused),
    }
}

/// Keeps what a request made, and forgets those that nobody repeats any more.
pub(super) async fn remember(
    tx: &mut AnyConnection,
    request_id: uuid::Uuid,
    digest: &str,
    device: &str,
    epoch: u64,
) -> Result<(), Fault> {
    let now = SystemTime::now();
    sqlx::query("DELETE FROM requests WHERE made_at < $1")
        .bind(micros(now - REQUEST_LIFE))
        .execute(&mut *tx)
        .await?;
    sqlx::query("INSERT INTO requests (request_id, body_digest, device, epoch, made_at) VALUES ($1, $2, $3, $4, $5)")
        .bind(request_id.to_string())
        .bind(digest)
        .bind(device)
        .bind(outbox::stored(epoch)?)
        .bind(micros(now))
        .execute(&mut *tx)
        .await?;
    Ok(())
}

/// The body is kept as a digest only: it names the account, and requests outlive it.
pub(super) fn digest_of<'a>(body: impl IntoIterator<Item = &'a str>) -> String {
    let mut digest = Sha256::new();
    for part in body {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    hex(&digest.finalize())
}
