//! What callers and operators can ask for.

pub mod account;
mod call;
mod case;
mod change;
pub mod deletion;
mod download;
mod explain;
mod export;
mod hanging;
pub mod identifier;
mod intervene;
mod looking;
mod on_case;
pub mod operator;
mod page;
pub mod parse;
mod possession;
mod present;
pub mod proof;
mod record;
mod refused;
mod replay;
mod transfer;
mod unbinding;
mod watch;

use std::time::Duration;

use farewell_core::{DeletionId, Reason, RequestId};
use farewell_ledger::{Remembered, Seen};
use tonic::Status;

use crate::center::Center;
use crate::error;

/// How long a read may take.
pub const READ_MAX: Duration = Duration::from_secs(5);
/// How long a change may take: a commit, and before it perhaps a question to every participant.
pub const CHANGE_MAX: Duration = Duration::from_secs(20);
/// Largest request of a caller. Larger ones are refused as `MESSAGE_TOO_LARGE`; those above 4 MiB by the transport, `OUT_OF_RANGE`.
pub const REQUEST_BYTES_MAX: usize = 64 * 1024;

/// A handler that ends in time.
async fn within<T>(
    limit: Duration,
    handler: impl Future<Output = Result<T, Status>>,
) -> Result<T, Status> {
    match tokio::time::timeout(limit, handler).await {
        Ok(answer) => answer,
        Err(_) => Err(error::deadline(
            "the request took too long; the same request may be sent again",
        )),
    }
}

/// Keeps a request's id, so that a repeat is known and another use of it refused.
async fn remember(
    center: &Center,
    key: RequestId,
    digest: [u8; 16],
    id: DeletionId,
) -> Result<Remembered, Status> {
    known(center.ledger.remember(key, digest, id).await)
}

/// Whether a request is a repeat, without keeping it.
async fn seen(
    center: &Center,
    key: RequestId,
    digest: [u8; 16],
    id: DeletionId,
) -> Result<Remembered, Status> {
    let content = Seen {
        digest,
        deletion: id,
    };
    let seen = center.ledger.seen(key).await;
    known(seen.map(|seen| Remembered::of(seen, content)))
}

fn known(answer: Result<Remembered, farewell_ledger::Error>) -> Result<Remembered, Status> {
    match answer {
        Ok(Remembered::Reused) => Err(error::refused(Reason::RequestIdReused.into())),
        Ok(known) => Ok(known),
        Err(error) => Err(error::ledger(&error)),
    }
}
