//! Streams of changes.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use farewell_core::DeletionId;
use farewell_proto::deletion::v1::{Deletion, WatchDeletionResponse};
use farewell_runtime::shutdown::Shutdown;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::timeout;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::deletion::load;
use crate::center::Center;
use crate::error;
use farewell_interpreter::Language;

/// Changes that a slow watcher may be behind.
const QUEUE_MESSAGES_MAX: usize = 256;
/// How often one deletion is looked at without a sign: progress leaves none, nor do other coordinators.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// What a watcher gets.
pub type Watch = Pin<Box<dyn Stream<Item = Result<WatchDeletionResponse, Status>> + Send>>;

/// One deletion at once and at every change, until it is closed or purged.
pub fn one(
    center: Arc<Center>,
    (id, language): (DeletionId, Language),
    first: Deletion,
    seat: OwnedSemaphorePermit,
    shutdown: Shutdown,
) -> Watch {
    let (sender, receiver) = mpsc::channel(QUEUE_MESSAGES_MAX);
    shutdown.clone().spawn(async move {
        let _seat = seat;
        let mut changes = center.changes.subscribe();
        let mut shown = first;
        let mut fresh = true;
        loop {
            if fresh
                && sender
                    .send(Ok(WatchDeletionResponse {
                        deletions: vec![shown.clone()],
                    }))
                    .await
                    .is_err()
            {
                return;
            }
            // What law keeps on is owed for years: nobody waits for that here.
            if shown.close_time.is_some() || shown.purge_time.is_some() {
                return;
            }
            // Any change may be ours: looking is cheaper than searching the batch.
            let _ = timeout(LOOK_AGAIN, ours(&mut changes, id)).await;
            if sender.is_closed() || shutdown.is_triggered() {
                return;
            }
            match load(&center, id, language).await {
                Ok(now) => {
                    fresh = now != shown;
                    shown = now;
                }
                // The ledger is away: the watcher waits with us.
                Err(status) if status.code() == tonic::Code::Unavailable => fresh = false,
                Err(status) => {
                    let _ = sender.send(Err(status)).await;
                    return;
                }
            }
        }
    });
    Box::pin(ReceiverStream::new(receiver))
}

async fn ours(
    changes: &mut tokio::sync::broadcast::Receiver<crate::center::Changes>,
    id: DeletionId,
) {
    loop {
        match changes.recv().await {
            Ok(batch) if batch.iter().any(|(changed, _)| *changed == id) => return,
            Ok(_) => {}
            Err(RecvError::Lagged(_)) => return,
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}

/// Every change of state that this coordinator commits, from now on.
pub fn all(center: &Arc<Center>, seat: OwnedSemaphorePermit, shutdown: &Shutdown) -> Watch {
    let (sender, receiver) = mpsc::channel(QUEUE_MESSAGES_MAX);
    let mut changes = center.changes.subscribe();
    let ended = shutdown.clone();
    shutdown.spawn(async move {
        let _seat = seat;
        loop {
            let batch = tokio::select! {
                batch = changes.recv() => batch,
                () = ended.wait() => return,
                () = sender.closed() => return,
            };
            let answer = match batch {
                Ok(batch) => Ok(WatchDeletionResponse {
                    deletions: batch
                        .iter()
                        .map(|(id, state)| Deletion {
                            name: format!("deletions/{id}"),
                            state: i32::from(*state),
                            ..Deletion::default()
                        })
                        .collect(),
                }),
                Err(RecvError::Lagged(_)) => Err(error::exhausted(
                    "WATCHER_TOO_SLOW",
                    "changes were missed: list, then watch again",
                )),
                Err(RecvError::Closed) => return,
            };
            let over = answer.is_err();
            if sender.send(answer).await.is_err() || over {
                return;
            }
        }
    });
    Box::pin(ReceiverStream::new(receiver))
}
